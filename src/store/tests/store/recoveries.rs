//! Detections, recoveries, hooks, and what else is kept about failures.

use std::time::Duration;

use domain::instance::{BinlogCoordinates, InstanceKey};
use domain::plan::Request;
use serde_json::{Value, json};
use store::detections::{self, NewDetection};
use store::former_primaries::{self, FormerState, NewFormer};
use store::hook_runs::{self, HookBegin, HookOwner, HookState, NewHookRun};
use store::maintenance::Claim;
use store::operations::{Begun, Finish, NewOperation, Run, State};
use store::recoveries::{
    self, Close, Created, Filter, Kind, NewBlocked, NewEvent, NewRecovery, Outcome, Phase, Progress, Recovery, Which,
};
use store::{Error, analyses, operations, recovery_switch, samples};

use crate::{Db, key, on_both};

const HOUR: Duration = Duration::from_secs(3600);
const NONE: Value = Value::Null;

fn new<'a>(failed: &'a InstanceKey, cluster_name: &'a str) -> NewRecovery<'a> {
    NewRecovery {
        kind: Kind::Primary,
        code: "DeadMaster",
        command_hint: "",
        failed,
        cluster_name,
        cluster_alias: "shop",
        detection_id: None,
        force: false,
        suppress_hooks: false,
        requested_candidate: None,
        entry: &NONE,
        verdicts: &NONE,
        actor: "",
        node: "n1",
        node_token: "t1",
    }
}

/// As the leader begins one: recovery and operation in one transaction.
async fn begin(db: &Db, new: &NewRecovery<'_>) -> Result<Created, Error> {
    let mut tx = db.pool.begin().await.unwrap();
    let created = recoveries::create(&mut tx, new).await?;
    if let Created::New(recovery) = created {
        let request = Request::Recover { failed: new.failed.clone(), recovery };
        let asked = NewOperation { request: &request, dry_run: false, cluster_name: new.cluster_name, actor: "" };
        let operation = operations::create(&mut tx, &asked).await?;
        recoveries::set_operation(&mut tx, recovery, operation).await?;
        tx.commit().await.unwrap();
    }
    Ok(created)
}

async fn opened(db: &Db, failed: &str, cluster: &str) -> Recovery {
    match begin(db, &new(&key(failed), cluster)).await.unwrap() {
        Created::New(id) => read(db, id).await,
        Created::Open(id) => panic!("{id} is open"),
    }
}

async fn read(db: &Db, id: u64) -> Recovery {
    recoveries::read(&db.pool, id).await.unwrap().unwrap()
}

async fn take_up(db: &Db, recovery: &Recovery, worker: &str) -> Run {
    let claim = Claim { owner: "", reason: "recover", duration: HOUR, holder_node: worker };
    match operations::begin_run(&db.pool, recovery.operation_id, claim).await.unwrap() {
        Begun::Run { run, .. } => run,
        other => panic!("{other:?}"),
    }
}

async fn end(db: &Db, run: Run, id: u64, outcome: Outcome, successor: Option<&InstanceKey>) -> bool {
    let state = if outcome == Outcome::Recovered { State::Done } else { State::Failed };
    let finish = Finish { state, outcome: &NONE, error: "", message: "recovered" };
    let close = Close { outcome, successor, hold: HOUR, text: "the end" };
    recoveries::finish(&db.pool, run, id, &close, finish).await.unwrap()
}

async fn ended(db: &Db, failed: &str, cluster: &str, outcome: Outcome) -> Recovery {
    let open = opened(db, failed, cluster).await;
    let run = take_up(db, &open, "w1").await;
    let successor = key("b");
    assert!(end(db, run, open.id, outcome, (outcome == Outcome::Recovered).then_some(&successor)).await);
    read(db, open.id).await
}

async fn numbers(db: &Db, filter: Filter<'_>) -> Vec<u64> {
    recoveries::list(&db.pool, &filter).await.unwrap().iter().map(|one| one.id).collect()
}

