//! Half-done worlds: a run that died is taken up, what is left is done, and no more.

use super::{TREE, moved, relocate_replicas};
use crate::operation::fixture::{Fixture, key, relocate, short};
use crate::operation::plan;
use crate::plan::{Condition, Method, Request, Rule};

/// A run that died is taken up: what is left is done, and no more.
fn rest(began: &str, request: &Request, now: &str, touched: &[&str]) -> Result<Vec<String>, Rule> {
    let began = Fixture::new(began);
    let fixture = Fixture::new(now).resumed(touched).earlier(&began, request);
    match plan(request, &fixture.world()) {
        Ok(_) => Ok(fixture.steps(request)),
        Err(refusal) => Err(refusal.rule),
    }
}

#[test]
fn a_move_is_finished_by_whoever_comes_next() {
    let stopped = "io=no sql=no";
    let change = ["c: replicate from d, beginning at auto-position", "c: start receiver and applier, see it running"];
    let before = format!("a\n  b\n    c {stopped}\n    d");
    assert_eq!(rest(TREE, &relocate("c", "d"), &before, &["c"]), Ok(change.map(str::to_owned).to_vec()));
    let after = format!("a\n  b\n    d\n      c {stopped}");
    let start = Ok(vec!["c: start receiver and applier, see it running".to_owned()]);
    for request in [relocate("c", "d"), Request::MoveGtid { instance: key("c"), below: key("d") }] {
        assert_eq!(rest(TREE, &request, &after, &["c"]), start);
        assert_eq!(rest(TREE, &request, "a\n  b\n    d\n      c", &["c"]), Err(Rule::AlreadySo));
    }
    // What was not applied when it died is applied first.
    let lagging = "a\n  b\n    c io=no sql=no executed=a:1-90\n    d executed=a:1-95";
    let steps = rest(TREE, &relocate("c", "d"), lagging, &["c"]).expect("a plan");
    assert_eq!(steps[..2], ["c: start applier, see it running", "c: wait until everything received is applied"]);
}

#[test]
fn a_replica_is_not_moved_up_twice() {
    let up = Request::MoveUp { instance: key("d") };
    let began = "z\n  a\n    b\n      d";
    assert_eq!(rest(began, &up, "z\n  a\n    b\n    d", &["d", "a"]), Err(Rule::AlreadySo));
    let start = Ok(vec!["d: start receiver and applier, see it running".to_owned()]);
    assert_eq!(rest(began, &up, "z\n  a\n    b\n    d io=no sql=no", &["d"]), start);
    // By position, whoever stood still goes on, too.
    let began = "z\n  a\n    b nogtid\n      d nogtid";
    let now = "z\n  a\n    b nogtid sql=no\n    d nogtid sql=no";
    let steps = ["d: start applier, see it running", "b: start applier, see it running"];
    assert_eq!(rest(began, &up, now, &["b", "d"]), Ok(steps.map(str::to_owned).to_vec()));
    let unknown = Fixture::new(now).resumed(&["b", "d"]);
    assert_eq!(unknown.refusal(&up).rule, Rule::TooComplex);
}

#[test]
fn a_swap_is_finished_with_gtid_and_refused_without() {
    let swap = Request::TakeMaster { instance: key("c") };
    let began = "a\n  b\n    c";
    let half = rest(began, &swap, "a\n  b io=no\n  c", &["b", "c"]).expect("a plan");
    assert_eq!(half.last().map(String::as_str), Some("b: start receiver, see it running"));
    assert!(half.contains(&"b: replicate from c, beginning at auto-position".to_owned()), "{half:?}");
    assert_eq!(rest(began, &swap, "a\n  c\n    b", &["b", "c"]), Err(Rule::AlreadySo));
    let start = Ok(vec!["b: start receiver and applier, see it running".to_owned()]);
    assert_eq!(rest(began, &swap, "a\n  c\n    b io=no sql=no", &["b", "c"]), start);
    let began = "a\n  b nogtid\n    c nogtid";
    let now = "a\n  b nogtid sql=no\n  c nogtid sql=no";
    assert_eq!(rest(began, &swap, now, &["b", "c"]), Err(Rule::TooComplex));
}

