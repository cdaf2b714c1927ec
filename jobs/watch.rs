//! Notices at once that a primary, or an intermediate source, is gone: watches this process's warm connections to them
//! between probes, asks a source again the moment its connection ends or it stays silent, and when it is gone asks all its
//! replicas, until none of them hears it any more.
//!
//! Outside the queue, because a job would come too late; so it is bounded here, and belongs to the process: another that
//! probes the same sources watches them too. Safe to run twice: all it does is probe and record.
//!
//! What is watched follows from what the probes of this process say: who has replicas is a source. Who was not probed for a
//! few intervals is another worker's by now.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::instance::{Answer, FailureKind, InstanceKey, Observation, ServerFacts};
use futures::FutureExt;
use mysql::Noticed;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::context::Configuration;
use crate::rounds::Verdict;
use crate::{Context, probing, rounds};

/// Sources watched at once. Each costs a task of some kilobytes, and a primary a ping a second: so many take a tenth of a
/// processor. Of those beyond, failures are noticed by their polls.
const MOST: usize = 5_000;
/// Poll intervals without a probe by this process, after which a source is not watched any more.
const INTERVALS: u32 = 3;
/// How often that is looked at.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// How long the replicas of a source that is gone are asked; then it is the leader who asks for more.
const ROUNDS_FOR: Duration = Duration::from_secs(5);
/// Sources whose replicas are asked at once. When a whole network is gone, this process shall not spend itself on asking.
const ROUNDS_AT_ONCE: usize = 32;
/// A source is not asked more often than this because of what a watch noticed: a server may close what we open.
const AT_MOST_EVERY: Duration = Duration::from_millis(250);

/// Which sources this process watches, and why.
#[derive(Debug)]
pub struct Watches {
    sources: Mutex<HashMap<InstanceKey, Source>>,
    /// Somebody carries them out.
    is_on: AtomicBool,
    changed: Notify,
    rounds: Semaphore,
}

/// One that is to be watched.
#[derive(Debug)]
struct Source {
    role: Role,
    replicas: BTreeSet<InstanceKey>,
    seen_at: Instant,
    signals: Arc<Signals>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Reads from nobody, or from one of its own replicas.
    Primary,
    /// Its end is noticed like a primary's. It is not asked between polls: nobody waits for its writes.
    Intermediate,
}

/// What others tell the task that watches a source.
#[derive(Debug, Default)]
struct Signals {
    /// A probe got an answer, so there is a warm connection again.
    answered: Notify,
    /// A probe found it gone.
    lost: Notify,
}

impl Default for Watches {
    fn default() -> Self {
        Self {
            sources: Mutex::default(),
            is_on: AtomicBool::new(false),
            changed: Notify::new(),
            rounds: Semaphore::new(ROUNDS_AT_ONCE),
        }
    }
}

impl Watches {
    /// Takes note of what servers said.
    pub(crate) fn see(&self, observations: &[Observation]) {
        if !self.is_on.load(Ordering::Relaxed) {
            return;
        }
        let mut sources = self.lock();
        for observation in observations {
            let Answer::Facts { key, facts } = &observation.answer else { continue };
            // Warm connections go by the name that was asked; routine probes ask by the right one.
            if *key == observation.asked {
                self.note(&mut sources, key, facts);
            }
        }
    }

    /// A probe of this process found a server gone: its replicas are asked at once, if it is a source we know.
    pub(crate) fn lost(&self, key: &InstanceKey) {
        if let Some(source) = self.lock().get(key) {
            source.signals.lost.notify_one();
        }
    }

    fn note(&self, sources: &mut HashMap<InstanceKey, Source>, key: &InstanceKey, facts: &ServerFacts) {
        let Some(role) = role(facts) else {
            if sources.remove(key).is_some() {
                self.changed.notify_one();
            }
            return;
        };
        let has_room = sources.len() < MOST;
        match sources.get_mut(key) {
            Some(source) => {
                if source.role != role {
                    source.role = role;
                    self.changed.notify_one();
                }
                if source.replicas != facts.replicas {
                    source.replicas.clone_from(&facts.replicas);
                }
                source.seen_at = Instant::now();
                source.signals.answered.notify_one();
            }
            None if has_room => {
                let (replicas, signals) = (facts.replicas.clone(), Arc::default());
                sources.insert(key.clone(), Source { role, replicas, seen_at: Instant::now(), signals });
                self.changed.notify_one();
            }
            None => {}
        }
    }

