//! What the arguments ask for.

use domain::promotion::PromotionRule;

use super::Flags;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// Nothing was asked for.
    CheatSheet,
    Usage,
    Version,
    /// All commands, or what is known of one.
    Help(Option<String>),
    /// A command and the words after it.
    Run {
        command: String,
        words: Vec<String>,
    },
}

/// Arguments that can be read but contradict each other. The exit status is 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake(pub(crate) String);

/// Decides what is asked for.
pub(crate) fn request(flags: &Flags) -> Result<Request, Mistake> {
    if flags.is_on("h") {
        return Ok(Request::Usage);
    }
    if !flags.text("d").is_empty() && !flags.text("s").is_empty() {
        return Err(Mistake("-d and -s are synonyms, yet both were given".to_owned()));
    }
    if let Some(rule) = flags.get("promotion-rule") {
        PromotionRule::parse_registrable(rule).map_err(|error| Mistake(error.to_string()))?;
    }
    if flags.is_on("version") {
        return Ok(Request::Version);
    }
    let named = Some(flags.text("c")).filter(|command| !command.is_empty());
    let mut words = flags.words.iter().cloned().peekable();
    if words.peek().is_some_and(|word| word == "cli") {
        words.next();
    }
    let first = words.next();
    let rest: Vec<String> = words.collect();
    let request = match (first.as_deref(), named) {
        (None, None) => Request::CheatSheet,
        (None | Some("help"), Some("help")) => Request::Help(rest.into_iter().next()),
        (Some("help"), topic) => Request::Help(rest.into_iter().next().or_else(|| topic.map(str::to_owned))),
        (None, Some(command)) => Request::Run { command: command.to_owned(), words: Vec::new() },
        (Some(word), None) => Request::Run { command: word.to_owned(), words: rest },
        // `-c submit discover`: a command with words of its own.
        (Some(_), Some(command)) => Request::Run {
            command: command.to_owned(),
            words: flags.words.iter().filter(|word| *word != "cli").cloned().collect(),
        },
    };
    Ok(request)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::arguments::parse;

    fn run(command: &str, words: &[&str]) -> Request {
        Request::Run { command: command.to_owned(), words: words.iter().map(|word| (*word).to_owned()).collect() }
    }

    #[rstest]
    #[case("", Request::CheatSheet)]
    #[case("cli", Request::CheatSheet)]
    #[case("-c clusters", run("clusters", &[]))]
    #[case("clusters", run("clusters", &[]))]
    #[case("cli -c clusters", run("clusters", &[]))]
    #[case("-c clusters cli", run("clusters", &[]))]
    #[case("cli clusters", run("clusters", &[]))]
    #[case("http --debug", run("http", &[]))]
    #[case("submit discover -i x", run("submit", &["discover"]))]
    #[case("-c submit discover", run("submit", &["discover"]))]
    #[case("jobs show 7", run("jobs", &["show", "7"]))]
    #[case("help", Request::Help(None))]
    #[case("-c help", Request::Help(None))]
    #[case("help relocate", Request::Help(Some("relocate".to_owned())))]
    #[case("-c relocate help", Request::Help(Some("relocate".to_owned())))]
    #[case("-version -c x", Request::Version)]
    #[case("-h", Request::Usage)]
    #[case("--help", Request::Usage)]
    fn words_and_c_mean_the_same(#[case] line: &str, #[case] expected: Request) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        assert_eq!(request(&parse(&words).expect("readable")), Ok(expected));
    }

    #[rstest]
    #[case("-d a -s b")]
    #[case("-promotion-rule must -c clusters")]
    #[case("-promotion-rule nonsense")]
    fn contradictions_are_mistakes(#[case] line: &str) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        assert!(request(&parse(&words).expect("readable")).is_err());
    }
}
