//! Who becomes the primary: data as a filter, then preference; everybody judged, with the reason.
//!
//! ```text
//!   survivors ─▶ REJECTIONS (rows; the first that applies) ─▶ data: holds all, or can fetch the rest ─▶ CandidateRank
//! ```
//! A candidate must hold every transaction that any reachable survivor has received, or be able to fetch it from the most
//! advanced survivor. Only then do people's wishes count, and then places and versions.

mod field;
mod rejection;
mod required;

use super::data::Received;
use super::rank::{CandidateRank, LastResort};
use super::scene::{Choice, Considered, Scene, Verdict};
use super::{co_primary, follow};
use crate::instance::{Instance, InstanceKey};
use crate::operation::compatibility;
use crate::plan::{Refusal, Rule};

use field::{Field, Standing};

use field::can_apply;

pub(super) use required::{Required, required};

/// May receivers still run?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receivers {
    MustBeStopped,
    MayRun,
}

/// Chooses among the survivors as they are: their receivers must have been stopped ([`fence`](super::fence())).
pub fn choose(scene: &Scene<'_>) -> Result<Choice, Refusal> {
    judge(scene, Receivers::MustBeStopped)
}

/// The same, asking nothing of receivers: what would be chosen if the primary died now.
pub fn preview(scene: &Scene<'_>) -> Result<Choice, Refusal> {
    judge(scene, Receivers::MayRun)
}

fn judge(scene: &Scene<'_>, receivers: Receivers) -> Result<Choice, Refusal> {
    let failed = scene.failed_record()?;
    if failed.facts.group.is_some() {
        let reason = format!("{} is a member of a replication group, which chooses its primary itself", failed.key);
        return Err(Refusal::new(Rule::GroupSecondary, &failed.key, reason, "see to the group"));
    }
    if let Some(choice) = begun(scene)? {
        return Ok(choice);
    }
    let field = Field::new(scene, failed, receivers)?;
    let judged = field.judged();
    let chosen = match wanted(scene) {
        Some(key) if scene.requested.is_some() => requested(&field, &judged, key)?,
        Some(key) => judged.iter().find(|one| one.is_eligible() && one.key() == key).or_else(|| best(&judged)),
        None => best(&judged),
    };
    match chosen.or_else(|| forced(&field, &judged)) {
        Some(chosen) => Ok(choice(&field, &judged, chosen)),
        None => Err(nobody(&field, &judged)),
    }
}

/// Whom the operator named, else whom an earlier run chose: its followers may have been prepared for it.
fn wanted<'a>(scene: &Scene<'a>) -> Option<&'a InstanceKey> {
    scene.requested.or_else(|| scene.earlier_choice.map(|choice| &choice.successor))
}

/// An earlier run's choice stands once it may be open for writes: another one opened would be a second primary.
fn begun(scene: &Scene<'_>) -> Result<Option<Choice>, Refusal> {
    let Some(earlier) = scene.earlier_choice else { return Ok(None) };
    match scene.world.fresh(&earlier.successor) {
        Ok(one) if !one.facts.is_replica() => Ok(Some(earlier.clone())),
        Err(gone) if scene.opening_begun && !scene.force => Err(Refusal::new(
            Rule::WouldWriteTwice,
            &earlier.successor,
            format!(
                "{} may be open for writes already, and cannot be asked ({}): another primary would be a second one",
                earlier.successor, gone.reason
            ),
            format!(
                "see to {0}; if it is gone for good: force-master-failover -i {0}, or recover by force",
                earlier.successor
            ),
        )),
        // Still a replica, it was not opened, and is judged like the others.
        Ok(_) | Err(_) => Ok(None),
    }
}

/// One survivor, judged.
pub(super) struct Judged<'a> {
    standing: &'a Standing<'a>,
    rank: CandidateRank,
    catch_up_from: Option<InstanceKey>,
    /// Rule and fact; `None`: eligible.
    rejected: Option<(Rule, String)>,
    /// It is rejected for want of data only.
    only_lacks_data: bool,
}

impl Judged<'_> {
    fn key(&self) -> &InstanceKey {
        &self.standing.holding.instance.key
    }

    fn is_eligible(&self) -> bool {
        self.rejected.is_none()
    }

    fn is_forcible(&self) -> bool {
        self.is_eligible() || self.only_lacks_data
    }
}

