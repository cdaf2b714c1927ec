//! A sane plan, and one change to it per flaw.

use super::*;
use crate::instance::SourceTls;
use crate::plan::{Method, Position};

fn key(name: &str) -> InstanceKey {
    InstanceKey::new(name, 3306)
}

fn server(id: u64) -> Condition {
    Condition::Server { server_id: id, server_uuid: String::new() }
}

fn change(to: &str, position: Position) -> Action {
    Action::ChangeSource { to: key(to), position, options: SourceOptions::default() }
}

fn stop(on: &str, threads: Threads) -> Step {
    let left = if threads == Threads::IO { Threads::SQL } else { Threads::NONE };
    let step = Step::new(&key(on), Action::Stop { threads }, 10).when(server(1));
    step.then(Condition::Threads { running: left })
}

fn drain(on: &str) -> Step {
    Step::new(&key(on), Action::Drain, 60).then(Condition::Drained)
}

fn start(on: &str) -> Step {
    Step::new(&key(on), Action::Start { threads: Threads::BOTH }, 10)
        .then(Condition::Replicating { threads: Threads::BOTH })
}

/// `name` moves below `to` by GTID.
fn gtid_branch(name: &str, to: &str) -> Branch {
    Branch {
        instance: key(name),
        new_source: Some(key(to)),
        locks: vec![key(name)],
        steps: vec![
            stop(name, Threads::IO),
            drain(name),
            stop(name, Threads::SQL),
            Step::new(&key(name), change(to, Position::Auto), 10)
                .when(server(1))
                .when(Condition::Threads { running: Threads::NONE })
                .when(Condition::Drained)
                .when(Condition::PurgedByIsHere { other: key(to) })
                .then(Condition::ReplicatesFrom { source: key(to) }),
            start(name),
        ],
        restore: vec![start(name)],
    }
}

fn gtid_plan() -> Plan {
    let request = Request::RelocateReplicas { of: key("p"), below: key("o"), pattern: String::new() };
    let mut plan = Plan::in_place(request, key("b"), Vec::new());
    plan.method = Method::Gtid;
    plan.locks.clear();
    plan.branches = vec![gtid_branch("b", "o"), gtid_branch("c", "o")];
    plan
}

/// `i`, below `m`, becomes its sibling by position.
fn move_up() -> Plan {
    let mut plan = Plan::in_place(Request::MoveUp { instance: key("i") }, key("i"), Vec::new());
    plan.method = Method::Position;
    plan.locks = vec![key("i"), key("m")];
    plan.branches[0].new_source = Some(key("g"));
    plan.branches[0].steps = vec![
        stop("m", Threads::BOTH),
        stop("i", Threads::BOTH),
        Step::new(&key("i"), Action::RunUntil { position: Position::EndOf(key("m")) }, 60)
            .then(Condition::AppliedToEndOf { other: key("m") }),
        Step::new(&key("i"), change("g", Position::ExecutedBy(key("m"))), 10)
            .when(server(1))
            .when(Condition::AppliedToEndOf { other: key("m") })
            .then(Condition::ReplicatesFrom { source: key("g") }),
        start("i"),
        start("m"),
    ];
    plan.branches[0].restore = vec![start("i"), start("m")];
    plan
}

fn alone(request: Request, action: Action) -> Plan {
    let on = request.instance().clone();
    Plan::in_place(request, on.clone(), vec![Step::new(&on, action, 10).when(server(1))])
}

fn open() -> Plan {
    let request = Request::SetWriteable { instance: key("b") };
    let mut plan = alone(request, Action::SetReadOnly { read_only: false, with_super: true });
    plan.branches[0].steps[0].after = vec![Condition::ReadOnly { read_only: false }];
    plan
}

fn reset() -> Plan {
    let gtids = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".to_owned();
    let request = Request::GtidErrantResetMaster { instance: key("b") };
    let mut plan = alone(request, Action::ResetBinaryLogs { errant: gtids.clone() });
    let step = plan.branches[0].steps.remove(0).when(Condition::NoReplicas);
    let step = step.then(Condition::HasNotExecuted { gtids }).then(Condition::Executed { gtids: String::new() });
    plan.branches[0].steps.push(step);
    plan
}

