//! One snapshot per resource, and the schema document as a whole.

use serde_json::json;
use utoipa::OpenApi as _;

use super::*;
use crate::clock::Timestamp;
use crate::fixtures::{self, NOW};

fn pretty<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("plain data")
}

fn job() -> Job {
    Job {
        id: 4_001,
        kind: "discover".into(),
        state: JobState::Scheduled,
        lane: "discovery/dc1".into(),
        priority: 30,
        unique_key: Some("discover:db1:3306".into()),
        attempts: 1,
        max_attempts: 3,
        rescues: 0,
        age_seconds: 12.5,
        error: Some("connection refused".into()),
        payload: None,
        output: None,
        merged_into: None,
        worker: None,
        submitted_by: "ann@db-ops".into(),
        submitted_at: Timestamp(NOW),
        run_at: Some(Timestamp(NOW + 60_000_000)),
        claimed_at: None,
        finished_at: None,
    }
}

#[test]
fn instances() {
    let detail = InstanceDetail::new(&fixtures::mysql_replica(), &fixtures::view());
    insta::assert_snapshot!("v2_instance_detail", pretty(&detail));
    let read: InstanceDetail = serde_json::from_str(&pretty(&detail)).expect("own document");
    assert_eq!(read, detail);
    let lost = InstanceSummary::new(&fixtures::lost_mysql_primary(), &fixtures::view());
    assert_eq!((lost.role, lost.status.as_str(), lost.is_downtimed), (Role::Primary, "invalid", true));
    let unseen = InstanceSummary::new(&fixtures::never_seen(), &fixtures::view());
    assert_eq!((unseen.role, unseen.last_seen_at), (Role::Unknown, None));
}

#[test]
fn clusters_count_who_has_problems() {
    let (primary, replica, lost) =
        (fixtures::mysql_primary(), fixtures::mysql_replica(), fixtures::lost_mysql_primary());
    let mut stopped = fixtures::mariadb_replica();
    stopped.downtime = None;
    let members = [&primary, &replica, &stopped];
    let cluster = Cluster::new("127.0.0.1:16001", "", "", &members, &fixtures::view());
    assert_eq!((cluster.instance_count, cluster.problem_count, cluster.downtimed_count), (3, 1, 0));
    assert_eq!((cluster.alias.as_str(), cluster.primary.as_deref()), ("127.0.0.1:16001", Some("127.0.0.1:16001")));
    let gone = Cluster::new("127.0.0.1:16001", "shop", "", &[&lost], &fixtures::view());
    assert_eq!((gone.problem_count, gone.downtimed_count), (0, 1));
}

#[test]
fn jobs_lanes_nodes_and_problems() {
    let node = Node {
        token: "f00d".into(),
        name: "db-ops".into(),
        role: "service+worker".into(),
        datacenters: vec!["dc1".into()],
        version: "0.1.0".into(),
        address: Some("127.0.0.1:3000".into()),
        pid: 77,
        is_leader: true,
        started_at: Timestamp(NOW - 60_000_000),
        heartbeat_at: Timestamp(NOW),
        seconds_since_heartbeat: 0.4,
        load: json!({"running_jobs": 3}),
    };
    let lane = Lane {
        name: "probes/dc1".into(),
        queue: "probes".into(),
        datacenter: "dc1".into(),
        depth: 0,
        scheduled: 1,
        running: 2,
        failed: 0,
        oldest_age_seconds: None,
        workers: 1,
    };
    let problem = Problem::new(404, "not-found", "Not found").with_detail("no job 9").at("/api/v2/jobs/9");
    let text = [
        pretty(&Page { items: vec![job()], next: Some("4001".into()) }),
        pretty(&JobAccepted::new(4_001, true)),
        pretty(&lane),
        pretty(&node),
        pretty(&problem),
    ];
    insta::assert_snapshot!("v2_fleet", text.join("\n"));
    assert_eq!(serde_json::from_str::<Job>(&pretty(&job())).expect("own document"), job());
}

