//! The processes of the fleet, and who leads.

use api::clock::{backend_text, rfc3339};
use serde_json::{Value, json};
use service::actions::{leadership, nodes};
use store::nodes::Node;

use super::each;
use super::queue::age;
use crate::answer::{Answer, columns, ended};
use crate::catalogue::Command;
use crate::session::Session;

/// Terms shown unless told otherwise.
const DEFAULT_TERMS: u64 = 20;
const SECTION: &str = "Nodes";

pub(crate) const COMMANDS: &[Command] = &[
    each!(
        SECTION,
        "nodes",
        all,
        "List services and workers with their load",
        "Prints each registered process: role, datacenters it serves, version, running jobs, memory, CPU time, last sign of\n\
         life, and which one leads. Dead ones stay listed for an hour."
    ),
    each!(SECTION, "active-nodes", active, "List live nodes as hostname:token"),
    each!(
        SECTION,
        "leadership",
        terms,
        "List the terms of leadership: leadership [--limit N]",
        "Prints who led when, newest first. Terms never overlap: each act of a leader is checked against its term."
    ),
];

async fn all(session: &Session<'_>) -> anyhow::Result<Answer> {
    let found = nodes::list(&session.scope).await?;
    let leader = leadership::current(&session.scope).await?;
    let mut conn = session.scope.pool.acquire().await?;
    let workers = queue::live_workers(&mut conn).await?;
    let running = |node: &Node| {
        let worker = workers.iter().find(|worker| worker.token == node.registration.token)?;
        Some((worker.running, worker.concurrency))
    };
    let leads = |node: &Node| leader.is_live && leader.holder == node.registration.token;
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|node| {
            let one = &node.registration;
            let load: Value = serde_json::from_str(&one.load).unwrap_or_default();
            vec![
                format!("{}{}", one.name, if is_doubled(node, &found) { " (name used twice)" } else { "" }),
                format!("{}{}", one.role, if leads(node) { " (leader)" } else { "" }),
                datacenters(&one.role, &one.datacenters),
                one.version.clone(),
                one.pid.to_string(),
                one.address.clone(),
                running(node).map_or_else(|| "-".to_owned(), |(running, slots)| format!("{running}/{slots}")),
                load["memory_bytes"]
                    .as_u64()
                    .map_or_else(|| "-".to_owned(), |bytes| format!("{} MB", bytes / 1_000_000)),
                load["cpu_seconds"].as_f64().map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1}s")),
                format!("{}{}", age(silence(node)), if node.is_live() { "" } else { " (dead)" }),
            ]
        })
        .collect();
    let head = ["NAME", "ROLE", "DATACENTERS", "VERSION", "PID", "ADDRESS", "JOBS", "MEMORY", "CPU", "SEEN"];
    let json = found
        .iter()
        .map(|node| {
            let one = &node.registration;
            json!({
                "token": one.token,
                "name": one.name,
                "role": one.role,
                "datacenters": one.datacenters,
                "version": one.version,
                "address": one.address,
                "pid": one.pid,
                "is_leader": leads(node),
                "is_live": node.is_live(),
                "is_name_used_twice": is_doubled(node, &found),
                "started_at": rfc3339(Some(node.started_at)),
                "heartbeat_at": rfc3339(Some(node.heartbeat_at)),
                "seconds_since_heartbeat": silence(node),
                "running_jobs": running(node).map(|(running, _)| running),
                "load": serde_json::from_str::<Value>(&one.load).unwrap_or_default(),
            })
        })
        .collect();
    Ok(Answer { text: columns(&head, &rows), json })
}

/// Whose lanes a process serves. None named means all of them; a service without a worker serves none.
fn datacenters(role: &str, named: &[String]) -> String {
    match (role.contains("worker"), named.is_empty()) {
        (false, _) => "-".to_owned(),
        (true, true) => "(all)".to_owned(),
        (true, false) => named.join(","),
    }
}

/// Two live processes with one name: harmless to the fleet, confusing to people.
fn is_doubled(node: &Node, all: &[Node]) -> bool {
    let namesakes = all.iter().filter(|other| other.is_live() && other.registration.name == node.registration.name);
    node.is_live() && namesakes.count() > 1
}

fn silence(node: &Node) -> f64 {
    (node.now - node.heartbeat_at).max(0) as f64 / 1e6
}

async fn active(session: &Session<'_>) -> anyhow::Result<Answer> {
    let found = nodes::list(&session.scope).await?;
    let mut live: Vec<&Node> = found.iter().filter(|node| node.is_live()).collect();
    live.sort_by_key(|node| (&node.registration.name, &node.registration.token));
    let text = ended(live.iter().map(|node| format!("{}:{}", node.registration.name, node.registration.token)));
    let json = live
        .iter()
        .map(|node| json!({ "Hostname": node.registration.name, "Token": node.registration.token }))
        .collect();
    Ok(Answer { text, json })
}

async fn terms(session: &Session<'_>) -> anyhow::Result<Answer> {
    let limit = session.flags().number("limit").map_err(anyhow::Error::msg)?.unwrap_or(DEFAULT_TERMS);
    let terms = leadership::history(&session.scope, u32::try_from(limit).unwrap_or(u32::MAX)).await?;
    let rows: Vec<Vec<String>> = terms
        .iter()
        .map(|term| {
            vec![
                term.term.to_string(),
                term.holder_name.clone(),
                backend_text(Some(term.acquired_at)),
                backend_text(term.ended_at),
                if term.ended_at.is_none() { "current".to_owned() } else { term.end_reason.clone() },
                backend_text(term.last_acted_at),
            ]
        })
        .collect();
    let json = terms
        .iter()
        .map(|term| {
            json!({
                "term": term.term,
                "holder": term.holder,
                "holder_name": term.holder_name,
                "acquired_at": rfc3339(Some(term.acquired_at)),
                "ended_at": term.ended_at.map(|at| rfc3339(Some(at))),
                "end_reason": term.end_reason,
                "last_acted_at": term.last_acted_at.map(|at| rfc3339(Some(at))),
            })
        })
        .collect();
    Ok(Answer { text: columns(&["TERM", "HOLDER", "BEGAN", "ENDED", "END", "LAST ACT"], &rows), json })
}
