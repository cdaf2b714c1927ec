//! Skipping the transaction that broke replication.
//!
//! With MySQL GTID an empty transaction takes its name. Which name, the server says when several appliers work (a worker's
//! error names its transaction), unless it names one that only waited for the failed one to commit; otherwise it is the first that was received and not applied, as long as all of those come
//! from one origin: their order is then known. A guess between origins would skip a good transaction, so there is none.
//!
//! Without GTID, and with MariaDB GTID of a single domain, the server skips one event group
//! (<https://mariadb.com/kb/en/set-global-sql_slave_skip_counter/>; with several domains and parallel appliers it refuses).

use super::in_place::{plan, restart};
use super::movability::one_channel;
use super::steps::identity;
use super::{World, limit};
use crate::gtid::mariadb::GtidPosition;
use crate::gtid::mysql::{Gtid, GtidSet};
use crate::instance::{Instance, InstanceKey, ReplicaFacts, ThreadState};
use crate::plan::{Action, Condition, Plan, Refusal, Request, Rule, Step, Threads, running_threads};

/// `ER_REPLICA_WORKER_STOPPED_PREVIOUS_THD_ERROR`: a worker could not commit, because the one whose transaction comes before failed. When
/// it says so last, its transaction is the one that the applier's error names (one in eight times under load; tried on 9.7.4).
const WAITED_FOR_ANOTHER: u32 = 3030;

pub(super) fn query(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let (instance, replica) = world.replica(instance)?;
    let key = &instance.key;
    one_channel(instance, replica)?;
    if replica.sql_thread != ThreadState::Stopped || replica.last_sql_error.is_empty() {
        return Err(Refusal::new(
            Rule::NoReplicationError,
            key,
            format!("the applier of {key} has not stopped with an error"),
            "there is nothing to skip; start-replica-sql-thread starts an applier that was stopped on purpose",
        ));
    }
    let skip = if by_name(instance, replica) {
        failing(instance, replica, world)?.map(|gtid| empty_transaction(key, &gtid))
    } else {
        one_domain(instance, replica)?;
        // Skipped by an earlier run, perhaps: the error stays until the applier starts. Skipping twice would lose a
        // transaction; starting tells.
        (!world.resumed(key)).then(|| Step::new(key, Action::SkipOne, limit::OTHER))
    };
    let still = Threads { sql: false, ..running_threads(&instance.facts) };
    let mut steps: Vec<Step> = skip
        .into_iter()
        .map(|step| step.when(identity(instance)).when(Condition::Threads { running: still }))
        .collect();
    steps.extend(restart(key, Threads::SQL));
    let mut plan = plan(request, instance, steps, Threads::NONE);
    plan.because = format!("the applier says: {}", replica.last_sql_error);
    plan.warnings.push(format!("{key} will lack what the skipped transaction did: its data may differ"));
    if !still.io {
        plan.warnings.push(format!("the receiver of {key} is stopped and stays so: start-replica starts it"));
    }
    Ok(plan)
}

/// Transactions carry names, and the server knows no other way to skip one (error 1858).
fn by_name(instance: &Instance, replica: &ReplicaFacts) -> bool {
    replica.auto_position || instance.facts.gtid.mode == "ON"
}

fn empty_transaction(key: &InstanceKey, gtid: &Gtid) -> Step {
    let gtid = gtid.to_string();
    Step::new(key, Action::InjectEmpty { gtids: vec![gtid.clone()] }, limit::OTHER)
        .then(Condition::HasExecuted { gtids: gtid })
}