/// A MariaDB replica is turned away, for good, by a source that is not as far as it.
#[test]
fn a_resumed_swap_of_mariadb_starts_the_new_source_before_the_old_one_waits_for_it() {
    let swap = Request::TakeMaster { instance: key("c") };
    let (began, now) = ("a mariadb\n  b mariadb\n    c mariadb", "a mariadb\n  b mariadb\n  c mariadb io=no sql=no");
    let fixture = Fixture::new(now).resumed(&["b", "c"]).earlier(&Fixture::new(began), &swap);
    let plan = fixture.plan(&swap);
    let head: Vec<String> = plan.head.iter().map(|step| short(&step.to_string())).collect();
    assert_eq!(head, ["c: start receiver and applier, see it running"]);
    let waits = Condition::ExecutedIsIn { other: key("c") };
    let waiting = plan.branches[0].steps.iter().find(|step| step.after.contains(&waits)).expect("a step that waits");
    assert_eq!((waiting.on.clone(), moved(&plan)), (key("b"), vec!["b<c".to_owned()]));
    assert_eq!((plan.method, plan.tail.len(), plan.locks), (Method::MariadbGtid, 0, vec![key("b"), key("c")]));
    // What runs already is not started; and MySQL's replicas wait for their source by themselves.
    let runs = Fixture::new("a mariadb\n  b mariadb\n  c mariadb").resumed(&["b", "c"]);
    assert!(runs.earlier(&Fixture::new(began), &swap).plan(&swap).head.is_empty());
    let (began, now) = ("a\n  b\n    c", "a\n  b\n  c io=no sql=no");
    let plan = Fixture::new(now).resumed(&["b", "c"]).earlier(&Fixture::new(began), &swap).plan(&swap);
    assert_eq!((plan.head.len(), plan.tail.len()), (0, 1));
}

#[test]
fn other_operations_are_finished_too() {
    let pair = Request::MakeCoMaster { instance: key("b") };
    let start = Ok(vec!["a: start receiver and applier, see it running".to_owned()]);
    assert_eq!(rest("a\n  b", &pair, "a rw from=b io=no sql=no\n  b", &["b"]), start);
    let detach = Request::DetachReplica { instance: key("b") };
    let start = Ok(vec!["b: start receiver and applier, see it running".to_owned()]);
    assert_eq!(rest("a\n  b", &detach, "a\n  b detached io=no sql=no", &["b"]), start);
    assert_eq!(rest("a\n  b", &detach, "a\n  b detached io=connecting", &["b"]), Err(Rule::AlreadySo));
    let many = relocate_replicas("b", "a");
    let now = "a\n  b\n    e\n  c io=no sql=no\n  d";
    let steps = rest("a\n  b\n    c\n    d\n    e", &many, now, &["c", "d", "e"]).expect("a plan");
    assert_eq!(steps.len(), 4, "{steps:?}");
    assert_eq!(steps[3], "c: start receiver and applier, see it running");
    let local = Request::MakeLocalMaster { instance: key("c") };
    let steps = rest(TREE, &local, "a\n  b\n    d\n  c io=no\n    e", &["c", "d"]).expect("a plan");
    assert!(steps.contains(&"d: replicate from c, beginning at auto-position".to_owned()), "{steps:?}");
    assert_eq!(steps.last().map(String::as_str), Some("c: start receiver, see it running"));
}

#[test]
fn a_promotion_is_finished() {
    let make = Request::MakeMaster { instance: key("b") };
    let began = "a dead\n  b io=connecting\n  c io=connecting";
    let now = "a dead\n  b detached io=no sql=no\n  c io=connecting";
    let steps = rest(began, &make, now, &["b", "c"]).expect("a plan");
    assert_eq!(steps[0], "b: set read_only off");
    assert!(steps.contains(&"c: replicate from b, beginning at auto-position".to_owned()), "{steps:?}");
    let done = "a dead\n  b detached io=no sql=no rw\n    c";
    assert_eq!(rest(began, &make, done, &["b", "c"]), Err(Rule::AlreadySo));
}

#[test]
fn a_group_keeps_the_leader_it_chose() {
    let regroup = Request::RegroupReplicas { of: key("a"), gtid_only: true };
    let began = "a dead\n  b io=connecting\n  c io=connecting\n  d io=connecting";
    let now = "a dead\n  b io=connecting\n    c io=no sql=no\n  d io=connecting rule=prefer";
    let steps = rest(began, &regroup, now, &["b", "c", "d"]).expect("a plan");
    assert!(steps.contains(&"d: replicate from b, beginning at auto-position".to_owned()), "{steps:?}");
    assert!(steps.contains(&"c: start receiver and applier, see it running".to_owned()), "{steps:?}");
}
