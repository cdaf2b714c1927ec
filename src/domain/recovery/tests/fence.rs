//! What is closed and stopped before anybody is chosen.

use super::super::stage::{Stage, left_out, sane, shown};
use super::super::{close, still_receiving};
use super::F;
use crate::plan::Condition;

#[test]
fn the_fence_stops_receivers_and_nothing_else() {
    let stage = Stage::new(
        "a dead\n  b io=connecting\n  c io=connecting sql=no\n  d io=no\n  e dead\n  f io=connecting\n    g",
    );
    let plan = stage.fence();
    assert_eq!(shown(plan.as_ref()), ["b: stop receiver", "c: stop receiver", "f: stop receiver"]);
    assert_eq!(left_out(plan.as_ref()), ["e unreachable"]);
    assert_eq!(Stage::new(&format!("a dead\n  b {F}")).fence(), None);
}

#[test]
fn the_fence_closes_a_primary_that_answers() {
    let mut stage = Stage::new("a rw\n  b");
    let plan = stage.fence();
    assert_eq!(
        shown(plan.as_ref()),
        ["a: refuse writes, ending connections whose commits wait for acknowledgements", "b: stop receiver"]
    );
    stage = stage.edit("a", |one| one.facts.semi_sync.source_enabled = true);
    let plan = stage.fence();
    // Only once nobody waits for an acknowledgement any more.
    assert_eq!(shown(plan.as_ref())[1], "a: switch semi-sync off (source side)");
    assert!(plan.expect("a plan").branches[0].steps[1].before.contains(&Condition::ReadOnly { read_only: true }));
    let plan = Stage::new("a rw mariadb\n  b mariadb io=no").fence();
    assert_eq!(shown(plan.as_ref()), ["a: refuse writes, ending connections whose commits wait for acknowledgements"]);
}

#[test]
fn a_living_primary_is_closed_before_its_replicas_stop_receiving() {
    let closing = |stage: &Stage| shown(sane(stage.with(close).expect("no refusal")).as_ref());
    assert_eq!(closing(&Stage::new("a dead\n  b")), Vec::<String>::new());
    assert_eq!(closing(&Stage::new("a rw\n  b")).len(), 1);
    let closed = Stage::new("a ro\n  b").edit("a", |one| one.facts.super_read_only = true);
    assert_eq!(closing(&closed), Vec::<String>::new());
    let behind = |world: &str| {
        let all = Stage::new(world).with(still_receiving);
        all.into_iter().map(|key| key.hostname).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        behind("a ro\n  b read=900\n  c\n  d io=no read=900\n  e io=connecting read=900\n  f dead read=900"),
        "b"
    );
    assert_eq!(behind("a rw\n  b read=900"), "");
    assert_eq!(behind("a dead ro\n  b read=900"), "");
}

#[test]
fn appliers_of_mariadb_start_while_the_receivers_run() {
    let world = "a mariadb dead\n  b mariadb=0-1-90 sql=no io_pos=0-1-100\n  c mariadb=0-1-100 sql=no io_pos=0-1-100";
    let plan = Stage::new(world).fence();
    let expected = ["b: start applier, see it running", "b: stop receiver", "c: stop receiver"];
    assert_eq!(shown(plan.as_ref()), expected);
    // It would only stop again.
    let failing = Stage::new(world).edit("b", |one| {
        one.facts.replica.as_mut().expect("a replica").last_sql_error = "a row is there already".to_owned();
    });
    assert_eq!(shown(failing.fence().as_ref()), expected[1..]);
    // MySQL keeps its relay logs.
    let mysql = Stage::new("a dead\n  b sql=no executed=a:1-50 retrieved=a:1-100").fence();
    assert_eq!(shown(mysql.as_ref()), ["b: stop receiver"]);
}

#[test]
fn relay_logs_of_an_idle_replica_of_mariadb_are_kept() {
    let world = "a mariadb dead\n  b mariadb=0-1-90 io=no sql=no io_pos=0-1-100\n  c mariadb=0-1-95 io=no";
    let stage = Stage::fenced(world, &["c"]);
    assert_eq!(stage.chosen(), "b");
    let expected = [
        "b: start applier on the relay logs it has, see it running",
        "b: wait until everything received is applied",
        "b: stop applier",
        "b: forget the source and its relay logs",
        "b: set read_only off",
    ];
    let plan = stage.promote().expect("a plan");
    assert_eq!(shown(Some(&plan)), expected);
    assert!(plan.warnings.iter().any(|text| text.contains("file and position")), "{:?}", plan.warnings);
    // The worker was lost right after: positions say that nothing is left to be applied, and that is wrong.
    let without_gtid = |sql: &str| {
        let world = world.replace("io=no sql=no", &format!("io=no {sql} nogtid io_pos=0-1-100"));
        Stage::fenced(&world, &["c"])
    };
    let stage = without_gtid("sql=no");
    assert_eq!(stage.chosen(), "b");
    assert_eq!(shown(stage.promote().as_ref())[0], "b: start applier, see it running");
    assert_eq!(shown(without_gtid("").promote().as_ref()), expected[1..]);
    // MySQL keeps them.
    let mysql = Stage::fenced("a dead\n  b io=no sql=no executed=a:1-50 retrieved=a:1-100", &[]);
    assert_eq!(shown(mysql.promote().as_ref())[0], "b: start applier, see it running");
}