/// The transaction that failed; `None`: an earlier run of this operation has taken its name already.
fn failing(instance: &Instance, replica: &ReplicaFacts, world: &World<'_>) -> Result<Option<Gtid>, Refusal> {
    let key = &instance.key;
    let executed = GtidSet::parse(&instance.facts.gtid.executed)
        .map_err(|error| unknown(key, &format!("its executed GTIDs cannot be read: {error}")))?;
    // Only what an earlier run of this operation had in mind: the next one would be one too many.
    if let Some(gtid) = world.earlier.and_then(planned) {
        return Ok((!executed.contains_gtid(&gtid)).then_some(gtid));
    }
    let named = named(&replica.last_sql_error).filter(|_| replica.last_sql_errno != WAITED_FOR_ANOTHER);
    if let Some(gtid) = named {
        if !executed.contains_gtid(&gtid) {
            return Ok(Some(gtid));
        }
        return Err(Refusal::new(
            Rule::NoReplicationError,
            key,
            format!("{gtid}, which the error names, is executed already"),
            format!("start the applier: start-replica-sql-thread -i {key}"),
        ));
    }
    let waiting = waiting(replica, &executed, world)
        .ok_or_else(|| unknown(key, "neither its relay logs nor its source tell what comes next"))?;
    let mut intervals = waiting.intervals();
    let first = intervals.next().ok_or_else(|| unknown(key, "everything received and written is applied"))?;
    if intervals.any(|other| other.uuid != first.uuid || other.tag != first.tag) {
        return Err(unknown(key, &format!("transactions of several origins wait: {waiting}")));
    }
    Ok(Some(Gtid { uuid: first.uuid, tag: first.tag.cloned(), number: first.first }))
}

/// What was received and not applied; when relay logs were lost, what the source has and the replica has not.
fn waiting(replica: &ReplicaFacts, executed: &GtidSet, world: &World<'_>) -> Option<GtidSet> {
    let received = GtidSet::parse(&replica.retrieved_gtid_set).ok()?.subtract(executed);
    if !received.is_empty() {
        return Some(received);
    }
    let source = world.fresh(&replica.source).ok()?;
    Some(GtidSet::parse(&source.facts.gtid.executed).ok()?.subtract(executed))
}

/// The GTID in an error such as `Worker 1 failed executing transaction '3e11fa47-...:23' at source log ...`.
fn named(error: &str) -> Option<Gtid> {
    let (_, rest) = error.split_once("transaction '")?;
    let (text, _) = rest.split_once('\'')?;
    let mut one = GtidSet::parse(text).ok()?.transactions(1)?;
    one.pop()
}

/// The transaction that a plan skips.
fn planned(plan: &Plan) -> Option<Gtid> {
    plan.steps().find_map(|step| match &step.action {
        Action::InjectEmpty { gtids } => GtidSet::parse(gtids.first()?).ok()?.transactions(1)?.pop(),
        _ => None,
    })
}

fn unknown(key: &InstanceKey, cause: &str) -> Refusal {
    Refusal::new(
        Rule::TooComplex,
        key,
        format!("which transaction failed on {key} cannot be told: {cause}"),
        "find it in performance_schema.replication_applier_status_by_worker, and commit an empty transaction under its \
         name by hand",
    )
}

/// MariaDB with GTID: one domain is one stream, of which "the next" is defined.
fn one_domain(instance: &Instance, replica: &ReplicaFacts) -> Result<(), Refusal> {
    if !replica.using_mariadb_gtid {
        return Ok(());
    }
    let domains = |text: &str| GtidPosition::parse(text).map(|position| position.domains().collect::<Vec<_>>());
    let (applied, received) = (domains(&instance.facts.gtid.mariadb_slave_pos), domains(&replica.mariadb_io_pos));
    if let (Ok(applied), Ok(received)) = (&applied, &received) {
        let mut all: Vec<u32> = applied.iter().chain(received).copied().collect();
        all.sort_unstable();
        all.dedup();
        if all.len() <= 1 {
            return Ok(());
        }
    }
    Err(Refusal::new(
        Rule::TooComplex,
        &instance.key,
        format!("{} replicates several GTID domains: which one failed cannot be told", instance.key),
        "stop the replica and set gtid_slave_pos by hand, to just after the transaction that failed",
    ))
}

#[cfg(test)]
mod tests {
    use super::super::in_place::fixture::{Servers, key, uuid};
    use super::*;

    const START: &str = "b:3306: start applier, see it running";

    fn request() -> Request {
        Request::SkipQuery { instance: key("b") }
    }

    fn broken(error: &str) -> Servers {
        let mut servers = Servers::new();
        servers.break_applier("b", error);
        servers
    }

    fn worker_error(gtid: &str) -> String {
        format!(
            "Coordinator stopped because there were error(s) in the worker(s). The most recent failure being: Worker 1 \
             failed executing transaction '{gtid}' at source log binlog.000002, end_log_pos 1234."
        )
    }

    fn skipped(gtid: &str) -> String {
        format!("b:3306: commit an empty transaction as {gtid}; {START}")
    }

