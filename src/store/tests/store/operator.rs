//! What people say: downtime, maintenance, promotion rules, tags, pools.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::instance::InstanceKey;
use domain::promotion::PromotionRule;
use domain::tag::Tag;
use store::candidates::Lasting;
use store::instances::Written;
use store::maintenance::{Claim, FencingToken};
use store::pools::Names;
use store::{Error, candidates, downtime, instances, maintenance, pools, tags};

use crate::{Db, key, on_both, primary, seen};

const MINUTE: Duration = Duration::from_secs(60);

async fn know(db: &Db, names: &[&str]) {
    let batch: Vec<_> = names.iter().map(|name| seen(name, 1_000_000, primary("x"))).collect();
    instances::record(&db.pool, &Written::default(), &batch).await.unwrap();
}

#[tokio::test]
async fn downtime_holds_for_its_time_and_for_its_instance() {
    on_both(async |db| {
        know(db, &["a", "b"]).await;
        let mut conn = db.conn().await;
        downtime::begin(&mut conn, &key("a"), "me", "it's \"broken\" 🐬", MINUTE).await.unwrap();
        downtime::begin(&mut conn, &key("a"), "you", "later", MINUTE).await.unwrap();
        downtime::begin(&mut conn, &key("unknown"), "me", "prepared", MINUTE).await.unwrap();
        assert_eq!(downtime::active(&db.pool).await.unwrap().len(), 2);
        let said = db.instance(&key("a")).await.unwrap().downtime.unwrap();
        assert_eq!((said.owner.as_str(), said.reason.as_str()), ("you", "later"));
        assert_eq!(said.ends_at - said.begins_at, 60_000_000);
        assert_eq!(db.instance(&key("b")).await.unwrap().downtime, None);
        db.sql("UPDATE downtime SET ends_at = NOW(6) WHERE hostname = 'a'").await;
        assert_eq!(db.instance(&key("a")).await.unwrap().downtime, None, "void at its end, expired or not");
        assert_eq!(downtime::expire(&mut conn).await.unwrap(), 1);
        assert!(downtime::end(&mut conn, &key("unknown")).await.unwrap());
        assert!(!downtime::end(&mut conn, &key("unknown")).await.unwrap());
        let owner = "o".repeat(200);
        let error = downtime::begin(&mut conn, &key("a"), &owner, "", MINUTE).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    })
    .await;
}

fn claim(owner: &str) -> Claim<'_> {
    Claim { owner, reason: "work", duration: MINUTE, holder_node: "node1" }
}

#[tokio::test]
async fn maintenance_has_one_holder_and_a_token_that_dies_with_it() {
    on_both(async |db| {
        let first = maintenance::begin(&db.pool, &key("a"), claim("me")).await.unwrap();
        let Err(Error::Refused { holder, reason, .. }) = maintenance::begin(&db.pool, &key("a"), claim("you")).await
        else {
            panic!("two holders")
        };
        assert_eq!((holder.as_str(), reason.as_str()), ("me (process node1)", "work"));
        let elsewhere = maintenance::begin(&db.pool, &key("b"), claim("you")).await.unwrap();
        let mut conn = db.conn().await;
        assert!(maintenance::verify(&mut conn, first).await.unwrap());
        assert!(maintenance::extend(&mut conn, first, MINUTE * 10).await.unwrap());
        let held = maintenance::read(&db.pool, &key("a")).await.unwrap().unwrap();
        assert!(held.expires_at - held.begins_at > 590_000_000);
        // It sleeps past its time: void, whether or not somebody closed the row.
        db.sql("UPDATE maintenance SET expires_at = NOW(6) WHERE hostname = 'a'").await;
        assert!(!maintenance::verify(&mut conn, first).await.unwrap());
        assert!(!maintenance::extend(&mut conn, first, MINUTE).await.unwrap());
        assert_eq!(maintenance::read(&db.pool, &key("a")).await.unwrap(), None);
        let second = maintenance::begin(&db.pool, &key("a"), claim("you")).await.unwrap();
        assert!(second > first && second > elsewhere, "tokens grow");
        assert!(!maintenance::end(&mut conn, first).await.unwrap(), "a late holder ends nothing");
        assert!(maintenance::verify(&mut conn, second).await.unwrap());
        assert_eq!(maintenance::active(&db.pool).await.unwrap().len(), 2);
        assert!(maintenance::end(&mut conn, second).await.unwrap());
        assert!(maintenance::end_of(&mut conn, &key("b")).await.unwrap());
        assert!(!maintenance::end_of(&mut conn, &key("b")).await.unwrap());
        maintenance::begin(&db.pool, &key("c"), claim("me")).await.unwrap();
        db.sql("UPDATE maintenance SET expires_at = NOW(6) WHERE hostname = 'c'").await;
        assert_eq!(maintenance::expire(&mut conn).await.unwrap(), 1);
        assert_eq!(maintenance::trim(&mut conn, MINUTE).await.unwrap(), 0);
        db.sql("UPDATE maintenance SET ended_at = NOW(6) - INTERVAL 2 MINUTE").await;
        assert_eq!(maintenance::trim(&mut conn, MINUTE).await.unwrap(), 4);
    })
    .await;
}

