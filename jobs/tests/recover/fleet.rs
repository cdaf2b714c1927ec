//! Servers, a backend, and processes that carry out recoveries in this one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use config::Settings;
use domain::instance::InstanceKey;
use harness::{Flavor, REPLICATION, Schema, Topology, replica_status};
use jobs::recover::{Opened, RecoveryOutcome, open};
use jobs::{Context, Discover, Recover};
use queue::{Attempt, Job, JobError};
use scenario::key;
use serde_json::json;
use store::recoveries::{Kind, NewRecovery, Phase, Recovery};

pub(crate) const FOUR: &str = "
    a
      b
      c
      d
";

pub(crate) struct Fleet {
    pub(crate) ctx: Arc<Context>,
    pub(crate) schema: Schema,
    pub(crate) topology: Topology,
    pub(crate) settings: Settings,
}

pub(crate) async fn process(schema: &Schema, settings: &Settings) -> Result<Arc<Context>> {
    Box::pin(scenario::worker_context(schema.options.clone(), settings.clone())).await
}

pub(crate) async fn carry_out(ctx: &Arc<Context>, recovery: u64, worker: &str) -> Result<RecoveryOutcome, JobError> {
    let attempt = Attempt { worker: worker.to_owned(), ..Attempt::detached() };
    let value = Recover::new(recovery).run(Arc::clone(ctx), attempt).await?;
    serde_json::from_value(value["recovery"].clone()).map_err(JobError::give_up)
}

/// What a person or the leader asks for.
pub(crate) struct Asked<'a> {
    pub(crate) kind: Kind,
    pub(crate) code: &'a str,
    pub(crate) hint: &'a str,
    pub(crate) force: bool,
    pub(crate) candidate: Option<InstanceKey>,
}

pub(crate) const DEAD: Asked<'static> =
    Asked { kind: Kind::Primary, code: "DeadMaster", hint: "", force: false, candidate: None };

pub(crate) const GRACEFUL: Asked<'static> = Asked {
    kind: Kind::Takeover,
    code: "DeadMaster",
    hint: "graceful-master-takeover-auto",
    force: true,
    candidate: None,
};

/// MariaDB shows the password of its replication user to nobody.
pub(crate) fn with_credentials() -> Settings {
    let mut settings = Settings::default();
    settings.discovery.replication_credentials_query =
        format!("SELECT '{}', '{}'", REPLICATION.user, REPLICATION.password);
    settings
}

impl Fleet {
    pub(crate) async fn start(flavor: Flavor, text: &str, settings: Settings) -> Result<Fleet> {
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
    pub(crate) async fn discover(&self) {
        for (_, server) in &self.topology.servers {
            let asked = Discover::by_person(&key(server)).run(Arc::clone(&self.ctx), Attempt::detached()).await;
            println!("{}: {asked:?}", key(server));
        }
    }

    /// What the leader does: all are of the cluster of this primary.
    pub(crate) async fn place(&self, primary: &str) -> Result<()> {
        let statement = "UPDATE instance SET cluster_name = ?, depth = IF(port = ?, 0, 1)";
        let primary = &self.topology[primary];
        let query = sqlx::query(statement).bind(key(primary).to_string()).bind(primary.port());
        query.execute(&self.ctx.pool).await?;
        Ok(())
    }

    /// What the primary has, all have: who dies now takes nothing along.
    pub(crate) async fn all_caught_up(&self, primary: &str) -> Result<()> {
        for (name, server) in self.topology.servers.iter().filter(|(name, _)| name != primary) {
            let caught_up = harness::catch_up(server, &self.topology[primary], Duration::from_secs(20)).await;
            caught_up.with_context(|| name.clone())?;
        }
        Ok(())
    }

    pub(crate) fn key(&self, name: &str) -> InstanceKey {
        key(&self.topology[name])
    }

    pub(crate) async fn open(&self, failed: &str, asked: &Asked<'_>) -> Result<u64> {
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

    pub(crate) async fn row(&self, id: u64) -> Result<Recovery> {
        store::recoveries::read(&self.ctx.pool, id).await?.context("no such recovery")
    }

    pub(crate) async fn timeline(&self, id: u64) -> Result<Vec<String>> {
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

    /// Carries it out in this process: how that ended, and what was told.
    pub(crate) async fn recover(&self, id: u64, worker: &str) -> Result<(RecoveryOutcome, Vec<String>)> {
        let outcome = carry_out(&self.ctx, id, worker).await;
        let told = self.timeline(id).await?;
        let outcome = outcome.with_context(|| format!("{told:#?}"))?;
        Ok((outcome, told))
    }

    /// It refuses writes.
    pub(crate) async fn check_closed(&self, name: &str) -> Result<()> {
        let read_only = self.topology[name].value("@@read_only").await?;
        ensure!(!["0", "OFF"].contains(&read_only.as_str()), "{name} takes writes: {read_only}");
        Ok(())
    }

    pub(crate) async fn locks(&self) -> Result<usize> {
        Ok(store::maintenance::active(&self.ctx.pool).await?.len())
    }

    /// Who a server replicates from, if both threads run.
    pub(crate) async fn source_port(&self, name: &str) -> Result<u16> {
        let server = &self.topology[name];
        let status = replica_status(server.flavor(), &mut server.connect_root().await?).await?;
        let status = status.context("no replica")?;
        ensure!(status.is_running(), "{name} does not replicate: {status:?}");
        Ok(status.source_port)
    }

    /// `new` takes writes, and all of `others` replicate from it.
    pub(crate) async fn check_primary(&self, new: &str, others: &[&str]) -> Result<()> {
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
    pub(crate) async fn lose(&self, id: u64, phase: Phase, steps_into: usize) -> Result<bool> {
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

pub(crate) fn hooks(dir: &std::path::Path) -> Settings {
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

pub(crate) async fn first_of(said: &std::path::Path) -> Vec<String> {
    let text = tokio::fs::read_to_string(said.join("said")).await.unwrap_or_default();
    text.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}
