//! Everybody who has to be looked at before somebody is chosen.

use std::collections::BTreeMap;

use super::{Receivers, only_the_other};
use crate::instance::{Instance, InstanceKey, ThreadState};
use crate::operation::compatibility::{self, Format};
use crate::plan::{Refusal, Rule, received_is_applied, running_threads};
use crate::recovery::co_primary;
use crate::recovery::data::{Holding, holdings};
use crate::recovery::scene::Scene;

/// A survivor that may be promoted or follow.
pub(super) struct Standing<'a> {
    pub(super) holding: Holding<'a>,
}

pub(super) struct Field<'a> {
    pub(super) scene: &'a Scene<'a>,
    pub(super) failed: &'a Instance,
    pub(super) standings: Vec<Standing<'a>>,
    /// Reachable servers whose data count, and that are neither promoted nor moved.
    beside: Vec<Holding<'a>>,
    /// Replicas of the failed server that are given up, each with the reason.
    pub(super) lost: Vec<(InstanceKey, String)>,
    /// The release series of most replicas.
    pub(super) usual_version: Option<(u32, u32)>,
    /// The kind of binary log of most replicas.
    pub(super) usual_format: Option<Format>,
    /// Nobody but this one may be promoted.
    pub(super) only: Option<&'a InstanceKey>,
}

impl<'a> Field<'a> {
    pub(super) fn new(scene: &'a Scene<'a>, failed: &'a Instance, receivers: Receivers) -> Result<Self, Refusal> {
        let (mut survivors, mut stubborn, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        for one in scene.replicas() {
            if let Err(gone) = scene.world.fresh(&one.key) {
                lost.push((one.key.clone(), gone.reason));
                continue;
            }
            if !one.facts.is_replica() {
                continue;
            }
            match receiver(one, scene, receivers)? {
                None => survivors.push(one),
                Some(reason) => {
                    lost.push((one.key.clone(), reason));
                    stubborn.push(one);
                }
            }
        }
        let direct = survivors.len() + stubborn.len();
        let mut all: Vec<&Instance> = survivors.iter().chain(&stubborn).copied().collect();
        all.extend(orphans(scene, &lost));
        let pair = co_primary::other(scene);
        let mut holding = holdings(&all, direct, failed, pair);
        let beside = holding.split_off(survivors.len());
        Ok(Self {
            scene,
            failed,
            standings: holding.into_iter().map(|holding| Standing { holding }).collect(),
            beside,
            lost,
            usual_version: usual(survivors.iter().map(|one| {
                let version = compatibility::version(one);
                (version.major, version.minor)
            })),
            usual_format: usual(survivors.iter().filter_map(|one| compatibility::format(one))),
            only: only_the_other(scene).map(|other| &other.key),
        })
    }

    /// Everybody whose data must not be lost.
    pub(super) fn witnesses(&self) -> impl Iterator<Item = &Holding<'a>> {
        self.standings.iter().map(|one| &one.holding).chain(&self.beside)
    }
}

/// Why the receiver of a survivor is not as it must be; `None`: it is.
fn receiver(one: &Instance, scene: &Scene<'_>, receivers: Receivers) -> Result<Option<String>, Refusal> {
    let reads_failed = one.facts.source() == Some(scene.failed);
    if receivers == Receivers::MayRun || !reads_failed || !running_threads(&one.facts).io {
        return Ok(None);
    }
    if one.facts.threads().0 == ThreadState::Running && !scene.force {
        return Err(Refusal::new(
            Rule::PrimaryAlive,
            scene.failed,
            format!("{} still replicates from {}: it is alive", one.key, scene.failed),
            "look into the network between us and it; for a living primary use a planned takeover",
        ));
    }
    Ok(Some(format!("the receiver of {} could not be stopped", one.key)))
}

/// The nearest reachable servers below replicas that are gone: they may hold what nobody else received.
fn orphans<'a>(scene: &Scene<'a>, lost: &[(InstanceKey, String)]) -> Vec<&'a Instance> {
    let gone: Vec<&InstanceKey> = lost.iter().map(|(key, _)| key).collect();
    let all = scene.world.instances.values();
    all.filter(|one| {
        let below = one.facts.is_replica() && one.facts.source().is_some_and(|source| gone.contains(&source));
        below && scene.world.fresh(&one.key).is_ok()
    })
    .collect()
}

/// The most frequent, the smallest of several.
fn usual<T: Ord + Copy>(all: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for one in all {
        *counts.entry(one).or_default() += 1;
    }
    let most = counts.values().copied().max()?;
    counts.into_iter().find(|(_, count)| *count == most).map(|(one, _)| one)
}

/// It has applied all it received, or its applier can do so; else why not.
pub(super) fn can_apply(one: &Instance) -> Result<(), String> {
    let Some(replica) = &one.facts.replica else { return Ok(()) };
    if received_is_applied(&one.facts) {
        return Ok(());
    }
    if replica.sql_delay > 0 {
        return Err(format!(
            "{} has received transactions that it does not apply: its delay is {} s",
            one.key, replica.sql_delay
        ));
    }
    if replica.sql_thread != ThreadState::Running && !replica.last_sql_error.is_empty() {
        return Err(format!("the applier of {} is broken: {}", one.key, replica.last_sql_error));
    }
    Ok(())
}
