//! Where a service is: one address of `ORCHESTRATOR_API`.

use percent_encoding::percent_decode_str;

use crate::problem::Problem;

/// User and password for HTTP basic authentication. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// One address, without what is secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Ends in `/api`; safe to print.
    pub(crate) base: String,
    /// Those in the address itself.
    pub(crate) credentials: Option<Credentials>,
}

/// Reads the addresses of a text, separated by blanks.
pub(crate) fn parse_list(text: &str) -> Result<Vec<Endpoint>, Problem> {
    let endpoints: Vec<Endpoint> = text.split_whitespace().map(parse).collect::<Result<_, _>>()?;
    if endpoints.is_empty() { Err(Problem::missing("the address of a service")) } else { Ok(endpoints) }
}

/// One address: without a scheme it is http; `/api` at the end may be left out.
fn parse(text: &str) -> Result<Endpoint, Problem> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => ("http".to_owned(), text),
    };
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let (user_info, host) = match authority.rsplit_once('@') {
        Some((user_info, host)) => (Some(user_info), host),
        None => (None, authority),
    };
    let path = path.strip_suffix('/').unwrap_or(path);
    let path = path.strip_suffix("/api").unwrap_or(path);
    let base = format!("{scheme}://{host}{path}/api");
    if !matches!(scheme.as_str(), "http" | "https") || host.is_empty() || base.contains(['?', '#', '@']) {
        return Err(Problem::usage(format!("not the address of a service: {base:?}; write http://HOST:PORT")));
    }
    Ok(Endpoint { base, credentials: user_info.map(credentials) })
}

fn credentials(user_info: &str) -> Credentials {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    Credentials { user: decode(user), password: decode(password) }
}

impl Endpoint {
    pub(crate) fn is_encrypted(&self) -> bool {
        self.base.starts_with("https:")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http://a:3000", "http://a:3000/api")]
    #[case("http://a:3000/", "http://a:3000/api")]
    #[case("http://a:3000/api", "http://a:3000/api")]
    #[case("http://a:3000/api/", "http://a:3000/api")]
    #[case("HTTPS://a/orc", "https://a/orc/api")]
    #[case("a:3000", "http://a:3000/api")]
    #[case("http://[::1]:3000", "http://[::1]:3000/api")]
    #[case("http://u:p%40ss@a:3000", "http://a:3000/api")]
    fn addresses_are_completed(#[case] given: &str, #[case] expected: &str) {
        assert_eq!(parse(given).expect("an address").base, expected);
    }

    #[test]
    fn what_is_secret_is_taken_out() {
        let endpoint = parse("https://dba:p%40ss:w@a:3000").expect("an address");
        let expected = Credentials { user: "dba".to_owned(), password: "p@ss:w".to_owned() };
        assert_eq!(endpoint.credentials, Some(expected));
        assert!(!format!("{endpoint:?}").contains("p@ss"));
        let refused = parse("ftp://dba:secret@a").expect_err("no service").to_string();
        assert!(refused.contains("ftp://a") && !refused.contains("secret"), "{refused}");
    }

    #[test]
    fn lists_need_an_entry() {
        assert_eq!(parse_list(" a:1\n b:2 ").expect("addresses").len(), 2);
        assert!(parse_list(" ").is_err());
        assert!(parse_list("http://").is_err());
        assert!(parse_list("http://a?x").is_err());
    }
}
