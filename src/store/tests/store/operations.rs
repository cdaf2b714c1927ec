//! Operations: taking up, taking over, fencing, ending; their locks; equal positions.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::instance::{BinlogCoordinates, InstanceKey};
use domain::plan::{Action, Baseline, Plan, Request, Step, Threads};
use store::maintenance::{Claim, FencingToken};
use store::operations::{Begun, Filter, Finish, NewOperation, NewStep, Operation, Run, State};
use store::{Error, audit, equivalences, maintenance, operations};

use crate::{Db, key, on_both};

const MINUTE: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(4);

fn request() -> Request {
    Request::Relocate { instance: key("a"), below: key("b") }
}

fn claim(worker: &str) -> Claim<'_> {
    Claim { owner: "ann@host", reason: "relocate a:3306 below b:3306", duration: MINUTE, holder_node: worker }
}

async fn create(db: &Db) -> u64 {
    let mut tx = db.pool.begin().await.unwrap();
    let request = request();
    let new = NewOperation { request: &request, dry_run: false, cluster_name: "c:3306", actor: "ann@host" };
    let id = operations::create(&mut tx, &new).await.unwrap();
    operations::set_job(&mut tx, id, 77 + id).await.unwrap();
    tx.commit().await.unwrap();
    id
}

async fn take_up(db: &Db, id: u64, worker: &str) -> (Run, Operation, BTreeMap<InstanceKey, FencingToken>) {
    match operations::begin_run(&db.pool, id, claim(worker)).await.unwrap() {
        Begun::Run { run, operation, tokens } => (run, *operation, tokens),
        other => panic!("{other:?}"),
    }
}

async fn lock(db: &Db, run: Run, names: &[&str]) -> BTreeMap<InstanceKey, FencingToken> {
    let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
    maintenance::begin_for_operation(&db.pool, run, &keys, claim("w")).await.unwrap().expect("ours")
}

fn tokens(locks: &BTreeMap<InstanceKey, FencingToken>) -> Vec<FencingToken> {
    locks.values().copied().collect()
}

fn step(on: &str) -> Step {
    Step::new(&key(on), Action::Stop { threads: Threads::BOTH }, 10)
}

async fn begin_step(db: &Db, run: Run, locks: &BTreeMap<InstanceKey, FencingToken>) -> Option<u64> {
    let step = step("a");
    let token = locks[&key("a")];
    let new = NewStep { part: "branch", branch: 0, sequence: 0, step: &step, token, worker: "w1" };
    operations::begin_step(&db.pool, run, &tokens(locks), &new, WINDOW).await.unwrap()
}

