//! Operations on real servers: done, planned only, refused, resumed after the loss of a worker at each step, hung.

// The tests' own futures wrap those of the job, which wrap those of the driver.
#![recursion_limit = "256"]

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use config::Settings;
use domain::instance::InstanceKey;
use domain::plan::{Request, Rule};
use harness::{Flavor, Schema, Topology, catch_up, replica_status};
use jobs::{Context, Discover, Operate};
use operations::OperationOutcome;
use queue::{Attempt, Job, JobError};
use scenario::key;
use store::maintenance::Claim;
use store::operations::{NewOperation, Operation, State, StepRow};

const THREE: &str = "
    a
      b
      c
";

/// Moments at which a worker is lost: more than any of these operations has.
const MOST: usize = 60;

struct Fleet {
    ctx: Arc<Context>,
    schema: Schema,
    topology: Topology,
}

async fn process(schema: &Schema) -> Result<Arc<Context>> {
    Box::pin(scenario::worker_context(schema.options.clone(), Settings::default())).await
}

async fn carry_out(ctx: &Arc<Context>, operation: u64, worker: &str) -> Result<OperationOutcome, JobError> {
    let attempt = Attempt { worker: worker.to_owned(), ..Attempt::detached() };
    let value = Operate::new(operation).run(Arc::clone(ctx), attempt).await?;
    serde_json::from_value(value).map_err(JobError::give_up)
}

impl Fleet {
    async fn start(flavor: Flavor, text: &str) -> Result<Fleet> {
        let topology = Topology::start(flavor, text).await?;
        let schema = harness::backend(flavor).await?.schema().await?;
        let ctx = process(&schema).await?;
        store::schema::migrate(&ctx.pool).await?;
        for (_, server) in &topology.servers {
            Discover::by_person(&key(server)).run(Arc::clone(&ctx), Attempt::detached()).await?;
        }
        Ok(Fleet { ctx, schema, topology })
    }

    fn key(&self, name: &str) -> InstanceKey {
        key(&self.topology[name])
    }

    fn relocate(&self, name: &str, below: &str) -> Request {
        Request::Relocate { instance: self.key(name), below: self.key(below) }
    }

    async fn create(&self, request: &Request, dry_run: bool) -> Result<u64> {
        let mut conn = self.ctx.pool.acquire().await?;
        let new = NewOperation { request, dry_run, cluster_name: "", actor: "ann@host" };
        Ok(store::operations::create(&mut conn, &new).await?)
    }

    async fn run(&self, operation: u64, worker: &str) -> Result<OperationOutcome, JobError> {
        carry_out(&self.ctx, operation, worker).await
    }

    async fn operation(&self, id: u64) -> Result<Operation> {
        store::operations::read(&self.ctx.pool, id).await?.context("no such operation")
    }

    async fn steps(&self, id: u64) -> Result<Vec<StepRow>> {
        Ok(store::operations::steps(&self.ctx.pool, id).await?)
    }