#[test]
fn operations_and_plans() {
    let refusal = Refusal {
        rule: "lagging".into(),
        instance: "db4:3306".into(),
        reason: "db4:3306 lags by 90 s".into(),
        remedy: "wait until it has caught up".into(),
    };
    let step = OperationStep {
        run: 1,
        part: "branch".into(),
        branch: 0,
        sequence: 2,
        instance: "db3:3306".into(),
        text: "replicate from db2:3306".into(),
        state: StepState::Done,
        token: 77,
        worker: "svc1".into(),
        begun_at: Timestamp(NOW),
        ended_at: Some(Timestamp(NOW + 12_000)),
        duration_seconds: Some(0.012),
        error: None,
    };
    let operation = Operation {
        id: 12,
        job: Some(4_001),
        operation: "relocate-replicas".into(),
        instance: "db1:3306".into(),
        cluster_name: "db1:3306".into(),
        request: "relocate-replicas db1:3306 below db2:3306".into(),
        plan_only: false,
        actor: "ann@db-ops".into(),
        state: OperationState::Done,
        runs: 1,
        executor: Some("svc1".into()),
        method: Some("GTID".into()),
        because: Some("both use GTID".into()),
        result: None,
        done: vec![OperationDone { instance: "db3:3306".into(), new_source: Some("db2:3306".into()) }],
        failed: vec![OperationFailure { instance: "db5:3306".into(), error: "it did not answer".into() }],
        left_out: vec![refusal.clone()],
        warnings: vec!["db3:3306 is downtimed".into()],
        refusal: None,
        error: None,
        created_at: Timestamp(NOW - 1_000_000),
        started_at: Some(Timestamp(NOW - 900_000)),
        finished_at: Some(Timestamp(NOW + 100_000)),
        duration_seconds: Some(1.0),
        plan: None,
        steps: Some(vec![step]),
    };
    let reply = PlanReply { operation: 13, plan: None, text: None, refusal: Some(refusal) };
    let request = OperationRequest {
        operation: "relocate".into(),
        instance: "db3:3306".into(),
        below: Some("db2:3306".into()),
        ..OperationRequest::default()
    };
    let text = [pretty(&request), pretty(&OperationAccepted::new(12, 4_001)), pretty(&operation), pretty(&reply)];
    insta::assert_snapshot!("v2_operations", text.join("\n"));
    assert_eq!(serde_json::from_str::<Operation>(&pretty(&operation)).expect("own document"), operation);
    let short: OperationRequest =
        serde_json::from_str(r#"{"operation":"move-up-replicas","of":"db1:3306"}"#).expect("a request");
    assert_eq!((short.instance.as_str(), short.below), ("db1:3306", None));
    assert!(serde_json::from_str::<OperationRequest>(r#"{"operation":"x","instance":"a","belwo":"b"}"#).is_err());
}

#[test]
fn analyses() {
    let finding = fixtures::finding_about_the_lost_primary();
    let analysis = Analysis::new(&finding, "", NOW);
    insta::assert_snapshot!("v2_analysis", pretty(&analysis));
    assert_eq!(serde_json::from_str::<Analysis>(&pretty(&analysis)).expect("own document"), analysis);
}

#[test]
fn job_states_read_back() {
    for state in JobState::ALL {
        assert_eq!(JobState::parse(state.as_str()), Some(state));
        assert_eq!(serde_json::to_value(state).expect("plain word"), json!(state.as_str()));
    }
    assert_eq!(JobState::parse("Ready"), None);
    assert_eq!(JobState::ALL.into_iter().filter(|state| state.is_final()).count(), 4);
}

#[test]
fn pages_are_cut_at_the_limit() {
    let cursor = |item: &u32| item.to_string();
    assert_eq!(Page::cut(vec![1, 2, 3], 2, cursor), Page { items: vec![1, 2], next: Some("2".into()) });
    assert_eq!(Page::cut(vec![1, 2], 2, cursor), Page::whole(vec![1, 2]));
    assert_eq!(Page::cut(Vec::new(), 0, cursor), Page::whole(Vec::new()));
    assert_eq!(pretty(&Page::<u8>::whole(Vec::new())), "{\n  \"items\": []\n}");
}

#[test]
fn the_schema_document_names_every_type_it_refers_to() {
    let document = serde_json::to_value(Schemas::openapi()).expect("OpenAPI document");
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().expect("closing quote");
        assert!(schemas.contains_key(name), "{name} is referred to and not defined");
    }
    let names: Vec<_> = schemas.keys().map(String::as_str).collect();
    insta::assert_snapshot!("v2_schemas", names.join("\n"));
    assert_eq!(schemas["Problem"]["properties"]["type"]["type"], "string");
}
