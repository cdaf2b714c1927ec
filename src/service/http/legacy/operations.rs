//! Changing managed servers: each path asks for an operation and waits for its end.
//!
//! A request waits [`PATIENCE`]. An operation that takes longer is not given up: the reply is an error that names its
//! number, and the operation goes on; `/api/v2/operations/{id}` tells how. The same path with `?operation=NUMBER` waits for
//! that one instead of asking for another, and gives the reply that the first request would have got.

use std::time::Duration;

use api::legacy::{Coordinates, Instance, InstanceBinlogCoordinates, Key};
use domain::instance::{BinlogCoordinates, InstanceKey};
use domain::plan::{Action, Plan, Request};
use operations::OperationOutcome;

use super::call::{Answer, Call};
use super::{Route, route};
use crate::actions::inspections::{self, Eyes};
use crate::actions::operations::{self as asking, Asked, Below, PATIENCE as NO_LIMIT};
use crate::actions::{Error, instances, names};

/// Longest wait for an operation: the guard of the listener gives up a request after 30 s.
const PATIENCE: Duration = Duration::from_secs(25);
const _: () = assert!(PATIENCE.as_secs() < NO_LIMIT.as_secs());

pub(super) const ROUTES: &[Route] = &[
    route!(Write, "relocate/:host/:port/:belowHost/:belowPort", |call| one(call, "relocate", relocated)),
    route!(Write, "relocate-below/:host/:port/:belowHost/:belowPort", |call| one(call, "relocate", relocated)),
    route!(Write, "relocate-slaves/:host/:port/:belowHost/:belowPort", |call| many(call, "relocate-replicas", |t| t
        .bulk("Relocated"))),
    route!(Write, "relocate-replicas/:host/:port/:belowHost/:belowPort", |call| many(call, "relocate-replicas", |t| t
        .bulk("Relocated"))),
    route!(Write, "move-up/:host/:port", |call| one(call, "move-up", |t| format!("Instance {} moved up", t.key))),
    route!(Write, "move-up-slaves/:host/:port", |call| many(call, "move-up-replicas", |t| t.bulk("Moved up"))),
    route!(Write, "move-up-replicas/:host/:port", |call| many(call, "move-up-replicas", |t| t.bulk("Moved up"))),
    route!(Write, "move-below/:host/:port/:siblingHost/:siblingPort", |call| one(call, "move-below", |t| t.moved(""))),
    route!(Write, "move-equivalent/:host/:port/:belowHost/:belowPort", |call| one(call, "move-equivalent", |t| t
        .moved(" via equivalence coordinates"))),
    route!(Write, "move-below-gtid/:host/:port/:belowHost/:belowPort", |call| one(call, "move-gtid", |t| t
        .moved(" via GTID"))),
    route!(Write, "move-gtid/:host/:port/:belowHost/:belowPort", |call| one(call, "move-gtid", |t| t
        .moved(" via GTID"))),
    route!(Write, "move-slaves-gtid/:host/:port/:belowHost/:belowPort", move_replicas_gtid),
    route!(Write, "move-replicas-gtid/:host/:port/:belowHost/:belowPort", move_replicas_gtid),
    route!(Write, "repoint/:host/:port/:belowHost/:belowPort", |call| one(call, "repoint", repointed)),
    route!(Write, "repoint-slaves/:host/:port", |call| many(call, "repoint-replicas", |t| t.bulk("Repointed"))),
    route!(Write, "repoint-replicas/:host/:port", |call| many(call, "repoint-replicas", |t| t.bulk("Repointed"))),
    route!(Write, "make-co-master/:host/:port", |call| one(call, "make-co-master", |t| t
        .about("Instance made co-master"))),
    route!(Write, "make-master/:host/:port", |call| one(call, "make-master", |t| format!(
        "Instance {} now made master",
        t.key
    ))),
    route!(Write, "make-local-master/:host/:port", |call| one(call, "make-local-master", |t| format!(
        "Instance {} now made local master",
        t.key
    ))),
    route!(Write, "enslave-siblings/:host/:port", |call| one(call, "take-siblings", siblings)),
    route!(Write, "take-siblings/:host/:port", |call| one(call, "take-siblings", siblings)),
    route!(Write, "enslave-master/:host/:port", |call| one(call, "take-master", |t| format!(
        "{} took its master",
        t.key
    ))),
    route!(Write, "take-master/:host/:port", |call| one(call, "take-master", |t| format!("{} took its master", t.key))),
    route!(Write, "regroup-slaves/:host/:port", |call| regroup(call, "regroup-replicas")),
    route!(Write, "regroup-replicas/:host/:port", |call| regroup(call, "regroup-replicas")),
    route!(Write, "regroup-slaves-gtid/:host/:port", |call| regroup(call, "regroup-replicas-gtid")),
    route!(Write, "regroup-replicas-gtid/:host/:port", |call| regroup(call, "regroup-replicas-gtid")),
    route!(Write, "enable-gtid/:host/:port", |call| one(call, "enable-gtid", |t| t.on("Enabled GTID"))),
    route!(Write, "disable-gtid/:host/:port", |call| one(call, "disable-gtid", |t| t.on("Disabled GTID"))),
    route!(Write, "gtid-errant-reset-master/:host/:port", |call| one(call, "gtid-errant-reset-master", |t| format!(
        "Removed errant GTID on {} and issued a RESET MASTER",
        t.key
    ))),
    route!(Write, "gtid-errant-inject-empty/:host/:port", inject_empty),
    route!(Write, "change-master-credentials/:host/:port", |call| one(call, "change-master-credentials", |t| t
        .on("Changed master credentials"))),
    route!(Write, "skip-query/:host/:port", |call| one(call, "skip-query", |t| t.on("Query skipped"))),
    route!(Write, "start-slave/:host/:port", |call| one(call, "start-replica", started)),
    route!(Write, "start-replica/:host/:port", |call| one(call, "start-replica", started)),
    route!(Write, "restart-slave/:host/:port", |call| one(call, "restart-replica", restarted)),
    route!(Write, "restart-replica/:host/:port", |call| one(call, "restart-replica", restarted)),
    route!(Write, "stop-slave/:host/:port", |call| one(call, "stop-replica", stopped)),
    route!(Write, "stop-replica/:host/:port", |call| one(call, "stop-replica", stopped)),
    route!(Write, "stop-slave-nice/:host/:port", |call| one(call, "stop-replica-nice", stopped)),
    route!(Write, "stop-replica-nice/:host/:port", |call| one(call, "stop-replica-nice", stopped)),
    route!(Write, "reset-slave/:host/:port", |call| one(call, "reset-replica", |t| t.on("Replica reset"))),
    route!(Write, "reset-replica/:host/:port", |call| one(call, "reset-replica", |t| t.on("Replica reset"))),
    route!(Write, "detach-slave/:host/:port", |call| one(call, DETACH, detached)),
    route!(Write, "detach-replica/:host/:port", |call| one(call, DETACH, detached)),
    route!(Write, "detach-slave-master-host/:host/:port", |call| one(call, DETACH, detached)),
    route!(Write, "detach-replica-master-host/:host/:port", |call| one(call, DETACH, detached)),
    route!(Write, "reattach-slave/:host/:port", |call| one(call, REATTACH, reattached)),
    route!(Write, "reattach-replica/:host/:port", |call| one(call, REATTACH, reattached)),
    route!(Write, "reattach-slave-master-host/:host/:port", |call| one(call, REATTACH, reattached)),
    route!(Write, "reattach-replica-master-host/:host/:port", |call| one(call, REATTACH, reattached)),
    route!(Write, "flush-binary-logs/:host/:port", |call| one(call, "flush-binary-logs", |t| t
        .about("Binary logs flushed on"))),
    route!(Write, "purge-binary-logs/:host/:port/:logFile", |call| one(call, "purge-binary-logs", |t| t
        .about("Binary logs purged on"))),
    route!(Write, "enable-semi-sync-master/:host/:port", |call| one(call, "enable-semi-sync-master", semi_sync)),
    route!(Write, "enable-semi-sync-source/:host/:port", |call| one(call, "enable-semi-sync-master", semi_sync)),
    route!(Write, "disable-semi-sync-master/:host/:port", |call| one(call, "disable-semi-sync-master", semi_sync)),
    route!(Write, "disable-semi-sync-source/:host/:port", |call| one(call, "disable-semi-sync-master", semi_sync)),
    route!(Write, "enable-semi-sync-replica/:host/:port", |call| one(call, "enable-semi-sync-replica", semi_sync)),
    route!(Write, "disable-semi-sync-replica/:host/:port", |call| one(call, "disable-semi-sync-replica", semi_sync)),
    route!(Write, "delay-replication/:host/:port/:seconds", delay),
    route!(Write, "set-read-only/:host/:port", |call| one(call, "set-read-only", |_| "Server set as read-only".into())),
    route!(Write, "set-writeable/:host/:port", |call| one(call, "set-writeable", |_| "Server set as writeable".into())),
    route!(Write, "kill-query/:host/:port/:process", |call| one(call, "kill-query", |t| t.about("Query killed on"))),
    route!(Read, "locate-gtid-errant/:host/:port", locate_errant),
    route!(GuardedRead, "restart-slave-statements/:host/:port", statements),
    route!(GuardedRead, "restart-replica-statements/:host/:port", statements),
    route!(GuardedRead, "master-equivalent/:host/:port/:logFile/:logPos", equivalents),
];

