//! Commands that are more than one request.

use std::collections::BTreeSet;

use api::legacy::{ClusterInfo, Instance, Key};
use domain::instance::InstanceKey;
use regex::Regex;
use serde_json::json;

use crate::api::{Api, Sends};
use crate::catalogue::{self, Call};
use crate::follow;
use crate::print;
use crate::problem::Problem;
use crate::reply::{Reply, collapsed};
use crate::run::usage;
use crate::template::Values;

/// What a command prints.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) text: String,
    /// The same as JSON, on one line.
    pub(crate) json: String,
    /// Exit status.
    pub(crate) code: u8,
}

impl Answer {
    fn done(text: String, json: impl Into<String>) -> Self {
        Self { text, json: json.into(), code: 0 }
    }

    fn line(text: &str) -> Self {
        Self::done(format!("{text}\n"), json!(text).to_string())
    }
}

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub(crate) values: Values<'a>,
    /// Words after the command.
    pub(crate) words: &'a [String],
    pub(crate) api: &'a Api,
}

pub(crate) type Function = fn(&Session<'_>) -> Result<Answer, Problem>;

/// A command that is one request.
pub(crate) fn request(session: &Session<'_>, call: Call) -> Result<Answer, Problem> {
    let values = session.values;
    if !call.no_destination.is_empty() && values.arguments.get("destination").is_some() {
        return Err(Problem::usage(call.no_destination));
    }
    let template = if call.otherwise.is_empty() || values.fits(call.path)? { call.path } else { call.otherwise };
    let path = values.path(template)?;
    let replied = session.api.call(call.sends, &path);
    let reply = replied.or_else(|problem| to_the_end(session, problem, (call.sends, &path)))?;
    Ok(Answer::done((call.print)(&reply)?, reply.data.get()))
}

/// An operation that the service did not wait for is followed here; any other problem is one.
fn to_the_end(session: &Session<'_>, problem: Problem, asked: (Sends, &str)) -> Result<Reply, Problem> {
    let Some(operation) = follow::pending(&problem) else { return Err(problem) };
    let wait = session.values.wait()?;
    if wait.is_some_and(|wait| wait.is_zero()) {
        return Err(problem);
    }
    let mut say = |text: &str| crate::run::talk(&mut std::io::stderr(), text);
    say(&format!("operation {operation} takes its time: Ctrl-C ends the waiting, not the operation"));
    follow::follow(session.api, operation, asked, wait, problem, &mut say)
}

pub(crate) fn help(session: &Session<'_>) -> Result<Answer, Problem> {
    let Some(topic) = session.words.first() else {
        let text = usage();
        return Ok(Answer { json: json!(text).to_string(), text, code: 0 });
    };
    let command = catalogue::find(topic).ok_or_else(|| Problem::usage(format!("Unknown command: {topic}")))?;
    let text = catalogue::explain(command);
    Ok(Answer { json: json!(text).to_string(), text, code: 0 })
}

pub(crate) fn which_api(session: &Session<'_>) -> Result<Answer, Problem> {
    Ok(Answer::line(session.api.address()?))
}

/// The whole reply; also that of a failure, which is no talk here but what was asked for.
pub(crate) fn api(session: &Session<'_>) -> Result<Answer, Problem> {
    let path = session.values.arguments.get("path").ok_or_else(|| Problem::missing("path"))?;
    let path = path.trim_start_matches('/');
    let path = path.strip_prefix("api/").unwrap_or(path);
    let (body, code) = match session.api.call(Sends::Unknown, &escaped(path)) {
        Ok(reply) => (reply.body, 0),
        Err(Problem::Refused { body, .. }) => (body, 1),
        Err(other) => return Err(other),
    };
    Ok(Answer { text: format!("{body}\n"), json: body, code })
}

/// What cannot stand in a request line, in a path that is escaped where its author thought of it.
fn escaped(path: &str) -> String {
    const ODD: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'<')
        .add(b'>')
        .add(b'\\')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}')
        .add(b'#');
    percent_encoding::utf8_percent_encode(path, ODD).to_string()
}

/// The reply says nothing of the instance, so what was asked for is printed.
pub(crate) fn async_discover(session: &Session<'_>) -> Result<Answer, Problem> {
    let path = session.values.path("{i}")?;
    session.api.change(&format!("async-discover/{path}"))?;
    let key = session.values.instance()?;
    Ok(Answer::done(format!("{key}\n"), json!({ "Hostname": key.hostname, "Port": key.port }).to_string()))
}

