//! Recoveries on real servers by calling the job: done, resumed after the loss of a worker, refused, no longer needed.

// The tests' own futures wrap those of the job, which wrap those of the driver.
#![recursion_limit = "256"]

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use config::Settings;
use domain::instance::InstanceKey;
use harness::{Flavor, Link, REPLICATION, Schema, Server, TOPOLOGY, Topology, replica_status, replicate};
use jobs::recover::{Opened, RecoveryOutcome, open};
use jobs::{Context, DetectionHooks, Discover, Recover, Rejoin, SharedSettings};
use mysql::{ConnectSettings, HostnameMethod, ProbeSettings};
use queue::{Attempt, DbClock, Job, JobError};
use serde_json::{Value, json};
use store::detections::NewDetection;
use store::former_primaries::FormerState;
use store::hook_runs::{HookOwner, HookState, NewHookRun};
use store::maintenance::Claim;
use store::recoveries::{Kind, NewRecovery, Outcome, Phase, Recovery};

const FOUR: &str = "
    a
      b
      c
      d
";

struct Fleet {
    ctx: Arc<Context>,
    schema: Schema,
    topology: Topology,
    settings: Settings,
}

/// All that one process has: its connections go with it.
async fn process(schema: &Schema, settings: &Settings) -> Result<Arc<Context>> {
    let pool =
        queue::pool_options().max_connections(16).connect_with(queue::connect_options(schema.options.clone())).await?;
    let clock = Arc::new(DbClock::new());
    clock.ask(&mut *pool.acquire().await?).await?;
    let probing = ProbeSettings {
        connect: ConnectSettings {
            user: TOPOLOGY.user.to_owned(),
            password: mysql::Secret::new(TOPOLOGY.password),
            ..ConnectSettings::default()
        },
        hostname_method: HostnameMethod::Given,
        has_credentials_query: !settings.discovery.replication_credentials_query.is_empty(),
        ..ProbeSettings::default()
    };
    Ok(Arc::new(Context::new(pool, clock, SharedSettings::new(settings.clone()), probing, 64)))
}

async fn carry_out(ctx: &Arc<Context>, recovery: u64, worker: &str) -> Result<RecoveryOutcome, JobError> {
    let attempt = Attempt { worker: worker.to_owned(), ..Attempt::detached() };
    let value = Recover::new(recovery).run(Arc::clone(ctx), attempt).await?;
    serde_json::from_value(value["recovery"].clone()).map_err(JobError::give_up)
}

/// What a person or the leader asks for.
struct Asked<'a> {
    kind: Kind,
    code: &'a str,
    hint: &'a str,
    force: bool,
    candidate: Option<InstanceKey>,
}

const DEAD: Asked<'static> = Asked { kind: Kind::Primary, code: "DeadMaster", hint: "", force: false, candidate: None };

const GRACEFUL: Asked<'static> = Asked {
    kind: Kind::Takeover,
    code: "DeadMaster",
    hint: "graceful-master-takeover-auto",
    force: true,
    candidate: None,
};

/// MariaDB shows the password of its replication user to nobody.
fn with_credentials() -> Settings {
    let mut settings = Settings::default();
    settings.discovery.replication_credentials_query =
        format!("SELECT '{}', '{}'", REPLICATION.user, REPLICATION.password);
    settings
}

impl Fleet {
    async fn start(flavor: Flavor, text: &str, settings: Settings) -> Result<Fleet> {
        let topology = Topology::start(flavor, text).await?;
        let schema = harness::backend(flavor).await?.schema().await?;
        let ctx = process(&schema, &settings).await?;
        store::schema::migrate(&ctx.pool).await?;
        let fleet = Fleet { ctx, schema, topology, settings };
        fleet.discover().await;
        fleet.place("a").await?;
        fleet.topology["a"].execute("CREATE TABLE app.t (i INT PRIMARY KEY)").await?;
        Ok(fleet)
    }

    /// Asks all servers once.
    async fn discover(&self) {
        for (_, server) in &self.topology.servers {
            let asked = Discover::by_person(&key(server)).run(Arc::clone(&self.ctx), Attempt::detached()).await;
            println!("{}: {asked:?}", key(server));
        }
    }

    /// What the leader does: all are of the cluster of this primary.
    async fn place(&self, primary: &str) -> Result<()> {
        let statement = "UPDATE instance SET cluster_name = ?, depth = IF(port = ?, 0, 1)";
        let primary = &self.topology[primary];
        let query = sqlx::query(statement).bind(key(primary).to_string()).bind(primary.port());
        query.execute(&self.ctx.pool).await?;
        Ok(())
    }

