//! Recoveries over HTTP: the records, the words that begin one, acknowledgements, the switch.

use axum::http::Method;
use jobs::recover::{Opened, open};
use serde_json::{Value, json};
use std::time::Duration;
use store::detections::NewDetection;
use store::hook_runs::{HookBegin, HookOwner, HookState, NewHookRun};
use store::maintenance::Claim;
use store::operations::{Begun, Finish, Run, State};
use store::recoveries::{Close, Kind, NewBlocked, NewEvent, NewRecovery, Outcome, Phase, Progress};

use crate::fleet::{Fleet, fail, key, on_both};

const HOUR: Duration = Duration::from_secs(3600);

struct Incident {
    detection: u64,
    recovery: u64,
    uid: String,
    run: Run,
}

/// `db1` failed: found, and a worker has taken its recovery up.
async fn begun(fleet: &Fleet) -> Incident {
    let pool = &fleet.handles.pool;
    let entry = json!({ "Analysis": "DeadMaster", "CountReplicas": 2, "OracleGTIDImmediateTopology": true,
                        "Replicas": [{ "Hostname": "db2", "Port": 3306 }] });
    let (failed, replicas) = (key("db1"), [key("db2"), key("db3")]);
    let found = NewDetection {
        key: &failed,
        code: "DeadMaster",
        cluster_name: "db1:3306",
        cluster_alias: "shop",
        is_actionable: true,
        replicas: &replicas,
        entry: &entry,
        node: "orc-1",
        node_token: "t1",
    };
    let mut tx = pool.begin().await.expect("transaction");
    let detection = store::detections::register(&mut tx, &found).await.expect("registered").expect("new");
    let verdicts = json!([{ "gate": "filter", "passed": true, "reason": "it matches .*", "setting": "RecoverMasterClusterFilters" }]);
    let new = NewRecovery {
        kind: Kind::Primary,
        code: "DeadMaster",
        command_hint: "",
        failed: &failed,
        cluster_name: "db1:3306",
        cluster_alias: "shop",
        detection_id: Some(detection),
        force: false,
        suppress_hooks: false,
        requested_candidate: None,
        entry: &entry,
        verdicts: &verdicts,
        actor: "",
        node: "orc-1",
        node_token: "t1",
    };
    let Opened::New { recovery, operation, .. } = open(&mut tx, &new).await.expect("opened") else { panic!("open") };
    tx.commit().await.expect("committed");
    let claim = Claim { owner: "", reason: "recover", duration: HOUR, holder_node: "w1" };
    let Begun::Run { run, .. } = store::operations::begin_run(pool, operation, claim).await.expect("run") else {
        panic!("not begun")
    };
    let uid = store::recoveries::read(pool, recovery).await.expect("read").expect("there").uid;
    Incident { detection, recovery, uid, run }
}

/// `db2` took over.
async fn won(fleet: &Fleet, incident: &Incident) {
    let (pool, run, id) = (&fleet.handles.pool, incident.run, incident.recovery);
    assert!(store::recoveries::set_phase(pool, run, id, Phase::Promoting, "w1").await.expect("phase"));
    let choice = json!({
        "successor": key("db2"), "followers": [key("db3")], "lost": [], "because": "it has all",
        "considered": [{ "key": key("db2"), "verdict": { "verdict": "chosen" }, "rank": "neutral" }],
    });
    assert!(store::recoveries::save_choice(pool, run, id, Some(&key("db2")), &choice).await.expect("choice"));
    let outage = json!({ "seconds": 0.25, "at_most_seconds": 0.5, "is_write_pause": false });
    let known = Progress {
        successor_alias: Some("shop"),
        successor_coordinates: Some("binlog.000003:157"),
        lost: Some(&[key("db3")]),
        participating: Some(&[key("db2")]),
        outage: Some(&outage),
        ..Progress::default()
    };
    assert!(store::recoveries::note_result(pool, run, id, &known).await.expect("results"));
    let note = NewEvent { run: 1, worker: "w1", kind: "fact", text: "db1:3306 gives no sign of life", data: None };
    store::recoveries::event(pool, id, &note).await.expect("noted");
    let hook = NewHookRun {
        owner: HookOwner::Recovery(id),
        list: "PostFailoverProcesses",
        index: 0,
        command: "notify {failedHost}",
        worker: "w1",
        run: Some(run),
    };
    let mut conn = pool.acquire().await.expect("connection");
    let HookBegin::Begun(hook) = store::hook_runs::begin(&mut conn, &hook).await.expect("hook") else {
        panic!("begun")
    };
    assert!(store::hook_runs::end(pool, hook, HookState::Done, Some(0), "told\n").await.expect("ended"));
    let successor = key("db2");
    let close = Close { outcome: Outcome::Recovered, successor: Some(&successor), hold: HOUR, text: "recovered" };
    let finish = Finish { state: State::Done, outcome: &Value::Null, error: "", message: "recovered" };
    assert!(store::recoveries::finish(pool, run, id, &close, finish).await.expect("finished"));
}

