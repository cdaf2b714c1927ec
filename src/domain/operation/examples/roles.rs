//! Changes of roles.

use super::{TREE, check, moved};
use crate::operation::fixture::{Fixture, guards, key, lines, short};
use crate::plan::{Action, Condition, Request, Rule};

#[test]
fn a_replica_swaps_with_its_source() {
    let swap = Request::TakeMaster { instance: key("c") };
    let steps = [
        "c: stop receiver",
        "c: replicate from a, beginning at auto-position",
        "c: start receiver, see it running",
        "b: stop receiver",
        "b: wait until everything received is applied",
        "b: replicate from c, beginning at auto-position",
        "b: start receiver, see it running",
    ];
    check("a\n  b\n    c", &swap, &steps);
    let steps = [
        "b: stop applier",
        "c: stop applier",
        "c: apply up to the end of b's binary log, then stop",
        "c: stop applier",
        "c: stop receiver",
        "c: replicate from a, beginning at the position that b has applied",
        "c: start receiver, see it running",
        "b: stop receiver",
        "b: replicate from c, beginning at the end of c's binary log",
        "c: start applier, see it running",
        "b: start receiver and applier, see it running",
    ];
    check("a\n  b nogtid\n    c nogtid", &swap, &steps);
    let plan = Fixture::new("a\n  b nogtid\n    c nogtid").plan(&swap);
    assert_eq!(plan.locks, [key("b"), key("c")]);
    assert_eq!(plan.branches[0].restore.len(), 2);
}

#[test]
fn a_pair_is_made() {
    let pair = Request::MakeCoMaster { instance: key("b") };
    let steps = [
        "a: take the replication user and password of b",
        "a: replicate from b, beginning at auto-position",
        "a: start receiver and applier, see it running",
    ];
    check("a\n  b", &pair, &steps);
    let position = Fixture::new("a\n  b nogtid").steps(&pair);
    assert_eq!(position[1], "a: replicate from b, beginning at the end of b's binary log");
    let mariadb = Fixture::new("a mariadb\n  b mariadb").steps(&pair);
    assert_eq!(mariadb[1], "a: replicate from b, beginning at its own current_pos");
    let plan = Fixture::new("a\n  b").plan(&pair);
    assert_eq!((plan.locks, plan.answers_for), (vec![key("a"), key("b")], Some(key("b"))));
    // Its former peer is gone: the primary has a user already.
    let left = Fixture::new("a rw from=z\n  b\nz dead from=a").plan(&pair);
    assert_eq!(moved(&left), ["a<b"]);
    assert!(!lines(&left).iter().any(|line| line.contains("password")));
}

#[test]
fn a_primary_is_made() {
    let world =
        "a dead\n  b io=connecting executed=a:1-99\n  c io=connecting executed=a:1-90 retrieved=a:1-95\n  d dead";
    let plan = Fixture::new(world).plan(&Request::MakeMaster { instance: key("b") });
    let expected = [
        "b: stop receiver",
        "b: wait until everything received is applied",
        "b: stop applier",
        "b: name the source //a, nothing else",
        "b: set read_only off",
        "c: stop receiver",
        "c: wait until everything received is applied",
        "c: replicate from b, beginning at auto-position",
        "c: start receiver, see it running",
    ];
    assert_eq!(lines(&plan), expected);
    assert_eq!(plan.left_out[0].rule, Rule::Unreachable);
    assert!(guards(&plan, "c").contains(&Condition::ExecutedIsIn { other: key("b") }));
    assert!(plan.warnings.iter().any(|text| text.contains("accepts no writes if it comes back")));
}

#[test]
fn a_local_master_is_made() {
    let plan = Fixture::new(TREE).plan(&Request::MakeLocalMaster { instance: key("c") });
    let head: Vec<String> = plan.head.iter().map(|step| short(&step.to_string())).collect();
    assert!(head.contains(&"c: replicate from a, beginning at auto-position".to_owned()), "{head:?}");
    assert_eq!((moved(&plan), plan.answers_for.clone()), (vec!["d<c".to_owned()], Some(key("c"))));
    // Its source may be dead: that is what it is for.
    let dead = Fixture::new("a\n  b dead\n    c io=connecting\n    d io=connecting retrieved=a:1-100");
    assert_eq!(moved(&dead.plan(&Request::MakeLocalMaster { instance: key("c") })), ["d<c"]);
}

#[test]
fn a_pair_of_mariadb_needs_a_replica_that_has_it_all() {
    let pair = Request::MakeCoMaster { instance: key("b") };
    let plan = Fixture::new("a mariadb\n  b mariadb").plan(&pair);
    let change = plan.steps().find(|step| matches!(step.action, Action::ChangeSource { .. })).expect("a change");
    assert!(change.after.contains(&Condition::ExecutedIsIn { other: key("b") }));
    // Of either family: nobody follows a replica that stands still.
    for (flavor, stopped) in [("mariadb", "sql=no"), ("mariadb", "io=no"), ("", "sql=no"), ("", "io=no")] {
        let refusal = Fixture::new(&format!("a {flavor}\n  b {flavor} {stopped}")).refusal(&pair);
        assert_eq!(refusal.rule, Rule::NotReplicating, "{refusal}");
    }
}

#[test]
fn a_pair_that_was_one_a_moment_ago_is_none() {
    let mut world = Fixture::new("a\n  b\n    c");
    for name in ["a", "b"] {
        world.instances.get_mut(&key(name)).expect("known").placement.is_co_primary = true;
    }
    assert_eq!(moved(&world.plan(&Request::TakeMaster { instance: key("c") })), ["c<a"]);
}
