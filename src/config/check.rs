//! What `orchestrator config check` says about a configuration that loads.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::key::{Reload, Status};
use crate::loader::Loaded;
use crate::problem::{Problem, Warning};
use crate::settings::find_key;

/// Every key that is set, sorted by what setting it does.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Files read, in order; later ones win.
    pub files: Vec<PathBuf>,
    pub effective: Vec<Entry>,
    /// With the feature they wait for.
    pub not_yet_effective: Vec<Entry>,
    /// With the reason, or with what does their work.
    pub without_effect: Vec<Entry>,
    /// With the name to use.
    pub synonyms: Vec<Entry>,
    /// Unknown keys with the nearest name, obsolete keys, doubtful values.
    pub warnings: Vec<Warning>,
    /// Files that the settings name but that cannot be opened.
    pub problems: Vec<Problem>,
}

/// A key that is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub key: &'static str,
    /// The file that set it last.
    pub file: PathBuf,
    /// Its value, secrets masked.
    pub value: serde_json::Value,
    /// What there is to say about it; see the lists of [`Report`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Whether a change needs a restart.
    pub restart: bool,
}

/// Sorts what is set by its effect, and looks whether the files named can be opened.
pub fn check(loaded: &Loaded) -> Report {
    let mut report = Report {
        files: loaded.files.clone(),
        warnings: loaded.warnings.clone(),
        problems: loaded.settings.check_files(),
        ..Report::default()
    };
    for set in &loaded.set {
        let Some(key) = find_key(set.name) else { continue };
        let (list, note) = match key.status {
            Status::Effective => (&mut report.effective, String::new()),
            Status::NotYet(feature) => (&mut report.not_yet_effective, feature.to_string()),
            Status::Unused(reason) => (&mut report.without_effect, reason.to_string()),
            Status::Superseded(by) => (&mut report.without_effect, format!("superseded by {by}")),
            Status::Unsupported(instead) => (&mut report.without_effect, format!("not supported: {instead}")),
            Status::Synonym(of) => (&mut report.synonyms, of.to_string()),
        };
        // The value of an older name has gone to the newer one.
        let holder = if let Status::Synonym(of) = key.status { find_key(of).unwrap_or(key) } else { key };
        let value = holder.shown(&loaded.settings);
        let restart = key.reload == Reload::Restart;
        list.push(Entry { key: key.name, file: set.file.clone(), value, note, restart });
    }
    report
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.files.is_empty() {
            writeln!(f, "No configuration file was found; defaults apply.")?;
        }
        for file in &self.files {
            writeln!(f, "Read {}", file.display())?;
        }
        let lists = [
            ("Effective", &self.effective),
            ("Not yet effective (waiting for)", &self.not_yet_effective),
            ("Without effect (because)", &self.without_effect),
            ("Older names (use instead)", &self.synonyms),
        ];
        for (title, entries) in lists.into_iter().filter(|(_, entries)| !entries.is_empty()) {
            writeln!(f, "\n{title}:")?;
            for entry in entries {
                let note = if entry.note.is_empty() { String::new() } else { format!("  ({})", entry.note) };
                writeln!(f, "  {} = {}{note}", entry.key, entry.value)?;
            }
        }
        if !self.warnings.is_empty() {
            writeln!(f, "\nWarnings:")?;
        }
        for warning in &self.warnings {
            writeln!(f, "  {warning}")?;
        }
        if !self.problems.is_empty() {
            writeln!(f, "\nProblems:")?;
        }
        for problem in &self.problems {
            writeln!(f, "  {problem}")?;
        }
        Ok(())
    }
}