impl<'a> Field<'a> {
    /// Everybody, best first, the rejected last.
    fn judged(&'a self) -> Vec<Judged<'a>> {
        let mut all: Vec<Judged<'a>> = self.standings.iter().map(|one| self.judge_one(one)).collect();
        all.sort_by(|a, b| (a.rejected.is_some(), &a.rank).cmp(&(b.rejected.is_some(), &b.rank)));
        all
    }

    fn judge_one(&'a self, standing: &'a Standing<'a>) -> Judged<'a> {
        let one = standing.holding.instance;
        let lacking = self.lacking(standing);
        let catch_up_from = if lacking.is_some() { self.feeder_of(standing) } else { None };
        let rejected = rejection::of(self, standing);
        let mut only_lacks_data = false;
        let rejected = rejected.or_else(|| {
            let (other, missing) = lacking.as_ref().filter(|_| catch_up_from.is_none())?;
            only_lacks_data = true;
            let reason = format!("{} lacks what {other} has received ({missing}), and cannot fetch it", one.key);
            Some((Rule::NotMostAdvanced, reason))
        });
        let rank = self.rank(standing, catch_up_from.is_some());
        Judged { standing, rank, catch_up_from, rejected, only_lacks_data }
    }

    /// Somebody who has received what this one has not, and what that is.
    fn lacking(&self, standing: &Standing<'_>) -> Option<(InstanceKey, String)> {
        let own = &standing.holding;
        let others = self.witnesses().filter(|other| other.instance.key != own.instance.key);
        let mut missing = others.map(|other| (other.instance.key.clone(), own.received.lacks(&other.received)));
        missing.find(|(_, missing)| !missing.is_empty())
    }

    /// The survivor that has everything and from which this one can fetch it.
    fn feeder_of(&self, standing: &Standing<'_>) -> Option<InstanceKey> {
        let own = standing.holding.instance;
        if !own.facts.is_using_gtid() || !matches!(standing.holding.received, Received::Set(_)) {
            return None;
        }
        let feeds = |other: &&super::data::Holding<'_>| {
            let one = other.instance;
            one.key != own.key
                && other.errant.is_empty()
                && one.facts.log_bin
                && one.facts.log_replica_updates
                && !one.facts.is_binlog_server()
                && one.facts.replica.as_ref().is_none_or(|replica| replica.other_channels.is_empty())
                && can_apply(one) == Ok(())
                && compatibility::can_replicate_by_gtid(own, one, self.scene.world.policy).is_ok()
                && self.witnesses().all(|third| other.received.lacks(&third.received).is_empty())
        };
        self.witnesses().find(feeds).map(|other| other.instance.key.clone())
    }

    fn rank(&self, standing: &Standing<'_>, must_catch_up: bool) -> CandidateRank {
        let one = standing.holding.instance;
        let home = &self.failed.facts;
        let version = compatibility::version(one);
        CandidateRank {
            last_resort: last_resort(standing),
            rule: one.promotion_rule,
            other_data_center: one.facts.data_center != home.data_center,
            other_region: one.facts.region != home.region,
            other_environment: one.facts.physical_environment != home.physical_environment,
            newer_than_most: self.usual_version.is_some_and(|usual| (version.major, version.minor) > usual),
            format_above_most: compatibility::format(one) > self.usual_format,
            must_catch_up,
            unapplied: standing.holding.unapplied(),
            key: one.key.clone(),
        }
    }
}

fn last_resort(standing: &Standing<'_>) -> LastResort {
    let one = standing.holding.instance;
    if !standing.holding.errant.is_empty() {
        LastResort::Errant
    } else if !one.facts.log_replica_updates {
        LastResort::DoesNotRelay
    } else if one.facts.replica.as_ref().is_some_and(|replica| replica.sql_delay > 0) {
        LastResort::Delayed
    } else if one.downtime.is_some() {
        LastResort::Downtimed
    } else {
        LastResort::No
    }
}

fn best<'a, 'f>(judged: &'a [Judged<'f>]) -> Option<&'a Judged<'f>> {
    judged.first().filter(|one| one.is_eligible())
}

/// The one named by the operator, or why not that one.
fn requested<'a, 'f>(
    field: &Field<'_>,
    judged: &'a [Judged<'f>],
    key: &InstanceKey,
) -> Result<Option<&'a Judged<'f>>, Refusal> {
    let remedy = "name another candidate, or none: the best is chosen then";
    let Some(one) = judged.iter().find(|one| one.key() == key) else {
        let lost = field.lost.iter().find(|(lost, _)| lost == key).map(|(_, reason)| reason.clone());
        let reason = lost.unwrap_or_else(|| format!("{key} is no replica of {}", field.failed.key));
        return Err(Refusal::new(Rule::NoCandidate, key, reason, remedy));
    };
    match &one.rejected {
        None => Ok(Some(one)),
        Some(_) if one.only_lacks_data && field.scene.force => Ok(Some(one)),
        Some((rule, reason)) => Err(Refusal::new(*rule, key, reason.clone(), remedy)),
    }
}

