//! What environment, profile and flags say about the service: where it is, who asks, how long to wait.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::arguments::Arguments;
use crate::endpoint::{Credentials, Endpoint, parse_list};
use crate::problem::Problem;
use crate::profile::{self, Profile};

/// Where a service is unless told otherwise.
const DEFAULT_API: &str = "http://localhost:3000";
/// A service answers reads in milliseconds and gives up after half a minute; the network has as much.
const READ_LIMIT: Duration = Duration::from_secs(60);
/// An operation waits for replicas to catch up.
const CHANGE_LIMIT: Duration = Duration::from_secs(600);

/// Environment variables and the profile.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    values: BTreeMap<String, String>,
    /// Variables of the profile that could not be understood.
    pub(crate) not_understood: Vec<String>,
    /// The default owner.
    pub(crate) user: String,
}

impl Environment {
    pub(crate) fn of_this_process() -> Self {
        let profile = std::fs::read_to_string(profile::PATH).map(|text| profile::parse(&text)).unwrap_or_default();
        // What is not UTF-8 is none of our variables.
        let own =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::new(own.collect(), profile, crate::identity::user())
    }

    pub(crate) fn new(own: BTreeMap<String, String>, profile: Profile, user: String) -> Self {
        let not_understood = profile.not_understood.into_iter().filter(|name| !own.contains_key(name)).collect();
        let mut values = profile.values;
        values.extend(own);
        Self { values, not_understood, user }
    }

    /// A variable; `None` also when it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}

/// How TLS is done, where the address asks for it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    /// Authorities to trust, instead of those of the system.
    pub(crate) ca_file: Option<PathBuf>,
    /// Certificate and key to show.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) skip_verify: bool,
}

/// All that is needed to ask a service.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) credentials: Option<Credentials>,
    /// Name and value. Not printed: it may prove who somebody is.
    pub(crate) header: Option<(String, String)>,
    pub(crate) read_limit: Duration,
    pub(crate) change_limit: Duration,
    pub(crate) tls: Tls,
}

impl Settings {
    pub(crate) fn new(arguments: &Arguments, environment: &Environment) -> Result<Self, Problem> {
        let api = arguments.get("api").or_else(|| environment.get("ORCHESTRATOR_API")).unwrap_or(DEFAULT_API);
        let header = arguments.get("headers-auth").or_else(|| environment.get("ORCHESTRATOR_AUTH_USER_HEADER"));
        let limit = environment.get("ORCHESTRATOR_API_TIMEOUT").map(seconds).transpose()?;
        Ok(Self {
            endpoints: parse_list(api)?,
            credentials: credentials(arguments, environment),
            header: header.map(split_header).transpose()?,
            read_limit: limit.unwrap_or(READ_LIMIT),
            change_limit: limit.unwrap_or(CHANGE_LIMIT),
            tls: tls(environment)?,
        })
    }
}

/// The flag, or the pair in the environment. A user without a password is one.
fn credentials(arguments: &Arguments, environment: &Environment) -> Option<Credentials> {
    if let Some(pair) = arguments.get("auth") {
        let (user, password) = pair.split_once(':').unwrap_or((pair, ""));
        return Some(Credentials { user: user.to_owned(), password: password.to_owned() });
    }
    let user = environment.get("ORCHESTRATOR_AUTH_USER")?;
    let password = environment.get("ORCHESTRATOR_AUTH_PASSWORD").unwrap_or_default();
    Some(Credentials { user: user.to_owned(), password: password.to_owned() })
}

