//! Asks one server how it is. A probe never fails: what went wrong is an answer too.
//!
//! A healthy server that we know costs one packet over a warm connection. The first probe of a server takes two: what
//! rarely changes ([`crate::learn`]) and then what changes. The same second packet is paid once when an answer makes
//! another question necessary (a semi-sync role was switched on, a replica registered without a name).
//!
//! A warm connection that turns out to be broken says nothing (servers close idle connections): the server is connected
//! to anew, within the same probe. A connection that a probe gave up on is dropped, never reused, because an answer may
//! still be under way on it; so is that of a probe whose caller went away.
//!
//! Left out, on purpose: MaxScale binlog servers and multi-primary groups (not supported), NDB Cluster's own list of
//! replicas.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use domain::instance::{Answer, DbMicros, FailureKind, InstanceKey, Observation, ProbeFailure, ReplicaFacts};
use domain::version::Fact;
use futures::FutureExt;
use tokio::time::timeout;

use crate::assemble;
use crate::batch::{self, Answers, Ask};
use crate::connect::{self, Connector, Greeting};
use crate::dialect;
use crate::failure::{self, Stage, failure};
use crate::learn::{self, Learned};
use crate::relay_log;
use crate::replicas::Registered;
use crate::semi_sync;
use crate::settings::{ConnectSettings, ProbeSettings};
use crate::slot::{Slot, Slots, Warm};
use crate::variables::Live;
use crate::wire::{Connection, Error, Row};

/// After this long without use a warm connection is not trusted: a firewall may have forgotten it, and then it would
/// swallow our question and make the server look dead.
const WARM_FOR: Duration = Duration::from_secs(300);

/// How long we listen to whom we could not log in to, to tell a hanging server from no server at all.
const LISTEN: Duration = Duration::from_millis(200);

/// The question for the end of the binary log is not asked for so long after it hung.
const HUNG_FOR: Duration = Duration::from_secs(5);

/// Gives the time on the backend's clock.
pub type Clock = Arc<dyn Fn() -> DbMicros + Send + Sync>;

/// Asks servers. One per process, shared by all who probe.
pub struct Prober {
    settings: RwLock<Arc<Versioned>>,
    clock: Clock,
    pub(crate) slots: Slots,
    counters: Counters,
}

#[derive(Debug)]
pub(crate) struct Versioned {
    pub(crate) settings: ProbeSettings,
    connector: Arc<Connector>,
    version: u64,
    /// The version that last changed how we connect.
    connect_version: u64,
}

#[derive(Debug, Default)]
struct Counters {
    probes: AtomicU64,
    round_trips: AtomicU64,
    connections_opened: AtomicU64,
    failures: Mutex<HashMap<FailureKind, u64>>,
}

/// What a [`Prober`] has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeStats {
    /// Probes ended.
    pub probes: u64,
    /// Packets of statements sent.
    pub round_trips: u64,
    /// Connections opened.
    pub connections_opened: u64,
    /// Connections open now.
    pub open_connections: usize,
    /// Probes that brought no facts, by kind.
    pub failures: HashMap<FailureKind, u64>,
}

impl std::fmt::Debug for Prober {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prober").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Prober {
    /// A prober with no connections yet.
    pub fn new(settings: ProbeSettings, clock: Clock) -> Self {
        let connector = Arc::new(Connector::new(settings.connect.clone()));
        let settings = RwLock::new(Arc::new(Versioned { settings, connector, version: 0, connect_version: 0 }));
        Self { settings, clock, slots: Slots::default(), counters: Counters::default() }
    }

    /// Asks one server how it is. Ends within the deadlines of the settings, whatever the server does.
    pub async fn probe(&self, key: &InstanceKey) -> Observation {
        let slot = self.slots.get(key);
        let mut slot = slot.lock().await;
        let settings = self.current();
        let began = Instant::now();
        slot.last_used = Some(began);
        let answer = self.ask_in_time(&settings, key, &mut slot).await;
        self.counters.probes.fetch_add(1, Ordering::Relaxed);
        let answer = answer.unwrap_or_else(|failure| {
            let mut failures = self.counters.failures.lock().unwrap_or_else(PoisonError::into_inner);
            *failures.entry(failure.kind).or_default() += 1;
            Answer::Failed(failure)
        });
        let latency_micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        Observation { asked: key.clone(), observed_at: (self.clock)(), latency_micros, answer }
    }