const DETACH: &str = "detach-replica-master-host";
const REATTACH: &str = "reattach-replica-master-host";

/// What a message is made of.
struct Told<'a> {
    key: &'a InstanceKey,
    below: Option<&'a InstanceKey>,
    word: &'a str,
    outcome: &'a OperationOutcome,
}

type Message = fn(&Told<'_>) -> String;

impl Told<'_> {
    fn on(&self, what: &str) -> String {
        format!("{what} on {}", self.key)
    }

    fn about(&self, what: &str) -> String {
        format!("{what}: {}", self.key)
    }

    fn below(&self) -> String {
        self.below.map(|below| format!(" below {below}")).unwrap_or_default()
    }

    fn moved(&self, how: &str) -> String {
        format!("Instance {} moved{}{how}", self.key, self.below())
    }

    /// Counts, and what stands against each server that was not moved.
    fn bulk(&self, what: &str) -> String {
        let troubles: Vec<String> =
            asking::troubles(self.outcome).iter().map(|one| format!("{}: {}", one.instance, one.error)).collect();
        format!(
            "{what} {} replicas of {}{}; {} errors: [{}]",
            self.outcome.done.len(),
            self.key,
            self.below(),
            troubles.len(),
            troubles.join(" ")
        )
    }
}

fn relocated(t: &Told<'_>) -> String {
    format!("Instance {} relocated{}", t.key, t.below())
}