fn steps(plan: &mut Plan) -> &mut Vec<Step> {
    &mut plan.branches[0].steps
}

/// Exactly one flaw, and it says so; an empty text: none.
fn check_plan(mut plan: Plan, spoil: impl FnOnce(&mut Plan), expected: &str) {
    assert_eq!(check(&plan), Ok(()), "the plan was not sane to begin with");
    spoil(&mut plan);
    match check(&plan) {
        Ok(()) => assert_eq!(expected, "", "not noticed"),
        Err(flaws) => {
            let shown: Vec<String> = flaws.iter().map(ToString::to_string).collect();
            assert!(shown.len() == 1 && !expected.is_empty() && shown[0].contains(expected), "{expected}: {shown:#?}");
        }
    }
}

#[test]
fn every_server_changed_is_locked() {
    check_plan(gtid_plan(), |plan| plan.branches[0].locks.clear(), "b:3306 is changed without a lock");
    check_plan(
        gtid_plan(),
        |plan| {
            plan.branches[0].locks.clear();
            plan.locks = vec![key("b")];
        },
        "",
    );
    // The lock of one branch is no lock for another, nor for the head.
    check_plan(gtid_plan(), |plan| plan.branches[1].locks = vec![key("d")], "c:3306 is changed without a lock");
    check_plan(move_up(), |plan| plan.locks = vec![key("i")], "m:3306 is changed without a lock");
    check_plan(
        open(),
        |plan| {
            plan.head = vec![Step::new(&key("x"), Action::FlushBinaryLogs { times: 1 }, 10)];
            plan.request = Request::MakeMaster { instance: key("b") };
        },
        "x:3306 is changed without a lock",
    );
}

#[test]
fn locks_are_sorted_and_single() {
    check_plan(move_up(), |plan| plan.locks.reverse(), "not sorted");
    check_plan(gtid_plan(), |plan| plan.locks = vec![key("b")], "b:3306 is locked twice");
}

#[test]
fn branches_change_different_servers() {
    check_plan(
        gtid_plan(),
        |plan| {
            plan.locks = vec![key("x")];
            for branch in &mut plan.branches {
                branch.steps.push(Step::new(&key("x"), Action::FlushBinaryLogs { times: 1 }, 10));
            }
        },
        "x:3306 is changed by two branches",
    );
}

#[test]
fn a_source_changes_only_between_stopped_threads() {
    check_plan(
        move_up(),
        |plan| {
            steps(plan)[1] = stop("i", Threads::SQL);
            steps(plan)[1].after = vec![Condition::Threads { running: Threads::IO }];
            // Without the receiver stopped nothing is safe either: state that it is, to see the one flaw.
            steps(plan)[3].action = change("g", Position::ExecutedBy(key("i")));
        },
        "threads may be running",
    );
    check_plan(
        gtid_plan(),
        |plan| steps(plan).retain(|step| step.action != Action::Stop { threads: Threads::SQL }),
        "",
    );
    check_plan(
        gtid_plan(),
        |plan| {
            steps(plan).remove(2);
            steps(plan)[2].before.retain(|condition| !matches!(condition, Condition::Threads { .. }));
        },
        // With auto-position the applier may run.
        "",
    );
}

#[test]
fn received_transactions_are_kept() {
    let unguarded = |plan: &mut Plan| {
        steps(plan).remove(1);
        steps(plan)[2].before.retain(|condition| *condition != Condition::Drained);
    };
    check_plan(gtid_plan(), unguarded, "received transactions may be discarded");
    // Elsewhere is not here.
    for (name, expected) in [("o", ""), ("x", "received transactions may be discarded")] {
        check_plan(
            gtid_plan(),
            |plan| {
                unguarded(plan);
                steps(plan)[2].before.push(Condition::ReceivedIsIn { other: key(name) });
            },
            expected,
        );
    }
    // Drained while more is being received proves nothing.
    check_plan(
        gtid_plan(),
        |plan| {
            unguarded(plan);
            steps(plan)[0] = drain("b");
            steps(plan)[1] = stop("b", Threads::BOTH);
        },
        "received transactions may be discarded",
    );
    // Received again since.
    check_plan(
        gtid_plan(),
        |plan| {
            unguarded(plan);
            steps(plan).insert(1, drain("b"));
            steps(plan).insert(2, start("b"));
            steps(plan).insert(3, stop("b", Threads::BOTH));
        },
        "received transactions may be discarded",
    );
    check_plan(
        gtid_plan(),
        |plan| {
            steps(plan)[3].before.retain(|condition| !matches!(condition, Condition::PurgedByIsHere { .. }));
        },
        "o:3306 may have purged",
    );
}

