//! A cluster whose primary is killed again and again, and a fleet that loses something each time it answers that.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use domain::instance::InstanceKey;
use domain::plan::Action;
use harness::{Flavor, Server};
use queue::DEAD_AFTER;
use scenario::incident::{Blow, Durability, Incident};
use scenario::{credentials_query, key, wait};
use serde_json::{Value, json};
use sqlx::Row;
use store::hook_runs::{HookOwner, HookState};
use store::operations::{Operation, State, StepRow};
use store::recoveries::{Outcome, Phase, Recovery};

use crate::evidence::{Hooks, LISTS, Statements, Watch};
use crate::losses::{Loss, Moment};

const TEXT: &str = "a\n  b\n  c";
/// What is lost with a worker or a leader has ended this long after the loss: the silence after which it counts as dead,
/// and this.
const BEYOND_SILENCE: Duration = Duration::from_secs(3);
/// Nothing is silent when the backend comes back, but everything reconnects.
const BEYOND_BACKEND: Duration = Duration::from_secs(15);
/// A worker may freeze in the middle of a transaction of the backend. MariaDB ends it before the worker counts as dead, MySQL
/// after half a minute: until then the recovery cannot be taken up.
const SILENT_TRANSACTION: Duration = Duration::from_secs(30);
/// Hooks of the tests sleep.
const FOR_HOOKS: Duration = Duration::from_secs(1);
/// A moment comes, a recovery ends.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a worker stays frozen at least, when all losses are asked for.
const FROZEN: Duration = Duration::from_secs(20);
const CATCH_UP: Duration = Duration::from_secs(20);

/// The fleet consists of a leader, another service, and two workers, apart.
pub(crate) struct Night {
    incident: Incident,
    hooks: Hooks,
    names: usize,
    pub(crate) figures: Figures,
}

/// What people ask for.
#[derive(Default)]
pub(crate) struct Figures {
    took: Vec<(Loss, f64)>,
    outages: Vec<(Loss, f64)>,
    lost_rows: usize,
}

/// What was seen at the moment of a loss.
struct Seen {
    moment: Moment,
    executor: String,
    leader: String,
}

/// One recovery as the backend tells it.
#[derive(Debug, PartialEq)]
struct Record {
    recovery: Recovery,
    operation: Operation,
    steps: Vec<StepRow>,
}

impl Night {
    pub(crate) async fn start(flavor: Flavor) -> Result<Self> {
        let hooks = Hooks::new()?;
        let mut settings = hooks.settings();
        if let Value::Object(settings) = &mut settings {
            settings.insert("ReplicationCredentialsQuery".to_owned(), json!(credentials_query()));
        }
        let incident = Incident::start(flavor, Durability::Asynchronous, TEXT, settings).await?;
        let mut night = Self { incident, hooks, names: 0, figures: Figures::default() };
        for _ in 0..2 {
            night.service().await?;
            night.worker().await?;
        }
        night.incident.fleet.kill("service")?;
        night.leader().await?;
        Ok(night)
    }

    async fn service(&mut self) -> Result<()> {
        self.names += 1;
        self.incident.fleet.service(&format!("service{}", self.names), &["--no-worker"]).await
    }

    async fn worker(&mut self) -> Result<()> {
        self.names += 1;
        self.incident.fleet.worker(&format!("worker{}", self.names), &[]).await
    }

    /// Name of the leader, as soon as there is one of those that run.
    async fn leader(&self) -> Result<String> {
        let sql = "SELECT n.name FROM lease l JOIN node n ON n.token = l.holder \
                   WHERE l.name = 'leader' AND l.expires_at > NOW(6)";
        wait::until("a leader", LIMIT, || async {
            let row = sqlx::query(sql).fetch_optional(self.incident.pool()).await?;
            let name: Option<String> = row.map(|row| row.try_get_unchecked(0)).transpose()?;
            Ok(name.filter(|name| self.incident.fleet.pid(name).is_ok()))
        })
        .await
    }

