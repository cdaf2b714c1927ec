//! Bad input from outside: sick servers, hostile names, broken jobs, doubled node names. Each ends in a clear error or a
//! recorded state, and the rest of the fleet is seen as before.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::Flavor;
use scenario::{Fleet, wait};
use serde_json::{Value, json};
use simulator::{Death, FleetSpec, Target};
use sqlx::{MySqlPool, Row};

const LIMIT: Duration = Duration::from_secs(60);
const INTERVAL_SECONDS: u64 = 2;
/// Nobody healthy may be older than this.
const FRESH: Duration = Duration::from_secs(2 * INTERVAL_SECONDS);
/// No error text may be longer, whatever was typed.
const LONGEST_ERROR: usize = 500;

fn settings() -> Value {
    json!({ "InstancePollSeconds": INTERVAL_SECONDS })
}

fn simulated(servers: usize) -> Result<simulator::Fleet> {
    Ok(simulator::Fleet::new(FleetSpec { servers, ..FleetSpec::default() })?)
}

/// Submits every cluster's primary and waits until all servers are known and fresh.
async fn discover_all(fleet: &Fleet, servers: &simulator::Fleet) -> Result<()> {
    let seeds = servers.seeds().iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    fleet.ok(&["submit", "discover", "-i", &seeds]).await?;
    let (pool, count) = (fleet.pool().await?, i64::try_from(servers.server_count())?);
    wait::until("all servers are known and fresh", LIMIT, || async {
        let known: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM instance WHERE last_seen_at IS NOT NULL").fetch_one(&pool).await?;
        Ok((known == count && oldest(&pool, &[]).await? < FRESH).then_some(()))
    })
    .await
}