    /// Those to be watched, less those that were not seen for so long.
    fn current(&self, longest: Duration) -> HashMap<InstanceKey, (Role, Arc<Signals>)> {
        let mut sources = self.lock();
        sources.retain(|_, source| source.seen_at.elapsed() < longest);
        sources.iter().map(|(key, source)| (key.clone(), (source.role, Arc::clone(&source.signals)))).collect()
    }

    /// Its replicas, by what it said last.
    fn replicas(&self, key: &InstanceKey) -> BTreeSet<InstanceKey> {
        self.lock().get(key).map(|source| source.replicas.clone()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceKey, Source>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Role {
    /// How long the connection may rest.
    fn ping(self, config: &Configuration) -> Option<Duration> {
        let seconds = config.settings.probe.primary_watch_seconds;
        (self == Self::Primary && seconds > 0).then(|| Duration::from_secs(seconds))
    }
}

/// Why a server is watched, if it is.
fn role(facts: &ServerFacts) -> Option<Role> {
    if facts.replicas.is_empty() {
        return None;
    }
    let is_co_primary = facts.source().is_some_and(|source| facts.replicas.contains(source));
    Some(if facts.is_replica() && !is_co_primary { Role::Intermediate } else { Role::Primary })
}

/// Watches, until `shutdown`, the sources that the probes of this process find.
pub async fn watch_sources(ctx: Arc<Context>, shutdown: CancellationToken) {
    ctx.watches.is_on.store(true, Ordering::Relaxed);
    let mut tasks = JoinSet::new();
    let mut running: HashMap<InstanceKey, (Option<Duration>, CancellationToken)> = HashMap::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = ctx.watches.changed.notified() => {}
            () = tokio::time::sleep(EXPIRE_EVERY) => {}
        }
        while tasks.try_join_next().is_some() {}
        let config = ctx.config.get();
        let interval = Duration::from_secs(config.settings.discovery.instance_poll_seconds.max(1));
        let wanted = ctx.watches.current(interval * INTERVALS);
        running.retain(|key, (ping, stop)| {
            // Other settings, or another role.
            let stays = wanted.get(key).is_some_and(|(role, _)| role.ping(&config) == *ping);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for (key, (role, signals)) in wanted {
            running.entry(key).or_insert_with_key(|key| {
                let (stop, ping) = (shutdown.child_token(), role.ping(&config));
                let watch = Watch { ctx: Arc::clone(&ctx), key: key.clone(), ping, signals };
                tasks.spawn(watch.run(stop.clone()));
                (ping, stop)
            });
        }
        metrics::gauge!("orchestrator_watched_sources").set(running.len() as f64);
    }
    ctx.watches.is_on.store(false, Ordering::Relaxed);
    // They end between two statements to the backend, or with this set.
}

/// The watch of one source.
struct Watch {
    ctx: Arc<Context>,
    key: InstanceKey,
    ping: Option<Duration>,
    signals: Arc<Signals>,
}

impl Watch {
    async fn run(self, stop: CancellationToken) {
        loop {
            let noticed = tokio::select! {
                () = stop.cancelled() => return,
                noticed = self.ctx.prober.watch(&self.key, self.ping) => noticed,
                () = self.signals.lost.notified() => Noticed::Closed,
            };
            if noticed == Noticed::Nothing {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.signals.answered.notified() => continue,
                    () = self.signals.lost.notified() => {}
                }
            }
            // To its end, also when the source is none any more by then: what was begun is recorded.
            self.look(noticed).await;
            // Said while we looked.
            self.signals.lost.notified().now_or_never();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(AT_MOST_EVERY) => {}
            }
        }
    }

    /// An ordinary probe; if that finds the source gone, its replicas are asked.
    async fn look(&self, noticed: Noticed) {
        let word = if noticed == Noticed::Silent { "silent" } else { "closed" };
        metrics::counter!("orchestrator_watch_noticed_total", "what" => word).increment(1);
        let (ctx, config) = (&*self.ctx, self.ctx.config.get());
        let observation = probing::probe_one(ctx, &self.key).await;
        probing::count(std::slice::from_ref(&observation));
        let is_gone = match &observation.answer {
            Answer::Failed(failure) if failure.kind == FailureKind::Local => return,
            Answer::Failed(failure) => !failure.kind.is_sign_of_life(),
            Answer::Facts { .. } | Answer::Filtered { .. } => false,
        };
        let mut answer = [observation];
        if !is_gone {
            if let Err(error) = probing::record_extra(ctx, &config, &mut answer).await {
                tracing::warn!(instance.key = %self.key, %error, "cannot record what a source said");
            }
            return;
        }
        tracing::info!(instance.key = %self.key, watch = word, "a source does not answer; asking its replicas");
        let (recorded, replicas) = tokio::join!(probing::record_extra(ctx, &config, &mut answer), self.replicas());
        ctx.news.ring();
        if let Err(error) = recorded {
            tracing::warn!(instance.key = %self.key, %error, "cannot record that a source does not answer");
        }
        if !replicas.is_empty() {
            self.ask(replicas).await;
        }
    }

    /// Those it named last, and those that named it: the one or the other may be news.
    async fn replicas(&self) -> BTreeSet<InstanceKey> {
        let mut replicas = self.ctx.watches.replicas(&self.key);
        match store::instances::read_replicas(&self.ctx.pool, &self.key).await {
            Ok(known) => replicas.extend(known.instances.into_iter().map(|one| one.key)),
            Err(error) => tracing::debug!(instance.key = %self.key, %error, "cannot read who replicates from a source"),
        }
        replicas
    }

    async fn ask(&self, mut keys: BTreeSet<InstanceKey>) {
        keys.insert(self.key.clone());
        // Nobody closes the semaphore.
        let _permit = self.ctx.watches.rounds.acquire().await.ok();
        match rounds::ask(&self.ctx, &keys, ROUNDS_FOR).await {
            Ok(report) => {
                let word = match report.verdict {
                    Verdict::Alive => "it answers again",
                    Verdict::Lost => "no replica that answers hears it",
                    Verdict::Open => "some replicas still hear it, or do not answer",
                };
                let rounds = report.rounds;
                tracing::info!(instance.key = %self.key, rounds, "asked the replicas of a source that does not answer: {word}");
            }
            Err(error) => tracing::warn!(instance.key = %self.key, %error, "cannot record what replicas said"),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::instance::ReplicaFacts;

    use super::*;

    fn facts(source: Option<&str>, replicas: &[&str]) -> ServerFacts {
        let key = |name: &&str| InstanceKey::new(*name, 3306);
        let mut facts = ServerFacts { replicas: replicas.iter().map(key).collect(), ..ServerFacts::default() };
        facts.replica = source.map(|name| ReplicaFacts { source: key(&name), ..ReplicaFacts::default() });
        if let Some(replica) = &mut facts.replica {
            replica.read.file = "binlog.1".to_owned();
        }
        facts
    }

    fn said(name: &str, facts: ServerFacts) -> Observation {
        let asked = InstanceKey::new(name, 3306);
        let answer = Answer::Facts { key: asked.clone(), facts: Box::new(facts) };
        Observation { asked, observed_at: 1, latency_micros: 1, answer }
    }

    #[test]
    fn sources_are_watched_and_others_are_not() {
        assert_eq!(role(&facts(None, &["b"])), Some(Role::Primary));
        assert_eq!(role(&facts(Some("a"), &["c"])), Some(Role::Intermediate));
        assert_eq!(role(&facts(Some("b"), &["b", "c"])), Some(Role::Primary), "a co-primary");
        assert_eq!(role(&facts(Some("a"), &[])), None);
        assert_eq!(role(&facts(None, &[])), None);
    }

    #[test]
    fn the_watched_are_those_seen_lately() {
        let watches = Watches::default();
        watches.see(&[said("a", facts(None, &["b"]))]);
        assert!(watches.current(Duration::MAX).is_empty(), "nobody carries them out");
        watches.is_on.store(true, Ordering::Relaxed);
        watches.see(&[said("a", facts(None, &["b"])), said("b", facts(Some("a"), &[]))]);
        let a = InstanceKey::new("a", 3306);
        assert_eq!(watches.current(Duration::MAX).into_keys().collect::<Vec<_>>(), std::slice::from_ref(&a));
        assert_eq!(watches.replicas(&a), BTreeSet::from([InstanceKey::new("b", 3306)]));
        watches.see(&[said("a", facts(None, &[]))]);
        assert!(watches.current(Duration::MAX).is_empty(), "it has no replicas any more");
        watches.see(&[said("a", facts(None, &["b"]))]);
        assert!(watches.current(Duration::ZERO).is_empty(), "not seen for long");
        let many: Vec<_> = (0..MOST + 10).map(|n| said(&n.to_string(), facts(None, &["b"]))).collect();
        watches.see(&many);
        assert_eq!(watches.current(Duration::MAX).len(), MOST);
    }
}
