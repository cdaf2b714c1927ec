//! Worlds after the death of a primary: who is chosen, and in which steps.

use super::stage::{Stage, left_out, shown};
use crate::instance::PluginNaming;
use crate::operation::fixture::{at, equal, key};
use crate::plan::{Condition, Rule, Threads};

mod fence;
mod vectors;

/// After the fence.
const F: &str = "io=no";

#[test]
fn the_one_that_received_most_wins() {
    // b executed more, c received more.
    let world = format!("a dead\n  b {F} executed=a:1-100\n  c {F} executed=a:1-90 retrieved=a:50-105\n  d {F}");
    let stage = Stage::fenced(&world, &["b", "c", "d"]);
    assert_eq!(stage.chosen(), "c");
    assert_eq!(shown(stage.promote().as_ref()), ["c: wait until everything received is applied"]);
    assert_eq!(shown(stage.applied("c").promote().as_ref()), rest_for("c"));
}

/// What is done with one who has applied all.
fn rest_for(name: &str) -> [String; 3] {
    ["stop applier", "forget the source and its relay logs", "set read_only off"].map(|text| format!("{name}: {text}"))
}

#[test]
fn equally_good_ones_are_chosen_by_data_at_hand() {
    let world =
        format!("a dead\n  b {F} executed=a:1-99\n  c {F} executed=a:1-99\n  d {F} rule=prefer_not executed=a:1-98");
    // b holds all after draining; nobody has to fetch.
    let stage = Stage::new(&world.replace("b io=no executed=a:1-99", "b io=no executed=a:1-90 retrieved=a:1-99"));
    assert_eq!(stage.chosen(), "c");
}

#[test]
fn all_appliers_stopped_and_relay_logs_full() {
    let world = format!(
        "a dead\n  b {F} sql=no executed=a:1-50 retrieved=a:1-100\n  c {F} sql=no executed=a:1-60 retrieved=a:1-100"
    );
    let stage = Stage::new(&world);
    let first = ["c: start applier, see it running", "c: wait until everything received is applied"];
    assert_eq!(shown(stage.promote().as_ref()), first);
    let plan = stage.applied("c").promote();
    assert_eq!(shown(plan.as_ref()), rest_for("c"));
    let head = plan.expect("a plan").head;
    let received = Condition::HasExecuted { gtids: "00000001-1111-1111-1111-111111111111:1-100".to_owned() };
    assert!(head[1].before.contains(&Condition::Drained) && head[1].before.contains(&received));
    assert!(head[2].before.contains(&Condition::NoReplica) && head[2].before.contains(&received));
}

#[test]
fn the_preferred_one_catches_up_first() {
    let world = format!(
        "a dead\n  b {F} rule=prefer executed=a:1-90 retrieved=a:1-95\n  c {F} sql=no executed=a:1-90 retrieved=a:1-100\n  d {F}"
    );
    let mut stage = Stage::fenced(&world, &["b", "d"]);
    stage.fixture.baseline.insert(key("c"), Threads::IO);
    stage = stage.edit("d", |one| one.facts.gtid.executed = "00000001-1111-1111-1111-111111111111:1-99".to_owned());
    let stage = stage.edit("d", |one| {
        one.facts.replica.as_mut().expect("a replica").retrieved_gtid_set.clear();
    });
    assert_eq!(stage.chosen(), "b < c");
    let plan = stage.promote();
    assert_eq!(
        shown(plan.as_ref()),
        [
            "c: start applier, see it running",
            "c: wait until everything received is applied",
            "b: replicate from c, beginning at auto-position",
            "b: start receiver, see it running",
            "b: wait until everything received is applied",
            "c: stop applier",
            "b: stop receiver",
            "b: stop applier",
            "b: forget the source and its relay logs",
            "b: set read_only off",
        ]
    );
    let head = plan.expect("a plan").head;
    assert!(head[2].before.contains(&Condition::ReceivedIsIn { other: key("c") }));
    assert!(head[4].after.contains(&Condition::HasAllOf { other: key("c") }));
}

#[test]
fn data_that_nobody_can_have_are_not_given_up_but_by_force() {
    let world = format!(
        "a dead\n  b {F} executed=a:1-90 retrieved=a:1-90\n  c {F} sql=broken executed=a:1-90 retrieved=a:1-100"
    );
    let mut stage = Stage::new(&world);
    let refusal = stage.refusal();
    assert_eq!(refusal.rule, Rule::NoCandidate);
    assert!(refusal.reason.contains(":91-100") && refusal.reason.contains("duplicate key"), "{refusal}");
    stage.force = true;
    assert_eq!(stage.chosen(), "b");
    let choice = stage.choose().expect("a choice");
    assert!(choice.warnings[0].contains("given up by force") && choice.warnings[0].contains(":91-100"));
    assert_eq!(choice.lost[0].0, key("c"));
    assert_eq!(shown(stage.promote().as_ref()).last().expect("steps"), "b: set read_only off");
}

