//! The network stumbles, again and again, for less than `FailureConfirmationSeconds`: nobody is replaced and replication goes
//! on. Then a primary really dies, and is.
//!
//! Everybody reaches a primary through one proxy, the fleet and the replicas alike: what the fleet does not hear, no replica
//! hears either, so that nothing but time tells a glitch from a death.
//!
//! `ORCHESTRATOR_GLITCHES=1000` is the long form: so many, on three clusters of each flavour at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use harness::{Flavor, Link, Member, Mode, Proxy, Server, Topology, Writer, parse, replica_status};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use scenario::{Fleet, wait};
use serde_json::json;
use sqlx::MySqlPool;

const LIMIT: Duration = Duration::from_secs(60);
/// Seconds.
const CONFIRMATION: u64 = 2;
const SHORTEST_MS: u64 = 200;
const LONGEST_MS: u64 = 1000;
/// Between two glitches of one cluster, at least: enough to be heard again.
const BREATH_MS: u64 = 500;
const LONGEST_BREATH_MS: u64 = 1200;
const IN_CI: usize = 50;
/// Between two rows of an application.
const PAUSE: Duration = Duration::from_millis(20);
/// A dead primary is replaced within the confirmation and this.
const REPLACED: Duration = Duration::from_secs(13);

/// A primary behind a proxy, and its two replicas.
struct Cluster {
    topology: Topology,
    proxy: Proxy,
    seed: u64,
}

impl Cluster {
    async fn start(flavor: Flavor, seed: u64) -> Result<Self> {
        let proxy = Proxy::start(1).await?;
        let mut members: Vec<Member> = parse("a\n  b\n  c")?;
        for member in &mut members {
            match member.source.take() {
                None => member.options.report_port = Some(proxy.port()),
                Some(_) => member.options.extra_args.push(net_timeout(flavor)),
            }
        }
        let topology = Topology::start_members(flavor, &members).await?;
        proxy.set_target(topology["a"].port());
        for replica in ["b", "c"] {
            topology.link(replica, "a", Link { via_port: Some(proxy.port()), ..Link::default() }).await?;
        }
        Ok(Self { topology, proxy, seed })
    }

    /// The primary as everybody knows it.
    fn primary(&self) -> String {
        format!("{}:{}", harness::HOST, self.proxy.port())
    }

    fn servers(&self) -> Vec<&Server> {
        self.topology.servers.iter().map(|(_, server)| server).collect()
    }

