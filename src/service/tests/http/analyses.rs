//! What is wrong with replication, in both APIs.

use serde_json::Value;
use store::analyses::Said;

use crate::fleet::{Fleet, fail, key, on_both};

const NOTHING: &str = r#"{"Code":"OK","Message":"Analysis","Details":[]}"#;

/// `host: analysis structure...` of each entry.
async fn listed(fleet: &Fleet, path: &str) -> Vec<String> {
    let reply: Value = serde_json::from_str(&fleet.ok(path).await).expect(path);
    let line = |one: &Value| {
        let structure = one["StructureAnalysis"].as_array().cloned().unwrap_or_default();
        let words = [&one["AnalyzedInstanceKey"]["Hostname"], &one["Analysis"]].into_iter().chain(&structure);
        words.map(|word| word.as_str().expect("text")).collect::<Vec<_>>().join(" ")
    };
    reply["Details"].as_array().expect("list").iter().map(line).collect()
}

#[tokio::test]
async fn a_primary_that_does_not_answer_is_listed_everywhere() {
    on_both(async |fleet| {
        for path in ["/api/replication-analysis", "/api/replication-analysis/shop"] {
            assert_eq!(fleet.ok(path).await, NOTHING, "{path}");
        }
        fail(&fleet.handles.pool, "db1").await;
        for path in [
            "/api/replication-analysis",
            "/api/replication-analysis/shop",
            "/api/replication-analysis/db1:3306",
            "/api/replication-analysis/instance/db1/3306",
        ] {
            assert_eq!(listed(&fleet, path).await, ["db1 UnreachableMaster"], "{path}");
        }
        for path in [
            "/api/replication-analysis/solo",
            "/api/replication-analysis/nowhere",
            "/api/replication-analysis/instance/db2/3306",
            "/api/replication-analysis/instance/nowhere/3306",
        ] {
            assert_eq!(fleet.ok(path).await, NOTHING, "{path}");
        }
        let page: Value = serde_json::from_str(&fleet.ok("/api/v2/analyses?cluster=shop").await).expect("JSON");
        let one = &page["items"][0];
        assert_eq!((&one["instance"], &one["cluster_alias"]), (&"db1:3306".into(), &"shop".into()));
        assert_eq!(one["replicas"][0]["says"], "outdated", "it was asked before the primary fell silent: {one}");
        let evidence = one["evidence"].as_str().expect("text");
        assert!(evidence.contains("cannot connect to db1"), "{evidence}");
        let none = fleet.ok("/api/v2/analyses?instance=solo:3306").await;
        assert_eq!(none, r#"{"items":[]}"#);
        assert_eq!(fleet.get("/api/v2/analyses?cluster=nowhere").await.status.as_u16(), 404);
    })
    .await;
}

#[tokio::test]
async fn downtime_marks_filters_leave_out_and_say_what_is_automated() {
    on_both(async |fleet| {
        fail(&fleet.handles.pool, "db1").await;
        fleet.ok("/api/begin-downtime/db1/3306/ann/disk/1h").await;
        let fleet = fleet.with(|settings| {
            settings.recovery.recover_master_cluster_filters = vec!["alias=shop".to_owned()];
            settings.recovery.recover_intermediate_master_cluster_filters = vec!["shop-eu".to_owned()];
        });
        let reply: Value = serde_json::from_str(&fleet.ok("/api/replication-analysis").await).expect("JSON");
        let one = &reply["Details"][0];
        assert_eq!((&one["IsDowntimed"], &one["SkippableDueToDowntime"]), (&true.into(), &true.into()));
        let remaining = one["DowntimeRemainingSeconds"].as_i64().expect("number");
        assert!((-3600..-3500).contains(&remaining), "{remaining}");
        let cluster = &one["ClusterDetails"];
        assert_eq!(cluster["HasAutomatedMasterRecovery"], true);
        assert_eq!(cluster["HasAutomatedIntermediateMasterRecovery"], false);
        assert_eq!((&cluster["ClusterDomain"], &cluster["CountInstances"]), (&"db1:3306".into(), &0.into()));
        let ignoring =
            fleet.with(|settings| settings.recovery.recovery_ignore_hostname_filters = vec!["^db[0-9]$".to_owned()]);
        assert_eq!(ignoring.ok("/api/replication-analysis").await, NOTHING);
    })
    .await;
}

#[tokio::test]
async fn changes_of_analyses_are_kept() {
    on_both(async |fleet| {
        assert_eq!(fleet.ok("/api/replication-analysis-changelog").await, "null");
        let mut conn = fleet.handles.pool.acquire().await.expect("connection");
        for code in ["NoProblem", "UnreachableMaster", "UnreachableMaster", "DeadMaster"] {
            let said = Said { key: &key("db1"), cluster_name: "db1:3306", code };
            store::analyses::note(&mut conn, &[said]).await.expect("noted");
        }
        let log: Value = serde_json::from_str(&fleet.ok("/api/replication-analysis-changelog").await).expect("JSON");
        assert_eq!(log[0]["AnalyzedInstanceKey"]["Hostname"], "db1");
        let changes = log[0]["Changelog"].as_array().expect("list");
        let codes: Vec<&str> =
            changes.iter().filter_map(|one| one.as_str()?.split_once(';')).map(|(_, code)| code).collect();
        assert_eq!(codes, ["UnreachableMaster,", "DeadMaster,"]);
        let scraped = fleet.ok("/metrics").await;
        for line in [
            r#"orchestrator_problems{cluster="db1:3306",code="DeadMaster",acts="recovery"} 1"#,
            "orchestrator_recoveries_open 0",
            "orchestrator_recoveries_blocked 0",
            "orchestrator_recoveries_disabled 0",
        ] {
            assert!(scraped.lines().any(|found| found == line), "{line} in\n{scraped}");
        }
    })
    .await;
}