#[tokio::test]
async fn an_operation_is_taken_up_planned_stepped_and_ended() {
    on_both(async |db| {
        let id = create(db).await;
        let waiting = operations::read(&db.pool, id).await.unwrap().unwrap();
        assert_eq!(
            (waiting.state, waiting.request, waiting.job_id, waiting.run),
            (State::Waiting, request(), 77 + id, 0)
        );
        assert_eq!(operations::by_job(&db.pool, 77 + id).await.unwrap().unwrap().id, id);
        let (run, taken, none) = take_up(db, id, "w1").await;
        assert!(none.is_empty() && taken.plan.is_none() && taken.state == State::Running);
        let locks = lock(db, run, &["b", "a"]).await;
        assert!(locks[&key("a")] < locks[&key("b")], "in the order of keys");
        let plan = Plan::in_place(request(), key("a"), vec![step("a")]);
        let baseline = Baseline::from([(key("a"), Threads::IO)]);
        assert!(operations::save_plan(&db.pool, run, &plan, &baseline).await.unwrap());
        assert!(operations::keep_locks(&db.pool, &tokens(&locks), MINUTE * 5).await.unwrap());
        let first = begin_step(db, run, &locks).await.unwrap();
        let second = begin_step(db, run, &locks).await.unwrap();
        let held = maintenance::read(&db.pool, &key("b")).await.unwrap().unwrap();
        assert!(held.expires_at - held.now > 290_000_000, "all locks of the operation are kept");
        assert_eq!(held.operation, Some(id));
        assert!(operations::end_step(&db.pool, first, None).await.unwrap());
        assert!(!operations::end_step(&db.pool, first, Some("late")).await.unwrap());
        assert!(operations::end_step(&db.pool, second, Some("no")).await.unwrap());
        let steps = operations::steps(&db.pool, id).await.unwrap();
        let told: Vec<_> = steps.iter().map(|one| (one.state.as_str(), one.error.as_str(), one.token)).collect();
        let token = locks[&key("a")].0;
        assert_eq!(told, [("done", "", token), ("failed", "no", token)]);
        assert!(steps[0].step == Some(step("a")) && steps[0].text.contains("a:3306"), "{:?}", steps[0]);
        let outcome = serde_json::json!({ "state": "done" });
        let finish = Finish { state: State::Done, outcome: &outcome, error: "", message: "moved" };
        assert!(operations::finish(&db.pool, run, finish).await.unwrap());
        assert!(!operations::finish(&db.pool, run, finish).await.unwrap(), "ended once");
        assert!(maintenance::active(&db.pool).await.unwrap().is_empty());
        let ended = operations::read(&db.pool, id).await.unwrap().unwrap();
        assert_eq!((ended.state, ended.plan, ended.resumed_plan), (State::Done, Some(plan), None));
        assert_eq!((ended.baseline, ended.outcome), (Some(baseline), Some(outcome)));
        assert!(ended.finished_at >= ended.started_at);
        let told: Vec<_> = audit::page(&db.pool, None, 0).await.unwrap();
        let types: Vec<&str> = told.iter().rev().map(|one| one.audit_type.as_str()).collect();
        assert_eq!(types, ["begin-maintenance", "begin-maintenance", "end-maintenance", "end-maintenance", "relocate"]);
        assert_eq!((told[0].actor.as_str(), told[0].message.as_str()), ("ann@host", "moved"));
        assert!(told.iter().all(|one| one.actor == "ann@host"), "{told:?}");
        let again = operations::begin_run(&db.pool, id, claim("w2")).await.unwrap();
        assert!(matches!(again, Begun::Ended(ended) if ended.state == State::Done));
        assert_eq!(operations::begin_run(&db.pool, 999, claim("w2")).await.unwrap(), Begun::Unknown);
    })
    .await;
}

