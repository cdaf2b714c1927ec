//! How soon the backend knows that a source is gone, and that its replicas have lost it; and what is no reason to think so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use config::Settings;
use domain::instance::{InstanceKey, ThreadState};
use harness::{Flavor, Mode, Options, Proxy, Server, Topology};
use jobs::{Context, Discover, ProbeShard, ProbeUrgent, Target, watch_sources};
use queue::{Attempt, Job};
use scenario::key;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

const STAR: &str = "
    a
      b
      c
      d
";

/// One process that probes some servers.
struct Process {
    ctx: Arc<Context>,
    keys: Vec<InstanceKey>,
    watching: Option<AbortOnDropHandle<()>>,
}

impl Process {
    async fn start(flavor: Flavor, keys: Vec<InstanceKey>, watches: bool) -> Result<Process> {
        let schema = harness::backend(flavor).await?.schema().await?;
        let ctx = scenario::worker_context(schema.options.clone(), Settings::default()).await?;
        store::schema::migrate(&ctx.pool).await?;
        let watching = watches
            .then(|| AbortOnDropHandle::new(tokio::spawn(watch_sources(Arc::clone(&ctx), CancellationToken::new()))));
        for key in &keys {
            Discover::by_person(key).run(Arc::clone(&ctx), Attempt::detached()).await?;
        }
        let process = Process { ctx, keys, watching };
        process.poll().await?;
        Ok(process)
    }

    /// One slot of all: what watches are made of.
    async fn poll(&self) -> Result<()> {
        let known = store::instances::read_many(&self.ctx.pool, &self.keys).await?;
        let target = |key: &InstanceKey, id| Target { id, hostname: key.hostname.clone(), port: key.port };
        let targets = known.iter().map(|one| target(&one.key, one.id)).collect();
        let shard = ProbeShard { lane: String::new(), shard: 0, targets };
        shard.run(Arc::clone(&self.ctx), Attempt::detached()).await?;
        Ok(())
    }