    /// Uses these settings from the next probe on. All slow facts are read again; connections stay unless the way to
    /// connect has changed.
    pub fn update_settings(&self, settings: ProbeSettings) {
        let mut current = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        let version = current.version + 1;
        let is_same_way = current.settings.connect == settings.connect;
        let (connector, connect_version) = if is_same_way {
            (Arc::clone(&current.connector), current.connect_version)
        } else {
            (Arc::new(Connector::new(settings.connect.clone())), version)
        };
        *current = Arc::new(Versioned { settings, connector, version, connect_version });
    }

    /// What opens connections under the settings in force: for those who change servers.
    pub fn connector(&self) -> Arc<Connector> {
        Arc::clone(&self.current().connector)
    }

    /// Forgets a server and closes its connection.
    pub fn forget(&self, key: &InstanceKey) {
        self.slots.forget(key);
    }

    /// Closes the connections of servers that were not probed for `idle`, and forgets their slow facts.
    /// Returns how many it closed. Meant to be called every minute or so, because servers move between workers.
    pub async fn close_idle(&self, idle: Duration) -> usize {
        let closing = self.slots.idle_for(idle);
        let count = closing.len();
        futures::future::join_all(closing.into_iter().map(Warm::close)).await;
        count
    }

    /// What was done so far.
    pub fn stats(&self) -> ProbeStats {
        let counters = &self.counters;
        ProbeStats {
            probes: counters.probes.load(Ordering::Relaxed),
            round_trips: counters.round_trips.load(Ordering::Relaxed),
            connections_opened: counters.connections_opened.load(Ordering::Relaxed),
            open_connections: self.slots.open_connections(),
            failures: counters.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    pub(crate) fn current(&self) -> Arc<Versioned> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whatever one server sends, the others of its shard must get their answers: a panic (there is none we know of) is
    /// this server's failure.
    async fn ask_in_time(
        &self,
        current: &Versioned,
        key: &InstanceKey,
        slot: &mut Slot,
    ) -> Result<Answer, ProbeFailure> {
        let limit = whole_limit(&current.settings.connect);
        let asking = AssertUnwindSafe(self.ask(current, key, slot)).catch_unwind();
        match timeout(limit, asking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(failure(FailureKind::Protocol, format!("{key} sent what we cannot read"))),
            Err(_) => Err(failure::timed_out(Stage::Read, limit)),
        }
    }

    async fn ask(&self, current: &Versioned, key: &InstanceKey, slot: &mut Slot) -> Result<Answer, ProbeFailure> {
        let settings = &current.settings;
        if let Some(filter) = settings.filters.hosts.find(key) {
            return Ok(Answer::Filtered { filter: format!("DiscoveryIgnoreHostnameFilters: {filter}") });
        }
        if !key.is_valid() {
            return Err(failure(FailureKind::UnknownHost, format!("{key} is no name one can connect to")));
        }
        if let Some(warm) = self.usable(current, slot).await {
            match self.converse(current, key, slot, warm, false).await {
                // The server may have closed the idle connection: that says nothing about the server.
                Err(failure) if failure.kind == FailureKind::Broken => {}
                answer => return answer,
            }
        }
        let warm = self.open(current, key, slot).await?;
        self.converse(current, key, slot, warm, true).await
    }

    /// The warm connection, if it is to be used.
    async fn usable(&self, current: &Versioned, slot: &mut Slot) -> Option<Warm> {
        let warm = slot.connection.take()?;
        let is_trusted = warm.settings_version >= current.connect_version && warm.used_at.elapsed() < WARM_FOR;
        // A server looks at new privileges when one logs in.
        let is_refused =
            slot.learned.as_ref().is_some_and(|learned| learned.is_due(current.version) && !learned.refused.is_empty());
        if is_trusted && !is_refused {
            return Some(warm);
        }
        warm.close().await;
        None
    }

    async fn open(&self, current: &Versioned, key: &InstanceKey, slot: &mut Slot) -> Result<Warm, ProbeFailure> {
        let settings = &current.settings.connect;
        let knows_tls = slot.demands_tls_until.is_some_and(|until| Instant::now() < until);
        match current.connector.open(key, knows_tls).await {
            Ok(connection) => {
                self.counters.connections_opened.fetch_add(1, Ordering::Relaxed);
                slot.is_silent = false;
                if connection.is_encrypted() && !knows_tls {
                    slot.demands_tls_until = Some(Instant::now() + settings.tls.remember);
                }
                Ok(self.slots.admit(connection, current.version))
            }
            Err(failure) => Err(recognise(key, slot, failure).await),
        }
    }

    /// Talks over a connection, and keeps it if it may be used again.
    async fn converse(
        &self,
        current: &Versioned,
        key: &InstanceKey,
        slot: &mut Slot,
        mut warm: Warm,
        is_new: bool,
    ) -> Result<Answer, ProbeFailure> {
        let mut talk = Talk { current, key, connection: &mut warm.connection, round_trips: 0, is_broken: false };
        let answer = talk.read(&mut slot.learned, is_new).await;
        let Talk { round_trips, is_broken, .. } = talk;
        self.counters.round_trips.fetch_add(round_trips, Ordering::Relaxed);
        let is_broken = is_broken || warm.connection.is_broken();
        let is_usable = match &answer {
            _ if is_broken => false,
            Ok(_) => true,
            Err(failure) => matches!(failure.kind, FailureKind::Statement | FailureKind::UnsupportedVersion),
        };
        if is_usable {
            self.keep(current, slot, warm).await;
        }
        answer.map_err(|cause| failure(cause.kind, format!("{key}: {}", cause.message)))
    }

    async fn keep(&self, current: &Versioned, slot: &mut Slot, mut warm: Warm) {
        if self.slots.open_connections() > current.settings.max_connections {
            return warm.close().await;
        }
        warm.rest();
        slot.connection = Some(warm);
    }
}

/// No probe is longer than this, whatever happens: connect, listen, and a few packets.
fn whole_limit(settings: &ConnectSettings) -> Duration {
    settings.connect_timeout + LISTEN + 4 * settings.read_timeout
}

/// A failed login may mean that this is no MySQL server at all. Only the first failure in a row is looked into.
async fn recognise(key: &InstanceKey, slot: &mut Slot, cause: ProbeFailure) -> ProbeFailure {
    let is_doubtful = match cause.kind {
        FailureKind::Protocol | FailureKind::Refused => true,
        // A MySQL server of old that is silent now hangs, and its failure is news that should not wait.
        FailureKind::ConnectTimeout => slot.learned.is_none(),
        _ => false,
    };
    let was_refused = cause.kind == FailureKind::Refused && cause.message.contains("refused");
    if !is_doubtful || was_refused || slot.is_silent {
        return cause;
    }
    match connect::listen(key, LISTEN).await {
        Greeting::Foreign(text) => {
            failure(FailureKind::Protocol, format!("{key} does not speak the MySQL protocol, it says {text:?}"))
        }
        Greeting::Silence => {
            slot.is_silent = true;
            cause
        }
        Greeting::MySql => cause,
    }
}

/// One conversation over one connection.
struct Talk<'a> {
    current: &'a Versioned,
    key: &'a InstanceKey,
    connection: &'a mut Connection,
    round_trips: u64,
    is_broken: bool,
}

impl Talk<'_> {
    /// Reads the server. When it turns out not to be the one we learned about, starts over, once.
    async fn read(&mut self, memory: &mut Option<Learned>, is_new: bool) -> Result<Answer, ProbeFailure> {
        let settings = &self.current.settings;
        if memory.is_none() && !settings.skip_maxscale_check {
            self.refuse_maxscale().await?;
        }
        let is_due = memory.as_ref().is_none_or(|known| known.is_due(self.current.version));
        if is_due {
            *memory = Some(self.learn(memory.as_ref()).await?);
        }
        if let Some(learned) = memory
            && let Some(answer) = self.look(learned, is_new && !is_due, true).await?
        {
            return Ok(answer);
        }
        *memory = None;
        let learned = memory.insert(self.learn(None).await?);
        let answer = self.look(learned, false, false).await?;
        answer.ok_or_else(|| failure(FailureKind::Protocol, "the server is a different one with each question"))
    }

