//! Who takes over: rules that forbid, one row each, then preference.

use super::{Variant, no_replica_of, siblings_below};
use crate::instance::{Instance, InstanceKey};
use crate::operation::movability::{self, Moving};
use crate::operation::{compatibility, gtid};
use crate::plan::{Refusal, Rule, Threads, running_threads};
use crate::promotion::PromotionRule;
use crate::recovery::scene::{Choice, Considered, Scene, Verdict};

/// A replica that is judged, and the primary it may follow in office.
struct Case<'a> {
    moving: Moving<'a>,
    head: &'a Instance,
    scene: &'a Scene<'a>,
}

/// One rule: the refusal when it is broken.
type Check = fn(&Case<'_>) -> Result<(), Refusal>;

/// In this order; the first that is broken answers.
const CHECKS: &[Check] = &[
    is_wanted,
    is_not_delayed,
    replicates,
    keeps_up,
    uses_gtid,
    logs_what_it_applies,
    has_nothing_of_its_own,
    old_primary_can_follow,
    siblings_can_follow,
];

/// Lower is better.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    rule: PromotionRule,
    other_data_center: bool,
    other_region: bool,
    other_environment: bool,
    lag_seconds: u64,
    /// The oldest can be read by all others.
    version: (u32, u32),
    key: InstanceKey,
}

/// The one named, the only one there is, or (`-auto`) the best; whom an earlier run chose remains chosen.
pub fn designate(scene: &Scene<'_>, variant: Variant) -> Result<Choice, Refusal> {
    if let Some(choice) = scene.earlier_choice {
        return Ok(choice.clone());
    }
    let head = head(scene)?;
    let keys: Vec<InstanceKey> = scene.world.replicas_of(&head.key).iter().map(|one| one.key.clone()).collect();
    let named = match (scene.requested, keys.as_slice(), variant) {
        (Some(key), _, _) => {
            scene.world.known(key)?;
            if !keys.contains(key) {
                return Err(no_replica_of(key, &head.key));
            }
            vec![key.clone()]
        }
        (None, [], _) => return Err(nobody(head)),
        (None, [_, _, ..], Variant::Plain) => return Err(several(head, &keys)),
        (None, ..) => keys.clone(),
    };
    let (chosen, considered) = best(head, &named, scene)?;
    credentials(chosen, head, variant)?;
    let siblings = keys.iter().filter(|key| **key != chosen.key);
    let lost: Vec<(InstanceKey, String)> = siblings_below(scene, &chosen.key)?
        .left_out
        .into_iter()
        .map(|refusal| (refusal.instance.clone(), refusal.reason))
        .collect();
    let followers = siblings.filter(|key| !lost.iter().any(|(lost, _)| lost == *key)).cloned().collect();
    let warnings =
        lost.iter().map(|(key, reason)| format!("{key} is downtimed and will not follow: {reason}")).collect();
    let because = match scene.requested {
        Some(_) => "it was named".to_owned(),
        None => format!("it is the best of {} direct replicas: {}", keys.len(), rank(chosen, head).text()),
    };
    Ok(Choice { successor: chosen.key.clone(), catch_up_from: None, considered, followers, lost, because, warnings })
}

/// The primary answers, and is the head of its cluster.
fn head<'a>(scene: &Scene<'a>) -> Result<&'a Instance, Refusal> {
    let head = scene.world.fresh(scene.failed)?;
    if head.facts.group.as_ref().is_some_and(|group| !group.name.is_empty()) {
        return Err(Refusal::new(
            Rule::GroupSecondary,
            &head.key,
            format!("{} is a member of a replication group, which chooses its primary itself", head.key),
            "SELECT group_replication_set_as_primary(...)",
        ));
    }
    let Some(source) = head.facts.source().filter(|_| head.facts.is_replica()) else { return Ok(head) };
    if head.placement.is_co_primary {
        return Err(Refusal::new(
            Rule::CoPrimary,
            &head.key,
            format!("{} and {source} replicate from each other", head.key),
            format!("close the one and open the other: set-read-only -i {}, set-writeable -i {source}", head.key),
        ));
    }
    Err(Refusal::new(
        Rule::IsAReplica,
        &head.key,
        format!("{} replicates from {source}: it is not the primary", head.key),
        "name the primary of the cluster; for an intermediate source use take-master",
    ))
}

fn nobody(head: &Instance) -> Refusal {
    Refusal::new(
        Rule::NoCandidate,
        &head.key,
        format!("{} has no replica that could take over", head.key),
        format!("discover its replicas: discover -i {}", head.key),
    )
}

