//! Plans by example: what each move does, step by step, in the smallest world that shows it; and half-done worlds.

use super::compatibility::{can_replicate, can_replicate_by_gtid};
use super::fixture::{Fixture, at, equal, guards, key, lines, short};
use super::{Policy, plan};
use crate::plan::{Action, Condition, Method, Plan, Position, Request, Rule, Threads};

fn relocate(instance: &str, below: &str) -> Request {
    Request::Relocate { instance: key(instance), below: key(below) }
}

fn relocate_replicas(of: &str, below: &str) -> Request {
    Request::RelocateReplicas { of: key(of), below: key(below), pattern: String::new() }
}

/// The steps that this request makes in this world.
fn check(world: &str, request: &Request, expected: &[&str]) {
    assert_eq!(Fixture::new(world).steps(request), expected, "{request:?}");
}

fn moved(plan: &Plan) -> Vec<String> {
    let branches = plan.branches.iter();
    branches.map(|one| short(&format!("{}<{}", one.instance, one.new_source.clone().unwrap_or_default()))).collect()
}

const TREE: &str = "a\n  b\n    c\n      e\n    d";
const BY_POSITION: &str = "a\n  b nogtid\n    c nogtid\n    d nogtid\n    e nogtid";

#[test]
fn by_gtid_to_a_sibling_all_is_applied_first() {
    let steps = [
        "c: stop receiver",
        "c: wait until everything received is applied",
        "c: stop applier",
        "c: replicate from d, beginning at auto-position",
        "c: start receiver and applier, see it running",
    ];
    check(TREE, &relocate("c", "d"), &steps);
    let fixture = Fixture::new(TREE);
    let plan = fixture.plan(&relocate("c", "d"));
    assert_eq!((plan.method, plan.locks.clone()), (Method::Gtid, vec![key("c")]));
    assert!(plan.because.contains("GTID"), "{}", plan.because);
    let guards = guards(&plan, "c");
    for wanted in [
        Condition::ReplicatesFrom { source: key("b") },
        Condition::Threads { running: Threads::NONE },
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
    let steps = [
        "c: stop receiver",
        "c: stop applier",
        "c: replicate from a, beginning at auto-position",
        "c: start receiver and applier, see it running",
    ];
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
    let steps =
        ["c: stop applier", "c: replicate from a, beginning at auto-position", "c: start applier, see it running"];
    check("a\n  b\n    c io=no", &relocate("c", "a"), &steps);
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
fn moving_up_by_position() {
    let steps = [
        "b: stop applier",
        "c: stop applier",
        "c: apply up to the end of b's binary log, then stop",
        "c: stop applier",
        "c: stop receiver",
        "c: replicate from a, beginning at the position that b has applied",
        "c: start receiver and applier, see it running",
        "b: start applier, see it running",
    ];
    check(BY_POSITION, &Request::MoveUp { instance: key("c") }, &steps);
    check(BY_POSITION, &relocate("c", "a"), &steps);
    let plan = Fixture::new(BY_POSITION).plan(&relocate("c", "a"));
    assert_eq!((plan.method, plan.locks.clone()), (Method::Position, vec![key("b"), key("c")]));
    assert!(guards(&plan, "c").contains(&Condition::StandsStill { other: key("b") }));
    assert!(guards(&plan, "c").contains(&Condition::AppliedToEndOf { other: key("b") }));
    // An applier that did not run is not started.
    let plan = Fixture::new("a\n  b nogtid sql=no\n    c nogtid").plan(&Request::MoveUp { instance: key("c") });
    assert!(plan.tail.is_empty());
}

#[test]
fn moving_below_a_sibling_by_position() {
    let steps = [
        "d: stop applier",
        "c: stop applier",
        "c: apply up to the position that d has applied, then stop",
        "c: stop applier",
        "d: apply up to the position that c has applied, then stop",
        "d: stop applier",
        "c: stop receiver",
        "c: replicate from d, beginning at the end of d's binary log",
        "c: start receiver and applier, see it running",
        "d: start applier, see it running",
    ];
    check(BY_POSITION, &Request::MoveBelow { instance: key("c"), below: key("d") }, &steps);
    check(BY_POSITION, &relocate("c", "d"), &steps);
    let plan = Fixture::new(BY_POSITION).plan(&relocate("c", "d"));
    for wanted in [
        Condition::AppliedLike { other: key("d") },
        Condition::ReceivedIsIn { other: key("d") },
        Condition::StandsStill { other: key("d") },
    ] {
        assert!(guards(&plan, "c").contains(&wanted), "{wanted:?}");
    }
}

#[test]
fn a_move_by_position_does_not_turn_gtid_off() {
    for request in [
        Request::MoveUp { instance: key("c") },
        Request::MoveBelow { instance: key("c"), below: key("d") },
        Request::MoveEquivalent { instance: key("c"), below: key("d") },
    ] {
        let plan = Fixture::new(TREE).plan(&request);
        assert_eq!(plan.method, Method::Gtid);
        assert!(plan.because.contains("would turn off"), "{}", plan.because);
    }
}

#[test]
fn a_recorded_place_is_the_last_resort() {
    let mut fixture = Fixture::new("a\n  b nogtid io=connecting exec=900 read=900\n  c\n    d");
    fixture.equivalences = vec![equal(("d", 500), ("a", 900))];
    let plan = fixture.plan(&relocate("b", "d"));
    assert_eq!(plan.method, Method::Equivalence);
    let place = plan.steps().find_map(|step| match &step.action {
        Action::ChangeSource { position, .. } => Some(position.clone()),
        _ => None,
    });
    assert_eq!(place, Some(Position::At(at(500))));
    assert!(guards(&plan, "b").contains(&Condition::AppliedTo { at: at(900) }));
    assert_eq!(
        fixture.plan(&Request::MoveEquivalent { instance: key("b"), below: key("d") }).method,
        Method::Equivalence
    );
    // A sibling needs no record; one that replicates happily is not stopped for one.
    assert_eq!(
        fixture
            .clone()
            .edit("b", |one| {
                one.facts.replica.as_mut().expect("a replica").io_thread = crate::instance::ThreadState::Running;
            })
            .refusal(&relocate("b", "d"))
            .rule,
        Rule::TooComplex
    );
}

#[test]
fn repointing() {
    let steps = [
        "b: stop receiver",
        "b: stop applier",
        "b: replicate from a, beginning at auto-position",
        "b: start receiver and applier, see it running",
    ];
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
    let mariadb = "a mariadb\n  b mariadb nogtid";
    let on = Fixture::new(mariadb).plan(&Request::EnableGtid { instance: key("b") });
    assert_eq!(lines(&on)[2], "b: replicate from a, beginning at its own slave_pos");
}

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
fn a_replica_swaps_with_its_source() {
    let swap = Request::TakeMaster { instance: key("c") };
    let steps = [
        "c: stop receiver",
        "c: stop applier",
        "c: replicate from a, beginning at auto-position",
        "c: start receiver and applier, see it running",
        "b: stop receiver",
        "b: wait until everything received is applied",
        "b: stop applier",
        "b: replicate from c, beginning at auto-position",
        "b: start receiver and applier, see it running",
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
        "b: name the source //a:3306, nothing else",
        "b: set read_only off",
        "c: stop receiver",
        "c: wait until everything received is applied",
        "c: stop applier",
        "c: replicate from b, beginning at auto-position",
        "c: start receiver and applier, see it running",
    ];
    let told: Vec<String> = plan.steps().map(|step| step.to_string().replace(":3306", "")).collect();
    let expected: Vec<String> = expected.iter().map(|line| line.replace(":3306", "")).collect();
    assert_eq!(told, expected);
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

#[test]
fn detaching_is_undone_by_reattaching() {
    let detach = Fixture::new(TREE).steps(&Request::DetachReplica { instance: key("b") });
    assert_eq!(detach[3], "b: name the source //a, nothing else");
    assert_eq!(detach[4], "b: start receiver and applier, see it running");
    let back = Fixture::new("a\n  b detached").steps(&Request::ReattachReplica { instance: key("b") });
    assert_eq!(back[3], "b: name the source a, nothing else");
    // A position is stated anew, and nothing received is lost with the relay logs.
    let by_position = Fixture::new("a\n  b nogtid").plan(&Request::DetachReplica { instance: key("b") });
    assert!(guards(&by_position, "b").contains(&Condition::ReceivedIsIn { other: key("a") }));
}

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
    assert_eq!(half.last().map(String::as_str), Some("b: start receiver and applier, see it running"));
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
    assert_eq!(steps.len(), 5, "{steps:?}");
    assert_eq!(steps[4], "c: start receiver and applier, see it running");
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

#[test]
fn vectors_of_who_can_replicate_from_whom() {
    let can = |own: &str, other: &str, policy: &Policy| {
        let fixture = Fixture::new(&format!("a\n  i {own}\n  o {other}"));
        let world = fixture.world();
        can_replicate(&world.instances[&key("i")], &world.instances[&key("o")], policy)
            .err()
            .map(|refusal| refusal.rule)
    };
    let strict = Policy { verify_replication_filters: true, ..Policy::default() };
    let lenient = Policy { lower_replica_version_allowed: true, ..Policy::default() };
    assert_eq!(can("version=5.5.62", "version=5.6.51", &strict), Some(Rule::LowerVersion));
    assert_eq!(can("version=5.5.62", "version=5.6.51", &lenient), None);
    assert_eq!(can("version=5.6.51", "version=5.5.62", &strict), None);
    assert_eq!(can("", "format=STATEMENT", &strict), None);
    assert_eq!(can("format=STATEMENT", "", &strict), Some(Rule::BinlogFormat));
    assert_eq!(can("format=STATEMENT norelay", "", &strict), None);
    assert_eq!(can("", "delay=3600", &strict), Some(Rule::Delayed));
    assert_eq!(can("", "delay=10", &strict), None);
    assert_eq!(can("delay=3600", "delay=3600", &strict), None);
    assert_eq!(can("", "norelay", &strict), Some(Rule::DoesNotRelay));
    assert_eq!(can("id=9", "id=9", &strict), Some(Rule::SameServerId));
    assert_eq!(can("", "filters", &strict), Some(Rule::Filters));
    assert_eq!(can("filters", "filters", &strict), None);
    assert_eq!(can("", "filters", &lenient), None);
    assert_eq!(can("", "mariadb", &lenient), Some(Rule::OtherFlavor));
    let fixture = Fixture::new("a norelay\n  i\n  o purged=a:1-200\n  m mode=OFF");
    let by_gtid = |other: &str| {
        let instances = &fixture.instances;
        can_replicate_by_gtid(&instances[&key("i")], &instances[&key(other)], &strict).err().map(|refusal| refusal.rule)
    };
    assert_eq!(by_gtid("a"), None);
    assert_eq!(by_gtid("o"), Some(Rule::PurgedGtid));
    assert_eq!(by_gtid("m"), Some(Rule::NoSharedGtid));
}
