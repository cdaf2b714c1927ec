//! Whole plans, run against random worlds.

use proptest::prelude::*;

use super::run::Fate;
use super::*;
use crate::operation::{Policy, World, plan};
use crate::plan::{Refusal, Rule, SemiSyncSide, check};

/// Random worlds per property: seconds, not minutes.
const CASES: u32 = 400;

/// One server of a random world, in terms of its source.
#[derive(Debug, Clone)]
struct Spec {
    /// Any server above it, by number.
    source: usize,
    behind: u64,
    unapplied: u64,
    threads: Threads,
    broken: bool,
    delay: u64,
    errant: bool,
}

fn spec() -> impl Strategy<Value = Spec> {
    let threads = prop_oneof![
        6 => Just(Threads::BOTH),
        1 => Just(Threads::IO),
        1 => Just(Threads::SQL),
        1 => Just(Threads::NONE),
    ];
    (
        0..60usize,
        0..4u64,
        0..4u64,
        threads,
        prop::bool::weighted(0.1),
        prop_oneof![8 => Just(0u64), 1 => Just(3600)],
        prop::bool::weighted(0.1),
    )
        .prop_map(|(source, behind, unapplied, threads, broken, delay, errant)| Spec {
            source,
            behind,
            unapplied,
            threads,
            broken,
            delay,
            errant,
        })
}

fn model(kind: Kind, specs: &[Spec]) -> Model {
    let mut model = Model::new(kind);
    model.add(0, None, 50, 50);
    for (above, spec) in specs.iter().enumerate() {
        let (index, source) = (above + 1, spec.source % (above + 1));
        let received = model.servers[&key(source)].content.saturating_sub(spec.behind);
        let broken = spec.broken && spec.unapplied > 0;
        model.add(index, Some(source), received - spec.unapplied, received);
        let replica = model.replica(index);
        replica.sql_delay = spec.delay;
        let state = |on| if on { ThreadState::Running } else { ThreadState::Stopped };
        (replica.io_thread, replica.sql_thread) = (state(spec.threads.io), state(spec.threads.sql && !broken));
        if broken {
            replica.last_sql_error = "Duplicate entry".to_owned();
        }
        let server = model.servers.get_mut(&key(index)).expect("a server of the model");
        server.broken = broken;
        if spec.errant && kind == Kind::Gtid {
            server.own = format!("{}:1-2", uuid(index as u64 + 1));
        }
    }
    model
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Gtid), Just(Kind::MariadbGtid), Just(Kind::Position)]
}

/// Operations that change one server in its place.
fn in_place(instance: InstanceKey, which: usize) -> Request {
    let all: [fn(InstanceKey) -> Request; 18] = [
        |instance| Request::StartReplica { instance },
        |instance| Request::StopReplica { instance },
        |instance| Request::RestartReplica { instance },
        |instance| Request::StopReplicaNice { instance },
        |instance| Request::StartReplicaIo { instance },
        |instance| Request::StopReplicaIo { instance },
        |instance| Request::StartReplicaSql { instance },
        |instance| Request::StopReplicaSql { instance },
        |instance| Request::DelayReplication { instance, seconds: 60 },
        |instance| Request::DelayReplication { instance, seconds: 0 },
        |instance| Request::SetReadOnly { instance },
        |instance| Request::SetWriteable { instance },
        |instance| Request::FlushBinaryLogs { instance, until: String::new() },
        |instance| Request::ResetReplica { instance },
        |instance| Request::SkipQuery { instance },
        |instance| Request::GtidErrantResetMaster { instance },
        |instance| Request::GtidErrantInjectEmpty { instance },
        |instance| Request::SetSemiSync { instance, side: SemiSyncSide::Replica, enabled: true },
    ];
    all[which % all.len()](instance)
}

/// Operations that change who replicates from whom.
fn moves(instance: InstanceKey, below: InstanceKey, which: usize) -> Request {
    let pattern = String::new();
    match which % 16 {
        0 | 1 => Request::Relocate { instance, below },
        2 => Request::RelocateReplicas { of: instance, below, pattern },
        3 => Request::MoveUp { instance },
        4 => Request::MoveUpReplicas { of: instance, pattern },
        5 => Request::MoveBelow { instance, below },
        6 => Request::MoveGtid { instance, below },
        7 => Request::MoveReplicasGtid { of: instance, below, pattern },
        8 => Request::Repoint { instance, below: None },
        9 => Request::TakeMaster { instance },
        10 => Request::TakeSiblings { instance },
        11 => Request::MakeCoMaster { instance },
        12 => Request::MakeLocalMaster { instance },
        13 => Request::DetachReplica { instance },
        14 => Request::DisableGtid { instance },
        _ => Request::EnableGtid { instance },
    }
}