#[test]
fn positions_are_read_from_servers_that_stand_still() {
    let running = "m:3306 may move on while its position is read";
    check_plan(
        move_up(),
        |plan| {
            steps(plan).remove(0);
            steps(plan)[1] = drain("i");
        },
        running,
    );
    // Applied to the end of a log that grew meanwhile.
    check_plan(
        move_up(),
        |plan| {
            steps(plan)[0] = stop("m", Threads::IO);
            steps(plan)[2] = drain("i");
        },
        running,
    );
}

#[test]
fn no_loops() {
    check_plan(
        gtid_plan(),
        |plan| {
            plan.branches[0] = gtid_branch("b", "b");
        },
        "b:3306 would replicate from itself",
    );
    check_plan(
        gtid_plan(),
        |plan| {
            plan.branches[0] = gtid_branch("b", "c");
            plan.branches[1] = gtid_branch("c", "b");
        },
        "c:3306 would replicate from b:3306, which is below it",
    );
    let below = Condition::ReplicatesFrom { source: key("b") };
    check_plan(
        gtid_plan(),
        |plan| {
            plan.branches[0] = gtid_branch("b", "o");
            plan.locks = vec![key("o")];
            plan.head = vec![Step::new(&key("o"), Action::FlushBinaryLogs { times: 1 }, 10).when(below)];
        },
        "b:3306 would replicate from o:3306, which is below it",
    );
}

#[test]
fn branches_say_what_they_do() {
    check_plan(gtid_plan(), |plan| plan.branches[0].new_source = Some(key("x")), "is announced below x:3306");
    check_plan(gtid_plan(), |plan| plan.branches[0].new_source = None, "its branch does not say so");
}

#[test]
fn options_are_the_same_at_every_change() {
    let tls = SourceTls { allowed: true, ..SourceTls::default() };
    check_plan(
        gtid_plan(),
        |plan| {
            let again = Step {
                action: Action::ChangeSource {
                    to: key("o"),
                    position: Position::Auto,
                    options: SourceOptions { tls, request_public_key: false },
                },
                ..steps(plan)[3].clone()
            };
            steps(plan).insert(4, again);
        },
        "state different options",
    );
}

#[test]
fn what_is_stopped_is_started() {
    check_plan(
        gtid_plan(),
        |plan| {
            steps(plan).pop();
        },
        "b:3306: receiver and applier would stay stopped",
    );
    check_plan(
        gtid_plan(),
        |plan| {
            steps(plan).pop();
            plan.warnings.push("b:3306 stays stopped: it was stopped before".to_owned());
        },
        "",
    );
    // Seen not to run.
    check_plan(
        gtid_plan(),
        |plan| {
            steps(plan).pop();
            steps(plan)[0].before.push(Condition::Threads { running: Threads::NONE });
        },
        "",
    );
    check_plan(
        move_up(),
        |plan| {
            plan.branches[0].steps.pop();
        },
        "m:3306: receiver and applier would stay stopped",
    );
    let request = Request::StopReplica { instance: key("b") };
    let mut plan = alone(request, Action::Stop { threads: Threads::BOTH });
    plan.branches[0].steps = vec![stop("b", Threads::BOTH)];
    check_plan(plan, |_| {}, "");
}

#[test]
fn a_failed_branch_leaves_nothing_stopped() {
    check_plan(
        move_up(),
        |plan| {
            plan.branches[0].restore.pop();
        },
        "m:3306: receiver and applier would stay stopped when a step fails",
    );
}

