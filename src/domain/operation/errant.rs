//! Getting rid of errant GTIDs: transactions a replica has and its primary has not.
//!
//! Two ways. Empty transactions under the same names, committed on the primary, make every server "have" them; nothing is
//! lost, and whatever the errant transactions did stays where it was done. Or the replica forgets them: it removes its
//! binary logs and declares the rest as executed again.

use std::collections::BTreeSet;

use super::in_place::{plan, restart, stop};
use super::movability::one_channel;
use super::steps::identity;
use super::{World, limit};
use crate::gtid::mysql::{self, GtidSet, Lineage, Uuid};
use crate::instance::{Instance, InstanceKey};
use crate::plan::{
    Action, Condition, MAX_EMPTY_TRANSACTIONS, Plan, Refusal, Request, Rule, Step, Threads, running_threads,
};

/// Empty transactions per step: each is a commit that may wait for a disk and for a semi-sync replica, and a step has
/// seconds.
const INJECTED_PER_STEP: usize = 100;

/// The replica forgets its errant transactions.
pub(super) fn reset_master(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let (instance, replica) = world.replica(instance)?;
    let key = &instance.key;
    one_channel(instance, replica)?;
    has_sets(instance)?;
    was_not_interrupted(instance, world)?;
    let (running, wanted) = (running_threads(&instance.facts), world.wanted_threads(key));
    let errant = errant(instance, world)?;
    if errant.is_empty() {
        let missing = wanted.without(running);
        // Done by an earlier run, which did not come to start the threads again.
        if world.resumed(key) && missing != Threads::NONE {
            return Ok(plan(request, instance, restart(key, missing), Threads::NONE));
        }
        return Err(no_errant(instance));
    }
    has_no_replicas(instance, world)?;
    let executed = executed(instance)?;
    let mut steps = Vec::new();
    if running != Threads::NONE {
        steps.push(stop(instance, running, running));
    }
    let kept = executed.subtract(&errant).to_string();
    let reset = Step::new(key, Action::ResetBinaryLogs { errant: errant.to_string() }, limit::OTHER)
        .when(identity(instance))
        .when(Condition::Threads { running: Threads::NONE })
        .when(Condition::NoReplicas)
        .when(Condition::HasExecuted { gtids: kept.clone() })
        .then(Condition::HasNotExecuted { gtids: errant.to_string() });
    // A replica that runs now goes on until it is stopped: what it will have executed by then is at least this.
    let look = if running == Threads::NONE {
        Condition::Executed { gtids: kept.clone() }
    } else {
        Condition::HasExecuted { gtids: kept.clone() }
    };
    steps.push(reset.then(look));
    steps.extend(restart(key, wanted));
    let mut plan = plan(request, instance, steps, wanted);
    plan.because = format!("errant on {key}: {errant}");
    plan.warnings.push(format!(
        "what these transactions did stays on {key}: its data may differ; should {key} end up without its executed GTIDs, \
         declare at least gtid_purged = '{kept}' by hand before its threads start"
    ));
    Ok(plan)
}

/// The primary commits empty transactions under the errant names.
pub(super) fn inject_empty(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let (instance, _) = world.replica(instance)?;
    has_sets(instance)?;
    let head = writable_head(instance, world)?;
    has_sets(head)?;
    let errant = errant(instance, world)?.subtract(&executed(head)?);
    if errant.is_empty() {
        return Err(no_errant(instance));
    }
    let most = usize::try_from(world.policy.max_injected).unwrap_or(usize::MAX).min(MAX_EMPTY_TRANSACTIONS);
    let Some(gtids) = errant.transactions(most) else {
        return Err(Refusal::new(
            Rule::TooMany,
            &instance.key,
            format!("{} has {} errant transactions, {most} at most are injected", instance.key, errant.count()),
            format!("let the replica forget them: gtid-errant-reset-master -i {}", instance.key),
        ));
    };
    let names: Vec<String> = gtids.iter().map(ToString::to_string).collect();
    let steps = names.chunks(INJECTED_PER_STEP).map(|some| {
        Step::new(&head.key, Action::InjectEmpty { gtids: some.to_vec() }, limit::OTHER)
            .when(identity(head))
            .when(Condition::ReadOnly { read_only: false })
            .then(Condition::HasExecuted { gtids: some.join(",") })
    });
    let mut plan = plan(request, head, steps.collect(), Threads::NONE);
    plan.answers_for = Some(instance.key.clone());
    plan.because = format!("errant on {}: {errant}", instance.key);
    plan.warnings.push(format!("what these transactions did is on {} only: its data may differ", instance.key));
    Ok(plan)
}

