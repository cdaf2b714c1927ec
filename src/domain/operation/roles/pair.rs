//! Two servers that replicate from each other, of which one takes writes.

use crate::instance::{Instance, InstanceKey};
use crate::operation::movability::{self, Moving, source_in_general};
use crate::operation::steps::{self, Change, Part};
use crate::operation::{World, compatibility, gtid, limit, repoint};
use crate::plan::{
    Action, Condition, Method, Plan, Position, Refusal, Request, Rule, SourceOptions, Step, Threads, running_threads,
};

/// The primary replicates from its replica, too.
pub(crate) fn make_co_master(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let moving = movability::movable(instance, world)?;
    let master = world.fresh(&moving.replica.source)?;
    movability::group_lets_it_move(master)?;
    movability::no_binlog_server(master)?;
    let master_key = &master.key;
    if master.facts.source() == Some(instance) && master.facts.is_replica() {
        return pair_exists(request, instance, master, world);
    }
    if !moving.instance.facts.read_only {
        return Err(Refusal::new(
            Rule::NotReadOnly,
            instance,
            format!("{instance} accepts writes: two primaries would"),
            format!("set-read-only -i {instance} first"),
        ));
    }
    source_in_general(master, instance, world)?;
    other_peer_is_gone(master, world)?;
    if world.wanted_threads(instance) != Threads::BOTH {
        let reason =
            format!("replication of {instance} does not run: {master_key} would follow a replica that stands still");
        let remedy = format!("start it first: start-replica -i {instance}");
        return Err(Refusal::new(Rule::NotReplicating, instance, reason, remedy));
    }
    let user_known = master.facts.replica.as_ref().is_some_and(|replica| !replica.user.is_empty());
    if !user_known && !moving.instance.facts.replication_credentials_available {
        return Err(Refusal::new(
            Rule::NoCredentials,
            instance,
            format!("{master_key} has no replication user, and that of {instance} cannot be read"),
            "set ReplicationCredentialsQuery, or keep the user in the master info table",
        ));
    }
    let options = pair_options(&moving, master);
    let (position, also, method) = pair_position(&moving, master)?;
    let action = Action::ChangeSource { to: instance.clone(), position, options };
    let mut steps = pair_steps(&moving, master, action, also, !user_known, world)?;
    if method == Method::MariadbGtid {
        replica_catches_up(&mut steps, instance, world)?;
    }
    let mut branch = steps::branch(master_key, Some(instance), steps, Threads::NONE);
    branch.restore = if master.facts.is_replica() {
        steps::restore(master_key, world.wanted_threads(master_key))
    } else {
        // It was none: its threads are wanted because the pair is.
        Vec::new()
    };
    let because = format!("{instance} is read-only; {master_key} skips what it wrote itself");
    let warnings = movability::warnings(master, moving.instance, world);
    let mut plan = steps::single(request, Part { branch, method, because, warnings });
    plan.locks = vec![instance.clone(), master_key.clone()];
    plan.locks.sort();
    plan.answers_for = Some(instance.clone());
    Ok(plan)
}

fn pair_exists(
    request: &Request,
    instance: &InstanceKey,
    master: &Instance,
    world: &World<'_>,
) -> Result<Plan, Refusal> {
    let now = running_threads(&master.facts);
    // It was no replica when the earlier run began: no baseline tells of its threads.
    let resumed = world.resumed(&master.key) || world.earlier.is_some();
    if !resumed || now == Threads::BOTH {
        // The words of the original, which scripts match.
        let reason = format!("instance {instance} is already co master of {}", master.key);
        return Err(Refusal::new(Rule::AlreadySo, instance, reason, "nothing is to be done"));
    }
    let step = steps::start_below(&master.key, instance, Threads::BOTH).when(Condition::Threads { running: now });
    let branch = steps::branch(&master.key, None, vec![step], Threads::BOTH);
    let because = format!("{} has {instance} as its source already; its threads are to run", master.key);
    let mut plan = steps::single(request, Part { branch, method: Method::Repoint, because, warnings: Vec::new() });
    plan.answers_for = Some(instance.clone());
    Ok(plan)
}

