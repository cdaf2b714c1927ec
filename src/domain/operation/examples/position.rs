//! By file and position.

use super::{BY_POSITION, TREE, check};
use crate::operation::fixture::{Fixture, at, equal, guards, key, relocate};
use crate::plan::{Action, Condition, Method, Position, Request, Rule};

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
