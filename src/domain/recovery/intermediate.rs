//! A dead intermediate source: its replicas get another source, and keep all they have.
//!
//! F is the dead server, U its source. For each replica the first place that can take it, in this order; each is moved by
//! itself, side by side with the others, and who cannot be moved does not hold up the rest:
//!
//! | | Where | When |
//! |---|---|---|
//! | A | a sibling of F in F's data center | the best sibling of all is there |
//! | B | the best of the orphans, which itself goes where C or D says | all of the rest can follow it |
//! | C | any sibling of F, the best first | |
//! | D | U | |
//!
//! A sibling must answer, replicate, relay and be allowed to; the better one is wanted (promotion rule) and near, then
//! wanted, then near, then has more replicas and has applied more. Nobody becomes writable by any of this.

use std::cmp::Reverse;

use super::scene::{Choice, Considered, Scene, Verdict};
use crate::instance::{Instance, InstanceKey};
use crate::operation::gtid::{self, Catching};
use crate::operation::steps::{self, Part};
use crate::operation::{self, World, movability, regroup};
use crate::plan::{Method, Plan, Refusal, Request, Rule, Threads, running_threads};

/// Where orphans go, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescue {
    /// The successor is where (most of) them are; followers are those that can be moved, or were already.
    pub choice: Choice,
    /// `None`: all that can be moved are where they go.
    pub plan: Option<Plan>,
}

/// An orphan's way to a new source.
struct Move {
    orphan: InstanceKey,
    to: InstanceKey,
    part: Part,
}

/// Work on a list of orphans: what was found for whom, and who is left.
struct Search<'a> {
    scene: &'a Scene<'a>,
    left: Vec<InstanceKey>,
    moves: Vec<Move>,
    /// The last refusal of each.
    refusals: Vec<Refusal>,
}

/// New sources for the replicas of the dead intermediate source.
pub fn plan(scene: &Scene<'_>) -> Result<Rescue, Refusal> {
    let failed = scene.failed_record()?;
    let Some(upper) = failed.facts.source().filter(|source| failed.facts.is_replica() && source.is_valid()) else {
        return Err(Refusal::new(
            Rule::NotAReplica,
            scene.failed,
            format!("{} is no intermediate source: it has no source of its own", scene.failed),
            "its death is that of a primary: recover it as such",
        ));
    };
    let (moved, left) = orphans(scene);
    let (siblings, considered) = siblings(scene, upper, &left);
    let mut search = Search { scene, left, moves: Vec::new(), refusals: Vec::new() };
    let near: Vec<InstanceKey> = match siblings.first() {
        Some(best) if is_near(best, failed) => {
            siblings.iter().filter(|one| is_near(one, failed)).map(|one| one.key.clone()).collect()
        }
        _ => Vec::new(),
    };
    let any: Vec<InstanceKey> = siblings.iter().map(|one| one.key.clone()).collect();
    search.below_each(&near);
    search.below_earlier_leader();
    search.below_one_of_them(&any, upper);
    search.below_each(&any);
    search.below_each(std::slice::from_ref(upper));
    rescue(search, moved, considered)
}

/// Replicas that were moved by an earlier run, and those still below the dead server.
fn orphans(scene: &Scene<'_>) -> (Vec<InstanceKey>, Vec<InstanceKey>) {
    let left: Vec<InstanceKey> = scene.world.replicas_of(scene.failed).iter().map(|one| one.key.clone()).collect();
    let before = scene.earlier_choice.map_or(&[][..], |choice| &choice.followers);
    let moved = before.iter().filter(|key| !left.contains(key)).cloned().collect();
    (moved, left)
}

fn is_near(one: &Instance, failed: &Instance) -> bool {
    one.facts.data_center == failed.facts.data_center
}

