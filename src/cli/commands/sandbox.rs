//! Throw-away servers to try things on.

use std::path::PathBuf;

use anyhow::bail;
use harness::{Flavor, sandbox};
use serde_json::json;

use super::alone;
use crate::answer::{Answer, columns, ended};
use crate::catalogue::Command;
use crate::session::Base;

/// Where a sandbox is unless told otherwise: below the working directory, so that several do not meet.
const DEFAULT_DIR: &str = "orchestrator-sandbox";
const DEFAULT_REPLICAS: u64 = 3;

pub(crate) const COMMANDS: &[Command] = &[alone!(
    "Sandbox",
    "sandbox",
    run,
    "Start, show or remove throw-away servers: sandbox up|status|down",
    "sandbox up [--flavor mysql|mariadb] [--replicas N] [--dir DIR]   start a primary and its replicas on loopback\n\
     sandbox status [--dir DIR]                                       how they are\n\
     sandbox down [--dir DIR]                                         stop them and remove their files\n\n\
     They outlive this command. Server programs are installed by scripts/install-servers. `up` prints the address of the\n\
     primary: discover it, and the rest is found."
)];

async fn run(base: &Base) -> anyhow::Result<Answer> {
    let dir = PathBuf::from(base.flags.get("dir").filter(|dir| !dir.is_empty()).unwrap_or(DEFAULT_DIR));
    match base.words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["up"] => {
            let flavor: Flavor = base.flags.get("flavor").unwrap_or(Flavor::MySql.word()).parse()?;
            let replicas = base.flags.number("replicas").map_err(anyhow::Error::msg)?.unwrap_or(DEFAULT_REPLICAS);
            let up = sandbox::up(flavor, usize::try_from(replicas).unwrap_or(usize::MAX), &dir).await?;
            let text = ended(up.servers.iter().map(|server| format!("{}\t{}", server.name, server.address())));
            Ok(Answer { text, json: serde_json::to_value(&up)? })
        }
        ["status"] => {
            let servers = sandbox::status(&dir).await?;
            let rows: Vec<Vec<String>> = servers
                .iter()
                .map(|server| {
                    let running = match (server.pid, &server.error) {
                        (None, _) => "stopped".to_owned(),
                        (Some(pid), None) => format!("running (pid {pid})"),
                        (Some(pid), Some(error)) => format!("pid {pid}: {error}"),
                    };
                    let mode = server.read_only.map_or("-", |read_only| if read_only { "ro" } else { "rw" });
                    vec![server.name.clone(), server.address.clone(), mode.to_owned(), running]
                })
                .collect();
            Ok(Answer {
                text: columns(&["NAME", "ADDRESS", "MODE", "STATE"], &rows),
                json: serde_json::to_value(&servers)?,
            })
        }
        ["down"] => {
            let stopped = sandbox::down(&dir).await?;
            Ok(Answer { text: Answer::lines(&stopped).text, json: json!({ "stopped": stopped }) })
        }
        _ => bail!("say which: orchestrator sandbox up|status|down"),
    }
}
