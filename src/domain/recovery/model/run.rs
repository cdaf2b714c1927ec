//! A recovery as a worker does it, with faults by number of step.

use std::collections::{BTreeMap, BTreeSet};

use super::{Model, NOW, Tx, key};
use crate::instance::InstanceKey;
use crate::operation::{Policy, World};
use crate::plan::{Action, Baseline, Condition, Detail, Plan, Refusal, Request, Step, check};
use crate::recovery::{Choice, RecoveryPolicy, Scene, choose, fence, promote, repoint};

/// Looks at a step before its time is over.
const LOOKS: usize = 60;
/// Attempts of one worker, and of those after it.
const ATTEMPTS: usize = 8;

/// What happens right before a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The order is not carried out.
    Fails,
    /// It is, and nobody hears of it.
    Unheard,
    /// The worker dies; another takes over.
    WorkerDies,
    /// This server is gone.
    Dies(usize),
    /// It is there again; the old primary as it was: writable.
    Returns(usize),
}

/// How a recovery ended.
#[derive(Debug)]
pub(super) enum End {
    /// All phases are through.
    Recovered { choice: Choice, left_out: Vec<Refusal> },
    /// Somebody has to look.
    GivenUp(String),
}

/// What a recovery keeps between its workers.
struct Kept {
    baseline: Baseline,
    choice: Option<Choice>,
    opening_begun: bool,
}

/// What a plan is made of, and run with.
struct Hand<'m> {
    model: &'m mut Model,
    faults: BTreeMap<usize, Fault>,
    steps: usize,
    /// What each server had that answered when the plan was made.
    had: BTreeMap<InstanceKey, BTreeSet<Tx>>,
}

enum Stop {
    Failed(String),
    Died,
}

/// Runs a recovery of s0 to its end.
pub(super) fn recover(model: &mut Model, faults: &[(usize, Fault)], force: bool) -> End {
    model.look_at_all();
    let mut kept = Kept { baseline: model.threads(), choice: None, opening_begun: false };
    let faults = faults.iter().copied().collect();
    let mut hand = Hand { model, faults, steps: 0, had: BTreeMap::new() };
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        match hand.attempt(&mut kept, force) {
            Ok(left_out) => {
                let choice = kept.choice.take().expect("it was chosen");
                return End::Recovered { choice, left_out };
            }
            Err(error) => last = error,
        }
    }
    End::GivenUp(last)
}

