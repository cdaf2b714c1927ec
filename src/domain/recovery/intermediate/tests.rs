//! Each row of the table, by the smallest world in which it is the one that counts. F is `a`, U is `u`.

use super::*;
use crate::operation::fixture::key;
use crate::recovery::stage::{Stage, left_out, sane};

/// Where each orphan goes, and who is named as the successor.
fn shown(stage: &Stage) -> String {
    match stage.with(plan) {
        Ok(rescue) => {
            let plan = sane(rescue.plan);
            let branches = plan.iter().flat_map(|plan| &plan.branches);
            let goes = branches.map(|branch| {
                let to = branch.new_source.as_ref().map_or("starts", |to| to.hostname.as_str());
                format!("{}:{to}", branch.instance.hostname)
            });
            let goes: Vec<String> = goes.collect();
            let lost = left_out(plan.as_ref());
            let lost = if lost.is_empty() { String::new() } else { format!(" but {}", lost.join(", ")) };
            format!("{} -> {}{lost}", goes.join(" "), rescue.choice.successor.hostname)
        }
        Err(refusal) => refusal.rule.word(),
    }
}

fn of(world: &str) -> String {
    shown(&Stage::new(world))
}

/// u has siblings of the dead a, which has these orphans.
fn tree(a: &str, siblings: &str, orphans: &str) -> String {
    let below = |depth: &str, list: &str| {
        let named = list.split(';').map(str::trim).filter(|one| !one.is_empty());
        named.fold(String::new(), |text, one| text + "\n" + depth + one)
    };
    format!("u\n  a dead {a}{}{}", below("    ", orphans), below("  ", siblings))
}

const LOST: &str = "d io=connecting; e io=connecting";

#[test]
fn a_sibling_in_the_same_place_takes_them() {
    assert_eq!(of(&tree("", "b", LOST)), "d:b e:b -> b");
    assert_eq!(of(&tree("", "b; c", LOST)), "d:b e:b -> b");
    assert_eq!(of(&tree("dc=x", "b dc=y; c dc=x", LOST)), "d:c e:c -> c");
    assert_eq!(of(&tree("", "b; c rule=prefer", LOST)), "d:c e:c -> c");
    assert_eq!(of(&tree("", "b rule=must_not; c", LOST)), "d:c e:c -> c");
    for unfit in ["dead", "nolog", "norelay", "sql=no", "io=connecting", "downtimed", "filters", "stale"] {
        assert_eq!(of(&tree("", &format!("b {unfit}; c"), LOST)), "d:c e:c -> c", "{unfit}");
    }
    // More replicas are a sign of being made for it.
    assert_eq!(of("u\n  a dead\n    d io=connecting\n  b\n  c\n    x"), "d:c -> c");
    // Of equals the one that has applied more.
    assert_eq!(of(&tree("", "b exec=900; c", LOST)), "d:c e:c -> c");
    let mut banned = Stage::new(&tree("", "b; c", LOST));
    banned.banned.insert(key("b"));
    assert_eq!(shown(&banned), "d:c e:c -> c");
}

#[test]
fn without_a_near_sibling_they_gather_below_the_best_of_them() {
    assert_eq!(of(&tree("dc=x", "b dc=y", LOST)), "d:b e:d -> b");
    assert_eq!(of(&tree("", "", LOST)), "d:u e:d -> u");
    assert_eq!(of(&tree("", "", "d io=connecting; e io=connecting rule=prefer")), "e:u d:e -> u");
    // A wanted one elsewhere is preferred to one nearby that nobody asked for.
    assert_eq!(of(&tree("dc=x", "b dc=y rule=prefer; c dc=x", LOST)), "d:b e:d -> b");
    // One has received more, and the others follow it.
    let mut ahead = Stage::new(
        "a executed=a:1-120\n  f dead\n    d io=connecting\n    e io=connecting executed=a:1-90 retrieved=a:1-120",
    );
    ahead.failed = key("f");
    assert_eq!(shown(&ahead), "e:a d:e -> a");
}

#[test]
fn who_cannot_follow_the_others_goes_further_up() {
    // Nobody of them can be a source: all below U.
    assert_eq!(of(&tree("", "", "d io=connecting norelay; e io=connecting nolog")), "d:u e:u -> u");
    assert_eq!(of(&tree("", "", "d io=connecting")), "d:u -> u");
    assert_eq!(of(&tree("dc=x", "b dc=y", "d io=connecting")), "d:b -> b");
    // b is too new for d, and U is not.
    assert_eq!(of(&tree("", "b version=8.4.0", LOST)), "d:u e:d -> u");
    assert_eq!(of(&tree("", "b purged=u:1-200", LOST)), "d:u e:d -> u");
}

#[test]
fn one_that_cannot_be_moved_does_not_hold_up_the_others() {
    let errant = tree("", "b", "d io=connecting; e io=connecting executed=a:1-100,e:1");
    assert_eq!(of(&errant), "d:b -> b but e errant-gtid");
    assert_eq!(of(&tree("", "b", "d io=connecting; e dead")), "d:b -> b but e unreachable");
    assert_eq!(of(&tree("", "b", "d dead; e dead")), "unreachable");
    assert_eq!(of(&tree("", "b", "")), "already-so");
    assert_eq!(of("a dead\n  d io=connecting"), "not-a-replica");
}

#[test]
fn without_gtid_a_recorded_equivalence_is_needed() {
    let world = tree("", "b", "d nogtid io=connecting");
    assert_eq!(of(&world), "no-equivalence");
    let mut known = Stage::new(&world);
    known.fixture.equivalences = vec![crate::operation::fixture::equal(("a", 1000), ("b", 400))];
    assert_eq!(shown(&known), "d:b -> b");
}

#[test]
fn mariadb_goes_the_same_ways() {
    let world = "u mariadb\n  a mariadb dead\n    d mariadb io=connecting\n    e mariadb io=connecting\n  b mariadb";
    assert_eq!(of(world), "d:b e:b -> b");
    let world = "u mariadb\n  a mariadb dead\n    d mariadb io=connecting\n    e mariadb io=connecting";
    assert_eq!(of(world), "d:u e:d -> u");
}

#[test]
fn a_half_done_rescue_is_finished() {
    let began = tree("", "", LOST);
    let chosen = Stage::new(&began).with(plan).expect("a rescue").choice;
    assert_eq!((&chosen.successor, chosen.followers.as_slice()), (&key("u"), &[key("d"), key("e")][..]));
    // d has been moved, and not started; e is still there: it has U to go to now.
    let mut half = Stage::new("u\n  a dead\n    e io=connecting\n  d io=no sql=no");
    half.fixture = half.fixture.resumed(&["d", "e"]);
    half.earlier = Some(chosen.clone());
    assert_eq!(shown(&half), "e:u d:starts -> u");
    let mut done = Stage::new("u\n  a dead\n  d\n    e");
    done.fixture = done.fixture.resumed(&["d", "e"]);
    done.earlier = Some(chosen);
    assert_eq!(shown(&done), " -> u");
}