    #[test]
    fn the_transaction_named_by_the_error_is_skipped() {
        let gtid = format!("{}:11", uuid(9));
        let servers = broken(&worker_error(&gtid));
        assert_eq!(servers.shown(&request()), skipped(&gtid));
        let tagged = format!("{}:nightly:3", uuid(9));
        assert_eq!(broken(&worker_error(&tagged)).shown(&request()), skipped(&tagged));
        let done = format!("{}:7", uuid(1));
        assert_eq!(broken(&worker_error(&done)).shown(&request()), "no-replication-error");
    }

    #[test]
    fn a_transaction_that_only_waited_for_the_failed_one_is_not_skipped() {
        let mut servers = broken(&worker_error(&format!("{}:12", uuid(1))));
        servers.replica("b").last_sql_errno = WAITED_FOR_ANOTHER;
        servers.replica("b").retrieved_gtid_set = format!("{}:5-20", uuid(1));
        assert_eq!(servers.shown(&request()), skipped(&format!("{}:11", uuid(1))));
        // Of two origins it is not known which comes first.
        servers.replica("b").retrieved_gtid_set = format!("{}:5-20,{}:4", uuid(1), uuid(9));
        assert_eq!(servers.shown(&request()), "too-complex");
    }

    #[test]
    fn without_a_name_the_first_that_waits_is_skipped() {
        let error = "Could not execute Write_rows event on table t.t; Duplicate entry '1'";
        let mut servers = broken(error);
        servers.replica("b").retrieved_gtid_set = format!("{}:5-20", uuid(1));
        assert_eq!(servers.shown(&request()), skipped(&format!("{}:11", uuid(1))));
        // Another origin that sorts last is not what comes next just because it sorts last.
        servers.facts("b").gtid.executed = format!("{}:1-10,{}:1-3", uuid(1), uuid(9));
        assert_eq!(servers.shown(&request()), skipped(&format!("{}:11", uuid(1))));
        servers.replica("b").retrieved_gtid_set = format!("{}:5-20,{}:4", uuid(1), uuid(9));
        assert_eq!(servers.shown(&request()), "too-complex");
        // Relay logs were lost: the source knows.
        servers.replica("b").retrieved_gtid_set = String::new();
        servers.facts("a").gtid.executed = format!("{}:1-30", uuid(1));
        assert_eq!(servers.shown(&request()), skipped(&format!("{}:11", uuid(1))));
        servers.lose("a");
        assert_eq!(servers.shown(&request()), "too-complex");
    }

    #[test]
    fn a_run_that_died_is_not_followed_by_a_second_skip() {
        let mut servers = broken("Duplicate entry");
        servers.replica("b").retrieved_gtid_set = format!("{}:5-20", uuid(1));
        servers.earlier = servers.plan(&request()).ok();
        let first = format!("{}:11", uuid(1));
        assert_eq!(servers.shown(&request()), skipped(&first), "it had not come to it");
        servers.facts("b").gtid.executed = format!("{}:1-11", uuid(1));
        assert_eq!(servers.shown(&request()), START);
    }

    #[test]
    fn only_a_broken_applier_skips() {
        let mut servers = Servers::new();
        assert_eq!(servers.shown(&request()), "no-replication-error");
        servers.set_threads("b", ThreadState::Running, ThreadState::Stopped);
        assert_eq!(servers.shown(&request()), "no-replication-error");
        servers.break_applier("b", "x");
        servers.replica("b").other_channels = vec!["other".to_owned()];
        assert_eq!(servers.shown(&request()), "several-channels");
    }

    #[test]
    fn one_event_group_where_transactions_have_no_names() {
        let mut servers = broken("Duplicate entry");
        servers.replica("b").auto_position = false;
        servers.facts("b").gtid.mode = "OFF".to_owned();
        let skip = format!("b:3306: skip one event group; {START}");
        assert_eq!(servers.shown(&request()), skip);
        servers.baseline.insert(key("b"), Threads::IO);
        assert_eq!(servers.shown(&request()), START, "never twice");
        let mut mariadb = Servers::mariadb();
        mariadb.break_applier("b", "Duplicate entry");
        assert_eq!(mariadb.shown(&request()), skip);
        mariadb.replica("b").mariadb_io_pos = "0-1-10,7-1-3".to_owned();
        assert_eq!(mariadb.shown(&request()), "too-complex");
    }
}
