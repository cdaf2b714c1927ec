//! A replication group and an asynchronous replica below one of its secondaries: all is found from one member, shown as
//! the servers themselves say it, and drawn with the secondaries below the primary, also after the roles changed.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::{Flavor, Group, Link, Options, Server, replica_status, replicate};
use scenario::{Fleet, wait};
use serde_json::{Value, json};
use sqlx::Row;

const LIMIT: Duration = Duration::from_secs(30);
/// How long a failover that must not come is waited for.
const HOLD: Duration = Duration::from_secs(4);

async fn get(fleet: &Fleet, path: &str) -> Result<Value> {
    let (status, body) = fleet.get("service", path).await?;
    if status == 200 { Ok(serde_json::from_str(&body)?) } else { bail!("{path}: {status}: {body}") }
}

async fn record(fleet: &Fleet, server: &Server) -> Result<Value> {
    get(fleet, &format!("/api/instance/{}/{}", server.host(), server.port())).await
}

fn key(server: &Server) -> Value {
    json!({ "Hostname": server.host(), "Port": server.port() })
}

fn ports(keys: &Value) -> BTreeSet<u64> {
    keys.as_array().into_iter().flatten().filter_map(|key| key["Port"].as_u64()).collect()
}

/// Where `fields` of a record differ from what is wanted.
fn differences(record: &Value, fields: &Value) -> Vec<String> {
    let fields = fields.as_object().into_iter().flatten();
    let wrong = fields.filter(|(field, wanted)| record[field.as_str()] != **wanted);
    wrong.map(|(field, wanted)| format!("{field} is {} instead of {wanted}", record[field])).collect()
}

/// Waits until the record of every member says what the group says, with `primary` at its head.
async fn check_members(fleet: &Fleet, group: &Group, primary: &Server) -> Result<()> {
    for member in &group.members {
        let is_primary = member.port() == primary.port();
        let others: BTreeSet<u64> = group.members.iter().map(|other| u64::from(other.port())).collect();
        let others = &others - &BTreeSet::from([u64::from(member.port())]);
        let wanted = json!({
            "Key": key(member),
            "ReplicationGroupName": group.name,
            "ReplicationGroupIsSinglePrimary": true,
            "ReplicationGroupMemberState": "ONLINE",
            "ReplicationGroupMemberRole": if is_primary { "PRIMARY" } else { "SECONDARY" },
            "ReplicationGroupPrimaryInstanceKey": key(primary),
            "MasterKey": { "Hostname": "", "Port": 0 },
            "ReadOnly": !is_primary,
            "ClusterName": primary.address(),
            "ReplicationDepth": u8::from(!is_primary),
            "IsCoMaster": false,
            "GtidErrant": "",
            "Problems": [],
        });
        wait::until(&format!("{} is known as it is", member.address()), LIMIT, || async {
            let record = record(fleet, member).await?;
            if ports(&record["ReplicationGroupMembers"]) != others {
                bail!("members are {}", record["ReplicationGroupMembers"]);
            }
            match differences(&record, &wanted)[..] {
                [] => Ok(Some(())),
                ref wrong => bail!("{}", wrong.join("; ")),
            }
        })
        .await?;
    }
    Ok(())
}

/// The drawing, without descriptions: children stand in the order of their ports.
fn drawing(group: &Group, primary: &Server, replica: &Server, source: &Server) -> Vec<String> {
    let mut secondaries: Vec<&Server> = group.members.iter().filter(|member| member.port() != primary.port()).collect();
    secondaries.sort_by_key(|member| member.address());
    let mut lines = vec![primary.address()];
    let below = |parent: &Server, indent: &str| {
        (parent.port() == source.port()).then(|| format!("{indent}+ {}", replica.address()))
    };
    let direct = below(primary, "");
    let mut children: Vec<(String, Vec<String>)> = secondaries
        .iter()
        .map(|member| {
            let own = format!("\u{2021} {}", member.address());
            (member.address(), std::iter::once(own).chain(below(member, "  ")).collect())
        })
        .collect();
    children.extend(direct.map(|line| (replica.address(), vec![line])));
    children.sort();
    lines.extend(children.into_iter().flat_map(|(_, lines)| lines));
    lines
}