/// A primary has no source, or one that takes no writes any more.
fn other_peer_is_gone(master: &Instance, world: &World<'_>) -> Result<(), Refusal> {
    let Some(peer) = master.facts.source().filter(|_| master.facts.is_replica()) else { return Ok(()) };
    // By what they said themselves: that the leader knows them for a pair may be a moment old.
    let in_pair = world.instances.get(peer).is_some_and(|one| one.facts.source() == Some(&master.key));
    let writes = world.fresh(peer).is_ok_and(|one| !one.facts.read_only);
    if in_pair && !writes {
        return Ok(());
    }
    let reason = format!("{} replicates from {peer} already", master.key);
    let (rule, remedy) = if in_pair {
        (Rule::CoPrimary, format!("set-read-only -i {peer} first, or reset-replica -i {}", master.key))
    } else {
        (Rule::IsAReplica, "name a replica of the primary".to_owned())
    };
    Err(Refusal::new(rule, &master.key, reason, remedy))
}

/// What the primary had as a replica, else what its replica has.
fn pair_options(moving: &Moving<'_>, master: &Instance) -> SourceOptions {
    match &master.facts.replica {
        Some(replica) if master.facts.is_replica() => steps::options(replica),
        _ => {
            let mut options = steps::options(moving.replica);
            let mysql = !moving.instance.facts.server_uuid.is_empty();
            options.request_public_key = mysql && !options.tls.allowed;
            options
        }
    }
}

fn pair_position(moving: &Moving<'_>, master: &Instance) -> Result<(Position, Vec<Condition>, Method), Refusal> {
    let instance = moving.instance;
    let key = &instance.key;
    if !instance.facts.is_using_gtid() {
        return Ok((Position::EndOf(key.clone()), Vec::new(), Method::Position));
    }
    // What only the replica has would be replicated to the primary.
    gtid::nothing_of_its_own(moving, master)?;
    if moving.replica.using_mariadb_gtid {
        return Ok((Position::MariadbCurrentPos, Vec::new(), Method::MariadbGtid));
    }
    compatibility::purged_is_here(master, instance)?;
    Ok((Position::Auto, vec![Condition::PurgedByIsHere { other: key.clone() }], Method::Gtid))
}

/// A MariaDB server that asks for what comes after a transaction its source does not have is refused, and its receiver
/// stops for good: the replica must have what the primary has when that begins to read from it.
fn replica_catches_up(steps: &mut [Step], instance: &InstanceKey, world: &World<'_>) -> Result<(), Refusal> {
    let wanted = world.wanted_threads(instance);
    if wanted != Threads::BOTH {
        return Err(Refusal::new(
            Rule::NotReplicating,
            instance,
            format!("replication of {instance} does not run: its source would ask it for transactions that it lacks"),
            format!("start it first: start-replica -i {instance}"),
        ));
    }
    if let Some(change) = steps.iter_mut().find(|step| matches!(step.action, Action::ChangeSource { .. })) {
        change.after.push(Condition::ExecutedIsIn { other: instance.clone() });
    }
    Ok(())
}

fn pair_steps(
    moving: &Moving<'_>,
    master: &Instance,
    action: Action,
    mut also: Vec<Condition>,
    needs_credentials: bool,
    world: &World<'_>,
) -> Result<Vec<Step>, Refusal> {
    let (key, to) = (&master.key, &moving.instance.key);
    let was = master.facts.replica.as_ref().filter(|_| master.facts.is_replica());
    let mut steps = Vec::new();
    if let Some(replica) = was {
        let own = Moving { instance: master, replica };
        let relay = repoint::applied_relay(&own, "they would go with its former source", world)?;
        let change = Change { moving: own, action, relay, also, holds: Vec::new(), reachable: true, may_apply: false };
        steps = steps::change(change, world);
        if world.wanted_threads(key) != Threads::NONE {
            steps.pop();
        }
    } else {
        if needs_credentials {
            let copy = Step::new(key, Action::CopyCredentials { from: to.clone() }, limit::OTHER)
                .when(steps::identity(master))
                .when(Condition::NoReplica);
            steps.push(copy);
        }
        let mut before = vec![steps::identity(master), Condition::NoReplica];
        before.append(&mut also);
        let mut step = Step::new(key, action, limit::CHANGE_SOURCE)
            .then(Condition::ReplicatesFrom { source: to.clone() })
            .then(Condition::Threads { running: Threads::NONE });
        step.before = before;
        steps.push(step);
    }
    steps.push(steps::start_below(key, to, Threads::BOTH));
    Ok(steps)
}