#[test]
fn restoring_starts_threads_and_nothing_else() {
    check_plan(
        gtid_plan(),
        |plan| plan.branches[0].restore.push(Step::new(&key("b"), Action::ResetReplica, 10)),
        "restoring does more than start threads",
    );
}

#[test]
fn writes_are_allowed_on_one_server_by_a_plan_about_that() {
    let elsewhere = "is opened for writes by a plan that is about something else";
    check_plan(open(), |plan| plan.request = Request::SetReadOnly { instance: key("b") }, elsewhere);
    check_plan(open(), |plan| plan.request = Request::SetWriteable { instance: key("c") }, elsewhere);
    check_plan(open(), |plan| steps(plan).push(Step::new(&key("b"), Action::SkipOne, 10)), elsewhere);
    check_plan(open(), |plan| plan.request = Request::MakeMaster { instance: key("b") }, "");
    check_plan(
        open(),
        |plan| {
            let again = steps(plan)[0].clone();
            steps(plan).push(again);
        },
        "writes are allowed more than once",
    );
}

#[test]
fn binary_logs_are_reset_with_care() {
    check_plan(reset(), |plan| steps(plan)[0].before.retain(|one| *one != Condition::NoReplicas), "may have replicas");
    for index in [0, 1] {
        check_plan(reset(), |plan| drop(steps(plan)[0].after.remove(index)), "has its executed GTIDs back");
    }
}

#[test]
fn effects_are_looked_at() {
    let unseen = "nobody looks whether it worked";
    for index in [0, 1, 2, 3, 4] {
        check_plan(gtid_plan(), |plan| steps(plan)[index].after.clear(), unseen);
    }
    check_plan(open(), |plan| steps(plan)[0].after.clear(), unseen);
    check_plan(move_up(), |plan| steps(plan)[2].after.clear(), unseen);
}

#[test]
fn everything_has_a_limit() {
    check_plan(open(), |plan| steps(plan)[0].limit_seconds = 0, "no time limit");
    check_plan(open(), |plan| steps(plan)[0].limit_seconds = 3600, "is too long");
    check_plan(gtid_plan(), |plan| steps(plan)[1].limit_seconds = 80_000, "");
    check_plan(gtid_plan(), |plan| steps(plan)[1].limit_seconds = u32::MAX, "the plan may take");
    check_plan(gtid_plan(), |plan| plan.branches[0].restore[0].limit_seconds = 0, "no time limit");
}

#[test]
fn servers_are_identified_before_lasting_changes() {
    check_plan(open(), |plan| steps(plan)[0].before.clear(), "it is not made sure that b:3306 is the server");
    check_plan(
        gtid_plan(),
        |plan| {
            for step in steps(plan) {
                step.before.retain(|condition| !matches!(condition, Condition::Server { .. }));
            }
        },
        "it is not made sure that b:3306 is the server",
    );
}

#[test]
fn arguments_make_sense() {
    let request = || Request::KillQuery { instance: key("b"), id: 7 };
    let senseless = [
        Action::KillQuery { id: 0 },
        Action::InjectEmpty { gtids: Vec::new() },
        Action::InjectEmpty { gtids: vec!["1' OR 1".to_owned()] },
        Action::InjectEmpty {
            gtids: vec!["3e11fa47-71ca-11e1-9e33-c80aa9429562:1".to_owned(); MAX_EMPTY_TRANSACTIONS + 1],
        },
        Action::FlushBinaryLogs { times: 0 },
        Action::FlushBinaryLogs { times: MAX_FLUSHES + 1 },
        Action::PurgeBinaryLogs { to: String::new() },
        Action::Stop { threads: Threads::NONE },
        Action::CopyCredentials { from: key("b") },
    ];
    for action in senseless {
        let mut plan = alone(request(), Action::KillQuery { id: 7 });
        // Whatever the action, its effect is looked at: only its argument is wrong.
        plan.branches[0].steps[0].after =
            vec![Condition::Threads { running: Threads::NONE }, Condition::HasExecuted { gtids: String::new() }];
        check_plan(plan, |plan| steps(plan)[0].action = action, "senseless");
    }
}

