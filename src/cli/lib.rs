//! The command line: `orchestrator http`, `orchestrator worker`, `orchestrator <command>`.
//!
//! What this is: the edge of the program. It reads arguments, environment and configuration, wires the parts of a
//! process together, and prints results. What it deliberately is not: a place for decisions about the fleet (those are
//! in `domain`), for reading or changing it (`service::actions`), or for talking to managed servers (jobs do).
//!
//! Invariants: results go to stdout, everything else to stderr; every command answers as text and as JSON; exit status
//! 0, 1, 2, 130 and 143 mean what [`exit`] says; nobody else reads process arguments or environment.
//!
//! To add a command: a function in the file of its family in `commands/`, and its row in that file's table. Dispatch,
//! listing and `help` follow from the row. To add a flag: a row in `arguments/table.rs`.

mod answer;
mod arguments;
mod catalogue;
mod commands;
#[cfg(test)]
mod end_to_end;
mod identity;
mod io;
mod logging;
mod process;
mod run;
mod session;

use std::process::ExitCode;
use std::time::Duration;

use config::Environment;

use crate::logging::Logging;

/// Exit status.
pub mod exit {
    /// Success, including "nothing to print".
    pub const OK: u8 = 0;
    /// The command failed: a bad value, a failed operation, an unknown command, an unusable configuration, no worker.
    pub const FAILED: u8 = 1;
    /// The command line could not be read.
    pub const USAGE: u8 = 2;
    /// Interrupted by SIGINT while something goes on elsewhere, or was put back.
    pub const INTERRUPTED: u8 = 130;
    /// The same by SIGTERM.
    pub const TERMINATED: u8 = 143;
}

/// How long tasks that ignore cancellation may hold up the end of the process.
const LAST_BREATH: Duration = Duration::from_millis(500);

/// Runs the program.
pub fn main() -> ExitCode {
    // First of all: the zone of log lines cannot be read once there are threads.
    let logging = Logging::of_this_process();
    let mut arguments = Vec::new();
    for argument in std::env::args_os().skip(1) {
        match argument.into_string() {
            Ok(argument) => arguments.push(argument),
            Err(argument) => {
                eprintln!("this argument is not UTF-8: {}", argument.to_string_lossy());
                return ExitCode::from(exit::USAGE);
            }
        }
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start the program's threads: {error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    let surroundings = run::Surroundings {
        environment: Environment::new(|name| std::env::var(name).ok()),
        me: identity::of_this_process(),
        offset: logging.offset,
        logging: Some(logging),
        interrupt: session::Interrupt::Signals,
    };
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let code = runtime.block_on(run::run(&arguments, surroundings, &mut out, &mut err));
    runtime.shutdown_timeout(LAST_BREATH);
    ExitCode::from(code)
}