/// By the operator's word: the best of those that no other has more data than, whatever is given up.
fn forced<'a, 'f>(field: &Field<'_>, judged: &'a [Judged<'f>]) -> Option<&'a Judged<'f>> {
    if !field.scene.force {
        return None;
    }
    let able: Vec<&Judged<'_>> = judged.iter().filter(|one| one.is_forcible()).collect();
    let most = able.iter().filter(|one| {
        let own = &one.standing.holding.received;
        able.iter().all(|other| {
            let theirs = &other.standing.holding.received;
            own.lacks(theirs).is_empty() || !theirs.lacks(own).is_empty()
        })
    });
    most.min_by_key(|one| &one.rank).copied()
}

/// Nobody can be promoted: who was judged, and why not.
fn nobody(field: &Field<'_>, judged: &[Judged<'_>]) -> Refusal {
    let key = &field.failed.key;
    let rejected = judged.iter().filter_map(|one| one.rejected.as_ref().map(|(_, reason)| reason.clone()));
    let lost = field.lost.iter().map(|(_, reason)| reason.clone());
    let mut reasons: Vec<String> = rejected.chain(lost).collect();
    reasons.sort();
    if reasons.is_empty() {
        let reason = format!("{key} has no replicas: there is nobody to promote");
        return Refusal::new(Rule::NoCandidate, key, reason, "bring it up again, or restore a backup");
    }
    let data = judged.iter().any(|one| one.only_lacks_data);
    let remedy = if data {
        "repair the server that has the data; or give them up: force-master-failover"
    } else {
        "remove what speaks against one of them, then: recover"
    };
    let reason = format!("no replica of {key} can be promoted: {}", reasons.join("; "));
    Refusal::new(Rule::NoCandidate, key, reason, remedy)
}

fn choice(field: &Field<'_>, judged: &[Judged<'_>], chosen: &Judged<'_>) -> Choice {
    let successor = chosen.standing.holding.instance;
    let mut lost = field.lost.clone();
    let mut followers = Vec::new();
    for other in field.standings.iter().filter(|other| other.holding.instance.key != successor.key) {
        let key = &other.holding.instance.key;
        match follow::can_follow(&other.holding, &chosen.standing.holding, chosen.catch_up_from.is_some(), field.scene)
        {
            Ok(()) => followers.push(key.clone()),
            Err(refusal) => lost.push((key.clone(), refusal.reason)),
        }
    }
    lost.sort();
    let considered = judged.iter().map(|one| considered(one, one.key() == &successor.key)).collect();
    Choice {
        successor: successor.key.clone(),
        catch_up_from: chosen.catch_up_from.clone(),
        considered,
        followers,
        lost,
        because: because(field, chosen),
        warnings: warnings(field, chosen),
    }
}

fn considered(one: &Judged<'_>, chosen: bool) -> Considered {
    let verdict = match &one.rejected {
        _ if chosen => Verdict::Chosen,
        None => Verdict::Eligible,
        Some((rule, reason)) => Verdict::Rejected { rule: *rule, reason: reason.clone() },
    };
    Considered { key: one.key().clone(), verdict, rank: one.rank.text() }
}

fn because(field: &Field<'_>, chosen: &Judged<'_>) -> String {
    let (key, failed) = (chosen.key(), &field.failed.key);
    let rank = chosen.rank.text();
    let data = match (&chosen.catch_up_from, &chosen.rejected) {
        (_, Some(_)) => format!("{key} is promoted by force"),
        (Some(from), None) => format!("{key} fetches from {from} what it lacks of what replicas of {failed} received"),
        (None, None) => format!("{key} has all that any reachable replica of {failed} has received"),
    };
    let asked = if field.scene.requested == Some(key) { "; it was asked for" } else { "" };
    format!("{data}{asked} ({rank})")
}

fn warnings(field: &Field<'_>, chosen: &Judged<'_>) -> Vec<String> {
    let one = chosen.standing.holding.instance;
    let mut warnings = Vec::new();
    if chosen.rejected.is_some() {
        for other in field.witnesses() {
            let missing = chosen.standing.holding.received.lacks(&other.received);
            if !missing.is_empty() {
                warnings.push(format!("given up by force: what {} has received: {missing}", other.instance.key));
            }
        }
    }
    let last = match chosen.rank.last_resort {
        LastResort::No => None,
        LastResort::Downtimed => Some("it is downtimed".to_owned()),
        LastResort::Delayed => Some("it was delayed on purpose".to_owned()),
        LastResort::DoesNotRelay => {
            Some("it does not log what it replicated: others may be unable to follow".to_owned())
        }
        LastResort::Errant => {
            Some(format!("its errant transactions {} spread to its replicas", chosen.standing.holding.errant))
        }
    };
    warnings.extend(last.map(|why| format!("{} was the last resort: {why}", one.key)));
    warnings
}

/// The other of the pair, if only that one may be promoted: so configured, or it takes writes already.
pub(super) fn only_the_other<'a>(scene: &Scene<'a>) -> Option<&'a Instance> {
    let other = co_primary::other(scene)?;
    (scene.policy.co_must_promote_other || !other.facts.read_only).then_some(other)
}
