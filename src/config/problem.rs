//! What can be wrong with a configuration, said so that the reader can mend it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::Serialize;

/// Loading failed; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}", file.display())]
    Read {
        file: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// All problems found, not only the first.
    #[error("{}", Listed(problems))]
    Invalid { problems: Vec<Problem> },
}

impl ConfigError {
    /// The problems, where the files could be read at all.
    pub fn problems(&self) -> &[Problem] {
        match self {
            ConfigError::Read { .. } => &[],
            ConfigError::Invalid { problems } => problems,
        }
    }
}

/// One thing that is wrong. Never contains the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The key at fault; none where the file as a whole is.
    pub key: Option<&'static str>,
    /// The file it came from, where that is known.
    pub file: Option<PathBuf>,
    pub text: String,
    pub remedy: String,
}

impl Problem {
    pub(crate) fn key(key: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: Some(key), file: None, text: text.into(), remedy: remedy.into() }
    }

    pub(crate) fn in_file(self, file: impl Into<PathBuf>) -> Self {
        Self { file: Some(file.into()), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        if let Some(key) = self.key {
            write!(f, "{key} ")?;
        }
        f.write_str(&self.text)?;
        if !self.remedy.is_empty() {
            write!(f, " ({})", self.remedy)?;
        }
        Ok(())
    }
}

struct Listed<'a>(&'a [Problem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0 {
            return write!(f, "configuration: {only}");
        }
        write!(f, "configuration: {} problems", self.0.len())?;
        for problem in self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

/// Something that does not stop us but is probably not what was meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Warning {
    /// No such key; with the known name nearest to it.
    Unknown { file: PathBuf, key: String, nearest: Option<&'static str> },
    /// More unknown keys than are listed.
    ManyUnknown { file: PathBuf, count: usize },
    /// A key of earlier versions, ignored.
    Obsolete { file: PathBuf, key: &'static str, reason: &'static str },
    /// A file of the search path exists but cannot be read.
    Unreadable { file: PathBuf, reason: String },
    /// A value that works, but hardly as meant.
    Doubtful { key: &'static str, text: String },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Unknown { file, key, nearest: Some(nearest) } => {
                write!(f, "{}: unknown key {key}: did you mean {nearest}?", file.display())
            }
            Warning::Unknown { file, key, nearest: None } => write!(f, "{}: unknown key {key}", file.display()),
            Warning::ManyUnknown { file, count } => write!(f, "{}: {count} more unknown keys", file.display()),
            Warning::Obsolete { file, key, reason } => {
                write!(f, "{}: {key} is obsolete and ignored: {reason}", file.display())
            }
            Warning::Unreadable { file, reason } => write!(f, "{} is ignored: {reason}", file.display()),
            Warning::Doubtful { key, text } => write!(f, "{key} {text}"),
        }
    }
}