#[test]
fn wishes_come_before_places_and_places_before_versions() {
    let check = |servers: &str, expected: &str| {
        let world: Vec<String> = servers.split(';').map(|one| format!("  {} {F}", one.trim())).collect();
        let world = format!("a dead dc=ny\n{}", world.join("\n"));
        assert_eq!(Stage::new(&world).chosen(), expected, "{servers}");
    };
    check("b dc=ny; c dc=ny", "b");
    check("b dc=ny; c dc=ny rule=prefer", "c");
    check("b dc=sf; c dc=ny", "c");
    check("b dc=sf rule=prefer; c dc=ny", "b");
    check("b dc=ny rule=prefer_not; c dc=sf", "c");
    check("b dc=ny rule=must_not; c dc=sf rule=prefer_not", "c");
    check("b dc=ny version=8.4.2; c dc=ny; d dc=ny", "c");
    check("b dc=ny version=8.4.2; c dc=sf; d dc=sf", "b");
    check("b dc=ny; c dc=ny format=STATEMENT; d dc=ny format=STATEMENT", "c");
    check("b dc=ny downtimed; c dc=sf rule=prefer_not", "c");
    check("b dc=ny nolog; c dc=sf", "c");
    check("b dc=ny norelay; c dc=sf", "c");
    check("b dc=ny delay=600; c dc=sf", "c");
    check("b dc=ny executed=a:1-100,b:1; c dc=sf", "c");
    check("b dc=ny channels; c dc=sf", "c");
    check("b dc=ny secondary=b; c dc=sf", "b");
    check("b dc=ny secondary=c; c dc=sf", "c");
}

#[test]
fn last_resorts_are_taken_when_nobody_else_is_left() {
    for (word, told) in
        [("downtimed", "downtimed"), ("delay=600", "delayed"), ("norelay", "log"), ("executed=a:1-100,b:1", "errant")]
    {
        let stage = Stage::new(&format!("a dead\n  b {F} {word}\n  c dead"));
        let choice = stage.choose().expect("a choice");
        assert_eq!(choice.successor, key("b"));
        assert!(choice.warnings[0].contains(told), "{:?}", choice.warnings);
        assert_eq!(choice.lost[0].0, key("c"));
    }
}

#[test]
fn a_delay_is_ended_without_losing_relay_logs() {
    let stage = Stage::new(&format!("a dead\n  b {F} delay=600 executed=a:1-50 retrieved=a:1-100"));
    assert_eq!(
        shown(stage.promote().as_ref()),
        [
            "b: stop applier",
            "b: start receiver, see it running",
            "b: set the delay to 0 s",
            "b: stop receiver",
            "b: start applier, see it running",
            "b: wait until everything received is applied",
        ]
    );
    assert_eq!(shown(stage.applied("b").promote().as_ref()), rest_for("b"));
}

#[test]
fn every_reason_against_is_told() {
    let world = format!(
        "a dead dc=ny\n  b {F}\n  c {F} rule=must_not\n  d {F}\n  e {F} nolog\n  f {F} sql=broken executed=a:1-90 retrieved=a:1-100\n  g {F} channels"
    );
    let mut stage = Stage::new(&world);
    stage.banned.insert(key("d"));
    assert_eq!(
        stage.judged(),
        ["b chosen", "d forbidden", "e binary-log-off", "g several-channels", "f unapplied-relay-log", "c forbidden"]
    );
    let told = Stage::new(&format!("a dead\n  b {F} rule=must_not\n  c dead")).refusal();
    assert!(told.reason.contains("must_not") && told.reason.contains("connection refused"), "{told}");
    assert!(Stage::new("a dead").refusal().reason.contains("no replicas"));
}

