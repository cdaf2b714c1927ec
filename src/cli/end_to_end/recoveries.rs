//! Recoveries that are asked for in vain: said why, with exit status 1, kept in the audit, and nothing begun.

use harness::Flavor;

use super::fixture::Site;

/// Command line, and what is said.
const REFUSED: &[(&str, &str)] = &[
    // Healthy.
    ("recover -i db1", "Recovery not attempted: db1:3306: nothing is wrong with it"),
    ("recover -i db3", "nothing is wrong with it"),
    ("recover-lite -i db1 -d db2", "nothing is wrong with it"),
    // Unknown.
    ("recover -i nowhere", "it is not known: discover it first"),
    ("recover -i db1:33x6", "db1:33x6"),
    ("recover -i db", "the name fits 4 instances"),
    ("force-master-failover -alias nonsense", "nonsense"),
    ("force-master-failover -i nowhere", "nowhere"),
    ("force-master-takeover -alias db1:3306 -d nowhere", "nowhere"),
    ("graceful-master-takeover -alias nonsense", "nonsense"),
    ("graceful-master-takeover-auto -i nowhere", "nowhere"),
    ("ack-cluster-recoveries -alias nonsense -reason x", "nonsense"),
    ("ack-recovery 77 -reason x", "no recovery 77"),
    ("recovery 77", "no recovery 77"),
    ("explain -alias nonsense", "nonsense"),
    ("replication-analysis -alias nonsense", "nonsense"),
    ("blocked-recoveries -alias nonsense", "nonsense"),
    // Half said.
    ("force-master-takeover -alias db1:3306", "-d"),
    ("graceful-master-takeover -alias db1:3306", "GracefulMasterTakeover: target instance not indicated"),
    (
        "graceful-master-takeover -alias db1:3306 -d db4",
        "db4:3306 must be directly replicating from the master db1:3306",
    ),
    ("force-master-takeover -alias db1:3306 -d db1", "must be directly replicating from the master"),
    ("ack-all-recoveries", "reason"),
    ("ack-recovery", "NUMBER|UID"),
    ("recovery", "NUMBER|UID"),
    // Nobody to do it.
    ("force-master-failover -alias db1:3306", "no live worker"),
    ("graceful-master-takeover-auto -alias db1:3306", "no live worker"),
    ("force-master-failover -alias db1:3306 -noop", "explain"),
    // Promotion rules.
    ("register-candidate -i db2 -promotion-rule must", "must"),
    ("register-candidate -i db2 -promotion-rule sometimes", "sometimes"),
];

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_the_reason() {
    for flavor in [Flavor::MySql, Flavor::MariaDb] {
        let site = Site::seeded(flavor).await;
        for (line, expected) in REFUSED {
            let said = site.fails(line).await;
            assert!(said.contains(expected), "{line}: {said}");
        }
        site.ok("begin-maintenance -i db1 -reason moving -owner ann").await;
        for line in ["force-master-failover -alias db1:3306", "graceful-master-takeover -alias db1:3306 -d db2"] {
            let said = site.fails(line).await;
            assert!(said.contains("held by ann") && said.contains("end-maintenance -i db1:3306"), "{line}: {said}");
        }
        assert_eq!(site.number("SELECT COUNT(*) FROM recovery").await, 0);
        assert_eq!(site.number("SELECT COUNT(*) FROM operation").await, 0);
        let kept = "SELECT COUNT(*) FROM audit WHERE audit_type = 'force-master-failover' AND cluster_name = 'db1:3306' \
                    AND actor = 'dba@db1' AND message LIKE 'refused: %held by ann%'";
        assert_eq!(site.number(kept).await, 1);
        let kept =
            "SELECT COUNT(*) FROM audit WHERE audit_type = 'recover' AND message LIKE 'refused: %nothing is wrong%'";
        assert_eq!(site.number(kept).await, 2, "db1 and db3");
        let audit = site.ok("audit -i db1").await;
        assert!(audit.starts_with("WHEN") && audit.contains("dba@db1") && audit.contains("refused: "), "{audit}");
        let newest: serde_json::Value = serde_json::from_str(&site.ok("audit --json").await).expect("JSON");
        assert_eq!(
            (&newest[0]["audit_type"], &newest[0]["instance"]),
            (&"graceful-master-takeover".into(), &().into())
        );
        assert_eq!(site.ok("audit-recovery").await, site.ok("recoveries").await);
        assert_eq!(site.ok("audit-failure-detection").await, site.ok("detections").await);
    }
}

#[tokio::test]
async fn contradictory_promotion_rules_are_refused() {
    let site = Site::configured(
        Flavor::MariaDb,
        &serde_json::json!({ "InstancePollSeconds": 60, "PromotionIgnoreHostnameFilters": ["^db[23]:"] }),
    )
    .await;
    site.ok("migrate").await;
    let said = site.fails("register-candidate -i db2").await;
    assert!(said.contains("db2:3306 cannot be preferred: PromotionIgnoreHostnameFilters has `^db[23]:`"), "{said}");
    site.ok("register-candidate -i db2 -promotion-rule must_not").await;
    site.ok("register-candidate -i db4").await;
    assert_eq!(site.ok("bulk-promotion-rules").await, "db2:3306 must_not\ndb4:3306 prefer\n");
    // The last word of a person counts, durable or not.
    site.ok("register-candidate -i db4 -promotion-rule must_not --durable").await;
    site.ok("register-candidate -i db4 -promotion-rule neutral").await;
    assert_eq!(site.ok("bulk-promotion-rules").await, "db2:3306 must_not\ndb4:3306 neutral\n");
}
