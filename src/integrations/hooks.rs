//! Hooks: shell commands of the user's, run around detections, recoveries and takeovers.
//!
//! ```text
//!   command ──fill──▶ script in a temporary file ──▶ <shell> <file>   its own process group, ORC_* variables, no input
//!                                                      │ ends         ─▶ Succeeded, Failed
//!                                                      │ takes too long: SIGTERM, then SIGKILL to the group ─▶ TimedOut
//!                                                      └ `command &`: started, not waited for ─▶ Detached
//! ```
//! Which list runs when, and what a failing entry stops, is the caller's. `docs/hooks.md` is the user's view.
//!
//! To add a value: a field of [`HookFacts`], its row in `facts.rs`, the table in `docs/hooks.md`.

mod capture;
mod facts;
mod fill;
mod process;

use std::fmt;
use std::time::{Duration, Instant};

use domain::instance::InstanceKey;

pub use facts::{HookFacts, Successor};
use process::Script;

/// How hooks are run: the same for all of them.
#[derive(Debug, Clone)]
pub struct HookSettings {
    /// Reads the script: `ProcessesShellCommand`.
    pub shell: String,
    /// A hook that takes longer is killed: `HookTimeoutSeconds`.
    pub timeout: Duration,
    /// Bytes of output that are kept; of more than that, the beginning and the end.
    pub longest_output: usize,
    /// Our own passwords: variables that hold one are not inherited, and what a hook prints of them is blotted out.
    pub secrets: Vec<String>,
}

impl HookSettings {
    /// The text as it may be stored and shown: whoever writes a password into a hook has it there, and nowhere else.
    pub fn without_secrets(&self, text: &str) -> String {
        capture::without_secrets(text, &self.secrets)
    }
}

/// What became of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookEnd {
    /// Exit code 0.
    Succeeded,
    /// Another exit code; none when a signal ended it.
    Failed { code: Option<i32> },
    /// It took too long and was killed, with everything it had started in its process group.
    TimedOut,
    /// It did not run at all.
    NotStarted { reason: String },
    /// It ended in `&`: it was started, and nobody waits for it.
    Detached,
}

/// One run of one hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookReport {
    /// As configured: without any value, and without the secrets of [`HookSettings`].
    pub command: String,
    pub end: HookEnd,
    /// Standard output and error in the order of their writing; cut, and without the secrets of [`HookSettings`].
    /// Empty for a detached hook, whose output goes to our own standard error.
    pub output: String,
    pub took: Duration,
}

impl HookReport {
    /// Whether the list goes on behind a hook that may stop it. What becomes of a detached one stops nothing.
    pub fn succeeded(&self) -> bool {
        matches!(self.end, HookEnd::Succeeded | HookEnd::Detached)
    }
}

impl fmt::Display for HookEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => f.write_str("succeeded"),
            Self::Failed { code: Some(code) } => write!(f, "failed with exit code {code}"),
            Self::Failed { code: None } => f.write_str("was ended by a signal"),
            Self::TimedOut => f.write_str("took longer than HookTimeoutSeconds and was killed"),
            Self::NotStarted { reason } => write!(f, "could not be started: {reason}"),
            Self::Detached => f.write_str("was started and is not waited for"),
        }
    }
}

/// Runs one entry of a list of hooks.
///
/// When the future is dropped, the hook is killed with everything it started: it must not go on behind the back of
/// whoever takes over. A detached one goes on.
pub async fn run(command: &str, facts: &HookFacts, settings: &HookSettings) -> HookReport {
    let values = facts.values();
    let (text, detached) = split_detached(command);
    let script = Script {
        text: fill::fill(text, &values),
        arguments: Vec::new(),
        variables: values.iter().filter_map(facts::Value::variable).collect(),
        detached,
    };
    report(command, script, settings).await
}

/// Runs one entry of `PostTakeMasterProcesses`, which are of an older kind: nothing in the text is replaced. Who has taken
/// over and from whom are the arguments `$1` and `$2`.
pub async fn run_after_take_master(
    command: &str,
    successor: &InstanceKey,
    demoted: &InstanceKey,
    settings: &HookSettings,
) -> HookReport {
    let (text, detached) = split_detached(command);
    let (successor, demoted) = (successor.to_string(), demoted.to_string());
    let script = Script {
        text: text.to_owned(),
        variables: vec![("ORC_SUCCESSOR_HOST", successor.clone()), ("ORC_FAILED_HOST", demoted.clone())],
        arguments: vec![successor, demoted],
        detached,
    };
    report(command, script, settings).await
}

async fn report(command: &str, script: Script, settings: &HookSettings) -> HookReport {
    let begun = Instant::now();
    let (end, output) = process::run(command, script, settings).await;
    HookReport { command: settings.without_secrets(command), end, output, took: begun.elapsed() }
}

/// The text without blanks and `&` at its end, and whether there was a `&`.
fn split_detached(command: &str) -> (&str, bool) {
    let command = command.trim();
    if !command.ends_with('&') {
        return (command, false);
    }
    (command.trim_end_matches(|c: char| c == '&' || c.is_whitespace()), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_trailing_ampersands_mean_one_thing() {
        for (command, expected) in [
            ("notify", ("notify", false)),
            (" notify a && b \n", ("notify a && b", false)),
            ("notify &", ("notify", true)),
            ("notify &&& & ", ("notify", true)),
            ("notify 2>&1", ("notify 2>&1", false)),
            ("&", ("", true)),
            ("", ("", false)),
        ] {
            assert_eq!(split_detached(command), expected, "{command:?}");
        }
    }
}
