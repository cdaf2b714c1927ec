//! Recoveries on real servers by calling the job: done, resumed after the loss of a worker, refused, no longer needed.

// The tests' own futures wrap those of the job, which wrap those of the driver.
#![recursion_limit = "256"]

mod dead;
mod fleet;
mod kinds;
mod takeover;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use config::Settings;
use domain::instance::InstanceKey;
use harness::Flavor;
use jobs::DetectionHooks;
use jobs::recover::RecoveryOutcome;
use queue::{Attempt, Job};
use serde_json::{Value, json};
use store::detections::NewDetection;
use store::hook_runs::{HookOwner, HookState, NewHookRun};

use fleet::process;

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test]
async fn hooks_of_a_detection_are_left_alone_while_another_job_runs_them(#[case] flavor: Flavor) -> Result<()> {
    let mut settings = Settings::default();
    settings.hooks.on_failure_detection_processes = vec!["exit 1".to_owned(), "exit 0".to_owned()];
    let schema = harness::backend(flavor).await?.schema().await?;
    let ctx = process(&schema, &settings).await?;
    store::schema::migrate(&ctx.pool).await?;
    let found = NewDetection {
        key: &InstanceKey::new("db1", 3306),
        code: "DeadMaster",
        cluster_name: "db1:3306",
        cluster_alias: "",
        is_actionable: true,
        replicas: &[],
        entry: &json!({}),
        node: "n1",
        node_token: "t1",
    };
    let mut conn = ctx.pool.acquire().await?;
    let detection = store::detections::register(&mut conn, &found).await?.context("registered already")?;
    let owner = HookOwner::Detection(detection);
    // A worker is in the first hook.
    let list = "OnFailureDetectionProcesses";
    let first = NewHookRun { owner, list, index: 0, command: "exit 1", worker: "w1", run: None };
    store::hook_runs::begin(&mut conn, &first).await?;
    sqlx::query(
        "INSERT INTO job_claimed (id, kind, lane, unique_key, payload, max_attempts, timeout_ms, submitted_at, worker, \
           claim_token, claimed_at, deadline_at) \
         VALUES (1, 'detection_hooks', 'recovery/', ?, '{}', 1, 1000, NOW(6), 'w1', 1, NOW(6), NOW(6))",
    )
    .bind(format!("detection-hooks:{detection}"))
    .execute(&mut *conn)
    .await?;
    // The same worker's name, or another: who it is says nothing.
    let attempt = || Attempt { worker: "w1".to_owned(), job_id: 2, ..Attempt::detached() };
    let states = async || -> Result<Vec<HookState>> {
        Ok(store::hook_runs::of(&ctx.pool, owner).await?.into_iter().map(|run| run.state).collect())
    };
    DetectionHooks::new(detection).run(Arc::clone(&ctx), attempt()).await?;
    assert_eq!(states().await?, [HookState::Begun]);
    // It was lost.
    sqlx::query("DELETE FROM job_claimed").execute(&mut *conn).await?;
    DetectionHooks::new(detection).run(Arc::clone(&ctx), attempt()).await?;
    assert_eq!(states().await?, [HookState::Unknown, HookState::Done]);
    Ok(())
}

#[test]
fn outcomes_are_a_wire_format() {
    let value: Value = json!({ "outcome": "recovered", "id": 7 });
    let read: RecoveryOutcome = serde_json::from_value(value).unwrap();
    assert_eq!((read.outcome.as_str(), read.id, read.outage), ("recovered", 7, None));
}