    /// One failover, one loss. False: it was over before the moment came.
    pub(crate) async fn round(&mut self, loss: Loss, moment: Moment) -> Result<bool> {
        let writer = self.incident.write().await?;
        let leader = self.leader().await?;
        let victim = self.incident.server(&self.incident.primary)?.port();
        let survivors = self.incident.topology.servers.iter().filter(|(name, _)| *name != self.incident.primary);
        let watch = Watch::over(survivors.map(|(name, server)| (name.as_str(), server)));
        let blow = self.incident.strike(Server::kill).await?;
        let told = async {
            let seen = self.reached(victim, loss, moment, leader).await?;
            self.lose(loss, &seen).await?;
            anyhow::Ok((seen, Instant::now()))
        };
        let (seen, at) = match told.await {
            Ok(told) => told,
            Err(error) => bail!("{error:#}\n{}", self.diagnosis().await),
        };
        let at_loss = self.record(victim).await?;
        if loss.takes_backend() {
            self.backend_back(loss).await?;
        }
        let back = Instant::now();
        let record = self.ended(victim, &seen, at_loss.as_ref()).await?;
        let took = if loss.takes_backend() { back.elapsed() } else { at.elapsed() };
        let taken_over = self.incident.taken_over(&blow, &writer).await?;
        self.figures.lost_rows += self.incident.settled(&blow, writer).await?;
        println!(
            "{loss} {moment:?}: at {:?}, run {}, ended after {took:.1?}; outage {:.1?}",
            seen.moment, record.operation.run, taken_over.outage.length
        );
        self.figures.took.push((loss, took.as_secs_f64()));
        self.figures.outages.push((loss, taken_over.outage.length.as_secs_f64()));
        let allowed = match loss {
            Loss::BackendKill | Loss::BackendRestart => BEYOND_BACKEND,
            Loss::Freeze if self.incident.fleet.backend.flavor() == Flavor::MySql => {
                SILENT_TRANSACTION + BEYOND_SILENCE
            }
            Loss::Freeze | Loss::Kill(_) => DEAD_AFTER + BEYOND_SILENCE,
        };
        let allowed = allowed + FOR_HOOKS;
        ensure!(took <= allowed, "ended after {took:?}\n{}", self.diagnosis().await);
        if loss == Loss::Freeze {
            self.awakening(victim, &seen.executor, at).await?;
        }
        let opened = watch.end();
        ensure!(opened == BTreeSet::from([taken_over.successor.clone()]), "took writes: {opened:?}");
        self.once(victim, &record).await?;
        self.replaced(loss, &blow).await?;
        self.nothing_left().await?;
        Ok(seen.moment == moment)
    }

    /// Waits for a moment of the recovery, or a later one. Looks without a pause: phases take milliseconds.
    async fn reached(&self, victim: u16, loss: Loss, moment: Moment, leader: String) -> Result<Seen> {
        const DETECTION: &str = "SELECT h.worker FROM hook_run h JOIN detection d ON d.id = h.owner_id \
             WHERE h.owner_kind = 'detection' AND d.is_actionable = 1 AND d.port = ? LIMIT 1";
        const RECOVERY: &str = "SELECT r.phase, o.executor, \
               (SELECT GROUP_CONCAT(h.list) FROM hook_run h WHERE h.owner_kind = 'recovery' AND h.owner_id = r.id), \
               (SELECT COUNT(*) FROM operation_step s WHERE s.operation_id = o.id AND s.port = r.successor_port AND s.begun_at > r.phase_at) \
             FROM recovery r JOIN operation o ON o.id = r.operation_id WHERE r.port = ?";
        let mut connection = self.incident.pool().acquire().await?;
        let begun = Instant::now();
        loop {
            let sql = if moment == Moment::DetectionHook { DETECTION } else { RECOVERY };
            if let Some(row) = sqlx::query(sql).bind(victim).fetch_optional(&mut *connection).await? {
                if moment == Moment::DetectionHook {
                    let executor = row.try_get_unchecked(0)?;
                    return Ok(Seen { moment, executor, leader });
                }
                let phase: String = row.try_get_unchecked(0)?;
                let phase = Phase::parse(&phase).context("an unknown phase")?;
                let executor: String = row.try_get_unchecked(1)?;
                let lists: Option<String> = row.try_get_unchecked(2)?;
                let now = Moment::of(phase, lists.as_deref().unwrap_or_default(), row.try_get(3)?);
                if now >= moment && !(executor.is_empty() && loss.takes_worker()) {
                    return Ok(Seen { moment: now, executor, leader });
                }
            }
            ensure!(begun.elapsed() < LIMIT, "{moment:?} never came");
        }
    }

    async fn lose(&mut self, loss: Loss, seen: &Seen) -> Result<()> {
        let fleet = &mut self.incident.fleet;
        match loss {
            Loss::Freeze => return fleet.signal(&seen.executor, "STOP"),
            Loss::BackendKill => return fleet.backend.kill(),
            Loss::BackendRestart => return fleet.backend.stop().await,
            Loss::Kill(_) => {}
        }
        if loss.takes_worker() {
            fleet.kill(&seen.executor)?;
        }
        if loss.takes_leader() {
            fleet.kill(&seen.leader)?;
        }
        Ok(())
    }

    async fn backend_back(&self, loss: Loss) -> Result<()> {
        self.incident.fleet.backend.start_again().await.with_context(|| format!("{loss}"))
    }

