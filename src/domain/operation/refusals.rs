//! Every rule that refuses moves and changes of roles, by the smallest world that breaks it, and what it names.

use super::fixture::{Fixture, equal, key, relocate};
use crate::plan::{Request, Rule};

fn check(world: &str, request: Request, rule: Rule, named: &str) {
    Fixture::new(world).refuses(&request, rule, named);
}

#[test]
fn a_loop_by_a_further_channel_is_seen_by_its_source() {
    let mut world = Fixture::new("a mariadb\n  b mariadb channels\n  c mariadb\n    d mariadb");
    // b reads d, which is below c, by another channel.
    world.instances.get_mut(&key("d")).expect("known").facts.replicas.insert(key("b"));
    world.refuses(&relocate("c", "b"), Rule::Loop, "d:3306 by one of its channels");
    world.refuses(&relocate("d", "b"), Rule::Loop, "d:3306");
}

#[test]
fn what_a_mariadb_source_has_purged_must_be_there() {
    let world = |purged: &str| {
        let mut world = Fixture::new("a mariadb\n  b mariadb\n    c mariadb\n  d mariadb");
        purged.clone_into(&mut world.instances.get_mut(&key("d")).expect("known").facts.gtid.purged);
        world
    };
    world("0-1-101").refuses(&relocate("c", "d"), Rule::PurgedGtid, "begins after 0-1-101");
    world("0-1-50,7-1-3").refuses(&relocate("c", "d"), Rule::PurgedGtid, "7-1-3");
    assert_eq!(world("0-1-50").plan(&relocate("c", "d")).branches.len(), 1);
}

/// Servers are not looked at in one moment: what came to a replica through those above it since they were looked at, they have.
#[test]
fn what_came_through_a_server_it_has() {
    let request = relocate("c", "a");
    for c in ["executed=a:1-90 delay=60", "executed=a:1-90 sql=no", "executed=a:1-90 sql=broken"] {
        let later = format!("{c} retrieved=a:1-101");
        assert_eq!(Fixture::new(&format!("a\n  b\n    c {later}")).plan(&request).branches.len(), 1, "{later}");
        // What a receiver that does not run holds may be of another time.
        for (b, c) in [("", "io=no"), ("io=no", "")] {
            Fixture::new(&format!("a\n  b {b}\n    c {later} {c}")).refuses(&request, Rule::UnappliedRelayLog, ":101");
        }
    }
}

