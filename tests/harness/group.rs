//! MySQL servers in one replication group, single-primary.
//!
//! The first member founds the group and is its primary; the others join one after another, because a group admits one
//! at a time anyway. Members do not rejoin by themselves: a test that restarts one says `START GROUP_REPLICATION`.

use crate::accounts::REPLICATION;
use crate::flavor::Flavor;
use crate::options::Options;
use crate::ports::{self, PortLease};
use crate::server::{HOST, Server};
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};

/// From START GROUP_REPLICATION to ONLINE. An empty group needs two seconds.
const JOIN_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// Running members of a replication group. Dropping it ends them all.
#[derive(Debug)]
pub struct Group {
    /// `group_replication_group_name`.
    pub name: String,
    /// The founder first.
    pub members: Vec<Server>,
    /// Where members talk to each other.
    _ports: Vec<PortLease>,
}

impl Group {
    /// Starts `size` servers and waits until all of them are `ONLINE` members of one group.
    pub async fn start(size: usize) -> Result<Group> {
        let ports: Vec<PortLease> = (0..size).map(|_| ports::lease_any()).collect::<Result<_>>()?;
        let seeds: Vec<String> = ports.iter().map(|lease| format!("{HOST}:{}", lease.port)).collect();
        let first = ports.first().context("a group has at least one member")?.port;
        // A UUID; groups on one machine differ in it.
        let name = format!("6a0b7c1e-0000-4000-8000-{:06x}{first:06x}", std::process::id() % 0x0100_0000);
        let starting = seeds.iter().map(|address| {
            let extra_args = arguments(&name, address, &seeds);
            Server::start_with(Flavor::MySql, Options { performance_schema: true, extra_args, ..Options::default() })
        });
        let members = futures::future::try_join_all(starting).await?;
        let group = Group { name, members, _ports: ports };
        for (index, member) in group.members.iter().enumerate() {
            join(member, index == 0).await.with_context(|| format!("{} cannot join", member.address()))?;
        }
        // Each has its own view of the others.
        for member in &group.members {
            wait_online(member, size).await?;
        }
        Ok(group)
    }
}

fn arguments(name: &str, address: &str, seeds: &[String]) -> Vec<String> {
    let options = [
        ("group-name", name),
        ("local-address", address),
        ("group-seeds", &seeds.join(",")),
        ("ip-allowlist", "127.0.0.1/32"),
        ("start-on-boot", "OFF"),
        ("single-primary-mode", "ON"),
        // Joining logs in with `caching_sha2_password`.
        ("recovery-get-public-key", "ON"),
    ];
    // loose: the server reads its options before it has loaded the plugin.
    let options = options.iter().map(|(option, value)| format!("--loose-group-replication-{option}={value}"));
    std::iter::once("--plugin-load-add=group_replication.so".to_owned()).chain(options).collect()
}

async fn join(member: &Server, founds: bool) -> Result<()> {
    let start = format!("START GROUP_REPLICATION USER = '{}', PASSWORD = '{}'", REPLICATION.user, REPLICATION.password);
    if founds {
        // Switched off again at once: a second server that founds the same group would split it.
        let (on, off) =
            ("SET GLOBAL group_replication_bootstrap_group = ON", "SET GLOBAL group_replication_bootstrap_group = OFF");
        member.execute(&format!("{on}; {start}; {off}")).await?;
    } else {
        member.execute(&start).await?;
    }
    wait_online(member, 1).await
}

/// Waits until `member` is ONLINE in its own eyes, and sees at least `size` members that are.
async fn wait_online(member: &Server, size: usize) -> Result<()> {
    let mut connection = member.connect_root().await?;
    let sql = "SELECT COALESCE(SUM(MEMBER_STATE = 'ONLINE'), 0) * \
               COALESCE(SUM(MEMBER_ID = @@server_uuid AND MEMBER_STATE = 'ONLINE'), 0) \
               FROM performance_schema.replication_group_members";
    let begun = Instant::now();
    loop {
        let online: i64 =
            sqlx::query_scalar(&format!("SELECT CAST(({sql}) AS SIGNED)")).fetch_one(&mut connection).await?;
        if usize::try_from(online)? >= size {
            return Ok(());
        }
        if begun.elapsed() > JOIN_LIMIT {
            bail!("{} sees {online} of {size} members; end of its log:\n{}", member.address(), member.log_tail());
        }
        tokio::time::sleep(POLL).await;
    }
}
