//! Members by what they say about themselves; F is `a`.

use super::*;
use crate::instance::GroupFacts;
use crate::operation::fixture::key;
use crate::recovery::stage::{Stage, left_out, sane};

/// `a` (dead), `b` and `c` are a group, `b` its primary; below `a` and `b` are replicas.
fn group(world: &str) -> Stage {
    let mut stage = Stage::new(world);
    for name in ["a", "b", "c"] {
        let role = if name == "b" { "PRIMARY" } else { "SECONDARY" };
        stage = stage.edit(name, |one| {
            let data = ("g".to_owned(), ONLINE.to_owned(), role.to_owned(), Some(key("b")));
            let (name, state, role, primary) = data;
            one.facts.group =
                Some(GroupFacts { name, state, role, primary, single_primary: true, ..GroupFacts::default() });
            one.facts.gtid.executed = "00000009-1111-1111-1111-111111111111:1-100".to_owned();
        });
    }
    for one in stage.fixture.instances.values_mut().filter(|one| one.facts.group.is_none()) {
        one.facts.gtid.executed = "00000009-1111-1111-1111-111111111111:1-100".to_owned();
        one.facts.replica.as_mut().expect("a replica").retrieved_gtid_set.clear();
    }
    stage
}

fn shown(stage: &Stage) -> String {
    match stage.with(plan) {
        Ok(rescue) => {
            let plan = sane(rescue.plan);
            let branches = plan.iter().flat_map(|plan| &plan.branches);
            let goes: Vec<String> = branches
                .map(|one| format!("{}:{}", one.instance.hostname, one.new_source.as_ref().expect("a source").hostname))
                .collect();
            let lost = left_out(plan.as_ref());
            let lost = if lost.is_empty() { String::new() } else { format!(" but {}", lost.join(", ")) };
            format!("{} -> {}{lost}", goes.join(" "), rescue.choice.successor.hostname)
        }
        Err(refusal) => refusal.rule.word(),
    }
}

const REPLICAS: &str = "a dead\n  x io=connecting\n  y io=connecting";

#[test]
fn they_go_to_the_member_with_the_fewest_replicas_nearby() {
    assert_eq!(shown(&group(&format!("{REPLICAS}\nb\n  z\nc"))), "x:c y:c -> c");
    assert_eq!(shown(&group(&format!("{REPLICAS}\nb\nc"))), "x:b y:b -> b");
    let near = "a dead dc=k\n  x io=connecting\nb dc=k\n  z\nc dc=l";
    assert_eq!(shown(&group(near)), "x:b -> b");
}

#[test]
fn who_is_not_online_is_passed_over() {
    let world = format!("{REPLICAS}\nb\nc");
    let state =
        |state: &str| group(&world).edit("b", |b| b.facts.group.as_mut().expect("a member").state = state.to_owned());
    assert_eq!(shown(&state("RECOVERING")), "x:c y:c -> c");
    assert_eq!(shown(&state("OFFLINE")), "x:c y:c -> c");
    assert_eq!(shown(&group(&format!("{REPLICAS}\nb dead\nc"))), "x:c y:c -> c");
    assert_eq!(shown(&group(&format!("{REPLICAS}\nb dead\nc dead"))), "no-candidate");
    // The next one if the first cannot serve it.
    assert_eq!(shown(&group(&format!("{REPLICAS}\nb nolog\nc"))), "x:c y:c -> c");
    assert_eq!(shown(&group("a dead\n  x io=connecting\n  y dead\nb\nc")), "x:b -> b but y unreachable");
}

#[test]
fn only_replicas_of_a_member_are_moved() {
    let stage = Stage::new("a dead\n  x io=connecting");
    assert_eq!(shown(&stage), "bad-argument");
    assert_eq!(shown(&group("a dead\nb\nc")), "already-so");
}
