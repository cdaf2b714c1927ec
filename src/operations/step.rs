//! One step: fence, look, send, look again, record.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::instance::{BinlogCoordinates, InstanceKey, ServerFacts, ThreadState};
use domain::plan::{Action, Condition, Position, Step};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::fleet::{Change, Fleet, FleetError};
use crate::ledger::{Ledger, LedgerError, Place};
use crate::{APPLY_LIMIT, SEND_WINDOW};

/// First and longest pause between two looks at what a step brought about: most are true at once, and people wait.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// What was started must be seen running again after so long: a receiver counts as running from the moment it is connected, and
/// may be turned away right after.
const STEADY: Duration = Duration::from_millis(100);
/// The same where it had stopped with an error before: an applier fails again only once it meets the same transaction.
const STEADY_AFTER_ERROR: Duration = Duration::from_secs(1);
/// How long a source may take to name what it has sent.
const SEEN_LATE: Duration = Duration::from_secs(1);
/// A server that gives no facts for this long hangs: whatever its step waits for, others wait for us. Longer than a
/// restart of a connection, shorter than people's patience.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// An order that cannot get at least this long for its answer is not sent.
const LEAST_TIME: Duration = Duration::from_millis(500);

type Facts = BTreeMap<InstanceKey, ServerFacts>;

/// Why a step failed.
#[derive(Debug)]
pub(crate) enum StepError {
    /// Not ours any more, or the ledger is away: everything stops.
    Ledger(LedgerError),
    /// Nothing was sent.
    Before(String),
    /// Something was, or may have been.
    After(String),
}

/// The servers, the ledger, and the wish to stop.
pub(crate) struct Means<'a, F, L> {
    pub(crate) fleet: &'a F,
    pub(crate) ledger: &'a L,
    pub(crate) cancelled: &'a CancellationToken,
}

impl<F, L> Clone for Means<'_, F, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F, L> Copy for Means<'_, F, L> {}

/// Does one step. `cancellable`: waiting for a replica to catch up ends when everything is cancelled; putting back does not.
pub(crate) async fn run<F: Fleet, L: Ledger>(
    means: Means<'_, F, L>,
    place: Place,
    step: &Step,
    cancellable: bool,
) -> Result<(), StepError> {
    let limit = Duration::from_secs(u64::from(step.limit_seconds)).max(SEND_WINDOW);
    let ends = Instant::now() + limit;
    let grant = means.ledger.begin(place, step).await.map_err(StepError::Ledger)?;
    let result = perform(means, step, grant.until, ends, cancellable).await;
    let recorded = match &result {
        Ok(()) => means.ledger.done(grant.id).await,
        Err(StepError::Before(error) | StepError::After(error)) => means.ledger.failed(grant.id, error).await,
        Err(StepError::Ledger(_)) => Ok(()),
    };
    result.and(recorded.map_err(StepError::Ledger))
}

async fn perform<F: Fleet, L: Ledger>(
    means: Means<'_, F, L>,
    step: &Step,
    until: Instant,
    ends: Instant,
    cancellable: bool,
) -> Result<(), StepError> {
    let facts = ready(means, step, until).await?;
    let action = concrete(&step.action, &facts).map_err(StepError::Before)?;
    let sent = if action == Action::Drain { Ok(()) } else { send(means.fleet, step, &action, &facts, until).await };
    let watch = Watch { ends, cancellable, steady: steady(step, &facts) };
    match sent {
        Ok(()) => verify(means, step, watch, None).await?,
        Err(FleetError::Unknown { key, reason }) => {
            verify(means, step, watch, Some(format!("{key} did not answer: {reason}"))).await?;
        }
        Err(error @ (FleetError::Unreachable { .. } | FleetError::Unsuitable { .. })) => {
            return Err(StepError::Before(error.to_string()));
        }
        Err(error @ FleetError::Refused { .. }) => return Err(StepError::After(error.to_string())),
    }
    note_equivalence(means.ledger, step, &action, &facts).await;
    Ok(())
}

/// Looks until everything that must be so before is so. That is at once, or never, but for what is seen late.
async fn ready<F: Fleet, L: Ledger>(means: Means<'_, F, L>, step: &Step, until: Instant) -> Result<Facts, StepError> {
    let names = others(step);
    let patience = Instant::now() + SEEN_LATE;
    loop {
        // A look that takes longer than we may still send would be for nothing.
        let looked = timeout_at(until, look_all(means.fleet, &step.on, &names)).await;
        let facts = looked
            .unwrap_or_else(|_| Err(format!("{} and those it needs did not answer in time", step.on)))
            .map_err(StepError::Before)?;
        let own = own(&facts, &step.on)?;
        let failing = step.before.iter().find_map(|one| Some((one, one.holds(&step.on, own, &facts).err()?)));
        let Some((condition, unmet)) = failing else { return Ok(facts) };
        if !is_seen_late(condition) || Instant::now() > patience {
            return Err(StepError::Before(unmet.0));
        }
        sleep(FIRST_PAUSE).await;
    }
}

