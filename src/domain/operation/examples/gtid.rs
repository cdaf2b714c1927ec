//! By GTID, and whatever keeps its source: repointing, detaching.

use super::{TREE, check, moved};
use crate::operation::fixture::{Fixture, guards, key, lines, relocate};
use crate::plan::{Action, Condition, Method, Plan, Request, Rule, Threads};

#[test]
fn by_gtid_to_a_sibling_all_is_applied_first() {
    let steps = [
        "c: stop receiver",
        "c: wait until everything received is applied",
        "c: replicate from d, beginning at auto-position",
        "c: start receiver, see it running",
    ];
    check(TREE, &relocate("c", "d"), &steps);
    let fixture = Fixture::new(TREE);
    let plan = fixture.plan(&relocate("c", "d"));
    assert_eq!((plan.method, plan.locks.clone()), (Method::Gtid, vec![key("c")]));
    assert!(plan.because.contains("GTID"), "{}", plan.because);
    let guards = guards(&plan, "c");
    for wanted in [
        Condition::ReplicatesFrom { source: key("b") },
        Condition::Threads { running: Threads::SQL },
        Condition::Drained,
        Condition::PurgedByIsHere { other: key("d") },
        // The primary is asked: however far d is, what c has must come from there.
        Condition::ExecutedIsIn { other: key("a") },
    ] {
        assert!(guards.contains(&wanted), "{wanted:?}");
    }
}

#[test]
fn by_gtid_to_a_server_above_nothing_is_waited_for() {
    let steps =
        ["c: stop receiver", "c: replicate from a, beginning at auto-position", "c: start receiver, see it running"];
    check(TREE, &relocate("c", "a"), &steps);
    let plan = Fixture::new("a\n  b\n    c executed=a:1-50 sql=broken").plan(&relocate("c", "a"));
    assert!(guards(&plan, "c").contains(&Condition::ReceivedIsIn { other: key("a") }));
}

#[test]
fn mariadb_keeps_slave_pos() {
    let world = "a mariadb\n  b mariadb\n  c mariadb";
    let plan = Fixture::new(world).plan(&relocate("c", "b"));
    assert_eq!(plan.method, Method::MariadbGtid);
    assert_eq!(lines(&plan)[3], "c: replicate from b, beginning at its own slave_pos");
    // It would be turned away, for good, by a source that is not as far as it.
    let waited =
        |plan: &Plan| plan.steps().any(|step| step.after.contains(&Condition::ExecutedIsIn { other: key("b") }));
    assert!(waited(&plan) && guards(&plan, "c").contains(&Condition::ExecutedIsIn { other: key("b") }));
    let up = Fixture::new("a mariadb\n  b mariadb\n    c mariadb").plan(&relocate("c", "a"));
    assert!(!up.steps().any(|step| step.after.contains(&Condition::ExecutedIsIn { other: key("a") })));
    let stopped = Fixture::new("a mariadb\n  b mariadb\n    c mariadb io=no sql=no").edit("c", |one| {
        "0-1-1".clone_into(&mut one.facts.gtid.mariadb_current_pos);
    });
    let swap = Request::TakeMaster { instance: key("c") };
    assert_eq!(stopped.refusal(&swap).rule, Rule::NotReplicating);
    let local = Request::MakeLocalMaster { instance: key("c") };
    let plan = Fixture::new("a mariadb\n  b mariadb\n    c mariadb\n    d mariadb").plan(&local);
    assert_eq!(moved(&plan), ["d<c"]);
}

#[test]
fn threads_that_did_not_run_do_not_run_afterwards() {
    check("a\n  b\n    c io=no", &relocate("c", "a"), &["c: replicate from a, beginning at auto-position"]);
    check("a\n  b\n    c io=no sql=no", &relocate("c", "a"), &["c: replicate from a, beginning at auto-position"]);
}

#[test]
fn options_of_the_connection_are_stated_again() {
    let fixture = Fixture::new(TREE).edit("c", |one| {
        let replica = one.facts.replica.as_mut().expect("a replica");
        replica.tls.allowed = true;
        replica.tls.ca_file = "/ca.pem".to_owned();
    });
    let plan = fixture.plan(&relocate("c", "d"));
    let stated = plan.steps().find_map(|step| match &step.action {
        Action::ChangeSource { options, .. } => Some(options.tls.ca_file.clone()),
        _ => None,
    });
    assert_eq!(stated.as_deref(), Some("/ca.pem"));
}

