//! About this program and who may use it.

use serde_json::json;
use service::actions::tokens;

use super::each;
use crate::answer::Answer;
use crate::catalogue::Command;
use crate::session::Session;

pub(crate) const COMMANDS: &[Command] = &[each!(
    "Meta",
    "access-token",
    access_token,
    "Issue a token for signing in to the web page",
    "access-token --owner NAME\n\n\
     Prints the public half of a new token, 64 hex digits, to be exchanged once and soon on the web page.\n\
     Of use with AuthenticationMethod token."
)];

/// Shown when nothing was asked for.
pub(crate) const CHEAT_SHEET: &str = "\
orchestrator discovers and manages MySQL and MariaDB replication topologies.

Run it:
    orchestrator http                                  service: API, web page, leader election, built-in worker
    orchestrator worker --datacenter dc1               worker for the servers of a datacenter
    orchestrator migrate                               prepare or upgrade the backend's schema

Make servers known:
    orchestrator discover -i db1.example.com:3306      look now; sources and replicas follow by themselves
    orchestrator submit discover --jitter 600s         for crontabs: queue this host and return
    orchestrator forget -i db1.example.com:3306

Look:
    orchestrator clusters
    orchestrator topology -i db1.example.com:3306
    orchestrator topology-tabulated --alias shop
    orchestrator search --pattern db1
    orchestrator which-replicas -i db1.example.com:3306 --json
    orchestrator problems

Say:
    orchestrator begin-downtime -i db1.example.com:3306 --reason \"new disk\" --duration 2h
    orchestrator tag -i db1.example.com:3306 --tag role=backup
    orchestrator register-candidate -i db1.example.com:3306 --promotion-rule prefer

Look into the program:
    orchestrator nodes
    orchestrator jobs list --state failed
    orchestrator config check

Try it on throw-away servers:
    orchestrator sandbox up

-c COMMAND is the same as COMMAND. Full list: orchestrator help; one command: orchestrator help COMMAND; flags: --help
";

/// Version and, where the build knows it, the commit: a line each.
pub(crate) fn version() -> Answer {
    let (version, commit) = (env!("CARGO_PKG_VERSION"), option_env!("ORCHESTRATOR_GIT_COMMIT"));
    let text = format!("{version}\n{}\n", commit.unwrap_or("unknown commit"));
    Answer { text, json: json!({ "version": version, "commit": commit }) }
}

async fn access_token(session: &Session<'_>) -> anyhow::Result<Answer> {
    Ok(Answer::line(tokens::issue(&session.scope, &session.base.owner()).await?))
}
