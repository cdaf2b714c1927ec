//! Whether everything one server has, another has or will get: comparisons of sets, for both families.

use super::Catching;
use crate::gtid::GtidSet as AnySet;
use crate::gtid::mariadb::GtidPosition;
use crate::gtid::mysql::{GtidSet, Uuid};
use crate::instance::{Instance, InstanceKey};
use crate::operation::World;
use crate::operation::movability::{Moving, ancestors};
use crate::operation::steps::Relay;
use crate::plan::{Refusal, Rule, Threads, running_threads};

/// That nothing the replica has is unknown to where it goes.
pub(super) struct Shared {
    /// The server that is asked again, once the replica stands still.
    pub(super) proven_by: InstanceKey,
    pub(super) warning: Option<String>,
}

/// Everything the replica has, its new source has or will get. What it will get comes from the primary, through servers
/// that replicate; anything else is errant.
pub(super) fn transactions_are_shared(
    moving: &Moving<'_>,
    other: &Instance,
    relay: &Relay,
    catching: Catching,
    world: &World<'_>,
) -> Result<Shared, Refusal> {
    let writers = writers_above(other, world);
    has_nothing_of_its_own(moving, other, &writers)?;
    let relayed = matches!(relay, Relay::Drain);
    let judged = if moving.replica.using_mariadb_gtid {
        mariadb_judgement(moving, other, &writers, relayed, catching)
    } else {
        mysql_judgement(moving, other, &writers, relayed, catching)
    }?;
    // The primary is asked: its answer does not depend on how far the new source is.
    let asked = if judged.primary_has_all { writers.first() } else { None };
    let proven_by = asked.map_or_else(|| other.key.clone(), |primary| primary.key.clone());
    if judged.lacking.is_empty() {
        return Ok(Shared { proven_by, warning: None });
    }
    if !catching.will_get_the_rest {
        gets_the_rest(moving, other, &judged.lacking, world)?;
    }
    let warning = format!(
        "{} is behind {}: it lacks {} and gets it by replication; {} waits for it meanwhile",
        other.key, moving.instance.key, judged.lacking, moving.instance.key
    );
    Ok(Shared { proven_by, warning: Some(warning) })
}

/// What a comparison of sets says.
struct Judged {
    /// What the new source lacks now and will get, as text.
    lacking: String,
    /// The first writer has everything that the replica has.
    primary_has_all: bool,
}

/// The servers whose writes flow to `other`: itself if it is the primary, both of a pair; only those read lately.
fn writers_above<'a>(other: &'a Instance, world: &World<'a>) -> Vec<&'a Instance> {
    let chain = ancestors(world, &other.key);
    let top = chain.last().unwrap_or(&other.key);
    let mut keys = vec![top.clone()];
    // The top of a ring reads from another of its members.
    let ring = world.instances.get(top).and_then(|one| one.facts.source()).filter(|key| key.is_valid());
    keys.extend(ring.cloned());
    let mut writers: Vec<&Instance> = keys.iter().filter_map(|key| world.fresh(key).ok()).collect();
    writers.sort_by_key(|one| one.facts.read_only);
    writers
}

fn errant(moving: &Moving<'_>, other: &Instance, set: &str, why: &str) -> Refusal {
    let key = &moving.instance.key;
    let remedy = if moving.instance.facts.server_uuid.is_empty() {
        format!("see what they did (SHOW BINLOG EVENTS), and build {key} anew from a backup")
    } else {
        format!(
            "gtid-errant-inject-empty -i {key} or gtid-errant-reset-master -i {key}, once it is known what they did"
        )
    };
    Refusal::new(
        Rule::ErrantGtid,
        key,
        format!("{key} has transactions that {} lacks and will not get ({why}): {set}", other.key),
        remedy,
    )
}

/// Errant transactions of the new source would spread to the replica. Compared with the primary as it was read after the new
/// source or before: what the primary wrote in between is its own and not errant.
fn has_nothing_of_its_own(moving: &Moving<'_>, other: &Instance, writers: &[&Instance]) -> Result<(), Refusal> {
    // The members of a group have their writes from each other.
    let is_apart = other.facts.group.is_none() && writers.iter().all(|one| one.key != other.key);
    let Some(primary) = writers.first().filter(|_| is_apart) else { return Ok(()) };
    let set = if moving.replica.using_mariadb_gtid {
        written_by_itself(other, writers)
    } else {
        let sets = (GtidSet::parse(&other.facts.gtid.executed), GtidSet::parse(&moving.instance.facts.gtid.executed));
        let (Ok(theirs), Ok(here)) = sets else { return Ok(()) };
        let mut own = theirs.subtract(&here);
        for writer in writers {
            let Ok(known) = GtidSet::parse(&writer.facts.gtid.executed) else { return Ok(()) };
            own = own.subtract(&known);
        }
        let uuids: Vec<Uuid> = writers.iter().filter_map(|one| one.facts.server_uuid.parse().ok()).collect();
        own.retain_uuids(|uuid| !uuids.contains(&uuid)).to_string()
    };
    if set.is_empty() {
        return Ok(());
    }
    let key = &moving.instance.key;
    Err(Refusal::new(
        Rule::ErrantGtid,
        key,
        format!(
            "{} has transactions that its primary {} lacks, and {key} would get them: {set}",
            other.key, primary.key
        ),
        format!(
            "mend {} first (gtid-errant-inject-empty, gtid-errant-reset-master), or choose another source",
            other.key
        ),
    ))
}