/// The replicas of U that may be a source, best first; and how each was judged.
fn siblings<'a>(
    scene: &Scene<'a>,
    upper: &InstanceKey,
    orphans: &[InstanceKey],
) -> (Vec<&'a Instance>, Vec<Considered>) {
    let failed = scene.world.instances.get(scene.failed);
    let mut fit: Vec<&Instance> = Vec::new();
    let mut rejected = Vec::new();
    let all = scene.world.replicas_of(upper);
    for one in all.into_iter().filter(|one| one.key != *scene.failed && !orphans.contains(&one.key)) {
        match may_be_source(one, failed, scene) {
            Ok(()) => fit.push(one),
            Err(refusal) => rejected.push(Considered {
                key: one.key.clone(),
                verdict: Verdict::Rejected { rule: refusal.rule, reason: refusal.reason },
                rank: String::new(),
            }),
        }
    }
    fit.sort_by_key(|one| rank(one, failed, scene));
    let judged = fit.iter().enumerate().map(|(place, one)| Considered {
        key: one.key.clone(),
        verdict: if place == 0 { Verdict::Chosen } else { Verdict::Eligible },
        rank: rank_text(one, failed, scene),
    });
    let considered = judged.chain(rejected).collect();
    (fit, considered)
}

fn may_be_source(one: &Instance, failed: Option<&Instance>, scene: &Scene<'_>) -> Result<(), Refusal> {
    let key = &one.key;
    let refuse = |rule, reason: String| Err(Refusal::new(rule, key, reason, "another is taken"));
    let one = scene.world.fresh(key)?;
    let facts = &one.facts;
    let filters = |one: &Instance| one.facts.replica.as_ref().is_some_and(|replica| replica.has_filters);
    if one.promotion_rule.is_banned() || scene.banned.contains(key) {
        return refuse(
            Rule::NoCandidate,
            format!("{key} is not to be anybody's source (must_not, or ignored by name)"),
        );
    }
    if let Some(downtime) = &one.downtime {
        return refuse(Rule::Downtimed, format!("{key} is downtimed by {}: {}", downtime.owner, downtime.reason));
    }
    if !facts.log_bin || !facts.log_replica_updates {
        return refuse(Rule::DoesNotRelay, format!("{key} does not log what it applies"));
    }
    if !facts.is_replica_running() {
        return refuse(Rule::NotReplicating, format!("replication of {key} does not run"));
    }
    if failed.is_some_and(|failed| filters(failed) != filters(one)) {
        return refuse(Rule::Filters, format!("{key} and {} differ in having replication filters", scene.failed));
    }
    if failed.is_some_and(|failed| failed.facts.is_binlog_server() != facts.is_binlog_server()) {
        return refuse(Rule::NotBuilt, format!("one of {key} and {} is a binlog server", scene.failed));
    }
    Ok(())
}

/// Lower is better.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    preference: u8,
    replicas: Reverse<usize>,
    /// Length of the name of the file, the file, the position.
    applied: Reverse<(usize, String, u64)>,
    key: InstanceKey,
}

/// Wanted and near, wanted, near, any; then more replicas, then more data; then the name.
fn rank(one: &Instance, failed: Option<&Instance>, scene: &Scene<'_>) -> Rank {
    let replicas = scene.world.replicas_of(&one.key).len();
    let applied = one.facts.replica.as_ref().map(|replica| replica.exec.clone()).unwrap_or_default();
    // Files of one log are numbered: the longer name is the later.
    let applied = (applied.file.len(), applied.file, applied.position);
    Rank {
        preference: preference(one, failed),
        replicas: Reverse(replicas),
        applied: Reverse(applied),
        key: one.key.clone(),
    }
}

fn preference(one: &Instance, failed: Option<&Instance>) -> u8 {
    let near = failed.is_some_and(|failed| {
        is_near(one, failed) && one.facts.physical_environment == failed.facts.physical_environment
    });
    match (one.promotion_rule.is_candidate(), near) {
        (true, true) => 0,
        (true, false) => 1,
        (false, true) => 2,
        (false, false) => 3,
    }
}