/// How long ago the longest unseen server was seen, leaving out the sick ones.
async fn oldest(pool: &MySqlPool, sick: &[Ipv4Addr]) -> Result<Duration> {
    let sick = sick.iter().map(|address| format!("'{address}'")).chain(["''".to_owned()]).collect::<Vec<_>>().join(",");
    let micros: i64 = sqlx::query_scalar(&format!(
        "SELECT CAST(COALESCE(MAX(TIMESTAMPDIFF(MICROSECOND, last_seen_at, NOW(6))), 0) AS SIGNED) \
         FROM instance WHERE hostname NOT IN ({sick})"
    ))
    .fetch_one(pool)
    .await?;
    Ok(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}

/// Waits until everybody healthy was seen anew after this call, `rounds` times; none may get older than two intervals.
async fn stays_fresh(pool: &MySqlPool, sick: &[Ipv4Addr], rounds: u64) -> Result<()> {
    let begun = std::time::Instant::now();
    let wanted = Duration::from_secs(rounds * INTERVAL_SECONDS);
    loop {
        let age = oldest(pool, sick).await?;
        if age > FRESH {
            bail!("a healthy server was not seen for {age:?}");
        }
        if begun.elapsed() > wanted + age {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn count(pool: &MySqlPool, sql: &str) -> Result<i64> {
    Ok(sqlx::query_scalar(sql).fetch_one(pool).await?)
}

/// Everything but letters and digits as `%XX`.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Short, and nothing in it that a terminal or a log would act on.
fn check_tame(text: &str) -> Result<()> {
    if text.len() > LONGEST_ERROR {
        bail!("{} bytes of error: {:.200}...", text.len(), text);
    }
    if text.trim_end_matches('\n').chars().any(char::is_control) {
        bail!("control characters in {text:?}");
    }
    Ok(())
}

struct Sick {
    address: SocketAddrV4,
    kind: &'static str,
    text: &'static str,
    /// The server showed a sign of life.
    is_partial: bool,
}

fn fall_sick(servers: &simulator::Fleet) -> Result<Vec<Sick>> {
    let deaths = [
        (Death::WrongPassword, "access_denied", "1045", true),
        (Death::Garbage, "protocol", "does not speak the MySQL protocol", false),
        (Death::MidAnswer, "read_timeout", "no complete answer within", false),
        (Death::Blackhole, "connect_timeout", "no login within", false),
        (Death::OldVersion("5.1.73-log".to_owned()), "unsupported_version", "5.1.73", true),
        (Death::TooManyConnections, "too_many_connections", "1040", true),
    ];
    let replicas = (1..).step_by(4);
    deaths
        .into_iter()
        .zip(replicas)
        .map(|((death, kind, text, is_partial), index)| {
            let address = servers.address(index).context("a server")?;
            servers.kill(Target::Server(*address.ip()), &death)?;
            Ok(Sick { address, kind, text, is_partial })
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sick_servers_are_recorded_for_what_they_are_and_harm_nobody() -> Result<()> {
    let servers = simulated(60)?;
    // A real server changes its version with a restart, which is noticed at once; a simulated one does not restart.
    let settings = json!({ "InstancePollSeconds": INTERVAL_SECONDS, "ProbeSlowFactsSeconds": 5 });
    let mut fleet = Fleet::new(Flavor::MariaDb, settings).await?;
    fleet.service("service", &[]).await?;
    discover_all(&fleet, &servers).await?;
    let pool = fleet.pool().await?;
    let sick = fall_sick(&servers)?;
    let addresses: Vec<Ipv4Addr> = sick.iter().map(|one| *one.address.ip()).collect();
    stays_fresh(&pool, &addresses, 2).await?;
    for one in &sick {
        wait::until(&format!("{} is recorded for {}", one.kind, one.address), LIMIT, || async {
            check_recorded(&pool, one).await?;
            check_shown(&fleet, one).await.map(Some)
        })
        .await?;
    }
    let problems = fleet.ok(&["problems"]).await?;
    let named: Vec<String> = sick.iter().map(|one| one.address.to_string()).collect();
    for name in &named {
        assert!(problems.lines().any(|line| line == name), "{name} is not among the problems: {problems}");
    }
    // The other members of a cluster are at most blamed for what is true: nobody healthy is unreachable.
    let unreachable = "SELECT COUNT(*) FROM instance WHERE failures > 0";
    assert_eq!(count(&pool, unreachable).await?, 6, "{problems}");
    stays_fresh(&pool, &addresses, 4).await?;

    // healed as soon as they are well again
    for address in &addresses {
        servers.revive(Target::Server(*address))?;
    }
    wait::until("the sick are well again", LIMIT, || async {
        let failing = count(&pool, "SELECT COUNT(*) FROM instance WHERE failures > 0 OR last_error <> ''").await?;
        Ok((failing == 0 && oldest(&pool, &[]).await? < FRESH).then_some(()))
    })
    .await
}

async fn check_recorded(pool: &MySqlPool, sick: &Sick) -> Result<()> {
    let row = sqlx::query("SELECT error_kind, last_error, partial_success FROM instance WHERE hostname = ?")
        .bind(sick.address.ip().to_string())
        .fetch_one(pool)
        .await?;
    let (kind, text): (String, String) = (row.try_get_unchecked("error_kind")?, row.try_get_unchecked("last_error")?);
    let partial: bool = row.try_get("partial_success")?;
    if kind != sick.kind || !text.contains(sick.text) || partial != sick.is_partial {
        bail!("{}: recorded as {kind} ({text}), sign of life {partial}", sick.address);
    }
    check_tame(&text)
}

/// What people see: the classic record, the new one, and the commands.
async fn check_shown(fleet: &Fleet, sick: &Sick) -> Result<()> {
    let (host, port) = (sick.address.ip(), sick.address.port());
    let (_, body) = fleet.get("service", &format!("/api/instance/{host}/{port}")).await?;
    let record: Value = serde_json::from_str(&body)?;
    if record["IsLastCheckValid"] != false || record["Problems"] != json!(["last_check_invalid"]) {
        bail!("{host} is shown as {} with {}", record["IsLastCheckValid"], record["Problems"]);
    }
    let (status, body) = fleet.get("service", &format!("/api/v2/instances/{host}/{port}")).await?;
    if status != 200 || !body.contains(sick.text) {
        bail!("{status} does not tell {:?}: {body}", sick.text);
    }
    let described = fleet.ok(&["-c", "instance-status", "-i", &sick.address.to_string()]).await?;
    if !described.contains("invalid") {
        bail!("{host} is described as {described}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discovery_of_what_is_no_server_fails_in_clear_words_and_is_kept_as_a_failed_job() -> Result<()> {
    let servers = simulated(12)?;
    let mut fleet = Fleet::new(Flavor::MySql, settings()).await?;
    fleet.service("service", &[]).await?;
    fall_sick_unknown(&fleet, &servers).await?;
    let unknown = "no-such-host.invalid:3306";
    let output = fleet.run(&["-c", "discover", "-i", unknown]).await?;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains(unknown) && output.stderr.contains("unknown_host"), "{output:?}");
    check_tame(&output.stderr)?;
    let failed = fleet.ok(&["jobs", "list", "--state", "failed"]).await?;
    assert!(failed.contains("discover") && failed.contains(unknown), "{failed}");
    let (status, body) = fleet.get("service", "/api/discover/no-such-host.invalid/3306").await?;
    let envelope: Value = serde_json::from_str(&body)?;
    assert_eq!((status, &envelope["Code"]), (500, &json!("ERROR")), "{body}");
    assert!(envelope["Message"].as_str().unwrap_or("").contains(unknown), "{body}");
    let pool = fleet.pool().await?;
    assert_eq!(count(&pool, "SELECT COUNT(*) FROM instance").await?, 0, "nothing is known of what never answered");
    Ok(())
}

/// Sick servers that nobody knows yet: each discovery fails with the reason.
async fn fall_sick_unknown(fleet: &Fleet, servers: &simulator::Fleet) -> Result<()> {
    let deaths = BTreeMap::from([
        (0, (Death::WrongPassword, "1045")),
        (4, (Death::Garbage, "does not speak the MySQL protocol")),
        (8, (Death::OldVersion("5.1.73-log".to_owned()), "5.1.73")),
        (9, (Death::MidAnswer, "no complete answer")),
    ]);
    for (index, (death, text)) in deaths {
        let address = servers.address(index).context("a server")?;
        servers.kill(Target::Server(*address.ip()), &death)?;
        let output = fleet.run(&["discover", "-i", &address.to_string()]).await?;
        assert_eq!(output.code, 1, "{output:?}");
        assert!(output.stderr.contains(text) && output.stderr.contains(&address.to_string()), "{output:?}");
        check_tame(&output.stderr)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_are_refused_shortly_and_stored_nowhere() -> Result<()> {
    let servers = simulated(4)?;
    let mut fleet = Fleet::new(Flavor::MariaDb, settings()).await?;
    fleet.service("service", &[]).await?;
    discover_all(&fleet, &servers).await?;
    let pool = fleet.pool().await?;
    let long = "a".repeat(10_000);
    let hosts = [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "db\u{1b}[2J\u{7}",
        "db\r\nSet-Cookie: a=b",
        "db\n2026-01-01 FATAL all is lost",
        "'; DROP TABLE instance; --",
        "';DELETE-FROM-instance;--",
        "`reboot`",
        "\u{85}\u{0}db",
        "db|wall",
        &long,
    ];
    for host in hosts {
        for command in ["discover", "async-discover", "topology", "begin-downtime"] {
            // No argument can contain a zero byte; spaces and line ends separate the names of a list.
            if host.contains(['\0', ' ', '\r', '\n']) {
                continue;
            }
            let name = format!("{host}:3306");
            let output = fleet.run(&["-c", command, "-i", &name, "--reason", "r"]).await?;
            assert_eq!(output.code, 1, "{command} {name:.40?}: {output:?}");
            assert_eq!(output.stdout, "", "{command} {name:.40?}");
            check_tame(&output.stderr).with_context(|| format!("{command} -i {name:.40?}"))?;
        }
        for path in ["discover", "async-discover", "instance", "begin-downtime"] {
            let more = if path == "begin-downtime" { "/me/because" } else { "" };
            let (status, body) = fleet.get("service", &format!("/api/{path}/{}/3306{more}", encoded(host))).await?;
            check_tame(body.trim_end()).with_context(|| format!("/api/{path} {host:.40?}"))?;
            if status == 404 && host.contains('/') {
                continue; // a slash divides the path, encoded or not: there is no such page
            }
            assert_eq!(status, 500, "{path} {host:.40?}: {body}");
            let envelope: Value = serde_json::from_str(&body).with_context(|| body.clone())?;
            assert_eq!(envelope["Code"], "ERROR");
            assert!(!body.contains("<img") && body.len() < LONGEST_ERROR, "{body}");
        }
    }
    for table in ["instance", "hostname_resolve", "job_failed"] {
        let foreign = if table == "job_failed" { "1" } else { "hostname NOT LIKE '127.%'" };
        assert_eq!(count(&pool, &format!("SELECT COUNT(*) FROM {table} WHERE {foreign}")).await?, 0, "{table}");
    }
    stays_fresh(&pool, &[], 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aliases_with_markup_are_shown_escaped_and_endless_ones_refused() -> Result<()> {
    const MARKUP: &str = "<script>alert('x')</script>";
    let servers = simulated(4)?;
    let mut fleet = Fleet::new(Flavor::MySql, settings()).await?;
    fleet.service("service", &[]).await?;
    discover_all(&fleet, &servers).await?;
    let member = servers.address(0).context("a server")?.to_string();
    let endless = "x".repeat(10_000);
    for alias in ["shop\u{1b}[2J", "shop\nclusters: none", &endless] {
        let output = fleet.run(&["set-cluster-alias", "-i", &member, "--alias", alias]).await?;
        assert_eq!(output.code, 1, "{alias:.40?}: {output:?}");
        check_tame(&output.stderr)?;
    }
    fleet.ok(&["set-cluster-alias", "-i", &member, "--alias", MARKUP]).await?;
    let (_, body) = fleet.get("service", "/api/clusters-info").await?;
    assert!(!body.contains("<script") && body.contains("\\u003cscript\\u003ealert('x')"), "{body}");
    // The page is drawn in the browser, from data that are declared as JSON and never as markup.
    let (status, page) = fleet.get("service", "/").await?;
    assert!(status == 200 && !page.contains("alert('x')"), "{page}");
    let (_, body) = fleet.get("service", "/api/v2/clusters").await?;
    let clusters: Value = serde_json::from_str(&body)?;
    assert_eq!(clusters["items"][0]["alias"], MARKUP);
    stays_fresh(&fleet.pool().await?, &[], 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_nobody_can_run_are_parked_and_probing_goes_on() -> Result<()> {
    let servers = simulated(8)?;
    let mut fleet = Fleet::new(Flavor::MariaDb, settings()).await?;
    fleet.service("service", &["--no-worker"]).await?;
    fleet.worker("w1", &[]).await?;
    fleet.worker("w2", &[]).await?;
    discover_all(&fleet, &servers).await?;
    let pool = fleet.pool().await?;
    let cut = r#"{"hostname": "db1", "po"#;
    let wrong = r#"{"hostname": ["db1"], "port": -1}"#;
    let jobs = [
        ("discover", cut, "cannot read the payload of a discover job"),
        ("discover", wrong, "cannot read the payload of a discover job"),
        ("discover", "", "cannot read the payload of a discover job"),
        ("probe_shard", "null", "cannot read the payload of a probe_shard job"),
        ("frobnicate", "{}", "has no code for jobs of kind frobnicate"),
    ];
    let mut ids = Vec::new();
    for (kind, payload, _) in jobs {
        let block = sqlx::query("INSERT INTO job_sequence () VALUES ()").execute(&pool).await?.last_insert_id();
        sqlx::query(
            "INSERT INTO job_ready (id, kind, lane, payload, max_attempts, timeout_ms, submitted_at, ready_at) \
             VALUES (?, ?, 'discovery/', ?, 3, 15000, NOW(6), NOW(6))",
        )
        .bind(block * 1000)
        .bind(kind)
        .bind(payload)
        .execute(&pool)
        .await?;
        ids.push(block * 1000);
    }
    // A lane that none of us serves is nobody's harm.
    sqlx::query(
        "INSERT INTO job_ready (id, kind, lane, payload, max_attempts, timeout_ms, submitted_at, ready_at) \
         VALUES (1, 'discover', '<lane>', '{}', 3, 15000, NOW(6), NOW(6))",
    )
    .execute(&pool)
    .await?;
    for (id, (kind, payload, error)) in ids.iter().zip(jobs) {
        let failed = wait::until(&format!("{kind} {payload:?} is parked"), LIMIT, || async {
            let failed = fleet.ok(&["jobs", "list", "--state", "failed", "--json"]).await?;
            let list: Value = serde_json::from_str(&failed)?;
            let job = list.as_array().and_then(|list| list.iter().find(|job| job["id"] == *id)).cloned();
            Ok(job)
        })
        .await?;
        let shown = failed.to_string();
        assert!(shown.contains(error), "{shown}");
        let text = fleet.ok(&["jobs", "show", &id.to_string()]).await?;
        assert!(text.contains(error), "{text}");
    }
    let (status, body) = fleet.get("service", "/api/v2/jobs?state=failed").await?;
    assert!(status == 200 && body.contains("has no code for jobs of kind frobnicate"), "{status} {body}");
    let lanes = fleet.ok(&["jobs", "lanes"]).await?;
    assert!(lanes.contains("<lane>"), "what waits for nobody can be seen: {lanes}");
    stays_fresh(&pool, &[], 3).await?;
    assert!(fleet.is_running("w1")? && fleet.is_running("w2")?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_with_one_name_are_marked_and_both_work() -> Result<()> {
    let servers = simulated(40)?;
    // many small shards, so that there is work for both
    let settings = json!({ "InstancePollSeconds": INTERVAL_SECONDS, "ProbeShardSize": 5 });
    let mut fleet = Fleet::new(Flavor::MySql, settings).await?;
    fleet.service("service", &["--no-worker"]).await?;
    for process in ["first", "second"] {
        fleet.start(process, json!({ "NodeName": "twin" }), &[], &["worker"])?;
    }
    let twins = wait::until("the twins are marked", LIMIT, || async {
        let nodes: Value = serde_json::from_str(&fleet.ok(&["nodes", "--json"]).await?)?;
        let marked: Vec<String> = nodes
            .as_array()
            .context("a list")?
            .iter()
            .filter(|node| node["name"] == "twin" && node["is_name_used_twice"] == true)
            .filter_map(|node| node["token"].as_str().map(str::to_owned))
            .collect();
        Ok((marked.len() == 2).then_some(marked))
    })
    .await?;
    let text = fleet.ok(&["nodes"]).await?;
    assert_eq!(text.matches("twin (name used twice)").count(), 2, "{text}");
    discover_all(&fleet, &servers).await?;
    // slow servers, so that work can be seen under way
    servers.set_latency(Target::All, Duration::from_millis(100))?;
    let pool = fleet.pool().await?;
    for twin in &twins {
        wait::until(&format!("{twin} works"), LIMIT, || async {
            let held: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM job_claimed WHERE worker = ?")
                .bind(twin)
                .fetch_one(&pool)
                .await?;
            Ok((held > 0).then_some(()))
        })
        .await?;
    }
    stays_fresh(&pool, &[], 3).await
}
