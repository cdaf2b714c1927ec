//! Workers pinned to datacenters: each probes only its own; when dc2's are gone, dc1's take over, and give back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::Flavor;
use scenario::{Fleet, wait};
use serde_json::json;
use simulator::FleetSpec;

/// Connections of a process to a port, by remote address: from the process's descriptors and the kernel's TCP table.
fn connected_to(pid: u32, port: u16) -> Result<BTreeSet<Ipv4Addr>> {
    let mut sockets = BTreeSet::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        let Ok(target) = std::fs::read_link(entry?.path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        if let Some(inode) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
            sockets.insert(inode.to_owned());
        }
    }
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp"))?;
    let mut remotes = BTreeSet::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (remote, state, inode) = (fields[2], fields[3], fields[9]);
        let (address, remote_port) = remote.split_once(':').context("address:port")?;
        if state == "01" && u16::from_str_radix(remote_port, 16)? == port && sockets.contains(inode) {
            remotes.insert(Ipv4Addr::from(u32::from_str_radix(address, 16)?.swap_bytes()));
        }
    }
    Ok(remotes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_keep_to_their_datacenters_while_others_live() -> Result<()> {
    let spec = FleetSpec { servers: 40, datacenters: vec!["dc1".to_owned(), "dc2".to_owned()], ..FleetSpec::default() };
    let servers = simulator::Fleet::new(spec)?;
    let datacenters: BTreeMap<Ipv4Addr, String> =
        (0..40).filter_map(|n| Some((*servers.address(n)?.ip(), servers.datacenter(n)?.to_owned()))).collect();
    let of = |dc: &str| -> BTreeSet<Ipv4Addr> {
        datacenters.iter().filter(|(_, name)| *name == dc).map(|(address, _)| *address).collect()
    };
    let settings = json!({ "DetectDataCenterQuery": "SELECT datacenter FROM meta.instance" });
    let mut fleet = Fleet::new(Flavor::MariaDb, settings).await?;
    fleet.service("service", &["--no-worker"]).await?;
    fleet.worker("w1", &["--datacenter", "dc1"]).await?;
    fleet.worker("w2", &["--datacenter", "dc2"]).await?;
    let seeds = servers.seeds().iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    fleet.ok(&["submit", "discover", "-i", &seeds]).await?;
    let everything: BTreeSet<Ipv4Addr> = datacenters.keys().copied().collect();
    let (dc1, dc2) = (of("dc1"), of("dc2"));
    let probes = |fleet: &Fleet, worker: &str| connected_to(fleet.pid(worker)?, servers.port());

    wait::until("each worker probes its own datacenter, and only that", Duration::from_secs(60), || async {
        Ok((probes(&fleet, "w1")? == dc1 && probes(&fleet, "w2")? == dc2).then_some(()))
    })
    .await?;

    fleet.kill("w2")?;
    wait::until("dc1's worker takes over", Duration::from_secs(30), || async {
        Ok((probes(&fleet, "w1")? == everything).then_some(()))
    })
    .await?;
    let pool = fleet.pool().await?;
    wait::until("dc2 is fresh again", Duration::from_secs(10), || async {
        let stale: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM instance WHERE lane = 'dc2' AND last_seen_at < NOW(6) - INTERVAL 3 SECOND",
        )
        .fetch_one(&pool)
        .await?;
        Ok((stale == 0).then_some(()))
    })
    .await?;

    fleet.worker("w2", &["--datacenter", "dc2"]).await?;
    wait::until("dc1's worker gives back", Duration::from_secs(60), || async {
        Ok((probes(&fleet, "w1")? == dc1 && probes(&fleet, "w2")? == dc2).then_some(()))
    })
    .await
}
