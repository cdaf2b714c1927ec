//! `orchestrator-client`: the commands of `orchestrator`, over the HTTP API. For hosts that may reach a service but not
//! the backend.
//!
//! What this is: one table of commands ([`catalogue`]), each with the path it asks for and the way its reply is printed
//! ([`print`]); and the means to ask: which of several services ([`endpoint`]), how often and how long ([`api`]), in whose
//! name ([`settings`]), until when ([`follow`]). Names, flags, environment, output and exit status are those of the client of the original
//! orchestrator, which was a shell script; this one needs neither shell nor curl nor jq. What it deliberately is not: a
//! second implementation of anything. It decides nothing about servers, it asks.
//!
//! Invariants: everything has a time limit; a request that changes something is sent again only if it cannot have arrived;
//! a password, a header or the user part of an address is never printed.
//!
//! To add a command: one row in a table of `catalogue/`.

mod api;
mod arguments;
mod catalogue;
mod endpoint;
mod follow;
mod identity;
mod own;
mod print;
mod problem;
mod profile;
mod reply;
mod run;
mod settings;
mod template;
mod tls;

use std::process::ExitCode;

/// Runs the program.
pub fn main() -> ExitCode {
    let mut arguments = Vec::new();
    for argument in std::env::args_os().skip(1) {
        match argument.into_string() {
            Ok(argument) => arguments.push(argument),
            Err(argument) => {
                eprintln!("this argument is not UTF-8: {}", argument.to_string_lossy());
                return ExitCode::FAILURE;
            }
        }
    }
    let environment = settings::Environment::of_this_process();
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    ExitCode::from(run::run(&arguments, &environment, &mut out, &mut err))
}
