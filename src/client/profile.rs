//! `/etc/profile.d/orchestrator-client.sh`: where installations of the original client keep their settings.
//!
//! The original was a shell script and ran that file. This reads its plain assignments, `export NAME=value`, of our own
//! variables, and says so where a line would need a shell. Unlike there, the environment wins over the file: it is what
//! the caller says now.

use std::collections::BTreeMap;

/// Where it is.
pub(crate) const PATH: &str = "/etc/profile.d/orchestrator-client.sh";
/// Other variables are none of our business.
const PREFIX: &str = "ORCHESTRATOR_";

/// What a profile says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) values: BTreeMap<String, String>,
    /// Variables whose value takes a shell to find out.
    pub(crate) not_understood: Vec<String>,
}

/// Reads the lines of a profile.
pub(crate) fn parse(text: &str) -> Profile {
    let mut profile = Profile::default();
    for line in text.lines() {
        let line = line.trim();
        let assignment = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let Some((name, value)) = assignment.split_once('=') else { continue };
        if !name.starts_with(PREFIX) || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        match plain(value) {
            Some(value) => {
                profile.values.insert(name.to_owned(), value);
            }
            None => profile.not_understood.push(name.to_owned()),
        }
    }
    profile
}

/// The value of a word without expansions; `None` if a shell would make something else of it.
fn plain(word: &str) -> Option<String> {
    let word = word.trim();
    for quote in ['\'', '"'] {
        let Some(rest) = word.strip_prefix(quote) else { continue };
        let (value, after) = rest.split_once(quote)?;
        let is_end = matches!(after.trim_start().chars().next(), None | Some('#' | ';'));
        let expands = quote == '"' && value.contains(['$', '`', '\\']);
        return (is_end && !expands).then(|| value.to_owned());
    }
    let value = word.split([' ', '\t', ';']).next().unwrap_or_default();
    (!value.contains(['$', '`', '\\', '\'', '"', '(', '&', '|', '<', '>'])).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_assignments_are_read_and_others_named() {
        let profile = parse(
            "# settings\n\
             export ORCHESTRATOR_API=\"http://a:3000 http://b:3000\" # all\n\
             ORCHESTRATOR_AUTH_USER=dba; export ORCHESTRATOR_AUTH_USER\n\
             export ORCHESTRATOR_AUTH_PASSWORD='pa$$ \"word\"'\n\
             export ORCHESTRATOR_INSTANCE=\"$(hostname -f)\"\n\
             export ORCHESTRATOR_API_TIMEOUT=${LIMIT:-5}\n\
             export PATH=/bin:$PATH\n\
             if [ -f x ]; then true; fi\n",
        );
        let expected = [
            ("ORCHESTRATOR_API", "http://a:3000 http://b:3000"),
            ("ORCHESTRATOR_AUTH_PASSWORD", "pa$$ \"word\""),
            ("ORCHESTRATOR_AUTH_USER", "dba"),
        ];
        assert_eq!(profile.values, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(profile.not_understood, ["ORCHESTRATOR_INSTANCE", "ORCHESTRATOR_API_TIMEOUT"]);
    }

    #[test]
    fn an_open_quote_is_not_guessed_at() {
        assert_eq!(parse("ORCHESTRATOR_API='http://a").not_understood, ["ORCHESTRATOR_API"]);
        assert_eq!(parse("ORCHESTRATOR_API=\"a\"\"b\"").not_understood, ["ORCHESTRATOR_API"]);
        assert_eq!(parse(""), Profile::default());
    }
}