#[tokio::test]
async fn of_many_who_begin_a_recovery_of_a_cluster_one_does() {
    on_both(async |db| {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0_u16..20 {
            let pool = db.pool.clone();
            // Half of them name the primary, half a co-primary of the same cluster.
            let failed = key(if number % 2 == 0 { "a" } else { "z" });
            tasks.spawn(async move {
                loop {
                    let mut tx = pool.begin().await.unwrap();
                    match recoveries::create(&mut tx, &new(&failed, "a:3306")).await {
                        Ok(created) => {
                            tx.commit().await.unwrap();
                            return created;
                        }
                        Err(error) if error.is_conflict() => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        let all = tasks.join_all().await;
        let begun: Vec<u64> = all
            .iter()
            .filter_map(|one| match one {
                Created::New(id) => Some(*id),
                Created::Open(_) => None,
            })
            .collect();
        assert_eq!(begun.len(), 1, "{all:?}");
        assert!(all.iter().all(|one| matches!(one, Created::New(id) | Created::Open(id) if *id == begun[0])));
        // The same instance under another name of its cluster is the same trouble; another cluster is another.
        let failed = read(db, begun[0]).await.failed;
        assert_eq!(begin(db, &new(&failed, "other:3306")).await.unwrap(), Created::Open(begun[0]));
        assert!(matches!(begin(db, &new(&key("o"), "other:3306")).await.unwrap(), Created::New(_)));
        assert!(matches!(begin(db, &new(&key("q"), "")).await, Err(Error::Invalid { .. })));
    })
    .await;
}

#[tokio::test]
async fn a_recovery_keeps_what_it_was_begun_for_and_how_it_went() {
    on_both(async |db| {
        let (failed, wanted) = (key("a"), key("c"));
        let (entry, verdicts) = (json!({ "Analysis": "DeadMaster" }), json!([{ "gate": "downtime", "pass": true }]));
        let asked = NewRecovery {
            detection_id: Some(7),
            force: true,
            suppress_hooks: true,
            command_hint: "force-master-failover",
            requested_candidate: Some(&wanted),
            entry: &entry,
            verdicts: &verdicts,
            actor: "ann@host",
            ..new(&failed, "a:3306")
        };
        let Created::New(id) = begin(db, &asked).await.unwrap() else { panic!("open") };
        let begun = read(db, id).await;
        let (nanos, hex) = begun.uid.split_once(':').unwrap();
        assert!(nanos.parse::<u64>().unwrap() > 1_500_000_000_000_000_000 && hex.len() == 64, "{}", begun.uid);
        assert_eq!((begun.kind, begun.phase, begun.outcome), (Kind::Primary, Phase::Registered, None));
        assert_eq!((&begun.entry, &begun.verdicts, begun.detection_id), (&entry, &verdicts, Some(7)));
        assert_eq!(
            (begun.requested_candidate.as_ref(), begun.force, begun.suppress_hooks),
            (Some(&wanted), true, true)
        );
        assert_eq!((begun.node.as_str(), begun.node_token.as_str(), begun.actor.as_str()), ("n1", "t1", "ann@host"));
        assert!(begun.is_active && begun.ended_at.is_none() && begun.successor.is_none());
        assert_eq!(recoveries::by_uid(&db.pool, &begun.uid).await.unwrap().unwrap().id, id);
        assert_eq!(recoveries::by_operation(&db.pool, begun.operation_id).await.unwrap().unwrap().id, id);

        let run = take_up(db, &begun, "w1").await;
        for phase in [Phase::Fencing, Phase::Choosing] {
            assert!(recoveries::set_phase(&db.pool, run, id, phase, "w1").await.unwrap());
        }
        let choice = json!({ "successor": "b:3306", "because": "it has all" });
        assert!(recoveries::save_choice(&db.pool, run, id, Some(&key("b")), &choice).await.unwrap());
        let (lost, errors, outage) = ([key("x")], ["x is ahead".to_owned()], json!({ "seconds": 0.4 }));
        let known = Progress { lost: Some(&lost), errors: Some(&errors), outage: Some(&outage), ..Progress::default() };
        assert!(recoveries::note_result(&db.pool, run, id, &known).await.unwrap());
        let part = [key("b"), key("c")];
        let known = Progress {
            successor_alias: Some("shop"),
            successor_coordinates: Some("bin.000002:120"),
            participating: Some(&part),
            ..Progress::default()
        };
        assert!(recoveries::note_result(&db.pool, run, id, &known).await.unwrap());
        let chosen = read(db, id).await;
        assert_eq!((chosen.phase, chosen.successor, chosen.is_successful), (Phase::Choosing, Some(key("b")), false));
        assert!(end(db, run, id, Outcome::Recovered, Some(&key("b"))).await);
        assert!(!end(db, run, id, Outcome::Recovered, Some(&key("b"))).await, "ended once");
        let after = read(db, id).await;
        assert_eq!((after.phase, after.outcome, after.is_successful), (Phase::Closed, Some(Outcome::Recovered), true));
        assert_eq!((after.successor, after.successor_alias.as_str()), (Some(key("b")), "shop"));
        assert_eq!((after.lost, after.participating, after.errors), (lost.to_vec(), part.to_vec(), errors.to_vec()));
        assert_eq!(
            (after.choice, after.outage, after.successor_coordinates.as_str()),
            (Some(choice), Some(outage), "bin.000002:120")
        );
        assert!(after.is_active && after.ended_at >= Some(after.started_at));
        let operation = operations::read(&db.pool, after.operation_id).await.unwrap().unwrap();
        assert_eq!((operation.state, operation.word.as_str()), (State::Done, "recover"));
        let told = recoveries::events(&db.pool, id).await.unwrap();
        let told: Vec<_> = told.iter().map(|one| (one.kind.as_str(), one.text.as_str(), one.run)).collect();
        assert_eq!(told, [("phase", "fencing", 1), ("phase", "choosing", 1), ("closed", "the end", 1)]);
        assert_eq!(recoveries::read(&db.pool, 999).await.unwrap(), None);
        assert_eq!(recoveries::by_uid(&db.pool, "999").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_was_taken_for_dead_writes_nothing_more() {
    on_both(async |db| {
        let one = opened(db, "a", "a:3306").await;
        let old = take_up(db, &one, "w1").await;
        let hook = |worker, run| NewHookRun {
            owner: HookOwner::Recovery(one.id),
            list: "PreFailoverProcesses",
            index: 0,
            command: "notify",
            worker,
            run: Some(run),
        };
        let mut conn = db.conn().await;
        let HookBegin::Begun(first) = hook_runs::begin(&mut conn, &hook("w1", old)).await.unwrap() else { panic!() };
        let new_run = take_up(db, &one, "w2").await;
        assert!(!recoveries::set_phase(&db.pool, old, one.id, Phase::Promoting, "w1").await.unwrap());
        assert!(!recoveries::save_choice(&db.pool, old, one.id, Some(&key("x")), &NONE).await.unwrap());
        assert!(!recoveries::note_result(&db.pool, old, one.id, &Progress::default()).await.unwrap());
        assert!(!end(db, old, one.id, Outcome::Recovered, Some(&key("x"))).await);
        let late = NewHookRun { index: 1, ..hook("w1", old) };
        assert_eq!(hook_runs::begin(&mut conn, &late).await.unwrap(), HookBegin::NotOurs);
        let mut tx = db.pool.begin().await.unwrap();
        let close = Close { outcome: Outcome::Failed, successor: None, hold: HOUR, text: "" };
        assert!(!recoveries::close(&mut tx, old, one.id, &close).await.unwrap());
        tx.rollback().await.unwrap();
        let untouched = read(db, one.id).await;
        assert_eq!((untouched.phase, untouched.successor, untouched.outcome), (Phase::Registered, None, None));
        assert!(recoveries::events(&db.pool, one.id).await.unwrap().is_empty());
        // The hook that it left is not begun again.
        assert_eq!(hook_runs::mark_unknown(&db.pool, one.id, new_run).await.unwrap(), 1);
        let HookBegin::Already(left) = hook_runs::begin(&mut conn, &hook("w2", new_run)).await.unwrap() else {
            panic!()
        };
        assert_eq!((left.id, left.state, left.worker.as_str()), (first, HookState::Unknown, "w1"));
        // Nor does a run of one recovery touch another one.
        let other = opened(db, "o", "o:3306").await;
        assert!(!recoveries::set_phase(&db.pool, new_run, other.id, Phase::Promoting, "w2").await.unwrap());
        assert!(recoveries::set_phase(&db.pool, new_run, one.id, Phase::Promoting, "w2").await.unwrap());
        let mut tx = db.pool.begin().await.unwrap();
        assert!(recoveries::close(&mut tx, new_run, one.id, &close).await.unwrap());
        tx.commit().await.unwrap();
        assert!(!recoveries::set_phase(&db.pool, new_run, one.id, Phase::Promoting, "w2").await.unwrap(), "closed");
    })
    .await;
}

#[tokio::test]
async fn a_success_holds_back_for_the_period_a_failure_for_seconds_and_nothing_not_at_all() {
    on_both(async |db| {
        let won = ended(db, "a", "a:3306", Outcome::Recovered).await;
        let failed = ended(db, "f", "f:3306", Outcome::Failed).await;
        let refused = ended(db, "r", "r:3306", Outcome::Refused).await;
        let gone = ended(db, "g", "g:3306", Outcome::NoLongerNeeded).await;
        let open = opened(db, "p", "p:3306").await;
        assert!(!gone.is_active && gone.active_until >= gone.ended_at && !gone.is_successful);
        let active = async || -> Vec<u64> {
            recoveries::end_active_periods(&mut *db.conn().await, HOUR).await.unwrap();
            recoveries::active(&db.pool).await.unwrap().iter().map(|one| one.id).collect()
        };
        assert_eq!(active().await, [won.id, failed.id, refused.id, open.id]);
        db.sql("UPDATE recovery SET started_at = started_at - INTERVAL 11 SECOND, ended_at = ended_at - INTERVAL 11 SECOND, active_ended_at = active_ended_at - INTERVAL 11 SECOND").await;
        assert_eq!(active().await, [won.id, open.id]);
        assert!(read(db, failed.id).await.active_until.is_some());
        assert!(won.active_until.unwrap() - won.started_at == 3_600_000_000, "{won:?}");
        db.sql("UPDATE recovery SET started_at = started_at - INTERVAL 1 HOUR").await;
        assert_eq!(active().await, [open.id], "what is being carried out counts, however old");
        assert_eq!(recoveries::open(&db.pool).await.unwrap().len(), 1);
        let within = Filter { ended_within: Some(HOUR), ..Filter::default() };
        assert_eq!(numbers(db, within).await, [gone.id, refused.id, failed.id, won.id]);
        let (a, b) = (key("a"), key("b"));
        assert_eq!(numbers(db, Filter { instance: Some(&a), ..Filter::default() }).await, [won.id]);
        assert_eq!(numbers(db, Filter { successor: Some(&b), ..Filter::default() }).await, [won.id]);
        assert_eq!(numbers(db, Filter { open: true, active: true, ..Filter::default() }).await, [open.id]);
        assert_eq!(numbers(db, Filter { cluster_name: Some("r:3306"), ..Filter::default() }).await, [refused.id]);
        assert_eq!(numbers(db, Filter { cluster_alias: Some("shop"), ..Filter::default() }).await.len(), 5);
        assert!(numbers(db, Filter { page: 1, ..Filter::default() }).await.is_empty());
        // A period that was made shorter counts at once.
        ended(db, "q", "q:3306", Outcome::Failed).await;
        assert_eq!(recoveries::end_active_periods(&mut *db.conn().await, Duration::ZERO).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_recovery_that_nobody_carries_out_is_closed() {
    on_both(async |db| {
        let failed = opened(db, "a", "a:3306").await;
        let cancelled = opened(db, "b", "b:3306").await;
        let waiting = opened(db, "c", "c:3306").await;
        let trimmed = opened(db, "d", "d:3306").await;
        let run = take_up(db, &failed, "w1").await;
        let lost = Finish { state: State::Failed, outcome: &NONE, error: "lost", message: "" };
        assert!(operations::finish(&db.pool, run, lost).await.unwrap());
        let mut conn = db.conn().await;
        assert!(operations::cancel_waiting(&mut conn, cancelled.operation_id).await.unwrap());
        db.sql(&format!("DELETE FROM operation WHERE id = {}", trimmed.operation_id)).await;
        assert_eq!(recoveries::close_orphans(&mut conn).await.unwrap(), 3);
        let open: Vec<u64> = recoveries::open(&db.pool).await.unwrap().iter().map(|one| one.id).collect();
        assert_eq!(open, [waiting.id]);
        let [failed, cancelled] = [read(db, failed.id).await, read(db, cancelled.id).await];
        assert_eq!((failed.outcome, failed.is_active), (Some(Outcome::Failed), true), "rests for seconds");
        assert_eq!(failed.errors, ["its operation ended without it"]);
        assert_eq!((cancelled.outcome, cancelled.is_active), (Some(Outcome::Cancelled), false));
        assert!(cancelled.active_until.is_some());
        assert_eq!(recoveries::close_orphans(&mut conn).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn acknowledgements_end_what_they_name_and_only_that() {
    on_both(async |db| {
        let mut ids = Vec::new();
        for name in ["a", "b", "c", "d", "e"] {
            ids.push(ended(db, name, &format!("{name}:3306"), Outcome::Recovered).await);
        }
        db.sql("UPDATE recovery SET cluster_alias = CONCAT('alias-', hostname)").await;
        let mut conn = db.conn().await;
        for name in ["a", "b", "c"] {
            let cluster = format!("{name}:3306");
            register(db, name, &cluster, "DeadMaster", true).await.unwrap();
        }
        let mut by =
            async |which: Which<'_>| recoveries::acknowledge(&mut conn, which, "ann", "seen it").await.unwrap();
        assert_eq!(by(Which::Id(ids[0].id)).await, [ids[0].id]);
        assert!(by(Which::Id(ids[0].id)).await.is_empty(), "once");
        assert_eq!(by(Which::Uid(&ids[1].uid)).await, [ids[1].id]);
        assert_eq!(active_detections(db).await, 3, "numbers release no detections");
        let (b, c) = (key("b"), key("c"));
        assert_eq!(by(Which::Instance(&c)).await, [ids[2].id]);
        assert!(by(Which::Instance(&b)).await.is_empty());
        assert_eq!(active_detections(db).await, 1);
        assert!(by(Which::Cluster { name: "nobody:1", alias: "" }).await.is_empty());
        assert_eq!(by(Which::Cluster { name: "new-name:3306", alias: "alias-d" }).await, [ids[3].id]);
        assert!(by(Which::Cluster { name: "a:3306", alias: "alias-a" }).await.is_empty());
        assert_eq!(active_detections(db).await, 0);
        let open = opened(db, "e", "new-of-e:3306").await;
        let e = key("e");
        assert_eq!(by(Which::EndedOf(&e)).await, [ids[4].id], "what is being carried out is left");
        assert_eq!(by(Which::All).await, [open.id]);
        let seen = read(db, ids[0].id).await;
        let said = seen.acknowledged.unwrap();
        assert_eq!((said.by.as_str(), said.comment.as_str(), seen.is_active), ("ann", "seen it", false));
        assert!(seen.active_until.is_some());
        let still = read(db, open.id).await;
        assert!(still.is_active && still.acknowledged.is_some(), "acknowledged, and still carried out");
        let run = take_up(db, &still, "w").await;
        assert!(end(db, run, open.id, Outcome::Recovered, Some(&key("b"))).await);
        assert!(!read(db, open.id).await.is_active);
        let unacknowledged = Filter { unacknowledged: true, ..Filter::default() };
        assert!(numbers(db, unacknowledged).await.is_empty());
    })
    .await;
}

async fn active_detections(db: &Db) -> usize {
    let filter = detections::Filter { active: true, ..detections::Filter::default() };
    detections::list(&db.pool, &filter).await.unwrap().len()
}

async fn register(db: &Db, host: &str, cluster: &str, code: &str, is_actionable: bool) -> Option<u64> {
    let (failed, replicas, entry) = (key(host), [key("r1"), key("r2")], json!({ "Analysis": code }));
    let new = NewDetection {
        key: &failed,
        code,
        cluster_name: cluster,
        cluster_alias: "shop",
        is_actionable,
        replicas: &replicas,
        entry: &entry,
        node: "n1",
        node_token: "t1",
    };
    detections::register(&mut *db.conn().await, &new).await.unwrap()
}

#[tokio::test]
async fn a_trouble_is_detected_once_until_it_is_released() {
    on_both(async |db| {
        let first = register(db, "a", "a:3306", "UnreachableMaster", false).await.unwrap();
        assert_eq!(register(db, "a", "a:3306", "AllMasterReplicasNotReplicating", false).await, None);
        let second = register(db, "a", "a:3306", "DeadMaster", true).await.unwrap();
        assert_eq!(register(db, "a", "a:3306", "DeadMasterAndSomeReplicas", true).await, None);
        let other = register(db, "o", "o:3306", "DeadMaster", true).await.unwrap();
        let recovery =
            begin(db, &NewRecovery { detection_id: Some(second), ..new(&key("a"), "a:3306") }).await.unwrap();
        let Created::New(recovery) = recovery else { panic!("open") };
        let told = detections::read(&db.pool, second).await.unwrap().unwrap();
        assert_eq!((told.code.as_str(), told.is_active, told.recovery_id), ("DeadMaster", true, Some(recovery)));
        assert_eq!((told.replicas, told.entry), (vec![key("r1"), key("r2")], json!({ "Analysis": "DeadMaster" })));
        let of = async |filter: detections::Filter<'_>| -> Vec<u64> {
            detections::list(&db.pool, &filter).await.unwrap().iter().map(|one| one.id).collect()
        };
        let a = key("a");
        assert_eq!(of(detections::Filter { instance: Some(&a), ..Default::default() }).await, [second, first]);
        assert_eq!(of(detections::Filter { cluster_name: Some("o:3306"), ..Default::default() }).await, [other]);
        assert_eq!(of(detections::Filter { cluster_alias: Some("shop"), ..Default::default() }).await.len(), 3);
        assert!(of(detections::Filter { page: 1, ..Default::default() }).await.is_empty());
        let mut conn = db.conn().await;
        assert_eq!(detections::release_of_instance(&mut conn, &key("a")).await.unwrap(), 2);
        assert_eq!(detections::release_of_cluster(&mut conn, "x", "").await.unwrap(), 0);
        assert_eq!(detections::release_older(&mut conn, HOUR).await.unwrap(), 0);
        db.sql("UPDATE detection SET started_at = started_at - INTERVAL 61 MINUTE").await;
        assert_eq!(detections::release_older(&mut conn, HOUR).await.unwrap(), 1);
        assert!(register(db, "a", "a:3306", "DeadMaster", true).await.is_some());
        assert_eq!(detections::trim(&mut conn, HOUR).await.unwrap(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_hook_begins_at_most_once() {
    on_both(async |db| {
        let owner = HookOwner::Detection(5);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..8 {
            let pool = db.pool.clone();
            tasks.spawn(async move {
                let worker = format!("w{number}");
                let new = NewHookRun {
                    owner,
                    list: "OnFailureDetectionProcesses",
                    index: 0,
                    command: "echo {failureType}",
                    worker: &worker,
                    run: None,
                };
                hook_runs::begin(&mut pool.acquire().await.unwrap(), &new).await.unwrap()
            });
        }
        let begun = tasks.join_all().await;
        let mine: Vec<u64> = begun
            .iter()
            .filter_map(|one| match one {
                HookBegin::Begun(id) => Some(*id),
                HookBegin::Already(_) | HookBegin::NotOurs => None,
            })
            .collect();
        assert_eq!(mine.len(), 1, "{begun:?}");
        assert_eq!(hook_runs::mark_unknown_of_detection(&db.pool, 6).await.unwrap(), 0);
        assert_eq!(hook_runs::mark_unknown_of_detection(&db.pool, 5).await.unwrap(), 1);
        let output = "a line\n".repeat(10);
        assert!(
            hook_runs::end(&db.pool, mine[0], HookState::Failed, Some(3), &output).await.unwrap(),
            "late, but true"
        );
        assert!(!hook_runs::end(&db.pool, mine[0], HookState::Done, Some(0), "").await.unwrap());
        let run = hook_runs::of(&db.pool, owner).await.unwrap().remove(0);
        assert_eq!((run.state, run.exit_code, run.output, run.run), (HookState::Failed, Some(3), output, 0));
        assert!(run.ended_at >= Some(run.begun_at));
        assert!(hook_runs::of(&db.pool, HookOwner::Recovery(5)).await.unwrap().is_empty(), "another owner");
        db.sql("UPDATE hook_run SET begun_at = begun_at - INTERVAL 2 HOUR").await;
        assert_eq!(hook_runs::trim(&mut *db.conn().await, HOUR).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_held_back_is_told_while_it_is_so() {
    on_both(async |db| {
        let won = ended(db, "a", "a:3306", Outcome::Recovered).await;
        let (a, b) = (key("a"), key("b"));
        let mut conn = db.conn().await;
        let one = NewBlocked {
            key: &a,
            code: "DeadMaster",
            cluster_name: "a:3306",
            blocking: Some(won.id),
            reason: "RecoveryPeriodBlockSeconds",
        };
        recoveries::block(&mut conn, &one).await.unwrap();
        let other = NewBlocked { key: &b, blocking: None, reason: "downtimed", cluster_name: "b:3306", ..one };
        recoveries::block(&mut conn, &other).await.unwrap();
        db.sql("UPDATE recovery_blocked SET since = since - INTERVAL 1 MINUTE").await;
        recoveries::block(&mut conn, &one).await.unwrap();
        let told = recoveries::blocked(&db.pool, Some("a:3306")).await.unwrap();
        assert_eq!((told.len(), told[0].blocking), (1, Some(won.id)));
        assert!(told[0].blocked_at - told[0].since >= 60_000_000, "held back since it was first said");
        assert_eq!(recoveries::blocked(&db.pool, None).await.unwrap().len(), 2);
        assert_eq!(recoveries::expire_blocked(&mut conn, HOUR).await.unwrap(), 0);
        recoveries::acknowledge(&mut conn, Which::Id(won.id), "ann", "ok").await.unwrap();
        assert_eq!(recoveries::expire_blocked(&mut conn, HOUR).await.unwrap(), 1);
        assert_eq!(recoveries::expire_blocked(&mut conn, Duration::ZERO).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn old_recoveries_are_trimmed_with_their_timelines() {
    on_both(async |db| {
        let old = ended(db, "a", "a:3306", Outcome::Recovered).await;
        let young = ended(db, "b", "b:3306", Outcome::Recovered).await;
        let open = opened(db, "c", "c:3306").await;
        let note = NewEvent { run: 0, worker: "w", kind: "fact", text: "it's so", data: Some(&json!({ "n": 1 })) };
        for one in [&old, &open] {
            recoveries::event(&db.pool, one.id, &note).await.unwrap();
        }
        let told = recoveries::events(&db.pool, open.id).await.unwrap().remove(0);
        assert_eq!((told.text.as_str(), told.data), ("it's so", Some(json!({ "n": 1 }))));
        db.sql(&format!("UPDATE recovery SET ended_at = ended_at - INTERVAL 8 DAY WHERE id = {}", old.id)).await;
        db.sql("UPDATE recovery SET started_at = started_at - INTERVAL 8 DAY").await;
        assert_eq!(recoveries::trim(&mut *db.conn().await, HOUR * 24 * 7).await.unwrap(), 1);
        assert!(recoveries::events(&db.pool, old.id).await.unwrap().is_empty());
        assert_eq!(recoveries::events(&db.pool, young.id).await.unwrap().len(), 1);
        assert_eq!(numbers(db, Filter::default()).await, [open.id, young.id]);
    })
    .await;
}

#[tokio::test]
async fn the_switch_stands_as_it_was_left() {
    on_both(async |db| {
        let mut conn = db.conn().await;
        assert!(!recovery_switch::is_disabled(&db.pool).await.unwrap());
        assert!(recovery_switch::set(&mut conn, true, "ann").await.unwrap());
        assert!(!recovery_switch::set(&mut conn, true, "bob").await.unwrap(), "it stood so");
        let stands = recovery_switch::read(&db.pool).await.unwrap();
        assert_eq!((stands.is_disabled, stands.actor.as_str()), (true, "ann"));
        assert!(recovery_switch::set(&mut conn, false, "bob").await.unwrap());
        db.sql("DELETE FROM recovery_switch").await;
        assert!(matches!(recovery_switch::is_disabled(&db.pool).await, Err(Error::Schema(_))), "no permission");
    })
    .await;
}

#[tokio::test]
async fn changes_of_analyses_are_kept_and_first_words_are_none() {
    on_both(async |db| {
        let (a, b) = (key("a"), key("b"));
        let said = |key, code| analyses::Said { key, cluster_name: "a:3306", code };
        let mut conn = db.conn().await;
        assert_eq!(analyses::note(&mut conn, &[said(&a, "NoProblem"), said(&b, "NoProblem")]).await.unwrap(), 0);
        for code in ["UnreachableMaster", "DeadMaster", "DeadMaster", "NoProblem"] {
            analyses::note(&mut conn, &[said(&a, code), said(&b, "NoProblem")]).await.unwrap();
        }
        let log = analyses::changelog(&db.pool).await.unwrap();
        let codes: Vec<&str> = log[&a].iter().map(|one| one.code.as_str()).collect();
        assert_eq!((codes, log.len()), (vec!["UnreachableMaster", "DeadMaster", "NoProblem"], 1));
        assert_eq!(analyses::last(&db.pool).await.unwrap().len(), 2);
        assert!(analyses::forget(&mut conn, &b).await.unwrap());
        db.sql("UPDATE analysis_change SET changed_at = changed_at - INTERVAL 2 HOUR").await;
        assert_eq!(analyses::trim(&mut conn, HOUR).await.unwrap(), 3);
        assert_eq!(analyses::note(&mut conn, &[]).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_source_that_stays_has_been_there_since() {
    on_both(async |db| {
        let mut conn = db.conn().await;
        let at = |position| [(key("a"), BinlogCoordinates { file: "bin.1".to_owned(), position })];
        samples::note(&mut conn, &at(4)).await.unwrap();
        db.sql("UPDATE semi_sync_sample SET first_seen_at = first_seen_at - INTERVAL 1 MINUTE").await;
        samples::note(&mut conn, &at(4)).await.unwrap();
        let first = samples::read_all(&db.pool).await.unwrap()[&key("a")].clone();
        assert!(db.now().await - first.first_seen >= 60_000_000);
        samples::note(&mut conn, &at(5)).await.unwrap();
        let moved = samples::read_all(&db.pool).await.unwrap()[&key("a")].clone();
        assert!(moved.first_seen > first.first_seen + 50_000_000 && moved.at.position == 5, "{moved:?}");
        assert_eq!(samples::expire(&mut conn, HOUR).await.unwrap(), 0);
        assert_eq!(samples::expire(&mut conn, Duration::ZERO).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_replaced_primary_is_watched_until_it_is_back() {
    on_both(async |db| {
        let (a, b, c) = (key("a"), key("b"), key("c"));
        let mut conn = db.conn().await;
        let new = |successor, recovery_id| NewFormer {
            key: &a,
            cluster_name: "a:3306",
            successor,
            recovery_id,
            gtid: "u:1-9",
        };
        former_primaries::mark(&mut conn, &new(&b, 7)).await.unwrap();
        let lost = former_primaries::of(&db.pool).await.unwrap().remove(0);
        assert_eq!(
            (lost.state, lost.seen_at, &lost.successor, lost.gtid.as_str()),
            (FormerState::Lost, None, &b, "u:1-9")
        );
        assert!(former_primaries::set_state(&mut conn, &lost, FormerState::Errant, "u:10").await.unwrap());
        assert!(
            !former_primaries::set_state(&mut conn, &lost, FormerState::Rejoined, "").await.unwrap(),
            "not as read"
        );
        former_primaries::mark(&mut conn, &new(&c, 7)).await.unwrap();
        let errant = former_primaries::of(&db.pool).await.unwrap().remove(0);
        assert_eq!((errant.state, errant.errant_gtid.as_str(), &errant.successor), (FormerState::Errant, "u:10", &b));
        assert!(errant.seen_at.is_some());
        former_primaries::mark(&mut conn, &new(&c, 8)).await.unwrap();
        let again = former_primaries::of(&db.pool).await.unwrap().remove(0);
        assert_eq!((again.state, again.recovery_id, &again.successor), (FormerState::Lost, 8, &c));
        assert_eq!((again.seen_at, again.errant_gtid.as_str()), (None, ""));
        assert!(former_primaries::forget(&mut conn, &a).await.unwrap());
    })
    .await;
}
