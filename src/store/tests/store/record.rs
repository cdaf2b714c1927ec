//! Recording observations: newer wins, cheap when nothing changed, nothing lost under contention.

use domain::instance::{Answer, FailureKind, InstanceKey, Observation};
use store::instances::{self, RecordReport, Written};
use store::{Backend, Error};

use crate::{Db, failed, key, on_both, primary, questions, renamed, replica_of, seen};

const T: i64 = 1_595_400_000_123_456;

async fn record(db: &Db, written: &Written, batch: &[Observation]) -> RecordReport {
    instances::record(&db.pool, written, batch).await.unwrap()
}

#[tokio::test]
async fn what_a_server_said_is_read_back_as_it_was_said() {
    on_both(async |db| {
        let mut facts = replica_of("Zürich-日本");
        facts.version_comment = "it's \"quoted\" \\ 🐬 \u{0} \n end".to_owned();
        facts.data_center = " dc 1 ".to_owned();
        facts.replicas.insert(key("below"));
        let report = record(db, &Written::default(), &[seen("a", T, facts.clone())]).await;
        assert_eq!(report.new, [key("a")].into());
        let stored = db.instance(&key("a")).await.unwrap();
        assert_eq!(stored.facts, facts);
        assert_eq!(stored.lane, "dc 1");
        assert_eq!(stored.check.last_seen_at, Some(T), "to the microsecond");
        assert!(stored.check.is_valid());
        assert_eq!(stored.placement.cluster_name, "", "where a replica stands is for the leader to say");
        assert_eq!(instances::read_replicas(&db.pool, &key("Zürich-日本")).await.unwrap().instances, [stored]);
        assert_eq!(db.instance(&key("A")).await, None, "names are compared exactly");
    })
    .await;
}

#[tokio::test]
async fn the_newest_observation_wins_in_any_order() {
    on_both(async |db| {
        let (one, other) = (Written::default(), Written::default());
        record(db, &one, &[seen("a", T + 10, primary("new"))]).await;
        record(db, &other, &[seen("a", T, primary("old"))]).await;
        record(db, &other, &[failed("a", T + 5, FailureKind::Broken)]).await;
        let stored = db.instance(&key("a")).await.unwrap();
        assert_eq!(stored.facts.version, "new");
        assert_eq!(stored.check.failures, 0);
        assert_eq!(stored.check.last_checked_at, Some(T + 10));
        assert_eq!(stored.placement.cluster_name, "a:3306", "a primary is its own cluster from the start");
        // Within a batch too.
        record(db, &one, &[seen("a", T + 30, primary("newest")), seen("a", T + 20, primary("older"))]).await;
        assert_eq!(db.instance(&key("a")).await.unwrap().facts.version, "newest");
    })
    .await;
}

