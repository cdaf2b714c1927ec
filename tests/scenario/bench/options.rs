//! What to measure: the command line.

use std::fmt;
use std::path::PathBuf;

use clap::Parser;
use harness::Flavor;
use serde_json::Value;

/// Measures what polling costs, and how fresh the picture stays.
///
/// Combines every fleet size with every number of workers and every share of dead servers.
#[derive(Debug, Parser)]
#[command(name = "scripts/bench")]
pub(crate) struct Options {
    /// A small run that shows that everything works: 1,000 servers, 1 worker, 15 s
    #[arg(long)]
    pub(crate) quick: bool,
    /// Fleet sizes [default: 1000,5000,10000]
    #[arg(long, value_delimiter = ',')]
    instances: Vec<usize>,
    /// Numbers of worker processes [default: 1,3]
    #[arg(long, value_delimiter = ',')]
    workers: Vec<usize>,
    /// Shares of servers that are killed before the measurement [default: 0,0.2]
    #[arg(long, value_delimiter = ',')]
    dead: Vec<f64>,
    /// How the dead are dead, in the words of the simulator
    #[arg(long, default_value = "blackhole")]
    pub(crate) death: String,
    /// Length of each measurement [default: 60]
    #[arg(long)]
    seconds: Option<u64>,
    /// Which server is the backend: mariadb or mysql
    #[arg(long, default_value = "mariadb")]
    pub(crate) backend: Flavor,
    /// InstancePollSeconds
    #[arg(long, default_value_t = 5)]
    pub(crate) poll: u64,
    /// Share of clusters that commit a transaction every second; the others do not change
    #[arg(long, default_value_t = 0.0)]
    pub(crate) busy_share: f64,
    /// Latency of every answer of a managed server, such as 5ms
    #[arg(long, default_value = "0")]
    pub(crate) latency: String,
    /// A configuration key for orchestrator, KEY=JSON; may be given several times
    #[arg(long = "set", value_parser = pair)]
    pub(crate) settings: Vec<(String, Value)>,
    /// A global variable of the backend, NAME=VALUE, set before anything connects; may be given several times
    #[arg(long = "backend-set", value_name = "NAME=VALUE")]
    pub(crate) variables: Vec<String>,
    /// Also write every figure to this file, as JSON
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Log every backend statement and print the dearest kinds; makes the backend's figures worse
    #[arg(long)]
    pub(crate) explain: bool,
}

/// One combination.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Case {
    pub(crate) instances: usize,
    pub(crate) workers: usize,
    pub(crate) dead: f64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instances, workers, dead } = self;
        write!(f, "{instances} instances, {workers} worker(s), {:.0} % dead", dead * 100.0)
    }
}

impl Options {
    /// In the order given, so that a dead share comes after its 0 % when 0 is named first.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let sizes: &[usize] = if self.quick { &[1000] } else { &[1000, 5000, 10_000] };
        let fleets: &[usize] = if self.quick { &[1] } else { &[1, 3] };
        let mut cases = Vec::new();
        for instances in or(&self.instances, sizes) {
            for workers in or(&self.workers, fleets) {
                for dead in or(&self.dead, &[0.0, 0.2]) {
                    cases.push(Case { instances, workers, dead });
                }
            }
        }
        cases
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.seconds.unwrap_or(if self.quick { 15 } else { 60 })
    }
}

fn or<T: Copy>(given: &[T], default: &[T]) -> Vec<T> {
    if given.is_empty() { default.to_vec() } else { given.to_vec() }
}

fn pair(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=JSON is needed")?;
    // A bare word is meant as text.
    Ok((key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_meets_every_number_of_workers_and_share() {
        let options = Options::parse_from(["bench", "--instances", "10,20", "--workers", "1", "--dead", "0,0.5"]);
        let cases: Vec<String> = options.cases().iter().map(ToString::to_string).collect();
        assert_eq!(
            cases,
            [
                "10 instances, 1 worker(s), 0 % dead",
                "10 instances, 1 worker(s), 50 % dead",
                "20 instances, 1 worker(s), 0 % dead",
                "20 instances, 1 worker(s), 50 % dead",
            ]
        );
    }

    #[test]
    fn settings_are_json_or_bare_words() {
        assert_eq!(pair("A=5").unwrap().1, 5);
        assert_eq!(pair("A=word").unwrap().1, "word");
        assert!(pair("A").is_err());
    }
}