    /// The recovery of this victim by now; `None`: there is none, or nobody to ask.
    async fn record(&self, victim: u16) -> Result<Option<Record>> {
        if !self.incident.fleet.backend.is_running() {
            return Ok(None);
        }
        let pool = self.incident.pool();
        let ids: Vec<u64> =
            sqlx::query_scalar("SELECT id FROM recovery WHERE port = ?").bind(victim).fetch_all(pool).await?;
        let [id] = ids[..] else {
            ensure!(ids.is_empty(), "recoveries of one failure: {ids:?}");
            return Ok(None);
        };
        let recovery = store::recoveries::read(pool, id).await?.context("no recovery")?;
        let operation = store::operations::read(pool, recovery.operation_id).await?.context("no operation")?;
        let steps = store::operations::steps(pool, operation.id).await?;
        Ok(Some(Record { recovery, operation, steps }))
    }

    async fn ended(&self, victim: u16, seen: &Seen, at_loss: Option<&Record>) -> Result<Record> {
        let ended = wait::until("the recovery ends", LIMIT, || async {
            let record = self.record(victim).await?;
            Ok(record.filter(|one| one.recovery.ended_at.is_some() && one.operation.state.has_ended()))
        });
        let record = match ended.await {
            Ok(record) => record,
            Err(error) => {
                let steps = at_loss.map(|one| one.steps.len());
                bail!("{error:#}; lost at {:?} with {steps:?} steps\n{}", seen.moment, self.diagnosis().await)
            }
        };
        let ok = record.recovery.outcome == Some(Outcome::Recovered) && record.operation.state == State::Done;
        ensure!(ok, "{record:?}\n{}", self.diagnosis().await);
        Ok(record)
    }

    /// The frozen worker wakes up when everything is over, and changes nothing any more.
    async fn awakening(&mut self, victim: u16, frozen: &str, since: Instant) -> Result<()> {
        let asked_for_all = std::env::var("ORCHESTRATOR_RECOVERY_LOSSES").is_ok();
        if asked_for_all {
            tokio::time::sleep(FROZEN.saturating_sub(since.elapsed())).await;
        }
        let mut logs = Vec::new();
        for (_, server) in self.incident.topology.servers.iter().filter(|(_, server)| server.is_running()) {
            logs.push(Statements::record(server).await?);
        }
        let before = self.record(victim).await?;
        let fleet = &mut self.incident.fleet;
        fleet.signal(frozen, "CONT")?;
        fleet.heard(frozen).await?;
        // It carries on with whatever it has before it ends.
        fleet.signal(frozen, "TERM")?;
        let code = fleet.ended(frozen, LIMIT).await?;
        ensure!(code == 0, "{frozen} exited with {code}");
        for log in logs {
            let changing = log.changing().await?;
            ensure!(changing.is_empty(), "sent by somebody after {frozen} had woken up: {changing:?}");
        }
        let (mut before, mut after) = (before, self.record(victim).await?);
        for record in [&mut before, &mut after].into_iter().flatten() {
            // Times of reading, and the active period that ends meanwhile.
            (record.recovery.now, record.operation.now) = (0, 0);
            (record.recovery.is_active, record.recovery.active_until) = (false, None);
        }
        ensure!(before == after, "{frozen} went on:\n{before:?}\n{after:?}");
        Ok(())
    }

    /// One server was promoted, each hook ran once, and the lost began nothing after others had taken over.
    async fn once(&self, victim: u16, record: &Record) -> Result<()> {
        let opens = |step: &&StepRow| {
            let action = step.step.as_ref().map(|step| &step.action);
            matches!(action, Some(Action::ResetReplica | Action::SetReadOnly { read_only: false, .. }))
        };
        let steps = &record.steps;
        let promoted: BTreeSet<&InstanceKey> = steps.iter().filter(opens).map(|step| &step.on).collect();
        ensure!(
            promoted == BTreeSet::from([&key(self.incident.server(&self.incident.primary)?)]),
            "promoted: {promoted:?}"
        );
        ensure!(steps.iter().all(|step| step.state != "begun"), "left open: {steps:?}");
        // What was done is not done again.
        let mut done = BTreeSet::new();
        for step in steps.iter().filter(|step| step.state == "done" && opens(step)) {
            ensure!(done.insert(format!("{} {}", step.on, step.text)), "done twice: {} {}", step.on, step.text);
        }
        never_two(steps)?;
        self.hooks_once(victim, record).await
    }

