//! The lease: one winner, terms that only grow, a history without overlap.

use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _};
use store::Error;
use store::leases::{self, Taken};

use crate::{Db, on_both};

const TTL: Duration = Duration::from_secs(5);

async fn take(db: &Db, who: &str) -> Taken {
    leases::take(&mut *db.conn().await, who, &format!("name of {who}"), TTL).await.unwrap()
}

async fn won(db: &Db, who: &str) -> u64 {
    match take(db, who).await {
        Taken::Won { term } => term,
        Taken::Held(lease) => panic!("held: {lease:?}"),
    }
}

async fn expire(db: &Db) {
    db.sql("UPDATE lease SET expires_at = NOW(6) - INTERVAL 1 SECOND").await;
    db.sql("UPDATE lease_history SET acquired_at = NOW(6) - INTERVAL 9 SECOND WHERE ended_at IS NULL").await;
}

#[tokio::test]
async fn a_term_is_taken_renewed_fenced_and_over() {
    on_both(async |db| {
        assert!(!leases::current(&db.pool).await.unwrap().is_live);
        assert_eq!(won(db, "a").await, 1);
        let Taken::Held(lease) = take(db, "b").await else { panic!("two leaders") };
        assert_eq!((lease.holder.as_str(), lease.term, lease.is_live), ("a", 1, true));
        leases::renew(&db.pool, "a", 1, TTL).await.unwrap();
        assert_eq!(leases::history(&db.pool, 1).await.unwrap()[0].last_acted_at, None);
        leases::fence(&mut *db.conn().await, "a", 1).await.unwrap();
        let current = &leases::history(&db.pool, 1).await.unwrap()[0];
        assert!(current.last_acted_at >= Some(current.acquired_at), "known before the term ends: {current:?}");
        for (holder, term) in [("b", 1), ("a", 2), ("a", 0)] {
            let error = leases::fence(&mut *db.conn().await, holder, term).await.unwrap_err();
            assert!(matches!(error, Error::NotLeader { .. }), "{error}");
            assert!(leases::renew(&db.pool, holder, term, TTL).await.is_err());
            assert!(leases::release(&mut *db.conn().await, holder, term).await.is_err());
        }
        expire(db).await;
        assert!(leases::renew(&db.pool, "a", 1, TTL).await.is_err(), "what is over is not prolonged");
        assert!(leases::fence(&mut *db.conn().await, "a", 1).await.is_err());
        assert_eq!(won(db, "b").await, 2);
        leases::release(&mut *db.conn().await, "b", 2).await.unwrap();
        assert_eq!(won(db, "a").await, 3, "released: free at once");
        let Taken::Won { term: 4 } = leases::take_by_force(&db.pool, "c", "", TTL).await.unwrap() else { panic!() };
        assert!(leases::fence(&mut *db.conn().await, "a", 3).await.is_err());
        let history = leases::history(&db.pool, 10).await.unwrap();
        let reasons: Vec<(u64, &str, &str)> =
            history.iter().map(|one| (one.term, one.holder.as_str(), one.end_reason.as_str())).collect();
        assert_eq!(reasons, [(4, "c", ""), (3, "a", "taken"), (2, "b", "released"), (1, "a", "expired")]);
        assert!(history[3].last_acted_at.is_some());
        assert_eq!(history[2].last_acted_at, None);
        assert_eq!(history[3].holder_name, "name of a");
        assert_eq!(leases::trim_history(&mut *db.conn().await, Duration::from_secs(3600)).await.unwrap(), 0);
        assert_eq!(leases::trim_history(&mut *db.conn().await, Duration::ZERO).await.unwrap(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_fence_holds_the_lease_until_its_transaction_ends() {
    on_both(async |db| {
        won(db, "a").await;
        let mut tx = db.pool.begin().await.unwrap();
        leases::fence(&mut tx, "a", 1).await.unwrap();
        // Shorter than the patience after which a silent holder's transaction is ended.
        let usurper = leases::take_by_force(&db.pool, "b", "", TTL);
        assert!(tokio::time::timeout(Duration::from_millis(100), usurper).await.is_err(), "taken during an act");
        sqlx::query("INSERT INTO schedule_tick (name, tick_at) VALUES ('act', NOW(6))")
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(leases::take_by_force(&db.pool, "b", "", TTL).await.unwrap(), Taken::Won { term: 2 });
        let history = leases::history(&db.pool, 2).await.unwrap();
        assert!(history[1].last_acted_at < Some(history[0].acquired_at), "{history:?}");
        assert!(history[1].ended_at <= Some(history[0].acquired_at), "{history:?}");
    })
    .await;
}

#[tokio::test]
async fn of_twenty_contenders_one_wins_and_terms_never_overlap() {
    on_both(async |db| {
        const ROUNDS: u64 = 8;
        for round in 1..=ROUNDS {
            let mut tasks = tokio::task::JoinSet::new();
            for contender in 0..20 {
                let pool = db.pool.clone();
                tasks.spawn(async move {
                    let token = format!("c{contender}");
                    let mut conn = pool.acquire().await.unwrap();
                    match leases::take(&mut conn, &token, "", TTL).await {
                        Ok(Taken::Won { term }) => Some((token, term)),
                        Ok(Taken::Held(_)) => None,
                        Err(error) if error.is_conflict() => None,
                        Err(error) => panic!("{}", error.chain()),
                    }
                });
            }
            let results = tasks.join_all().await;
            let winners: Vec<(String, u64)> = results.into_iter().flatten().collect();
            assert_eq!(winners.len(), 1, "{winners:?}");
            let (holder, term) = &winners[0];
            assert_eq!(*term, round, "grows by one");
            leases::fence(&mut *db.conn().await, holder, *term).await.unwrap();
            match round % 3 {
                0 => leases::release(&mut *db.conn().await, holder, *term).await.unwrap(),
                1 => expire_now(db).await,
                _ => {
                    let Taken::Won { .. } = leases::take_by_force(&db.pool, "forced", "", TTL).await.unwrap() else {
                        panic!()
                    };
                    // Give the number back, so that rounds and terms agree.
                    db.sql("DELETE FROM lease_history WHERE holder = 'forced'").await;
                    db.sql("UPDATE lease SET term = term - 1, expires_at = NOW(6)").await;
                }
            }
        }
        let mut history = leases::history(&db.pool, 100).await.unwrap();
        history.reverse();
        assert_eq!(history.len() as u64, ROUNDS);
        for pair in history.windows(2) {
            let ended = pair[0].ended_at.expect("a past term is closed");
            assert!(pair[0].term < pair[1].term && ended <= pair[1].acquired_at, "{pair:?}");
            assert!(pair[0].last_acted_at.expect("it acted") <= ended, "{pair:?}");
        }
    })
    .await;
}

/// Lets the term end at this moment.
async fn expire_now(db: &Db) {
    db.sql("UPDATE lease SET expires_at = NOW(6)").await;
}

#[tokio::test]
async fn a_missing_lease_row_is_named() {
    on_both(async |db| {
        db.sql("DELETE FROM lease").await;
        let error = leases::take(&mut *db.conn().await, "a", "", TTL).await.unwrap_err();
        assert!(matches!(error, Error::Schema(_)), "{error}");
    })
    .await;
}

/// A leader that is frozen or cut off in the middle of an act keeps its transaction, and the lock of the row, open.
#[tokio::test]
async fn a_silent_transaction_does_not_hold_an_expired_lease() {
    on_both(async |db| {
        leases::take(&mut *db.conn().await, "a", "", Duration::from_millis(300)).await.unwrap();
        let mut silent = db.pool.begin().await.unwrap();
        leases::fence(&mut silent, "a", 1).await.unwrap();
        sqlx::query("INSERT INTO schedule_tick (name, tick_at) VALUES ('late', NOW(6))")
            .execute(&mut *silent)
            .await
            .unwrap();
        // Others that were sent before the silence get the lock one after the other.
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let pool = db.pool.clone();
            waiting.spawn(async move {
                let mut late = pool.begin().await.unwrap();
                let fenced = leases::fence(&mut late, "a", 1).await;
                std::future::pending::<()>().await;
                fenced
            });
        }
        let waits =
            "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'UPDATE lease%' AND db = DATABASE()";
        let begun = std::time::Instant::now();
        while db.number(waits).await < 3 {
            assert!(begun.elapsed() < Duration::from_secs(5), "they do not wait for the lock");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let begun = std::time::Instant::now();
        let term = loop {
            if let Taken::Won { term } = take(db, "b").await {
                break term;
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "still locked");
        };
        assert_eq!(term, 2);
        assert!(silent.commit().await.is_err(), "the late act is rolled back");
        assert_eq!(db.number("SELECT COUNT(*) FROM schedule_tick WHERE name = 'late'").await, 0);
        waiting.shutdown().await;
        // While the lease lives, a transaction under way is nobody's business.
        let mut act = db.pool.begin().await.unwrap();
        leases::fence(&mut act, "b", 2).await.unwrap();
        assert!(matches!(take(db, "c").await, Taken::Held(_)));
        act.commit().await.unwrap();
    })
    .await;
}

/// On another member of a backend cluster the same number may be somebody else's session.
#[tokio::test]
async fn a_stranger_with_the_noted_number_is_left_alone() {
    on_both(async |db| {
        let mut stranger =
            db.pool.connect_options().as_ref().clone().database("information_schema").connect().await.unwrap();
        let number: u64 = sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(&mut stranger).await.unwrap();
        db.sql(&format!("UPDATE lease SET acted_by = {number}")).await;
        let mut tx = db.pool.begin().await.unwrap();
        sqlx::query("SELECT term FROM lease FOR UPDATE").fetch_all(&mut *tx).await.unwrap();
        assert!(matches!(take(db, "a").await, Taken::Held(_)), "locked by somebody unknown");
        stranger.ping().await.unwrap();
        tx.rollback().await.unwrap();
        assert_eq!(won(db, "a").await, 1);
    })
    .await;
}
