//! Every gate closed, one after the other, on a cluster whose primary is dead: nothing is done, and `explain` names exactly
//! that gate. When all are open it is recovered at once, so none of them was the reason by accident.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Flavor, Server};
use scenario::incident::{Durability, Incident};
use scenario::wait;
use serde_json::{Value, json};
use sqlx::Row;

const TEXT: &str = "a\n  b\n  c";
const LIMIT: Duration = Duration::from_secs(30);
/// The leader decides several times a second: what it has not begun by now, it does not begin.
const LONG_ENOUGH: Duration = Duration::from_secs(2);

/// A gate, and how it is closed and opened again.
struct Gate {
    name: &'static str,
    closes: How,
    opens: How,
}

enum How {
    Setting(Value),
    /// Words of the command; `@a` stands for the dead primary.
    Command(&'static [&'static str]),
}

fn gates() -> Vec<Gate> {
    use How::{Command, Setting};
    vec![
        Gate {
            name: "global-switch",
            closes: Command(&["-c", "disable-global-recoveries"]),
            opens: Command(&["-c", "enable-global-recoveries"]),
        },
        Gate {
            name: "cluster-filter",
            closes: Setting(json!({ "RecoverMasterClusterFilters": ["alias=other"] })),
            opens: Setting(json!({ "RecoverMasterClusterFilters": ["*"] })),
        },
        Gate {
            name: "ignored-hostname",
            closes: Setting(json!({ "RecoveryIgnoreHostnameFilters": ["^127"] })),
            opens: Setting(json!({ "RecoveryIgnoreHostnameFilters": [] })),
        },
        Gate {
            name: "candidate",
            closes: Setting(json!({ "PromotionIgnoreHostnameFilters": ["127.0.0.1"] })),
            opens: Setting(json!({ "PromotionIgnoreHostnameFilters": [] })),
        },
        Gate {
            name: "maintenance",
            closes: Command(&[
                "-c",
                "begin-maintenance",
                "-i",
                "@a",
                "--owner",
                "me",
                "--reason",
                "disk",
                "--duration",
                "1h",
            ]),
            opens: Command(&["-c", "end-maintenance", "-i", "@a"]),
        },
        Gate {
            name: "downtime",
            closes: Command(&[
                "-c",
                "begin-downtime",
                "-i",
                "@a",
                "--owner",
                "me",
                "--reason",
                "disk",
                "--duration",
                "1h",
            ]),
            opens: Command(&["-c", "end-downtime", "-i", "@a"]),
        },
        Gate {
            name: "confirmation",
            closes: Setting(json!({ "FailureConfirmationSeconds": 3600 })),
            opens: Setting(json!({ "FailureConfirmationSeconds": 0 })),
        },
        // Last: a hook that has failed stays failed for its detection.
        Gate {
            name: "detection-hooks",
            closes: Setting(json!({ "OnFailureDetectionProcesses": ["exit 7"] })),
            opens: Setting(json!({ "OnFailureDetectionProcesses": [] })),
        },
    ]
}

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_gate_alone_holds_a_recovery_back(#[case] flavor: Flavor) -> Result<()> {
    let mut incident = Incident::start(flavor, Durability::Asynchronous, TEXT, json!({})).await?;
    let dead = incident.server("a")?.address();
    let gates = gates();
    let mut open_before: Option<&Gate> = None;
    turn(&mut incident, &gates[0].closes, &dead).await?;
    let writer = incident.write().await?;
    let blow = incident.strike(Server::kill).await?;
    for (index, gate) in gates.iter().enumerate() {
        // The next is closed before the last one opens: at no moment are all open.
        if index > 0 {
            turn(&mut incident, &gate.closes, &dead).await?;
        }
        if let Some(before) = open_before {
            turn(&mut incident, &before.opens, &dead).await?;
        }
        named(&incident, gate.name, &dead).await.with_context(|| format!("{flavor}, gate {}", gate.name))?;
        tokio::time::sleep(LONG_ENOUGH).await;
        named(&incident, gate.name, &dead).await.with_context(|| format!("{flavor}, gate {} later", gate.name))?;
        ensure!(recoveries(&incident).await?.is_empty(), "{}: recovered through it", gate.name);
        open_before = Some(gate);
    }
    // The last one opens: it was held back, not forgotten.
    if let Some(last) = open_before {
        turn(&mut incident, &last.opens, &dead).await?;
    }
    incident.taken_over(&blow, &writer).await?;
    incident.settled(&blow, writer).await?;
    Ok(())
}

