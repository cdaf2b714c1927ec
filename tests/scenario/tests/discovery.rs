//! One seed of each kind of real topology: every member is found, and what we say of it is what the server itself says.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::{Flavor, Server, Topology};
use scenario::{Fleet, wait};
use serde_json::{Value, json};
use sqlx::Row;

const LIMIT: Duration = Duration::from_secs(60);

/// What a server says when asked directly.
struct Truth<'a> {
    server: &'a Server,
    flavor: Flavor,
}

impl Truth<'_> {
    async fn scalar(&self, sql: &str) -> Result<String> {
        let mut conn = self.server.connect_root().await?;
        let value: Option<String> =
            sqlx::query_scalar(&format!("SELECT CAST(({sql}) AS CHAR)")).fetch_one(&mut conn).await?;
        Ok(value.unwrap_or_default())
    }

    /// A column of the replica status; `None` for a server that is no replica.
    async fn status(&self, mysql: &str, mariadb: &str) -> Result<Option<String>> {
        let mut conn = self.server.connect_root().await?;
        let (statement, column) = match self.flavor {
            Flavor::MySql => ("SHOW REPLICA STATUS", mysql),
            Flavor::MariaDb => ("SHOW SLAVE STATUS", mariadb),
        };
        let rows = sqlx::raw_sql(statement).fetch_all(&mut conn).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let text = row.try_get_unchecked::<Option<String>, _>(column);
        Ok(match text {
            Ok(text) => text,
            Err(_) => row.try_get_unchecked::<Option<u64>, _>(column)?.map(|number| number.to_string()),
        })
    }

    fn is_mysql(&self) -> bool {
        self.flavor == Flavor::MySql
    }
}

fn on(text: &str) -> bool {
    matches!(text, "1" | "ON" | "Yes")
}

/// Compares one instance record with its server.
async fn check_attributes(record: &Value, truth: &Truth<'_>) -> Result<()> {
    let same = |field: &str, wanted: Value| {
        let found = &record[field];
        if *found == wanted {
            Ok(())
        } else {
            bail!("{}: {field} is {found}, the server says {wanted}", truth.server.address())
        }
    };
    let server = truth.server;
    same("Key", json!({ "Hostname": server.host(), "Port": server.port() }))?;
    same("ServerID", json!(truth.scalar("@@server_id").await?.parse::<u64>()?))?;
    same("Version", json!(truth.scalar("@@version").await?))?;
    same("VersionComment", json!(truth.scalar("@@version_comment").await?))?;
    same("FlavorName", json!(if truth.is_mysql() { "MySQL" } else { "MariaDB" }))?;
    same("ReadOnly", json!(on(&truth.scalar("@@global.read_only").await?)))?;
    same("Binlog_format", json!(truth.scalar("@@global.binlog_format").await?))?;
    same("LogBinEnabled", json!(on(&truth.scalar("@@global.log_bin").await?)))?;
    let updates = if truth.is_mysql() { "@@global.log_replica_updates" } else { "@@global.log_slave_updates" };
    same("LogReplicationUpdatesEnabled", json!(on(&truth.scalar(updates).await?)))?;
    if truth.is_mysql() {
        same("ServerUUID", json!(truth.scalar("@@server_uuid").await?))?;
        same("GTIDMode", json!(truth.scalar("@@global.gtid_mode").await?))?;
        same("SupportsOracleGTID", json!(true))?;
        same("ExecutedGtidSet", json!(truth.scalar("@@global.gtid_executed").await?.replace('\n', "")))?;
        same("BinlogRowImage", json!(truth.scalar("@@global.binlog_row_image").await?))?;
    }
    let port = truth.status("Source_Port", "Master_Port").await?;
    let source = match &port {
        None => json!({ "Hostname": "", "Port": 0 }),
        Some(port) => json!({ "Hostname": server.host(), "Port": port.parse::<u16>()? }),
    };
    same("MasterKey", source)?;
    if port.is_some() {
        same("ReplicationIOThreadRuning", json!(true))?;
        same("ReplicationSQLThreadRuning", json!(true))?;
        same("UsingOracleGTID", json!(truth.is_mysql()))?;
        same("UsingMariaDBGTID", json!(!truth.is_mysql()))?;
        let delay = truth.status("SQL_Delay", "SQL_Delay").await?.context("SQL_Delay")?;
        same("SQLDelay", json!(delay.parse::<u64>()?))?;
        if truth.is_mysql() {
            same("MasterUUID", json!(truth.status("Source_UUID", "").await?.context("uuid")?))?;
        }
    }
    same("GtidErrant", json!(""))?;
    same("IsLastCheckValid", json!(true))?;
    // A delayed replica that has nothing to apply is far from its delay, which has always counted as a problem.
    let is_delayed = record["SQLDelay"].as_u64().unwrap_or(0) > 0;
    same("Problems", if is_delayed { json!(["replication_lag"]) } else { json!([]) })
}

