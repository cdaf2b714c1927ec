//! A replaced primary that comes back: closed at once, then looked at, then a replica again or left alone.
//!
//! ```text
//!   first contact ─▶ fence   read-only, to everybody where the server can
//!                 └▶ judge   Contained ─▶ plan: below the present primary
//!                            Errant    ─▶ marked with the exact set, left alone
//!                            Unknown   ─▶ the same, with the reason
//! ```
//! MySQL's sets tell exactly what the present primary lacks. A MariaDB position names only the last transaction of a domain,
//! and its number says nothing: what the lost primary wrote last and what its successor wrote first have the same numbers.
//! There the successor's position at its promotion decides: what the former primary has beyond that is its own.

use super::attach;
use crate::gtid::mariadb::GtidPosition;
use crate::gtid::mysql::GtidSet;
use crate::instance::{Instance, InstanceKey};
use crate::operation::World;
use crate::operation::limit;
use crate::operation::steps::{self, identity};
use crate::plan::{Action, Branch, Condition, Method, Plan, Refusal, Request, Rule, Step, Threads, running_threads};

/// What a former primary has that the present one has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing.
    Contained,
    /// These transactions: a GTID set; for MariaDB `domain-server-from..to`, comma separated.
    Errant(String),
    /// It cannot be told, and why.
    Unknown(String),
}

/// No writes from now on. `None`: it is closed.
pub fn fence(world: &World<'_>, former: &InstanceKey, request: &Request) -> Result<Option<Plan>, Refusal> {
    let one = world.fresh(former)?;
    let facts = &one.facts;
    if facts.read_only && (facts.super_read_only || attach::is_mariadb(one)) {
        return Ok(None);
    }
    let close = Step::new(former, Action::Seal, limit::OTHER)
        .when(identity(one))
        .then(Condition::ReadOnly { read_only: true })
        .then(Condition::Closed);
    let mut plan = Plan::in_place(request.clone(), former.clone(), vec![close]);
    plan.because = format!("{former} was replaced as the primary while it was away");
    if attach::is_mariadb(one) {
        plan.warnings.push(format!("whoever has READ_ONLY ADMIN still writes to {former}"));
    }
    Ok(Some(plan))
}

/// Compares the two. `promoted_at`: what the successor had executed when it was promoted (MariaDB). The present primary's
/// facts must be no older than those of the former one.
pub fn judge(former: &Instance, primary: &Instance, promoted_at: &str) -> Judgement {
    match (attach::is_mariadb(former), attach::is_mariadb(primary)) {
        (false, false) => judge_mysql(former, primary),
        (true, true) => judge_mariadb(former, primary, promoted_at),
        _ => Judgement::Unknown(format!("{} and {} are of different flavors", former.key, primary.key)),
    }
}

fn judge_mysql(former: &Instance, primary: &Instance) -> Judgement {
    let sets = (GtidSet::parse(&former.facts.gtid.executed), GtidSet::parse(&primary.facts.gtid.executed));
    let (Ok(mine), Ok(theirs)) = sets else {
        return Judgement::Unknown("their executed GTIDs cannot be read".to_owned());
    };
    // Without GTID nothing tells what it wrote last; with it an empty set says that it wrote nothing.
    if !former.facts.supports_oracle_gtid() {
        return Judgement::Unknown(format!("{} does not use GTID", former.key));
    }
    let errant = mine.subtract(&theirs);
    if errant.is_empty() { Judgement::Contained } else { Judgement::Errant(errant.to_string()) }
}

fn judge_mariadb(former: &Instance, primary: &Instance, promoted_at: &str) -> Judgement {
    let place = |one: &Instance| {
        let gtid = &one.facts.gtid;
        let (current, log) =
            (GtidPosition::parse(&gtid.mariadb_current_pos), GtidPosition::parse(&gtid.mariadb_binlog_pos));
        Some(current.ok()?.union(&log.ok()?))
    };
    let (Some(mine), Some(now), Ok(then)) = (place(former), place(primary), GtidPosition::parse(promoted_at)) else {
        return Judgement::Unknown("their positions cannot be read".to_owned());
    };
    // With a binary log every write has a GTID: no position, no write.
    if mine.is_empty() && !former.facts.log_bin {
        return Judgement::Unknown(format!("{} has no binary log and tells no GTID position", former.key));
    }
    // It ends at the same transaction: no number is needed to tell.
    let ends_alike = |gtid: &crate::gtid::mariadb::Gtid| now.gtids().any(|other| other == *gtid);
    if promoted_at.is_empty() && !mine.gtids().all(|gtid| ends_alike(&gtid)) {
        return Judgement::Unknown(format!("what {} had when it was promoted is not known", primary.key));
    }
    let mut own = Vec::new();
    for gtid in mine.gtids().filter(|gtid| !ends_alike(gtid)) {
        let shared = then.gtids().filter(|other| other.domain == gtid.domain).map(|other| other.sequence).max();
        let shared = shared.unwrap_or_default();
        let other_writer = then
            .gtids()
            .any(|other| other.domain == gtid.domain && other.sequence == gtid.sequence && other.server != gtid.server);
        if gtid.sequence > shared {
            let from = shared.saturating_add(1);
            own.push(if from == gtid.sequence {
                format!("{}-{}-{from}", gtid.domain, gtid.server)
            } else {
                format!("{}-{}-{from}..{}", gtid.domain, gtid.server, gtid.sequence)
            });
        } else if other_writer {
            own.push(gtid.to_string());
        }
    }
    if own.is_empty() && now.contains(&mine) {
        return Judgement::Contained;
    }
    if own.is_empty() {
        return Judgement::Unknown(format!("{} is behind {}", primary.key, former.key));
    }
    Judgement::Errant(own.join(","))
}

