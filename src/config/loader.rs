//! Finding, reading and merging the files, and making settings of them.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::document;
use crate::expand::{self, Environment};
use crate::patterns::Patterns;
use crate::problem::{ConfigError, Problem, Warning};
use crate::settings::{Settings, find_key, keys};
use crate::suggest::{nearest, printable};
use crate::value::Mismatch;
use crate::{derive, obsolete, validate};

/// Where files are looked for when none is named; all that exist are merged, later ones win.
pub const SEARCH_PATH: [&str; 3] =
    ["/etc/orchestrator.conf.json", "conf/orchestrator.conf.json", "orchestrator.conf.json"];

/// Far more than any real file has: a wrong path (a device, a log) must not fill the memory.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Unknown keys listed per file; the rest is counted.
const MAX_UNKNOWN: usize = 100;

/// Reads the configuration, again and again if asked. Each time it starts from the defaults: a key that was removed
/// returns to its default.
#[derive(Debug)]
pub struct Loader {
    files: Vec<PathBuf>,
    /// Whether the files were named, so that a missing one is an error.
    named: bool,
    environment: Environment,
    /// The files the first load found: a reload that misses one of them fails instead of dropping its settings.
    found: OnceLock<Vec<PathBuf>>,
}

/// A configuration as read, and what is to be said about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub settings: Arc<Settings>,
    pub patterns: Arc<Patterns>,
    /// The files read, in order.
    pub files: Vec<PathBuf>,
    /// Every known key that a file sets, in the order of the table.
    pub set: Vec<SetKey>,
    pub warnings: Vec<Warning>,
}

/// A key that is set, and by which file last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetKey {
    pub name: &'static str,
    pub file: PathBuf,
}

impl Loader {
    /// A loader of `config_file` (`--config`), or of the search path.
    pub fn new(config_file: Option<PathBuf>, environment: Environment) -> Self {
        let named = config_file.is_some();
        let files = config_file.map_or_else(|| SEARCH_PATH.iter().map(PathBuf::from).collect(), |file| vec![file]);
        Self { files, named, environment, found: OnceLock::new() }
    }

    /// A loader of these files, each of which is merged where it exists.
    pub fn search(files: Vec<PathBuf>, environment: Environment) -> Self {
        Self { files, named: false, environment, found: OnceLock::new() }
    }

    /// Reads the files. No file at all gives the defaults.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        self.load_with(None)
    }

    /// Reads the files again. On an error keep the settings you have.
    pub fn reload(&self) -> Result<Settings, ConfigError> {
        self.load().map(|loaded| Arc::unwrap_or_clone(loaded.settings))
    }

    /// Like [`Loader::load`], with one more file on top, which is not remembered.
    pub fn load_with(&self, extra: Option<&Path>) -> Result<Loaded, ConfigError> {
        let mut sources = Vec::new();
        let mut warnings = Vec::new();
        for file in &self.files {
            let required = self.named || self.found.get().is_some_and(|found| found.contains(file));
            match read_file(file) {
                Ok(bytes) => sources.push((file.clone(), bytes)),
                Err(error) if !required && error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if !required => {
                    warnings.push(Warning::Unreadable { file: file.clone(), reason: error.to_string() });
                }
                Err(cause) => return Err(ConfigError::Read { file: file.clone(), cause }),
            }
        }
        let found: Vec<PathBuf> = sources.iter().map(|(file, _)| file.clone()).collect();
        if let Some(file) = extra {
            let bytes = read_file(file).map_err(|cause| ConfigError::Read { file: file.to_path_buf(), cause })?;
            sources.push((file.to_path_buf(), bytes));
        }
        let loaded = merge(sources, warnings, &self.environment)?;
        // Only the first load decides; that a later one finds it set is expected.
        let _ = self.found.set(found);
        Ok(loaded)
    }
}

impl Settings {
    /// Settings of one text, as if it were a file: for tests and examples.
    pub fn from_json(text: &str) -> Result<Loaded, ConfigError> {
        load_bytes(vec![("(text)".into(), text.as_bytes().to_vec())], &Environment::empty())
    }
}

/// Merges texts as if they were files of these names: for tests and fuzzing.
pub fn load_bytes(sources: Vec<(PathBuf, Vec<u8>)>, environment: &Environment) -> Result<Loaded, ConfigError> {
    merge(sources, Vec::new(), environment)
}