#[tokio::test]
async fn a_clock_set_back_does_not_stop_recording() {
    on_both(async |db| {
        let written = Written::default();
        record(db, &written, &[seen("a", T, primary("x")), seen("b", T, primary("x")), seen("c", T, primary("x"))])
            .await;
        let ahead = "UPDATE instance SET observed_at = NOW(6) + INTERVAL 1 HOUR, last_checked_at = observed_at";
        db.sql(ahead).await;
        let now = store::database_now(&db.pool).await.unwrap();
        let batch =
            [seen("a", now, primary("x")), seen("b", now, primary("changed")), failed("c", now, FailureKind::Refused)];
        record(db, &written, &batch).await;
        for (name, version, failures) in [("a", "x", 0), ("b", "changed", 0), ("c", "x", 1)] {
            let stored = db.instance(&key(name)).await.unwrap();
            assert_eq!((stored.facts.version.as_str(), stored.check.failures), (version, failures), "{name}");
            assert_eq!(stored.check.last_checked_at, Some(now), "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn unchanged_instances_cost_one_statement_for_the_whole_batch() {
    on_both(async |db| {
        let mut options = db.options.clone();
        options.max_connections = 1;
        let one =
            Db { pool: Backend::connect(options).await.unwrap().pool().clone(), options: db.options.clone(), ..*db };
        let written = Written::default();
        let batch = |at| (0..100).map(|n| seen(&format!("h{n}"), at + n, primary("8.0"))).collect::<Vec<_>>();
        let count = async |batch: &[Observation]| {
            let before = questions(&mut *one.conn().await).await;
            let report = record(&one, &written, batch).await;
            // Less the question itself, and the ROLLBACKs by which two connections went back to the pool.
            (questions(&mut *one.conn().await).await - before - 3, report)
        };
        let (statements, report) = count(&batch(T)).await;
        assert_eq!((report.new.len(), report.unchanged), (100, 0));
        assert_eq!(statements, 4, "begin, upsert, look, commit");
        let index = instances::index(&one.pool).await.unwrap();
        let (statements, report) = count(&batch(T + 1_000_000)).await;
        assert_eq!((statements, report.unchanged), (1, 100));
        assert!(report.changed.is_empty());
        assert_eq!(instances::index(&one.pool).await.unwrap(), index, "no reader is woken");
        let stored = one.instance(&key("h50")).await.unwrap();
        assert_eq!(stored.check.last_seen_at, Some(T + 1_000_000), "the batch's oldest time is true of all");
        // A failure costs one as well.
        let (statements, report) = count(&[failed("h1", T + 2_000_000, FailureKind::Refused)]).await;
        assert_eq!((statements, report.failed), (1, 1));
        one.pool.close().await;
    })
    .await;
}

#[tokio::test]
async fn what_this_process_remembers_wrongly_is_written_in_full() {
    on_both(async |db| {
        let (one, other) = (Written::default(), Written::default());
        let batch = |at| vec![seen("a", at, primary("x")), seen("b", at, primary("x")), seen("c", at, primary("x"))];
        record(db, &one, &batch(T)).await;
        record(db, &other, &[failed("a", T + 10, FailureKind::Broken)]).await;
        db.sql("DELETE FROM instance WHERE hostname = 'b'").await;
        record(db, &other, &[seen("c", T + 10, primary("changed"))]).await;
        let report = record(db, &one, &batch(T + 20)).await;
        assert_eq!(report.unchanged, 0);
        assert_eq!(report.new, [key("b")].into());
        let a = db.instance(&key("a")).await.unwrap();
        assert_eq!((a.check.failures, a.check.last_error.as_str()), (0, ""), "a good check clears the failure");
        assert_eq!(db.instance(&key("c")).await.unwrap().facts.version, "x");
        assert_eq!(record(db, &one, &batch(T + 30)).await.unchanged, 3);
    })
    .await;
}

#[tokio::test]
async fn extra_probes_do_not_put_off_the_regular_ones() {
    on_both(async |db| {
        let written = Written::default();
        record(db, &written, &[seen("a", T, primary("x"))]).await;
        let failures = async || db.instance(&key("a")).await.unwrap().check.failures;
        for n in 1..=20 {
            let report = instances::record_extra(&db.pool, &written, &[failed("a", T + n, FailureKind::Refused)]).await;
            assert_eq!((report.unwrap().failed, failures().await), (1, 1));
        }
        record(db, &written, &[failed("a", T + 21, FailureKind::Refused)]).await;
        instances::record_extra(&db.pool, &written, &[failed("a", T + 22, FailureKind::Refused)]).await.unwrap();
        assert_eq!(failures().await, 2);
        instances::record_extra(&db.pool, &written, &[seen("a", T + 23, primary("x"))]).await.unwrap();
        assert_eq!(failures().await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_failure_counts_keeps_the_facts_and_creates_nobody() {
    on_both(async |db| {
        let written = Written::default();
        record(db, &written, &[seen("a", T, primary("x")), seen("bystander", T, primary("x"))]).await;
        let before = db.instance(&key("bystander")).await;
        let batch = [failed("a", T + 1, FailureKind::ConnectTimeout), failed("nobody", T + 1, FailureKind::Refused)];
        let report = record(db, &written, &batch).await;
        assert_eq!((report.failed, report.changed.len()), (1, 0));
        record(db, &written, &batch).await; // Delivered twice, counted once.
        let silence = async || {
            let check = db.instance(&key("a")).await.unwrap().check;
            (check.failures, check.silent_since, check.failure)
        };
        assert_eq!(silence().await, (1, Some(T + 1), Some(FailureKind::ConnectTimeout)));
        record(db, &written, &[failed("a", T + 2, FailureKind::Refused)]).await;
        assert_eq!(silence().await, (2, Some(T + 1), Some(FailureKind::Refused)), "it began with the first");
        record(db, &written, &[failed("a", T + 3, FailureKind::AccessDenied)]).await;
        assert_eq!(silence().await, (3, None, Some(FailureKind::AccessDenied)), "a refusal breaks the silence");
        let stored = db.instance(&key("a")).await.unwrap();
        assert_eq!((stored.check.failures, stored.check.partial_success), (3, true));
        assert_eq!(stored.check.last_error, "cannot reach a");
        assert_eq!((stored.check.last_seen_at, stored.check.last_checked_at), (Some(T), Some(T + 3)));
        assert_eq!(stored.facts, primary("x"));
        assert!(!stored.check.is_valid());
        assert_eq!(db.instance(&key("nobody")).await, None);
        assert_eq!(db.instance(&key("bystander")).await, before);
        record(db, &written, &[failed("a", T + 4, FailureKind::ReadTimeout)]).await;
        assert_eq!(silence().await, (4, Some(T + 4), Some(FailureKind::ReadTimeout)));
        let report = record(db, &written, &[seen("a", T + 5, primary("x"))]).await;
        assert_eq!(report.changed, [key("a")].into(), "facts are as before, yet the failure must go");
        let stored = db.instance(&key("a")).await.unwrap();
        assert_eq!((stored.check.failures, stored.check.partial_success), (0, false));
        assert_eq!(silence().await, (0, None, None));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_goes_by_another_name_has_one_row() {
    on_both(async |db| {
        let written = Written::default();
        record(db, &written, &[seen("alias", T, primary("x"))]).await;
        let report = record(db, &written, &[renamed("alias", "real", T + 1, primary("x"))]).await;
        assert_eq!(report.renamed, [(key("alias"), key("real"))]);
        assert_eq!(db.instance(&key("alias")).await, None);
        assert!(db.instance(&key("real")).await.is_some());
        assert_eq!(store::hostnames::resolved(&db.pool, "alias").await.unwrap().as_deref(), Some("real"));
    })
    .await;
}

#[tokio::test]
async fn names_that_cannot_be_are_rejected_without_harm_to_the_batch() {
    on_both(async |db| {
        let monster = "x".repeat(10_000);
        let filtered =
            Observation { answer: Answer::Filtered { filter: "f".to_owned() }, ..seen("filtered", T, primary("")) };
        let batch = [
            seen(&monster, T, primary("x")),
            failed(&monster, T, FailureKind::Broken),
            seen("below-monster", T, replica_of(&monster)),
            filtered,
            seen("good", T, primary("x")),
        ];
        let report = record(db, &Written::default(), &batch).await;
        assert_eq!(report.rejected.len(), 3);
        assert!(report.rejected.iter().all(|(_, why)| why.len() < 200), "no 10 kB in a log");
        assert_eq!(report.changed, [key("good")].into());
        assert_eq!(instances::read_all(&db.pool).await.unwrap().instances.len(), 1);
        let error = instances::insert_minimal(&mut *db.conn().await, &key(&monster), "").await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn the_forgotten_stay_away_until_their_time_or_a_person_asks() {
    on_both(async |db| {
        let (written, other) = (Written::default(), Written::default());
        record(db, &written, &[seen("a", T, primary("x")), seen("b", T, primary("x"))]).await;
        let minute = std::time::Duration::from_secs(60);
        instances::forget(&mut *db.conn().await, &key("a"), minute).await.unwrap();
        let missing = instances::forget(&mut *db.conn().await, &key("a"), minute).await.unwrap_err();
        assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
        for written in [&written, &other] {
            let report = record(db, written, &[seen("a", T + 5, primary("x")), seen("b", T + 5, primary("y"))]).await;
            assert_eq!(report.forgotten, [key("a")].into());
            assert_eq!(report.changed, [key("b")].into());
            assert_eq!(db.instance(&key("a")).await, None);
        }
        assert!(!instances::insert_minimal(&mut *db.conn().await, &key("a"), "").await.unwrap());
        let asked = [key("a"), key("b"), key("c"), key("//detached")];
        assert_eq!(instances::unknown_of(&db.pool, &asked).await.unwrap(), [key("c")]);
        assert_eq!(instances::forgotten(&db.pool).await.unwrap().len(), 1);
        instances::remember(&db.pool, &key("a")).await.unwrap();
        assert_eq!(record(db, &other, &[seen("a", T + 9, primary("x"))]).await.new, [key("a")].into());
        instances::forget(&mut *db.conn().await, &key("a"), minute).await.unwrap();
        db.sql("UPDATE forgotten_instance SET forgotten_until = NOW(6)").await;
        assert_eq!(record(db, &other, &[seen("a", T + 10, primary("x"))]).await.new, [key("a")].into());
        assert_eq!(instances::expire_forgotten(&mut *db.conn().await).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn forgetting_races_with_recording_and_wins() {
    on_both(async |db| {
        for round in 0..30 {
            let at = T + round;
            let batch = [seen("a", at, primary(&round.to_string())), seen("b", at, primary("x"))];
            record(db, &Written::default(), &batch).await;
            let fresh = [seen("a", at, primary("again")), seen("b", at, primary("x"))];
            let written = Written::default();
            let mut conn = db.conn().await;
            let forget = async {
                // Two transactions over the same rows: one of them may have to yield, and is tried again.
                loop {
                    match instances::forget(&mut conn, &batch[0].asked, std::time::Duration::from_secs(60)).await {
                        Err(error) if error.is_conflict() => {}
                        other => return other,
                    }
                }
            };
            let (recorded, forgotten) = tokio::join!(instances::record(&db.pool, &written, &fresh), forget);
            recorded.unwrap();
            forgotten.unwrap();
            assert_eq!(db.instance(&key("a")).await, None, "round {round}");
            instances::remember(&db.pool, &key("a")).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn twenty_recorders_at_once_lose_nothing() {
    on_both(async |db| {
        const HOSTS: i64 = 60;
        const ROUNDS: i64 = 12;
        let mut tasks = tokio::task::JoinSet::new();
        for recorder in 0..20_i64 {
            let pool = db.pool.clone();
            tasks.spawn(async move {
                let written = Written::default();
                for round in 0..ROUNDS {
                    // Every recorder has its own order and its own moment; hosts overlap, some fail, some change.
                    let at = T + round * 1000 + recorder;
                    let batch: Vec<Observation> = (0..HOSTS)
                        .map(|n| (n * 7 + recorder * 13) % HOSTS)
                        .map(|host| match (host + round + recorder) % 5 {
                            0 if round < ROUNDS - 1 => failed(&format!("h{host}"), at, FailureKind::Broken),
                            _ => seen(&format!("h{host}"), at, primary(&format!("{round}.{recorder}"))),
                        })
                        .collect();
                    instances::record(&pool, &written, &batch).await.unwrap();
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        let all = instances::read_all(&db.pool).await.unwrap().instances;
        assert_eq!(all.len(), usize::try_from(HOSTS).unwrap());
        for one in all {
            assert_eq!(one.facts.version, format!("{}.19", ROUNDS - 1), "{}: the newest of all", one.key);
            assert_eq!(one.check.last_seen_at, Some(T + (ROUNDS - 1) * 1000 + 19));
            assert_eq!(one.check.failures, 0);
        }
    })
    .await;
}

#[tokio::test]
async fn a_large_batch_is_split_and_stays_whole() {
    on_both(async |db| {
        let batch: Vec<Observation> = (0..350)
            .map(|n| {
                let mut facts = primary("8.0");
                facts.gtid.executed = "0123456789abcdef".repeat(if n < 5 { 100_000 } else { 10 });
                seen(&format!("h{n}"), T, facts)
            })
            .collect();
        let written = Written::default();
        assert_eq!(record(db, &written, &batch).await.new.len(), 350);
        let later: Vec<Observation> = batch.into_iter().map(|one| Observation { observed_at: T + 1, ..one }).collect();
        assert_eq!(record(db, &written, &later).await.unchanged, 350);
    })
    .await;
}

#[tokio::test]
async fn readers_learn_of_changes_and_only_of_changes() {
    on_both(async |db| {
        let written = Written::default();
        record(db, &written, &[seen("a", T, primary("x")), seen("b", T, primary("x"))]).await;
        let changed = async |since| instances::look(&db.pool, since).await.unwrap().changed;
        let since = changed(0).await.iter().map(|(_, at)| *at).max().unwrap();
        assert_eq!(changed(0).await, instances::index(&db.pool).await.unwrap());
        assert!(changed(since).await.is_empty());
        let b = db.instance(&key("b")).await.unwrap();
        record(db, &written, &[seen("a", T + 1, primary("x")), seen("b", T + 1, primary("x"))]).await;
        let place = domain::instance::Placement {
            cluster_name: "x:1".to_owned(),
            suggested_cluster_alias: "🐬".repeat(300),
            replication_depth: 3,
            is_co_primary: true,
            ancestry_uuid: "u,v".to_owned(),
            gtid_errant: "g:1".to_owned(),
        };
        let placed = [(b.id, place.clone()), (999_999, place.clone())];
        assert_eq!(instances::write_placements(&mut *db.conn().await, &placed).await.unwrap(), 1);
        instances::mark_attempted(&mut *db.conn().await, &[b.id]).await.unwrap();
        assert!(changed(since).await.is_empty(), "times and places are no news");
        let stored = db.instance(&b.key).await.unwrap();
        assert_eq!(stored.placement.suggested_cluster_alias.chars().count(), 255);
        assert_eq!((stored.placement.replication_depth, stored.placement.ancestry_uuid.as_str()), (3, "u,v"));
        assert!(stored.check.last_attempted_at.is_some());
        assert_eq!(instances::read_cluster(&db.pool, "x:1").await.unwrap().instances.len(), 1);
        record(db, &written, &[seen("b", T + 2, primary("y"))]).await;
        store::downtime::begin(&mut *db.conn().await, &key("a"), "me", "why", std::time::Duration::from_secs(60))
            .await
            .unwrap();
        let ids: Vec<u64> = changed(since).await.iter().map(|(id, _)| *id).collect();
        let mut changed = instances::read_ids(&db.pool, &ids).await.unwrap();
        changed.sort_by_key(|(_, at)| *at);
        let names: Vec<&InstanceKey> = changed.iter().map(|(one, _)| &one.key).collect();
        assert_eq!(names, [&key("b"), &key("a")]);
        assert_eq!(instances::read_ids(&db.pool, &[b.id, 7_777]).await.unwrap().len(), 1);
        assert_eq!(instances::read_many(&db.pool, &[key("b"), key("zz"), key("a")]).await.unwrap().len(), 2);
        assert_eq!(instances::check_times(&db.pool).await.unwrap().len(), 2);
        assert_eq!(changed[0].0.placement.cluster_name, "x:1", "recording leaves the place");
    })
    .await;
}

#[tokio::test]
async fn the_long_unseen_and_the_never_seen_are_forgotten_by_age() {
    on_both(async |db| {
        record(db, &Written::default(), &[seen("old", T, primary("x")), seen("young", T, primary("x"))]).await;
        for name in ["never", "fresh"] {
            assert!(instances::insert_minimal(&mut *db.conn().await, &key(name), "dc").await.unwrap());
        }
        assert!(!instances::insert_minimal(&mut *db.conn().await, &key("young"), "").await.unwrap(), "known already");
        db.sql("UPDATE instance SET last_seen_at = NOW(6) - INTERVAL 239 HOUR WHERE hostname = 'young'").await;
        db.sql("UPDATE instance SET last_seen_at = NOW(6) - INTERVAL 241 HOUR WHERE hostname = 'old'").await;
        db.sql("UPDATE instance SET first_seen_at = NOW(6) - INTERVAL 241 HOUR WHERE hostname IN ('never', 'young')")
            .await;
        assert_eq!(instances::forget_unseen(&mut *db.conn().await, 240).await.unwrap(), 2);
        let left: Vec<String> =
            instances::read_all(&db.pool).await.unwrap().instances.into_iter().map(|one| one.key.hostname).collect();
        assert_eq!(left, ["fresh", "young"]);
        assert_eq!(db.instance(&key("fresh")).await.unwrap().lane, "dc");
    })
    .await;
}