fn has_sets(instance: &Instance) -> Result<(), Refusal> {
    if instance.facts.supports_oracle_gtid() {
        return Ok(());
    }
    Err(Refusal::new(
        Rule::NoSharedGtid,
        &instance.key,
        format!("{} has no GTID sets (gtid_mode is {:?})", instance.key, instance.facts.gtid.mode),
        "only MySQL with GTID has errant transactions that can be told apart",
    ))
}

/// A server that was reset and not told what it had executed looks new. Starting it would apply everything once more.
fn was_not_interrupted(instance: &Instance, world: &World<'_>) -> Result<(), Refusal> {
    let key = &instance.key;
    if !world.resumed(key) || !instance.facts.gtid.executed.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(
        Rule::TooComplex,
        key,
        format!("{key} was interrupted between losing its GTIDs and having them declared again"),
        "declare gtid_purged by hand, from the warning of the stored plan and the position applied; only then start it",
    ))
}

fn has_no_replicas(instance: &Instance, world: &World<'_>) -> Result<(), Refusal> {
    let key = &instance.key;
    let mut names: BTreeSet<&InstanceKey> = instance.facts.replicas.iter().collect();
    names.extend(world.replicas_of(key).into_iter().map(|replica| &replica.key));
    if names.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = names.into_iter().map(ToString::to_string).collect();
    Err(Refusal::new(
        Rule::HasReplicas,
        key,
        format!("{key} has replicas, which need its binary logs: {}", names.join(", ")),
        format!(
            "move them first (relocate-replicas), or make the transactions harmless: gtid-errant-inject-empty -i {key}"
        ),
    ))
}

fn no_errant(instance: &Instance) -> Refusal {
    Refusal::new(
        Rule::NoErrantGtid,
        &instance.key,
        format!("{} has no transaction that its primary lacks", instance.key),
        "there is nothing to do",
    )
}

fn executed(instance: &Instance) -> Result<GtidSet, Refusal> {
    GtidSet::parse(&instance.facts.gtid.executed).map_err(|error| {
        Refusal::new(
            Rule::StaleFacts,
            &instance.key,
            format!("cannot read the GTIDs that {} has executed: {error}", instance.key),
            format!("look at it again: discover -i {}", instance.key),
        )
    })
}

/// What `instance` has and neither its source nor anything above has: they must all be read lately.
fn errant(instance: &Instance, world: &World<'_>) -> Result<GtidSet, Refusal> {
    let above = ancestors(instance, world)?;
    let mut ancestry: Vec<Uuid> =
        instance.placement.ancestry_uuid.split(',').filter_map(|uuid| uuid.parse().ok()).collect();
    let mut found = executed(instance)?;
    ancestry.extend(above.iter().filter_map(|one| one.facts.server_uuid.parse::<Uuid>().ok()));
    let source = instance.facts.replica.as_ref().and_then(|replica| replica.source_uuid.parse().ok());
    let Ok(own) = instance.facts.server_uuid.parse::<Uuid>() else { return Ok(GtidSet::new()) };
    let lineage = Lineage { own, ancestry: &ancestry, source, co_primary: instance.placement.is_co_primary };
    for one in above {
        found = mysql::errant(&found, &executed(one)?, &lineage);
    }
    Ok(found)
}

/// From its source to the head of the cluster.
fn ancestors<'a>(instance: &'a Instance, world: &World<'a>) -> Result<Vec<&'a Instance>, Refusal> {
    let mut found: Vec<&Instance> = Vec::new();
    let mut at = instance;
    while let Some(source) = at.facts.source().filter(|_| at.facts.is_replica()) {
        at = world.fresh(source)?;
        if at.key == instance.key || found.iter().any(|seen| seen.key == at.key) {
            break;
        }
        found.push(at);
    }
    Ok(found)
}

