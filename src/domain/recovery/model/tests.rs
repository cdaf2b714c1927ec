//! Recoveries of random worlds with random faults.

use proptest::prelude::*;

use super::run::{End, Fault, recover};
use super::*;

/// Random worlds: seconds, not minutes.
const CASES: u32 = 250;

#[derive(Debug, Clone)]
struct Spec {
    behind: u64,
    unapplied: u64,
    threads: Threads,
    broken: bool,
    delay: bool,
    errant: bool,
    relays: bool,
    rule: PromotionRule,
    up: bool,
}

fn spec() -> impl Strategy<Value = Spec> {
    let threads = prop_oneof![
        6 => Just(Threads::BOTH),
        1 => Just(Threads::IO),
        1 => Just(Threads::SQL),
        1 => Just(Threads::NONE),
    ];
    let rule = prop_oneof![
        6 => Just(PromotionRule::Neutral),
        1 => Just(PromotionRule::Prefer),
        1 => Just(PromotionRule::PreferNot),
        1 => Just(PromotionRule::MustNot),
    ];
    let rare = || prop::bool::weighted(0.1);
    (0..4u64, 0..5u64, threads, rare(), rare(), rare(), prop::bool::weighted(0.9), rule, prop::bool::weighted(0.9))
        .prop_map(|(behind, unapplied, threads, broken, delay, errant, relays, rule, up)| Spec {
            behind,
            unapplied,
            threads,
            broken,
            delay,
            errant,
            relays,
            rule,
            up,
        })
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![2 => Just(Kind::Gtid), 1 => Just(Kind::MariadbGtid), 1 => Just(Kind::Position)]
}

fn faults() -> impl Strategy<Value = Vec<(usize, Fault)>> {
    let fault = prop_oneof![
        2 => Just(Fault::Fails),
        2 => Just(Fault::Unheard),
        3 => Just(Fault::WorkerDies),
        2 => (1..6usize).prop_map(Fault::Dies),
        1 => (1..6usize).prop_map(Fault::Returns),
        2 => Just(Fault::Returns(0)),
        1 => Just(Fault::Dies(0)),
    ];
    prop::collection::vec((0..25usize, fault), 0..4)
}

/// The primary had 50 transactions, and is gone.
fn world(kind: Kind, specs: &[Spec]) -> Model {
    let mut model = Model::new(kind);
    model.add_primary(50);
    for (index, spec) in specs.iter().enumerate() {
        let index = index + 1;
        let received = 50 - spec.behind;
        model.add_replica(index, received - spec.unapplied, received);
        let server = model.get(index);
        (server.broken, server.rule, server.up) = (spec.broken && spec.unapplied > 0, spec.rule, true);
        server.facts.log_replica_updates = spec.relays;
        if spec.errant && kind == Kind::Gtid {
            server.log.push(Tx { writer: server.id, number: 1 });
        }
        let broken = server.broken;
        let replica = server.replica();
        let state = |on| if on { ThreadState::Running } else { ThreadState::Stopped };
        (replica.io_thread, replica.sql_thread) = (state(spec.threads.io), state(spec.threads.sql && !broken));
        replica.sql_delay = if spec.delay { 3600 } else { 0 };
        if broken {
            replica.last_sql_error = "Duplicate entry".to_owned();
        }
    }
    model.look_at_all();
    model.get(0).up = false;
    for (index, spec) in specs.iter().enumerate() {
        model.get(index + 1).up = spec.up;
    }
    model
}

/// Everything that must hold after a recovery that says it is through.
fn assert_recovered(model: &mut Model, choice: &Choice, before: &Baseline) {
    let successor = choice.successor.clone();
    if !model.servers[&successor].up {
        return;
    }
    assert!(!model.servers[&successor].facts.read_only && model.servers[&successor].facts.replica.is_none());
    let now = model.threads();
    let below: Vec<InstanceKey> = model
        .servers
        .iter()
        .filter(|(_, server)| server.up && server.facts.source() == Some(&successor))
        .map(|(name, _)| name.clone())
        .collect();
    for name in &below {
        let broken = model.servers[name].broken;
        let sane = now[name] == before[name] || broken;
        assert!(sane, "threads of {name}: {:?}, were {:?}", now[name], before[name]);
    }
    // Whoever is below gets everything, once its threads run.
    for name in &below {
        let server = model.servers.get_mut(name).expect("a server");
        server.broken = false;
        server.replica().sql_delay = 0;
        set_threads(server, Threads::BOTH, ThreadState::Running);
    }
    model.servers.values_mut().for_each(|server| server.facts.read_only = true);
    (0..200).for_each(|_| model.tick());
    let all = model.servers[&successor].executed();
    for name in &below {
        let lacking: Vec<Tx> = all.difference(&model.servers[name].executed()).copied().collect();
        assert!(lacking.is_empty(), "{name} never gets {lacking:?}");
    }
}