/// Worlds in which c, a replica of b, is asked to move below d, and one word makes that unsafe.
const RELOCATIONS: &[(&str, &str, &str, Rule, &str)] = &[
    // c, d, b
    ("dead", "", "", Rule::Unreachable, "connection refused"),
    ("", "dead", "", Rule::Unreachable, "d:3306"),
    ("stale", "", "", Rule::StaleFacts, "90 s ago"),
    ("", "stale", "", Rule::StaleFacts, "30 s"),
    ("secondary=b", "", "", Rule::GroupSecondary, "b:3306"),
    ("channels", "", "", Rule::SeveralChannels, "other"),
    ("version=maxscale", "", "", Rule::NotBuilt, "binlog server"),
    ("", "version=maxscale", "", Rule::NotBuilt, "binlog server"),
    ("", "downtimed", "", Rule::Downtimed, "ann: disk"),
    ("", "nolog", "", Rule::BinaryLogOff, "d:3306"),
    ("", "norelay", "", Rule::DoesNotRelay, "d:3306"),
    ("", "mariadb", "", Rule::OtherFlavor, "MariaDB"),
    ("mariadb", "", "", Rule::OtherFlavor, "MariaDB"),
    ("version=5.7.44", "", "", Rule::LowerVersion, "5.7.44"),
    ("format=STATEMENT", "", "", Rule::BinlogFormat, "STATEMENT"),
    ("format=MIXED", "", "", Rule::BinlogFormat, "MIXED"),
    ("format=STATEMENT", "format=MIXED", "", Rule::BinlogFormat, "MIXED"),
    ("", "filters", "", Rule::Filters, "filters"),
    ("id=77", "id=77", "", Rule::SameServerId, "77"),
    ("same_uuid=9", "same_uuid=9", "", Rule::SameServerUuid, "00000009-"),
    ("", "delay=3600", "", Rule::Delayed, "3600 s"),
    ("", "mode=OFF", "", Rule::NoSharedGtid, "OFF"),
    ("", "mode=ON_PERMISSIVE", "", Rule::NoSharedGtid, "ON_PERMISSIVE"),
    ("executed=a:1-100,c:1-2", "", "", Rule::ErrantGtid, "00000003-1111-1111-1111-111111111111:1-2"),
    (
        "",
        "executed=a:1-100,d:1-2",
        "",
        Rule::ErrantGtid,
        "c:3306 would get them: 00000004-1111-1111-1111-111111111111:1-2",
    ),
    ("executed=a:1-100,b:7", "", "executed=a:1-100,b:7", Rule::ErrantGtid, "-111111111111:7"),
    ("executed=a:1-90 retrieved=a:91-95", "purged=a:1-95", "", Rule::PurgedGtid, ":91-95"),
    ("executed=a:1-90 sql=no", "executed=a:1-95", "", Rule::UnappliedRelayLog, "its applier is stopped"),
    ("executed=a:1-90 sql=broken", "executed=a:1-95", "", Rule::UnappliedRelayLog, "duplicate key"),
    ("executed=a:1-90 delay=60", "executed=a:1-95", "", Rule::UnappliedRelayLog, "delayed by 60 s"),
    ("", "executed=a:1-90 io=no", "", Rule::NotReplicating, "-111111111111:91-100"),
    ("", "executed=a:1-90 sql=broken", "", Rule::NotReplicating, "d:3306"),
    ("nogtid sql=no", "", "", Rule::NotReplicating, "does not run"),
    ("nogtid io=connecting", "", "", Rule::NotReplicating, "does not run"),
    ("nogtid delay=5", "", "", Rule::Delayed, "5 s"),
    ("nogtid lag=21", "", "", Rule::Lagging, "21 s"),
    ("nogtid lag=null", "", "", Rule::Lagging, "unknown"),
    ("nogtid", "lag=21", "", Rule::Lagging, "d:3306"),
    ("nogtid disordered", "", "", Rule::ParallelApplier, "commit order"),
    ("nogtid", "disordered", "", Rule::ParallelApplier, "d:3306"),
];

#[test]
fn relocations_are_refused_each_by_its_rule() {
    for (c, d, b, rule, named) in RELOCATIONS {
        let world = format!("a\n  b {b}\n    c {c}\n    d {d}");
        let mut fixture = Fixture::new(&world);
        fixture.policy.verify_replication_filters = true;
        let request = relocate("c", "d");
        let refusal = fixture.refusal(&request);
        assert_eq!(refusal.rule, *rule, "{world}\n{refusal}");
        fixture.refuses(&request, *rule, named);
    }
}

#[test]
fn threads_that_ended_with_an_error_stay_stopped_and_that_is_said() {
    for (c, named) in [("io=broken", "receiver"), ("executed=a:1-90 retrieved=a:1-90 sql=broken", "applier")] {
        let plan = Fixture::new(&format!("a\n  b\n    c {c}\n  d")).plan(&relocate("c", "d"));
        let warned: Vec<&String> = plan.warnings.iter().filter(|one| one.contains("stopped with an error")).collect();
        assert!(matches!(warned.as_slice(), [one] if one.contains(named)), "{c}: {:?}", plan.warnings);
    }
}

#[test]
fn a_relocation_between_healthy_siblings_is_not_refused() {
    Fixture::new("a\n  b\n    c\n    d").plan(&relocate("c", "d"));
    Fixture::new("a\n  b\n    c nogtid\n    d").plan(&relocate("c", "d"));
}

