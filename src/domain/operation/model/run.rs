//! Plans run on the model: what each step does to a server of it, and what must never happen there.

use std::collections::BTreeMap;

use super::{APART, Kind, LOOKS, Model, Server, uuid};
use crate::gtid::mysql::GtidSet;
use crate::instance::{InstanceKey, ReplicaFacts, ThreadState};
use crate::plan::{Action, Plan, Position, SemiSyncSide, Step, Threads, running_threads};

/// What becomes of whoever runs a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing.
    Lives,
    /// No step more after so many, and nothing is put back.
    DiesAfter(usize),
    /// The step after so many fails without having done anything.
    FailsAfter(usize),
    /// It happened.
    Dead,
}

impl Model {
    /// Runs a whole plan, as its executor does. `Err`: a step failed, and its branch was restored.
    pub(crate) fn run(&mut self, plan: &Plan, mut fate: Fate) -> Result<(), String> {
        let mut failed = self.run_steps(&plan.head, &mut fate).err();
        if failed.is_none() {
            failed = self.run_branches(plan, &mut fate);
        }
        if fate == Fate::Dead {
            return Ok(());
        }
        let ended = self.run_steps(&plan.tail, &mut fate);
        failed.map_or(ended, Err)
    }

    /// Side by side: one step of each in turn.
    fn run_branches(&mut self, plan: &Plan, fate: &mut Fate) -> Option<String> {
        let mut failed = None;
        let longest = plan.branches.iter().map(|branch| branch.steps.len()).max().unwrap_or_default();
        let mut ended = vec![false; plan.branches.len()];
        for turn in 0..longest {
            for (number, branch) in plan.branches.iter().enumerate() {
                let Some(step) = branch.steps.get(turn).filter(|_| !ended[number]) else { continue };
                let Err(error) = self.run_steps(std::slice::from_ref(step), fate) else { continue };
                failed.get_or_insert(error);
                ended[number] = true;
                branch.restore.iter().for_each(|step| self.apply(step));
            }
        }
        failed
    }

    fn run_steps(&mut self, steps: &[Step], fate: &mut Fate) -> Result<(), String> {
        for step in steps {
            match fate {
                Fate::Dead => return Ok(()),
                Fate::DiesAfter(0) => {
                    *fate = Fate::Dead;
                    return Ok(());
                }
                Fate::FailsAfter(0) => {
                    *fate = Fate::Lives;
                    return Err(format!("{step}: no luck"));
                }
                Fate::DiesAfter(left) | Fate::FailsAfter(left) => *left -= 1,
                Fate::Lives => {}
            }
            self.run_step(step)?;
        }
        Ok(())
    }

    fn run_step(&mut self, step: &Step) -> Result<(), String> {
        self.tick();
        let facts = self.all_facts();
        for condition in &step.before {
            condition
                .holds(&step.on, &facts[&step.on], &facts)
                .map_err(|unmet| format!("before {step}: {}", unmet.0))?;
        }
        self.apply(step);
        let mut unmet = String::new();
        for _ in 0..LOOKS {
            let facts = self.all_facts();
            let wanting = step.after.iter().find_map(|one| one.holds(&step.on, &facts[&step.on], &facts).err());
            match wanting {
                None => return Ok(()),
                Some(wanting) => unmet = wanting.0,
            }
            self.tick();
        }
        Err(format!("after {step}: {unmet}"))
    }

    /// The content that a place in a source's log stands for.
    fn content_at(&self, source: &InstanceKey, position: &Position) -> Option<u64> {
        let at = match position {
            Position::At(at) => at.clone(),
            Position::ExecutedBy(name) => self.look(name).replica.map(|replica| replica.exec).unwrap_or_default(),
            Position::EndOf(name) => self.look(name).binlog,
            Position::Auto | Position::MariadbSlavePos | Position::MariadbCurrentPos | Position::Unchanged => {
                return None;
            }
        };
        let id = self.servers.get(source).map_or(0, |source| source.facts.server_id);
        assert_eq!(at.position / APART, id, "{at} is no place in the log of {source}");
        Some(at.position % APART)
    }

    fn apply(&mut self, step: &Step) {
        let target = match &step.action {
            Action::ChangeSource { to, position, .. } => self.content_at(to, position),
            Action::RunUntil { position } => {
                let source = self.servers[&step.on].facts.source().cloned().unwrap_or_default();
                self.content_at(&source, position)
            }
            _ => None,
        };
        // What somebody else has is not lost.
        let elsewhere: BTreeMap<InstanceKey, u64> =
            self.servers.iter().map(|(name, server)| (name.clone(), server.content.max(server.received))).collect();
        let kind = self.kind;
        let given = match &step.action {
            Action::CopyCredentials { from } => self.servers[from].user.clone(),
            _ => String::new(),
        };
        let server = self.servers.get_mut(&step.on).expect("a server of the model");
        let was_primary = server.facts.replica.is_none();
        if matches!(step.action, Action::ChangeSource { .. }) && was_primary {
            // A primary that becomes a replica.
            let (auto_position, using_mariadb_gtid) = (kind == Kind::Gtid, kind == Kind::MariadbGtid);
            let stopped = ThreadState::Stopped;
            server.received = server.content;
            server.facts.replica = Some(ReplicaFacts {
                io_thread: stopped,
                sql_thread: stopped,
                auto_position,
                using_mariadb_gtid,
                ..ReplicaFacts::default()
            });
        }
        if matches!(step.action, Action::CopyCredentials { .. }) {
            assert!(!given.is_empty(), "{step}: there is no user");
            server.user = given;
        }
        server.act(step, target, &elsewhere, was_primary);
    }
}