#[tokio::test]
async fn taking_over_voids_everything_of_the_run_before() {
    on_both(async |db| {
        let id = create(db).await;
        let (old, _, _) = take_up(db, id, "w1").await;
        let old_locks = lock(db, old, &["a", "b", "c"]).await;
        let plan = Plan::in_place(request(), key("a"), vec![step("a")]);
        let baseline = Baseline::from([(key("a"), Threads::BOTH)]);
        assert!(operations::save_plan(&db.pool, old, &plan, &baseline).await.unwrap());
        let open = begin_step(db, old, &old_locks).await.unwrap();
        // One lock expired and nobody took it; another expired and somebody did.
        db.sql("UPDATE maintenance SET expires_at = NOW(6) WHERE hostname IN ('b', 'c')").await;
        maintenance::begin(&db.pool, &key("c"), claim("")).await.unwrap();
        let (new, taken, locks) = take_up(db, id, "w2").await;
        assert_eq!((new.number, taken.baseline.as_ref(), taken.plan.as_ref()), (2, Some(&baseline), Some(&plan)));
        assert_eq!(locks.keys().cloned().collect::<Vec<_>>(), [key("a"), key("b")]);
        assert!(locks[&key("a")] > old_locks[&key("a")]);
        // The old worker wakes up.
        assert_eq!(begin_step(db, old, &old_locks).await, None);
        assert!(!operations::keep_locks(&db.pool, &tokens(&old_locks), MINUTE).await.unwrap());
        assert_eq!(begin_step(db, old, &BTreeMap::from([(key("a"), old_locks[&key("a")])])).await, None);
        let more = maintenance::begin_for_operation(&db.pool, old, &[key("d")], claim("w1")).await.unwrap();
        assert_eq!(more, None);
        assert!(!operations::save_plan(&db.pool, old, &plan, &Baseline::new()).await.unwrap());
        assert!(!operations::release(&db.pool, old).await.unwrap());
        let outcome = serde_json::Value::Null;
        let finish = Finish { state: State::Failed, outcome: &outcome, error: "", message: "" };
        assert!(!operations::finish(&db.pool, old, finish).await.unwrap());
        assert_eq!(maintenance::active(&db.pool).await.unwrap().len(), 3, "it ended nothing");
        // What it may still send is waited for, then its step is closed.
        let pending = operations::pending(&db.pool, new).await.unwrap();
        assert!(pending > WINDOW / 2 && pending <= WINDOW, "{pending:?}");
        db.sql("UPDATE operation_step SET deadline_at = NOW(6) - INTERVAL 1 SECOND").await;
        assert_eq!(operations::pending(&db.pool, new).await.unwrap(), Duration::ZERO);
        assert_eq!(operations::close_steps(&db.pool, new).await.unwrap(), 1);
        assert!(!operations::end_step(&db.pool, open, None).await.unwrap(), "a late word on a closed step");
        // The new one works.
        let other = Plan { because: "the rest".to_owned(), ..plan.clone() };
        assert!(operations::save_plan(&db.pool, new, &other, &baseline).await.unwrap());
        assert!(begin_step(db, new, &locks).await.is_some());
        let now = operations::read(&db.pool, id).await.unwrap().unwrap();
        assert_eq!((now.plan, now.resumed_plan), (Some(plan), Some(other)));
        assert!(operations::release(&db.pool, new).await.unwrap());
        assert_eq!(begin_step(db, new, &locks).await, None, "released");
        assert_eq!(maintenance::active(&db.pool).await.unwrap().len(), 1, "the other's lock stays");
    })
    .await;
}

#[tokio::test]
async fn what_another_operation_may_still_send_and_has_changed_is_known() {
    on_both(async |db| {
        let (one, other) = (create(db).await, create(db).await);
        let (run, ..) = take_up(db, one, "w1").await;
        let locks = lock(db, run, &["a"]).await;
        begin_step(db, run, &locks).await.expect("begun");
        // A person takes the lock away.
        let mut conn = db.pool.acquire().await.unwrap();
        assert!(maintenance::end_of(&mut conn, &key("a")).await.unwrap());
        let pending =
            async |id, name| operations::pending_of_others(&db.pool, id, &[key("z"), key(name)]).await.unwrap();
        let left = pending(other, "a").await;
        assert!(left > WINDOW / 2 && left <= WINDOW, "{left:?}");
        assert_eq!((pending(one, "a").await, pending(other, "b").await), (Duration::ZERO, Duration::ZERO));
        let since = async |id| operations::changed_since(&db.pool, id, &key("a")).await.unwrap();
        assert_eq!((since(one).await, since(other).await), (None, None));
        let (later, ..) = take_up(db, other, "w2").await;
        let locks = lock(db, later, &["a"]).await;
        begin_step(db, later, &locks).await.expect("begun");
        assert_eq!((since(one).await, since(other).await), (Some(other), None));
        db.sql("UPDATE operation_step SET deadline_at = NOW(6)").await;
        assert_eq!(pending(other, "a").await, Duration::ZERO);
    })
    .await;
}