async fn check_drawing(fleet: &Fleet, seed: &Server, wanted: &[String]) -> Result<()> {
    wait::until("the group is drawn", LIMIT, || async {
        let text = fleet.ok(&["-c", "topology", "-i", &seed.address()]).await?;
        let drawn: Vec<&str> = text.lines().map(|line| line.split(" [").next().unwrap_or("").trim_end()).collect();
        if drawn == wanted { Ok(Some(())) } else { bail!("drawn is\n{text}instead of {wanted:#?}") }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_and_a_replica_below_a_secondary() -> Result<()> {
    let group = Group::start(3).await?;
    let [first, second, third] = &group.members[..] else { bail!("three members") };
    let below = Options { read_only: true, ..Options::default() };
    let replica = Server::start_with(Flavor::MySql, below).await?;
    replicate(&replica, second, Link::default()).await?;

    let mut fleet = Fleet::new(Flavor::MariaDb, json!({ "DiscoverByShowSlaveHosts": true })).await?;
    fleet.service("service", &[]).await?;
    // one seed, neither the primary nor the one with a replica
    fleet.ok(&["-c", "discover", "-i", &third.address()]).await?;
    check_members(&fleet, &group, first).await?;
    check_drawing(&fleet, third, &drawing(&group, first, &replica, second)).await?;

    let wanted = json!({
        "MasterKey": key(second),
        "ClusterName": first.address(),
        "ReplicationDepth": 2,
        "ReplicationIOThreadRuning": true,
        "ReplicationGroupName": "",
        "ReplicationGroupIsSinglePrimary": false,
        "ReplicationGroupMemberState": "",
        "ReplicationGroupMemberRole": "",
        "ReplicationGroupMembers": [],
        "ReplicationGroupPrimaryInstanceKey": { "Hostname": "", "Port": 0 },
        "Problems": [],
    });
    assert_eq!(differences(&record(&fleet, &replica).await?, &wanted), Vec::<String>::new());
    assert_eq!(ports(&record(&fleet, second).await?["Replicas"]), BTreeSet::from([replica.port().into()]));
    let all = fleet.ok(&["-c", "which-cluster-instances", "-i", &first.address()]).await?;
    assert_eq!(all.lines().count(), 4, "{all}");
    let clusters = fleet.ok(&["-c", "clusters"]).await?;
    assert_eq!(clusters.trim(), first.address(), "one cluster, named after its primary");

    // the secondary with the replica becomes the primary: everything moves below it
    let uuid: String = sqlx::query_scalar("SELECT @@server_uuid").fetch_one(&mut second.connect_root().await?).await?;
    first.execute(&format!("DO group_replication_set_as_primary('{uuid}')")).await.context("a new primary")?;
    check_members(&fleet, &group, second).await?;
    check_drawing(&fleet, first, &drawing(&group, second, &replica, second)).await?;
    let clusters = fleet.ok(&["-c", "clusters"]).await?;
    assert_eq!(clusters.trim(), second.address(), "still one cluster");

    // a member that left is no member, and what is left of the group says so
    third.execute("STOP GROUP_REPLICATION").await?;
    wait::until("the member has left", LIMIT, || async {
        let (gone, left) = (record(&fleet, third).await?, record(&fleet, first).await?);
        let is_gone = gone["ReplicationGroupName"] == "" && gone["ReplicationGroupMembers"] == json!([]);
        Ok((is_gone && ports(&left["ReplicationGroupMembers"]) == BTreeSet::from([second.port().into()])).then_some(()))
    })
    .await?;
    Ok(())
}

/// What concerns a group's own primary is the group's business; a replica below a member that is gone gets another member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_never_failed_over() -> Result<()> {
    let group = Group::start(3).await?;
    let [first, second, third] = &group.members[..] else { bail!("three members") };
    let below = Options { read_only: true, ..Options::default() };
    let replica = Server::start_with(Flavor::MySql, below).await?;
    replicate(&replica, second, Link::default()).await?;
    let settings = json!({
        "DiscoverByShowSlaveHosts": true,
        "RecoverMasterClusterFilters": ["*"],
        "RecoverIntermediateMasterClusterFilters": ["*"],
        "RecoveryPeriodBlockSeconds": 1,
    });
    let mut fleet = Fleet::new(Flavor::MariaDb, settings).await?;
    fleet.service("service", &[]).await?;
    fleet.ok(&["-c", "discover", "-i", &third.address()]).await?;
    check_members(&fleet, &group, first).await?;
    let pool = fleet.pool().await?;
    let recoveries = || async {
        let sql = "SELECT CONCAT(kind, ' ', outcome) FROM recovery WHERE ended_at IS NOT NULL ORDER BY id";
        let rows = sqlx::query(sql).fetch_all(&pool).await?;
        anyhow::Ok(rows.iter().map(|row| row.try_get_unchecked(0)).collect::<Result<Vec<String>, _>>()?)
    };

    second.kill()?;
    wait::until("the replica has another source", LIMIT, || async {
        let status = replica_status(Flavor::MySql, &mut replica.connect_root().await?).await?;
        Ok(status.filter(|status| status.source_port != second.port() && status.is_running()).map(drop))
    })
    .await
    .with_context(|| fleet.log_tail("service"))?;
    wait::until("the recovery is closed", LIMIT, || async { Ok((!recoveries().await?.is_empty()).then_some(())) })
        .await?;
    ensure!(recoveries().await? == ["group-member recovered"], "{:?}", recoveries().await?);

    // The primary itself: nobody is promoted by us, whatever the group does.
    first.kill()?;
    wait::until("the loss of the primary is noticed", LIMIT, || async {
        Ok((record(&fleet, first).await?["IsLastCheckValid"] == false).then_some(()))
    })
    .await
    .with_context(|| fleet.log_tail("service"))?;
    let noticed = std::time::Instant::now();
    while noticed.elapsed() < HOLD {
        let kinds = recoveries().await?;
        ensure!(kinds.iter().all(|one| one.starts_with("group-member")), "{kinds:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("{}", fleet.ok(&["-c", "replication-analysis"]).await?);
    let refused = fleet.run(&["-c", "force-master-failover", "-i", &third.address()]).await?;
    ensure!(refused.code != 0, "a group was failed over: {}", refused.stdout);
    let kinds = recoveries().await?;
    ensure!(kinds.iter().all(|one| !one.contains("recovered") || one.starts_with("group-member")), "{kinds:?}");
    let read_only = third.value("@@GLOBAL.super_read_only").await?;
    ensure!(read_only == "1", "the last member was opened");
    Ok(())
}