/// Where the cluster is written to.
fn writable_head<'a>(instance: &'a Instance, world: &World<'a>) -> Result<&'a Instance, Refusal> {
    let above = ancestors(instance, world)?;
    let writable = above.iter().rev().find(|one| !one.facts.read_only).copied();
    writable.ok_or_else(|| {
        Refusal::new(
            Rule::NoCandidate,
            &instance.key,
            format!("no server above {} is writable", instance.key),
            "make the primary writable first: set-writeable",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::in_place::fixture::{Servers, key, uuid};
    use super::*;

    fn reset(name: &str) -> Request {
        Request::GtidErrantResetMaster { instance: key(name) }
    }

    fn inject(name: &str) -> Request {
        Request::GtidErrantInjectEmpty { instance: key(name) }
    }

    /// `b` has written for itself.
    fn servers(own: &str) -> Servers {
        let mut servers = Servers::new();
        servers.facts("b").gtid.executed = format!("{}:1-12,{}:{own}", uuid(1), uuid(2));
        servers
    }

    #[test]
    fn the_replica_forgets_what_only_it_has() {
        let mut servers = servers("1-3");
        let gtids = format!("{}:1-3", uuid(2));
        let forget =
            format!("b:3306: remove all binary logs and GTIDs, then declare all but {gtids} as executed again");
        let (stop, start) = ("b:3306: stop receiver and applier", "b:3306: start receiver and applier, see it running");
        assert_eq!(servers.shown(&reset("b")), format!("{stop}; {forget}; {start}"));
        assert_eq!(servers.shown(&reset("c")), "no-errant-gtid");
        servers.add("d", 4, Some("b"));
        assert_eq!(servers.shown(&reset("b")), "has-replicas");
        assert_eq!(Servers::mariadb().shown(&reset("b")), "no-shared-gtid");
    }

    #[test]
    fn an_interrupted_reset_is_finished_or_told() {
        let mut servers = Servers::new();
        servers.baseline.insert(key("b"), Threads::BOTH);
        servers.set_threads("b", crate::instance::ThreadState::Stopped, crate::instance::ThreadState::Stopped);
        assert_eq!(servers.shown(&reset("b")), "b:3306: start receiver and applier, see it running");
        servers.facts("b").gtid.executed = String::new();
        assert_eq!(servers.shown(&reset("b")), "too-complex");
    }

    #[test]
    fn the_primary_takes_the_names() {
        let mut servers = servers("1-3");
        let plan = servers.plan(&inject("b")).expect("a plan");
        assert_eq!((plan.servers(), plan.answers_for.clone()), (vec![key("a")], Some(key("b"))));
        let gtids = [1, 2, 3].map(|number| format!("{}:{number}", uuid(2))).to_vec();
        assert_eq!(plan.branches[0].steps[0].action, Action::InjectEmpty { gtids });
        // What was injected by an earlier run is not injected again.
        servers.facts("a").gtid.executed = format!("{}:1-10,{}:1-2", uuid(1), uuid(2));
        let rest = format!("a:3306: commit an empty transaction as {}:3", uuid(2));
        assert_eq!(servers.shown(&inject("b")), rest);
        servers.facts("a").read_only = true;
        assert_eq!(servers.shown(&inject("b")), "no-candidate");
    }

    #[test]
    fn below_an_intermediate_source_the_primary_is_asked() {
        let mut servers = Servers::new();
        servers.add("d", 4, Some("b"));
        servers.replica("d").source_uuid = uuid(2);
        // Ahead of its source by what the primary has written, and by one of its own.
        servers.facts("d").gtid.executed = format!("{}:1-99,{}:7", uuid(1), uuid(4));
        assert_eq!(servers.shown(&inject("d")), format!("a:3306: commit an empty transaction as {}:7", uuid(4)));
        servers.lose("a");
        assert_eq!(servers.shown(&inject("d")), "unreachable");
    }

    #[test]
    fn the_number_is_limited() {
        let limit = Servers::new().policy.max_injected;
        let most = servers(&format!("1-{limit}")).plan(&inject("b")).expect("a plan");
        assert_eq!(most.steps().count(), 10);
        let more = servers(&format!("1-{}", limit + 1));
        assert_eq!(more.shown(&inject("b")), "too-many");
        assert_eq!(servers("1-9223372036854775000").shown(&inject("b")), "too-many");
        let mut careless = servers("1-20000");
        careless.policy.max_injected = u32::MAX;
        assert_eq!(careless.shown(&inject("b")), "too-many");
    }
}