/// A MySQL source sends a transaction before its own `gtid_executed` names it: a busy one may seem to lack what its replica
/// has executed already.
fn is_seen_late(condition: &Condition) -> bool {
    matches!(condition, Condition::ExecutedIsIn { .. } | Condition::ReceivedIsIn { .. })
}

/// Sends the order, if there is still time for it.
async fn send<F: Fleet>(
    fleet: &F,
    step: &Step,
    action: &Action,
    facts: &Facts,
    until: Instant,
) -> Result<(), FleetError> {
    let until = until.min(Instant::now() + APPLY_LIMIT);
    // The last look at our own clock before the network: a process that was stopped since the fence ends here.
    if until.saturating_duration_since(Instant::now()) < LEAST_TIME {
        let reason = "nothing was sent: too little time is left in which its lock is surely ours".to_owned();
        return Err(FleetError::Unsuitable { key: step.on.clone(), reason });
    }
    let change = Change { on: &step.on, action, facts, until: until.into_std() };
    let waited = timeout_at(until + LEAST_TIME, fleet.apply(change)).await;
    waited.unwrap_or_else(|_| {
        Err(FleetError::Unknown { key: step.on.clone(), reason: "no answer within the limit".to_owned() })
    })
}

/// How what a step brought about is looked for.
#[derive(Debug, Clone, Copy)]
struct Watch {
    ends: Instant,
    cancellable: bool,
    /// It must stay so for this long.
    steady: Duration,
}

/// How long what a step starts must be seen running.
fn steady(step: &Step, before: &Facts) -> Duration {
    let Action::Start { threads } = step.action else { return Duration::ZERO };
    let replica = before.get(&step.on).and_then(|own| own.replica.as_ref());
    let failed = replica.is_some_and(|one| {
        threads.io && !one.last_io_error.is_empty() || threads.sql && !one.last_sql_error.is_empty()
    });
    match failed {
        true => STEADY_AFTER_ERROR,
        false if threads.io => STEADY,
        false => Duration::ZERO,
    }
}

/// Looks until everything that must be so is so, and stays so, or the time of the step is over.
async fn verify<F: Fleet, L: Ledger>(
    means: Means<'_, F, L>,
    step: &Step,
    watch: Watch,
    doubt: Option<String>,
) -> Result<(), StepError> {
    let Watch { ends, cancellable, steady } = watch;
    if step.after.is_empty() {
        return doubt.map_or(Ok(()), |reason| Err(StepError::After(reason)));
    }
    let names: BTreeSet<InstanceKey> =
        step.after.iter().filter_map(Condition::other_server).filter(|key| **key != step.on).cloned().collect();
    let mut unmet = doubt.unwrap_or_default();
    let mut pause = FIRST_PAUSE;
    let mut heard = Instant::now();
    let mut so_since: Option<Instant> = None;
    loop {
        match timeout_at(ends, look_all(means.fleet, &step.on, &names)).await {
            Err(_) if unmet.is_empty() => unmet = format!("{} did not answer in time", step.on),
            Err(_) => {}
            Ok(Err(error)) => unmet = error,
            Ok(Ok(facts)) => {
                heard = Instant::now();
                let own = own(&facts, &step.on)?;
                match step.after.iter().find_map(|condition| condition.holds(&step.on, own, &facts).err()) {
                    None => {
                        let since = *so_since.get_or_insert(heard);
                        let left = steady.saturating_sub(since.elapsed());
                        if left.is_zero() {
                            return Ok(());
                        }
                        sleep(left).await;
                        continue;
                    }
                    Some(wanting) => unmet = wanting.0,
                }
                so_since = None;
                if let Some(reason) = hopeless(step, own) {
                    return Err(StepError::After(format!("{unmet}: {reason}")));
                }
            }
        }
        if heard.elapsed() > SILENCE_LIMIT {
            return Err(StepError::After(format!("{unmet} (silent for {} s)", heard.elapsed().as_secs())));
        }
        if Instant::now() + pause >= ends {
            return Err(StepError::After(format!("{unmet} (waited {} s)", step.limit_seconds)));
        }
        let waits_only = matches!(step.action, Action::Drain);
        tokio::select! {
            () = sleep(pause) => {}
            () = means.cancelled.cancelled(), if cancellable && waits_only => {
                return Err(StepError::After(format!("cancelled while waiting: {unmet}")));
            }
        }
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// Why waiting on cannot help: an applier that has stopped applies nothing more.
fn hopeless(step: &Step, own: &ServerFacts) -> Option<String> {
    let replica = own.replica.as_ref()?;
    let stopped = replica.sql_thread == ThreadState::Stopped;
    let broken = !replica.last_sql_error.is_empty();
    match step.action {
        Action::Drain if stopped && broken => Some(format!("its applier stopped: {}", replica.last_sql_error)),
        Action::Drain if stopped => Some("its applier does not run".to_owned()),
        Action::RunUntil { .. } | Action::Start { .. } if stopped && broken => {
            Some(format!("its applier stopped: {}", replica.last_sql_error))
        }
        _ => None,
    }
}

fn own<'a>(facts: &'a Facts, key: &InstanceKey) -> Result<&'a ServerFacts, StepError> {
    facts.get(key).ok_or_else(|| StepError::Before(format!("{key} could not be read")))
}