    /// Runs an operation and loses its worker at this moment: twice the steps begun, in the middle of the last or after it.
    /// False: it ended before.
    async fn lose(&self, id: u64, lost_at: usize) -> Result<bool> {
        let process = process(&self.schema).await?;
        let mut running = Box::pin(carry_out(&process, id, "w1"));
        loop {
            tokio::select! {
                ended = &mut running => {
                    let ended = ended?;
                    ensure!(ended.state == "done", "{ended:?}");
                    return Ok(false);
                }
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
            let steps = self.steps(id).await?;
            let done = steps.iter().filter(|step| step.state == "done").count();
            if steps.len() + done > lost_at {
                return Ok(true);
            }
        }
    }

    /// Another worker goes on: within the time the lost one may still have sent something, and a little.
    async fn resume(&self, id: u64, lost_at: usize) -> Result<Result<OperationOutcome, JobError>> {
        let began = Instant::now();
        let outcome = self.run(id, "w2").await;
        let took = began.elapsed();
        let texts: Vec<_> =
            self.steps(id).await?.into_iter().map(|one| (one.run, one.text, one.state, one.error)).collect();
        assert!(took < Duration::from_secs(12), "lost at {lost_at}: {took:?}: {texts:#?}");
        assert_eq!(self.locks().await?, 0);
        let steps = self.steps(id).await?;
        assert!(steps.iter().all(|step| step.state != "begun"), "{steps:?}");
        // Never two executors: whoever takes over has other tokens, and begins after the last may have acted.
        let (old, new): (Vec<_>, Vec<_>) = steps.iter().partition(|step| step.run == 1);
        for earlier in &old {
            let closed = earlier.deadline_at.min(earlier.ended_at.unwrap_or(earlier.deadline_at));
            let later = |later: &&StepRow| later.token > earlier.token && later.begun_at >= closed;
            assert!(new.iter().all(later), "lost at {lost_at}: {steps:?}");
        }
        Ok(outcome)
    }

    /// Who a server replicates from, if both threads run.
    async fn source_port(&self, name: &str) -> Result<u16> {
        let server = &self.topology[name];
        let status = replica_status(server.flavor(), &mut server.connect_root().await?).await?;
        let status = status.context("no replica")?;
        ensure!(status.is_running(), "{name} does not replicate: {status:?}");
        Ok(status.source_port)
    }

    async fn stored_source(&self, name: &str) -> Result<Option<InstanceKey>> {
        let known = store::instances::read(&self.ctx.pool, &self.key(name)).await?.context("unknown")?;
        Ok(known.facts.source().cloned())
    }

    async fn locks(&self) -> Result<usize> {
        Ok(store::maintenance::active(&self.ctx.pool).await?.len())
    }
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relocation_is_planned_done_recorded_and_seen_at_once(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, THREE).await?;
    let request = fleet.relocate("c", "b");
    let dry = fleet.create(&request, true).await?;
    let planned = fleet.run(dry, "w1").await?;
    let plan = planned.plan.context("a plan")?;
    ensure!(fleet.source_port("c").await? == fleet.topology["a"].port() && fleet.steps(dry).await?.is_empty());

    let id = fleet.create(&request, false).await?;
    let outcome = fleet.run(id, "w1").await?;
    assert_eq!((outcome.state.as_str(), outcome.error.as_str()), ("done", ""), "{outcome:?}");
    assert_eq!((&outcome.instance, outcome.new_source.as_ref()), (&fleet.key("c"), Some(&fleet.key("b"))));
    assert_eq!(fleet.source_port("c").await?, fleet.topology["b"].port());
    assert_eq!(fleet.stored_source("c").await?, Some(fleet.key("b")), "readers see it at once");
    let ended = fleet.operation(id).await?;
    assert_eq!((ended.state, ended.plan.as_ref()), (State::Done, Some(&plan)), "executed as printed");
    let steps = fleet.steps(id).await?;
    assert_eq!(steps.len(), plan.steps().count());
    assert!(steps.iter().all(|step| step.state == "done"), "{steps:?}");
    assert_eq!(fleet.locks().await?, 0);
    let audit = store::audit::page(&fleet.ctx.pool, Some(&fleet.key("c")), 0).await?;
    let types: Vec<&str> = audit.iter().rev().map(|entry| entry.audit_type.as_str()).collect();
    assert_eq!(types, ["begin-maintenance", "end-maintenance", "relocate"]);
    fleet.topology["a"].execute("CREATE TABLE app.t (i INT PRIMARY KEY); INSERT INTO app.t VALUES (1)").await?;
    catch_up(&fleet.topology["c"], &fleet.topology["a"], Duration::from_secs(20)).await?;
    let again = fleet.run(id, "w2").await?;
    assert_eq!(again.runs, 1, "an operation that has ended is not taken up again");
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_resumes_after_the_loss_of_a_worker_at_any_step_finishes(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, THREE).await?;
    // There and back, one step further each time, until a run ends before it can be lost.
    for lost_at in 0..MOST {
        let below = if lost_at % 2 == 0 { "b" } else { "a" };
        let id = fleet.create(&fleet.relocate("c", below), false).await?;
        if !fleet.lose(id, lost_at).await? {
            ensure!(lost_at > 4);
            return Ok(());
        }
        let outcome = fleet.resume(id, lost_at).await??;
        assert_eq!((outcome.state.as_str(), outcome.runs), ("done", 2), "lost at {lost_at}: {outcome:?}");
        assert_eq!(outcome.new_source, Some(fleet.key(below)), "lost at {lost_at}: {outcome:?}");
        assert_eq!(fleet.source_port("c").await?, fleet.topology[below].port(), "lost at {lost_at}");
    }
    anyhow::bail!("a relocation of more than twenty steps")
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_with_the_source_survives_the_loss_of_a_worker_at_any_step(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, "a\n b\n  c").await?;
    let (mut upper, mut lower) = ("b", "c");
    for lost_at in 0..MOST {
        let id = fleet.create(&Request::TakeMaster { instance: fleet.key(lower) }, false).await?;
        let lost = fleet.lose(id, lost_at).await?;
        if lost {
            // Refused is good enough, if everything replicates from where it did.
            println!("lost at {lost_at}: {:?}", fleet.resume(id, lost_at).await?);
        }
        let sources = (fleet.source_port(upper).await?, fleet.source_port(lower).await?);
        let port = |name: &str| fleet.topology[name].port();
        if sources == (port(lower), port("a")) {
            (upper, lower) = (lower, upper);
        } else {
            assert_eq!(sources, (port("a"), port(upper)), "lost at {lost_at}: neither as before nor as asked");
            ensure!(lost, "lost at {lost_at}: not done: {:?}", fleet.operation(id).await?);
        }
        if !lost {
            ensure!(lost_at > 8);
            return Ok(());
        }
    }
    anyhow::bail!("a swap of more than twenty steps")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_hear_of_a_swap_that_was_done() -> Result<()> {
    let fleet = Fleet::start(Flavor::MariaDb, "a\n b\n  c").await?;
    let folder = tempfile::tempdir()?;
    let heard = folder.path().join("heard");
    let mut settings = Settings::default();
    settings.hooks.post_take_master_processes = vec![
        "echo it is broken; exit 3".to_owned(),
        format!("echo $1 $2 $ORC_SUCCESSOR_HOST $ORC_FAILED_HOST >> {}", heard.display()),
    ];
    let ctx = scenario::worker_context(fleet.schema.options.clone(), settings).await?;
    // Refused: nobody has taken over from anybody.
    let refused = fleet.create(&Request::TakeMaster { instance: fleet.key("a") }, false).await?;
    ensure!(carry_out(&ctx, refused, "w1").await?.state == "refused");
    ensure!(!heard.exists());
    let id = fleet.create(&Request::TakeMaster { instance: fleet.key("c") }, false).await?;
    ensure!(carry_out(&ctx, id, "w1").await?.state == "done");
    let (b, c) = (fleet.key("b"), fleet.key("c"));
    ensure!(std::fs::read_to_string(&heard)? == format!("{c} {b} {c} {b}\n"), "{}", std::fs::read_to_string(&heard)?);
    let audit = store::audit::page(&ctx.pool, Some(&c), 0).await?;
    let told: Vec<&str> =
        audit.iter().filter(|one| one.audit_type == "post-take-master").map(|one| one.message.as_str()).collect();
    ensure!(told.len() == 2 && told[0].contains("[1] succeeded after"), "{told:?}");
    ensure!(told[1].contains("[0] failed with exit code 3") && told[1].ends_with("output: it is broken"), "{told:?}");
    // It has ended: whoever is given it again runs nothing.
    carry_out(&ctx, id, "w2").await?;
    ensure!(std::fs::read_to_string(&heard)?.lines().count() == 1);
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
// MariaDB shows the password of its replication user to nobody: its primary must have one first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_co_primary_is_made_in_spite_of_the_loss_of_a_worker_at_any_step(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, "a\n b").await?;
    for lost_at in 0..MOST {
        let id = fleet.create(&Request::MakeCoMaster { instance: fleet.key("b") }, false).await?;
        let lost = fleet.lose(id, lost_at).await?;
        if lost {
            println!("lost at {lost_at}: {:?}", fleet.resume(id, lost_at).await?);
        }
        assert_eq!(fleet.source_port("b").await?, fleet.topology["a"].port(), "lost at {lost_at}");
        let (server, ended) = (&fleet.topology["a"], fleet.operation(id).await?);
        let follows = replica_status(flavor, &mut server.connect_root().await?).await?;
        if ended.state == State::Done {
            assert_eq!(fleet.source_port("a").await?, fleet.topology["b"].port(), "lost at {lost_at}");
        } else {
            let running = follows.as_ref().is_some_and(harness::ReplicaStatus::is_running);
            assert!(follows.is_none() || running, "lost at {lost_at}: half done: {follows:?}, {ended:?}");
        }
        if !lost {
            ensure!(ended.state == State::Done && lost_at > 2, "{ended:?}");
            return Ok(());
        }
        server.execute("STOP REPLICA; RESET REPLICA ALL").await?;
    }
    anyhow::bail!("a co-primary in more than twenty steps")
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_relocations_at_once_one_is_refused_with_the_holder(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, THREE).await?;
    let (one, other) = (fleet.relocate("c", "b"), fleet.relocate("c", "b"));
    let (one, other) = (fleet.create(&one, false).await?, fleet.create(&other, false).await?);
    let (first, second) = tokio::join!(fleet.run(one, "w1"), fleet.run(other, "w2"));
    let outcomes = [first?, second?];
    assert_eq!(outcomes.iter().filter(|outcome| outcome.state == "done").count(), 1, "{outcomes:?}");
    let refused = outcomes.iter().find(|outcome| outcome.state == "refused").context("none was refused")?;
    let refusal = refused.refusal.as_ref().context("no reason")?;
    assert_eq!(refusal.rule, Rule::UnderMaintenance);
    assert!(refusal.reason.contains("ann@host"), "{refusal:?}");
    assert!(fleet.steps(refused.operation).await?.is_empty());

    // People hold locks, too, on the server and on the one it is to go below.
    for held in ["c", "a"] {
        let claim = Claim { owner: "bob", reason: "backup", duration: Duration::from_secs(60), holder_node: "" };
        let token = store::maintenance::begin(&fleet.ctx.pool, &fleet.key(held), claim).await?;
        let id = fleet.create(&fleet.relocate("c", "a"), false).await?;
        let outcome = fleet.run(id, "w1").await?;
        assert!(outcome.state == "refused" && outcome.error.contains("bob"), "{held}: {outcome:?}");
        assert_eq!((fleet.steps(id).await?.len(), fleet.locks().await?), (0, 1), "{held}");
        store::maintenance::end(&mut *fleet.ctx.pool.acquire().await?, token).await?;
    }
    assert_eq!(fleet.source_port("c").await?, fleet.topology["b"].port());
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_in_the_middle_costs_bounded_time(#[case] flavor: Flavor) -> Result<()> {
    let fleet = Fleet::start(flavor, THREE).await?;
    let id = fleet.create(&fleet.relocate("c", "b"), false).await?;
    let began = Instant::now();
    let freezing = async {
        while fleet.steps(id).await?.len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        fleet.topology["c"].freeze()
    };
    let (ended, frozen) = tokio::join!(fleet.run(id, "w1"), freezing);
    frozen?;
    let took = began.elapsed();
    fleet.topology["c"].thaw()?;
    let error = ended.err().context("it should have failed")?.to_string();
    assert!(took < Duration::from_secs(60), "{took:?}: {error}");
    assert!(error.contains(&fleet.key("c").to_string()), "{error}");
    assert_eq!((fleet.operation(id).await?.state, fleet.locks().await?), (State::Failed, 0));
    // Asked for again, it is done: whatever the hung server did in the end.
    let again = fleet.create(&fleet.relocate("c", "b"), false).await?;
    let outcome = fleet.run(again, "w2").await?;
    assert_eq!(outcome.state, "done", "{outcome:?}");
    Ok(())
}
