//! Makes the name of a source unusable, reversibly: `//host` resolves nowhere, and the host is not forgotten.

use super::movability::{self, Moving};
use super::repoint::applied_relay;
use super::steps::{self, Change, Part, Relay};
use super::{World, compatibility, gtid};
use crate::instance::InstanceKey;
use crate::plan::{Action, Method, Plan, Position, Refusal, Request, Rule, Threads};

/// The mark in front of the host.
const MARK: &str = "//";

pub(crate) fn detach(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let moving = movability::movable(instance, world)?;
    let source = &moving.replica.source;
    if source.is_detached() {
        let refusal = Refusal::new(
            Rule::Detached,
            instance,
            format!("{instance} is detached from its source already"),
            format!("reattach-replica-master-host -i {instance} undoes that"),
        );
        return undone(request, &moving, refusal, world);
    }
    let relay = kept(&moving, world)?;
    let mut part = renamed(&moving, &format!("{MARK}{}", source.hostname), relay, false, world);
    part.because = format!("{source} gets a name that leads nowhere; reattaching gives it back");
    Ok(steps::single(request, part))
}

pub(crate) fn reattach(request: &Request, instance: &InstanceKey, world: &World<'_>) -> Result<Plan, Refusal> {
    let moving = movability::movable(instance, world)?;
    let source = &moving.replica.source;
    let Some(host) = source.hostname.strip_prefix(MARK) else {
        let reason = format!("{instance} is not detached: it replicates from {source}");
        let refusal = Refusal::new(Rule::NotDetached, instance, reason, "nothing is to be undone");
        return undone(request, &moving, refusal, world);
    };
    let original = InstanceKey::new(host, source.port);
    let relay = applied_relay(&moving, "they would go with the name of the source", world)?;
    if let Some(source) = world.instances.get(&original) {
        movability::no_loop(moving.instance, source, world)?;
    }
    let source = world.fresh(&original).ok();
    if let Some(source) = source.filter(|_| moving.replica.auto_position) {
        compatibility::purged_is_here(moving.instance, source)?;
    }
    if let Some(source) = source.filter(|_| moving.replica.using_mariadb_gtid) {
        let place = &moving.instance.facts.gtid.mariadb_slave_pos;
        compatibility::mariadb_purged_is_here(moving.instance, place, source)?;
    }
    let reachable = source.is_some();
    let mut part = renamed(&moving, host, relay, reachable, world);
    part.because = format!("{original} was its source before it was detached");
    if !reachable {
        part.warnings
            .push(format!("{original} could not be read: it is not seen whether {instance} can connect to it"));
    }
    Ok(steps::single(request, part))
}

/// As asked already: an error, unless an earlier run got that far and its threads are to be started.
fn undone(request: &Request, moving: &Moving<'_>, refusal: Refusal, world: &World<'_>) -> Result<Plan, Refusal> {
    let key = &moving.instance.key;
    if !world.resumed(key) {
        return Err(refusal);
    }
    let (wanted, source) = (world.wanted_threads(key), &moving.replica.source);
    match steps::finish(key, source, world, Method::Repoint) {
        Some(mut part) => {
            // A detached receiver never connects: it is enough that it is started.
            part.branch.steps =
                steps::start_again(key, source, Threads::NONE, wanted, !source.is_detached()).into_iter().collect();
            Ok(steps::single(request, part))
        }
        None => Err(steps::already_below(key, source)),
    }
}

/// Applied, or else still with a source that answers: a detached replica fetches it when it is attached again.
pub(crate) fn kept(moving: &Moving<'_>, world: &World<'_>) -> Result<Relay, Refusal> {
    let by_position = !moving.instance.facts.is_using_gtid();
    let source = world.fresh(&moving.replica.source);
    match source {
        // By position it is never certain that all is applied: a transaction may have been received in part.
        Ok(source) if by_position => gtid::relay(moving, source, world),
        Ok(source) => match applied_relay(moving, "they would go with the name of the source", world) {
            Err(_) => gtid::relay(moving, source, world),
            applied => applied,
        },
        Err(_) => applied_relay(moving, "they would go with the name of the source, which cannot be asked", world),
    }
}

fn renamed(moving: &Moving<'_>, host: &str, relay: Relay, reachable: bool, world: &World<'_>) -> Part {
    let key = &moving.instance.key;
    let change = Change {
        moving: *moving,
        action: rename(moving, host),
        relay,
        also: Vec::new(),
        holds: Vec::new(),
        reachable,
        may_apply: false,
    };
    let steps = steps::change(change, world);
    Part {
        branch: steps::branch(key, None, steps, world.wanted_threads(key)),
        method: Method::Repoint,
        because: String::new(),
        warnings: Vec::new(),
    }
}

/// With GTID the place is kept by itself; a position has to be stated with every new name.
pub(crate) fn rename(moving: &Moving<'_>, host: &str) -> Action {
    let position = if moving.instance.facts.is_using_gtid() {
        Position::Unchanged
    } else {
        Position::ExecutedBy(moving.instance.key.clone())
    };
    Action::RenameSource {
        to: host.to_owned(),
        port: moving.replica.source.port,
        position,
        options: steps::options(moving.replica),
    }
}