#[test]
fn who_is_asked_for_must_fit_the_request() {
    let tree = "a\n  b\n    c\n      e\n    d";
    check(tree, relocate("x", "a"), Rule::UnknownInstance, "x:3306");
    check(tree, relocate("b", "x"), Rule::UnknownInstance, "x:3306");
    check(tree, relocate("a", "b"), Rule::NotAReplica, "a:3306");
    check(tree, relocate("b", "b"), Rule::Itself, "b:3306");
    check(tree, relocate("b", "e"), Rule::Loop, "c:3306");
    check(tree, relocate("b", "c"), Rule::Loop, "c:3306");
    check(tree, Request::MoveUp { instance: key("b") }, Rule::NoGrandparent, "a:3306");
    check(tree, Request::MoveUp { instance: key("a") }, Rule::NotAReplica, "a:3306");
    check(tree, Request::MoveUpReplicas { of: key("a"), pattern: String::new() }, Rule::NoGrandparent, "a:3306");
    check(tree, Request::MoveBelow { instance: key("c"), below: key("a") }, Rule::NotSiblings, "a:3306");
    check(tree, Request::MoveGtid { instance: key("c"), below: key("b") }, Rule::AlreadySo, "b:3306");
    check(tree, Request::MoveBelow { instance: key("c"), below: key("b") }, Rule::AlreadySo, "b:3306");
    check(tree, Request::TakeMaster { instance: key("b") }, Rule::NoGrandparent, "a:3306");
    check(tree, Request::TakeSiblings { instance: key("a") }, Rule::NotAReplica, "a:3306");
    let bad = Request::RelocateReplicas { of: key("b"), below: key("a"), pattern: "(".to_owned() };
    check(tree, bad, Rule::BadArgument, "\"(\"");
    let none = Request::RepointReplicas { of: key("x"), below: None, pattern: String::new() };
    check(tree, none, Rule::UnknownInstance, "x:3306");
}

#[test]
fn loops_are_seen_without_uuids_and_behind_other_names() {
    check("a mariadb\n  b mariadb\n    c mariadb", relocate("b", "c"), Rule::Loop, "c:3306");
    // The same server by another name: only its UUID tells.
    check("a\n  b\nz same_uuid=2\n  c", relocate("b", "c"), Rule::Loop, "c:3306");
    // Co-primaries and what is below them.
    check("a from=b\n  b\n    c", relocate("b", "c"), Rule::Loop, "c:3306");
    check("a from=z head=a\n  b secondary=a\nz", relocate("a", "b"), Rule::Loop, "b:3306");
}

#[test]
fn clusters_are_not_mixed() {
    check("a\n  b\nx executed=x:1-9\n  y executed=x:1-9", relocate("b", "x"), Rule::OtherCluster, "x:3306");
    check("a mariadb\n  b mariadb\nx mariadb=0-9-900", relocate("b", "x"), Rule::OtherCluster, "x:3306");
    // Orphans of one forgotten source, and a detached sibling, are of one cluster.
    Fixture::new("b from=gone\nc from=gone").plan(&relocate("b", "c"));
    Fixture::new("b from=gone\nc from=gone detached sql=no io=no").plan(&relocate("b", "c"));
    Fixture::new("a mariadb dead\n  b mariadb\nc from=a mariadb detached").plan(&relocate("b", "c"));
    // What has the same data can be joined.
    Fixture::new("a\n  b\nx executed=a:1-100,x:1-5").plan(&relocate("b", "x"));
}

#[test]
fn errant_transactions_of_mariadb_are_refused() {
    let relocate = || relocate("c", "d");
    let world = "a mariadb\n  b mariadb\n    c mariadb=0-3-101\n    d mariadb";
    check(world, relocate(), Rule::ErrantGtid, "0-3-101");
    // The same number, written by two servers.
    check("a mariadb\n  b mariadb\n    c mariadb=0-3-100\n    d mariadb", relocate(), Rule::ErrantGtid, "0-3-100");
    // Written by the replica itself: seen also when the primary's numbers have passed it.
    let world = "a mariadb=0-1-200\n  b mariadb=0-1-200\n    c mariadb=0-1-99 wrote=0-3-100\n    d mariadb=0-1-200";
    check(world, relocate(), Rule::ErrantGtid, "0-3-100");
    // What the primary wrote is not errant, however far the sibling is.
    Fixture::new("a mariadb=0-1-105\n  b mariadb\n    c mariadb=0-1-103\n    d mariadb").plan(&relocate());
    Fixture::new("a mariadb=0-1-102\n  b mariadb\n    c mariadb=0-1-103\n    d mariadb").plan(&relocate());
}