fn several(head: &Instance, keys: &[InstanceKey]) -> Refusal {
    let names: Vec<String> = keys.iter().map(ToString::to_string).collect();
    Refusal::new(
        Rule::BadArgument,
        &head.key,
        format!("{} has {} direct replicas, and none was named: {}", head.key, keys.len(), names.join(", ")),
        "name one with -d, or use graceful-master-takeover-auto",
    )
}

/// The best of those that may, and what was found about each, best first.
fn best<'a>(
    head: &'a Instance,
    keys: &[InstanceKey],
    scene: &Scene<'a>,
) -> Result<(&'a Instance, Vec<Considered>), Refusal> {
    let mut fit: Vec<(Rank, &Instance)> = Vec::new();
    let mut refused: Vec<Refusal> = Vec::new();
    for key in keys {
        match may_take_over(key, head, scene) {
            Ok(one) => fit.push((rank(one, head), one)),
            Err(refusal) => refused.push(Refusal { instance: key.clone(), ..refusal }),
        }
    }
    fit.sort_by(|(one, _), (other, _)| one.cmp(other));
    let Some((_, chosen)) = fit.first() else { return Err(none_of(head, &refused)) };
    let chosen = *chosen;
    let judged = fit.iter().enumerate().map(|(place, (rank, one))| Considered {
        key: one.key.clone(),
        verdict: if place == 0 { Verdict::Chosen } else { Verdict::Eligible },
        rank: rank.text(),
    });
    let rejected = refused.iter().map(|refusal| Considered {
        key: refusal.instance.clone(),
        verdict: Verdict::Rejected { rule: refusal.rule, reason: refusal.reason.clone() },
        rank: String::new(),
    });
    Ok((chosen, judged.chain(rejected).collect()))
}

fn none_of(head: &Instance, refused: &[Refusal]) -> Refusal {
    if let [one] = refused {
        return one.clone();
    }
    let reasons: Vec<String> = refused.iter().map(|one| format!("{}: {}", one.instance, one.reason)).collect();
    Refusal::new(
        Rule::NoCandidate,
        &head.key,
        format!("none of {} replicas can take over: {}", refused.len(), reasons.join("; ")),
        "repair one of them and try again",
    )
}

fn may_take_over<'a>(key: &InstanceKey, head: &'a Instance, scene: &Scene<'a>) -> Result<&'a Instance, Refusal> {
    let moving = movability::movable(key, scene.world)?;
    let case = Case { moving, head, scene };
    CHECKS.iter().try_for_each(|check| check(&case))?;
    scene.world.fresh(key)
}

fn refuse(case: &Case<'_>, rule: Rule, reason: String, remedy: &str) -> Result<(), Refusal> {
    Err(Refusal::new(rule, &case.moving.instance.key, reason, remedy))
}

fn is_wanted(case: &Case<'_>) -> Result<(), Refusal> {
    let one = case.moving.instance;
    let key = &one.key;
    if one.promotion_rule.is_banned() {
        let remedy = format!("register-candidate -i {key} --promotion-rule neutral, or name another");
        return refuse(case, Rule::NoCandidate, format!("{key} is registered as must_not"), &remedy);
    }
    if case.scene.banned.contains(key) {
        let reason = format!("{key} is matched by PromotionIgnoreHostnameFilters");
        return refuse(case, Rule::NoCandidate, reason, "name another, or change the setting");
    }
    match &one.downtime {
        Some(downtime) => {
            let reason = format!("{key} is downtimed by {}: {}", downtime.owner, downtime.reason);
            refuse(case, Rule::Downtimed, reason, &format!("end that first: end-downtime -i {key}"))
        }
        None => Ok(()),
    }
}

fn is_not_delayed(case: &Case<'_>) -> Result<(), Refusal> {
    let (key, delay) = (&case.moving.instance.key, case.moving.replica.sql_delay);
    if delay == 0 {
        return Ok(());
    }
    let remedy = format!("end its delay first: delay-replication -i {key} --seconds 0");
    refuse(case, Rule::Delayed, format!("{key} is delayed by {delay} s"), &remedy)
}

fn replicates(case: &Case<'_>) -> Result<(), Refusal> {
    let (one, replica) = (case.moving.instance, case.moving.replica);
    if one.facts.is_replica_running() {
        return Ok(());
    }
    let running = running_threads(&one.facts);
    let cause = [&replica.last_sql_error, &replica.last_io_error].into_iter().find(|error| !error.is_empty());
    let cause = cause.map_or_else(|| "stopped, or not connected".to_owned(), Clone::clone);
    let what = match running {
        Threads::BOTH => "is not connected",
        _ => "does not run",
    };
    let reason = format!("replication of {} {what}: {cause}", one.key);
    refuse(case, Rule::NotReplicating, reason, &format!("repair and start it first: start-replica -i {}", one.key))
}

