//! The plans of a planned takeover on real servers, under writes: how long nobody can write, what becomes of whoever writes
//! in spite of `read_only`, and that each step may fail.
//!
//! Below the job: planners and executor only, with a fleet on which one order fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use domain::instance::{Answer, BinlogCoordinates, CheckState, DbMicros, Instance, InstanceKey, ServerFacts};
use domain::operation::{Policy, World};
use domain::plan::{Action, Baseline, Plan, Refusal, Request, Step, Threads, check, running_threads};
use domain::recovery::takeover::{Reopen, Variant, demote, designate, is_switched, prepare, rollback, switch};
use domain::recovery::{Choice, RecoveryPolicy, Scene};
use domain::topology::{Naming, Node, place};
use harness::{Account, Flavor, Server, TOPOLOGY, Topology, Writer};
use mysql::{ConnectSettings, HostnameMethod, ProbeSettings, Prober};
use operations::{
    Change, Ending, Fleet, FleetError, Grant, Ledger, LedgerError, MySqlFleet, Options, Place, SEND_WINDOW, StepId,
    execute,
};
use scenario::{credentials_query, key};
use sqlx::mysql::MySqlConnection;
use sqlx::{Connection, Executor};

const TREE: &str = "a\n  b\n  c\n  d";
const NOW: DbMicros = 1_000_000;
/// Between two rows: a busy application.
const PAUSE: Duration = Duration::from_millis(1);
/// Between two rows. Not less: a receiver that is stopped in the middle of a transaction makes MySQL's applier wait for the rest of it
/// for a minute before it stops, and each order is tried here.
const WRITE_PAUSE: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_secs(30);
/// What clients may feel on a machine that does other things, too. The target is 300 ms.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// May do what an administrator may; on MariaDB `READ_ONLY ADMIN` is another matter.
const BOSS: Account = Account { user: "boss", password: "boss_password" };

/// Real servers, on which one order fails.
struct Faulty<'a> {
    real: MySqlFleet<'a>,
    sent: AtomicUsize,
    /// This order, counted from 0, is not sent.
    fails: Option<usize>,
}

impl Fleet for Faulty<'_> {
    async fn look(&self, key: &InstanceKey) -> Result<ServerFacts, FleetError> {
        self.real.look(key).await
    }

    async fn apply(&self, change: Change<'_>) -> Result<(), FleetError> {
        if Some(self.sent.fetch_add(1, Ordering::SeqCst)) == self.fails {
            return Err(FleetError::Refused { key: change.on.clone(), reason: "no luck".to_owned() });
        }
        self.real.apply(change).await
    }
}

/// Locks that are always ours; which orders to open a server were begun.
#[derive(Default)]
struct Book {
    openings: Mutex<Vec<InstanceKey>>,
}

impl Ledger for Book {
    async fn begin(&self, _: Place, step: &Step) -> Result<Grant, LedgerError> {
        if matches!(step.action, Action::SetReadOnly { read_only: false, .. }) {
            self.openings.lock().expect("no panic").push(step.on.clone());
        }
        Ok(Grant { id: StepId(0), until: tokio::time::Instant::now() + SEND_WINDOW })
    }

    async fn done(&self, _: StepId) -> Result<(), LedgerError> {
        Ok(())
    }

    async fn failed(&self, _: StepId, _: &str) -> Result<(), LedgerError> {
        Ok(())
    }

    async fn equivalent(&self, _: (&InstanceKey, &BinlogCoordinates), _: (&InstanceKey, &BinlogCoordinates)) {}
}

/// One takeover from `head` by `to`.
struct Takeover<'a> {
    topology: &'a Topology,
    prober: &'a Prober,
    head: InstanceKey,
    to: InstanceKey,
    baseline: Baseline,
    book: Book,
    fleet: Faulty<'a>,
    earlier: Option<Plan>,
}

