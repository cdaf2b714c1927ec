//! Scenes for tests: a world told as text ([`Fixture`]), and what the operator and the settings say.

use std::collections::BTreeSet;

use super::{Choice, RecoveryPolicy, Scene, Verdict, choose, fence, preview, promote, repoint};
use crate::gtid::GtidSet;
use crate::instance::{InstanceKey, ThreadState};
use crate::operation::fixture::{Fixture, key, lines, short};
use crate::plan::{Plan, Refusal, Request, Threads, check};

/// What a [`Scene`] borrows.
pub(super) struct Stage {
    pub(super) fixture: Fixture,
    pub(super) failed: InstanceKey,
    pub(super) request: Request,
    pub(super) requested: Option<InstanceKey>,
    pub(super) earlier: Option<Choice>,
    pub(super) opening_begun: bool,
    pub(super) banned: BTreeSet<InstanceKey>,
    pub(super) policy: RecoveryPolicy,
    pub(super) force: bool,
    pub(super) had_semi_sync: bool,
}

impl Stage {
    /// `a` has failed.
    pub(super) fn new(world: &str) -> Self {
        let failed = key("a");
        Self {
            fixture: Fixture::new(world),
            request: Request::Recover { failed: failed.clone(), recovery: 7 },
            failed,
            requested: None,
            earlier: None,
            opening_begun: false,
            banned: BTreeSet::new(),
            policy: RecoveryPolicy::default(),
            force: false,
            had_semi_sync: false,
        }
    }

    /// The same after the fence: these replicated with both threads before.
    pub(super) fn fenced(world: &str, names: &[&str]) -> Self {
        let mut stage = Self::new(world);
        for name in names {
            stage.fixture.baseline.insert(key(name), Threads::BOTH);
        }
        stage
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&Scene<'_>) -> T) -> T {
        let world = self.fixture.world();
        act(&Scene {
            world: &world,
            failed: &self.failed,
            requested: self.requested.as_ref(),
            earlier_choice: self.earlier.as_ref(),
            opening_begun: self.opening_begun,
            banned: &self.banned,
            policy: &self.policy,
            request: &self.request,
            force: self.force,
            had_semi_sync: self.had_semi_sync,
        })
    }

    pub(super) fn choose(&self) -> Result<Choice, Refusal> {
        let choice = self.with(choose)?;
        let text = serde_json::to_string(&choice).expect("a choice is written");
        assert_eq!(serde_json::from_str::<Choice>(&text).expect("a choice is read"), choice);
        Ok(choice)
    }

    pub(super) fn preview(&self) -> Result<Choice, Refusal> {
        self.with(preview)
    }

    /// Who is chosen, and from whom it fetches data first: `b` or `b < c`.
    pub(super) fn chosen(&self) -> String {
        match self.choose() {
            Ok(Choice { successor, catch_up_from: None, .. }) => successor.hostname,
            Ok(Choice { successor, catch_up_from: Some(from), .. }) => {
                format!("{} < {}", successor.hostname, from.hostname)
            }
            Err(refusal) => panic!("{refusal}"),
        }
    }

    /// Everybody who was judged, in order, with the rule against them.
    pub(super) fn judged(&self) -> Vec<String> {
        let choice = self.choose().expect("a choice");
        let told = choice.considered.iter().map(|one| match &one.verdict {
            Verdict::Chosen => format!("{} chosen", one.key.hostname),
            Verdict::Eligible => one.key.hostname.clone(),
            Verdict::Rejected { rule, .. } => format!("{} {}", one.key.hostname, rule.word()),
        });
        told.collect()
    }

    pub(super) fn refusal(&self) -> Refusal {
        let refusal = self.choose().expect_err("a refusal");
        assert!(!refusal.reason.is_empty() && !refusal.remedy.is_empty(), "{refusal:?}");
        refusal
    }

    pub(super) fn fence(&self) -> Option<Plan> {
        sane(self.with(fence).expect("no refusal"))
    }

    pub(super) fn promote(&self) -> Option<Plan> {
        let choice = self.choose().expect("a choice");
        sane(self.with(|scene| promote(scene, &choice)).expect("no refusal"))
    }

    pub(super) fn repoint(&self) -> Option<Plan> {
        let choice = self.earlier.clone().expect("somebody was chosen");
        sane(self.with(|scene| repoint(scene, &choice)).expect("no refusal"))
    }

    /// `b` was chosen and promoted.
    pub(super) fn promoted(mut self, successor: &str, followers: &[&str]) -> Self {
        self.earlier = Some(Choice {
            successor: key(successor),
            catch_up_from: None,
            considered: Vec::new(),
            followers: followers.iter().map(|name| key(name)).collect(),
            lost: Vec::new(),
            because: String::new(),
            warnings: Vec::new(),
        });
        self.opening_begun = true;
        self
    }

    /// A MySQL replica has applied all it received.
    pub(super) fn applied(self, name: &str) -> Self {
        self.edit(name, |one| {
            let replica = one.facts.replica.as_mut().expect("a replica");
            (replica.sql_thread, replica.sql_delay) = (ThreadState::Running, 0);
            let read = |text: &str| GtidSet::parse(text).expect("a set");
            let all = read(&one.facts.gtid.executed).union(&read(&replica.retrieved_gtid_set));
            one.facts.gtid.executed = all.expect("one family").to_string();
        })
    }

    pub(super) fn edit(mut self, name: &str, change: impl FnOnce(&mut crate::instance::Instance)) -> Self {
        change(self.fixture.instances.get_mut(&key(name)).expect("a server of this name"));
        self
    }
}

/// Every plan passes the check, and is the same when written and read.
pub(super) fn sane(plan: Option<Plan>) -> Option<Plan> {
    let plan = plan?;
    assert_eq!(check(&plan), Ok(()), "{}", plan.to_text(crate::plan::Detail::Conditions));
    let text = serde_json::to_string(&plan).expect("a plan is written");
    assert_eq!(serde_json::from_str::<Plan>(&text).expect("a plan is read"), plan);
    Some(plan)
}

/// The steps, a line each.
pub(super) fn shown(plan: Option<&Plan>) -> Vec<String> {
    plan.map(lines).unwrap_or_default()
}

/// Those left out, with the reasons.
pub(super) fn left_out(plan: Option<&Plan>) -> Vec<String> {
    let all = plan.map(|plan| plan.left_out.as_slice()).unwrap_or_default();
    all.iter().map(|refusal| short(&format!("{} {}", refusal.instance, refusal.rule.word()))).collect()
}