fn keeps_up(case: &Case<'_>) -> Result<(), Refusal> {
    let limit = case.scene.world.policy.reasonable_maintenance_lag_seconds;
    let lag = lag_seconds(case.moving.instance);
    if lag.is_some_and(|seconds| seconds <= limit) {
        return Ok(());
    }
    let lag = lag.map_or_else(|| "unknown".to_owned(), |seconds| format!("{seconds} s"));
    let reason = format!("the lag of {} is {lag}, the limit is {limit} s", case.moving.instance.key);
    refuse(
        case,
        Rule::Lagging,
        reason,
        "wait until it has caught up, or raise ReasonableMaintenanceReplicationLagSeconds",
    )
}

fn lag_seconds(one: &Instance) -> Option<u64> {
    let replica = one.facts.replica.as_ref()?;
    u64::try_from(replica.lag_seconds.or(replica.seconds_behind)?).ok()
}

fn uses_gtid(case: &Case<'_>) -> Result<(), Refusal> {
    gtid::usable(&case.moving, case.head).map(drop)
}

fn logs_what_it_applies(case: &Case<'_>) -> Result<(), Refusal> {
    let (key, facts) = (&case.moving.instance.key, &case.moving.instance.facts);
    if !facts.log_bin {
        let reason = format!("{key} does not have binary logs enabled");
        return refuse(case, Rule::BinaryLogOff, reason, "restart it with log_bin, or name another");
    }
    if !facts.log_replica_updates {
        let reason = format!("{key} does not log what it applies: the others could not follow it");
        return refuse(case, Rule::DoesNotRelay, reason, "restart it with log_replica_updates (log_slave_updates)");
    }
    Ok(())
}

fn has_nothing_of_its_own(case: &Case<'_>) -> Result<(), Refusal> {
    gtid::nothing_of_its_own(&case.moving, case.head)
}

fn old_primary_can_follow(case: &Case<'_>) -> Result<(), Refusal> {
    let policy = case.scene.world.policy;
    compatibility::can_replicate_by_gtid(case.head, case.moving.instance, policy).map_err(|refusal| Refusal {
        reason: format!("the old primary could not follow {}: {}", case.moving.instance.key, refusal.reason),
        ..refusal
    })
}

/// All that nobody has declared a downtime for.
fn siblings_can_follow(case: &Case<'_>) -> Result<(), Refusal> {
    let key = &case.moving.instance.key;
    let plan = siblings_below(case.scene, key)?;
    let downtimed = |key: &InstanceKey| case.scene.world.instances.get(key).is_some_and(|one| one.downtime.is_some());
    match plan.left_out.iter().find(|refusal| !downtimed(&refusal.instance)) {
        Some(refusal) => Err(super::cannot_follow(key, refusal)),
        None => Ok(()),
    }
}

/// The old primary will need a user and a password of replication.
fn credentials(designated: &Instance, head: &Instance, variant: Variant) -> Result<(), Refusal> {
    let known = head.facts.replica.as_ref().is_some_and(|replica| !replica.user.is_empty());
    if variant == Variant::Plain || known || designated.facts.replication_credentials_available {
        return Ok(());
    }
    Err(Refusal::new(
        Rule::NoCredentials,
        &head.key,
        format!(
            "{} has no replication user, and that of {} cannot be read: it could not replicate afterwards",
            head.key, designated.key
        ),
        "set ReplicationCredentialsQuery; or graceful-master-takeover, which leaves its replication to you",
    ))
}

fn rank(one: &Instance, head: &Instance) -> Rank {
    let version = compatibility::version(one);
    Rank {
        rule: one.promotion_rule,
        other_data_center: one.facts.data_center != head.facts.data_center,
        other_region: one.facts.region != head.facts.region,
        other_environment: one.facts.physical_environment != head.facts.physical_environment,
        lag_seconds: lag_seconds(one).unwrap_or(u64::MAX),
        version: (version.major, version.minor),
        key: one.key.clone(),
    }
}

impl Rank {
    /// For people, in order of importance.
    fn text(&self) -> String {
        let mut words = vec![self.rule.to_string()];
        let places = [
            (self.other_data_center, "other data center"),
            (self.other_region, "other region"),
            (self.other_environment, "other environment"),
        ];
        words.extend(places.into_iter().filter(|(so, _)| *so).map(|(_, word)| word.to_owned()));
        words.push(format!("lag {} s", self.lag_seconds));
        words.join(", ")
    }
}
