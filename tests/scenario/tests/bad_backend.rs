//! A backend this program cannot use, or a configuration that names none: a clear error at once, no secret in it, and
//! processes that run already are not harmed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use harness::Flavor;
use scenario::{Fleet, Output, wait};
use serde_json::{Value, json};
use simulator::{Death, FleetSpec, Target};
use sqlx::MySqlPool;

/// A person waits no longer for an error.
const SOON: Duration = Duration::from_secs(15);
const LIMIT: Duration = Duration::from_secs(30);

/// Commands of every sort: schema, processes, plain, with `-c`, asking a worker.
const COMMANDS: [&[&str]; 6] = [
    &["migrate"],
    &["http"],
    &["worker"],
    &["clusters"],
    &["-c", "all-instances"],
    &["-c", "discover", "-i", "127.0.0.1:3306"],
];

/// Runs a command that must fail soon with each of these words.
async fn refused(fleet: &Fleet, over: &Value, args: &[&str], words: &[&str]) -> Result<Output> {
    let begun = Instant::now();
    let mut over = over.clone();
    if let Some(over) = over.as_object_mut() {
        over.entry("ListenAddress").or_insert(json!("127.0.0.1:0"));
    }
    let output = tokio::time::timeout(SOON, fleet.run_with(over, args))
        .await
        .with_context(|| format!("{args:?} did not end within {SOON:?}"))??;
    if output.code != 1 || !output.stdout.is_empty() {
        bail!("{args:?} ended after {:?} with {output:?}", begun.elapsed());
    }
    for word in words {
        if !output.stderr.contains(word) {
            bail!("{args:?} does not tell {word:?}: {output:?}");
        }
    }
    Ok(output)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_of_an_unsupported_version_is_named() -> Result<()> {
    let servers = simulator::Fleet::new(FleetSpec::default())?;
    servers.kill(Target::All, &Death::OldVersion("5.7.44".to_owned()))?;
    let address = servers.address(0).context("a server")?;
    let fleet = Fleet::new(Flavor::MariaDb, json!({})).await?;
    let over = json!({ "MySQLOrchestratorHost": address.ip().to_string(), "MySQLOrchestratorPort": address.port() });
    for args in COMMANDS {
        refused(&fleet, &over, args, &["5.7.44", "MySQL 8.0", &address.to_string()]).await?;
    }
    Ok(())
}

/// A fleet at work: whatever happens to the schema's marks, it goes on.
async fn at_work(servers: &simulator::Fleet) -> Result<(Fleet, MySqlPool)> {
    let mut fleet = Fleet::new(Flavor::MySql, json!({})).await?;
    fleet.service("service", &[]).await?;
    let seed = servers.address(0).context("a server")?.to_string();
    fleet.ok(&["-c", "discover", "-i", &seed]).await?;
    let pool = fleet.pool().await?;
    all_fresh(&pool, servers).await?;
    Ok((fleet, pool))
}

/// Every server is seen anew.
async fn all_fresh(pool: &MySqlPool, servers: &simulator::Fleet) -> Result<()> {
    let begun: String = sqlx::query_scalar("SELECT CAST(NOW(6) AS CHAR)").fetch_one(pool).await?;
    wait::until("every server is seen anew", LIMIT, || async {
        let seen: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM instance WHERE last_seen_at > ?")
            .bind(&begun)
            .fetch_one(pool)
            .await?;
        Ok((seen == i64::try_from(servers.server_count())?).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_migrated_schema_is_refused_until_repaired() -> Result<()> {
    let servers = simulator::Fleet::new(FleetSpec::default())?;
    let (mut fleet, pool) = at_work(&servers).await?;
    let version: i64 = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(&pool).await?;
    sqlx::query("UPDATE _sqlx_migrations SET success = 0 WHERE version = ?").bind(version).execute(&pool).await?;
    for args in COMMANDS {
        let words = [&*version.to_string(), "stopped half-way", "orchestrator migrate --repair"];
        refused(&fleet, &json!({}), args, &words).await?;
    }
    all_fresh(&pool, &servers).await?;
    let repaired = fleet.ok(&["migrate", "--repair"]).await?;
    assert!(repaired.contains("Applied 1 migration") && repaired.contains(&version.to_string()), "{repaired}");
    assert!(fleet.ok(&["migrate"]).await?.contains("current"));
    assert_eq!(fleet.ok(&["-c", "all-instances"]).await?.lines().count(), servers.server_count(), "nothing was lost");
    assert!(fleet.is_running("service")?);
    all_fresh(&pool, &servers).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_newer_than_the_program_is_refused() -> Result<()> {
    let servers = simulator::Fleet::new(FleetSpec::default())?;
    let (mut fleet, pool) = at_work(&servers).await?;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (29990101000000, 'of a later release', 1, x'00', 0)",
    )
    .execute(&pool)
    .await?;
    let words = ["29990101000000", "older than the schema", "install the release"];
    for args in COMMANDS {
        refused(&fleet, &json!({}), args, &words).await?;
    }
    // repair is no way around it
    refused(&fleet, &json!({}), &["migrate", "--repair"], &words).await?;
    assert!(fleet.is_running("service")?);
    all_fresh(&pool, &servers).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_not_there_or_denies_us_is_an_error_at_once_without_the_password() -> Result<()> {
    const SECRET: &str = "s3cr3t-not-the-one";
    let mut fleet = Fleet::new(Flavor::MariaDb, json!({})).await?;
    let over = |key: &str, value: Value| json!({ "MySQLOrchestratorPassword": SECRET, key: value });
    let quiet = |output: &Output| !output.stderr.contains(SECRET) && !output.stdout.contains(SECRET);
    let wrong_password = json!({ "MySQLOrchestratorPassword": SECRET });
    // a login that is denied does not get better by waiting: services end, too
    for args in COMMANDS {
        for verbosity in ["--verbose", "--debug"] {
            let args = [&[verbosity], args].concat();
            let output = refused(&fleet, &wrong_password, &args, &["denies", "Access denied"]).await?;
            assert!(quiet(&output), "{output:?}");
        }
    }
    let missing = over("MySQLOrchestratorHost", json!("no-such-host.invalid"));
    let closed = over("MySQLOrchestratorPort", json!(1));
    for args in [&["migrate"][..], &["clusters"], &["--debug", "-c", "discover", "-i", "127.0.0.1:3306"]] {
        let output = refused(&fleet, &missing, args, &["no-such-host.invalid", "lookup"]).await?;
        assert!(quiet(&output), "{output:?}");
        let output = refused(&fleet, &closed, args, &["127.0.0.1:1", "refused"]).await?;
        assert!(quiet(&output), "{output:?}");
    }
    // a backend that is away may come back: processes that stay wait for it, and say so
    fleet.start("waiting", closed, &[], &["worker"])?;
    wait::until("the worker says what it waits for", LIMIT, || async {
        let log = fleet.log("waiting")?;
        Ok((log.contains("waiting for the backend") && log.contains("127.0.0.1:1")).then_some(()))
    })
    .await?;
    assert!(fleet.is_running("waiting")? && !fleet.log("waiting")?.contains(SECRET));
    fleet.signal("waiting", "TERM")?;
    assert_eq!(fleet.ended("waiting", LIMIT).await?, 0, "it can be told to stop waiting");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_configuration_is_refused_by_the_name_of_the_key() -> Result<()> {
    let fleet = Fleet::new(Flavor::MariaDb, json!({})).await?;
    let wrong = [
        (json!({ "InstancePollSeconds": "many" }), vec!["InstancePollSeconds", "whole number"]),
        (json!({ "RecoverMasterClusterFilters": ["("] }), vec!["RecoverMasterClusterFilters", "unclosed group"]),
        (json!({ "DiscoveryIgnoreHostnameFilters": "x" }), vec!["DiscoveryIgnoreHostnameFilters"]),
        (json!({ "HostnameResolveMethod": "guess" }), vec!["HostnameResolveMethod", "guess"]),
        (json!({ "MySQLOrchestratorPort": 70000 }), vec!["MySQLOrchestratorPort"]),
        (json!({ "NodeName": "<b>\u{1b}" }), vec!["NodeName"]),
    ];
    for (over, words) in wrong {
        for args in [&["clusters"][..], &["-c", "clusters"], &["http"], &["worker"], &["migrate"], &["config", "check"]]
        {
            let output = refused(&fleet, &over, args, &words).await?;
            assert!(!output.stderr.contains('\u{1b}'), "{output:?}");
        }
    }
    let misspelt = fleet.run_with(json!({ "InstancePolSeconds": 3 }), &["config", "check"]).await?;
    let said = "unknown key InstancePolSeconds: did you mean InstancePollSeconds?";
    assert!(misspelt.stdout.contains(said), "{misspelt:?}");
    Ok(())
}