#[test]
fn a_delay_is_set_while_the_applier_stands_still() {
    let request = Request::DelayReplication { instance: key("b"), seconds: 5 };
    let mut plan = alone(request, Action::SetDelay { seconds: 5 });
    plan.branches[0].steps[0].after.push(Condition::Delay { seconds: 5 });
    let mut still = stop("b", Threads::SQL);
    still.after = vec![Condition::Threads { running: Threads::IO }];
    plan.branches[0].steps.insert(0, still);
    plan.branches[0].steps.push(start("b"));
    plan.branches[0].restore.push(start("b"));
    check_plan(
        plan.clone(),
        |plan| {
            steps(plan).remove(0);
            steps(plan)[0].before.push(Condition::Threads { running: Threads::BOTH });
        },
        "the applier may be running",
    );
    check_plan(plan, |plan| steps(plan)[0] = stop("b", Threads::BOTH), "received transactions may be discarded");
}

#[test]
fn a_pair_is_a_loop_only_when_it_was_not_asked_for() {
    let mut plan = gtid_plan();
    plan.request = Request::MakeCoMaster { instance: key("o") };
    plan.branches.truncate(1);
    plan.locks = vec![key("o")];
    plan.head = vec![
        Step::new(&key("o"), Action::FlushBinaryLogs { times: 1 }, 10)
            .when(Condition::ReplicatesFrom { source: key("b") }),
    ];
    check_plan(plan, |plan| plan.request = gtid_plan().request, "a loop");
}

/// `b` takes over from `a`.
fn promotion() -> Plan {
    let request = Request::Recover { failed: key("a"), recovery: 7 };
    let mut plan = Plan::in_place(request, key("b"), Vec::new());
    plan.branches.clear();
    plan.answers_for = Some(key("b"));
    let stop = Step::new(&key("b"), Action::Stop { threads: Threads::SQL }, 75);
    let forget = Step::new(&key("b"), Action::ResetReplica, 10)
        .when(Condition::ReplicatesFrom { source: key("a") })
        .when(Condition::Threads { running: Threads::NONE })
        .when(Condition::Drained)
        .when(Condition::HasExecuted { gtids: "0-1-9".to_owned() });
    let open = Step::new(&key("b"), Action::SetReadOnly { read_only: false, with_super: false }, 10);
    plan.head = vec![
        stop.when(server(1)).then(Condition::Stopped { threads: Threads::BOTH }),
        forget.then(Condition::NoReplica),
        open.when(Condition::NoReplica).then(Condition::ReadOnly { read_only: false }),
    ];
    plan.warnings.push("b:3306 stays stopped".to_owned());
    plan
}

#[test]
fn promotions_are_judged() {
    let spoiled = |spoil: fn(&mut Plan), expected: &str| check_plan(promotion(), spoil, expected);
    spoiled(|_| (), "");
    spoiled(|plan| plan.head[1].before.retain(|one| *one != Condition::Drained), "may be discarded");
    spoiled(|plan| plan.head[1].before.truncate(3), "nobody looks whether b:3306 has what others have received");
    spoiled(|plan| plan.answers_for = Some(key("c")), "not who the plan makes the primary");
    spoiled(|plan| plan.head.push(start("b")), "would replicate after it was opened");
    spoiled(|plan| plan.head[2].before.clear(), "may still apply");
    spoiled(|plan| plan.head[0].after.clear(), "nobody looks whether it worked");
    spoiled(
        |plan| {
            let mut second = plan.head[2].clone();
            second.on = key("c");
            second.before.push(server(2));
            plan.locks.push(key("c"));
            plan.head.push(second);
        },
        "writes are allowed more than once",
    );
    // Whatever another has is no proof that it was applied here.
    spoiled(
        |plan| {
            plan.head[1].before.retain(|one| *one != Condition::Drained);
            plan.head[1].before.push(Condition::ReceivedIsIn { other: key("c") });
        },
        "may not be applied",
    );
}
