//! Nodes, schedules, audit, snapshots, host names, access tokens, TLS.

use std::time::Duration;

use store::audit::{self, Entry};
use store::instances::{self, Written};
use store::nodes::{self, Registration};
use store::{access_tokens, hostnames, schedules, snapshots};

use crate::{key, on_both, primary, replica_of, seen};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn nodes_live_die_and_are_forgotten() {
    on_both(async |db| {
        let node = |token: &str, name: &str| Registration {
            token: token.to_owned(),
            name: name.to_owned(),
            role: "worker".to_owned(),
            datacenters: vec!["dc1".to_owned(), "dc2".to_owned()],
            load: "{\"jobs\":3}".to_owned(),
            ..Registration::default()
        };
        for (token, name) in [("t1", "n"), ("t2", "n"), ("t3", "other")] {
            nodes::heartbeat(&db.pool, &node(token, name)).await.unwrap();
        }
        assert_eq!(nodes::doubled_names(&db.pool).await.unwrap(), ["n"]);
        db.sql("UPDATE node SET heartbeat_at = NOW(6) - INTERVAL 1 MINUTE, started_at = NOW(6) - INTERVAL 9 MINUTE WHERE token = 't1'").await;
        assert!(nodes::doubled_names(&db.pool).await.unwrap().is_empty(), "the dead do not count");
        let all = nodes::read_all(&db.pool).await.unwrap();
        let live: Vec<(&str, bool)> = all.iter().map(|one| (one.registration.token.as_str(), one.is_live())).collect();
        assert_eq!(live, [("t2", true), ("t1", false), ("t3", true)]);
        assert_eq!(all[0].registration, node("t2", "n"));
        let started = all[1].started_at;
        nodes::heartbeat(&db.pool, &Registration { load: "x".repeat(5000), ..node("t1", "n") }).await.unwrap();
        let all = nodes::read_all(&db.pool).await.unwrap();
        let back = all.iter().find(|one| one.registration.token == "t1").unwrap();
        assert!(back.is_live() && back.started_at == started && back.registration.load == "{}");
        db.sql("UPDATE node SET heartbeat_at = NOW(6) - INTERVAL 1 HOUR WHERE token = 't1'").await;
        assert_eq!(nodes::forget_dead(&mut *db.conn().await, MINUTE).await.unwrap(), 1);
        nodes::leave(&db.pool, "t2").await.unwrap();
        assert_eq!(nodes::read_all(&db.pool).await.unwrap().len(), 1);
        let many = Registration { datacenters: (0..400).map(|n| format!("dc{n}")).collect(), ..node("t4", "m") };
        nodes::heartbeat(&db.pool, &many).await.unwrap();
        let all = nodes::read_all(&db.pool).await.unwrap();
        let kept = &all.iter().find(|one| one.registration.token == "t4").unwrap().registration.datacenters;
        assert_eq!(kept[..], many.datacenters[..kept.len()], "no half names");
    })
    .await;
}