use crate::recovery::Choice;

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    #[test]
    fn recoveries_lose_nothing_and_open_one(
        kind in kinds(),
        specs in prop::collection::vec(spec(), 1..6),
        faults in faults(),
    ) {
        let mut model = world(kind, &specs);
        let before = model.threads();
        let faults: Vec<(usize, Fault)> = faults
            .into_iter()
            .map(|(at, fault)| (at, match fault {
                Fault::Dies(index) if index > specs.len() => Fault::Fails,
                Fault::Returns(index) if index > specs.len() => Fault::Unheard,
                other => other,
            }))
            .collect();
        let end = recover(&mut model, &faults, false);
        if let End::Recovered { choice, .. } = end {
            assert_recovered(&mut model, &choice, &before);
        }
        prop_assert!(model.opened.len() <= 1 || model.opened.iter().filter(|key| !model.servers[*key].facts.read_only).count() <= 1);
    }

    /// Without faults, and with somebody fit: it ends well, and everybody fit is below.
    #[test]
    fn without_faults_it_ends_well(kind in kinds(), specs in prop::collection::vec(spec(), 1..6)) {
        let specs: Vec<Spec> = specs
            .into_iter()
            .map(|spec| Spec { broken: false, delay: false, errant: false, relays: true, up: true, ..spec })
            .collect();
        let mut model = world(kind, &specs);
        let before = model.threads();
        let fit = specs.iter().any(|spec| spec.rule != PromotionRule::MustNot);
        let most = specs.iter().map(|spec| spec.behind).min().expect("some");
        // By position nobody can catch up: the most advanced itself has to be fit.
        let holds = kind != Kind::Position
            || specs.iter().any(|spec| spec.rule != PromotionRule::MustNot && spec.behind == most);
        match recover(&mut model, &[], false) {
            End::Recovered { choice, left_out } => {
                prop_assert!(fit && holds);
                prop_assert!(kind == Kind::Position || left_out.is_empty(), "{left_out:?}");
                assert_recovered(&mut model, &choice, &before);
                let below = model.servers.values().filter(|one| one.facts.source() == Some(&choice.successor)).count();
                prop_assert!(kind == Kind::Position || below == specs.len() - 1);
            }
            End::GivenUp(reason) => prop_assert!(!fit || !holds, "{reason}"),
        }
    }
}

/// Whichever step was the last of the first worker: chance need not find the one that matters.
#[test]
fn a_recovery_survives_a_death_after_any_step() {
    let spec = |behind, unapplied, rule| Spec {
        behind,
        unapplied,
        threads: Threads::BOTH,
        broken: false,
        delay: false,
        errant: false,
        relays: true,
        rule,
        up: true,
    };
    // The preferred one has to catch up, where that is possible.
    let specs =
        [spec(2, 1, PromotionRule::Prefer), spec(0, 3, PromotionRule::Neutral), spec(1, 0, PromotionRule::Neutral)];
    for kind in [Kind::Gtid, Kind::MariadbGtid, Kind::Position] {
        for fault in [Fault::WorkerDies, Fault::Fails, Fault::Unheard] {
            for at in 0..30 {
                let mut model = world(kind, &specs);
                let before = model.threads();
                let end = recover(&mut model, &[(at, fault)], false);
                let End::Recovered { choice, .. } = end else { panic!("{kind:?} {fault:?} at {at}: {end:?}") };
                let expected = if kind == Kind::Position { key(2) } else { key(1) };
                assert_eq!(choice.successor, expected, "{kind:?} {fault:?} at {at}");
                assert_recovered(&mut model, &choice, &before);
            }
        }
    }
}
