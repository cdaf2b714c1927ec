//! The benchmark of polling: real `orchestrator` processes and a real backend against a simulated fleet.
//!
//! For every combination of fleet size, number of workers and share of dead servers it starts everything afresh, waits
//! until the whole fleet is known, and measures what a probe costs and how old the picture gets. What the figures mean:
//! `docs/benchmarks.md`. Started by `scripts/bench`, which builds the executables first.
//!
//! What it is not: a test. Targets are printed as met or missed, never asserted; the exit code says only whether all
//! combinations could be measured.

mod explain;
mod fleet;
mod measure;
mod options;
mod report;
mod run;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::options::Options;
use crate::report::Row;

// One thread on purpose: the driver shares the machine with what it measures.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Measures every combination; false when one of them could not be measured.
async fn run(options: &Options) -> Result<bool> {
    // Said first: figures of a debug build are worth nothing.
    for variable in ["ORCHESTRATOR_BIN", "SIMULATOR_BIN"] {
        let path = scenario::binary(variable)?;
        let warning = if path.components().any(|part| part.as_os_str() == "debug") { " (a DEBUG build)" } else { "" };
        eprintln!("measuring {}{warning}", path.display());
    }
    let cases = options.cases();
    let mut rows: Vec<Row> = Vec::with_capacity(cases.len());
    let mut complete = true;
    for (number, case) in cases.iter().enumerate() {
        eprintln!("== {} of {}: {case}", number + 1, cases.len());
        match run::combination(options, *case).await {
            Ok(mut row) => {
                row.compare(&rows);
                println!("{}", row.line());
                rows.push(row);
            }
            Err(error) => {
                complete = false;
                eprintln!("   could not be measured: {error:#}");
            }
        }
        // Written after each combination: a long run that is interrupted keeps what it has.
        if let Some(file) = &options.json {
            let text = report::json(options, &rows)?;
            std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    println!("\n{}", report::table(&rows));
    println!("{}", report::targets(&rows));
    Ok(complete)
}