fn repointed(t: &Told<'_>) -> String {
    format!("Instance {} repointed{}", t.key, t.below())
}

fn siblings(t: &Told<'_>) -> String {
    format!("Took {} siblings of {}", t.outcome.done.len(), t.key)
}

fn started(t: &Told<'_>) -> String {
    t.about("Replica started")
}

fn restarted(t: &Told<'_>) -> String {
    t.about("Replica restarted")
}

fn stopped(t: &Told<'_>) -> String {
    t.about("Replica stopped")
}

fn detached(t: &Told<'_>) -> String {
    t.about("Replica detached")
}

fn reattached(t: &Told<'_>) -> String {
    t.about("Replica reattached")
}

fn semi_sync(t: &Told<'_>) -> String {
    let (verb, side) = t.word.split_once('-').unwrap_or((t.word, ""));
    t.on(&format!("{}d {side}", verb.replace("en", "En").replace("dis", "Dis")))
}

/// The request of a path.
async fn request(call: &Call, word: &str) -> Result<Request, Error> {
    let below = if Below::of(word) == Some(Below::No) { None } else { call.destination().await? };
    asking::request(&Asked {
        word,
        instance: call.key().await?,
        below,
        pattern: call.query("pattern").unwrap_or_default(),
        seconds: call.param("seconds"),
        until: call.param("logFile"),
        id: call.param("process"),
        force: call.query("force") == Some("true"),
    })
}

async fn carry_out(call: &Call, word: &str) -> Result<(Request, OperationOutcome), Error> {
    let request = request(call, word).await?;
    let outcome = match call.operation()? {
        Some(operation) => asking::again(&call.scope, operation, &request, PATIENCE).await?,
        None => asking::run(&call.scope, &request, PATIENCE).await?,
    };
    asking::check(&request, &outcome)?;
    Ok((request, outcome))
}

/// An operation on one instance: its record as the operation left it.
async fn one(call: Call, word: &'static str, message: Message) -> Answer {
    let (request, outcome) = carry_out(&call, word).await?;
    let told = Told { key: request.instance(), below: request.destination(), word, outcome: &outcome };
    let record = record(&call, request.instance()).await?;
    call.envelope(message(&told), record)
}

async fn record(call: &Call, key: &InstanceKey) -> Result<Instance, Error> {
    Ok(Instance::live(&instances::read(&call.scope, key).await?, &call.scope.view().await?))
}

/// An operation on the replicas of an instance: the records of those that were moved.
async fn many(call: Call, word: &'static str, message: Message) -> Answer {
    let (request, outcome) = carry_out(&call, word).await?;
    let mut records = Vec::new();
    for key in asking::changed(&outcome) {
        records.push(record(&call, &key).await?);
    }
    let told = Told { key: request.instance(), below: request.destination(), word, outcome: &outcome };
    call.envelope(message(&told), records)
}

/// The key of the destination, unlike its like; the original does so.
async fn move_replicas_gtid(call: Call) -> Answer {
    let (request, outcome) = carry_out(&call, "move-replicas-gtid").await?;
    let told = Told { key: request.instance(), below: request.destination(), word: "", outcome: &outcome };
    call.envelope(told.bulk("Moved"), Key::or_none(request.destination()))
}

