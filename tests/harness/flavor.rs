//! Which server program, and where it is installed.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

/// The two server families orchestrator manages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavor {
    MySql,
    MariaDb,
}

impl Flavor {
    pub const ALL: [Flavor; 2] = [Flavor::MySql, Flavor::MariaDb];

    /// The word used on the command line, in file names and in state files.
    pub fn word(self) -> &'static str {
        match self {
            Flavor::MySql => "mysql",
            Flavor::MariaDb => "mariadb",
        }
    }

    /// The other family: a fleet's backend need not be of the kind it manages.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Flavor::MySql => Flavor::MariaDb,
            Flavor::MariaDb => Flavor::MySql,
        }
    }

    /// Finds the server program, or says which command installs it.
    pub(crate) fn program(self) -> Result<Program> {
        match self {
            Flavor::MySql => mysql_program(),
            Flavor::MariaDb => mariadb_program(),
        }
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Flavor {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Self> {
        Flavor::ALL
            .into_iter()
            .find(|flavor| flavor.word().eq_ignore_ascii_case(word))
            .with_context(|| format!("unknown server flavor {word:?}: use mysql or mariadb"))
    }
}

/// An installed server program.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    /// As the program reports it, e.g. `9.7.4-2` or `10.11.11-MariaDB`.
    pub(crate) version: String,
}

fn mysql_program() -> Result<Program> {
    let prefix = match std::env::var_os("ORCHESTRATOR_MYSQL_PREFIX") {
        Some(prefix) => PathBuf::from(prefix),
        None => std::env::home_dir().context("HOME is not set")?.join(".cache/orchestrator/mysql-9.7"),
    };
    let path = prefix.join("bin/mysqld");
    if !path.is_file() {
        bail!("mysqld 9.7 not found in {}; run scripts/install-servers --mysql-only", prefix.display());
    }
    with_version(path)
}

fn mariadb_program() -> Result<Program> {
    let path = find_program("mariadbd")
        .context("mariadbd not found in PATH or /usr/sbin; run scripts/install-servers --mariadb-only")?;
    with_version(path)
}

/// Looks in PATH, then where Debian puts server programs (often absent from a user's PATH).
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/usr/libexec"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

fn with_version(path: PathBuf) -> Result<Program> {
    let version = version_of(&path)?;
    Ok(Program { path, version })
}

fn version_of(path: &Path) -> Result<String> {
    let output = Command::new(path)
        .args(["--no-defaults", "--version"])
        .output()
        .with_context(|| format!("cannot run {}", path.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace()
        .skip_while(|word| *word != "Ver")
        .nth(1)
        .map(str::to_owned)
        .with_context(|| format!("{} --version says {text:?}, not its version", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavors_are_read_as_they_are_written() {
        for flavor in Flavor::ALL {
            assert_eq!(flavor.to_string().parse::<Flavor>().unwrap(), flavor);
        }
        assert!("oracle".parse::<Flavor>().unwrap_err().to_string().contains("mysql or mariadb"));
    }
}