impl Server {
    fn act(&mut self, step: &Step, target: Option<u64>, elsewhere: &BTreeMap<InstanceKey, u64>, was_primary: bool) {
        match &step.action {
            Action::Stop { threads } => self.set_threads(*threads, ThreadState::Stopped),
            Action::Start { threads } => {
                assert!(!threads.io || !self.user.is_empty(), "{step}: it has no user to log in as");
                self.set_threads(*threads, ThreadState::Running);
                if let Some(replica) = self.facts.replica.as_mut().filter(|_| threads.sql) {
                    replica.last_sql_error.clear();
                }
            }
            Action::RunUntil { .. } => {
                let target = target.expect("a place").min(self.received);
                self.content = self.content.max(target);
            }
            Action::ChangeSource { to, position, .. } => {
                // Its own transactions come back to a primary, and are skipped by it.
                let own = target.is_some_and(|target| was_primary && target <= self.content);
                let fits = target.is_none_or(|target| own || target == self.content);
                assert!(fits, "{step}: at {target:?}, and {} is what it has applied", self.content);
                let running = running_threads(&self.facts);
                let goes_on =
                    self.facts.replica.as_ref().is_some_and(|now| now.auto_position && running == Threads::SQL);
                if *position != Position::Auto || !goes_on {
                    self.drop_relay_logs(step, elsewhere.get(to).copied());
                }
                let replica = self.facts.replica.as_mut().expect("a replica");
                replica.source = to.clone();
                match position {
                    Position::Auto => replica.auto_position = true,
                    Position::MariadbSlavePos | Position::MariadbCurrentPos => replica.using_mariadb_gtid = true,
                    Position::At(_) | Position::ExecutedBy(_) | Position::EndOf(_) => {
                        (replica.auto_position, replica.using_mariadb_gtid) = (false, false);
                    }
                    Position::Unchanged => {}
                }
            }
            Action::RenameSource { to, port, .. } => {
                let plain = InstanceKey::new(to.trim_start_matches('/'), *port);
                self.drop_relay_logs(step, elsewhere.get(&plain).copied());
                self.facts.replica.as_mut().expect("a replica").source = InstanceKey::new(to, *port);
            }
            Action::ResetReplica => {
                let source = self.facts.source().cloned().unwrap_or_default();
                self.drop_relay_logs(step, elsewhere.get(&source).copied());
                self.facts.replica = None;
                self.user.clear();
            }
            Action::SetReadOnly { read_only, with_super } => {
                self.facts.read_only = *read_only;
                self.facts.super_read_only = *read_only && *with_super;
            }
            Action::Close | Action::Seal => (self.facts.read_only, self.facts.super_read_only) = (true, true),
            Action::SetSemiSync { side: SemiSyncSide::Source, enabled } => {
                self.facts.semi_sync.source_enabled = *enabled;
            }
            Action::SetSemiSync { side: SemiSyncSide::Replica, enabled } => {
                self.facts.semi_sync.replica_enabled = *enabled;
            }
            Action::SetDelay { seconds } => {
                let running = running_threads(&self.facts);
                assert!(!running.sql, "{step}: the applier runs");
                if !running.io {
                    let source = self.facts.source().cloned().unwrap_or_default();
                    self.drop_relay_logs(step, elsewhere.get(&source).copied());
                }
                self.facts.replica.as_mut().expect("a replica").sql_delay = u64::from(*seconds);
            }
            Action::InjectEmpty { gtids } => gtids.iter().for_each(|gtid| self.inject(gtid)),
            Action::SkipOne => {
                assert!(self.broken, "{step}: a good transaction is skipped");
                (self.content, self.broken) = (self.content + 1, false);
            }
            Action::ResetBinaryLogs { errant } => {
                let own = GtidSet::parse(&self.own).expect("a set");
                self.own = own.subtract(&GtidSet::parse(errant).expect("a set")).to_string();
            }
            Action::RestartReceiver { .. }
            | Action::ResumeApplier
            | Action::Drain
            | Action::CopyCredentials { .. }
            | Action::FlushBinaryLogs { .. }
            | Action::PurgeBinaryLogs { .. }
            | Action::KillQuery { .. } => {}
        }
    }

    fn set_threads(&mut self, threads: Threads, state: ThreadState) {
        if let Some(replica) = &mut self.facts.replica {
            replica.io_thread = if threads.io { state } else { replica.io_thread };
            replica.sql_thread = if threads.sql { state } else { replica.sql_thread };
        }
    }

    fn drop_relay_logs(&mut self, step: &Step, source_has: Option<u64>) {
        assert_eq!(running_threads(&self.facts), Threads::NONE, "{step}: threads run");
        let lost = self.received > self.content && source_has.is_none_or(|has| has < self.received);
        assert!(!lost, "{step}: {} received, {} applied, {source_has:?} there", self.received, self.content);
        self.received = self.content;
    }

    fn inject(&mut self, gtid: &str) {
        if gtid == format!("{}:{}", uuid(1), self.content + 1) {
            assert!(self.broken, "a good transaction is skipped: {gtid}");
            (self.content, self.broken) = (self.content + 1, false);
        } else {
            assert!(!gtid.starts_with(&uuid(1)), "not the next transaction: {gtid}");
            self.own = if self.own.is_empty() { gtid.to_owned() } else { format!("{},{gtid}", self.own) };
        }
    }
}