    async fn hooks_once(&self, victim: u16, record: &Record) -> Result<()> {
        let pool = self.incident.pool();
        let mut runs = store::hook_runs::of(pool, HookOwner::Recovery(record.recovery.id)).await?;
        let detection = record.recovery.detection_id.context("no detection")?;
        runs.extend(store::hook_runs::of(pool, HookOwner::Detection(detection)).await?);
        let ran = self.hooks.ran(victim, &record.recovery.code)?;
        ensure!(
            runs.len() == LISTS.len() && ran.keys().all(|list| LISTS.contains(&list.as_str())),
            "{ran:?}; {runs:?}"
        );
        for list in LISTS {
            let run = runs.iter().find(|run| run.list == list).with_context(|| format!("{list} was not run"))?;
            let times = ran.get(list).copied().unwrap_or_default();
            let as_told = match run.state {
                HookState::Done => times == 1,
                // Its worker was lost before, within or after it.
                HookState::Unknown => times <= 1,
                _ => false,
            };
            ensure!(as_told, "{list} ran {times} times: {run:?}");
        }
        Ok(())
    }

    /// Others for what was lost, and for the dead primary.
    async fn replaced(&mut self, loss: Loss, blow: &Blow) -> Result<()> {
        if loss.takes_worker() {
            self.worker().await?;
        }
        if loss.takes_leader() {
            self.service().await?;
        }
        self.incident.replace(&blow.victim).await
    }

    /// No lock, no open recovery or operation, and the next operation goes through.
    async fn nothing_left(&self) -> Result<()> {
        let pool = self.incident.pool();
        wait::until("no lock and no open operation is left", CATCH_UP, || async {
            let locks = store::maintenance::active(pool).await?.len();
            let open = store::recoveries::open(pool).await?.len();
            let sql = "SELECT COUNT(*) FROM operation WHERE state IN ('waiting', 'running')";
            let operations: i64 = sqlx::query_scalar(sql).fetch_one(pool).await?;
            Ok((locks == 0 && open == 0 && operations == 0).then_some(()))
        })
        .await?;
        let survivor = self.incident.topology.servers.iter().find(|(name, _)| *name != self.incident.primary);
        let (_, survivor) = survivor.context("no survivor")?;
        self.incident.fleet.ok(&["-c", "restart-replica", "-i", &survivor.address()]).await?;
        Ok(())
    }

    async fn diagnosis(&self) -> String {
        let mut text = self.incident.diagnosis().await;
        let steps = "SELECT CONCAT('step ', operation_id, ' run ', run, ' ', worker, ': ', hostname, ':', port, ' ', text, ' ', state, ' ', begun_at, ' ', COALESCE(error, '')) \
                     FROM operation_step ORDER BY id DESC LIMIT 30";
        if let Ok(rows) = sqlx::query(steps).fetch_all(self.incident.pool()).await {
            for row in rows {
                text.push_str(&row.try_get_unchecked::<String, _>(0).unwrap_or_default());
                text.push('\n');
            }
        }
        for number in 1..=self.names {
            for name in [format!("service{number}"), format!("worker{number}")] {
                if self.incident.fleet.pid(&name).is_ok() {
                    text.push_str(&self.incident.fleet.log_tail(&name));
                    text.push('\n');
                }
            }
        }
        self.incident.topology.named(&text)
    }
}

/// Whoever takes over has newer tokens, and begins nothing before the last order of the lost can have arrived.
fn never_two(steps: &[StepRow]) -> Result<()> {
    for earlier in steps {
        let closed = match (earlier.state.as_str(), earlier.ended_at) {
            ("done", Some(ended)) => ended,
            // It may have been sent until the last moment that it had for it.
            _ => earlier.deadline_at,
        };
        for later in steps.iter().filter(|step| step.run > earlier.run) {
            let newer = later.on != earlier.on || later.token > earlier.token;
            ensure!(newer && later.begun_at >= closed, "{later:?} comes too early behind {earlier:?}");
        }
    }
    Ok(())
}

impl Figures {
    /// How soon after a loss a recovery ends is a figure people ask for.
    pub(crate) fn report(&mut self, flavor: Flavor) {
        for (what, figures) in [("from loss to end", &mut self.took), ("outage", &mut self.outages)] {
            for kind in Loss::ALL {
                let mut some: Vec<f64> =
                    figures.iter().filter(|(loss, _)| *loss == kind).map(|(_, took)| *took).collect();
                some.sort_by(f64::total_cmp);
                if let Some(last) = some.last() {
                    let median = some[some.len() / 2];
                    println!(
                        "{flavor}: {kind}: {} times; {what}: median {median:.1} s, longest {last:.1} s",
                        some.len()
                    );
                }
            }
        }
        println!("{flavor}: {} rows lost", self.lost_rows);
    }
}
