//! "Did you mean": the nearest known name, and how foreign text is shown.

/// Longest name worth comparing; known names are far shorter.
const MAX_COMPARED: usize = 80;

/// The candidate with the fewest edits (swapped neighbours count as one), if it is near enough to be what was meant.
pub(crate) fn nearest<'a>(given: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = given.chars().count();
    if length > MAX_COMPARED {
        return None;
    }
    // One edit in four characters, a little more in short words: "bacis" is near "basic", "foo" is near nothing.
    let limit = if length < 4 { 1 } else { (length / 4).max(2) };
    let given = given.to_lowercase();
    candidates
        .filter(|candidate| !candidate.is_empty())
        .map(|candidate| (strsim::damerau_levenshtein(&given, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Text from a file, fit for a message: no control characters, not endless.
pub(crate) fn printable(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_COMPARED).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_COMPARED).is_some() {
        shown.push_str("...");
    }
    shown
}