async fn regroup(call: Call, word: &'static str) -> Answer {
    let (request, outcome) = carry_out(&call, word).await?;
    let promoted = &outcome.instance;
    if promoted == request.instance() {
        return Err(Error::NotPossible(format!("{promoted} has no replicas to regroup")));
    }
    let (lost, moved) = (asking::troubles(&outcome).len(), outcome.done.len());
    let message = match request {
        Request::RegroupReplicas { gtid_only: true, .. } => {
            format!("promoted replica: {promoted}, lost: {lost}, moved: {moved}")
        }
        _ => format!("promoted replica: {promoted}, lost: {lost}, trivial: {moved}, pseudo-gtid: 0"),
    };
    call.envelope(message, Key::from(promoted))
}

async fn inject_empty(call: Call) -> Answer {
    let (request, outcome) = carry_out(&call, "gtid-errant-inject-empty").await?;
    let operation = asking::read(&call.scope, outcome.operation).await?;
    let (mut count, mut primary) = (0, request.instance().clone());
    for step in operation.plan.iter().flat_map(Plan::steps) {
        if let Action::InjectEmpty { gtids } = &step.action {
            count += gtids.len();
            primary.clone_from(&step.on);
        }
    }
    let record = record(&call, request.instance()).await?;
    call.envelope(format!("Have injected {count} transactions on cluster master {primary}"), record)
}

async fn delay(call: Call) -> Answer {
    let (request, _) = carry_out(&call, "delay-replication").await?;
    let Request::DelayReplication { instance, seconds } = request else {
        return Err(Error::NotPossible("this is no delay".to_owned()));
    };
    call.envelope(format!("Replication delayed by {seconds} seconds on {instance}"), seconds)
}

async fn locate_errant(call: Call) -> Answer {
    let key = call.key().await?;
    let logs = inspections::locate_errant_gtid(&call.scope, Eyes::Worker, &key).await?;
    call.envelope(format!("located errant GTID on {key}"), logs)
}

async fn statements(call: Call) -> Answer {
    let key = call.key().await?;
    let statement = call.query("q").unwrap_or_default();
    let found = inspections::restart_statements(&call.scope, Eyes::Worker, &key, statement).await?;
    call.envelope(format!("statements for: {key}"), (!found.is_empty()).then_some(found))
}

async fn equivalents(call: Call) -> Answer {
    let key = call.key().await?;
    let text = call.param("logPos");
    let position =
        text.parse().map_err(|_| Error::Invalid(format!("a position in a log is a number, not {text:?}")))?;
    let place = BinlogCoordinates { file: call.param("logFile").to_owned(), position };
    let found: Vec<InstanceBinlogCoordinates> = inspections::equivalents(&call.scope, &key, &place)
        .await?
        .iter()
        .map(|(key, at)| InstanceBinlogCoordinates { key: Key::from(key), coordinates: Coordinates::binary(at) })
        .collect();
    call.envelope(format!("Found {} equivalent coordinates", found.len()), (!found.is_empty()).then_some(found))
}

impl Call {
    /// `:belowHost/:belowPort`, or `:siblingHost/:siblingPort`, resolved and completed.
    async fn destination(&self) -> Result<Option<InstanceKey>, Error> {
        for (host, port) in [("belowHost", "belowPort"), ("siblingHost", "siblingPort")] {
            if !self.param(host).is_empty() {
                let key = names::parse_parts(self.param(host), self.param(port))?;
                return names::understand(&self.scope, key).await.map(Some);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_that_scripts_know() {
        let (key, below) = (InstanceKey::new("db1", 3306), InstanceKey::new("db2", 3306));
        let outcome = OperationOutcome {
            done: vec![operations::Moved { instance: key.clone(), new_source: None }],
            errors: vec![operations::InstanceError { instance: below.clone(), error: "it lags".to_owned() }],
            ..OperationOutcome::default()
        };
        let told = |word| Told { key: &key, below: Some(&below), word, outcome: &outcome };
        assert_eq!(relocated(&told("")), "Instance db1:3306 relocated below db2:3306");
        assert_eq!(
            told("").bulk("Relocated"),
            "Relocated 1 replicas of db1:3306 below db2:3306; 1 errors: [db2:3306: it lags]"
        );
        assert_eq!(siblings(&told("")), "Took 1 siblings of db1:3306");
        assert_eq!(semi_sync(&told("enable-semi-sync-master")), "Enabled semi-sync-master on db1:3306");
        assert_eq!(semi_sync(&told("disable-semi-sync-replica")), "Disabled semi-sync-replica on db1:3306");
    }
}