type Planner = fn(&Scene<'_>, &Choice) -> Result<Option<Plan>, Refusal>;

fn demote_auto(scene: &Scene<'_>, choice: &Choice) -> Result<Option<Plan>, Refusal> {
    demote(scene, choice, Variant::Auto)
}

fn back(scene: &Scene<'_>, choice: &Choice) -> Result<Option<Plan>, Refusal> {
    rollback(scene, choice, Reopen::Yes)
}

fn prober() -> Prober {
    let settings = ProbeSettings {
        connect: ConnectSettings {
            user: TOPOLOGY.user.to_owned(),
            password: mysql::Secret::new(TOPOLOGY.password),
            ..ConnectSettings::default()
        },
        hostname_method: HostnameMethod::Given,
        has_credentials_query: true,
        ..ProbeSettings::default()
    };
    Prober::new(settings, std::sync::Arc::new(|| NOW))
}

impl<'a> Takeover<'a> {
    async fn new(
        topology: &'a Topology,
        prober: &'a Prober,
        names: (&str, &str),
        fails: Option<usize>,
    ) -> Result<Takeover<'a>> {
        let real = MySqlFleet::new(prober, Box::new(|_| Box::pin(async {})), BTreeMap::new(), &credentials_query());
        let fleet = Faulty { real, sent: AtomicUsize::new(0), fails };
        let (head, to) = (key(&topology[names.0]), key(&topology[names.1]));
        let (baseline, book) = (Baseline::new(), Book::default());
        let mut takeover = Self { topology, prober, head, to, baseline, book, fleet, earlier: None };
        let instances = takeover.look().await?;
        takeover.baseline = instances.values().map(|one| (one.key.clone(), running_threads(&one.facts))).collect();
        Ok(takeover)
    }

    /// All servers as they are now.
    async fn look(&self) -> Result<BTreeMap<InstanceKey, Instance>> {
        let probes = self.topology.servers.iter().map(|(_, server)| async { self.prober.probe(&key(server)).await });
        let mut facts = Vec::new();
        for observation in futures::future::join_all(probes).await {
            match observation.answer {
                Answer::Facts { key, facts: told } => facts.push((key, *told)),
                other => bail!("no facts of {}: {other:?}", observation.asked),
            }
        }
        let nodes: Vec<Node<'_>> = facts.iter().map(|(key, facts)| Node { key, facts, previous_cluster: "" }).collect();
        let placements = place(&nodes, &Naming::default()).placements;
        let check = CheckState { last_checked_at: Some(NOW), last_seen_at: Some(NOW), ..CheckState::default() };
        let instance = |((key, facts), placement): (&(InstanceKey, ServerFacts), _)| Instance {
            id: u64::from(key.port),
            key: key.clone(),
            lane: String::new(),
            facts: facts.clone(),
            placement,
            check: check.clone(),
            downtime: None,
            promotion_rule: domain::promotion::PromotionRule::Neutral,
            unresolved_hostname: String::new(),
        };
        Ok(facts.iter().zip(placements).map(|pair| (pair.0.0.clone(), instance(pair))).collect())
    }

    async fn ask<T>(&self, planner: impl FnOnce(&Scene<'_>) -> T) -> Result<T> {
        let (instances, policy, banned) = (self.look().await?, Policy::default(), BTreeSet::new());
        let world = World {
            instances: &instances,
            baseline: &self.baseline,
            earlier: self.earlier.as_ref(),
            equivalences: &[],
            policy: &policy,
            now: NOW,
        };
        let opening_begun = self.book.openings.lock().expect("no panic").contains(&self.to);
        Ok(planner(&Scene {
            world: &world,
            failed: &self.head,
            requested: Some(&self.to),
            earlier_choice: None,
            opening_begun,
            banned: &banned,
            policy: &RecoveryPolicy::default(),
            request: &Request::Recover { failed: self.head.clone(), recovery: 7 },
            force: false,
            had_semi_sync: false,
        }))
    }

    /// `Err`: refused, or a step failed.
    async fn carry_out(&mut self, planner: Planner, choice: &Choice) -> Result<Result<(), String>> {
        let plan = match self.ask(|scene| planner(scene, choice)).await? {
            Ok(Some(plan)) => plan,
            Ok(None) => return Ok(Ok(())),
            Err(refusal) => return Ok(Err(refusal.to_string())),
        };
        ensure!(check(&plan).is_ok(), "{:?}\n{plan}", check(&plan));
        let report = execute(&plan, &self.fleet, &self.book, &Options::default()).await;
        self.earlier = Some(plan);
        let errors: Vec<String> = report.branches.iter().filter_map(|branch| branch.result.error()).collect();
        Ok(match report.ending {
            Ending::Ended if errors.is_empty() => Ok(()),
            Ending::Ended => Err(errors.join("; ")),
            other => Err(format!("{other:?}")),
        })
    }

    /// All phases; the first that fails ends it.
    async fn forward(&mut self, choice: &Choice) -> Result<Result<(), String>> {
        for planner in [prepare as Planner, switch, demote_auto] {
            if let Err(error) = self.carry_out(planner, choice).await? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    async fn designated(&self) -> Result<Choice> {
        let start = Instant::now();
        loop {
            match self.ask(|scene| designate(scene, Variant::Auto)).await? {
                Ok(choice) => return Ok(choice),
                // It may just have begun to replicate.
                Err(refusal) if start.elapsed() > LIMIT => bail!("{refusal}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Forward, or all the way back; whether it was taken over, and what failed.
    async fn ends_well(&mut self) -> Result<(bool, String)> {
        let choice = self.designated().await?;
        let Err(error) = self.forward(&choice).await? else { return Ok((true, String::new())) };
        if self.ask(|scene| is_switched(scene, &choice)).await? {
            if let Err(again) = self.forward(&choice).await? {
                bail!("{error}, then {again}");
            }
            return Ok((true, error));
        }
        for _ in 0..3 {
            if self
                .ask(|scene| rollback(scene, &choice, Reopen::Yes))
                .await?
                .map_err(|no| anyhow::anyhow!("{no}"))?
                .is_none()
            {
                return Ok((false, error));
            }
            if let Err(again) = self.carry_out(back, &choice).await? {
                println!("not all is back: {again}");
            }
        }
        bail!("not taken back after {error}")
    }

    /// This one is writable, and alone in that; all others replicate from it.
    async fn check_primary(&self, primary: &InstanceKey) -> Result<()> {
        let start = Instant::now();
        loop {
            let all = self.look().await?;
            let wrong: Vec<String> = all
                .values()
                .filter(|one| {
                    let is_primary = one.key == *primary;
                    one.facts.read_only == is_primary
                        || (!is_primary && one.facts.source() != Some(primary))
                        || (!is_primary && running_threads(&one.facts) != Threads::BOTH)
                        || (is_primary && one.facts.is_replica())
                })
                .map(|one| format!("{}: read_only {}, below {:?}", one.key, one.facts.read_only, one.facts.source()))
                .collect();
            if wrong.is_empty() {
                return Ok(());
            }
            ensure!(start.elapsed() < LIMIT, "{primary} is not the primary: {wrong:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn writer(topology: &Topology, first: &str) -> Result<Writer> {
    let mut servers: Vec<&Server> = vec![&topology[first]];
    servers.extend(topology.servers.iter().filter(|(name, _)| name != first).map(|(_, server)| server));
    let writer = Writer::start_on_any(&servers, 1, WRITE_PAUSE).await?;
    let start = Instant::now();
    while writer.acknowledged().len() < 20 {
        ensure!(start.elapsed() < LIMIT, "nothing is acknowledged");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(writer)
}

/// No server lacks an acknowledged row.
async fn nothing_is_lost(topology: &Topology, mut writer: Writer) -> Result<usize> {
    writer.stop().await;
    for (name, server) in &topology.servers {
        let start = Instant::now();
        while !writer.lost(server).await?.is_empty() {
            ensure!(start.elapsed() < LIMIT, "{name} lacks {} rows", writer.lost(server).await?.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(writer.acknowledged().len())
}

/// Writes to one server only, come what may; gives the numbers of the rows acknowledged once it is told to stop.
async fn boss(server: &Server, stop: tokio_util::sync::CancellationToken) -> Vec<i64> {
    let options = server.connect_options(BOSS);
    let (mut acknowledged, mut open, mut number) = (Vec::new(), None, 0i64);
    while !stop.is_cancelled() {
        number += 1;
        if open.is_none() {
            open = MySqlConnection::connect_with(&options).await.ok();
        }
        let Some(connection) = &mut open else { continue };
        match connection.execute(format!("INSERT INTO app.boss VALUES ({number})").as_str()).await {
            Ok(_) => acknowledged.push(number),
            Err(sqlx::Error::Database(_)) => {}
            Err(_) => open = None,
        }
        tokio::time::sleep(PAUSE).await;
    }
    acknowledged
}

async fn add_boss(primary: &Server, rights: &str) -> Result<()> {
    let sql = format!(
        "CREATE TABLE app.boss (id BIGINT PRIMARY KEY); CREATE USER boss@'%' IDENTIFIED BY '{}'; \
         GRANT ALL ON app.* TO boss@'%'; GRANT {rights} ON *.* TO boss@'%'",
        BOSS.password
    );
    primary.execute(&sql).await
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_is_short_and_loses_nothing_of_anybody(#[case] flavor: Flavor) -> Result<()> {
    let (topology, prober) = (Topology::start(flavor, TREE).await?, prober());
    let rights = match flavor {
        Flavor::MySql => "SUPER, CONNECTION_ADMIN",
        Flavor::MariaDb => "SUPER, CONNECTION ADMIN",
    };
    add_boss(&topology["a"], rights).await?;
    let stop = tokio_util::sync::CancellationToken::new();
    let writer = writer(&topology, "a").await?;
    let boss = { boss(&topology["a"], stop.clone()) };
    let work = async {
        let mut pauses = Vec::new();
        // There and back.
        for names in [("a", "c"), ("c", "a"), ("a", "b")] {
            let began = Instant::now();
            let mut takeover = Takeover::new(&topology, &prober, names, None).await?;
            let (taken, error) = takeover.ends_well().await?;
            ensure!(taken && error.is_empty(), "{names:?}: {error}");
            takeover.check_primary(&key(&topology[names.1])).await?;
            // The first row behind the pause.
            tokio::time::sleep(Duration::from_millis(300)).await;
            pauses.push(writer.outage(began).context("no pause")?.length);
        }
        stop.cancel();
        Ok::<_, anyhow::Error>(pauses)
    };
    let (acknowledged, pauses) = tokio::join!(boss, work);
    let pauses = pauses?;
    println!("{flavor}: pauses {pauses:?}, {} rows of the boss", acknowledged.len());
    ensure!(pauses.iter().all(|pause| *pause < LONGEST_PAUSE), "{pauses:?}");
    let rows = nothing_is_lost(&topology, writer).await?;
    ensure!(rows > 100 && acknowledged.len() > 20, "{rows} rows, {} of the boss", acknowledged.len());
    let mut connection = topology["b"].connect_root().await?;
    let there: Vec<i64> = sqlx::query_scalar("SELECT id FROM app.boss").fetch_all(&mut connection).await?;
    let there: BTreeSet<i64> = there.into_iter().collect();
    let lost = acknowledged.iter().filter(|id| !there.contains(id)).count();
    ensure!(lost == 0, "{lost} of {} rows that the boss was acknowledged are lost", acknowledged.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_is_not_taken_over_while_somebody_writes_in_spite_of_read_only() -> Result<()> {
    let (topology, prober) = (Topology::start(Flavor::MariaDb, TREE).await?, prober());
    add_boss(&topology["a"], "READ_ONLY ADMIN").await?;
    let stop = tokio_util::sync::CancellationToken::new();
    let writer = writer(&topology, "a").await?;
    let work = async {
        let mut takeover = Takeover::new(&topology, &prober, ("a", "b"), None).await?;
        let (taken, error) = takeover.ends_well().await?;
        ensure!(!taken && error.contains("of boss"), "{error}");
        takeover.check_primary(&key(&topology["a"])).await?;
        stop.cancel();
        Ok(())
    };
    let (acknowledged, worked) = tokio::join!(boss(&topology["a"], stop.clone()), work);
    worked?;
    nothing_is_lost(&topology, writer).await?;
    println!("{} rows of the boss, before and after", acknowledged.len());
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_step_fails_one_primary_is_left(#[case] flavor: Flavor) -> Result<()> {
    let (topology, prober) = (Topology::start(flavor, TREE).await?, prober());
    let writer = writer(&topology, "a").await?;
    let mut names = ("a", "b");
    let (mut back, mut over) = (0, 0);
    for fails in 0.. {
        let mut takeover = Takeover::new(&topology, &prober, names, Some(fails)).await?;
        let (taken, error) = takeover.ends_well().await.with_context(|| format!("order {fails} fails"))?;
        println!("{flavor}: order {fails}: {}, {error}", if taken { "taken over" } else { "taken back" });
        let primary = if taken { names.1 } else { names.0 };
        takeover.check_primary(&key(&topology[primary])).await.with_context(|| format!("order {fails} failed"))?;
        if taken {
            names = (names.1, names.0);
            over += 1;
        } else {
            back += 1;
        }
        if error.is_empty() {
            break;
        }
    }
    ensure!(back >= 5 && over >= 3, "taken back {back} times, over {over} times");
    let rows = nothing_is_lost(&topology, writer).await?;
    println!("{flavor}: taken back {back} times, over {over} times, {rows} rows");
    Ok(())
}