fn planned(model: &Model, request: &Request, baseline: &Baseline, earlier: Option<&Plan>) -> Result<Plan, Refusal> {
    let (instances, policy) = (model.instances(), Policy::default());
    let world = World { instances: &instances, baseline, earlier, equivalences: &[], policy: &policy, now: NOW };
    let planned = plan(request, &world);
    match &planned {
        Ok(plan) => assert_eq!(check(plan), Ok(()), "{}", plan.to_text(crate::plan::Detail::Conditions)),
        Err(refusal) => assert!(!refusal.reason.is_empty() && !refusal.remedy.is_empty(), "{refusal:?}"),
    }
    planned
}

/// Semi-sync is there, on request.
fn with_plugins(model: &mut Model) {
    for server in model.servers.values_mut() {
        server.facts.semi_sync.replica_plugin = Some(crate::instance::PluginNaming::SourceReplica);
    }
}

/// The baseline of the servers that a plan changes, as it is recorded before the first step: of a primary, too.
fn baseline_of(model: &Model, plan: &Plan) -> Baseline {
    plan.steps().map(|step| (step.on.clone(), running_threads(&model.servers[&step.on].facts))).collect()
}

/// All replicas replicate, none is delayed.
fn is_healthy(model: &Model) -> bool {
    let replicas = model.servers.values().filter_map(|server| server.facts.replica.as_ref());
    let delayed = replicas.filter(|replica| replica.sql_delay > 0).count();
    delayed == 0 && model.threads().values().all(|threads| *threads == Threads::BOTH)
}

/// Plans, runs to the end, and looks at everything.
fn runs_to_its_end(mut model: Model, request: &Request) {
    let healthy = is_healthy(&model);
    let before = model.threads();
    let Ok(plan) = planned(&model, request, &Baseline::new(), None) else { return };
    // An applier that cannot go on is started all the same when somebody asks for it, and stops again.
    let broken = model.servers[request.instance()].broken;
    let starts = plan.steps().any(|step| matches!(step.action, Action::Start { threads } if threads.sql));
    let result = model.run(&plan, Fate::Lives);
    if broken && starts && !matches!(request, Request::SkipQuery { .. }) {
        return;
    }
    // Where some replica stands still, what it was planned to catch up with may have moved on meanwhile.
    if healthy || plan.method == crate::plan::Method::InPlace {
        let detail = crate::plan::Detail::Conditions;
        assert_eq!(result, Ok(()), "{}{}", plan.to_text(detail), model.shown());
    }
    if result.is_ok() {
        model.assert_threads(request, &before);
    }
    model.assert_no_loop(matches!(request, Request::MakeCoMaster { .. }));
    model.settle();
}

/// Dies after some steps; another worker takes it up.
fn survives_a_death(mut model: Model, request: &Request, steps: usize) {
    let healthy = is_healthy(&model);
    let before = model.threads();
    let Ok(plan) = planned(&model, request, &Baseline::new(), None) else { return };
    if model.servers.values().any(|server| server.broken) {
        return;
    }
    let baseline = baseline_of(&model, &plan);
    let died = model.run(&plan, Fate::DiesAfter(steps % (plan.steps().count() + 1)));
    if !healthy && died.is_err() {
        return;
    }
    assert_eq!(died, Ok(()), "{plan}");
    match planned(&model, request, &baseline, Some(&plan)) {
        Ok(rest) => {
            let result = model.run(&rest, Fate::Lives);
            let detail = crate::plan::Detail::Conditions;
            if healthy || plan.method == crate::plan::Method::InPlace {
                assert_eq!(result, Ok(()), "{}then\n{}", plan.to_text(detail), rest.to_text(detail));
            }
            if result.is_ok() {
                model.assert_threads(request, &before);
            }
        }
        Err(refusal) if refusal.rule == Rule::AlreadySo => model.assert_threads(request, &before),
        // Threads are put back, and the operation ends with this refusal.
        Err(_) => {}
    }
    model.assert_no_loop(matches!(request, Request::MakeCoMaster { .. }));
    model.settle();
}