/// A second failure right after the first: held back while the period lasts, explained, and recovered once acknowledged.
#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_primary_that_dies_waits_for_people(#[case] flavor: Flavor) -> Result<()> {
    let settings = json!({ "RecoveryPeriodBlockSeconds": 3600, "ClusterNameToAlias": { "127.0.0.1": "shop" } });
    let mut incident = Incident::start(flavor, Durability::Asynchronous, "a\n  b\n  c\n  d", settings).await?;
    let writer = incident.write().await?;
    let first = incident.strike(Server::kill).await?;
    incident.taken_over(&first, &writer).await?;
    incident.settled(&first, writer).await?;
    incident.topology.servers.retain(|(name, _)| *name != first.victim);
    let writer = incident.write().await?;
    let second = incident.strike(Server::kill).await?;
    let dead = incident.server(&second.victim)?.address();
    wait::until("the second failure is held back", LIMIT, || async {
        let closed = closed(&incident, &dead).await?;
        let wanted: BTreeSet<String> =
            ["recently-promoted", "recently-recovered"].into_iter().map(str::to_owned).collect();
        Ok((closed.as_ref() == Some(&wanted)).then_some(()))
    })
    .await
    .with_context(|| format!("{flavor}"))?;
    tokio::time::sleep(LONG_ENOUGH).await;
    ensure!(recoveries(&incident).await?.len() == 1, "a cluster flaps: {:?}", recoveries(&incident).await?);
    let blocked = incident.fleet.get("service", "/api/blocked-recoveries").await?;
    ensure!(blocked.1.contains(&second_port(&dead)), "blocked: {blocked:?}");
    incident.fleet.ok(&["-c", "ack-all-recoveries", "--reason", "seen"]).await?;
    incident.taken_over(&second, &writer).await?;
    incident.settled(&second, writer).await?;
    Ok(())
}

fn second_port(address: &str) -> String {
    format!("\"Port\":{}", address.rsplit(':').next().unwrap_or_default())
}

async fn turn(incident: &mut Incident, how: &How, dead: &str) -> Result<()> {
    match how {
        How::Setting(settings) => incident.fleet.reload("service", settings.clone()).await,
        How::Command(words) => {
            let words: Vec<&str> = words.iter().map(|word| if *word == "@a" { dead } else { word }).collect();
            incident.fleet.ok(&words).await.map(|_| ())
        }
    }
}

/// Waits until exactly this gate is closed for what happened to the primary.
async fn named(incident: &Incident, gate: &str, dead: &str) -> Result<()> {
    let wanted: BTreeSet<String> = BTreeSet::from([gate.to_owned()]);
    let found = wait::until("explain names the gate", LIMIT, || async {
        Ok((closed(incident, dead).await?.as_ref() == Some(&wanted)).then_some(()))
    });
    match found.await {
        Ok(()) => Ok(()),
        Err(error) => {
            let said = incident.fleet.ok(&["explain", dead]).await.unwrap_or_default();
            Err(error.context(format!("{said}\n{}", incident.diagnosis().await)))
        }
    }
}

/// The closed gates for the present failure of this server; `None`: no failure is seen.
async fn closed(incident: &Incident, dead: &str) -> Result<Option<BTreeSet<String>>> {
    let said = incident.fleet.ok(&["explain", dead, "--json"]).await?;
    let said: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    let cases = said["present"].as_array().context("no list of failures")?;
    let Some(case) = cases.iter().find(|case| case["instance"] == dead && case["analysis"] == "DeadMaster") else {
        return Ok(None);
    };
    let gates = case["gates"].as_array().context("no gates")?;
    let closed = gates.iter().filter(|gate| gate["open"] == false).filter_map(|gate| gate["gate"].as_str());
    Ok(Some(closed.map(str::to_owned).collect()))
}

/// The codes of all recoveries ever opened.
async fn recoveries(incident: &Incident) -> Result<Vec<String>> {
    let pool = incident.fleet.pool().await?;
    let rows = sqlx::query("SELECT code FROM recovery").fetch_all(&pool).await?;
    Ok(rows.iter().map(|row| row.try_get_unchecked::<String, _>(0)).collect::<sqlx::Result<_>>()?)
}