/// Looks at the server itself first, then at the others side by side: what must be in another server is compared with a
/// later state of that other.
async fn look_all<F: Fleet>(fleet: &F, on: &InstanceKey, others: &BTreeSet<InstanceKey>) -> Result<Facts, String> {
    let mut facts = Facts::new();
    facts.insert(on.clone(), fleet.look(on).await.map_err(|error| error.to_string())?);
    let looks: Vec<_> = others.iter().map(|key| async move { (key, fleet.look(key).await) }).collect();
    for (key, looked) in futures::future::join_all(looks).await {
        facts.insert(key.clone(), looked.map_err(|error| error.to_string())?);
    }
    Ok(facts)
}

/// Servers besides its own that the step reads: for its position, and for what must hold before and after it. Whether
/// what must hold afterwards can be told is better found out before.
fn others(step: &Step) -> BTreeSet<InstanceKey> {
    step.servers().into_iter().filter(|key| **key != step.on).cloned().collect()
}

/// The action with its position as the servers say it now.
fn concrete(action: &Action, facts: &Facts) -> Result<Action, String> {
    let mut action = action.clone();
    match &mut action {
        Action::RunUntil { position }
        | Action::ChangeSource { position, .. }
        | Action::RenameSource { position, .. } => *position = known(position, facts)?,
        _ => {}
    }
    Ok(action)
}

fn known(position: &Position, facts: &Facts) -> Result<Position, String> {
    let unread = |key: &InstanceKey| format!("{key} could not be read");
    let found = match position {
        Position::ExecutedBy(key) => {
            let replica = facts.get(key).ok_or_else(|| unread(key))?.replica.as_ref();
            replica.ok_or_else(|| format!("{key} is no replica: it has applied no source's log"))?.exec.clone()
        }
        Position::EndOf(key) => facts.get(key).ok_or_else(|| unread(key))?.binlog.clone(),
        Position::Auto
        | Position::MariadbSlavePos
        | Position::MariadbCurrentPos
        | Position::At(_)
        | Position::Unchanged => {
            return Ok(position.clone());
        }
    };
    if found.file.is_empty() {
        return Err(format!("no position could be read for {position:?}"));
    }
    Ok(Position::At(found))
}

/// Two places hold the same where a replica that was moved by position had stopped, and where it went on; and where a replica
/// that forgets its source stands in the source's log and in its own: its siblings can follow it by that.
async fn note_equivalence<L: Ledger>(ledger: &L, step: &Step, action: &Action, facts: &Facts) {
    let Some((own, replica)) = facts.get(&step.on).and_then(|own| Some((own, own.replica.as_ref()?))) else { return };
    let (to, there) = match action {
        Action::ChangeSource { to, position: Position::At(there), .. } => (to, there),
        Action::ResetReplica if tells_its_place(own) => (&step.on, &own.binlog),
        _ => return,
    };
    let here: &BinlogCoordinates = &replica.exec;
    if replica.source.is_valid() && replica.source != *to && !here.file.is_empty() {
        ledger.equivalent((&replica.source, here), (to, there)).await;
    }
}

/// Everything up to where it stands in its source's log, and nothing after that, is before the end of its own.
fn tells_its_place(own: &ServerFacts) -> bool {
    let in_order = own.replica.as_ref().is_some_and(|replica| replica.applies_out_of_order != Some(true));
    in_order && !own.is_using_gtid() && own.log_replica_updates && !own.binlog.file.is_empty()
}
