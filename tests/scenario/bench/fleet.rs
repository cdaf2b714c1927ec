//! The simulated fleet: the `simulator` process and its control port.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::options::{Case, Options};

/// For one answer of the control port: listing ten thousand servers takes milliseconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Counters of the simulator that matter here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Stats {
    pub(crate) queries: u64,
    pub(crate) round_trips: u64,
    pub(crate) new_connections: u64,
    pub(crate) open_connections: u64,
    pub(crate) unknown_statements: u64,
    pub(crate) unknown: Vec<Value>,
}

/// A running simulator. It ends when this is dropped, or when this process ends.
#[derive(Debug)]
pub(crate) struct Simulated {
    child: Child,
    control: BufReader<TcpStream>,
    pub(crate) clusters: usize,
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[derive(Debug, Deserialize)]
struct Ready {
    control_port: u16,
    clusters: usize,
}

impl Simulated {
    pub(crate) async fn start(options: &Options, case: Case) -> Result<Self> {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(scenario::binary("SIMULATOR_BIN")?)
            .args(["--servers", &case.instances.to_string()])
            .args(["--busy-share", &options.busy_share.to_string()])
            .args(["--latency", &options.latency])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the simulator")?;
        let stdout = child.stdout.take().context("the simulator has no output")?;
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
        if line.is_empty() {
            child.wait()?;
            bail!("the simulator ended at once; run it by hand with --servers {} to see why", case.instances);
        }
        let ready: Ready = serde_json::from_str(&line).context("the simulator did not say where it listens")?;
        let control = TcpStream::connect(("127.0.0.1", ready.control_port)).await?;
        Ok(Self { child, control: BufReader::new(control), clusters: ready.clusters })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// One address per cluster: its primary.
    pub(crate) async fn seeds(&mut self) -> Result<Value> {
        self.ask("seeds").await
    }

    pub(crate) async fn stats(&mut self) -> Result<Stats> {
        Ok(serde_json::from_value(self.ask("stats").await?)?)
    }

    /// Kills a share of the fleet; gives their addresses.
    pub(crate) async fn kill_share(&mut self, share: f64, death: &str) -> Result<Vec<String>> {
        let mut answer = self.ask(&format!("kill-share {share} {death}")).await?;
        Ok(serde_json::from_value(answer["killed"].take())?)
    }

    async fn ask(&mut self, command: &str) -> Result<Value> {
        let work = async {
            self.control.get_mut().write_all(format!("{command}\n").as_bytes()).await?;
            let mut line = String::new();
            self.control.read_line(&mut line).await?;
            anyhow::Ok(serde_json::from_str::<Value>(&line)?)
        };
        let answer =
            tokio::time::timeout(ANSWER_LIMIT, work).await.with_context(|| format!("no answer to {command:?}"))??;
        match answer.get("error") {
            Some(error) => bail!("the simulator refused {command:?}: {error}"),
            None => Ok(answer),
        }
    }
}