    /// Reads the slow facts.
    async fn learn(&mut self, before: Option<&Learned>) -> Result<Learned, ProbeFailure> {
        let settings = &self.current.settings;
        let answers = self.send(&learn::statements(settings)).await?;
        Learned::read(answers, settings, self.current.version, self.key, before)
    }

    /// Reads what changes. `None`: this is not the server that we learned about. `may_be_stale`: what we learned is
    /// from an earlier probe, so that a refused statement may mean just that.
    async fn look(
        &mut self,
        learned: &mut Learned,
        checks_start: bool,
        may_be_stale: bool,
    ) -> Result<Option<Answer>, ProbeFailure> {
        let settings = &self.current.settings;
        learned.tire_of_hanging();
        let mut answers = match self.send(&learned.live_statements(settings, checks_start)).await {
            Err(failure) if may_be_stale && failure.kind == FailureKind::Statement => return Ok(None),
            answers => answers?,
        };
        if !learned.is_same_server(&live(learned, &answers)?, &answers) {
            return Ok(None);
        }
        if let Some(failure) = answers.hung.take() {
            bear(learned, &answers, failure)?;
        }
        let registered = Registered::read(answers.rows(Ask::Replicas));
        learned.refused.extend(answers.refused.clone());
        learned.asks_semi_sync = semi_sync::is_enabled(&live(learned, &answers)?);
        learned.asks_dump_threads = learned.refused.contains_key(&Ask::Replicas)
            || registered.needs_process_list(settings.discover_by_show_replicas);
        let more = learned.further_statements(&answers);
        if !more.is_empty() && !answers.is_broken {
            let later = self.send(&more).await?;
            learned.refused.extend(later.refused.clone());
            answers.extend(later);
        }
        let mut answer = assemble::answer(settings, self.key, learned, &answers, registered)?;
        if let Answer::Facts { facts, .. } = &mut answer
            && learned.version.flavor.is_mysql_family()
            && let Some(replica) = &mut facts.replica
            && relay_log::may_hold_part(replica, answers.rows(Ask::ReplicaStatus))
            && !self.is_broken
            && self.holds_part_only(replica).await?
        {
            // A part is as good as nothing: whoever needs the transaction fetches it anew, from its beginning.
            replica.read.clone_from(&replica.exec);
        }
        Ok(Some(answer))
    }