async fn record(fleet: &Fleet, server: &Server) -> Result<Value> {
    let (status, body) = fleet.get("service", &format!("/api/instance/{}/{}", server.host(), server.port())).await?;
    if status != 200 {
        bail!("{status}: {body}");
    }
    Ok(serde_json::from_str(&body)?)
}

/// Discovers from `seed`, waits for every member, compares them all; gives the drawn topology.
async fn discover(fleet: &Fleet, topology: &Topology, seed: &str) -> Result<String> {
    fleet.ok(&["-c", "discover", "-i", &topology[seed].address()]).await?;
    for (name, server) in &topology.servers {
        let truth = Truth { server, flavor: topology.flavor };
        wait::until(&format!("{name} is known as it is"), LIMIT, || async {
            let record = record(fleet, server).await?;
            check_attributes(&record, &truth).await?;
            Ok(Some(()))
        })
        .await?;
    }
    wait::until("the topology is placed", LIMIT, || async {
        let text = fleet.ok(&["-c", "topology", "-i", &topology[seed].address()]).await?;
        Ok((text.lines().count() == topology.servers.len()).then_some(text))
    })
    .await
}

/// The drawing with ports replaced by names and descriptions cut off.
fn shape(text: &str, topology: &Topology) -> String {
    let mut text: String =
        text.lines().map(|line| line.split(" [").next().unwrap_or("").trim_end().to_owned() + "\n").collect();
    for (name, server) in &topology.servers {
        text = text.replace(&server.address(), name);
    }
    text
}

async fn started(backend: Flavor) -> Result<Fleet> {
    let mut fleet = Fleet::new(backend, json!({ "DiscoverByShowSlaveHosts": true })).await?;
    fleet.service("service", &[]).await?;
    Ok(fleet)
}

/// Names in a deep tree follow the order of ports, which is not ours to choose: only depths are compared.
fn depths(text: &str, topology: &Topology) -> Vec<(String, usize)> {
    let shape = shape(text, topology);
    let mut depths: Vec<(String, usize)> = shape
        .lines()
        .map(|line| {
            let name = line.trim_start_matches([' ', '+', '-']).to_owned();
            (name.clone(), (line.len() - name.len()) / 2)
        })
        .collect();
    depths.sort();
    depths
}