#[tokio::test]
async fn a_step_that_meets_a_takeover_waits_for_it_and_does_not_begin() {
    on_both(async |db| {
        let (old, _, _) = take_up(db, create(db).await, "w1").await;
        let locks = lock(db, old, &["a", "b"]).await;
        let mut tx = db.pool.begin().await.unwrap();
        maintenance::take_over(&mut tx, old.operation, claim("w2")).await.unwrap();
        let mut begins = Box::pin(begin_step(db, old, &locks));
        let early = tokio::time::timeout(Duration::from_millis(300), &mut begins).await;
        assert!(early.is_err(), "did not wait: {early:?}");
        tx.commit().await.unwrap();
        assert_eq!(begins.await, None);
        assert_eq!(db.number("SELECT COUNT(*) FROM operation_step").await, 0);
    })
    .await;
}

#[tokio::test]
async fn locks_are_taken_all_or_none_and_a_conflict_names_the_holder() {
    on_both(async |db| {
        let (one, other) = (create(db).await, create(db).await);
        let (one, _, _) = take_up(db, one, "w1").await;
        let (other, _, _) = take_up(db, other, "w2").await;
        lock(db, one, &["b"]).await;
        let keys = [key("c"), key("a"), key("b")];
        let refused = maintenance::begin_for_operation(&db.pool, other, &keys, claim("w2")).await;
        let Err(Error::Refused { what, holder, reason }) = refused else { panic!("{refused:?}") };
        assert_eq!(what, "maintenance of b:3306");
        assert_eq!((holder.as_str(), reason.as_str()), ("ann@host (process w)", "relocate a:3306 below b:3306"));
        let active = maintenance::active(&db.pool).await.unwrap();
        assert_eq!(active.len(), 1, "nothing else is locked: {active:?}");
        assert_eq!(db.number("SELECT COUNT(*) FROM audit").await, 1);
        // A void lock is no obstacle.
        db.sql("UPDATE maintenance SET expires_at = NOW(6)").await;
        assert_eq!(lock(db, other, &["a", "b", "b"]).await.len(), 2);
        assert_eq!(begin_step(db, one, &BTreeMap::from([(key("a"), active[0].token)])).await, None);
        let long = "n".repeat(300);
        let claim = Claim { owner: &long, holder_node: &long, ..claim("") };
        let taken = maintenance::begin_for_operation(&db.pool, other, &[key("z")], claim).await.unwrap();
        assert!(taken.is_some(), "long names are cut");
    })
    .await;
}

#[tokio::test]
async fn of_twenty_operations_on_the_same_servers_one_gets_them() {
    on_both(async |db| {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..20 {
            let (run, _, _) = take_up(db, create(db).await, "w").await;
            let pool = db.pool.clone();
            // Each asks in another order.
            let mut keys = vec![key("a"), key("b"), key("c")];
            keys.rotate_left(number % 3);
            tasks.spawn(async move { maintenance::begin_for_operation(&pool, run, &keys, claim("w")).await });
        }
        let results = tasks.join_all().await;
        assert_eq!(results.iter().filter(|one| matches!(one, Ok(Some(_)))).count(), 1, "{results:?}");
        let told = results.iter().filter(|one| matches!(one, Err(Error::Refused { .. }))).count();
        assert_eq!(told, 19, "{results:?}");
        assert_eq!(maintenance::active(&db.pool).await.unwrap().len(), 3);
    })
    .await;
}

