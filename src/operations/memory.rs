//! Servers and a ledger in memory, with faults on demand: what the tests of the executor run on.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use domain::instance::{BinlogCoordinates, InstanceKey, ServerFacts, ThreadState};
use domain::plan::{Action, Position, Step, Threads, running_threads};
use tokio::time::Instant;

use crate::tests::key;
use crate::{Change, Fleet, FleetError, Grant, Ledger, LedgerError, Part, Place, SEND_WINDOW, StepId};

/// What is to go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server answers nothing, ever: SIGSTOP.
    Hangs(InstanceKey),
    /// The process dies when this many orders have been sent, before or after the last takes effect.
    DiesBefore(usize),
    DiesAfter(usize),
    /// This order is refused.
    Refuses(usize),
    /// This order takes effect, but its answer is lost.
    LosesAnswer(usize),
    /// This order does nothing, and says nothing of it.
    Lies(usize),
    /// The applier that this order starts stops with an error after so long.
    FailsLater(usize, Duration),
}

#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) servers: Mutex<BTreeMap<InstanceKey, ServerFacts>>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) sent: Mutex<Vec<(InstanceKey, Action)>>,
    /// Appliers that are about to stop with an error.
    pub(crate) failing: Mutex<Vec<(InstanceKey, Instant)>>,
    /// Orders under way at once, now and at most: those that start threads, and the others.
    pub(crate) under_way: Mutex<[(usize, usize); 2]>,
}

impl Memory {
    pub(crate) fn new(servers: &[(&str, ServerFacts)], faults: &[Fault]) -> Self {
        let servers = servers.iter().map(|(name, facts)| (key(name), facts.clone())).collect();
        Self { servers: Mutex::new(servers), faults: faults.to_vec(), ..Self::default() }
    }

    pub(crate) fn facts(&self, name: &str) -> ServerFacts {
        self.servers.lock().unwrap()[&key(name)].clone()
    }

    pub(crate) fn source(&self, name: &str) -> String {
        self.facts(name).source().unwrap().hostname.clone()
    }

    pub(crate) fn threads(&self, name: &str) -> Threads {
        running_threads(&self.facts(name))
    }

    fn fail_what_is_due(&self) {
        let mut servers = self.servers.lock().unwrap();
        for (key, at) in self.failing.lock().unwrap().iter() {
            let replica = servers.get_mut(key).and_then(|facts| facts.replica.as_mut());
            if let Some(replica) = replica.filter(|_| *at <= Instant::now()) {
                replica.sql_thread = ThreadState::Stopped;
                "duplicate key".clone_into(&mut replica.last_sql_error);
            }
        }
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    pub(crate) fn change(&self, on: &InstanceKey, action: &Action) {
        let mut servers = self.servers.lock().unwrap();
        let Some(facts) = servers.get_mut(on) else { return };
        if *action == Action::ResetReplica {
            facts.replica = None;
        }
        let Some(replica) = facts.replica.as_mut() else { return };
        let state = |running| if running { ThreadState::Running } else { ThreadState::Stopped };
        match action {
            Action::Stop { threads } | Action::Start { threads } => {
                let running = matches!(action, Action::Start { .. });
                if threads.io {
                    replica.io_thread = state(running);
                }
                if threads.sql {
                    replica.sql_thread = state(running);
                }
            }
            Action::ChangeSource { to, position, .. } => {
                replica.source = to.clone();
                if let Position::At(at) = position {
                    (replica.exec, replica.read) = (at.clone(), at.clone());
                }
            }
            Action::RunUntil { position: Position::At(at) } => (replica.exec, replica.read) = (at.clone(), at.clone()),
            other => panic!("not in these plans: {other:?}"),
        }
    }
}

impl Fleet for Memory {
    async fn look(&self, key: &InstanceKey) -> Result<ServerFacts, FleetError> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        if self.faults.contains(&Fault::Hangs(key.clone())) {
            tokio::time::sleep(Duration::from_secs(2)).await;
            return Err(FleetError::Unreachable { key: key.clone(), reason: "no answer within 1 s".to_owned() });
        }
        self.fail_what_is_due();
        self.servers
            .lock()
            .unwrap()
            .get(key)
            .cloned()
            .ok_or_else(|| FleetError::Unreachable { key: key.clone(), reason: "nobody there".to_owned() })
    }