#[tokio::test]
async fn of_twenty_that_begin_maintenance_one_does() {
    on_both(async |db| {
        let mut last = FencingToken(0);
        for round in 0..6 {
            let mut tasks = tokio::task::JoinSet::new();
            for who in 0..20 {
                let pool = db.pool.clone();
                tasks.spawn(async move { maintenance::begin(&pool, &key("a"), claim(&format!("w{who}"))).await });
            }
            let results = tasks.join_all().await;
            let tokens: Vec<FencingToken> = results.iter().filter_map(|result| result.as_ref().ok().copied()).collect();
            assert_eq!(tokens.len(), 1, "{results:?}");
            let told = results.iter().filter(|result| matches!(result, Err(Error::Refused { .. }))).count();
            assert_eq!(told, 19, "{results:?}");
            assert!(tokens[0] > last);
            last = tokens[0];
            if round % 2 == 0 {
                db.sql("UPDATE maintenance SET expires_at = NOW(6) WHERE active_slot = 1").await;
            } else {
                assert!(maintenance::end(&mut *db.conn().await, last).await.unwrap());
            }
        }
    })
    .await;
}

#[tokio::test]
async fn promotion_rules_are_read_with_the_instance_and_expire() {
    on_both(async |db| {
        know(db, &["a", "b"]).await;
        let mut facts = primary("x");
        facts.detected_promotion_rule = "prefer_not".to_owned();
        instances::record(&db.pool, &Written::default(), &[seen("b", 2_000_000, facts)]).await.unwrap();
        for name in ["a", "b"] {
            candidates::register(&db.pool, &key(name), PromotionRule::MustNot).await.unwrap();
        }
        assert_eq!(db.instance(&key("a")).await.unwrap().promotion_rule, PromotionRule::MustNot);
        assert_eq!(
            db.instance(&key("b")).await.unwrap().promotion_rule,
            PromotionRule::PreferNot,
            "the server said so"
        );
        let since = instances::index(&db.pool).await.unwrap();
        candidates::register(&db.pool, &key("a"), PromotionRule::MustNot).await.unwrap();
        assert_eq!(instances::index(&db.pool).await.unwrap(), since, "said again: no news");
        db.sql("UPDATE candidate SET suggested_at = NOW(6) - INTERVAL 61 MINUTE WHERE hostname = 'a'").await;
        assert_eq!(candidates::expire(&mut *db.conn().await, MINUTE * 60).await.unwrap(), 1);
        assert_ne!(instances::index(&db.pool).await.unwrap(), since);
        assert_eq!(db.instance(&key("a")).await.unwrap().promotion_rule, PromotionRule::Neutral);
        assert_eq!(candidates::read_all(&db.pool).await.unwrap().len(), 1);
        assert!(candidates::forget(&mut *db.conn().await, &key("b")).await.unwrap());
        assert!(!candidates::forget(&mut *db.conn().await, &key("b")).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_rule_given_for_good_stays_whatever_servers_say() {
    on_both(async |db| {
        know(db, &["a"]).await;
        let mut facts = primary("x");
        facts.detected_promotion_rule = "prefer".to_owned();
        instances::record(&db.pool, &Written::default(), &[seen("a", 2_000_000, facts)]).await.unwrap();
        let mut conn = db.conn().await;
        let since = instances::index(&db.pool).await.unwrap();
        candidates::give(&mut conn, &key("a"), PromotionRule::MustNot, Lasting::Durable).await.unwrap();
        assert_ne!(instances::index(&db.pool).await.unwrap(), since);
        let rule = async || db.instance(&key("a")).await.unwrap().promotion_rule;
        assert_eq!(rule().await, PromotionRule::MustNot);
        candidates::register(&db.pool, &key("a"), PromotionRule::Prefer).await.unwrap();
        db.sql("UPDATE candidate SET suggested_at = NOW(6) - INTERVAL 1 YEAR").await;
        assert_eq!(candidates::expire(&mut conn, MINUTE).await.unwrap(), 0);
        assert_eq!(rule().await, PromotionRule::MustNot);
        assert!(candidates::read_all(&db.pool).await.unwrap()[0].is_durable);
        candidates::give(&mut conn, &key("a"), PromotionRule::Neutral, Lasting::Expiring).await.unwrap();
        assert_eq!(rule().await, PromotionRule::Prefer, "what the server says counts again");
        db.sql("UPDATE candidate SET suggested_at = NOW(6) - INTERVAL 1 YEAR").await;
        assert_eq!(candidates::expire(&mut conn, MINUTE).await.unwrap(), 1);
    })
    .await;
}

async fn tagged(db: &Db, expression: &str) -> Vec<String> {
    let terms = Tag::parse_all(expression).unwrap();
    tags::tagged_all(&db.pool, &terms).await.unwrap().into_iter().map(|key| key.hostname).collect()
}

#[tokio::test]
async fn tags_answer_every_kind_of_term() {
    on_both(async |db| {
        let mut conn = db.conn().await;
        for (host, name, value) in [
            ("a", "role", "backup"),
            ("a", "old", ""),
            ("b", "role", "shown"),
            ("c", "other", "x=1,y"),
            ("c", "Role", "B"),
        ] {
            tags::set(&mut conn, &key(host), name, value).await.unwrap();
        }
        tags::set(&mut conn, &key("b"), "role", "web").await.unwrap();
        for (expression, hosts) in [
            ("role", vec!["a", "b"]),
            ("role=web", vec!["b"]),
            ("role=shown", vec![]),
            ("old=", vec!["a"]),
            ("~role", vec!["c"]),
            ("!role=web", vec!["a"]),
            ("role,~old", vec!["b"]),
            ("role,other", vec![]),
        ] {
            assert_eq!(tagged(db, expression).await, hosts, "{expression}");
        }
        // The database and the pure function agree.
        let all = tags::read_all(&db.pool).await.unwrap();
        for term in ["role", "~role", "role=web", "~role=web", "old=", "~missing"] {
            let term: Tag = term.parse().unwrap();
            let pure: BTreeSet<InstanceKey> = all
                .iter()
                .filter(|(_, tags)| term.matches(tags.iter().map(|(name, value)| (name.as_str(), value.as_str()))))
                .map(|(key, _)| key.clone())
                .collect();
            assert_eq!(tags::tagged(&db.pool, &term).await.unwrap(), pure, "{term:?}");
        }
        assert!(!tags::unset(&mut conn, &key("a"), "role", Some("web")).await.unwrap());
        assert!(tags::unset(&mut conn, &key("a"), "old", Some("")).await.unwrap());
        assert_eq!(tags::read(&db.pool, &key("a")).await.unwrap().len(), 1);
        tags::set(&mut conn, &key("a"), "role", "web").await.unwrap();
        assert_eq!(tags::unset_all(&mut conn, "role", "web").await.unwrap(), [key("a"), key("b")].into());
        assert!(tags::unset(&mut conn, &key("c"), "other", None).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_pool_is_replaced_whole() {
    on_both(async |db| {
        know(db, &["db-103-prod.example", "db-104-prod.example", "w_1", "wx1"]).await;
        let names = [key("103-prod"), key("prod"), key("w_"), key("gone")];
        let members = pools::replace(&db.pool, "web", &names, Names::Fuzzy).await.unwrap();
        let expected = [key("db-103-prod.example"), key("prod"), key("w_1"), key("gone")];
        assert_eq!(members, expected.into(), "ambiguous and unknown names stay, wildcards are no wildcards");
        pools::replace(&db.pool, "other", &[key("wx1")], Names::Exact).await.unwrap();
        let pooled = pools::pooled(&db.pool, None).await.unwrap();
        assert_eq!(pooled.len(), 3, "known ones only");
        assert_eq!(pooled[0].cluster_alias, pooled[0].cluster_name);
        assert_eq!(pools::pooled(&db.pool, Some("wx1:3306")).await.unwrap()[0].pool, "other");
        let huge = "x".repeat(10_000);
        assert!(pools::replace(&db.pool, "web", &[key(&huge)], Names::Exact).await.is_err());
        assert_eq!(pools::read_all(&db.pool).await.unwrap()["web"].len(), 4, "all or nothing");
        pools::replace(&db.pool, "web", &[], Names::Exact).await.unwrap();
        assert_eq!(pools::read_all(&db.pool).await.unwrap().keys().collect::<Vec<_>>(), ["other"]);
        db.sql("UPDATE pool_instance SET registered_at = NOW(6) - INTERVAL 61 MINUTE").await;
        assert_eq!(pools::expire(&mut *db.conn().await, MINUTE * 60).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn submissions_of_one_pool_at_once_leave_one_of_them_or_both() {
    on_both(async |db| {
        let mut tasks = tokio::task::JoinSet::new();
        for who in 0..12 {
            let pool = db.pool.clone();
            tasks.spawn(async move {
                let members = [key("shared"), key(&format!("own{who}"))];
                match pools::replace(&pool, "web", &members, Names::Exact).await {
                    Ok(_) => {}
                    Err(error) => assert!(error.is_conflict(), "{}", error.chain()),
                }
            });
        }
        tasks.join_all().await;
        assert!(pools::read_all(&db.pool).await.unwrap()["web"].contains(&key("shared")));
    })
    .await;
}