#[test]
fn settings_speak_against_candidates() {
    let mut stage = Stage::new(&format!("a dead dc=ny\n  b {F} dc=sf\n  c {F} dc=sf"));
    stage.policy.prevent_cross_data_center = true;
    assert!(stage.refusal().reason.contains("PreventCrossDataCenterMasterFailover"));
    let mut stage =
        Stage::new(&format!("a dead\n  b {F}\n  c {F}")).edit("b", |one| one.facts.region = "west".to_owned());
    stage.policy.prevent_cross_region = true;
    assert_eq!(stage.judged(), ["c chosen", "b forbidden"]);
    let mut stage = Stage::new(&format!("a dead\n  b {F}\n  c {F}")).edit("b", |one| {
        one.facts.replica.as_mut().expect("a replica").lag_seconds = Some(700);
    });
    stage.policy.fail_on_lag_seconds = 600;
    assert_eq!(stage.judged(), ["c chosen", "b lagging"]);
    let mut stage = Stage::new(&format!("a dead\n  b {F} executed=a:1-90 retrieved=a:1-100\n  c {F}"));
    stage.policy.fail_if_sql_thread_not_up_to_date = true;
    assert_eq!(stage.judged(), ["c chosen", "b unapplied-relay-log"]);
}

#[test]
fn the_operator_is_heard() {
    let mut stage = Stage::new(&format!("a dead\n  b {F}\n  c {F} rule=prefer_not\n  d {F} rule=must_not\n  e dead"));
    stage.requested = Some(key("c"));
    assert_eq!(stage.chosen(), "c");
    stage.requested = Some(key("d"));
    assert_eq!(stage.refusal().rule, Rule::Forbidden);
    stage.requested = Some(key("e"));
    assert!(stage.refusal().reason.contains("connection refused"));
    stage.requested = Some(key("x"));
    assert!(stage.refusal().reason.contains("no replica of a:3306"));
}

#[test]
fn a_primary_that_somebody_hears_is_alive() {
    let mut stage = Stage::new(&format!("a dead\n  b\n  c {F}"));
    assert_eq!(stage.refusal().rule, Rule::PrimaryAlive);
    assert_eq!(stage.preview().expect("a choice").successor, key("b"));
    stage.force = true;
    assert_eq!(stage.chosen(), "c");
    // One that could not be stopped is lost, and told; its data count.
    let stage = Stage::new(&format!("a dead\n  b io=connecting executed=a:1-101\n  c {F}"));
    assert_eq!(stage.chosen(), "c < b");
    let stage = Stage::new(&format!("a dead\n  b io=connecting\n  c {F}"));
    let choice = stage.choose().expect("a choice");
    assert_eq!((choice.successor, choice.lost[0].1.contains("could not be stopped")), (key("c"), true));
}

#[test]
fn what_an_orphan_holds_is_not_given_up() {
    // b, between, is gone; c below it has what d has not.
    let world = format!("a dead\n  b dead\n    c io=connecting executed=a:1-101\n  d {F}");
    assert_eq!(Stage::new(&world).chosen(), "d < c");
}

#[test]
fn errant_transactions_are_no_data() {
    let world = format!("a dead executed=a:1-100\n  b {F} executed=a:1-100,b:1-3\n  c {F}");
    let stage = Stage::new(&world);
    let choice = stage.choose().expect("a choice");
    assert_eq!((choice.successor, choice.followers), (key("c"), vec![key("b")]));
    // What b wrote when it was the primary itself is data.
    let world =
        format!("a dead executed=a:1-100,b:1-3\n  b {F} executed=a:1-100,b:1-3\n  c {F} executed=a:1-100,b:1-3");
    assert_eq!(Stage::new(&world).chosen(), "b");
}

#[test]
fn mariadb_is_judged_by_what_it_received() {
    let world = format!(
        "a mariadb dead\n  b mariadb=0-1-100 {F} io_pos=0-1-100\n  c mariadb=0-1-90 {F} io_pos=0-1-105\n  d mariadb=0-1-100 {F} wrote=0-4-101"
    );
    let stage = Stage::fenced(&world, &["b", "c", "d"]);
    assert_eq!(stage.chosen(), "c");
    let plan = stage.promote();
    assert_eq!(shown(plan.as_ref()).len(), 4);
    let received = Condition::HasExecuted { gtids: "0-1-105".to_owned() };
    assert!(plan.expect("a plan").head[2].before.contains(&received));
}

