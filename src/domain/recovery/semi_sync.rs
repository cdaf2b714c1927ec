//! Semi-synchronous replication of a living primary: the right replicas acknowledge, and as many as it waits for.
//!
//! ```text
//!   replicas that replicate, priority > 0, by priority, promotion rule, name:   1  2 | 3  4 ...
//!     exact     the first W on, all others (and those of priority 0) off
//!     at least  from the first on, those that are off are switched on, until W acknowledge; nobody is switched off
//! ```
//! W is what the primary waits for. First all that are to be on, then (asked again, after a look) those that are to be off:
//! commits wait for nobody meanwhile. Who does not answer is passed over; what the others said still counts.

use super::scene::Scene;
use crate::instance::{Instance, InstanceKey};
use crate::operation::semi_sync::switch;
use crate::operation::steps::{self, Part};
use crate::plan::{Method, Plan, Refusal, Request, Rule, SemiSyncSide};
use crate::promotion::PromotionRule;

/// How many may acknowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As many as the primary waits for (`EnforceExactSemiSyncReplicas`).
    Exact,
    /// That many, or more (`RecoverLockedSemiSyncMaster`).
    AtLeast,
}

/// The switches that are due next. `None`: all is as wanted. Ask again when they were done.
pub fn plan(scene: &Scene<'_>, mode: Mode) -> Result<Option<Plan>, Refusal> {
    let primary = scene.world.fresh(scene.failed)?;
    let facts = &primary.facts.semi_sync;
    // MariaDB has no such number: it waits for one.
    let wanted = usize::try_from(facts.wait_for_replica_count.max(1)).unwrap_or(usize::MAX);
    let clients = usize::try_from(facts.source_clients).unwrap_or(usize::MAX);
    let (possible, asynchronous) = replicas(scene);
    let (on, off) = match mode {
        Mode::Exact => exact(&possible, &asynchronous, wanted),
        Mode::AtLeast => (at_least(&possible, wanted.saturating_sub(clients)), Vec::new()),
    };
    let acknowledges = |one: &&&Instance| one.facts.semi_sync.replica_enabled && one.facts.semi_sync.replica_status;
    let enough = clients >= wanted || possible.iter().filter(acknowledges).count() >= wanted;
    if on.is_empty() && off.is_empty() && !enough {
        return Err(too_few(scene, &possible, wanted, clients));
    }
    let due: Vec<(&Instance, bool)> = if on.is_empty() {
        off.into_iter().map(|one| (one, false)).collect()
    } else {
        on.into_iter().map(|one| (one, true)).collect()
    };
    if due.is_empty() {
        return Ok(None);
    }
    let parts = due.into_iter().map(|(one, enabled)| part(one, enabled, scene)).collect();
    let because = format!("{} waits for {wanted}, {clients} acknowledge", primary.key);
    steps::many(scene.request, parts, because).map(Some)
}

/// Nobody is left to be switched on. Those that are on may still be connecting, or broken: that is not for a switch.
fn too_few(scene: &Scene<'_>, possible: &[&Instance], wanted: usize, clients: usize) -> Refusal {
    Refusal::new(
        Rule::NoCandidate,
        scene.failed,
        format!(
            "{} waits for {wanted} acknowledgements and gets {clients}; {} replicas could acknowledge, and all do",
            scene.failed,
            possible.len()
        ),
        "repair replicas, raise their priority (DetectSemiSyncEnforcedQuery), or lower rpl_semi_sync_..._wait_for_...",
    )
}

/// Those that may acknowledge, the first to do so first; and those that never should. Who does not replicate is neither.
fn replicas<'a>(scene: &Scene<'a>) -> (Vec<&'a Instance>, Vec<&'a Instance>) {
    let all = scene.world.replicas_of(scene.failed).into_iter();
    let replicating =
        all.filter_map(|one| scene.world.fresh(&one.key).ok()).filter(|one| one.facts.is_replica_running());
    let (mut possible, asynchronous): (Vec<_>, Vec<_>) =
        replicating.partition(|one: &&Instance| one.facts.semi_sync.priority > 0);
    possible.sort_by_key(|one| order(one));
    (possible, asynchronous)
}

fn order(one: &Instance) -> (std::cmp::Reverse<u64>, PromotionRule, String) {
    (std::cmp::Reverse(one.facts.semi_sync.priority), one.promotion_rule, one.key.to_string())
}

/// Who is to be switched on, and who off.
fn exact<'a>(
    possible: &[&'a Instance],
    asynchronous: &[&'a Instance],
    wanted: usize,
) -> (Vec<&'a Instance>, Vec<&'a Instance>) {
    let is_on = |one: &&&Instance| one.facts.semi_sync.replica_enabled;
    let (first, rest) = possible.split_at(wanted.min(possible.len()));
    let on = first.iter().filter(|one| !is_on(one)).copied().collect();
    let off = rest.iter().chain(asynchronous).filter(is_on).copied().collect();
    (on, off)
}

fn at_least<'a>(possible: &[&'a Instance], lacking: usize) -> Vec<&'a Instance> {
    possible.iter().filter(|one| !one.facts.semi_sync.replica_enabled).take(lacking).copied().collect()
}