    /// What the primary has, all have: who dies now takes nothing along.
    async fn all_caught_up(&self, primary: &str) -> Result<()> {
        for (name, server) in self.topology.servers.iter().filter(|(name, _)| name != primary) {
            let caught_up = harness::catch_up(server, &self.topology[primary], Duration::from_secs(20)).await;
            caught_up.with_context(|| name.clone())?;
        }
        Ok(())
    }

    fn key(&self, name: &str) -> InstanceKey {
        key(&self.topology[name])
    }

    async fn open(&self, failed: &str, asked: &Asked<'_>) -> Result<u64> {
        let failed = self.key(failed);
        let entry = json!({
            "Analysis": asked.code, "Description": "it is gone", "IsMaster": true, "CountReplicas": 3,
            "Replicas": [{ "Hostname": "x", "Port": 1 }],
        });
        let new = NewRecovery {
            kind: asked.kind,
            code: asked.code,
            command_hint: asked.hint,
            failed: &failed,
            cluster_name: &failed.to_string(),
            cluster_alias: "shop",
            detection_id: None,
            force: asked.force,
            suppress_hooks: false,
            requested_candidate: asked.candidate.as_ref(),
            entry: &entry,
            verdicts: &json!([]),
            actor: if asked.force { "ann@host" } else { "" },
            node: "n1",
            node_token: "t1",
        };
        let mut tx = self.ctx.pool.begin().await?;
        let opened = open(&mut tx, &new).await?;
        tx.commit().await?;
        match opened {
            Opened::New { recovery, .. } => Ok(recovery),
            Opened::AlreadyOpen { recovery } => anyhow::bail!("recovery {recovery} is open"),
        }
    }

    async fn row(&self, id: u64) -> Result<Recovery> {
        store::recoveries::read(&self.ctx.pool, id).await?.context("no such recovery")
    }

    async fn timeline(&self, id: u64) -> Result<Vec<String>> {
        let events = store::recoveries::events(&self.ctx.pool, id).await?;
        let first = events.first().map_or(0, |event| event.at);
        let text = |event: store::recoveries::Event| {
            format!("{:>5} ms {} {} {}", (event.at - first) / 1000, event.worker, event.kind, event.text)
        };
        let mut told: Vec<String> = events.into_iter().map(text).collect();
        let operation = self.row(id).await?.operation_id;
        for step in store::operations::steps(&self.ctx.pool, operation).await? {
            let took = step.ended_at.map(|at| (at - step.begun_at) / 1000);
            told.push(format!(
                "{:>5} ms step of run {}: {} {} ({took:?} ms) {}",
                (step.begun_at - first) / 1000,
                step.run,
                step.text,
                step.state,
                step.error
            ));
        }
        Ok(told)
    }

    async fn locks(&self) -> Result<usize> {
        Ok(store::maintenance::active(&self.ctx.pool).await?.len())
    }

    /// Who a server replicates from, if both threads run.
    async fn source_port(&self, name: &str) -> Result<u16> {
        let server = &self.topology[name];
        let status = replica_status(server.flavor(), &mut server.connect_root().await?).await?;
        let status = status.context("no replica")?;
        ensure!(status.is_running(), "{name} does not replicate: {status:?}");
        Ok(status.source_port)
    }

    /// `new` takes writes, and all of `others` replicate from it.
    async fn check_primary(&self, new: &str, others: &[&str]) -> Result<()> {
        let primary = &self.topology[new];
        let read_only = primary.value("@@read_only").await?;
        assert!(["0", "OFF"].contains(&read_only.as_str()), "{new} refuses writes: {read_only}");
        let status = replica_status(primary.flavor(), &mut primary.connect_root().await?).await?;
        assert_eq!(status, None, "{new} still replicates");
        for name in others {
            assert_eq!(self.source_port(name).await?, primary.port(), "{name}");
        }
        Ok(())
    }