/// One step fails; what ran before runs afterwards.
fn survives_a_failure(mut model: Model, request: &Request, steps: usize) {
    let before = model.threads();
    let Ok(plan) = planned(&model, request, &Baseline::new(), None) else { return };
    // Nothing puts back what the tail, which puts back, could not.
    let count = plan.steps().count() - plan.tail.len();
    if count == 0 || model.servers.values().any(|server| server.broken) {
        return;
    }
    let result = model.run(&plan, Fate::FailsAfter(steps % count));
    assert!(result.is_err());
    for (name, now) in model.threads() {
        let ran = before.get(&name).copied().unwrap_or_default();
        let wanted = if *request.instance() == name { asked(request, ran) } else { ran };
        let kept = Threads { io: ran.io && wanted.io, sql: ran.sql && wanted.sql };
        assert!(now.io >= kept.io && now.sql >= kept.sql, "{name}: {ran:?} ran, now {now:?}\n{plan}");
    }
    model.assert_no_loop(matches!(request, Request::MakeCoMaster { .. }));
    model.settle();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    #[test]
    fn operations_in_place_do_what_they_say(
        kind in kinds(),
        specs in prop::collection::vec(spec(), 1..5),
        at in any::<prop::sample::Index>(),
        which in 0..18usize,
        steps in 0..20usize,
    ) {
        let mut model = model(kind, &specs);
        with_plugins(&mut model);
        let request = in_place(key(at.index(specs.len() + 1)), which);
        runs_to_its_end(model.clone(), &request);
        survives_a_death(model.clone(), &request, steps);
        survives_a_failure(model, &request, steps);
    }

    #[test]
    fn moves_lose_nothing(
        kind in kinds(),
        specs in prop::collection::vec(spec(), 1..6),
        at in any::<prop::sample::Index>(),
        below in any::<prop::sample::Index>(),
        which in 0..16usize,
        steps in 0..20usize,
    ) {
        let model = model(kind, &specs);
        let request = moves(key(at.index(specs.len() + 1)), key(below.index(specs.len() + 1)), which);
        runs_to_its_end(model.clone(), &request);
        survives_a_death(model.clone(), &request, steps);
        survives_a_failure(model, &request, steps);
    }
}

/// A property that holds because everything is refused would be no property.
#[test]
fn every_operation_in_place_is_planned_somewhere() {
    let spec = |threads, broken, errant| Spec { source: 0, behind: 1, unapplied: 2, threads, broken, delay: 0, errant };
    let worlds = [
        spec(Threads::BOTH, false, true),
        spec(Threads::NONE, false, false),
        spec(Threads::BOTH, true, false),
        Spec { delay: 60, ..spec(Threads::BOTH, false, false) },
    ];
    for which in 0..18 {
        let planned = worlds.iter().flat_map(|spec| [0, 1].map(|index| (spec, index))).any(|(spec, index)| {
            let mut model = model(Kind::Gtid, std::slice::from_ref(spec));
            model.servers.get_mut(&key(0)).expect("the primary").facts.read_only = which == 11;
            with_plugins(&mut model);
            planned(&model, &in_place(key(index), which), &Baseline::new(), None).is_ok()
        });
        assert!(planned, "{}", in_place(key(1), which));
    }
}

/// Of any kind, whichever step was the last: chance need not find the one that matters.
#[test]
fn a_swap_survives_a_death_after_any_step() {
    let healthy =
        Spec { source: 0, behind: 0, unapplied: 0, threads: Threads::BOTH, broken: false, delay: 0, errant: false };
    let specs = [healthy.clone(), Spec { source: 1, ..healthy }];
    let swap = Request::TakeMaster { instance: key(2) };
    for kind in [Kind::Gtid, Kind::MariadbGtid, Kind::Position] {
        let model = model(kind, &specs);
        let plan = planned(&model, &swap, &Baseline::new(), None).expect("a swap");
        for steps in 0..=plan.steps().count() {
            survives_a_death(model.clone(), &swap, steps);
        }
    }
}
