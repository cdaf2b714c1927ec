//! Many replicas at once.

use super::{BY_POSITION, TREE, moved, relocate_replicas};
use crate::operation::fixture::{Fixture, key, short};
use crate::plan::{Request, Rule};

#[test]
fn many_are_moved_side_by_side_and_who_cannot_be_is_named() {
    let world = "a\n  b\n    c\n    d executed=a:1-100,d:1\n    e\n    f channels";
    let plan = Fixture::new(world).plan(&relocate_replicas("b", "a"));
    assert_eq!(moved(&plan), ["c<a", "e<a"]);
    let left: Vec<_> = plan.left_out.iter().map(|one| (short(&one.instance.to_string()), one.rule)).collect();
    assert_eq!(left, [("d".to_owned(), Rule::ErrantGtid), ("f".to_owned(), Rule::SeveralChannels)]);
    assert!(plan.locks.is_empty() && plan.branches.iter().all(|one| one.locks == [one.instance.clone()]));
    // The new source itself stays, and so does what the pattern leaves out.
    let below = Fixture::new(world).plan(&relocate_replicas("b", "c"));
    assert_eq!(moved(&below), ["e<c"]);
    let some = Request::MoveReplicasGtid { of: key("b"), below: key("a"), pattern: "^e:".to_owned() };
    assert_eq!(moved(&Fixture::new(world).plan(&some)), ["e<a"]);
    // Nobody to move is no error.
    let none = Request::RelocateReplicas { of: key("b"), below: key("a"), pattern: "x".to_owned() };
    assert!(Fixture::new(world).plan(&none).branches.is_empty());
}

#[test]
fn many_by_position_move_up_within_one_standstill() {
    let request = Request::MoveUpReplicas { of: key("b"), pattern: "c|d".to_owned() };
    for request in [request, Request::RelocateReplicas { of: key("b"), below: key("a"), pattern: "c|d".to_owned() }] {
        let plan = Fixture::new(BY_POSITION).plan(&request);
        assert_eq!(moved(&plan), ["c<a", "d<a"]);
        assert_eq!((plan.head.len(), plan.tail.len(), plan.locks), (1, 1, vec![key("b")]));
    }
    // With GTID among them.
    let mixed = "a\n  b\n    c nogtid\n    d";
    assert_eq!(moved(&Fixture::new(mixed).plan(&relocate_replicas("b", "a"))), ["c<a", "d<a"]);
}

#[test]
fn siblings_by_position_meet_the_most_advanced_of_them() {
    let plan = Fixture::new(BY_POSITION).plan(&Request::TakeSiblings { instance: key("c") });
    let head: Vec<String> = plan.head.iter().map(|step| short(&step.to_string())).collect();
    let expected = [
        "c: stop applier",
        "d: stop applier",
        "e: stop applier",
        "c: apply up to the position that d has applied, then stop",
        "c: stop applier",
        "c: apply up to the position that e has applied, then stop",
        "c: stop applier",
    ];
    assert_eq!(head, expected);
    assert_eq!(moved(&plan), ["d<c", "e<c"]);
    assert_eq!(plan.locks, [key("c"), key("d"), key("e")]);
    let by_gtid = Fixture::new(TREE).plan(&Request::TakeSiblings { instance: key("c") });
    assert_eq!((moved(&by_gtid), by_gtid.answers_for), (vec!["d<c".to_owned()], Some(key("c"))));
}

#[test]
fn mixed_replicas_go_each_in_its_way() {
    // Three by GTID; the fourth can only go by position, and that does not lead there.
    let world = "a\n  b\n    c\n    d\n    e\n    f nogtid\n  g";
    let plan = Fixture::new(world).plan(&relocate_replicas("b", "g"));
    assert_eq!(moved(&plan), ["c<g", "d<g", "e<g"]);
    assert_eq!(plan.left_out[0].rule, Rule::TooComplex);
}

#[test]
fn the_most_advanced_replica_leads_the_group() {
    let regroup = Request::RegroupReplicas { of: key("a"), gtid_only: false };
    let leader = |world: &str| {
        let plan = Fixture::new(world).plan(&regroup);
        short(&plan.answers_for.expect("a leader").to_string())
    };
    // Data comes first; what is only received counts.
    let world = "a dead\n  b io=connecting executed=a:1-98 retrieved=a:1-98\n  c io=connecting executed=a:1-97 retrieved=a:90-99";
    let world = &world.replace("b io", "b rule=prefer io");
    assert_eq!(leader(world), "c");
    let plan = Fixture::new(world).plan(&regroup);
    assert_eq!(short(&plan.head[0].to_string()), "c: wait until everything received is applied");
    assert_eq!(moved(&plan), ["b<c"]);
    // Then people's wishes, the place, versions, formats, names.
    let tie = |b: &str, c: &str| leader(&format!("a dead dc=x\n  b io=connecting {b}\n  c io=connecting {c}"));
    assert_eq!(tie("dc=x", "dc=x"), "b");
    assert_eq!(tie("dc=x", "rule=prefer"), "c");
    assert_eq!(tie("", "dc=x"), "c");
    assert_eq!(tie("dc=x version=8.4.2", "dc=x"), "c");
    assert_eq!(tie("dc=x", "dc=x format=MIXED"), "c");
    assert_eq!(tie("dc=x rule=must_not", ""), "c");
    assert_eq!(tie("dc=x nolog", ""), "c");
    // Who cannot follow is left out, and so is who cannot be reached.
    let world = "a dead\n  b io=connecting\n  c dead\n  d io=connecting nogtid";
    let plan = Fixture::new(&format!("{world}\n  e io=connecting")).plan(&regroup);
    assert_eq!(moved(&plan), ["e<b"]);
    let left: Vec<Rule> = plan.left_out.iter().map(|one| one.rule).collect();
    assert_eq!(left, [Rule::Unreachable, Rule::NoSharedGtid]);
}