    /// Of what it has received it has applied all whole transactions. What cannot be told is "no".
    async fn holds_part_only(&mut self, replica: &ReplicaFacts) -> Result<bool, ProbeFailure> {
        let Some(mut walk) = relay_log::Walk::new(replica) else { return Ok(false) };
        let limit = self.current.settings.connect.read_timeout;
        let until = Instant::now() + limit;
        while Instant::now() < until {
            self.round_trips += 1;
            match timeout(limit, self.connection.query(&walk.statement())).await {
                Ok(Ok(results)) => {
                    let events = results.first().map_or(&[][..], |result| result.rows.as_slice());
                    if walk.see(events) == relay_log::Seen::Whole {
                        return Ok(false);
                    }
                }
                Ok(Err(error)) if error.number() == Some(relay_log::NO_SUCH_LOG) => return Ok(walk.is_past_the_last()),
                Ok(Err(Error::Server(_))) => return Ok(false),
                Ok(Err(error)) => return Err(failure::classify(&error, Stage::Read)),
                Err(_) => return Err(failure::timed_out(Stage::Read, limit)),
            }
        }
        Ok(false)
    }

    async fn send(&mut self, statements: &[batch::Statement<'_>]) -> Result<Answers, ProbeFailure> {
        let limit = self.current.settings.connect.read_timeout;
        let answers = batch::ask(self.connection, statements, limit, &mut self.round_trips).await?;
        self.is_broken |= answers.is_broken;
        Ok(answers)
    }

    /// Any other answer than "yes" means that this is an ordinary server.
    async fn refuse_maxscale(&mut self) -> Result<(), ProbeFailure> {
        let limit = self.current.settings.connect.read_timeout;
        self.round_trips += 1;
        match timeout(limit, self.connection.query(dialect::MAXSCALE_CHECK)).await {
            Ok(Ok(results)) if results.iter().any(|result| !result.rows.is_empty()) => {
                Err(failure(FailureKind::UnsupportedVersion, "this is MaxScale: binlog servers are not supported yet"))
            }
            Ok(Err(error)) if !matches!(error, Error::Server(_)) => Err(failure::classify(&error, Stage::Read)),
            Ok(_) => Ok(()),
            Err(_) => Err(failure::timed_out(Stage::Read, limit)),
        }
    }
}

/// The server told everything but where its binary log ends. Behind commits that wait for semi-sync acknowledgements
/// MariaDB cannot tell that, for as long as they wait, and is alive nevertheless: a replaced primary that comes back so must
/// be closed, which begins with seeing it. Anywhere else a log that nobody gets at is a failure.
fn bear(learned: &mut Learned, answers: &Answers, failure: ProbeFailure) -> Result<(), ProbeFailure> {
    if !learned.version.has(Fact::MariaDbGtid) || !semi_sync::waits(&live(learned, answers)?) {
        return Err(failure);
    }
    learned.hung = Some(Box::new((Instant::now() + HUNG_FOR, failure.message)));
    Ok(())
}

fn live<'r>(learned: &Learned, answers: &'r Answers) -> Result<Live<'r, Row>, ProbeFailure> {
    let row = answers.first(Ask::Live).ok_or_else(|| failure(FailureKind::Protocol, "no row of variables"))?;
    Ok(Live::new(learned.variables.live, row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_may_run_in_any_task() {
        fn is_send<T: Send>(_: T) {}
        let prober = Prober::new(ProbeSettings::default(), Arc::new(|| 0));
        is_send(prober.probe(&InstanceKey::default()));
        is_send(prober.close_idle(Duration::ZERO));
    }
}