    /// Runs a recovery in a process of its own and loses that as soon as the row says this, at this many steps begun since.
    async fn lose(&self, id: u64, phase: Phase, steps_into: usize) -> Result<bool> {
        let process = process(&self.schema, &self.settings).await?;
        let mut running = Box::pin(carry_out(&process, id, "w1"));
        let mut before = None;
        loop {
            tokio::select! {
                ended = &mut running => {
                    println!("ended before it was lost: {ended:?}");
                    return Ok(false);
                }
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
            let row = self.row(id).await?;
            if row.phase < phase {
                continue;
            }
            let steps = store::operations::steps(&self.ctx.pool, row.operation_id).await?.len();
            if steps >= *before.get_or_insert(steps) + steps_into {
                return Ok(true);
            }
        }
    }
}

fn key(server: &Server) -> InstanceKey {
    InstanceKey::new(server.host(), server.port())
}

fn hooks(dir: &std::path::Path) -> Settings {
    let mut settings = Settings::default();
    let say = |name: &str| {
        vec![format!(
            "echo {name} {{successorHost}}:{{successorPort}} $ORC_IS_SUCCESSFUL >> {}",
            dir.join("said").display()
        )]
    };
    settings.hooks.pre_failover_processes = say("pre");
    settings.hooks.post_master_failover_processes = say("post-master");
    settings.hooks.post_failover_processes = say("post");
    settings.hooks.post_unsuccessful_failover_processes = say("unsuccessful");
    settings
}

async fn first_of(said: &std::path::Path) -> Vec<String> {
    let text = tokio::fs::read_to_string(said.join("said")).await.unwrap_or_default();
    text.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_primary_is_replaced(#[case] flavor: Flavor) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let fleet = Fleet::start(flavor, FOUR, hooks(dir.path())).await?;
    fleet.topology["a"].execute("INSERT INTO app.t VALUES (1)").await?;
    fleet.all_caught_up("a").await?;
    store::clusters::set_override(&mut *fleet.ctx.pool.acquire().await?, &fleet.key("a").to_string(), "shop").await?;
    fleet.topology["a"].kill()?;
    fleet.discover().await;
    let id = fleet.open("a", &DEAD).await?;
    let began = Instant::now();
    let outcome = carry_out(&fleet.ctx, id, "w1").await;
    println!("took {:?}: {:#?}", began.elapsed(), fleet.timeline(id).await?);
    let outcome = outcome?;
    assert_eq!((outcome.outcome.as_str(), outcome.lost.len()), ("recovered", 0), "{outcome:?}");
    let successor = outcome.successor.clone().context("no successor")?;
    let name = fleet.topology.name_of(successor.port).context("who?")?;
    let others: Vec<&str> = ["b", "c", "d"].into_iter().filter(|other| *other != name).collect();
    fleet.check_primary(name, &others).await?;
    assert_eq!(fleet.topology[name].value("(SELECT COUNT(*) FROM app.t)").await?, "1");

    let row = fleet.row(id).await?;
    assert_eq!((row.phase, row.outcome, row.is_successful), (Phase::Closed, Some(Outcome::Recovered), true));
    assert!(row.choice.is_some() && row.outage.is_some() && !row.successor_coordinates.is_empty(), "{row:?}");
    assert_eq!(fleet.locks().await?, 0);
    let down = store::downtime::active(&fleet.ctx.pool).await?;
    assert_eq!(down.len(), 1);
    assert_eq!((&down[0].0, down[0].1.reason.as_str()), (&fleet.key("a"), "lost-in-recovery"));
    let former = store::former_primaries::of(&fleet.ctx.pool).await?;
    assert_eq!((former.len(), &former[0].key, &former[0].successor), (1, &fleet.key("a"), &successor));
    let aliases = store::clusters::overrides(&fleet.ctx.pool).await?;
    assert_eq!(aliases.get(&successor.to_string()).map(String::as_str), Some("shop"), "{aliases:?}");
    assert_eq!(first_of(dir.path()).await, ["pre", "post-master", "post"]);
    let audit = store::audit::page(&fleet.ctx.pool, Some(&fleet.key("a")), 0).await?;
    assert!(audit.iter().any(|entry| entry.audit_type == "recover-dead-master"), "{audit:?}");
    let again = carry_out(&fleet.ctx, id, "w2").await?;
    assert_eq!(again.successor, Some(successor), "what has ended is not taken up again");
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_worker_finishes_whatever_the_phase_in_which_the_first_was_lost(#[case] flavor: Flavor) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let fleet = Fleet::start(flavor, FOUR, hooks(dir.path())).await?;
    let mut primary = "a".to_owned();
    let moments = [
        (Phase::Fencing, 0),
        (Phase::Fencing, 2),
        (Phase::Choosing, 0),
        (Phase::Promoting, 0),
        (Phase::Promoting, 2),
        (Phase::Promoting, 4),
        (Phase::Repointing, 0),
        (Phase::Repointing, 3),
        (Phase::Publishing, 0),
    ];
    for (round, (phase, steps_into)) in moments.into_iter().enumerate() {
        let row = u32::try_from(round)?;
        fleet.topology[primary.as_str()].execute(&format!("INSERT INTO app.t VALUES ({row})")).await?;
        fleet.all_caught_up(&primary).await?;
        fleet.topology[primary.as_str()].kill()?;
        fleet.discover().await;
        let id = fleet.open(&primary, &DEAD).await?;
        let lost = fleet.lose(id, phase, steps_into).await?;
        let began = Instant::now();
        let outcome = carry_out(&fleet.ctx, id, "w2").await;
        let (took, told) = (began.elapsed(), fleet.timeline(id).await?);
        let outcome = outcome.with_context(|| format!("lost in {phase:?} + {steps_into}: {told:#?}"))?;
        println!("lost in {phase:?} + {steps_into} ({lost}): finished in {took:?}");
        assert!(took < Duration::from_secs(12), "{took:?}: {told:#?}");
        assert_eq!((outcome.outcome.as_str(), outcome.lost.len()), ("recovered", 0), "{outcome:?} {told:#?}");
        let successor = outcome.successor.clone().context("no successor")?;
        let new = fleet.topology.name_of(successor.port).context("who?")?.to_owned();
        let all = ["a", "b", "c", "d"];
        let others: Vec<&str> = all.into_iter().filter(|name| *name != new && *name != primary).collect();
        fleet.check_primary(&new, &others).await?;
        assert_eq!(fleet.topology[new.as_str()].value("(SELECT COUNT(*) FROM app.t)").await?, (round + 1).to_string());
        let steps = store::operations::steps(&fleet.ctx.pool, fleet.row(id).await?.operation_id).await?;
        assert!(steps.iter().all(|step| step.state != "begun"), "{steps:?}");
        assert_eq!(fleet.locks().await?, 0);
        // Each hook once, whoever ran it. One whose worker died inside may have said nothing.
        let mut said = first_of(dir.path()).await;
        tokio::fs::remove_file(dir.path().join("said")).await.ok();
        said.dedup();
        assert!(said.starts_with(&["pre".to_owned()]), "{said:?}");
        let mut once = said.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), said.len(), "lost in {phase:?} + {steps_into}: {said:?}");

        // The dead one comes back as a replica.
        let (old, new_server) = (&fleet.topology[primary.as_str()], &fleet.topology[new.as_str()]);
        old.start_again().await?;
        old.execute("SET GLOBAL read_only = 1").await?;
        replicate(old, new_server, Link::default()).await?;
        let mut conn = fleet.ctx.pool.acquire().await?;
        store::downtime::end(&mut conn, &key(old)).await?;
        primary = new;
        fleet.discover().await;
        fleet.place(&primary).await?;
    }
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_lives_is_left_alone(#[case] flavor: Flavor) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let fleet = Fleet::start(flavor, FOUR, hooks(dir.path())).await?;
    let id = fleet.open("a", &DEAD).await?;
    let outcome = carry_out(&fleet.ctx, id, "w1").await?;
    assert_eq!((outcome.outcome.as_str(), outcome.successor), ("no_longer_needed", None));
    let row = fleet.row(id).await?;
    assert_eq!((row.outcome, row.is_active), (Some(Outcome::NoLongerNeeded), false));
    assert_eq!((fleet.locks().await?, first_of(dir.path()).await.len()), (0, 0));
    for name in ["b", "c", "d"] {
        assert_eq!(fleet.source_port(name).await?, fleet.topology["a"].port());
    }
    let steps = store::operations::steps(&fleet.ctx.pool, row.operation_id).await?;
    assert!(steps.is_empty(), "{steps:?}");
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_and_holders_of_locks_are_heard(#[case] flavor: Flavor) -> Result<()> {
    let mut settings = Settings::default();
    settings.hooks.pre_failover_processes = vec!["echo not today; exit 7".to_owned()];
    let mut fleet = Fleet::start(flavor, FOUR, settings).await?;
    fleet.topology["a"].kill()?;
    fleet.discover().await;
    let id = fleet.open("a", &DEAD).await?;
    let outcome = carry_out(&fleet.ctx, id, "w1").await?;
    assert_eq!(outcome.outcome, "refused", "{outcome:?}");
    let told = fleet.timeline(id).await?;
    assert!(outcome.errors.iter().any(|error| error.contains("exit code 7")), "{outcome:?}");
    let steps = store::operations::steps(&fleet.ctx.pool, fleet.row(id).await?.operation_id).await?;
    assert!(steps.is_empty() && fleet.locks().await? == 0, "{told:#?}");

    // Somebody works on b: it is left out, and named.
    fleet.settings = Settings::default();
    fleet.ctx = process(&fleet.schema, &fleet.settings).await?;
    let claim = Claim { owner: "bob", reason: "backup", duration: Duration::from_secs(60), holder_node: "" };
    store::maintenance::begin(&fleet.ctx.pool, &fleet.key("b"), claim).await?;
    let id = fleet.open("a", &DEAD).await?;
    let (one, other) = tokio::join!(carry_out(&fleet.ctx, id, "w1"), carry_out(&fleet.ctx, id, "w2"));
    let told = fleet.timeline(id).await?;
    let outcome = one.or(other).with_context(|| format!("{told:#?}"))?;
    assert_eq!(outcome.outcome, "recovered", "{outcome:?} {told:#?}");
    assert!(told.iter().any(|line| line.contains("bob")), "{told:#?}");
    let successor = outcome.successor.clone().context("no successor")?;
    assert_ne!(successor, fleet.key("b"));
    let name = fleet.topology.name_of(successor.port).context("who?")?;
    let others: Vec<&str> = ["c", "d"].into_iter().filter(|other| *other != name).collect();
    fleet.check_primary(name, &others).await?;
    assert!(outcome.lost.iter().any(|one| one.instance == fleet.key("b")), "{outcome:?}");
    assert_eq!(fleet.locks().await?, 1, "bob's");
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_takeover_swaps_the_roles(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, FOUR, with_credentials()).await?;
    let id = fleet.open("a", &Asked { candidate: Some(fleet.key("c")), ..GRACEFUL }).await?;
    let outcome = carry_out(&fleet.ctx, id, "w1").await;
    println!("{:#?}", fleet.timeline(id).await?);
    let outcome = outcome?;
    assert_eq!(outcome.outcome, "recovered", "{outcome:?}");
    fleet.check_primary("c", &["a", "b", "d"]).await?;
    let outage = outcome.outage.context("no pause")?;
    assert!(outage.is_write_pause && outage.seconds < 1.0, "{outage:?}");
    assert!(store::downtime::active(&fleet.ctx.pool).await?.is_empty());
    assert_eq!(fleet.locks().await?, 0);
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_that_a_hook_stops_is_taken_back(#[case] flavor: Flavor) -> Result<()> {
    let mut settings = with_credentials();
    settings.hooks.pre_graceful_takeover_processes = vec!["echo no; exit 1".to_owned()];
    let fleet = Fleet::start(flavor, FOUR, settings).await?;
    let id = fleet.open("a", &Asked { candidate: Some(fleet.key("c")), ..GRACEFUL }).await?;
    let outcome = carry_out(&fleet.ctx, id, "w1").await;
    let told = fleet.timeline(id).await?;
    assert_eq!(outcome?.outcome, "refused", "{told:#?}");
    fleet.check_primary("a", &["b", "c", "d"]).await?;
    assert_eq!(fleet.locks().await?, 0);
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_primary_that_is_declared_dead_is_closed_first(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, FOUR, Settings::default()).await?;
    fleet.topology["a"].execute("INSERT INTO app.t VALUES (1)").await?;
    let hint = "force-master-takeover";
    let id = fleet.open("a", &Asked { hint, force: true, candidate: Some(fleet.key("d")), ..DEAD }).await?;
    let outcome = carry_out(&fleet.ctx, id, "w1").await;
    let told = fleet.timeline(id).await?;
    let outcome = outcome.with_context(|| format!("{told:#?}"))?;
    assert_eq!(outcome.successor, Some(fleet.key("d")), "{told:#?}");
    fleet.check_primary("d", &["b", "c"]).await?;
    let closed = fleet.topology["a"].value("@@read_only").await?;
    assert!(!["0", "OFF"].contains(&closed.as_str()), "{closed}: {told:#?}");
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_comes_back_is_closed_and_joins_or_is_marked(#[case] flavor: Flavor) -> Result<()> {
    let mut settings = with_credentials();
    settings.recovery.rejoin_former_primary = vec!["*".to_owned()];
    let fleet = Fleet::start(flavor, FOUR, settings).await?;
    let (mut primary, mut members) = ("a".to_owned(), vec!["b", "c", "d"]);
    for errant in [false, true] {
        let old = primary.clone();
        let server = &fleet.topology[old.as_str()];
        let row = i32::from(errant);
        server.execute(&format!("INSERT INTO app.t VALUES ({row})")).await?;
        for name in &members {
            harness::catch_up(&fleet.topology[*name], server, Duration::from_secs(20)).await?;
        }
        server.kill()?;
        fleet.discover().await;
        let id = fleet.open(&old, &DEAD).await?;
        let successor = carry_out(&fleet.ctx, id, "w1").await?.successor.context("no successor")?;
        primary = fleet.topology.name_of(successor.port).context("who?")?.to_owned();
        fleet.topology[primary.as_str()].execute(&format!("INSERT INTO app.t VALUES ({})", row + 10)).await?;

        server.start_again().await?;
        let writable = server.value("@@read_only").await?;
        println!("{old} is back, read_only is {writable}");
        if errant {
            server.execute("SET GLOBAL read_only = 0; INSERT INTO app.t VALUES (99)").await?;
        }
        let rejoin = Rejoin::new(fleet.key(&old), id);
        let settled = rejoin.clone().run(Arc::clone(&fleet.ctx), Attempt::detached()).await?;
        let told = fleet.timeline(id).await?;
        let former = store::former_primaries::of(&fleet.ctx.pool).await?;
        let former = former.iter().find(|one| one.key == fleet.key(&old)).context("forgotten")?;
        let closed = server.value("@@read_only").await?;
        assert!(!["0", "OFF"].contains(&closed.as_str()), "{closed}: {told:#?}");
        if errant {
            assert_eq!(settled["state"], "errant", "{told:#?}");
            assert!(former.state == FormerState::Errant && !former.errant_gtid.is_empty(), "{former:?}");
            assert!(told.iter().any(|line| line.contains(&former.errant_gtid)), "{told:#?}");
        } else {
            assert_eq!(
                (settled["state"].as_str(), former.state),
                (Some("rejoined"), FormerState::Rejoined),
                "{told:#?}"
            );
            assert_eq!(fleet.source_port(&old).await?, successor.port);
        }
        let again = rejoin.run(Arc::clone(&fleet.ctx), Attempt::detached()).await?;
        assert_eq!((again["state"].as_str(), fleet.locks().await?), (Some("settled"), 0));
        members.retain(|name| *name != primary);
        store::downtime::end(&mut *fleet.ctx.pool.acquire().await?, &fleet.key(&old)).await?;
        fleet.discover().await;
        fleet.place(&primary).await?;
    }
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_primary_costs_bounded_time_and_is_closed_when_it_wakes_up(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, FOUR, Settings::default()).await?;
    let frozen = &fleet.topology["a"];
    frozen.freeze()?;
    fleet.discover().await;
    let id = fleet.open("a", &Asked { hint: "force-master-failover", force: true, ..DEAD }).await?;
    let began = Instant::now();
    let outcome = carry_out(&fleet.ctx, id, "w1").await;
    let took = began.elapsed();
    frozen.thaw()?;
    let told = fleet.timeline(id).await?;
    let outcome = outcome.with_context(|| format!("{told:#?}"))?;
    assert!(took < Duration::from_secs(5), "{took:?}: {told:#?}");
    let successor = outcome.successor.context("no successor")?;
    let settled = Rejoin::new(fleet.key("a"), id).run(Arc::clone(&fleet.ctx), Attempt::detached()).await?;
    let closed = frozen.value("@@read_only").await?;
    assert!(!["0", "OFF"].contains(&closed.as_str()), "{closed} {settled}");
    println!("{successor} after {took:?}: {settled} {told:#?}");
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_of_a_dead_intermediate_source_get_another(#[case] flavor: Flavor) -> Result<()> {
    let text = "
        a
          b
            c
            d
          e
    ";
    let fleet = Fleet::start(flavor, text, Settings::default()).await?;
    fleet.topology["b"].kill()?;
    fleet.discover().await;
    let asked = Asked { kind: Kind::Intermediate, code: "DeadIntermediateMasterWithSingleReplica", ..DEAD };
    let id = fleet.open("b", &asked).await?;
    let outcome = carry_out(&fleet.ctx, id, "w1").await;
    let told = fleet.timeline(id).await?;
    let outcome = outcome.with_context(|| format!("{told:#?}"))?;
    assert_eq!((outcome.outcome.as_str(), outcome.lost.len()), ("recovered", 0), "{outcome:?} {told:#?}");
    let successor = outcome.successor.context("no successor")?;
    for name in ["c", "d"] {
        assert_eq!(fleet.source_port(name).await?, successor.port, "{told:#?}");
    }
    assert_eq!(fleet.locks().await?, 0);
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_is_finished_by_another_worker_whenever_the_first_is_lost(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, FOUR, with_credentials()).await?;
    let (mut old, mut new) = ("a", "c");
    let moments = [
        (Phase::Choosing, 0),
        (Phase::Fencing, 3),
        (Phase::Promoting, 0),
        (Phase::Promoting, 1),
        (Phase::Promoting, 3),
        (Phase::Repointing, 0),
        (Phase::Repointing, 2),
        (Phase::Publishing, 0),
    ];
    for (phase, steps_into) in moments {
        fleet.discover().await;
        fleet.place(old).await?;
        let id = fleet.open(old, &Asked { candidate: Some(fleet.key(new)), ..GRACEFUL }).await?;
        let lost = fleet.lose(id, phase, steps_into).await?;
        let outcome = carry_out(&fleet.ctx, id, "w2").await;
        let told = fleet.timeline(id).await?;
        let outcome = outcome.with_context(|| format!("lost in {phase:?} + {steps_into}: {told:#?}"))?;
        assert_eq!(outcome.outcome, "recovered", "lost in {phase:?} + {steps_into} ({lost}): {outcome:?} {told:#?}");
        let others: Vec<&str> = ["a", "b", "c", "d"].into_iter().filter(|name| *name != new).collect();
        let checked = fleet.check_primary(new, &others).await;
        checked.with_context(|| format!("lost in {phase:?} + {steps_into}: {told:#?}"))?;
        let closed = fleet.topology[old].value("@@read_only").await?;
        assert!(!["0", "OFF"].contains(&closed.as_str()), "{closed}: {told:#?}");
        assert_eq!(fleet.locks().await?, 0);
        (old, new) = (new, old);
    }
    Ok(())
}

/// Nobody else could give the old primary its credentials once the new one has forgotten its source.
#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_replica_takes_over_though_its_worker_is_lost(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, "a\n b", with_credentials()).await?;
    let (mut old, mut new) = ("a", "b");
    for steps_into in 1..=3 {
        fleet.discover().await;
        fleet.place(old).await?;
        let id = fleet.open(old, &Asked { candidate: Some(fleet.key(new)), ..GRACEFUL }).await?;
        fleet.lose(id, Phase::Repointing, steps_into).await?;
        let outcome = carry_out(&fleet.ctx, id, "w2").await;
        let told = fleet.timeline(id).await?;
        assert_eq!(outcome.with_context(|| format!("{told:#?}"))?.outcome, "recovered", "{told:#?}");
        fleet.check_primary(new, &[old]).await.with_context(|| format!("{steps_into} steps: {told:#?}"))?;
        (old, new) = (new, old);
    }
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_primary_is_opened_and_counts_as_its_own_successor(#[case] flavor: Flavor) -> Result<()> {
    let mut settings = Settings::default();
    settings.detection.recover_non_writeable_master = true;
    let fleet = Fleet::start(flavor, FOUR, settings).await?;
    fleet.topology["a"].execute("SET GLOBAL read_only = 1").await?;
    fleet.discover().await;
    let asked = Asked { kind: Kind::NonWriteable, code: "NoWriteableMasterStructureWarning", ..DEAD };
    let id = fleet.open("a", &asked).await?;
    let outcome = carry_out(&fleet.ctx, id, "w1").await;
    let told = fleet.timeline(id).await?;
    let outcome = outcome.with_context(|| format!("{told:#?}"))?;
    assert_eq!((outcome.outcome.as_str(), outcome.successor), ("recovered", Some(fleet.key("a"))), "{told:#?}");
    fleet.check_primary("a", &["b", "c", "d"]).await?;
    assert!(store::former_primaries::of(&fleet.ctx.pool).await?.is_empty());
    assert!(store::downtime::active(&fleet.ctx.pool).await?.is_empty());
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_pair_of_primaries_the_other_takes_over(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, "a\n b\n c", Settings::default()).await?;
    fleet.topology.link("a", "b", Link::default()).await?;
    fleet.topology["b"].execute("SET GLOBAL read_only = 1").await?;
    fleet.discover().await;
    sqlx::query("UPDATE instance SET is_co_primary = port <> ?")
        .bind(fleet.topology["c"].port())
        .execute(&fleet.ctx.pool)
        .await?;
    fleet.topology["a"].kill()?;
    fleet.discover().await;
    let id = fleet.open("a", &Asked { kind: Kind::CoPrimary, code: "DeadCoMaster", ..DEAD }).await?;
    let outcome = carry_out(&fleet.ctx, id, "w1").await;
    let told = fleet.timeline(id).await?;
    let outcome = outcome.with_context(|| format!("{told:#?}"))?;
    assert_eq!((outcome.outcome.as_str(), outcome.successor), ("recovered", Some(fleet.key("b"))), "{told:#?}");
    let read_only = fleet.topology["b"].value("@@read_only").await?;
    assert!(["0", "OFF"].contains(&read_only.as_str()), "{told:#?}");
    assert_eq!(fleet.source_port("c").await?, fleet.topology["b"].port(), "{told:#?}");
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_nobody_may_be_promoted_everything_is_put_back_and_told(#[case] flavor: Flavor) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut settings = hooks(dir.path());
    settings.recovery.promotion_ignore_hostname_filters = vec![".*".to_owned()];
    let fleet = Fleet::start(flavor, FOUR, settings).await?;
    // Declared dead while it lives: closed, refused, opened again.
    let asked = Asked { hint: "force-master-failover", force: true, ..DEAD };
    let id = fleet.open("a", &asked).await?;
    let failed = carry_out(&fleet.ctx, id, "w1").await;
    let told = fleet.timeline(id).await?;
    assert!(failed.is_err(), "{failed:?} {told:#?}");
    fleet.check_primary("a", &["b", "c", "d"]).await.with_context(|| format!("{told:#?}"))?;
    let row = fleet.row(id).await?;
    assert_eq!((row.outcome, row.is_successful, fleet.locks().await?), (Some(Outcome::Failed), false, 0));
    assert!(!row.errors.is_empty(), "{row:?}");
    let text = tokio::fs::read_to_string(dir.path().join("said")).await?;
    assert_eq!(first_of(dir.path()).await, ["pre", "unsuccessful"], "{text}");
    assert!(text.lines().all(|line| line.ends_with("false")), "{text}");
    assert!(store::downtime::active(&fleet.ctx.pool).await?.is_empty());
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn hooks_of_a_detection_are_left_alone_while_another_job_runs_them(#[case] flavor: Flavor) -> Result<()> {
    let mut settings = Settings::default();
    settings.hooks.on_failure_detection_processes = vec!["exit 1".to_owned(), "exit 0".to_owned()];
    let schema = harness::backend(flavor).await?.schema().await?;
    let ctx = process(&schema, &settings).await?;
    store::schema::migrate(&ctx.pool).await?;
    let found = NewDetection {
        key: &InstanceKey::new("db1", 3306),
        code: "DeadMaster",
        cluster_name: "db1:3306",
        cluster_alias: "",
        is_actionable: true,
        replicas: &[],
        entry: &json!({}),
        node: "n1",
        node_token: "t1",
    };
    let mut conn = ctx.pool.acquire().await?;
    let detection = store::detections::register(&mut conn, &found).await?.context("registered already")?;
    let owner = HookOwner::Detection(detection);
    // A worker is in the first hook.
    let list = "OnFailureDetectionProcesses";
    let first = NewHookRun { owner, list, index: 0, command: "exit 1", worker: "w1", run: None };
    store::hook_runs::begin(&mut conn, &first).await?;
    sqlx::query(
        "INSERT INTO job_claimed (id, kind, lane, unique_key, payload, max_attempts, timeout_ms, submitted_at, worker, \
           claim_token, claimed_at, deadline_at) \
         VALUES (1, 'detection_hooks', 'recovery/', ?, '{}', 1, 1000, NOW(6), 'w1', 1, NOW(6), NOW(6))",
    )
    .bind(format!("detection-hooks:{detection}"))
    .execute(&mut *conn)
    .await?;
    // The same worker's name, or another: who it is says nothing.
    let attempt = || Attempt { worker: "w1".to_owned(), job_id: 2, ..Attempt::detached() };
    let states = async || -> Result<Vec<HookState>> {
        Ok(store::hook_runs::of(&ctx.pool, owner).await?.into_iter().map(|run| run.state).collect())
    };
    DetectionHooks::new(detection).run(Arc::clone(&ctx), attempt()).await?;
    assert_eq!(states().await?, [HookState::Begun]);
    // It was lost.
    sqlx::query("DELETE FROM job_claimed").execute(&mut *conn).await?;
    DetectionHooks::new(detection).run(Arc::clone(&ctx), attempt()).await?;
    assert_eq!(states().await?, [HookState::Unknown, HookState::Done]);
    Ok(())
}

#[test]
fn outcomes_are_a_wire_format() {
    let value: Value = json!({ "outcome": "recovered", "id": 7 });
    let read: RecoveryOutcome = serde_json::from_value(value).unwrap();
    assert_eq!((read.outcome.as_str(), read.id, read.outage), ("recovered", 7, None));
}
