//! A dead member of a replication group: its asynchronous replicas go below another member that is online.
//!
//! The group itself decides who is its primary, and heals itself: nothing is done to its members here.

use super::intermediate::{Rescue, way};
use super::scene::{Choice, Considered, Scene, Verdict};
use crate::instance::{Instance, InstanceKey};
use crate::operation::steps::{self, Part};
use crate::plan::{Refusal, Rule};

/// The state of a member that takes part.
const ONLINE: &str = "ONLINE";

/// Lower is better.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    other_data_center: bool,
    /// They share the load.
    replicas: usize,
    key: InstanceKey,
}

/// Each replica below the best member that can take it.
pub fn plan(scene: &Scene<'_>) -> Result<Rescue, Refusal> {
    let failed = scene.failed_record()?;
    let Some(group) = failed.facts.group.as_ref().filter(|group| !group.name.is_empty()) else {
        return Err(Refusal::new(
            Rule::BadArgument,
            scene.failed,
            format!("{} was no member of a replication group when it was last seen", scene.failed),
            "recover it as what it is",
        ));
    };
    let in_group = |one: &&Instance| one.facts.group.as_ref().is_some_and(|other| other.name == group.name);
    let mut members = Vec::new();
    let mut considered = Vec::new();
    for one in scene.world.instances.values().filter(in_group).filter(|one| one.key != *scene.failed) {
        match may_be_source(one, scene) {
            Ok(()) => members.push(one),
            Err(refusal) => considered.push(Considered {
                key: one.key.clone(),
                verdict: Verdict::Rejected { rule: refusal.rule, reason: refusal.reason },
                rank: String::new(),
            }),
        }
    }
    members.sort_by_key(|one| rank(one, failed, scene));
    for (place, one) in members.iter().enumerate().rev() {
        let verdict = if place == 0 { Verdict::Chosen } else { Verdict::Eligible };
        let rank = rank(one, failed, scene);
        let text =
            format!("{}, {} replicas", if rank.other_data_center { "elsewhere" } else { "same place" }, rank.replicas);
        considered.insert(0, Considered { key: one.key.clone(), verdict, rank: text });
    }
    rescue(scene, &members, considered)
}

fn may_be_source(one: &Instance, scene: &Scene<'_>) -> Result<(), Refusal> {
    let key = &one.key;
    let one = scene.world.fresh(key)?;
    let state = one.facts.group.as_ref().map_or("", |group| &group.state);
    if state != ONLINE {
        let reason = format!("{key} is {state:?} in its group, not {ONLINE}");
        return Err(Refusal::new(Rule::NotReplicating, key, reason, "another member is taken"));
    }
    if one.downtime.is_some() {
        return Err(Refusal::new(Rule::Downtimed, key, format!("{key} is downtimed"), "another member is taken"));
    }
    Ok(())
}

fn rank(one: &Instance, failed: &Instance, scene: &Scene<'_>) -> Rank {
    Rank {
        other_data_center: one.facts.data_center != failed.facts.data_center,
        replicas: scene.world.replicas_of(&one.key).len(),
        key: one.key.clone(),
    }
}

fn rescue(scene: &Scene<'_>, members: &[&Instance], considered: Vec<Considered>) -> Result<Rescue, Refusal> {
    let orphans = scene.world.replicas_of(scene.failed);
    let orphans = orphans.iter().filter(|one| one.facts.group.is_none());
    let mut parts: Vec<Result<Part, Refusal>> = Vec::new();
    let mut goals: Vec<&InstanceKey> = Vec::new();
    let earlier = scene.earlier_choice;
    let mut followers: Vec<InstanceKey> = earlier.map(|choice| choice.followers.clone()).unwrap_or_default();
    for orphan in orphans {
        let mut refusal = None;
        let found = members.iter().find_map(|member| match way(&orphan.key, &member.key, scene.world) {
            Ok(part) => Some((member, part)),
            Err(refused) => {
                refusal.get_or_insert(refused);
                None
            }
        });
        parts.push(match found {
            Some((member, part)) => {
                goals.push(&member.key);
                followers.push(orphan.key.clone());
                Ok(part)
            }
            None => Err(refusal.unwrap_or_else(|| no_member(scene, &orphan.key))),
        });
    }
    followers.sort();
    followers.dedup();
    let moved = followers.iter().filter_map(|key| super::intermediate::unfinished(key, scene));
    parts.extend(moved.map(Ok).collect::<Vec<_>>());
    let mut plan = steps::many(scene.request, parts, format!("{} is dead; its group lives on", scene.failed))?;
    let Some(successor) = goals.first().map(|key| (*key).clone()).or_else(|| earlier.map(|one| one.successor.clone()))
    else {
        return Err(Refusal::new(
            Rule::AlreadySo,
            scene.failed,
            format!("{} has no replicas outside its group", scene.failed),
            "nothing is to be done",
        ));
    };
    plan.answers_for = Some(successor.clone());
    let choice = Choice {
        successor,
        catch_up_from: None,
        considered,
        followers,
        lost: plan.left_out.iter().map(|one| (one.instance.clone(), one.reason.clone())).collect(),
        because: "a member that is online, near, with few replicas".to_owned(),
        warnings: Vec::new(),
    };
    let something = plan.steps().next().is_some();
    Ok(Rescue { choice, plan: something.then_some(plan) })
}

fn no_member(scene: &Scene<'_>, orphan: &InstanceKey) -> Refusal {
    Refusal::new(
        Rule::NoCandidate,
        orphan,
        format!("no other member of the group of {} is online and answers", scene.failed),
        "look into the group: SELECT * FROM performance_schema.replication_group_members",
    )
}

#[cfg(test)]
mod tests;
