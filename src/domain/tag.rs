//! Tags people put on instances, and the expressions they search them by.

use std::str::FromStr;

/// Longest tag name and value, in characters: the widths of the backend columns.
const MAX_NAME: usize = 128;
const MAX_VALUE: usize = 255;

/// One term: `name`, `name=value`, `~name`, `~name=value` (`!` is the same as `~`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Name, never empty.
    pub name: String,
    /// Value if one was given, perhaps empty.
    pub value: Option<String>,
    /// The term excludes.
    pub negated: bool,
}

/// A text that is not a tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read tag {text:?}: {reason}; write name, name=value, ~name or ~name=value")]
pub struct TagError {
    text: String,
    reason: &'static str,
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let fail = |reason| TagError { text: text.chars().take(80).collect(), reason };
        let plain = text.trim().replace('!', "~");
        let (negated, rest) = match plain.strip_prefix('~') {
            Some(rest) => (true, rest),
            None => (false, plain.as_str()),
        };
        let (name, value) = match rest.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (rest, None),
        };
        if name.is_empty() {
            return Err(fail("the name is empty"));
        }
        if name.chars().count() > MAX_NAME || value.as_ref().is_some_and(|v| v.chars().count() > MAX_VALUE) {
            return Err(fail("it is too long"));
        }
        if rest.chars().any(char::is_control) {
            return Err(fail("it contains a control character"));
        }
        Ok(Self { name: name.to_owned(), value, negated })
    }
}

impl Tag {
    /// Reads a comma separated list of terms, all of which must hold.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, TagError> {
        text.split(',').map(str::parse).collect()
    }

    /// Does an instance with these tags satisfy the term? An instance without any tag satisfies no term, not even a
    /// negated one without value: "instances that carry at least one tag, but not this one".
    pub fn matches<'a>(&self, mut tags: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> bool {
        let found = tags.clone().find(|(name, _)| *name == self.name).map(|(_, value)| value);
        match (self.negated, &self.value, found) {
            (false, None, found) => found.is_some(),
            (false, Some(wanted), found) => found == Some(wanted),
            (true, None, None) => tags.next().is_some(),
            (true, None, Some(_)) | (true, Some(_), None) => false,
            (true, Some(unwanted), Some(value)) => value != unwanted,
        }
    }
}

/// `name=value`, or `name` alone for a tag without a value, as drawn in trees.
pub fn short(name: &str, value: &str) -> String {
    if value.is_empty() { name.to_owned() } else { format!("{name}={value}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_select_as_documented() {
        let tagged = [("role", "backup"), ("in_service", "")];
        let matches = |term: &str| term.parse::<Tag>().expect(term).matches(tagged.iter().copied());
        for term in ["role", "role=backup", "in_service", "in_service=", "~other", "!other", "~role=primary"] {
            assert!(matches(term), "{term}");
        }
        for term in ["role=primary", "role=", "~role", "!role=backup", "other", "~other=1"] {
            assert!(!matches(term), "{term}");
        }
        assert!(!"~other".parse::<Tag>().expect("tag").matches(std::iter::empty()));
    }

    #[test]
    fn refuses_what_is_no_tag() {
        for text in ["", "=v", "~", "a\nb"] {
            assert!(text.parse::<Tag>().is_err(), "{text:?}");
        }
        assert!("x".repeat(500).parse::<Tag>().is_err());
        assert_eq!(Tag::parse_all("a,b=c").expect("two").len(), 2);
        assert_eq!(" a!b \n".parse::<Tag>().expect("tag").name, "a~b");
    }
}