    /// Stumbles until the fleet of clusters has done so often enough.
    async fn stumble(&self, left: &AtomicUsize) -> Result<usize> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut count = 0;
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            let mode = match random.random_range(0..8) {
                0..=4 => Mode::Stall,
                5 => Mode::Refuse,
                6 => Mode::CloseAfter(0),
                _ => Mode::StallAfter(random.random_range(0..200)),
            };
            self.proxy.set(mode).await?;
            tokio::time::sleep(Duration::from_millis(random.random_range(SHORTEST_MS..=LONGEST_MS))).await;
            self.proxy.set(Mode::Pass).await?;
            count += 1;
            tokio::time::sleep(Duration::from_millis(random.random_range(BREATH_MS..=LONGEST_BREATH_MS))).await;
            // Every other time the next one comes whether the replicas are well again or not.
            if random.random_bool(0.5) {
                self.replicates().await.with_context(|| format!("after {count} glitches, the last: {mode:?}"))?;
            }
        }
        self.proxy.set(Mode::Pass).await?;
        Ok(count)
    }

    /// Waits until both replicas run, below the proxy.
    async fn replicates(&self) -> Result<()> {
        for name in ["b", "c"] {
            let server = &self.topology[name];
            wait::until(&format!("{name} replicates"), LIMIT, || async {
                let status = replica_status(server.flavor(), &mut server.connect_root().await?).await?;
                let status = status.context("no replica any more")?;
                ensure!(status.source_port == self.proxy.port(), "{name} replicates from port {}", status.source_port);
                Ok(status.is_running().then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// Nobody was opened or closed.
    async fn untouched(&self) -> Result<()> {
        for (name, server) in &self.topology.servers {
            let read_only = ["1", "ON"].contains(&server.value("@@GLOBAL.read_only").await?.as_str());
            ensure!(read_only == (name != "a"), "{name}: read_only is {read_only}");
        }
        Ok(())
    }
}

/// Replicas that give up as soon as servers let them: by default they wait for a minute, and would speak for their source.
fn net_timeout(flavor: Flavor) -> String {
    match flavor {
        Flavor::MySql => "--replica-net-timeout=1".to_owned(),
        Flavor::MariaDb => "--slave-net-timeout=1".to_owned(),
    }
}

async fn count(pool: &MySqlPool, table: &str) -> Result<i64> {
    Ok(sqlx::query_scalar(&format!("SELECT COUNT(*) FROM {table}")).fetch_one(pool).await?)
}

async fn diagnosis(fleet: &Fleet, pool: &MySqlPool) -> String {
    let sql = "SELECT CONCAT(r.id, ' ', r.code, ' of ', r.hostname, ':', r.port, ' ', r.phase, ' ', r.outcome, ' ', r.errors) FROM recovery r \
               UNION ALL SELECT CONCAT(e.recovery_id, ' ', e.noted_at, ' ', e.kind, ': ', e.text) FROM recovery_event e \
               UNION ALL SELECT CONCAT('detection ', d.started_at, ' ', d.code, ' of ', d.hostname, ':', d.port) FROM detection d";
    let lines: Vec<String> = sqlx::query_scalar(sql).fetch_all(pool).await.unwrap_or_default();
    format!("{}\n{}", lines.join("\n"), fleet.log_tail("service"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn glitches_replace_nobody_and_a_death_does() -> Result<()> {
    let long = std::env::var("ORCHESTRATOR_GLITCHES").ok();
    let glitches = long.as_deref().map_or(Ok(IN_CI), str::parse).context("ORCHESTRATOR_GLITCHES is a number")?;
    let of_each = if long.is_some() { 3 } else { 1 };
    let mut fleet = Fleet::new(
        Flavor::MariaDb,
        json!({
            "RecoverMasterClusterFilters": ["*"],
            "RecoverIntermediateMasterClusterFilters": ["*"],
            "FailureConfirmationSeconds": CONFIRMATION,
        }),
    )
    .await?;
    let flavors = std::iter::repeat_n(Flavor::ALL, of_each).flatten();
    let clusters = try_join_all(flavors.zip(1..).map(|(flavor, seed)| Cluster::start(flavor, seed))).await?;
    fleet.service("service", &[]).await?;
    let pool = fleet.pool().await?;
    let seeds: Vec<String> = clusters.iter().map(Cluster::primary).collect();
    fleet.ok(&["-c", "discover", "-i", &seeds.join(",")]).await?;
    let mut writers = Vec::new();
    for cluster in &clusters {
        known(&fleet, cluster).await?;
        writers.push(Writer::start_on_any(&cluster.servers(), 1, PAUSE).await?);
    }

    let begun = Instant::now();
    let left = Arc::new(AtomicUsize::new(glitches));
    let stumbled = try_join_all(clusters.iter().map(|cluster| cluster.stumble(&left))).await;
    let stumbled: usize = match stumbled {
        Ok(counts) => counts.iter().sum(),
        Err(error) => bail!("{error:#}\n{}", diagnosis(&fleet, &pool).await),
    };
    let (recoveries, detections) = (count(&pool, "recovery").await?, count(&pool, "detection").await?);
    println!(
        "{stumbled} glitches in {:.0} s on {} clusters: {recoveries} recoveries, {detections} detections",
        begun.elapsed().as_secs_f64(),
        clusters.len()
    );
    ensure!(recoveries == 0, "{recoveries} recoveries\n{}", diagnosis(&fleet, &pool).await);
    for cluster in &clusters {
        cluster.untouched().await?;
        cluster.replicates().await?;
    }

    for (cluster, mut writer) in clusters.iter().zip(writers) {
        dies(cluster, &mut writer).await.with_context(|| format!("{}", cluster.topology.flavor))?;
    }
    let all = i64::try_from(clusters.len())?;
    let recovered = wait::until("all deaths are recovered", LIMIT, || async {
        let sql = "SELECT COUNT(*) FROM recovery WHERE is_successful = 1 AND ended_at IS NOT NULL";
        let recovered: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await?;
        Ok((recovered == all).then_some(()))
    });
    if let Err(error) = recovered.await {
        bail!("{error:#}\n{}", diagnosis(&fleet, &pool).await);
    }
    ensure!(count(&pool, "recovery").await? == all, "{}", diagnosis(&fleet, &pool).await);
    Ok(())
}

async fn known(fleet: &Fleet, cluster: &Cluster) -> Result<()> {
    let primary = cluster.primary();
    let all = ["b", "c"].map(|name| cluster.topology[name].address());
    wait::until("all are known as one cluster", LIMIT, || async {
        let members = fleet.run(&["-c", "which-cluster-instances", "-i", &primary]).await?.stdout;
        Ok((members.lines().count() == 3 && all.iter().all(|one| members.lines().any(|line| line == one)))
            .then_some(()))
    })
    .await
    .with_context(|| fleet.log_tail("service"))
}

/// The primary is killed; another takes rows after the confirmation.
async fn dies(cluster: &Cluster, writer: &mut Writer) -> Result<()> {
    let old = &cluster.topology["a"];
    let at = Instant::now();
    old.kill()?;
    let after = wait::until("rows are taken again", LIMIT, || async {
        Ok(writer.rows().into_iter().find(|row| row.at > at && row.server != old.address()))
    })
    .await?;
    let outage = after.at - at;
    println!("{}: a death: {:.2} s", cluster.topology.flavor, outage.as_secs_f64());
    ensure!(outage >= Duration::from_secs(CONFIRMATION), "replaced before it was confirmed: {outage:?}");
    ensure!(outage <= Duration::from_secs(CONFIRMATION) + REPLACED, "{outage:?}");
    Ok(())
}