    async fn apply(&self, change: Change<'_>) -> Result<(), FleetError> {
        assert!(change.until > Instant::now().into_std(), "sent after the deadline");
        let number = {
            let mut sent = self.sent.lock().unwrap();
            sent.push((change.on.clone(), change.action.clone()));
            sent.len()
        };
        let kind = usize::from(!matches!(change.action, Action::Start { .. }));
        {
            let count = &mut self.under_way.lock().unwrap()[kind];
            *count = (count.0 + 1, count.1.max(count.0 + 1));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.under_way.lock().unwrap()[kind].0 -= 1;
        let on = change.on.clone();
        for fault in &self.faults {
            match fault {
                Fault::Hangs(hung) if *hung == on => std::future::pending().await,
                Fault::DiesBefore(at) if *at == number => std::future::pending().await,
                Fault::DiesAfter(at) if *at == number => {
                    self.change(&on, change.action);
                    std::future::pending::<()>().await;
                }
                Fault::Refuses(at) if *at == number => {
                    return Err(FleetError::Refused { key: on, reason: "no".to_owned() });
                }
                Fault::LosesAnswer(at) if *at == number => {
                    self.change(&on, change.action);
                    return Err(FleetError::Unknown { key: on, reason: "cut".to_owned() });
                }
                Fault::Lies(at) if *at == number => return Ok(()),
                Fault::FailsLater(at, after) if *at == number => {
                    self.failing.lock().unwrap().push((on.clone(), Instant::now() + *after));
                }
                _ => {}
            }
        }
        self.change(&on, change.action);
        Ok(())
    }
}

/// Where, what, and how it ended.
pub(crate) type Row = (Place, String, Option<Result<(), String>>);

/// A ledger with one token that can be lost.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) rows: Mutex<Vec<Row>>,
    /// The lock is another's after this many steps have begun.
    pub(crate) lost_after: Option<usize>,
    /// The backend is away after this many.
    pub(crate) away_after: Option<usize>,
    /// The backend takes no word on how steps ended from this one on, counted from 0; it may be asked again later.
    pub(crate) silent_from: Option<usize>,
    pub(crate) equivalent: Mutex<Vec<(InstanceKey, InstanceKey)>>,
}

impl Book {
    pub(crate) fn begun(&self, part: Part) -> usize {
        self.rows.lock().unwrap().iter().filter(|row| row.0.part == part).count()
    }

    fn end(&self, id: StepId, result: Result<(), String>) -> Result<(), LedgerError> {
        let index = usize::try_from(id.0).unwrap();
        if self.silent_from.is_some_and(|from| index >= from) {
            return Err(LedgerError::Away("gone".to_owned()));
        }
        self.rows.lock().unwrap()[index].2 = Some(result);
        Ok(())
    }
}

impl Ledger for Book {
    async fn begin(&self, place: Place, step: &Step) -> Result<Grant, LedgerError> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut rows = self.rows.lock().unwrap();
        if self.lost_after.is_some_and(|after| rows.len() >= after) {
            return Err(LedgerError::Fenced("taken over".to_owned()));
        }
        if self.away_after.is_some_and(|after| rows.len() >= after) {
            return Err(LedgerError::Away("gone".to_owned()));
        }
        rows.push((place, step.to_string(), None));
        Ok(Grant { id: StepId(rows.len() as u64 - 1), until: Instant::now() + SEND_WINDOW })
    }

    async fn done(&self, id: StepId) -> Result<(), LedgerError> {
        self.end(id, Ok(()))
    }

    async fn failed(&self, id: StepId, error: &str) -> Result<(), LedgerError> {
        self.end(id, Err(error.to_owned()))
    }

    async fn equivalent(&self, one: (&InstanceKey, &BinlogCoordinates), other: (&InstanceKey, &BinlogCoordinates)) {
        self.equivalent.lock().unwrap().push((one.0.clone(), other.0.clone()));
    }
}
