//! The scripts of the runbooks, as an operator runs them, on a real topology of two datacenters.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Flavor, Topology, replica_status};
use scenario::{Fleet, Output, wait};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(30);

struct Runbooks {
    topology: Topology,
    fleet: Fleet,
}

impl Runbooks {
    /// `a` and what hangs directly below it is in dc2, but for `b` and `e`, which are in dc1.
    async fn start() -> Result<Self> {
        let topology = Topology::start(Flavor::MariaDb, "a\n  b\n    d\n    e\n  c").await?;
        let inside = format!("{},{}", topology["b"].port(), topology["e"].port());
        let query = format!("SELECT IF(@@port IN ({inside}), 'dc1', 'dc2')");
        let mut fleet = Fleet::new(Flavor::MariaDb, json!({ "DetectDataCenterQuery": query })).await?;
        fleet.service("service", &[]).await?;
        fleet.ok(&["-c", "discover", "-i", &topology["a"].address()]).await?;
        let all = Self { topology, fleet };
        wait::until("five servers in one cluster, with their datacenters", LIMIT, || async {
            let known = all.fleet.ok(&["-c", "all-instances", "--json"]).await?;
            let placed = known.matches("\"DataCenter\":\"dc").count();
            let members = all.fleet.ok(&["-c", "which-cluster-instances", "-i", &all.address("a")]).await?;
            Ok((placed == 5 && members.lines().count() == 5).then_some(()))
        })
        .await?;
        Ok(all)
    }

    fn address(&self, name: &str) -> String {
        self.topology[name].address()
    }

    async fn run(&self, script: &str, args: &[&str]) -> Result<Output> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ops/bin").join(script);
        self.fleet.run_script(&path, args).await
    }

    async fn ok(&self, script: &str, args: &[&str]) -> Result<Output> {
        let output = self.run(script, args).await?;
        ensure!(output.code == 0, "{script} {args:?} exited with {}: {}", output.code, output.stderr);
        Ok(output)
    }

    /// Who replicates from whom, by the servers' own word.
    async fn source_port(&self, name: &str) -> Result<u16> {
        let mut conn = self.topology[name].connect_root().await?;
        let status = replica_status(self.topology.flavor, &mut conn).await?;
        Ok(status.with_context(|| format!("{name} is no replica"))?.source_port)
    }

    async fn check(&self, tree: &[(&str, &str)]) -> Result<()> {
        for (name, source) in tree {
            let (found, wanted) = (self.source_port(name).await?, self.topology[*source].port());
            ensure!(found == wanted, "{name} replicates from port {found}, not from {source} ({wanted})");
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scripts_do_what_their_runbook_says() -> Result<()> {
    let all = Runbooks::start().await?;
    for script in ["move-replicas-off", "rotate-out", "rotate-in", "drain-datacenter"] {
        ensure!(all.ok(script, &["--help"]).await?.stdout.contains(script), "{script} explains itself");
        ensure!(all.run(script, &[]).await?.code == 1, "{script} needs to be told what to work on");
    }

    // dc1 is drained: d leaves b, e stays. Said first, done then, nothing left to do afterwards.
    let plan = all.ok("drain-datacenter", &["dc1", "--dry-run"]).await?.stdout;
    let expected = format!("{}: from {} to {}\n", all.address("d"), all.address("b"), all.address("a"));
    ensure!(plan == expected, "{plan:?}");
    all.check(&[("d", "b")]).await?;
    all.ok("drain-datacenter", &["dc1"]).await?;
    all.check(&[("b", "a"), ("c", "a"), ("d", "a"), ("e", "b")]).await?;
    ensure!(all.ok("drain-datacenter", &["dc1"]).await?.stderr.contains("0 moved"), "nothing is left to do");
    // The primary is in dc2: that is for people.
    let stuck = all.run("drain-datacenter", &["dc2"]).await?;
    ensure!(stuck.code == 2 && stuck.stderr.contains("primary"), "{stuck:?}");
    ensure!(all.run("drain-datacenter", &["dc9"]).await?.stderr.contains("no known server"), "a typing mistake");

    // b goes out for a backup, and comes back.
    let b = all.address("b");
    let plan = all.ok("move-replicas-off", &[&b, "--dry-run"]).await?.stdout;
    ensure!(plan.contains(&all.address("e")), "{plan}");
    all.ok("rotate-out", &[&b, "--reason", "backup"]).await?;
    all.check(&[("b", "a"), ("e", "a")]).await?;
    ensure!(all.fleet.ok(&["-c", "in-maintenance", "-i", &b]).await?.trim() == b, "locked");
    let blocked = all.fleet.run(&["-c", "start-replica", "-i", &b]).await?;
    ensure!(blocked.code != 0 && blocked.stderr.contains("backup"), "the lock names its reason: {}", blocked.stderr);
    all.ok("rotate-in", &[&b, "--wait", "60"]).await?;
    ensure!(all.fleet.ok(&["-c", "is-replicating", "-i", &b]).await?.trim() == b, "replicates");
    ensure!(all.fleet.ok(&["-c", "in-maintenance", "-i", &b]).await?.is_empty(), "free");
    ensure!(all.fleet.ok(&["-c", "which-downtimed-instances"]).await?.is_empty(), "in service");

    // The primary has no source to give its replicas to.
    let primary = all.run("move-replicas-off", &[&all.address("a")]).await?;
    ensure!(primary.code == 1 && primary.stderr.contains("--to"), "{primary:?}");
    Ok(())
}