impl Hand<'_> {
    /// `Err`: something failed, or the worker died.
    fn attempt(&mut self, kept: &mut Kept, force: bool) -> Result<Vec<Refusal>, String> {
        let told = |refusal: Refusal| refusal.to_string();
        // Who could not be stopped is tried once more, and is lost then.
        for _ in 0..2 {
            let Some(plan) = self.plan(kept, force, fence).map_err(told)? else { break };
            if let Err(Stop::Died) = self.run(&plan) {
                return Err("died".to_owned());
            }
        }
        let choice = self.plan(kept, force, choose).map_err(told)?;
        kept.choice = Some(choice.clone());
        while let Some(plan) = self.plan(kept, force, |scene| promote(scene, &choice)).map_err(told)? {
            kept.opening_begun = true;
            self.run(&plan).map_err(said)?;
            if plan.head.last().is_none_or(|step| step.action != Action::Drain) {
                break;
            }
        }
        kept.opening_begun = true;
        let plan = self.plan(kept, force, |scene| repoint(scene, &choice)).map_err(told)?;
        let Some(plan) = plan else { return Ok(Vec::new()) };
        self.run(&plan).map_err(said)?;
        Ok(plan.left_out)
    }

    /// Looks at everybody, then asks.
    fn plan<T: Shown>(
        &mut self,
        kept: &Kept,
        force: bool,
        phase: impl FnOnce(&Scene<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.model.look_at_all();
        let up = self.model.servers.iter().filter(|(_, server)| server.up);
        self.had = up.map(|(name, server)| (name.clone(), server.has())).collect();
        let instances = self.model.instances();
        let operation_policy = Policy::default();
        let world = World {
            instances: &instances,
            baseline: &kept.baseline,
            earlier: None,
            equivalences: &self.model.equivalences,
            policy: &operation_policy,
            now: NOW,
        };
        let (failed, banned, policy) = (key(0), BTreeSet::new(), RecoveryPolicy::default());
        let planned = phase(&Scene {
            world: &world,
            failed: &failed,
            requested: None,
            earlier_choice: kept.choice.as_ref(),
            opening_begun: kept.opening_begun,
            banned: &banned,
            policy: &policy,
            request: &Request::Recover { failed: failed.clone(), recovery: 1 },
            force,
            had_semi_sync: false,
        });
        match &planned {
            Ok(planned) => planned.assert_sane(),
            Err(refusal) => assert!(!refusal.reason.is_empty() && !refusal.remedy.is_empty(), "{refusal:?}"),
        }
        planned
    }

    /// Head, then branches side by side. `Err`: what failed last.
    fn run(&mut self, plan: &Plan) -> Result<(), Stop> {
        let mut result = Ok(());
        for step in &plan.head {
            self.step(step)?;
        }
        let longest = plan.branches.iter().map(|branch| branch.steps.len()).max().unwrap_or_default();
        let mut ended = vec![false; plan.branches.len()];
        for turn in 0..longest {
            for (number, branch) in plan.branches.iter().enumerate() {
                let Some(step) = branch.steps.get(turn).filter(|_| !ended[number]) else { continue };
                match self.step(step) {
                    Ok(()) => {}
                    Err(Stop::Died) => return Err(Stop::Died),
                    Err(failed) => {
                        ended[number] = true;
                        for step in &branch.restore {
                            if self.model.servers[&step.on].up {
                                self.model.apply(step);
                            }
                        }
                        result = Err(failed);
                    }
                }
            }
        }
        result
    }

    fn step(&mut self, step: &Step) -> Result<(), Stop> {
        let failed = |text: String| Err(Stop::Failed(text));
        let fault = self.faults.remove(&self.steps);
        self.steps += 1;
        match fault {
            Some(Fault::WorkerDies) => return Err(Stop::Died),
            Some(Fault::Dies(index)) => self.model.get(index).up = false,
            Some(Fault::Returns(index)) => self.model.get(index).up = true,
            _ => {}
        }
        self.model.tick();
        self.conditions(step, &step.before).map_err(Stop::Failed)?;
        if fault == Some(Fault::Fails) {
            return failed(format!("{step}: no luck"));
        }
        self.judge(step);
        self.model.apply(step);
        if fault == Some(Fault::Unheard) {
            return failed(format!("{step}: no answer"));
        }
        let mut unmet = String::new();
        for _ in 0..LOOKS {
            match self.conditions(step, &step.after) {
                Ok(()) => return Ok(()),
                Err(error) => unmet = error,
            }
            self.model.tick();
        }
        failed(format!("after {step}: {unmet}"))
    }

    fn conditions(&self, step: &Step, conditions: &[Condition]) -> Result<(), String> {
        let mut facts = BTreeMap::new();
        for name in step.servers() {
            let looked = self.model.look(name).ok_or_else(|| format!("{name} is gone"))?;
            facts.insert(name.clone(), looked);
        }
        let own = &facts[&step.on];
        conditions.iter().try_for_each(|condition| {
            condition.holds(&step.on, own, &facts).map_err(|unmet| format!("{step}: {}", unmet.0))
        })
    }

    /// Right before a server is opened: nothing that anybody reachable had is given up, and who could be closed is closed.
    fn judge(&self, step: &Step) {
        if !matches!(step.action, Action::SetReadOnly { read_only: false, .. }) {
            return;
        }
        let executed = self.model.servers[&step.on].executed();
        for (name, had) in &self.had {
            let server = &self.model.servers[name];
            if *name == key(0) {
                assert!(!server.up || server.facts.read_only, "{step}: {name} answers, and is open");
                continue;
            }
            let own = |tx: &&Tx| tx.writer == server.id;
            let lost: Vec<&Tx> = had.difference(&executed).filter(|tx| !own(tx)).collect();
            assert!(lost.is_empty() || !server.up, "{step}: {name} has {lost:?}");
        }
    }
}

fn said(stop: Stop) -> String {
    match stop {
        Stop::Failed(text) => text,
        Stop::Died => "died".to_owned(),
    }
}

/// What a phase gives.
trait Shown {
    fn assert_sane(&self);
}

impl Shown for Choice {
    fn assert_sane(&self) {
        assert!(!self.because.is_empty());
        assert!(self.lost.iter().all(|(_, reason)| !reason.is_empty()));
    }
}

impl Shown for Option<Plan> {
    fn assert_sane(&self) {
        if let Some(plan) = self {
            assert_eq!(check(plan), Ok(()), "{}", plan.to_text(Detail::Conditions));
        }
    }
}
