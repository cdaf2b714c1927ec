//! The game day of the runbook: a failover rehearsed on a sandbox, twice, and all that it must refuse to touch.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Flavor, Server, Topology, sandbox};
use scenario::{Fleet, Output, wait};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(30);
const REPLICAS: usize = 2;

/// A sandbox that goes with the test, also when that fails.
struct Sandbox {
    dir: tempfile::TempDir,
}

impl Sandbox {
    fn path(&self) -> PathBuf {
        self.dir.path().join("servers")
    }

    /// Addresses of the servers that run, with whether they refuse writes.
    async fn running(&self) -> Result<Vec<(String, bool)>> {
        let servers = sandbox::status(&self.path()).await?;
        Ok(servers.into_iter().filter_map(|one| Some((one.address, one.read_only?))).collect())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let path = self.path();
        // The test's own runtime is about to end.
        let ended = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(sandbox::down(&path))
        });
        if let Ok(Err(error)) = ended.join() {
            eprintln!("a sandbox is left behind: {error:#}");
        }
    }
}

async fn play(fleet: &Fleet, sandbox: &Path, args: &[&str]) -> Result<Output> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ops/bin/game-day");
    let dir = sandbox.to_str().context("a path")?;
    fleet.run_script(&script, &[&["--sandbox", dir], args].concat()).await
}

/// It must refuse, and say this.
async fn refused(fleet: &Fleet, sandbox: &Path, args: &[&str], because: &str) -> Result<()> {
    let output = play(fleet, sandbox, args).await?;
    ensure!(output.code == 1 && output.stderr.contains("refused: "), "{args:?}: {output:?}");
    ensure!((output.stderr + &output.stdout).contains(because), "{args:?}: not because of {because}");
    Ok(())
}

/// All replicate from a primary that is the only one to take writes.
async fn whole(fleet: &Fleet, sandbox: &Sandbox) -> Result<String> {
    wait::until("one primary, all others replicate", LIMIT, || async {
        let running = sandbox.running().await?;
        let open: Vec<&String> =
            running.iter().filter(|(_, read_only)| !read_only).map(|(address, _)| address).collect();
        let drawing = fleet.run(&["-c", "topology", "-alias", "gameday"]).await?.stdout;
        let replicate = drawing.lines().filter(|line| line.trim_start().starts_with('+')).count();
        let good = running.len() == REPLICAS + 1 && open.len() == 1 && replicate == REPLICAS;
        Ok(good.then(|| open[0].clone()))
    })
    .await
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_game_day_replaces_the_primary_of_a_sandbox_and_of_nothing_else(#[case] flavor: Flavor) -> Result<()> {
    // Servers of somebody else.
    let others = Topology::start(Flavor::MariaDb, "x").await?;
    let other: &Server = &others["x"];
    let settings = json!({
        "RecoverMasterClusterFilters": ["*"],
        "RejoinFormerPrimary": ["alias=gameday"],
        "DetectClusterAliasQuery": format!("SELECT IF(@@port = {}, 'other', 'gameday')", other.port()),
        "DiscoverByShowSlaveHosts": true,
        // No table of MariaDB tells a replica's password.
        "ReplicationCredentialsQuery": scenario::credentials_query(),
    });
    let mut fleet = Fleet::new(Flavor::MariaDb, settings).await?;
    fleet.service("service", &[]).await?;
    let sandbox = Sandbox { dir: tempfile::tempdir()? };
    let path = sandbox.path();
    refused(&fleet, &path, &[], "there is no sandbox").await?;
    ensure!(play(&fleet, &path, &["--help"]).await?.stdout.contains("Rehearses a failover"), "it explains itself");
    ensure!(play(&fleet, &path, &["--force"]).await?.code == 1, "an unknown word");

    let up = sandbox::up(flavor, REPLICAS, &path).await?;
    let first = up.servers[0].address();
    refused(&fleet, &path, &["--alias", "gameday"], "no cluster gameday").await?;
    fleet.ok(&["-c", "discover", "-i", &first]).await?;
    ensure!(whole(&fleet, &sandbox).await? == first, "as it was started");

    fleet.ok(&["-c", "discover", "-i", &other.address()]).await?;
    wait::until("the other cluster is known", LIMIT, || async {
        Ok((fleet.run(&["-c", "which-cluster-master", "-alias", &other.address()]).await?.code == 0).then_some(()))
    })
    .await?;
    refused(&fleet, &path, &["--alias", &other.address()], "is none of the servers in").await?;
    other.execute("SELECT 1").await?;

    // Nobody would take over.
    fleet.ok(&["-c", "disable-global-recoveries"]).await?;
    refused(&fleet, &path, &["--alias", "gameday"], "CLOSED global-switch").await?;
    fleet.ok(&["-c", "enable-global-recoveries"]).await?;

    let said = play(&fleet, &path, &["--alias", "gameday", "--dry-run"]).await?;
    ensure!(said.code == 0 && said.stderr.contains("would kill process") && said.stderr.contains(&first), "{said:?}");
    ensure!(whole(&fleet, &sandbox).await? == first, "nobody was killed");

    let mut primary = first;
    for _ in 0..2 {
        let told = play(&fleet, &path, &["--alias", "gameday"]).await?;
        ensure!(told.code == 0, "{told:?}");
        let successor = fleet.ok(&["-c", "which-cluster-master", "-alias", "gameday"]).await?.trim().to_owned();
        ensure!(successor != primary, "{told:?}");
        let expected = format!(
            "Old primary: {primary}, killed. New primary: {successor}.\nOutage:      clients could not write for"
        );
        ensure!(told.stdout.contains(&expected), "{}", told.stdout);
        ensure!(told.stdout.contains("game-day --restore --sandbox"), "{}", told.stdout);
        let running = sandbox.running().await?;
        ensure!(
            running.iter().all(|(address, _)| *address != primary) && running.contains(&(successor.clone(), false))
        );
        refused(&fleet, &path, &["--alias", "gameday"], "--restore starts them again").await?;
        let restored = play(&fleet, &path, &["--restore"]).await?;
        ensure!(restored.code == 0, "{restored:?}");
        ensure!(whole(&fleet, &sandbox).await? == successor, "the old one has come back as a replica");
        primary = successor;
    }
    Ok(())
}