fn rank_text(one: &Instance, failed: Option<&Instance>, scene: &Scene<'_>) -> String {
    let words = ["candidate in the same place", "candidate elsewhere", "same place", "elsewhere"];
    let place = words.get(usize::from(preference(one, failed))).copied().unwrap_or_default();
    format!("{place}, {} replicas", scene.world.replicas_of(&one.key).len())
}

/// One orphan below a server: by GTID, or by a recorded equivalence of positions.
pub(super) fn way(orphan: &InstanceKey, to: &InstanceKey, world: &World<'_>) -> Result<Part, Refusal> {
    let moving = movability::movable(orphan, world)?;
    if moving.instance.facts.is_using_gtid() {
        return gtid::part(orphan, to, world);
    }
    let request = Request::MoveEquivalent { instance: orphan.clone(), below: to.clone() };
    let plan = operation::plan(&request, world)?;
    let (method, because, warnings) = (plan.method, plan.because, plan.warnings);
    let simple = plan.head.is_empty() && plan.tail.is_empty();
    match plan.branches.into_iter().next().filter(|_| simple) {
        Some(branch) => Ok(Part { branch, method, because, warnings }),
        None => Err(Refusal::new(
            Rule::TooComplex,
            orphan,
            format!("{orphan} replicates by file and position, and {to} has no place known to be equal to its own"),
            "build it anew, or use GTID from now on",
        )),
    }
}

impl Search<'_> {
    /// Each that is left below the first of these that can take it.
    fn below_each(&mut self, places: &[InstanceKey]) {
        if places.is_empty() {
            return;
        }
        for orphan in std::mem::take(&mut self.left) {
            let mut refused = None;
            let found =
                places.iter().filter(|to| **to != orphan).find_map(|to| match way(&orphan, to, self.scene.world) {
                    Ok(part) => Some((to, part)),
                    Err(refusal) => {
                        refused = Some(refusal);
                        None
                    }
                });
            match found {
                Some((to, part)) => self.moves.push(Move { orphan, to: to.clone(), part }),
                None => {
                    self.refusals.extend(refused);
                    self.left.push(orphan);
                }
            }
        }
    }

    /// An earlier run had begun to gather them below one of them, which is gone from here.
    fn below_earlier_leader(&mut self) {
        let Some(choice) = self.scene.earlier_choice else { return };
        if choice.followers.contains(&choice.successor) && !self.left.contains(&choice.successor) {
            self.below_each(std::slice::from_ref(&choice.successor));
        }
    }

    /// The best of them goes below a sibling or U, and all others below it; or nothing of that.
    fn below_one_of_them(&mut self, siblings: &[InstanceKey], upper: &InstanceKey) {
        let world = self.scene.world;
        if self.left.len() < 2 {
            return;
        }
        let Ok(leader) = regroup::candidate(self.scene.failed, &self.left, false, world) else { return };
        if self.scene.banned.contains(&leader.key) {
            return;
        }
        let places = siblings.iter().chain(std::iter::once(upper));
        let Some((to, up)) = places.into_iter().find_map(|to| Some((to, way(&leader.key, to, world).ok()?))) else {
            return;
        };
        let catching = Catching { drains: false, will_get_the_rest: true };
        let others = self.left.iter().filter(|key| **key != leader.key);
        let parts: Result<Vec<Move>, Refusal> = others
            .map(|key| {
                let part = gtid::part_after(key, &leader.key, catching, world)?;
                Ok(Move { orphan: key.clone(), to: leader.key.clone(), part })
            })
            .collect();
        let Ok(parts) = parts else { return };
        self.moves.push(Move { orphan: leader.key.clone(), to: to.clone(), part: up });
        self.moves.extend(parts);
        self.left.clear();
    }
}