#[test]
fn the_followers_go_below() {
    let world = format!(
        "b rw executed=a:1-100,b:1-5\nc from=a {F} executed=a:1-90 retrieved=a:1-100\nd from=a {F} sql=no\ne from=a {F} executed=a:1-101\nf from=a {F} executed=a:1-100,f:1\na dead"
    );
    let mut stage = Stage::fenced(&world, &["b", "c", "e", "f"]).promoted("b", &["c", "d", "e", "f"]);
    stage.fixture.baseline.insert(key("d"), Threads::IO);
    let plan = stage.repoint();
    assert_eq!(
        shown(plan.as_ref()),
        [
            "c: replicate from b, beginning at auto-position",
            "c: start receiver, see it running",
            "d: replicate from b, beginning at auto-position",
            "d: start receiver, see it running",
            "f: replicate from b, beginning at auto-position",
            "f: start receiver, see it running",
        ]
    );
    assert_eq!(left_out(plan.as_ref()), ["e not-most-advanced"]);
    let plan = plan.expect("a plan");
    assert!(plan.warnings.iter().any(|text| text.contains("errant")));
    assert!(plan.branches[0].steps[0].before.contains(&Condition::ReceivedIsIn { other: key("b") }));
}

#[test]
fn half_done_worlds_are_finished() {
    // Opened; one sibling is there and stopped, one is there and runs.
    let world = format!("b rw\n  c io=no sql=no\n  d\ne from=a {F}\na dead");
    let stage = Stage::fenced(&world, &["b", "c", "d", "e"]).promoted("b", &["c", "d", "e"]);
    assert_eq!(stage.fence(), None);
    assert_eq!(stage.chosen(), "b");
    assert_eq!(stage.promote(), None);
    assert_eq!(
        shown(stage.repoint().as_ref()),
        [
            "c: start receiver and applier, see it running",
            "e: replicate from b, beginning at auto-position",
            "e: start receiver, see it running",
        ]
    );
    let stage = Stage::fenced("b rw\n  c\na dead", &["b", "c"]).promoted("b", &["c"]);
    assert_eq!(stage.repoint(), None);
    // Reset, not opened.
    let stage = Stage::fenced(&format!("b ro\nc from=a {F}\na dead"), &["b", "c"]).promoted("b", &["c"]);
    assert_eq!(shown(stage.promote().as_ref()), ["b: set read_only off"]);
    // It may be open, and cannot be asked.
    let stage = Stage::fenced(&format!("b dead rw\nc from=a {F}\na dead"), &["b", "c"]).promoted("b", &["c"]);
    assert_eq!(stage.refusal().rule, Rule::WouldWriteTwice);
    // It was not begun: another one.
    let mut stage = stage;
    stage.opening_begun = false;
    assert_eq!(stage.chosen(), "c");
}

#[test]
fn an_old_primary_that_is_back_is_closed_before_another_opens() {
    let stage = Stage::fenced(&format!("a rw\n  b {F} sql=no"), &["b"]);
    assert_eq!(
        shown(stage.promote().as_ref()),
        [
            "a: refuse writes, ending connections whose commits wait for acknowledgements",
            "b: forget the source and its relay logs",
            "b: set read_only off"
        ]
    );
}

#[test]
fn by_position_only_equal_ones_follow() {
    let world = format!(
        "a dead\n  b mode=OFF nogtid {F} read=900 exec=900\n  c mode=OFF nogtid {F} read=900 exec=800\n  d mode=OFF nogtid {F} read=700 exec=700"
    );
    let stage = Stage::fenced(&world, &["b", "c", "d"]);
    let choice = stage.choose().expect("a choice");
    assert_eq!((&choice.successor, &choice.followers), (&key("b"), &vec![key("c")]));
    assert!(choice.lost[0].1.contains("place in the log"), "{:?}", choice.lost);
    let plan = stage.promote().expect("a plan");
    assert!(plan.head[1].before.contains(&Condition::AppliedTo { at: at(900) }));
    let world =
        format!("b rw mode=OFF\nc nogtid from=a {F} read=900 exec=800\nd nogtid from=a {F} read=700 exec=700\na dead");
    let mut stage = Stage::fenced(&world, &["b", "c", "d"]).promoted("b", &["c"]);
    for name in ["c", "d"] {
        let (place, gtid) = (at(if name == "c" { 900 } else { 700 }), false);
        stage = stage.edit(name, |one| {
            let replica = one.facts.replica.as_mut().expect("a replica");
            (replica.read, replica.auto_position) = (place, gtid);
        });
    }
    stage.fixture.equivalences = vec![equal(("a", 900), ("b", 4000))];
    let plan = stage.repoint();
    assert_eq!(
        shown(plan.as_ref()),
        [
            "c: wait until everything received is applied",
            "c: stop applier",
            "c: replicate from b, beginning at bin.1:4000",
            "c: start receiver and applier, see it running",
        ]
    );
    assert_eq!(left_out(plan.as_ref()), ["d no-equivalence"]);
}