#[test]
fn without_a_primary_nobody_may_be_ahead() {
    let world = "a dead\n  b io=connecting executed=a:1-101 retrieved=a:1-101\n  c io=connecting";
    check(world, relocate("b", "c"), Rule::ErrantGtid, "-111111111111:101");
    Fixture::new(world).plan(&relocate("c", "b"));
}

#[test]
fn positions_mean_something_on_one_server_only() {
    let tree = "a\n  b nogtid\n  c nogtid\n    d nogtid\n      e nogtid";
    check(tree, relocate("e", "b"), Rule::TooComplex, "neither");
    let repoint = |instance, below| Request::Repoint { instance: key(instance), below: Some(key(below)) };
    check(tree, repoint("b", "c"), Rule::AnotherServer, "c:3306");
    let renamed = "a\n  b nogtid uuid=other\n  c";
    check(renamed, Request::Repoint { instance: key("b"), below: None }, Rule::AnotherServer, "a:3306");
    check("a dead\n  b nogtid\n  c", repoint("b", "c"), Rule::AnotherServer, "a:3306");
    check("a\n  b nogtid\n  c dead", repoint("b", "c"), Rule::Unreachable, "c:3306");
    let equivalent = Request::MoveEquivalent { instance: key("b"), below: key("c") };
    check(tree, equivalent.clone(), Rule::NoEquivalence, "bin.1:1000");
    let mut known = Fixture::new("a\n  b nogtid exec=900\n  c");
    known.equivalences = vec![equal(("a", 900), ("c", 500))];
    known.refuses(&equivalent, Rule::UnappliedRelayLog, "b:3306");
    check(
        "a\n  b nogtid\n  c",
        Request::MoveGtid { instance: key("b"), below: key("c") },
        Rule::NoSharedGtid,
        "b:3306",
    );
}

#[test]
fn moving_up_looks_at_the_one_above() {
    let up = || Request::MoveUp { instance: key("c") };
    check("a version=8.4.2\n  b\n    c nogtid", up(), Rule::LowerVersion, "a:3306");
    check("a downtimed\n  b\n    c nogtid", up(), Rule::Downtimed, "a:3306");
    check("a\n  b norelay\n    c nogtid", up(), Rule::DoesNotRelay, "b:3306");
    check("a\n  b disordered\n    c nogtid", up(), Rule::ParallelApplier, "b:3306");
    check("a\n  b channels\n    c nogtid", up(), Rule::SeveralChannels, "b:3306");
}

#[test]
fn writable_pairs_are_not_made() {
    let co = |name| Request::MakeCoMaster { instance: key(name) };
    check("a\n  b rw", co("b"), Rule::NotReadOnly, "b:3306");
    check("a\n  b\n    c", co("c"), Rule::IsAReplica, "a:3306");
    check("a from=z rw\n  b\nz from=a rw", co("b"), Rule::CoPrimary, "z:3306");
    check("a\n  b nocred", co("b"), Rule::NoCredentials, "a:3306");
    check("a from=b\n  b", co("b"), Rule::AlreadySo, "b:3306");
    check("a\n  b executed=a:1-100,b:1", co("b"), Rule::ErrantGtid, ":1");
    check("a\n  b nolog", co("b"), Rule::BinaryLogOff, "b:3306");
    check("a secondary=z\n  b", co("b"), Rule::GroupSecondary, "a:3306");
    check("a from=z rw\n  b\n    c\nz from=a", Request::TakeMaster { instance: key("b") }, Rule::CoPrimary, "z:3306");
    // Below a sibling that its own source reads from: its writes have places of their own.
    let world = "a rw from=b\n  b rw nogtid\n  d nogtid";
    check(world, relocate("d", "b"), Rule::CoPrimary, "b:3306");
    // Nor does another word lead there, nor away.
    let ring = "a from=b rw\n  b rw\n    c nogtid\n  d nogtid";
    let below = Request::MoveBelow { instance: key("d"), below: key("b") };
    check(ring, below, Rule::CoPrimary, "b:3306");
    check(ring, Request::MoveUp { instance: key("c") }, Rule::CoPrimary, "b:3306");
    check(ring, relocate("c", "a"), Rule::CoPrimary, "a:3306");
}