/// What a replica of MariaDB wrote itself after the last transaction that it applied. Its place does not tell any more
/// once the primary's numbers have passed that of its own write.
fn written_by_itself(one: &Instance, writers: &[&Instance]) -> String {
    let (key, facts) = (&one.key, &one.facts);
    let positions = (mariadb_place(one), GtidPosition::parse(&facts.gtid.mariadb_slave_pos));
    let (Some(place), Ok(applied)) = positions else { return String::new() };
    // One of a pair writes by right; a former primary has applied nothing in its domain.
    if writers.iter().any(|writer| writer.key == *key) {
        return String::new();
    }
    let after_applying = |domain, sequence| applied.gtids().any(|one| one.domain == domain && one.sequence < sequence);
    let own = place.gtids().filter(|gtid| u64::from(gtid.server) == facts.server_id);
    let own: Vec<String> =
        own.filter(|gtid| after_applying(gtid.domain, gtid.sequence)).map(|gtid| gtid.to_string()).collect();
    own.join(",")
}

fn unreadable(moving: &Moving<'_>, other: &Instance) -> Refusal {
    Refusal::new(
        Rule::NoSharedGtid,
        &moving.instance.key,
        format!("the GTID sets of {} and {} cannot be compared", moving.instance.key, other.key),
        "see what they say in @@gtid_executed (MariaDB: @@gtid_current_pos)",
    )
}

fn mysql_judgement(
    moving: &Moving<'_>,
    other: &Instance,
    writers: &[&Instance],
    relayed: bool,
    catching: Catching,
) -> Result<Judged, Refusal> {
    let parse = |text: &str| GtidSet::parse(text).map_err(|_| unreadable(moving, other));
    let mut have = parse(&moving.instance.facts.gtid.executed)?;
    if relayed {
        have = have.union(&parse(&moving.replica.retrieved_gtid_set)?);
    }
    let mut theirs = parse(&other.facts.gtid.executed)?;
    if let Some(replica) = other.facts.replica.as_ref().filter(|_| catching.drains) {
        theirs = theirs.union(&parse(&replica.retrieved_gtid_set)?);
    }
    let lacking = have.subtract(&theirs);
    // What a primary wrote between two looks is not errant.
    let written_here = |set: &GtidSet| {
        let uuids: Vec<Uuid> = writers.iter().filter_map(|one| one.facts.server_uuid.parse().ok()).collect();
        set.retain_uuids(|uuid| !uuids.contains(&uuid))
    };
    let mut unknown = have;
    for writer in writers {
        unknown = unknown.subtract(&parse(&writer.facts.gtid.executed)?);
    }
    let errant_above = written_here(&unknown);
    if lacking.is_empty() {
        return Ok(Judged { lacking: String::new(), primary_has_all: writers.len() == 1 && errant_above.is_empty() });
    }
    if writers.is_empty() {
        return Err(errant(moving, other, &lacking.to_string(), "no primary above it can be read"));
    }
    let errant_set = lacking.intersect(&errant_above);
    if !errant_set.is_empty() {
        return Err(errant(moving, other, &errant_set.to_string(), "the primary does not have them"));
    }
    let is_writer = writers.iter().any(|writer| writer.key == other.key);
    // A writer lacks only what it wrote since it was looked at; a pair exchanges the rest.
    let lacking = if is_writer { String::new() } else { lacking.to_string() };
    Ok(Judged { lacking, primary_has_all: writers.len() == 1 && errant_above.is_empty() })
}

/// The place of a MariaDB server: what it wrote itself and what it applied.
fn mariadb_place(one: &Instance) -> Option<GtidPosition> {
    let gtid = &one.facts.gtid;
    let text = if gtid.mariadb_current_pos.is_empty() { &gtid.mariadb_binlog_pos } else { &gtid.mariadb_current_pos };
    GtidPosition::parse(text).ok()
}