/// There is no path for it: all instances, sifted here.
pub(crate) fn find(session: &Session<'_>) -> Result<Answer, Problem> {
    let pattern = session.values.arguments.get("pattern").ok_or_else(|| Problem::missing("pattern"))?;
    let pattern =
        Regex::new(pattern).map_err(|error| Problem::usage(format!("--pattern: {}", collapsed(&error.to_string()))))?;
    let reply = session.api.read("all-instances")?;
    let all: Vec<Instance> = reply.as_list()?;
    let found: Vec<&Instance> =
        all.iter().filter(|one| pattern.is_match(&InstanceKey::from(&one.key).to_string())).collect();
    let text = print::lines(found.iter().map(|one| print::name(&one.key)));
    let json = serde_json::to_string(&found).map_err(|error| reply.unexpected(&error.to_string()))?;
    Ok(Answer::done(text, json))
}

/// The path takes the cluster's very name, so that is asked for first. An empty alias removes it.
pub(crate) fn set_cluster_alias(session: &Session<'_>) -> Result<Answer, Problem> {
    let values = session.values;
    let instance = values.instance()?.to_string();
    let alias = values.arguments.get("alias").ok_or_else(|| Problem::missing("alias"))?;
    let quoted =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let info: ClusterInfo = session.api.read(&format!("cluster-info/{}", quoted(&instance)))?.as_one()?;
    let name = info.cluster_name;
    session.api.change(&format!("set-cluster-alias/{}?alias={}", quoted(&name), quoted(alias)))?;
    Ok(Answer::done(format!("{name}\n"), json!({ "cluster": name, "alias": alias }).to_string()))
}

/// The reply names the new source only. Moved is what was below the one before, and is below the other after.
pub(crate) fn move_replicas_gtid(session: &Session<'_>) -> Result<Answer, Problem> {
    let values = session.values;
    let (from, to) = (values.path("instance-replicas/{i}")?, values.path("instance-replicas/{d}")?);
    let keys = |path: &str| -> Result<BTreeSet<Key>, Problem> {
        let replicas: Vec<Instance> = session.api.read(path)?.as_list()?;
        Ok(replicas.into_iter().map(|one| one.key).collect())
    };
    let before = keys(&from)?;
    let path = values.path("move-replicas-gtid/{i}/{d}[?pattern={pattern}]")?;
    let replied = session.api.change(&path);
    let replied = replied.or_else(|problem| to_the_end(session, problem, (Sends::Change, &path)));
    // A service that lists them, as for relocate-replicas, is taken at its word.
    if let Ok(reply) = &replied
        && reply.data.get().starts_with('[')
    {
        return Ok(Answer::done(print::instances(reply)?, reply.data.get()));
    }
    let moved: Vec<Key> = before.intersection(&keys(&to)?).cloned().collect();
    let text = print::lines(moved.iter().map(print::name));
    let done = Answer::done(text, json!(moved).to_string());
    match replied {
        Ok(_) => Ok(done),
        Err(problem) if moved.is_empty() => Err(problem),
        // Some of them: those are told, and that it failed.
        Err(problem) => {
            crate::run::talk(&mut std::io::stderr(), &problem.to_string());
            Ok(Answer { code: 1, ..done })
        }
    }
}

/// Fails on a service that does not lead.
fn require_raft_leader(session: &Session<'_>) -> Result<(), Problem> {
    let state: String = session.api.read("raft-state")?.as_one()?;
    if state == "Leader" {
        return Ok(());
    }
    Err(Problem::Unanswered(format!("{} is not the leader but in state {state}", session.api.address()?)))
}

pub(crate) fn raft_leader(session: &Session<'_>) -> Result<Answer, Problem> {
    require_raft_leader(session)?;
    Ok(Answer::line(&session.api.read("raft-leader")?.as_one::<String>()?))
}

pub(crate) fn raft_leader_hostname(session: &Session<'_>) -> Result<Answer, Problem> {
    require_raft_leader(session)?;
    let reply = session.api.read("status")?;
    Ok(Answer::line(print::own_hostname(&reply)?.trim_end()))
}

pub(crate) fn raft_elect_leader(session: &Session<'_>) -> Result<Answer, Problem> {
    let path = session.values.path("raft-yield-hint/{hostname}")?;
    require_raft_leader(session)?;
    let reply = session.api.change(&path)?;
    Ok(Answer::done(print::text(&reply)?, reply.data.get()))
}
