//! Whole takeovers on the simulated fleet, under write load: each step made to fail, each made to be the last one of a
//! worker. What must hold at every moment: one server at most takes writes, and at the end all have all data.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::operation::Policy;
use crate::operation::model::run::Fate;
use crate::operation::model::{Kind, Model, NOW, key};
use crate::plan::{Baseline, check};
use crate::recovery::scene::RecoveryPolicy;

/// Replicas 1 to `direct` are below the primary, and one each below some of them.
fn model(kind: Kind, direct: usize, below: &[bool], behind: &[u64]) -> Model {
    let mut model = Model::new(kind);
    model.add(0, None, 50, 50);
    for index in 1..=direct {
        let unapplied = behind.get(index).copied().unwrap_or_default();
        model.add(index, Some(0), 50 - unapplied, 50);
        if below.get(index).copied().unwrap_or_default() {
            model.add(index + direct, Some(index), 40, 45);
        }
    }
    model
}

/// One takeover from its beginning to its end, whoever works on it.
struct Takeover {
    model: Model,
    baseline: Baseline,
    choice: Choice,
    /// Steps until something happens, and what.
    left: usize,
    fate: fn(usize) -> Fate,
    happened: bool,
    opening_begun: bool,
    earlier: Option<Plan>,
}

type Planner = fn(&Scene<'_>, &Choice) -> Result<Option<Plan>, Refusal>;

fn demote_auto(scene: &Scene<'_>, choice: &Choice) -> Result<Option<Plan>, Refusal> {
    demote(scene, choice, Variant::Auto)
}

fn back(scene: &Scene<'_>, choice: &Choice) -> Result<Option<Plan>, Refusal> {
    rollback(scene, choice, Reopen::Yes)
}

impl Takeover {
    fn new(mut model: Model, at: usize, fate: fn(usize) -> Fate) -> Self {
        let baseline = model.threads();
        // What was far behind when it began has caught up by now, or is waited for.
        model.tick();
        let mut takeover = Self {
            model,
            baseline,
            choice: placeholder(),
            left: at,
            fate,
            happened: false,
            opening_begun: false,
            earlier: None,
        };
        takeover.choice = takeover.ask(|scene, _| designate(scene, Variant::Auto)).expect("somebody can take over");
        takeover
    }

    fn ask<T>(&self, act: impl FnOnce(&Scene<'_>, &Choice) -> T) -> T {
        let (instances, policy, banned) = (self.model.instances(), Policy::default(), BTreeSet::new());
        let world = World {
            instances: &instances,
            baseline: &self.baseline,
            earlier: self.earlier.as_ref(),
            equivalences: &[],
            policy: &policy,
            now: NOW,
        };
        let failed = key(0);
        let scene = Scene {
            world: &world,
            failed: &failed,
            requested: None,
            earlier_choice: None,
            opening_begun: self.opening_begun,
            banned: &banned,
            policy: &RecoveryPolicy::default(),
            request: &Request::Recover { failed: failed.clone(), recovery: 7 },
            force: false,
            had_semi_sync: false,
        };
        act(&scene, &self.choice)
    }

    /// `Ok(false)`: nothing was left to be done.
    fn carry_out(&mut self, planner: Planner) -> Result<bool, String> {
        let plan = match self.ask(planner) {
            Ok(Some(plan)) => plan,
            Ok(None) => return Ok(false),
            Err(refusal) => return Err(refusal.to_string()),
        };
        assert_eq!(check(&plan), Ok(()), "{}", plan.to_text(crate::plan::Detail::Conditions));
        let count = plan.steps().count();
        self.opening_begun |= write_pause(&plan).is_some_and(|(_, last)| self.happened || self.left >= last);
        let mut fate = Fate::Lives;
        if !self.happened && self.left < count {
            fate = (self.fate)(self.left);
            self.happened = true;
        }
        self.left = self.left.saturating_sub(count);
        let result = self.model.run(&plan, fate);
        self.earlier = Some(plan);
        self.one_writes_at_most();
        match fate {
            // Whoever died says nothing.
            Fate::DiesAfter(_) => Err("died".to_owned()),
            _ => result.map(|()| true),
        }
    }

    fn one_writes_at_most(&self) {
        let writable: Vec<&InstanceKey> =
            self.model.servers.iter().filter(|(_, one)| !one.facts.read_only).map(|(name, _)| name).collect();
        assert!(writable.len() <= 1, "{writable:?} take writes");
    }

    fn forward(&mut self) -> Result<(), String> {
        for planner in [prepare as Planner, switch, demote_auto] {
            self.carry_out(planner)?;
        }
        Ok(())
    }

    fn source(&self, index: usize) -> Option<InstanceKey> {
        self.model.servers[&key(index)].facts.source().cloned()
    }

    /// The new primary writes, all replicate, the old one, too.
    fn assert_taken_over(mut self) {
        let new = self.choice.successor.clone();
        assert!(!self.model.servers[&new].facts.read_only, "{}", self.model.shown());
        assert!(self.model.servers[&new].facts.replica.is_none(), "{}", self.model.shown());
        assert!(self.model.servers[&key(0)].facts.read_only);
        assert_eq!(self.source(0), Some(new.clone()), "{}", self.model.shown());
        for follower in &self.choice.followers {
            assert_eq!(self.model.servers[follower].facts.source(), Some(&new), "{}", self.model.shown());
        }
        assert!(self.model.threads().values().all(|threads| *threads == Threads::BOTH), "{}", self.model.shown());
        self.model.assert_no_loop(false);
        self.model.settle();
    }

    /// The old primary writes, and everything is as it was.
    fn assert_taken_back(mut self, before: &Model) {
        assert!(!self.model.servers[&key(0)].facts.read_only, "{}", self.model.shown());
        for (name, server) in &before.servers {
            let now = &self.model.servers[name].facts;
            assert_eq!(now.source(), server.facts.source(), "{name}\n{}", self.model.shown());
            assert_eq!(now.read_only, server.facts.read_only, "{name}");
        }
        assert_eq!(self.model.threads(), before.threads());
        self.model.settle();
    }
}

fn placeholder() -> Choice {
    Choice {
        successor: key(0),
        catch_up_from: None,
        considered: Vec::new(),
        followers: Vec::new(),
        lost: Vec::new(),
        because: String::new(),
        warnings: Vec::new(),
    }
}

/// One step fails: forward if the other is open by then, back otherwise.
fn survives_a_failure(model: &Model, at: usize) {
    let mut takeover = Takeover::new(model.clone(), at, Fate::FailsAfter);
    if takeover.forward().is_ok() {
        return takeover.assert_taken_over();
    }
    if takeover.ask(is_switched) {
        takeover.forward().unwrap_or_else(|error| panic!("{error}\n{}", takeover.model.shown()));
        return takeover.assert_taken_over();
    }
    for _ in 0..3 {
        match takeover.carry_out(back) {
            Ok(false) => return takeover.assert_taken_back(model),
            Ok(true) => {}
            Err(error) => panic!("{error}\n{}", takeover.model.shown()),
        }
    }
    panic!("it is not taken back: {}", takeover.model.shown());
}

/// A worker dies; the next one goes on, or (`gives_up`) takes back what can be.
fn survives_a_death(model: &Model, at: usize, gives_up: bool) {
    let mut takeover = Takeover::new(model.clone(), at, Fate::DiesAfter);
    if takeover.forward().is_ok() {
        return takeover.assert_taken_over();
    }
    if gives_up && !takeover.ask(is_switched) {
        while takeover.carry_out(back).unwrap_or_else(|error| panic!("{error}\n{}", takeover.model.shown())) {}
        return takeover.assert_taken_back(model);
    }
    takeover.forward().unwrap_or_else(|error| panic!("{error}\n{}", takeover.model.shown()));
    takeover.assert_taken_over();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_takeover_ends_with_one_primary_and_all_data(
        mariadb in any::<bool>(),
        direct in 1..5usize,
        below in prop::collection::vec(any::<bool>(), 6),
        behind in prop::collection::vec(0..6u64, 6),
        at in 0..40usize,
        gives_up in any::<bool>(),
    ) {
        let kind = if mariadb { Kind::MariadbGtid } else { Kind::Gtid };
        let model = model(kind, direct, &below, &behind);
        survives_a_failure(&model, at);
        survives_a_death(&model, at, gives_up);
    }
}

/// Of both kinds, whichever step it is: chance need not find the one that matters.
#[test]
fn whichever_step_it_is() {
    for kind in [Kind::Gtid, Kind::MariadbGtid] {
        let model = model(kind, 3, &[false, false, true], &[0, 2, 0, 4]);
        for at in 0..40 {
            survives_a_failure(&model, at);
            survives_a_death(&model, at, false);
            survives_a_death(&model, at, true);
        }
    }
}

/// Where there is no other replica, nobody can give the old primary its credentials once the new one has forgotten its source.
#[test]
fn whichever_step_it_is_with_one_replica() {
    for kind in [Kind::Gtid, Kind::MariadbGtid] {
        let model = model(kind, 1, &[], &[]);
        for at in 0..12 {
            survives_a_failure(&model, at);
            survives_a_death(&model, at, false);
            survives_a_death(&model, at, true);
        }
    }
}