#[tokio::test]
async fn a_tick_is_taken_once_and_never_backwards() {
    on_both(async |db| {
        let tick = db.now().await;
        for at in [tick, tick + 60_000_000] {
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..10 {
                let pool = db.pool.clone();
                tasks.spawn(async move {
                    let mut conn = pool.acquire().await.unwrap();
                    schedules::take_tick(&mut conn, "cleanup", at).await.unwrap()
                });
            }
            assert_eq!(tasks.join_all().await.into_iter().filter(|ours| *ours).count(), 1);
        }
        let mut conn = db.conn().await;
        assert!(!schedules::take_tick(&mut conn, "cleanup", tick).await.unwrap());
        assert!(schedules::take_tick(&mut conn, "expiry", tick).await.unwrap());
        let all = schedules::read_all(&db.pool).await.unwrap();
        assert_eq!(
            all.into_iter().collect::<Vec<_>>(),
            [("cleanup".to_owned(), tick + 60_000_000), ("expiry".to_owned(), tick)]
        );
        schedules::forget(&mut conn, "cleanup").await.unwrap();
        assert!(schedules::take_tick(&mut conn, "cleanup", tick).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn audit_pages_are_newest_first_and_old_ones_go() {
    on_both(async |db| {
        let mut conn = db.conn().await;
        for n in 0..25 {
            audit::write(&mut conn, &Entry::instance("forget", &key("a"), "me", &n.to_string())).await.unwrap();
        }
        audit::write(&mut conn, &Entry::fleet("x", "me", &"🐬".repeat(40_000))).await.unwrap();
        let newest = audit::page(&db.pool, None, 0).await.unwrap();
        assert_eq!((newest.len(), newest[0].instance.as_ref(), newest[1].message.as_str()), (20, None, "24"));
        assert_eq!(newest[0].message.chars().count(), 16_000, "cut, not refused");
        assert_eq!(audit::page(&db.pool, None, 1).await.unwrap().len(), 6);
        assert_eq!(audit::page(&db.pool, Some(&key("a")), 1).await.unwrap().len(), 5);
        assert!(audit::page(&db.pool, Some(&key("b")), 0).await.unwrap().is_empty());
        assert!(audit::page(&db.pool, None, u32::MAX).await.unwrap().is_empty());
        db.sql("UPDATE audit SET audited_at = NOW(6) - INTERVAL 8 DAY WHERE id <= 10").await;
        assert_eq!(audit::trim(&mut conn, Duration::from_secs(7 * 86_400)).await.unwrap(), 10);
    })
    .await;
}

#[tokio::test]
async fn the_past_is_read_as_it_was() {
    on_both(async |db| {
        let mut facts = primary("x");
        facts.alias = "the \"head\" 🐬".to_owned();
        let written = Written::default();
        let batch = [seen("a", 1, facts), seen("b", 1, replica_of("a"))];
        instances::record(&db.pool, &written, &batch).await.unwrap();
        instances::insert_minimal(&mut *db.conn().await, &key("never-seen"), "").await.unwrap();
        db.sql("UPDATE instance SET cluster_name = 'a:3306'").await;
        assert_eq!(snapshots::write(&db.pool).await.unwrap(), 3);
        let at = snapshots::times(&db.pool).await.unwrap();
        assert_eq!(at.len(), 1);
        db.sql("DELETE FROM instance").await;
        let past = snapshots::read(&db.pool, at[0], "a:3306").await.unwrap();
        let shown: Vec<_> =
            past.iter().map(|one| (one.key.hostname.as_str(), one.source.clone(), one.alias.as_str())).collect();
        assert_eq!(shown, [("a", None, "the \"head\" 🐬"), ("b", Some(key("a")), ""), ("never-seen", None, "")]);
        assert!(snapshots::read(&db.pool, at[0] - 1, "a:3306").await.unwrap().is_empty());
        assert_eq!(snapshots::trim(&mut *db.conn().await, MINUTE).await.unwrap(), 0);
        db.sql("UPDATE topology_snapshot SET snapshot_at = snapshot_at - 100").await;
        assert_eq!(snapshots::trim(&mut *db.conn().await, MINUTE).await.unwrap(), 3);
    })
    .await;
}

#[tokio::test]
async fn host_names_resolve_unresolve_and_expire() {
    on_both(async |db| {
        hostnames::save(&db.pool, "vip", "db1").await.unwrap();
        hostnames::save(&db.pool, "vip", "db2").await.unwrap();
        hostnames::save(&db.pool, "other", "db3").await.unwrap();
        assert_eq!(hostnames::resolved(&db.pool, "vip").await.unwrap().as_deref(), Some("db2"));
        assert_eq!(hostnames::resolved(&db.pool, "unknown").await.unwrap(), None);
        assert_eq!(hostnames::all_resolved(&db.pool).await.unwrap().len(), 2);
        assert!(hostnames::save(&db.pool, &"x".repeat(10_000), "y").await.is_err());
        let mut conn = db.conn().await;
        instances::record(&db.pool, &Written::default(), &[seen("db2", 1, primary("x"))]).await.unwrap();
        hostnames::register_unresolve(&mut conn, "db2", "virtual").await.unwrap();
        assert_eq!(db.instance(&key("db2")).await.unwrap().unresolved_hostname, "virtual");
        assert_eq!(hostnames::virtual_name(&db.pool, "db2", MINUTE).await.unwrap().as_deref(), Some("virtual"));
        assert_eq!(hostnames::all_unresolved(&db.pool).await.unwrap()["db2"], "virtual");
        db.sql("UPDATE hostname_unresolve SET registered_at = NOW(6) - INTERVAL 90 SECOND").await;
        assert_eq!(hostnames::virtual_name(&db.pool, "db2", MINUTE).await.unwrap(), None);
        db.sql("UPDATE hostname_resolve SET resolved_at = NOW(6) - INTERVAL 90 SECOND WHERE hostname = 'vip'").await;
        assert_eq!(hostnames::expire(&mut conn, MINUTE).await.unwrap(), 1, "resolved names live twice as long");
        hostnames::register_unresolve(&mut conn, "db2", "again").await.unwrap();
        hostnames::register_unresolve(&mut conn, "db2", "").await.unwrap();
        assert!(!hostnames::deregister_unresolve(&mut conn, "db2").await.unwrap());
        assert_eq!(hostnames::reset(&mut conn).await.unwrap(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_access_token_is_exchanged_once_and_in_time() {
    on_both(async |db| {
        let mut conn = db.conn().await;
        access_tokens::create(&mut conn, "public", "secret", "me").await.unwrap();
        access_tokens::create(&mut conn, "late", "secret2", "me").await.unwrap();
        db.sql("UPDATE access_token SET generated_at = NOW(6) - INTERVAL 2 MINUTE WHERE public_token = 'late'").await;
        assert_eq!(access_tokens::owner(&db.pool, "public", "secret", MINUTE).await.unwrap(), None, "not acquired yet");
        assert_eq!(access_tokens::acquire(&mut conn, "public", MINUTE).await.unwrap().as_deref(), Some("secret"));
        for public in ["public", "late", "unknown", "PUBLIC"] {
            assert_eq!(access_tokens::acquire(&mut conn, public, MINUTE).await.unwrap(), None, "{public}");
        }
        assert_eq!(access_tokens::owner(&db.pool, "public", "secret", MINUTE).await.unwrap().as_deref(), Some("me"));
        assert_eq!(access_tokens::owner(&db.pool, "public", "Secret", MINUTE).await.unwrap(), None);
        assert_eq!(access_tokens::expire(&mut conn, MINUTE).await.unwrap(), 1);
    })
    .await;
}