#[test]
fn who_has_gtids_and_does_not_use_them_uses_them_rather_than_being_lost() {
    let world = format!("a dead\n  b {F}\n  c nogtid {F} read=700 exec=700 executed=a:1-70");
    assert_eq!(Stage::new(&world).choose().expect("a choice").followers, [key("c")]);
    let world = format!("b rw executed=a:1-100\nc from=a nogtid {F} read=700 exec=700 executed=a:1-70\na dead");
    let plan = Stage::fenced(&world, &["b", "c"]).promoted("b", &["c"]).repoint();
    assert_eq!(shown(plan.as_ref())[1], "c: replicate from b, beginning at auto-position");
    assert!(plan.expect("a plan").warnings[0].contains("uses GTID from now on"));
}

#[test]
fn the_other_of_a_pair_takes_over() {
    let world = format!("a dead from=b\n  b {F} rule=prefer_not\n  c {F} rule=prefer");
    let mut stage = Stage::new(&world);
    assert_eq!(stage.judged(), ["b chosen", "c co-primary"]);
    stage.policy.co_must_promote_other = false;
    assert_eq!(stage.chosen(), "c");
    let mut stage = Stage::new(&world.replace("b io=no", "b rw io=no"));
    stage.policy.co_must_promote_other = false;
    assert_eq!(stage.chosen(), "b");
    assert_eq!(shown(stage.promote().as_ref()), ["b: stop applier", "b: forget the source and its relay logs"]);
    // What it wrote is data, not errant.
    let world = format!("a dead from=b\n  b rw {F} executed=a:1-100,b:1-7\n  c {F}");
    assert!(Stage::new(&world).choose().expect("a choice").warnings.is_empty());
    let refusal = Stage::new(&format!("a dead from=b\n  b dead\n  c {F}")).refusal();
    assert!(refusal.reason.contains("CoMasterRecoveryMustPromoteOtherCoMaster"), "{refusal}");
}

#[test]
fn semi_sync_goes_to_the_successor() {
    let plugin = |one: &mut crate::instance::Instance| {
        let facts = &mut one.facts.semi_sync;
        (facts.source_plugin, facts.replica_plugin) =
            (Some(PluginNaming::SourceReplica), Some(PluginNaming::SourceReplica));
        facts.source_timeout_ms = 3_600_000;
    };
    let stage = |servers: &str, count: u64| {
        let mut stage = Stage::fenced(&format!("a dead\n  b {F} sql=no\n{servers}"), &["b", "c"]).edit("b", plugin);
        stage = stage.edit("b", |one| one.facts.semi_sync.wait_for_replica_count = count);
        stage.had_semi_sync = true;
        stage
    };
    let on = "b: switch semi-sync on (source side)";
    let plan = stage("  c io=no", 1).edit("c", plugin).promote();
    assert_eq!(shown(plan.as_ref())[1..], [on, "b: set read_only off"]);
    // Nobody could acknowledge: it would wait for hours.
    let plan = stage("  c io=no", 1).promote();
    assert_eq!(shown(plan.as_ref())[1..], ["b: set read_only off"]);
    assert!(plan.expect("a plan").warnings.iter().any(|text| text.contains("semi-sync is off until there are more")));
    let plan =
        stage("  c io=no", 2).edit("c", plugin).edit("b", |one| one.facts.semi_sync.source_timeout_ms = 1000).promote();
    assert_eq!(shown(plan.as_ref())[1..], [on, "b: set read_only off"]);
    // Those that are moved are switched on as far as needed.
    let stage = Stage::fenced(&format!("b rw\nc from=a {F} sql=no\nd from=a {F} sql=no\na dead"), &["c", "d"]);
    let stage = stage.promoted("b", &["c", "d"]).edit("c", plugin).edit("d", plugin).edit("b", |one| {
        one.facts.semi_sync.source_enabled = true;
    });
    let steps = shown(stage.repoint().as_ref());
    assert_eq!(steps[1], "c: switch semi-sync on (replica side)");
    assert_eq!(steps.iter().filter(|step| step.contains("semi-sync")).count(), 1);
}

#[test]
fn without_promotion_it_only_stands_still() {
    let mut stage = Stage::new(&format!("a dead\n  b {F} executed=a:1-50 retrieved=a:1-100"));
    stage.policy.apply_promotion = false;
    assert_eq!(shown(stage.promote().as_ref()), ["b: wait until everything received is applied"]);
    assert_eq!(shown(stage.applied("b").promote().as_ref()), ["b: stop applier"]);
}