/// The former primary below the present one, replicating. `None`: it is there and runs.
pub fn plan(
    world: &World<'_>,
    former: &InstanceKey,
    primary: &InstanceKey,
    promoted_at: &str,
    request: &Request,
) -> Result<Option<Plan>, Refusal> {
    let (old, new) = (world.fresh(former)?, world.fresh(primary)?);
    is_primary(new, old)?;
    if let Some(source) = old.facts.source().filter(|_| old.facts.is_replica()) {
        return if source == primary { running(old, new, request) } else { Err(elsewhere(old, source)) };
    }
    match judge(old, new, promoted_at) {
        Judgement::Contained => {}
        Judgement::Errant(set) => return Err(attach::errant(old, new, &set)),
        Judgement::Unknown(reason) => {
            let reason = format!("whether {primary} has all of {former} cannot be told: {reason}");
            return Err(Refusal::new(
                Rule::NoSharedGtid,
                former,
                reason,
                "compare them, or build it anew from a backup",
            ));
        }
    }
    let replicas = world.replicas_of(primary);
    let giver = attach::giver(former, replicas.into_iter().filter_map(|one| world.fresh(&one.key).ok()));
    if !attach::can_log_in(old, giver) {
        return Err(Refusal::new(
            Rule::NoCredentials,
            former,
            format!("{former} has no replication user, and no replica of {primary} tells its own"),
            "set ReplicationCredentialsQuery, or set the user there and start-replica",
        ));
    }
    let mut steps = attach::below(old, new, giver, Vec::new(), world)?;
    // What the primary's replicas do, it does, too.
    let acknowledges = world.replicas_of(primary).iter().any(|one| one.facts.semi_sync.replica_enabled);
    steps.extend(attach::semi_sync_of_a_replica(old, acknowledges));
    steps.push(steps::start_below(former, primary, Threads::BOTH));
    Ok(Some(rejoined(old, new, steps, true, request)))
}

/// Opening it took the place of another: a primary has no source, and takes writes.
fn is_primary(new: &Instance, old: &Instance) -> Result<(), Refusal> {
    if !new.facts.is_replica() && !new.facts.read_only && old.facts.read_only {
        return Ok(());
    }
    let (one, reason) = if old.facts.read_only {
        (new, format!("{} is not the primary: it has a source, or is read-only", new.key))
    } else {
        (old, format!("{} still takes writes", old.key))
    };
    Err(Refusal::new(Rule::NotReadOnly, &one.key, reason, "see topology: there must be one primary"))
}

fn elsewhere(old: &Instance, source: &InstanceKey) -> Refusal {
    let reason = format!("{} replicates from {source} by now", old.key);
    Refusal::new(Rule::IsAReplica, &old.key, reason, "somebody has seen to it; relocate moves it")
}

/// Below already; started unless people stopped it.
fn running(old: &Instance, new: &Instance, request: &Request) -> Result<Option<Plan>, Refusal> {
    let missing = Threads::BOTH.without(running_threads(&old.facts));
    if missing == Threads::NONE {
        return Ok(None);
    }
    let step = steps::start_below(&old.key, &new.key, missing).when(identity(old));
    Ok(Some(rejoined(old, new, vec![step], false, request)))
}

fn rejoined(old: &Instance, new: &Instance, steps: Vec<Step>, moves: bool, request: &Request) -> Plan {
    let mut locks = vec![old.key.clone(), new.key.clone()];
    locks.sort();
    let new_source = moves.then(|| new.key.clone());
    let branch = Branch { instance: old.key.clone(), new_source, locks: Vec::new(), steps, restore: Vec::new() };
    let method = if attach::is_mariadb(old) { Method::MariadbGtid } else { Method::Gtid };
    Plan {
        method,
        because: format!("{} has all that {} executed", new.key, old.key),
        locks,
        branches: vec![branch],
        ..Plan::in_place(request.clone(), old.key.clone(), Vec::new())
    }
}

#[cfg(test)]
mod tests;