fn read_file(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("the file is longer than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

fn merge(
    sources: Vec<(PathBuf, Vec<u8>)>,
    warnings: Vec<Warning>,
    environment: &Environment,
) -> Result<Loaded, ConfigError> {
    let mut merging = Merging { settings: Settings::underived(), set: Vec::new(), problems: Vec::new(), warnings };
    let mut files = Vec::new();
    for (file, bytes) in sources {
        merging.lay_over(&file, &bytes);
        files.push(file);
    }
    let Merging { mut settings, mut set, mut problems, mut warnings } = merging;

    let read = |path: &Path| Ok(String::from_utf8_lossy(&read_file(path)?).into_owned());
    for (found, doubts) in
        [expand::read_credential_files(&mut settings, &read), expand::expand(&mut settings, environment)]
    {
        add(&mut problems, found);
        warnings.extend(doubts);
    }
    add(&mut problems, validate::contradictions(&settings));
    derive::apply(&mut settings);
    add(&mut problems, validate::values(&settings));
    let (patterns, bad_patterns) = Patterns::compile(&settings);
    add(&mut problems, bad_patterns);
    if !problems.is_empty() {
        for problem in problems.iter_mut().filter(|problem| problem.file.is_none()) {
            problem.file = set.iter().find(|set| Some(set.name) == problem.key).map(|set| set.file.clone());
        }
        return Err(ConfigError::Invalid { problems });
    }
    warnings.extend(crate::doubts::find(&settings));
    let order: Vec<&str> = keys().map(|key| key.name).collect();
    set.sort_by_key(|set| order.iter().position(|name| *name == set.name));
    Ok(Loaded { settings: Arc::new(settings), patterns: Arc::new(patterns), files, set, warnings })
}

/// Adds problems found later, except for keys that already have one: they would be its consequences.
fn add(problems: &mut Vec<Problem>, later: Vec<Problem>) {
    let known: HashSet<&str> = problems.iter().filter_map(|problem| problem.key).collect();
    let new: Vec<Problem> =
        later.into_iter().filter(|problem| problem.key.is_none_or(|key| !known.contains(key))).collect();
    problems.extend(new);
}

struct Merging {
    settings: Settings,
    set: Vec<SetKey>,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl Merging {
    fn lay_over(&mut self, file: &Path, bytes: &[u8]) {
        let document = match document::parse(bytes) {
            Ok(document) => document,
            Err(text) => {
                let remedy = "mend the file; nothing of it was used".to_string();
                self.problems.push(Problem { key: None, file: Some(file.to_path_buf()), text, remedy });
                return;
            }
        };
        let mut unknown = 0;
        for (name, value) in document.0 {
            if find_key(&name).is_some() {
                self.assign(file, &name, &value);
            } else if let Some(obsolete) = obsolete::find(&name) {
                let (key, reason) = (obsolete.name, obsolete.reason);
                self.warnings.push(Warning::Obsolete { file: file.to_path_buf(), key, reason });
            } else if !name.starts_with('_') {
                unknown += 1;
                if unknown <= MAX_UNKNOWN {
                    let nearest = nearest(&name, keys().map(|key| key.name));
                    let key = printable(&name);
                    self.warnings.push(Warning::Unknown { file: file.to_path_buf(), key, nearest });
                }
            }
        }
        if unknown > MAX_UNKNOWN {
            let count = unknown - MAX_UNKNOWN;
            self.warnings.push(Warning::ManyUnknown { file: file.to_path_buf(), count });
        }
        if !derive::fold_lag_query(&mut self.settings) {
            let text = "and its older name SlaveLagQuery are both set and differ";
            self.problems.push(Problem::key("ReplicationLagQuery", text, "remove the older name").in_file(file));
        }
    }

    fn assign(&mut self, file: &Path, name: &str, value: &Value) {
        let Some(key) = find_key(name) else { return };
        if let Err(mismatch) = (key.write)(&mut self.settings).assign(value) {
            let (text, remedy) = explain(mismatch);
            self.problems.push(Problem::key(key.name, text, remedy).in_file(file));
        }
        self.set.retain(|set| set.name != key.name);
        self.set.push(SetKey { name: key.name, file: file.to_path_buf() });
    }
}

fn explain(mismatch: Mismatch) -> (String, String) {
    match mismatch {
        Mismatch::Type { expected, found } => (format!("must be {expected}, but is {found}"), String::new()),
        Mismatch::Choice { given, nearest, allowed } => {
            let allowed: Vec<String> = allowed.iter().map(|word| format!("`{word}`")).collect();
            let hint = nearest.map_or(String::new(), |near| format!("did you mean `{near}`? "));
            (format!("has the unknown value `{given}`"), format!("{hint}known are {}", allowed.join(", ")))
        }
    }
}