#[test]
fn what_does_not_prevent_a_move_is_said() {
    let warns = |world: &str, text: &str| {
        let fixture = Fixture::new(world);
        let plan = fixture.plan(&relocate("c", "d"));
        assert!(plan.warnings.iter().any(|warning| warning.contains(text)), "{text}: {:?}", plan.warnings);
    };
    warns("a\n  b\n    c downtimed\n    d", "downtimed by ann");
    warns("a\n  b\n    c\n    d sql=no", "replication of d:3306 does not run");
    warns("a\n  b\n    c\n    d executed=a:1-90", "is behind c:3306");
    warns("a\n  b\n    c nogtid order_unknown\n    d", "commit order");
    warns("a\n  b\n    c nogtid\n    d rw", "accepts writes");
    let mut fixture = Fixture::new("a\n  b\n    c version=5.7.44\n    d");
    fixture.policy.lower_replica_version_allowed = true;
    assert!(fixture.plan(&relocate("c", "d")).warnings[0].contains("lower than 8.0.36"));
}

#[test]
fn repointing() {
    let steps =
        ["b: stop receiver", "b: replicate from a, beginning at auto-position", "b: start receiver, see it running"];
    let again = |name| Request::Repoint { instance: key(name), below: None };
    check(TREE, &again("b"), &steps);
    check(TREE, &relocate("b", "a"), &steps);
    assert_eq!(Fixture::new(TREE).plan(&relocate("b", "a")).method, Method::Repoint);
    let by_position = Fixture::new("a\n  b nogtid").steps(&again("b"));
    assert_eq!(by_position[2], "b: replicate from a, beginning at the position that b has applied");
    // The same server under another name.
    let renamed = "a\n  b nogtid\nz same_uuid=1 id=1";
    let plan = Fixture::new(renamed).plan(&Request::Repoint { instance: key("b"), below: Some(key("z")) });
    assert_eq!((plan.method, moved(&plan)), (Method::Repoint, vec!["b<z".to_owned()]));
    // A source that cannot be read stays; everything received is applied first.
    let dead = Fixture::new("a dead\n  b io=connecting").plan(&again("b"));
    assert!(guards(&dead, "b").contains(&Condition::Drained));
    assert!(dead.warnings[0].contains("could not be read"));
    let all = Request::RepointReplicas { of: key("b"), below: None, pattern: "c".to_owned() };
    assert_eq!(moved(&Fixture::new(TREE).plan(&all)), ["c<b"]);
}

#[test]
fn gtid_is_turned_on_and_off() {
    let on = Fixture::new("a\n  b nogtid").plan(&Request::EnableGtid { instance: key("b") });
    assert_eq!(lines(&on)[2], "b: replicate from a, beginning at auto-position");
    let verified = |plan: &Plan, using| plan.steps().any(|step| step.after.contains(&Condition::UsingGtid { using }));
    assert!(verified(&on, true));
    let off = Fixture::new(TREE).plan(&Request::DisableGtid { instance: key("b") });
    assert_eq!(lines(&off)[2], "b: replicate from a, beginning at the position that b has applied");
    assert!(verified(&off, false));
    // Domains are applied side by side: the place applied is true once all is.
    let off = Fixture::new("a mariadb\n  b mariadb").plan(&Request::DisableGtid { instance: key("b") });
    assert_eq!(lines(&off)[1], "b: wait until everything received is applied");
    let mariadb = "a mariadb\n  b mariadb nogtid";
    let on = Fixture::new(mariadb).plan(&Request::EnableGtid { instance: key("b") });
    assert_eq!(lines(&on)[2], "b: replicate from a, beginning at its own slave_pos");
}

#[test]
fn detaching_is_undone_by_reattaching() {
    let detach = Fixture::new(TREE).steps(&Request::DetachReplica { instance: key("b") });
    assert_eq!(detach[3], "b: name the source //a, nothing else");
    assert_eq!(detach[4], "b: start receiver and applier, see it running");
    let back = Fixture::new("a\n  b detached").steps(&Request::ReattachReplica { instance: key("b") });
    assert_eq!(back[3], "b: name the source a, nothing else");
    // What happened to the source meanwhile is looked at.
    let reattach = Request::ReattachReplica { instance: key("b") };
    Fixture::new("a executed=a:1-100 purged=a:1-60\n  b detached executed=a:1-50").refuses(
        &reattach,
        Rule::PurgedGtid,
        ":51-60",
    );
    Fixture::new("a from=b\n  b detached").refuses(&reattach, Rule::Loop, "a:3306");
    // A position is stated anew, and nothing received is lost with the relay logs.
    let by_position = Fixture::new("a\n  b nogtid").plan(&Request::DetachReplica { instance: key("b") });
    assert!(guards(&by_position, "b").contains(&Condition::ReceivedIsIn { other: key("a") }));
}