fn expected(depths: &[(&str, usize)]) -> Vec<(String, usize)> {
    depths.iter().map(|(name, depth)| ((*name).to_owned(), *depth)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mysql_tree_of_depth_three_with_semi_sync_and_a_delayed_replica() -> Result<()> {
    let text = "a semisync=source\n  b semisync=replica\n    c\n      d\n  e delay=3600";
    let topology = Topology::start(Flavor::MySql, text).await?;
    let fleet = started(Flavor::MariaDb).await?;
    // the seed is the lowest: the topology crawls upwards, too
    let text = discover(&fleet, &topology, "d").await?;
    assert_eq!(depths(&text, &topology), expected(&[("a", 0), ("b", 1), ("c", 2), ("d", 3), ("e", 1)]), "{text}");
    let (source, replica) = (record(&fleet, &topology["a"]).await?, record(&fleet, &topology["b"]).await?);
    assert_eq!(source["SemiSyncMasterEnabled"], true);
    assert_eq!(source["SemiSyncMasterStatus"], true);
    assert_eq!(source["SemiSyncMasterClients"], 1);
    assert_eq!(source["SemiSyncMasterWaitForReplicaCount"], 1);
    assert_eq!(replica["SemiSyncReplicaEnabled"], true);
    assert_eq!(replica["SemiSyncReplicaStatus"], true);
    assert_eq!(record(&fleet, &topology["e"]).await?["SQLDelay"], 3600);
    assert_eq!(source["Replicas"].as_array().map(Vec::len), Some(2));
    let ancestry = record(&fleet, &topology["d"]).await?["AncestryUUID"].as_str().unwrap_or("").to_owned();
    assert_eq!(ancestry.split(',').count(), 4, "{ancestry}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mariadb_tree() -> Result<()> {
    let topology =
        Topology::start(Flavor::MariaDb, "a semisync=source\n  b semisync=replica\n    c\n  d delay=600").await?;
    let fleet = started(Flavor::MySql).await?;
    let text = discover(&fleet, &topology, "a").await?;
    assert_eq!(depths(&text, &topology), expected(&[("a", 0), ("b", 1), ("c", 2), ("d", 1)]), "{text}");
    let source = record(&fleet, &topology["a"]).await?;
    assert_eq!(source["SemiSyncMasterEnabled"], true);
    assert_eq!(source["SemiSyncMasterClients"], 1);
    assert_eq!(record(&fleet, &topology["d"]).await?["SQLDelay"], 600);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn co_primaries_and_their_replica() -> Result<()> {
    let topology = Topology::start(Flavor::MySql, "a source=b writable\n  b writable\n    c").await?;
    let fleet = started(Flavor::MariaDb).await?;
    let text = discover(&fleet, &topology, "a").await?;
    for name in ["a", "b"] {
        wait::until(&format!("{name} is seen as a co-primary; drawn: {text}"), LIMIT, || async {
            Ok((record(&fleet, &topology[name]).await?["IsCoMaster"] == true).then_some(()))
        })
        .await?;
    }
    let text = fleet.ok(&["-c", "topology", "-i", &topology["a"].address()]).await?;
    let clusters = fleet.ok(&["-c", "clusters"]).await?;
    assert_eq!(clusters.lines().count(), 1, "one cluster: {clusters}");
    assert!(text.lines().filter(|line| line.starts_with("+ ")).count() == 2, "both at the top: {text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_on_a_replica_is_errant_and_named_exactly() -> Result<()> {
    let topology = Topology::start(Flavor::MySql, "a\n  b\n  c").await?;
    let fleet = started(Flavor::MariaDb).await?;
    discover(&fleet, &topology, "a").await?;
    let replica = &topology["b"];
    let truth = Truth { server: replica, flavor: Flavor::MySql };
    for statement in ["SET GLOBAL read_only = OFF", "CREATE DATABASE errant", "SET GLOBAL read_only = ON"] {
        replica.execute(statement).await?;
    }
    // what the primary goes on writing is not errant, whichever of the two was read first
    topology["a"].execute("CREATE DATABASE ordinary").await?;
    let errant = format!("{}:1", truth.scalar("@@server_uuid").await?);
    wait::until("the errant transaction is seen", LIMIT, || async {
        Ok((record(&fleet, replica).await?["GtidErrant"] == errant.as_str()).then_some(()))
    })
    .await?;
    assert_eq!(record(&fleet, replica).await?["Problems"], json!(["errant_gtid"]));
    assert_eq!(record(&fleet, &topology["c"]).await?["GtidErrant"], "");
    let text = fleet.ok(&["-c", "topology", "-i", &replica.address()]).await?;
    assert!(text.lines().any(|line| line.contains(&replica.address()) && line.contains("GTID:errant")), "{text}");
    Ok(())
}