async fn json_of(fleet: &Fleet, path: &str) -> Value {
    serde_json::from_str(&fleet.ok(path).await).expect(path)
}

fn names(record: &Value) -> Vec<String> {
    record.as_object().expect("object").keys().cloned().collect()
}

#[tokio::test]
async fn a_recovery_is_told_in_the_words_of_the_original() {
    on_both(async |fleet| {
        for path in [
            "audit-recovery",
            "audit-recovery/1",
            "audit-recovery/id/1",
            "audit-recovery/uid/x",
            "audit-recovery/cluster/db1:3306",
            "audit-recovery/alias/shop",
            "audit-recovery-steps/x",
            "audit-failure-detection",
            "audit-failure-detection/id/1",
            "audit-failure-detection/alias/shop/0",
            "active-cluster-recovery/db1:3306",
            "recently-active-cluster-recovery/db1:3306",
            "recently-active-instance-recovery/db2/3306",
            "blocked-recoveries",
            "blocked-recoveries/cluster/db1:3306",
        ] {
            assert_eq!(fleet.ok(&format!("/api/{path}")).await, "[]", "{path}");
        }
        let incident = begun(&fleet).await;
        let open = json_of(&fleet, "/api/active-cluster-recovery/db1:3306").await;
        assert_eq!((&open[0]["IsActive"], &open[0]["RecoveryEndTimestamp"]), (&true.into(), &"".into()), "{open}");
        assert_eq!(open[0]["SuccessorKey"], json!({ "Hostname": "", "Port": 0 }));
        won(&fleet, &incident).await;
        assert_eq!(fleet.ok("/api/active-cluster-recovery/db1:3306").await, "[]");
        let record = json_of(&fleet, "/api/audit-recovery").await[0].clone();
        let raw = fleet.ok("/api/audit-recovery").await;
        assert!(
            raw.starts_with(&format!(r#"[{{"Id":{},"UID":"{}","AnalysisEntry":{{"#, incident.recovery, incident.uid)),
            "{raw}"
        );
        assert!(
            raw.ends_with(r#""RelatedRecoveryId":0,"Type":"MasterRecovery","RecoveryType":"MasterRecoveryGTID"}]"#),
            "{raw}"
        );
        assert_eq!(names(&record).len(), 23, "{record}");
        assert_eq!(names(&record["AnalysisEntry"]).len(), 57, "{record}");
        let successor = json!({ "Hostname": "db2", "Port": 3306 });
        assert_eq!(record["SuccessorKey"], successor);
        assert_eq!(
            record["SuccessorBinlogCoordinates"],
            json!({ "LogFile": "binlog.000003", "LogPos": 157, "Type": 0 })
        );
        assert_eq!((&record["IsSuccessful"], &record["AllErrors"]), (&true.into(), &json!([""])));
        assert_eq!(record["LastDetectionId"], incident.detection);
        let entry = &record["AnalysisEntry"];
        assert_eq!((&entry["Analysis"], &entry["CountReplicas"]), (&"DeadMaster".into(), &2.into()));
        assert_eq!(entry["ClusterDetails"]["ClusterAlias"], "shop");
        for path in [
            format!("id/{}", incident.recovery),
            format!("uid/{}", incident.uid),
            "cluster/db1:3306".to_owned(),
            "cluster/db1:3306/0".to_owned(),
            "alias/shop".to_owned(),
            "alias/shop/0".to_owned(),
            "0".to_owned(),
        ] {
            assert_eq!(fleet.ok(&format!("/api/audit-recovery/{path}")).await, raw, "{path}");
        }
        for path in ["recently-active-cluster-recovery/db1:3306", "recently-active-instance-recovery/db2/3306"] {
            assert_eq!(fleet.ok(&format!("/api/{path}")).await, raw, "{path}");
        }
        for path in ["recently-active-instance-recovery/db3/3306", "audit-recovery/alias/other", "audit-recovery/7"] {
            assert_eq!(fleet.ok(&format!("/api/{path}")).await, "[]", "{path}");
        }
        let steps = json_of(&fleet, &format!("/api/audit-recovery-steps/{}", incident.uid)).await;
        let told: Vec<&str> =
            steps.as_array().expect("list").iter().filter_map(|one| one["Message"].as_str()).collect();
        assert_eq!(told[0], "promoting");
        assert_eq!(told[1], "db1:3306 gives no sign of life");
        assert!(told[2].starts_with("PostFailoverProcesses 1: notify {failedHost}: done in "), "{told:?}");
        assert_eq!((told[3], told.len()), ("recovered", 4));
        assert_eq!(steps[0]["RecoveryUID"], incident.uid.as_str());
        let detection = json_of(&fleet, "/api/audit-failure-detection/alias/shop").await[0].clone();
        assert_eq!((&detection["Id"], &detection["UID"]), (&incident.detection.into(), &"".into()));
        assert_eq!((&detection["SuccessorKey"], &detection["AllErrors"]), (&Value::Null, &Value::Null));
        assert_eq!(detection["RelatedRecoveryId"], incident.recovery);
        let same = fleet.ok(&format!("/api/audit-failure-detection/id/{}", incident.detection)).await;
        assert_eq!(same, fleet.ok("/api/audit-failure-detection").await);
    })
    .await;
}

#[tokio::test]
async fn one_recovery_has_everything_in_the_rest_api() {
    on_both(async |fleet| {
        let incident = begun(&fleet).await;
        let busy = fleet.refusal("/api/recover/db1/3306").await;
        assert!(busy.contains("nothing is wrong with it"), "{busy}");
        won(&fleet, &incident).await;
        let whole = json_of(&fleet, &format!("/api/v2/recoveries/{}", incident.recovery)).await;
        assert_eq!(json_of(&fleet, &format!("/api/v2/recoveries/{}", incident.uid)).await["id"], whole["id"]);
        assert_eq!((&whole["outcome"], &whole["successor"]), (&"recovered".into(), &"db2:3306".into()));
        assert_eq!((&whole["outage"]["seconds"], &whole["lost"]), (&0.25.into(), &json!(["db3:3306"])));
        assert_eq!(whole["gates"][0]["gate"], "filter");
        assert_eq!(whole["choice"]["because"], "it has all");
        let kinds: Vec<&str> =
            whole["timeline"].as_array().expect("list").iter().filter_map(|one| one["kind"].as_str()).collect();
        assert_eq!(kinds, ["phase", "fact", "hook", "closed"]);
        assert_eq!(whole["timeline"][2]["data"]["output"], "told\n");
        let list = json_of(&fleet, "/api/v2/recoveries?cluster=shop&unacknowledged=true").await;
        assert_eq!((&list["items"][0]["id"], list["items"][0].get("timeline")), (&whole["id"], None));
        assert_eq!(fleet.ok("/api/v2/recoveries?open=true").await, r#"{"items":[]}"#);
        let found = json_of(&fleet, "/api/v2/detections?instance=db1:3306&open=true").await;
        assert_eq!(found["items"][0]["recovery"], whole["id"]);
        assert_eq!(fleet.get("/api/v2/recoveries/77").await.status.as_u16(), 404);
        assert_eq!(fleet.get("/api/v2/recoveries?page=x").await.status.as_u16(), 400);
        let body = r#"{"cluster":"shop","comment":" seen "}"#;
        let done =
            fleet.send(Method::POST, "/api/v2/acknowledgements", &[("content-type", "application/json")], body).await;
        assert_eq!((done.status.as_u16(), done.body), (200, format!(r#"{{"acknowledged":[{}]}}"#, incident.recovery)));
        let seen = json_of(&fleet, &format!("/api/v2/recoveries/{}", incident.recovery)).await;
        assert_eq!((&seen["acknowledged"]["comment"], &seen["is_active"]), (&"seen".into(), &false.into()));
        assert_eq!(fleet.ok("/api/v2/detections?open=true").await, r#"{"items":[]}"#, "released as well");
        for body in
            [r#"{"comment":"x"}"#, r#"{"comment":"x","all":true,"recovery":1}"#, r#"{"comment":" ","all":true}"#]
        {
            let reply = fleet
                .send(Method::POST, "/api/v2/acknowledgements", &[("content-type", "application/json")], body)
                .await;
            assert_eq!(reply.status.as_u16(), 400, "{body}: {}", reply.body);
        }
    })
    .await;
}

#[tokio::test]
async fn acknowledging_needs_a_comment_and_answers_what_was_named() {
    on_both(async |fleet| {
        let incident = begun(&fleet).await;
        won(&fleet, &incident).await;
        for path in [
            "ack-all-recoveries",
            "ack-recovery/1",
            "ack-recovery/uid/x",
            "ack-recovery/cluster/shop",
            "ack-recovery/instance/db1/3306",
        ] {
            let said = fleet.refusal(&format!("/api/{path}?comment=%20")).await;
            assert!(said.contains("comment"), "{path}: {said}");
        }
        assert!(fleet.refusal("/api/ack-recovery/77?comment=x").await.contains("no recovery 77"));
        assert!(fleet.refusal("/api/ack-recovery/uid/nothing?comment=x").await.contains("nothing"));
        assert!(fleet.refusal("/api/ack-recovery/cluster/nowhere?comment=x").await.contains("nowhere"));
        let done = fleet.ok("/api/ack-recovery/instance/db2/3306?comment=x").await;
        assert!(
            done.ends_with(r#""Details":{"Hostname":"db2","Port":3306}}"#),
            "the successor is not the failed one: {done}"
        );
        assert!(fleet.ok("/api/audit-recovery?unacknowledged=true").await.contains("UID"));
        let done = fleet.ok("/api/ack-recovery/cluster/alias/shop?comment=the%20disk").await;
        assert_eq!(done, r#"{"Code":"OK","Message":"Acknowledged cluster recoveries","Details":"db1:3306"}"#);
        assert_eq!(fleet.ok("/api/audit-recovery?unacknowledged=true").await, "[]");
        let record = json_of(&fleet, "/api/audit-recovery").await[0].clone();
        assert_eq!((&record["Acknowledged"], &record["AcknowledgedComment"]), (&true.into(), &"the disk".into()));
        assert_eq!(record["IsActive"], false);
        let done = fleet.ok(&format!("/api/ack-recovery/{}?comment=again", incident.recovery)).await;
        assert!(done.ends_with(&format!(r#""Details":"{}"}}"#, incident.recovery)), "{done}");
        assert!(
            fleet.ok("/api/ack-all-recoveries?comment=all%20of%20them").await.ends_with(r#""Details":"all of them"}"#)
        );
        assert!(fleet.ok("/api/audit").await.contains("ack-cluster-recoveries"));
    })
    .await;
}

#[tokio::test]
async fn the_switch_and_what_is_held_back() {
    on_both(async |fleet| {
        let enabled = r#"{"Code":"OK","Message":"Global recoveries enabled","Details":"enabled"}"#;
        assert_eq!(fleet.ok("/api/check-global-recoveries").await, enabled);
        assert!(fleet.ok("/api/disable-global-recoveries").await.ends_with(r#""Details":"disabled"}"#));
        assert!(fleet.ok("/api/check-global-recoveries").await.ends_with(r#""Details":"disabled"}"#));
        let switch = json_of(&fleet, "/api/v2/recovery-switch").await;
        assert_eq!(switch["is_disabled"], true);
        let body = r#"{"is_disabled":false}"#;
        let turned =
            fleet.send(Method::PUT, "/api/v2/recovery-switch", &[("content-type", "application/json")], body).await;
        assert_eq!(turned.status.as_u16(), 200, "{}", turned.body);
        assert_eq!(fleet.ok("/api/check-global-recoveries").await, enabled);
        let failed = key("db1");
        let mut conn = fleet.handles.pool.acquire().await.expect("connection");
        let held = NewBlocked {
            key: &failed,
            code: "DeadMaster",
            cluster_name: "db1:3306",
            blocking: None,
            reason: "downtimed",
        };
        store::recoveries::block(&mut conn, &held).await.expect("noted");
        let told = json_of(&fleet, "/api/blocked-recoveries/cluster/db1:3306").await;
        assert_eq!((&told[0]["Analysis"], &told[0]["BlockingRecoveryId"]), (&"DeadMaster".into(), &0.into()));
        assert_eq!(names(&told[0]).len(), 5);
        assert_eq!(fleet.ok("/api/blocked-recoveries/cluster/other").await, "[]");
        let told = json_of(&fleet, "/api/v2/blocked-recoveries?cluster=shop").await;
        assert_eq!(told["items"][0]["reason"], "downtimed");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_recovered_is_refused_with_the_reason() {
    on_both(async |fleet| {
        for (path, expected) in [
            ("recover/db1/3306", "Recovery not attempted: db1:3306: nothing is wrong with it"),
            ("recover/db9/3306", "db9:3306"),
            ("recover-lite/db1/3306/db2/3306", "Recovery not attempted"),
            ("graceful-master-takeover/shop", "GracefulMasterTakeover: target instance not indicated"),
            (
                "graceful-master-takeover/shop/db4/3306",
                "db4:3306 must be directly replicating from the master db1:3306",
            ),
            ("graceful-master-takeover/nowhere", "nowhere"),
            ("graceful-master-takeover-auto/solo/3306", "nobody could take over"),
            ("graceful-master-takeover-auto/shop/db2/3306", "no live worker"),
            ("force-master-failover/solo:3306", "nobody could take over"),
            ("force-master-failover/db4/3306", "no live worker"),
            ("force-master-takeover/shop/db4/3306", "db4:3306 must be directly replicating"),
            ("force-master-takeover/shop/db9/3306", "db9:3306"),
        ] {
            let said = fleet.refusal(&format!("/api/{path}")).await;
            assert!(said.contains(expected), "{path}: {said}");
        }
        let reply = fleet.get("/api/recover/db1/3306").await;
        assert!(reply.body.ends_with(r#""Details":{"Hostname":"db1","Port":3306}}"#), "{}", reply.body);
        fail(&fleet.handles.pool, "db1").await;
        let said = fleet.refusal("/api/recover/db1/3306").await;
        assert!(said.contains("the analysis is UnreachableMaster, for which there is no recovery"), "{said}");
        let said = fleet.refusal("/api/graceful-master-takeover/shop/db2/3306").await;
        assert!(said.contains("did not answer its last check"), "{said}");
        fleet.ok("/api/begin-maintenance/db1/3306/ann/moving").await;
        let said = fleet.refusal("/api/force-master-failover/shop").await;
        assert!(said.contains("ann") && said.contains("moving"), "{said}");
        let body = r#"{"command":"force-master-failover","cluster":"shop"}"#;
        let json = [("content-type", "application/json")];
        assert_eq!(fleet.send(Method::POST, "/api/v2/recoveries", &json, body).await.status.as_u16(), 409);
        for body in [
            r#"{"command":"recover"}"#,
            r#"{"command":"dance","cluster":"shop"}"#,
            r#"{"command":"force-master-takeover","cluster":"shop"}"#,
            r#"{"command":"force-master-failover","cluster":"shop","successor":"db2:3306"}"#,
            r#"{"command":"graceful-master-takeover-auto"}"#,
            r#"{"command":"recover","instance":"db1:3306","surprise":1}"#,
        ] {
            let reply = fleet.send(Method::POST, "/api/v2/recoveries", &json, body).await;
            assert_eq!(reply.status.as_u16(), 400, "{body}: {}", reply.body);
        }
        let body = r#"{"command":"recover","instance":"db2:3306"}"#;
        assert_eq!(fleet.send(Method::POST, "/api/v2/recoveries", &json, body).await.status.as_u16(), 409);
        assert_eq!(fleet.number("SELECT COUNT(*) FROM recovery").await, 0);
        // Nothing was begun, and that it was asked for is on record.
        let audit = fleet.ok("/api/audit").await;
        for word in ["\"recover\"", "force-master-failover", "graceful-master-takeover"] {
            assert!(audit.contains(word) && audit.contains("refused: "), "{word}: {audit}");
        }
        let of_one = fleet.ok("/api/audit/instance/db1/3306/1").await + &fleet.ok("/api/audit/instance/db1/3306").await;
        assert!(of_one.contains("refused: Recovery not attempted: db1:3306: nothing is wrong with it"), "{of_one}");
    })
    .await;
}