#[tokio::test]
async fn branches_begin_steps_side_by_side_under_the_same_locks() {
    on_both(async |db| {
        let (run, _, _) = take_up(db, create(db).await, "w").await;
        let names: Vec<String> = (0..20).map(|number| format!("r{number:02}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let locks = lock(db, run, &names).await;
        let mut tasks = tokio::task::JoinSet::new();
        for (on, token) in locks.clone() {
            let (pool, fence) = (db.pool.clone(), tokens(&locks));
            tasks.spawn(async move {
                for sequence in 0..5 {
                    let step = step(&on.hostname);
                    let new = NewStep { part: "branch", branch: 0, sequence, step: &step, token, worker: "w" };
                    let begun = operations::begin_step(&pool, run, &fence, &new, WINDOW).await.unwrap();
                    operations::end_step(&pool, begun.unwrap(), None).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
        assert_eq!(db.number("SELECT COUNT(*) FROM operation_step WHERE state = 'done'").await, 100);
    })
    .await;
}

#[tokio::test]
async fn operations_are_listed_cancelled_and_trimmed() {
    on_both(async |db| {
        let ids = [create(db).await, create(db).await, create(db).await];
        let (run, _, _) = take_up(db, ids[1], "w").await;
        let mut conn = db.conn().await;
        assert!(operations::cancel_waiting(&mut conn, ids[0]).await.unwrap());
        assert!(!operations::cancel_waiting(&mut conn, ids[0]).await.unwrap());
        assert!(!operations::cancel_waiting(&mut conn, ids[1]).await.unwrap(), "somebody has it");
        let listed = async |filter: Filter<'static>| -> Vec<u64> {
            operations::list(&db.pool, &filter).await.unwrap().iter().map(|one| one.id).collect()
        };
        assert_eq!(listed(Filter::default()).await, [ids[2], ids[1], ids[0]]);
        assert_eq!(listed(Filter { state: Some(State::Running), ..Filter::default() }).await, [ids[1]]);
        assert_eq!(listed(Filter { before: Some(ids[2]), limit: 1, ..Filter::default() }).await, [ids[1]]);
        assert!(listed(Filter { cluster_name: Some("other"), ..Filter::default() }).await.is_empty());
        let locks = lock(db, run, &["a"]).await;
        begin_step(db, run, &locks).await.unwrap();
        let outcome = serde_json::Value::Null;
        let finish = Finish { state: State::Refused, outcome: &outcome, error: "why", message: "" };
        assert!(operations::finish(&db.pool, run, finish).await.unwrap());
        assert_eq!(operations::trim(&mut conn, MINUTE).await.unwrap(), 0);
        db.sql("UPDATE operation SET finished_at = NOW(6) - INTERVAL 2 MINUTE WHERE finished_at IS NOT NULL").await;
        assert_eq!(operations::trim(&mut conn, MINUTE).await.unwrap(), 2);
        assert_eq!(db.number("SELECT COUNT(*) FROM operation_step").await, 0);
        assert_eq!(listed(Filter::default()).await, [ids[2]], "what has not ended stays");
    })
    .await;
}

#[tokio::test]
async fn equal_positions_are_found_from_both_sides_and_expire() {
    on_both(async |db| {
        let at = |file: &str, position| BinlogCoordinates { file: file.to_owned(), position };
        let (here, there, later) = (at("log.1", 4), at("own.9", 700), at("own.9", 900));
        equivalences::record(&db.pool, (&key("z"), &here), (&key("b"), &there)).await.unwrap();
        equivalences::record(&db.pool, (&key("b"), &later), (&key("y"), &here)).await.unwrap();
        let of_b = equivalences::of_server(&db.pool, &key("b")).await.unwrap();
        let pairs: Vec<_> = of_b.into_iter().map(|pair| (pair.one, pair.other)).collect();
        assert_eq!(
            pairs,
            [((key("b"), later), (key("y"), here.clone())), ((key("b"), there.clone()), (key("z"), here.clone()))]
        );
        let of_z = equivalences::of_server(&db.pool, &key("z")).await.unwrap();
        assert_eq!((of_z.len(), &of_z[0].one.1, &of_z[0].other), (1, &here, &(key("b"), there)));
        let mut conn = db.conn().await;
        assert_eq!(equivalences::expire(&mut conn, equivalences::LIFETIME).await.unwrap(), 0);
        db.sql("UPDATE position_equivalence SET recorded_at = NOW(6) - INTERVAL 241 HOUR").await;
        assert_eq!(equivalences::expire(&mut conn, equivalences::LIFETIME).await.unwrap(), 2);
    })
    .await;
}