/// The switch of one replica. One that waits for acknowledgements itself stops doing so: it is no primary.
fn part(one: &Instance, enabled: bool, scene: &Scene<'_>) -> Result<Part, Refusal> {
    let key: &InstanceKey = &one.key;
    let request = |side, enabled| Request::SetSemiSync { instance: key.clone(), side, enabled };
    let side = SemiSyncSide::Replica;
    let plan = switch(&request(side, enabled), key, side, enabled, scene.world)?;
    let Some(mut branch) = plan.branches.into_iter().next() else {
        return Err(Refusal::new(Rule::AlreadySo, key, format!("{key} is as wanted"), "nothing is to be done"));
    };
    if one.facts.semi_sync.source_enabled && one.facts.semi_sync.priority > 0 {
        let side = SemiSyncSide::Source;
        if let Ok(off) = switch(&request(side, false), key, side, false, scene.world) {
            branch.steps.splice(0..0, off.branches.into_iter().flat_map(|branch| branch.steps));
        }
    }
    Ok(Part { branch, method: Method::InPlace, because: String::new(), warnings: plan.warnings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::PluginNaming;
    use crate::plan::{Action, check};
    use crate::recovery::stage::Stage;

    /// `a` waits for `wanted` and has `clients`; below it, by name: priority, on, and a word of the fixture.
    fn ask(
        mode: Mode,
        wanted: u64,
        clients: u64,
        replicas: &[(&str, u64, bool, &str)],
    ) -> Result<Option<Plan>, Refusal> {
        let lines = replicas.iter().map(|(name, _, _, word)| format!("\n  {name} {word}"));
        let mut stage = Stage::new(&format!("a{}", lines.collect::<String>()));
        stage = stage.edit("a", |a| {
            let facts = &mut a.facts.semi_sync;
            (facts.source_enabled, facts.wait_for_replica_count, facts.source_clients) = (true, wanted, clients);
        });
        for (name, priority, on, _) in replicas {
            stage = stage.edit(name, |one| {
                let facts = &mut one.facts.semi_sync;
                (facts.priority, facts.replica_enabled) = (*priority, *on);
                facts.replica_plugin = Some(PluginNaming::SourceReplica);
                facts.source_plugin = Some(PluginNaming::SourceReplica);
                facts.source_enabled = *name == "e";
            });
        }
        stage.with(|scene| plan(scene, mode))
    }

    /// Names, with + or -, or the rule.
    fn switched(mode: Mode, wanted: u64, clients: u64, replicas: &[(&str, u64, bool, &str)]) -> String {
        match ask(mode, wanted, clients, replicas) {
            Ok(Some(plan)) => {
                assert_eq!(check(&plan), Ok(()), "{plan}");
                let switches = plan.steps().filter_map(|step| match step.action {
                    Action::SetSemiSync { side, enabled } => {
                        let word = if side == SemiSyncSide::Replica { "" } else { " source" };
                        Some(format!("{}{}{word}", if enabled { "+" } else { "-" }, step.on.hostname))
                    }
                    _ => None,
                });
                switches.collect::<Vec<_>>().join(" ")
            }
            Ok(None) => "nothing".to_owned(),
            Err(refusal) => refusal.rule.word(),
        }
    }

    #[test]
    fn exact_switches_first_on_then_off() {
        let of = |replicas: &[(&str, u64, bool, &str)]| switched(Mode::Exact, 1, 1, replicas);
        assert_eq!(of(&[("b", 1, true, ""), ("c", 1, true, "")]), "-c");
        // The other has the higher priority; next time the first goes off.
        assert_eq!(of(&[("b", 1, true, ""), ("c", 2, false, "")]), "+c");
        assert_eq!(of(&[("b", 1, true, ""), ("c", 2, true, "")]), "-b");
        assert_eq!(of(&[("b", 1, true, "rule=prefer_not"), ("c", 1, true, "")]), "-b");
        assert_eq!(of(&[("b", 1, true, ""), ("c", 0, true, "")]), "-c");
        assert_eq!(of(&[("b", 1, true, ""), ("c", 1, false, "")]), "nothing");
        assert_eq!(switched(Mode::Exact, 2, 1, &[("b", 1, true, ""), ("c", 1, false, ""), ("d", 1, true, "")]), "+c");
        assert_eq!(switched(Mode::Exact, 0, 2, &[("b", 1, true, ""), ("c", 1, true, "")]), "-c");
    }

    #[test]
    fn at_least_switches_on_what_is_lacking_and_no_more() {
        let three: &[(&str, u64, bool, &str)] = &[("b", 1, false, ""), ("c", 1, false, ""), ("d", 1, false, "")];
        assert_eq!(switched(Mode::AtLeast, 1, 0, three), "+b");
        assert_eq!(switched(Mode::AtLeast, 2, 0, three), "+b +c");
        assert_eq!(switched(Mode::AtLeast, 2, 1, three), "+b");
        // More acknowledge than are waited for: not one is switched on.
        assert_eq!(switched(Mode::AtLeast, 1, 2, three), "nothing");
        assert_eq!(switched(Mode::AtLeast, 1, 1, three), "nothing");
        assert_eq!(switched(Mode::AtLeast, 1, 0, &[("b", 0, true, ""), ("c", 1, false, "")]), "+c");
    }

    #[test]
    fn who_does_not_answer_or_replicate_is_passed_over() {
        let of = |b: &str| switched(Mode::AtLeast, 1, 0, &[("b", 2, false, b), ("c", 1, false, "")]);
        assert_eq!(of("dead"), "+c");
        assert_eq!(of("sql=no"), "+c");
        assert_eq!(of("io=connecting"), "+c");
        assert_eq!(switched(Mode::AtLeast, 1, 0, &[("b", 1, true, ""), ("c", 0, false, "")]), "no-candidate");
        assert_eq!(switched(Mode::Exact, 1, 0, &[("b", 1, false, "dead")]), "no-candidate");
    }

    #[test]
    fn a_replica_that_waits_for_others_stops_waiting() {
        assert_eq!(switched(Mode::AtLeast, 1, 0, &[("e", 1, false, "")]), "-e source +e");
    }
}
