//! Aliases and domains of clusters.

use std::collections::HashMap;
use std::time::Duration;

use domain::instance::{CheckState, Downtime, Instance, Placement};
use store::clusters::{self, LOST_IN_RECOVERY};
use store::instances::{self, Written};

use crate::{key, on_both, primary, seen};

fn pair(name: &str, alias: &str) -> (String, String) {
    (name.to_owned(), alias.to_owned())
}

fn member(host: &str, cluster: &str, alias: &str) -> Instance {
    Instance {
        id: 1,
        key: key(host),
        lane: String::new(),
        facts: primary("x"),
        placement: Placement {
            cluster_name: cluster.to_owned(),
            suggested_cluster_alias: alias.to_owned(),
            ..Placement::default()
        },
        check: CheckState { last_checked_at: Some(1), last_seen_at: Some(1), ..CheckState::default() },
        downtime: None,
        promotion_rule: domain::promotion::PromotionRule::Neutral,
        unresolved_hostname: String::new(),
    }
}

#[test]
fn the_best_instance_gives_the_alias() {
    let mut stale = member("a", "c1", "stale");
    stale.check.last_seen_at = None;
    let mut lost = member("b", "c1", "lost");
    lost.downtime =
        Some(Downtime { owner: String::new(), reason: LOST_IN_RECOVERY.to_owned(), begins_at: 0, ends_at: 9 });
    let mut read_only = member("c", "c1", "read-only");
    read_only.facts.read_only = true;
    let mut popular = member("e", "c1", "popular");
    popular.facts.replicas.insert(key("x"));
    let all = [stale, lost, read_only, member("d", "c1", "lonely"), popular];
    for (heard, alias) in [(5, "popular"), (4, "lonely"), (3, "read-only"), (2, "stale")] {
        assert_eq!(clusters::choose_aliases(&all[..heard]), [pair("c1", alias)], "{heard}");
    }
    assert_eq!(clusters::choose_aliases(&all[1..2]), [pair("c1", "c1")], "the lost are counted, not heard");
}

#[test]
fn an_alias_stands_for_one_cluster() {
    let mut weak = member("a", "c1", "shop");
    weak.facts.read_only = true;
    let all = [weak, member("b", "c2", "shop"), member("c", "", "unplaced"), member("d", "c3", "c1")];
    // c1 may not go by its name either: that is c3's alias.
    assert_eq!(clusters::choose_aliases(&all), [pair("c2", "shop"), pair("c3", "c1")]);
}

#[tokio::test]
async fn aliases_and_domains_are_kept_overridden_and_expire() {
    on_both(async |db| {
        let batch = [seen("a", 1, primary("x")), seen("b", 1, primary("x"))];
        instances::record(&db.pool, &Written::default(), &batch).await.unwrap();
        let mut conn = db.conn().await;
        clusters::register_aliases(&mut conn, &[pair("a:3306", "shop"), pair("b:3306", "blog")]).await.unwrap();
        // The alias moves; whoever had it loses it.
        clusters::register_aliases(&mut conn, &[pair("b:3306", "shop")]).await.unwrap();
        clusters::register_aliases(&mut conn, &[]).await.unwrap();
        let domains = HashMap::from([pair("a:3306", "a.example")]);
        clusters::register_domains(&mut conn, &domains).await.unwrap();
        clusters::register_domains(&mut conn, &domains).await.unwrap();
        let all = clusters::read_all(&db.pool).await.unwrap();
        let shown: Vec<(&str, &str, u64)> =
            all.iter().map(|one| (one.alias.as_str(), one.domain.as_str(), one.instances)).collect();
        assert_eq!(shown, [("a:3306", "a.example", 1), ("shop", "", 1)]);
        clusters::set_override(&mut conn, "a:3306", "mine 🐬").await.unwrap();
        assert_eq!(clusters::read_all(&db.pool).await.unwrap()[0].alias, "mine 🐬");
        assert_eq!(clusters::overrides(&db.pool).await.unwrap().len(), 1);
        clusters::set_override(&mut conn, "a:3306", "").await.unwrap();
        assert!(clusters::overrides(&db.pool).await.unwrap().is_empty());
        assert_eq!(clusters::domain(&db.pool, "a:3306").await.unwrap().as_deref(), Some("a.example"));
        db.sql("UPDATE cluster_alias SET registered_at = NOW(6) - INTERVAL 2 HOUR").await;
        db.sql("UPDATE cluster_domain SET registered_at = NOW(6) - INTERVAL 30 MINUTE").await;
        let hour = Duration::from_secs(3600);
        assert_eq!(clusters::expire_aliases(&mut conn, hour).await.unwrap(), 1);
        assert_eq!(clusters::expire_domains(&mut conn, hour).await.unwrap(), 0);
        assert_eq!(clusters::expire_domains(&mut conn, hour / 4).await.unwrap(), 1);
    })
    .await;
}