fn split_header(text: &str) -> Result<(String, String), Problem> {
    let malformed = || Problem::usage("-e and ORCHESTRATOR_AUTH_USER_HEADER take a header: Name: value");
    let (name, value) = text.split_once(':').ok_or_else(malformed)?;
    let (name, value) = (name.trim(), value.trim());
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) || value.chars().any(char::is_control) {
        return Err(malformed());
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn seconds(text: &str) -> Result<Duration, Problem> {
    let parsed = text.parse::<u32>().ok().filter(|seconds| *seconds > 0);
    let mistake =
        || Problem::usage(format!("ORCHESTRATOR_API_TIMEOUT is a number of seconds, 1 or more, not {text:?}"));
    Ok(Duration::from_secs(u64::from(parsed.ok_or_else(mistake)?)))
}

fn tls(environment: &Environment) -> Result<Tls, Problem> {
    let file = |name: &str| environment.get(name).map(PathBuf::from);
    let identity = match (file("ORCHESTRATOR_API_CERT_FILE"), file("ORCHESTRATOR_API_KEY_FILE")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(Problem::usage("ORCHESTRATOR_API_CERT_FILE and ORCHESTRATOR_API_KEY_FILE go together")),
    };
    let skip_verify = match environment.get("ORCHESTRATOR_API_SKIP_VERIFY") {
        None | Some("0" | "false" | "no") => false,
        Some("1" | "true" | "yes") => true,
        Some(_) => return Err(Problem::usage("ORCHESTRATOR_API_SKIP_VERIFY is true or false")),
    };
    // The second one is what the original's curl reads.
    let ca_file = file("ORCHESTRATOR_API_CA_FILE").or_else(|| file("CURL_CA_BUNDLE"));
    Ok(Tls { ca_file, identity, skip_verify })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn environment(pairs: &[(&str, &str)]) -> Environment {
        let own = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Environment::new(own, Profile::default(), "dba".to_owned())
    }

    fn settings(arguments: &[&str], pairs: &[(&str, &str)]) -> Result<Settings, Problem> {
        let words: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        Settings::new(&crate::arguments::parse(&words).expect("arguments"), &environment(pairs))
    }

    #[test]
    fn flags_win_over_the_environment_which_wins_over_the_profile() {
        let profile = profile::parse("ORCHESTRATOR_API=p:1\nORCHESTRATOR_AUTH_USER=p\nORCHESTRATOR_INSTANCE=$X\n");
        let own = BTreeMap::from([("ORCHESTRATOR_API".to_owned(), "e:1".to_owned())]);
        let environment = Environment::new(own, profile, String::new());
        assert_eq!(
            (environment.get("ORCHESTRATOR_API"), environment.get("ORCHESTRATOR_AUTH_USER")),
            (Some("e:1"), Some("p"))
        );
        assert_eq!(environment.not_understood, ["ORCHESTRATOR_INSTANCE"]);
        let pairs = [("ORCHESTRATOR_API", "e:1"), ("ORCHESTRATOR_AUTH_USER", "e"), ("ORCHESTRATOR_AUTH_PASSWORD", "x")];
        let flags = settings(&["-U", "f:1", "-b", "f:y:z"], &pairs).expect("settings");
        assert_eq!(flags.endpoints[0].base, "http://f:1/api");
        assert_eq!(flags.credentials, Some(Credentials { user: "f".to_owned(), password: "y:z".to_owned() }));
        let neither = settings(&[], &pairs).expect("settings");
        assert_eq!(neither.endpoints[0].base, "http://e:1/api");
        assert_eq!(neither.credentials, Some(Credentials { user: "e".to_owned(), password: "x".to_owned() }));
        assert_eq!(settings(&["-U", ""], &[]).expect("settings").endpoints[0].base, "http://localhost:3000/api");
    }

    #[test]
    fn mistakes_are_named_without_their_secrets() {
        let fails = |pairs: &[(&str, &str)]| settings(&[], pairs).expect_err("a mistake").to_string();
        assert!(!fails(&[("ORCHESTRATOR_AUTH_USER_HEADER", "secret")]).contains("secret"));
        assert!(!fails(&[("ORCHESTRATOR_AUTH_USER_HEADER", "X-User: secret\r\nX-Admin: 1")]).contains("secret"));
        assert!(fails(&[("ORCHESTRATOR_API_TIMEOUT", "0")]).contains("ORCHESTRATOR_API_TIMEOUT"));
        assert!(fails(&[("ORCHESTRATOR_API_CERT_FILE", "x")]).contains("together"));
        assert!(fails(&[("ORCHESTRATOR_API_SKIP_VERIFY", "perhaps")]).contains("true or false"));
        let header = settings(&["-e", "X-Forwarded-User: ann: b"], &[]).expect("settings").header;
        assert_eq!(header, Some(("X-Forwarded-User".to_owned(), "ann: b".to_owned())));
    }
}
