//! Secrets from outside the file: credential files, then `${NAME}`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::Settings;
use crate::credentials::{Credentials, parse_credentials};
use crate::problem::{Problem, Warning};
use crate::settings::keys;

/// Where `${NAME}` is looked up. Handed in, so that only the edge of the program reads the process's environment.
#[derive(Clone)]
pub struct Environment(Arc<LookUp>);

type LookUp = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Environment {
    pub fn new(look_up: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(look_up))
    }

    /// An environment without variables.
    pub fn empty() -> Self {
        Self::new(|_| None)
    }
}

impl From<BTreeMap<String, String>> for Environment {
    fn from(variables: BTreeMap<String, String>) -> Self {
        Self::new(move |name| variables.get(name).cloned())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

/// Reads the credential files that are named; they replace user and password, both.
pub(crate) fn read_credential_files(
    settings: &mut Settings,
    read: &dyn Fn(&Path) -> std::io::Result<String>,
) -> (Vec<Problem>, Vec<Warning>) {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let mut take = |key: &'static str, file: &str| match credentials(key, file, read) {
        Ok(None) => None,
        Ok(Some(credentials)) => {
            if credentials.user.is_empty() {
                warnings.push(Warning::Doubtful { key, text: "names a file without a user in [client]".to_string() });
            }
            Some(credentials)
        }
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    let topology = &mut settings.topology;
    if let Some(found) = take("MySQLTopologyCredentialsConfigFile", &topology.credentials_config_file) {
        (topology.user, topology.password) = (found.user, found.password);
    }
    let backend = &mut settings.backend;
    if let Some(found) = take("MySQLOrchestratorCredentialsConfigFile", &backend.credentials_config_file) {
        (backend.user, backend.password) = (found.user, found.password);
    }
    (problems, warnings)
}

fn credentials(
    key: &'static str,
    file: &str,
    read: &dyn Fn(&Path) -> std::io::Result<String>,
) -> Result<Option<Credentials>, Problem> {
    if file.is_empty() {
        return Ok(None);
    }
    let text = read(Path::new(file)).map_err(|error| {
        Problem::key(key, format!("names a file that cannot be read: {error}"), "mend the path or its permissions")
            .in_file(file)
    })?;
    let parsed = parse_credentials(&text).map_err(|reason| {
        Problem::key(key, format!("names a malformed file: {reason}"), "it needs user and password under [client]")
            .in_file(file)
    })?;
    Ok(Some(parsed))
}

/// Replaces each secret or user name that contains `${NAME}` by the value of that variable: the whole of it, as the
/// original did, so that text around it is dropped (with a warning). A variable that is not set is a problem; the
/// original logged in with an empty password instead.
pub(crate) fn expand(settings: &mut Settings, environment: &Environment) -> (Vec<Problem>, Vec<Warning>) {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    for key in keys().filter(|key| key.expands()) {
        let Some(text) = (key.write)(settings).text_mut() else { continue };
        let Some((name, whole)) = variable(text) else { continue };
        if !whole {
            let dropped = "has text around ${...}, which is dropped".to_string();
            warnings.push(Warning::Doubtful { key: key.name, text: dropped });
        }
        match (environment.0)(name) {
            Some(value) => *text = value,
            None => problems.push(unset(key.name, name)),
        }
    }
    (problems, warnings)
}

/// A name that cannot be a variable is not shown: it may be a piece of a password that happens to contain `${`.
fn unset(key: &'static str, name: &str) -> Problem {
    let plain = !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain {
        let text = format!("refers to the environment variable {name}, which is not set");
        Problem::key(key, text, format!("set {name} for this process, empty if need be"))
    } else {
        let text = "contains `${...}` with something inside that is no name of a variable";
        Problem::key(key, text, "write one ${NAME}, or put the value into a variable")
    }
}

/// The name between the first `${` and the last `}`, and whether it makes up the whole text.
fn variable(text: &str) -> Option<(&str, bool)> {
    let start = text.find("${")?;
    let end = text.rfind('}').filter(|end| *end >= start + 2)?;
    Some((&text[start + 2..end], start == 0 && end + 1 == text.len()))
}