/// What was found, as a plan with a branch for each.
fn rescue(search: Search<'_>, moved: Vec<InstanceKey>, considered: Vec<Considered>) -> Result<Rescue, Refusal> {
    let Search { scene, left, moves, refusals } = search;
    let reason = |key: &InstanceKey| refusals.iter().rfind(|refusal| refusal.instance == *key);
    let lost: Vec<Refusal> = left.iter().map(|key| reason(key).cloned().unwrap_or_else(|| nowhere(key))).collect();
    let goals: Vec<&InstanceKey> = moves.iter().map(|one| &one.to).collect();
    let successor = successor(scene, &goals, &moved).ok_or_else(|| nobody_moved(scene, &lost))?;
    let mut followers: Vec<InstanceKey> = moves.iter().map(|one| one.orphan.clone()).chain(moved.clone()).collect();
    followers.sort();
    let because = format!("{} of the replicas of {} can be moved", followers.len(), scene.failed);
    let goes: Vec<String> = moves.iter().map(|one| format!("{} below {}", one.orphan, one.to)).collect();
    let mut parts: Vec<Result<Part, Refusal>> = moves.into_iter().map(|one| Ok(one.part)).collect();
    parts.extend(moved.iter().filter_map(|key| unfinished(key, scene)).map(Ok));
    let told = if goes.is_empty() { "they are where they go".to_owned() } else { goes.join(", ") };
    let mut plan = steps::many(scene.request, parts, format!("{} is dead: {told}", scene.failed))?;
    plan.left_out.clone_from(&lost);
    plan.answers_for = Some(successor.clone());
    let choice = Choice {
        successor,
        catch_up_from: None,
        considered,
        followers,
        lost: lost.into_iter().map(|refusal| (refusal.instance, refusal.reason)).collect(),
        because,
        warnings: Vec::new(),
    };
    let something = plan.steps().next().is_some();
    Ok(Rescue { choice, plan: something.then_some(plan) })
}

fn nowhere(key: &InstanceKey) -> Refusal {
    Refusal::new(Rule::NoCandidate, key, format!("no server can be the source of {key}"), "move it by hand: relocate")
}

/// Where most go; of equals the first. After a run that moved some: where it said they go.
fn successor(scene: &Scene<'_>, goals: &[&InstanceKey], moved: &[InstanceKey]) -> Option<InstanceKey> {
    let earlier = scene.earlier_choice.filter(|_| !moved.is_empty()).map(|choice| choice.successor.clone());
    let count = |key: &InstanceKey| goals.iter().filter(|goal| **goal == key).count();
    let most = || goals.iter().rev().max_by_key(|key| count(key)).map(|key| (**key).clone());
    earlier.or_else(most)
}

fn nobody_moved(scene: &Scene<'_>, lost: &[Refusal]) -> Refusal {
    if lost.is_empty() {
        return Refusal::new(
            Rule::AlreadySo,
            scene.failed,
            format!("{} has no replicas", scene.failed),
            "nothing is to be done",
        );
    }
    let reasons: Vec<String> = lost.iter().map(|one| format!("{}: {}", one.instance, one.reason)).collect();
    Refusal::new(
        lost.first().map_or(Rule::NoCandidate, |one| one.rule),
        scene.failed,
        format!("no replica of {} can be moved: {}", scene.failed, reasons.join("; ")),
        "see to each of them; relocate moves them one by one",
    )
}

/// Moved by an earlier run, and not started again.
pub(super) fn unfinished(key: &InstanceKey, scene: &Scene<'_>) -> Option<Part> {
    let one = scene.world.fresh(key).ok()?;
    let source = one.facts.source().filter(|source| source.is_valid())?;
    let method = if one.facts.is_using_gtid() { Method::Gtid } else { Method::Equivalence };
    if running_threads(&one.facts) == Threads::BOTH {
        return None;
    }
    steps::finish(key, source, scene.world, method)
}

#[cfg(test)]
mod tests;