fn mariadb_judgement(
    moving: &Moving<'_>,
    other: &Instance,
    writers: &[&Instance],
    relayed: bool,
    catching: Catching,
) -> Result<Judged, Refusal> {
    let unreadable = || unreadable(moving, other);
    let place = |one: &Instance| mariadb_place(one).ok_or_else(unreadable);
    let received = |text: &str| GtidPosition::parse(text).map_err(|_| unreadable());
    let mut have = place(moving.instance)?;
    if relayed {
        have = have.union(&received(&moving.replica.mariadb_io_pos)?);
    }
    let mut theirs = place(other)?;
    if let Some(replica) = other.facts.replica.as_ref().filter(|_| catching.drains) {
        theirs = theirs.union(&received(&replica.mariadb_io_pos)?);
    }
    let own = written_by_itself(moving.instance, writers);
    if !own.is_empty() {
        return Err(errant(moving, other, &own, "it wrote them itself"));
    }
    let lacking = have.subtract(&theirs);
    let mut unknown = have;
    for writer in writers {
        unknown = unknown.subtract(&place(writer)?);
    }
    let ids: Vec<u64> = writers.iter().map(|one| one.facts.server_id).collect();
    let errant_above = unknown.gtids().any(|gtid| !ids.contains(&u64::from(gtid.server)));
    let primary_has_all = writers.len() == 1 && !errant_above;
    if lacking.is_empty() {
        return Ok(Judged { lacking: String::new(), primary_has_all });
    }
    if writers.is_empty() {
        return Err(errant(moving, other, &lacking.to_string(), "no primary above it can be read"));
    }
    if errant_above {
        return Err(errant(moving, other, &unknown.to_string(), "the primary does not have them"));
    }
    let is_writer = writers.iter().any(|writer| writer.key == other.key);
    let lacking = if is_writer { String::new() } else { lacking.to_string() };
    Ok(Judged { lacking, primary_has_all })
}

/// Everything that can be told of what a server has and will have applied.
pub(crate) fn reach(one: &Instance) -> Option<AnySet> {
    let received = one.facts.replica.as_ref();
    if one.facts.server_uuid.is_empty() {
        let place = mariadb_place(one)?;
        let more = GtidPosition::parse(received.map_or("", |replica| &replica.mariadb_io_pos)).ok()?;
        return Some(place.union(&more).into());
    }
    let executed = GtidSet::parse(&one.facts.gtid.executed).ok()?;
    let more = GtidSet::parse(received.map_or("", |replica| &replica.retrieved_gtid_set)).ok()?;
    Some(executed.union(&more).into())
}

/// No reachable sibling has received anything that it has not.
pub(crate) fn is_most_advanced(
    moving: &Moving<'_>,
    siblings: &[InstanceKey],
    world: &World<'_>,
) -> Result<(), Refusal> {
    let key = &moving.instance.key;
    let mine = reach(moving.instance).unwrap_or_default();
    for one in siblings.iter().filter_map(|sibling| world.fresh(sibling).ok()) {
        // What has moved below it already follows it.
        if one.facts.source() == Some(key) {
            continue;
        }
        let missing = reach(one).unwrap_or_default().subtract(&mine);
        if !missing.is_empty() {
            return Err(Refusal::new(
                Rule::NotMostAdvanced,
                key,
                format!("{} has what {key} lacks: {missing}", one.key),
                format!("choose {}, or regroup-replicas, which finds the most advanced", one.key),
            ));
        }
    }
    Ok(())
}

/// The replica has nothing that its primary lacks, but for what the primary wrote since it was looked at.
pub(crate) fn nothing_of_its_own(moving: &Moving<'_>, master: &Instance) -> Result<(), Refusal> {
    let own = if moving.replica.using_mariadb_gtid {
        mariadb_judgement(moving, master, &[master], false, Catching::default())
    } else {
        mysql_judgement(moving, master, &[master], false, Catching::default())
    };
    own.map(|_| ())
}

/// What the new source lacks will come to it: it and all above it replicate.
fn gets_the_rest(moving: &Moving<'_>, other: &Instance, lacking: &str, world: &World<'_>) -> Result<(), Refusal> {
    let chain = std::iter::once(other.key.clone()).chain(ancestors(world, &other.key));
    let halted = chain.filter_map(|key| world.instances.get(&key)).find(|one| {
        one.facts.is_replica()
            && (world.wanted_threads(&one.key) != Threads::BOTH
                || !(world.resumed(&one.key) || running_threads(&one.facts) == Threads::BOTH))
    });
    let Some(halted) = halted else { return Ok(()) };
    let key = &moving.instance.key;
    Err(Refusal::new(
        Rule::NotReplicating,
        key,
        format!("{} lacks what {key} has ({lacking}), and replication of {} does not run", other.key, halted.key),
        format!("start it first: start-replica -i {}", halted.key),
    ))
}