#[test]
fn a_primary_is_made_of_the_best_replica_of_a_dead_one() {
    let make = |name| Request::MakeMaster { instance: key(name) };
    let lost = "io=connecting";
    check("a\n  b", make("b"), Rule::PrimaryAlive, "a:3306");
    check(&format!("a mute\n  b {lost}"), make("b"), Rule::PrimaryAlive, "a:3306");
    check(&format!("a dead\n  b {lost}\n  c"), make("b"), Rule::PrimaryAlive, "c:3306");
    check(&format!("a forgotten\n  b {lost}"), make("b"), Rule::StaleFacts, "not dead");
    check(&format!("a dead\n  b {lost} rule=must_not"), make("b"), Rule::NoCandidate, "must_not");
    check(&format!("a dead\n  b {lost} detached"), make("b"), Rule::Detached, "b:3306");
    let ahead = format!("a dead\n  b {lost}\n  c {lost} retrieved=a:1-101");
    check(&ahead, make("b"), Rule::NotMostAdvanced, ":101");
    let stuck = format!("a dead\n  b {lost} executed=a:1-90 sql=broken");
    check(&stuck, make("b"), Rule::UnappliedRelayLog, "duplicate key");
    let local = Request::MakeLocalMaster { instance: key("b") };
    check("a\n  b", local, Rule::NoGrandparent, "a:3306");
}

#[test]
fn a_group_without_a_candidate_is_left_alone() {
    let regroup = || Request::RegroupReplicas { of: key("a"), gtid_only: true };
    let diverged = "a dead\n  b io=connecting executed=a:1-99,b:1 retrieved=a:1-99\n  c io=connecting";
    check(diverged, regroup(), Rule::NoCandidate, "lacks what");
    check("a dead\n  b nogtid\n  c nolog", regroup(), Rule::NoCandidate, "does not log");
    check("a dead\n  b rule=must_not\n  c dead", regroup(), Rule::NoCandidate, "must_not");
    check("a dead\n  b downtimed", regroup(), Rule::NoCandidate, "downtimed");
}

#[test]
fn detaching_and_switching_know_what_is_so_already() {
    let tree = "a\n  b\n  c nogtid\n  d detached";
    check(tree, Request::DetachReplica { instance: key("d") }, Rule::Detached, "d:3306");
    check(tree, Request::ReattachReplica { instance: key("b") }, Rule::NotDetached, "a:3306");
    check(tree, Request::EnableGtid { instance: key("b") }, Rule::AlreadySo, "b:3306");
    check(tree, Request::DisableGtid { instance: key("c") }, Rule::AlreadySo, "c:3306");
    check(tree, Request::Repoint { instance: key("d"), below: None }, Rule::Detached, "d:3306");
    let off = "a mode=OFF\n  c nogtid";
    check(off, Request::EnableGtid { instance: key("c") }, Rule::NoSharedGtid, "OFF");
    let half = "a mode=OFF_PERMISSIVE\n  c nogtid";
    check(half, Request::EnableGtid { instance: key("c") }, Rule::NoSharedGtid, "OFF_PERMISSIVE");
    let purged = "a purged=a:1-200\n  c nogtid";
    check(purged, Request::EnableGtid { instance: key("c") }, Rule::PurgedGtid, ":101-200");
    let stuck = "a dead\n  b executed=a:1-90 sql=broken";
    check(stuck, Request::DetachReplica { instance: key("b") }, Rule::UnappliedRelayLog, "duplicate key");
}

#[test]
fn bulk_requests_that_move_nobody_say_why_for_each() {
    let world = "a\n  b\n    c executed=a:1-100,c:1\n    d executed=a:1-100,d:1";
    let request = Request::RelocateReplicas { of: key("b"), below: key("a"), pattern: String::new() };
    let refusal = Fixture::new(world).refusal(&request);
    assert_eq!(refusal.rule, Rule::ErrantGtid);
    assert!(
        refusal.reason.contains("none of 2") && refusal.reason.contains("c:3306") && refusal.reason.contains("d:3306")
    );
}

#[test]
fn a_recovery_has_no_plan_as_a_whole() {
    check("a", Request::Recover { failed: key("a"), recovery: 7 }, Rule::BadArgument, "recovery 7");
}