    /// When the backend knows that the first is gone, and that no other's receiver runs.
    async fn known_lost(&self, limit: Duration) -> Result<(Instant, Instant)> {
        let mut failed = None;
        let began = Instant::now();
        while began.elapsed() < limit {
            let known = store::instances::read_many(&self.ctx.pool, &self.keys).await?;
            let (first, others): (Vec<_>, Vec<_>) = known.iter().partition(|one| one.key == self.keys[0]);
            ensure!(first.len() == 1 && others.len() + 1 == self.keys.len(), "all are known");
            if failed.is_none() && first[0].check.failures > 0 {
                failed = Some(Instant::now());
            }
            let have_lost = others.iter().all(|one| one.facts.threads().0 != ThreadState::Running);
            if let (Some(failed), true) = (failed, have_lost) {
                return Ok((failed, Instant::now()));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        bail!("not known within {limit:?}; known failed: {}", failed.is_some())
    }

    /// Failed observations so far, of all.
    async fn failures(&self) -> Result<u32> {
        let known = store::instances::read_many(&self.ctx.pool, &self.keys).await?;
        Ok(known.iter().map(|one| one.check.failures).sum())
    }

    fn probes_failed(&self) -> u64 {
        self.ctx.prober.stats().failures.values().sum()
    }
}

#[rstest::rstest]
#[case(Flavor::MariaDb)]
#[case(Flavor::MySql)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_is_known_with_all_its_replicas_at_once(#[case] flavor: Flavor) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..3 {
        let star = Topology::start(flavor, STAR).await?;
        let here = Process::start(flavor, star.servers.iter().map(|(_, server)| key(server)).collect(), true).await?;
        ensure!(here.watching.is_some());
        // The watch begins a moment after the probe that asked for it.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let killed = Instant::now();
        star["a"].kill()?;
        let (failed, lost) = here.known_lost(Duration::from_secs(5)).await?;
        println!("{flavor:?}: known dead after {:?}, known lost by all after {:?}", failed - killed, lost - killed);
        times.push((failed - killed, lost - killed));
        tokio::time::timeout(Duration::from_secs(1), here.ctx.news.rung()).await?;
    }
    times.sort();
    let (failed, lost) = times[times.len() / 2];
    assert!(failed < Duration::from_millis(250), "{times:?}");
    assert!(lost < Duration::from_millis(400), "{times:?}");
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MariaDb)]
#[case(Flavor::MySql)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_primary_is_known_soon_and_one_that_wakes_up_is_well(#[case] flavor: Flavor) -> Result<()> {
    let pair = Topology::start(flavor, "a\n  b").await?;
    let here = Process::start(flavor, vec![key(&pair["a"])], true).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let frozen = Instant::now();
    pair["a"].freeze()?;
    let (failed, _) = here.known_lost(Duration::from_secs(6)).await?;
    println!("{flavor:?}: known frozen after {:?}", failed - frozen);
    assert!(failed - frozen < Duration::from_secs(3), "{:?}", failed - frozen);
    pair["a"].thaw()?;
    // The rounds go on and find it well.
    let thawed = Instant::now();
    while here.failures().await? > 0 {
        ensure!(thawed.elapsed() < Duration::from_secs(4), "it is well again and nobody noticed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("{flavor:?}: known well {:?} after it woke up", thawed.elapsed());
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MariaDb)]
#[case(Flavor::MySql)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_shard_finds_gone_is_followed_up_too(#[case] flavor: Flavor) -> Result<()> {
    let pair = Topology::start(flavor, "a\n  b").await?;
    let here = Process::start(flavor, pair.servers.iter().map(|(_, server)| key(server)).collect(), true).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    // As above the budget of connections: there is none to watch.
    here.ctx.prober.forget(&key(&pair["a"]));
    here.poll().await?;
    here.ctx.prober.forget(&key(&pair["a"]));
    pair["a"].kill()?;
    here.poll().await?;
    let polled = Instant::now();
    let (_, lost) = here.known_lost(Duration::from_secs(5)).await?;
    assert!(lost - polled < Duration::from_millis(1500), "{:?}", lost - polled);
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MariaDb)]
#[case(Flavor::MySql)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_connections_and_short_stalls_are_no_failures(#[case] flavor: Flavor) -> Result<()> {
    // A server that ends idle connections, and a network that stalls now and then.
    let proxy = Proxy::start(1).await?;
    let options = Options {
        report_port: Some(proxy.port()),
        extra_args: vec!["--wait-timeout=2".to_owned()],
        ..Options::default()
    };
    let source = Server::start_with(flavor, options).await?;
    proxy.set_target(source.port());
    let replica = Server::start(flavor).await?;
    harness::replicate(&replica, &source, harness::Link::default()).await?;
    let via = InstanceKey::new(harness::HOST, proxy.port());
    let here = Process::start(flavor, vec![via], true).await?;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(8) {
        tokio::time::sleep(Duration::from_millis(700)).await;
        proxy.set(Mode::Stall).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        proxy.set(Mode::Pass).await?;
        assert_eq!((here.failures().await?, here.probes_failed()), (0, 0));
    }
    let opened = here.ctx.prober.stats().connections_opened;
    println!("{flavor:?}: {opened} connections opened in 8 s");
    // Without questions in between (taken up within a second) the server ends the connection every two seconds.
    let mut settings = Settings::default();
    settings.probe.primary_watch_seconds = 0;
    here.ctx.config.replace(settings);
    here.poll().await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((here.failures().await?, here.probes_failed()), (0, 0));
    let opened = here.ctx.prober.stats().connections_opened - opened;
    assert!((1..=6).contains(&opened), "{opened} connections in 6 s");
    Ok(())
}

#[rstest::rstest]
#[case(Flavor::MariaDb)]
#[case(Flavor::MySql)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_urgent_job_settles_a_suspicion(#[case] flavor: Flavor) -> Result<()> {
    let pair = Topology::start(flavor, "a\n  b").await?;
    let here = Process::start(flavor, pair.servers.iter().map(|(_, server)| key(server)).collect(), false).await?;
    let ask = async || {
        let began = Instant::now();
        let job = ProbeUrgent::new("a", here.keys.clone());
        let report = job.run(Arc::clone(&here.ctx), Attempt::detached()).await?;
        println!("{flavor:?}: {report} after {:?}", began.elapsed());
        anyhow::Ok(report["verdict"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(ask().await?, "alive");
    pair["b"]
        .execute(match flavor {
            Flavor::MySql => "STOP REPLICA SQL_THREAD",
            Flavor::MariaDb => "STOP SLAVE SQL_THREAD",
        })
        .await?;
    assert_eq!(ask().await?, "alive", "an applier says nothing about its source");
    pair["a"].freeze()?;
    // The replica still believes in its connection.
    assert_eq!(ask().await?, "open");
    pair["a"].thaw()?;
    assert_eq!(ask().await?, "alive");
    pair["a"].kill()?;
    assert_eq!(ask().await?, "lost");
    here.known_lost(Duration::from_millis(500)).await?;
    // Twice does no harm.
    let (one, other) = tokio::join!(ask(), ask());
    assert_eq!((one?.as_str(), other?.as_str()), ("lost", "lost"));
    assert_eq!(
        ProbeUrgent::new("nobody", []).run(Arc::clone(&here.ctx), Attempt::detached()).await?["verdict"],
        "alive"
    );
    Ok(())
}
