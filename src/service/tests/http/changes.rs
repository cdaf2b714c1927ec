//! Changing what is recorded, through the compatibility API.

use axum::http::{Method, StatusCode};

use crate::fleet::{on_both, place_all, settled};

#[tokio::test]
async fn downtime() {
    on_both(async |fleet| {
        let begun = fleet.ok("/api/begin-downtime/db3/3306/ann/disk%20swap%0A/30m").await;
        let expected = r#"{"Code":"OK","Message":"Downtime begun: db3:3306 durationSeconds=1800","Details":{"Hostname":"db3","Port":3306}}"#;
        assert_eq!(begun, expected);
        let instance = fleet.ok("/api/instance/db3/3306").await;
        assert!(instance.contains(r#""IsDowntimed":true,"DowntimeReason":"disk swap","DowntimeOwner":"ann""#), "{instance}");
        assert!(fleet.ok("/api/downtimed/shop").await.contains(r#""Hostname":"db3""#));
        assert_eq!(fleet.ok("/api/downtimed/solo").await, "[]");
        assert_eq!(fleet.ok("/api/problems").await, "null", "what is downtimed is no problem");
        fleet.ok("/api/begin-downtime/db2/3306?owner=a/b&reason=c/d").await;
        assert!(fleet.ok("/api/instance/db2/3306").await.contains(r#""DowntimeReason":"c/d","DowntimeOwner":"a/b""#));
        fleet.ok("/api/end-downtime/db3/3306").await;
        fleet.ok("/api/end-downtime/db3/3306").await;
        assert!(fleet.ok("/api/instance/db3/3306").await.contains(r#""IsDowntimed":false"#));
        assert_eq!(fleet.refusal("/api/begin-downtime/db3/3306/ann/%20").await, "no reason given");
    })
    .await;
}

#[tokio::test]
async fn maintenance() {
    on_both(async |fleet| {
        assert_eq!(fleet.ok("/api/in-maintenance/db2/3306").await, r#"{"Code":"OK","Message":"false","Details":""}"#);
        fleet.ok("/api/begin-maintenance/db2/3306/ann/upgrade").await;
        let again = fleet.refusal("/api/begin-maintenance/db2/3306/bob/other").await;
        assert!(again.contains("held by ann") && again.contains("upgrade"), "{again}");
        assert_eq!(fleet.ok("/api/in-maintenance/db2/3306").await, r#"{"Code":"OK","Message":"true","Details":"db2:3306"}"#);
        let list = settled(&fleet.ok("/api/maintenance").await);
        let expected = r#"[{"MaintenanceId":1,"Key":{"Hostname":"db2","Port":3306},"BeginTimestamp":"<time>","SecondsElapsed":<n>,"IsActive":true,"Owner":"ann","Reason":"upgrade"}]"#;
        assert_eq!(list, expected);
        assert_eq!(fleet.ok("/api/end-maintenance/1").await, r#"{"Code":"OK","Message":"Maintenance ended: 1","Details":1}"#);
        fleet.ok("/api/end-maintenance/db2/3306").await;
        assert_eq!(fleet.ok("/api/maintenance").await, "[]");
    })
    .await;
}

#[tokio::test]
async fn tags() {
    on_both(async |fleet| {
        let tagged = fleet.ok("/api/tag/db2/3306?tag=role%3Dbackup").await;
        assert_eq!(
            tagged,
            r#"{"Code":"OK","Message":"db2:3306 tagged with role=backup","Details":{"Hostname":"db2","Port":3306}}"#
        );
        fleet.ok("/api/tag/db2/3306/os/linux").await;
        fleet.ok("/api/tag/db3/3306?tag=os%3Dlinux").await;
        fleet.ok("/api/tag/db4/3306?tag=in_service").await;
        assert_eq!(fleet.ok("/api/tags/db2/3306").await, r#"["os=linux","role=backup"]"#);
        assert_eq!(fleet.ok("/api/tags/db4/3306").await, r#"["in_service="]"#);
        assert_eq!(fleet.ok("/api/tag-value/db2/3306/role").await, r#""backup""#);
        assert_eq!(fleet.ok("/api/tag-value/db4/3306?tag=in_service").await, r#""""#);
        assert_eq!(fleet.ok("/api/tagged?tag=os,~role").await, r#"[{"Hostname":"db3","Port":3306}]"#);
        assert!(fleet.ok("/api/untag/db2/3306?tag=role%3Dother").await.ends_with(r#""Details":[]}"#));
        assert!(fleet.ok("/api/untag/db2/3306/role").await.ends_with(r#""Details":[{"Hostname":"db2","Port":3306}]}"#));
        let all = fleet.ok("/api/untag-all/os/linux").await;
        assert!(all.ends_with(r#"[{"Hostname":"db2","Port":3306},{"Hostname":"db3","Port":3306}]}"#), "{all}");
        assert_eq!(fleet.ok("/api/tagged?tag=os").await, "[]");
    })
    .await;
}

#[tokio::test]
async fn pools() {
    on_both(async |fleet| {
        let applied = fleet.ok("/api/submit-pool-instances/readers?instances=db2:3306,db3:3306,solo").await;
        assert_eq!(applied, r#"{"Code":"OK","Message":"Applied readers pool instances","Details":"readers"}"#);
        let members = fleet.ok("/api/cluster-pool-instances/db1:3306").await;
        assert!(
            members
                .ends_with(r#""Details":{"readers":[{"Hostname":"db2","Port":3306},{"Hostname":"db3","Port":3306}]}}"#),
            "{members}"
        );
        let usable = fleet.ok("/api/heuristic-cluster-pool-instances/shop/readers").await;
        assert_eq!(usable.matches(r#"{"Key":{"Hostname":"db"#).count(), 2, "{usable}");
        assert!(fleet.ok("/api/heuristic-cluster-pool-lag/shop").await.ends_with(r#""Details":0}"#));
        assert!(fleet.refusal("/api/heuristic-cluster-pool-lag/shop/none").await.contains("No pooled instances"));
        fleet.ok("/api/submit-pool-instances/readers?instances=").await;
        assert!(fleet.ok("/api/cluster-pool-instances/db1:3306").await.ends_with(r#""Details":{}}"#));
    })
    .await;
}

#[tokio::test]
async fn candidates_names_and_aliases() {
    on_both(async |fleet| {
        fleet.ok("/api/register-candidate/db2/3306/prefer").await;
        let rules = settled(&fleet.ok("/api/bulk-promotion-rules").await);
        let expected = r#"[{"Hostname":"db2","Port":3306,"PromotionRule":"prefer","LastSuggestedString":"<time>","PromotionRuleExpiry":"<time>"}]"#;
        assert_eq!(rules, expected);
        fleet.ok("/api/register-hostname-unresolve/db2/3306/vip2").await;
        assert!(fleet.ok("/api/instance/db2/3306").await.contains(r#""UnresolvedHostname":"vip2""#));
        fleet.ok("/api/deregister-hostname-unresolve/db2/3306").await;
        assert!(fleet.ok("/api/instance/db2/3306").await.contains(r#""UnresolvedHostname":"""#));
        fleet.ok("/api/set-cluster-alias/db1:3306?alias=store").await;
        place_all(&fleet.handles.pool).await;
        assert!(fleet.ok("/api/cluster-info/store").await.contains(r#""ClusterAlias":"store""#));
    })
    .await;
}

#[tokio::test]
async fn forgetting() {
    on_both(async |fleet| {
        let forgotten = fleet.ok("/api/forget/db4/3306").await;
        assert_eq!(
            forgotten,
            r#"{"Code":"OK","Message":"Instance forgotten: db4:3306","Details":{"Hostname":"db4","Port":3306}}"#
        );
        assert_eq!(fleet.refusal("/api/forget/db4/3306").await, "instance not found: db4:3306");
        assert_eq!(fleet.number("SELECT COUNT(*) FROM forgotten_instance").await, 1);
        fleet.ok("/api/forget-cluster/shop").await;
        assert_eq!(fleet.ok("/api/clusters").await, r#"["solo:3306"]"#);
        // Nor does the alias mean anything any more.
        assert_eq!(fleet.refusal("/api/forget-cluster/shop").await, "Unable to determine cluster name for hint: shop");
    })
    .await;
}

#[tokio::test]
async fn everything_is_audited_with_the_actors_name() {
    on_both(async |fleet| {
        fleet.ok("/api/tag/db2/3306?tag=a").await;
        fleet.ok("/api/snapshot-topologies").await;
        fleet.ok("/api/reset-hostname-resolve-cache").await;
        let page = settled(&fleet.ok("/api/audit").await);
        assert!(
            page.contains(r#""AuditType":"reset-hostname-resolve-cache","AuditInstanceKey":{"Hostname":"","Port":0}"#),
            "{page}"
        );
        assert!(
            page.contains(r#""AuditType":"tag","AuditInstanceKey":{"Hostname":"db2","Port":3306},"Message":"a=""#),
            "{page}"
        );
        assert_eq!(fleet.ok("/api/audit/7").await, "[]");
        let of_instance = fleet.ok("/api/audit/instance/db2/3306").await;
        assert_eq!(of_instance.matches("AuditId").count(), 1, "{of_instance}");
        assert_eq!(fleet.number("SELECT COUNT(*) FROM audit WHERE actor = 'anonymous'").await, 3);
    })
    .await;
}

#[tokio::test]
async fn the_audit_log_file_gets_one_line_per_act() {
    on_both(async |fleet| {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("audit.log");
        let fleet = fleet.with(|settings| settings.audit.log_file = file.display().to_string());
        fleet.ok("/api/begin-downtime/db2/3306/ann/two%0Alines").await;
        let text = std::fs::read_to_string(&file).expect("file");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("\tbegin-downtime\tdb2:3306\t") && text.contains("two lines"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn leadership_is_taken_and_given_up_by_hand() {
    on_both(async |fleet| {
        fleet.ok("/api/reelect").await;
        fleet.ok("/api/grab-election").await;
        assert_eq!(fleet.ok("/api/routed-leader-check").await, r#""OK""#);
        let token = &fleet.handles.identity.token;
        assert_eq!(fleet.number(&format!("SELECT COUNT(*) FROM lease WHERE holder = '{token}'")).await, 1);
        fleet.ok("/api/reelect").await;
        assert_eq!(fleet.get("/api/routed-leader-check").await.status, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn head_and_other_methods_change_nothing() {
    on_both(async |fleet| {
        let head = fleet.ask(Method::HEAD, "/api/forget/db4/3306", &[]).await;
        assert_eq!((head.status, head.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, POST"));
        assert_eq!(fleet.ask(Method::PUT, "/api/forget/db4/3306", &[]).await.status, StatusCode::NOT_FOUND);
        assert!(fleet.ok("/api/instance/db4/3306").await.contains("db4"));
        let post = fleet.ask(Method::POST, "/api/forget/db4/3306", &[]).await;
        assert_eq!(post.status, StatusCode::OK, "{}", post.body);
        assert!(fleet.refusal("/api/instance/db4/3306").await.starts_with("Cannot read instance"));
    })
    .await;
}
