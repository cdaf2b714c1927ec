//! The executor on servers in memory: faults at every place, in virtual time.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::instance::{BinlogCoordinates, InstanceKey, ReplicaFacts, ServerFacts, ThreadState};
use domain::plan::{Action, Branch, Condition, Method, Plan, Position, Request, SourceOptions, Step, Threads};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::memory::{Book, Fault, Memory};
use crate::{BranchResult, Ending, Options, Part, Report, execute};

pub(crate) fn key(host: &str) -> InstanceKey {
    InstanceKey::new(host, 3306)
}

fn replica_of(source: &str) -> ServerFacts {
    let exec = BinlogCoordinates { file: "log.1".to_owned(), position: 100 };
    let replica = ReplicaFacts {
        source: key(source),
        io_thread: ThreadState::Running,
        sql_thread: ThreadState::Running,
        read: exec.clone(),
        exec,
        ..ReplicaFacts::default()
    };
    let binlog = BinlogCoordinates { file: "own.7".to_owned(), position: 700 };
    ServerFacts { replica: Some(replica), binlog, ..ServerFacts::default() }
}

fn stop(on: &str) -> Step {
    Step::new(&key(on), Action::Stop { threads: Threads::BOTH }, 10).then(Condition::Threads { running: Threads::NONE })
}

fn start(on: &str) -> Step {
    Step::new(&key(on), Action::Start { threads: Threads::BOTH }, 10)
        .then(Condition::Replicating { threads: Threads::BOTH })
}

fn change(on: &str, to: &str, position: Position) -> Step {
    let options = SourceOptions::default();
    Step::new(&key(on), Action::ChangeSource { to: key(to), position, options }, 10)
        .when(Condition::Threads { running: Threads::NONE })
        .then(Condition::ReplicatesFrom { source: key(to) })
}

/// Moves `on` below `to`; `left` of the steps: what a planner would leave out in the world as it is.
fn branch(on: &str, to: &str, memory: &Memory) -> Branch {
    let mut steps = Vec::new();
    if memory.source(on) != to {
        if memory.threads(on) != Threads::NONE {
            steps.push(stop(on));
        }
        steps.push(change(on, to, Position::Auto));
    }
    if memory.source(on) != to || memory.threads(on) != Threads::BOTH {
        steps.push(start(on));
    }
    Branch { instance: key(on), new_source: Some(key(to)), locks: vec![key(on)], steps, restore: vec![start(on)] }
}

fn plan(branches: Vec<Branch>) -> Plan {
    Plan {
        request: Request::MoveGtid { instance: key("a"), below: key("z") },
        method: Method::Gtid,
        because: String::new(),
        warnings: Vec::new(),
        locks: Vec::new(),
        head: Vec::new(),
        branches,
        tail: Vec::new(),
        left_out: Vec::new(),
        answers_for: None,
    }
}

fn world(faults: &[Fault]) -> Memory {
    Memory::new(&[("p", ServerFacts::default()), ("z", replica_of("p")), ("a", replica_of("p"))], faults)
}

async fn run(plan: &Plan, memory: &Memory, book: &Book) -> Report {
    execute(plan, memory, book, &Options::default()).await
}

#[tokio::test(start_paused = true)]
async fn a_move_is_done_step_by_step_and_recorded() {
    let (memory, book) = (world(&[]), Book::default());
    let report = run(&plan(vec![branch("a", "z", &memory)]), &memory, &book).await;
    assert_eq!(report.ending, Ending::Ended);
    assert_eq!(report.branches[0].result, BranchResult::Done);
    assert_eq!((memory.source("a").as_str(), memory.threads("a")), ("z", Threads::BOTH));
    let rows = book.rows.lock().unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.2 == Some(Ok(()))), "{rows:?}");
    assert!(book.equivalent.lock().unwrap().is_empty(), "GTID says nothing about positions");
}

#[tokio::test(start_paused = true)]
async fn whoever_resumes_after_a_death_at_any_step_finishes() {
    for at in 1..=3 {
        for fault in [Fault::DiesBefore(at), Fault::DiesAfter(at)] {
            let memory = world(std::slice::from_ref(&fault));
            let first = plan(vec![branch("a", "z", &memory)]);
            let book = Book::default();
            let died = timeout(Duration::from_secs(1), run(&first, &memory, &book)).await;
            assert!(died.is_err(), "{fault:?}: the process did not die");
            let again = plan(vec![branch("a", "z", &memory)]);
            let report = run(&again, &memory, &Book::default()).await;
            assert!(report.branches[0].result.is_done(), "{fault:?}: {report:?}");
            assert_eq!((memory.source("a").as_str(), memory.threads("a")), ("z", Threads::BOTH), "{fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_or_ignored_order_ends_the_branch_and_its_threads_run_again() {
    for (fault, error) in [(Fault::Refuses(2), "a:3306 refused: no"), (Fault::Lies(2), "replicates from p")] {
        let (memory, book) = (world(std::slice::from_ref(&fault)), Book::default());
        let report = run(&plan(vec![branch("a", "z", &memory)]), &memory, &book).await;
        let BranchResult::Failed { error: told, restore_errors } = &report.branches[0].result else {
            panic!("{report:?}")
        };
        assert!(told.contains(error) && restore_errors.is_empty(), "{fault:?}: {report:?}");
        assert_eq!((memory.source("a").as_str(), memory.threads("a")), ("p", Threads::BOTH), "{fault:?}");
        assert_eq!(book.begun(Part::Restore(0)), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_without_answer_is_judged_by_a_look() {
    for at in 1..=3 {
        let (memory, book) = (world(&[Fault::LosesAnswer(at)]), Book::default());
        let report = run(&plan(vec![branch("a", "z", &memory)]), &memory, &book).await;
        assert!(report.branches[0].result.is_done(), "{at}: {report:?}");
        assert_eq!(memory.sent(), 3, "nothing is sent twice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_does_not_hold_lets_nothing_be_sent() {
    let (memory, book) = (world(&[]), Book::default());
    let wrong = change("a", "z", Position::Auto).when(Condition::ReplicatesFrom { source: key("other") });
    let mut only = branch("a", "z", &memory);
    only.steps = vec![wrong];
    let report = run(&plan(vec![only]), &memory, &book).await;
    assert!(
        matches!(&report.branches[0].result, BranchResult::NotBegun(why) if why.contains("receiver")),
        "{report:?}"
    );
    assert!(memory.sent() == 0 && !report.touched && book.begun(Part::Restore(0)) == 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_lock_or_ledger_stops_everything_without_putting_back() {
    for after in 0..3 {
        for away in [false, true] {
            let memory = Memory::new(
                &[
                    ("p", ServerFacts::default()),
                    ("z", replica_of("p")),
                    ("a", replica_of("p")),
                    ("b", replica_of("p")),
                ],
                &[],
            );
            let mut book = Book { lost_after: Some(after), ..Book::default() };
            if away {
                book = Book { away_after: Some(after), ..Book::default() };
            }
            let mut plan = plan(vec![branch("a", "z", &memory), branch("b", "z", &memory)]);
            plan.tail = vec![start("z")];
            let options = Options { max_parallel: 1, ..Options::default() };
            let report = execute(&plan, &memory, &book, &options).await;
            let ended_so = match &report.ending {
                Ending::Fenced(_) => !away,
                Ending::LedgerAway(_) => away,
                _ => false,
            };
            assert!(ended_so, "{report:?}");
            assert_eq!(memory.sent(), after, "one order for each step that was allowed");
            assert_eq!(book.begun(Part::Restore(0)) + book.begun(Part::Tail), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_end_cannot_be_recorded_is_the_last() {
    for silent_from in 0..3 {
        let (memory, book) = (world(&[]), Book { silent_from: Some(silent_from), ..Book::default() });
        let mut plan = plan(vec![branch("a", "z", &memory)]);
        plan.tail = vec![start("z")];
        let report = run(&plan, &memory, &book).await;
        assert!(matches!(report.ending, Ending::LedgerAway(_)), "{report:?}");
        assert_eq!(memory.sent(), silent_from + 1, "what was sent stays, nothing follows");
        let rows = book.rows.lock().unwrap();
        assert_eq!(rows.len(), silent_from + 1, "{rows:?}");
        assert!(rows[silent_from].2.is_none() && rows[..silent_from].iter().all(|row| row.2 == Some(Ok(()))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hung_server_costs_bounded_time_and_harms_no_other() {
    let memory = Memory::new(
        &[("p", ServerFacts::default()), ("z", replica_of("p")), ("a", replica_of("p")), ("b", replica_of("p"))],
        &[],
    );
    let plan = plan(vec![branch("a", "z", &memory), branch("b", "z", &memory)]);
    let memory = Memory { faults: vec![Fault::Hangs(key("a"))], ..memory };
    let (began, book) = (Instant::now(), Book::default());
    let report = run(&plan, &memory, &book).await;
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(report.branches[0].result.error().unwrap().contains("a:3306"), "{report:?}");
    assert!(report.branches[1].result.is_done());
    assert_eq!(memory.source("b"), "z");
}

#[tokio::test(start_paused = true)]
async fn branches_run_side_by_side_within_the_limit_and_fail_alone() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut servers = vec![("p", ServerFacts::default()), ("z", replica_of("p"))];
    servers.extend(names.iter().map(|name| (*name, replica_of("p"))));
    let memory = Memory::new(&servers, &[]);
    let plan = plan(names.iter().map(|name| branch(name, "z", &memory)).collect());
    let mut options = Options { max_parallel: 3, ..Options::default() };
    options.withheld.insert(key("c"), "held by somebody".to_owned());
    let report = execute(&plan, &memory, &Book::default(), &options).await;
    let most = memory.under_way.lock().unwrap().map(|(_, most)| most);
    assert!(most == [2, 3] || most == [3, 3], "{most:?}");
    let done: BTreeSet<&str> =
        report.branches.iter().filter(|one| one.result.is_done()).map(|one| one.instance.hostname.as_str()).collect();
    assert_eq!(done, BTreeSet::from(["a", "b", "d", "e", "f"]));
    assert_eq!(report.branches[2].result, BranchResult::NotBegun("held by somebody".to_owned()));
    assert_eq!(memory.source("c"), "p");
}

#[tokio::test(start_paused = true)]
async fn the_next_branch_begins_while_the_one_before_connects() {
    let servers =
        [("p", ServerFacts::default()), ("a", replica_of("p")), ("b", replica_of("p")), ("z", replica_of("p"))];
    let memory = Memory::new(&servers, &[]);
    let plan = plan(vec![branch("a", "z", &memory), branch("b", "z", &memory)]);
    let options = Options { max_parallel: 1, ..Options::default() };
    let begun = Instant::now();
    let report = execute(&plan, &memory, &Book::default(), &options).await;
    assert!(report.branches.iter().all(|one| one.result.is_done()), "{report:?}");
    // Six orders of 100 ms each, of which two are under way at the same time, and 100 ms to see that what was started last stays so.
    assert!(begun.elapsed() < Duration::from_millis(700), "{:?}", begun.elapsed());
    assert_eq!(memory.under_way.lock().unwrap().map(|(_, most)| most), [1, 1], "one is changed, one connects");
}

#[tokio::test(start_paused = true)]
async fn one_lucky_look_is_no_running_replica() {
    // (error before the start, its applier fails after, found out)
    for (before, after, is_found) in [("", 50, true), ("", 300, false), ("duplicate key", 900, true)] {
        let mut facts = replica_of("p");
        let replica = facts.replica.as_mut().unwrap();
        replica.sql_thread = ThreadState::Stopped;
        before.clone_into(&mut replica.last_sql_error);
        let faults = [Fault::FailsLater(1, Duration::from_millis(after))];
        let memory = Memory::new(&[("p", ServerFacts::default()), ("a", facts)], &faults);
        let branch = Branch {
            instance: key("a"),
            new_source: None,
            locks: vec![key("a")],
            steps: vec![start("a")],
            restore: vec![],
        };
        let report = run(&plan(vec![branch]), &memory, &Book::default()).await;
        assert_eq!(report.branches[0].result.is_done(), !is_found, "{before} {after}: {report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn cancelling_stops_before_the_next_step_and_puts_back() {
    let memory = world(&[]);
    let token = CancellationToken::new();
    let options = Options { cancelled: token.clone(), ..Options::default() };
    let plan = plan(vec![branch("a", "z", &memory)]);
    let book = Book::default();
    let canceller = async {
        while memory.sent() < 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        token.cancel();
    };
    let (report, ()) = tokio::join!(execute(&plan, &memory, &book, &options), canceller);
    assert_eq!(report.ending, Ending::Cancelled);
    assert_eq!((memory.source("a").as_str(), memory.threads("a")), ("p", Threads::BOTH));
    assert_eq!(book.begun(Part::Branch(0)), 1);
}

#[tokio::test(start_paused = true)]
async fn the_tail_follows_a_failed_head_and_failed_branches() {
    // The head stops the source, each branch runs up to its end, the tail starts it again.
    for refused in [1, 2] {
        let memory = world(&[Fault::Refuses(refused)]);
        let mut plan = plan(vec![branch("a", "z", &memory)]);
        plan.head = vec![stop("z")];
        plan.tail = vec![start("z")];
        let book = Book::default();
        let report = run(&plan, &memory, &book).await;
        assert_eq!(memory.threads("z"), Threads::BOTH, "{report:?}");
        assert_eq!(book.begun(Part::Tail), 1);
        assert_eq!(book.begun(Part::Branch(0)), usize::from(refused == 2), "no branch after a failed head");
        assert!(!report.branches[0].result.is_done());
    }
}

#[tokio::test(start_paused = true)]
async fn positions_are_read_when_the_step_begins_and_remembered_as_equal() {
    let (memory, book) = (world(&[]), Book::default());
    let mut only = branch("a", "z", &memory);
    let moving = change("a", "z", Position::EndOf(key("z")));
    only.steps = vec![stop("a"), moving, start("a")];
    let report = run(&plan(vec![only]), &memory, &book).await;
    assert!(report.branches[0].result.is_done(), "{report:?}");
    let at = BinlogCoordinates { file: "own.7".to_owned(), position: 700 };
    let sent = memory.sent.lock().unwrap();
    assert!(
        matches!(&sent[1].1, Action::ChangeSource { position: Position::At(found), .. } if *found == at),
        "{sent:?}"
    );
    assert_eq!(*book.equivalent.lock().unwrap(), [(key("p"), key("z"))]);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_forgets_its_source_tells_where_its_siblings_go_on() {
    for (in_order, expected) in [(true, vec![(key("p"), key("a"))]), (false, Vec::new())] {
        let (memory, book) = (world(&[]), Book::default());
        memory.change(&key("a"), &Action::Stop { threads: Threads::BOTH });
        {
            let mut servers = memory.servers.lock().unwrap();
            let own = servers.get_mut(&key("a")).unwrap();
            (own.log_replica_updates, own.binlog.file) = (true, "own.7".to_owned());
            let replica = own.replica.as_mut().unwrap();
            (replica.auto_position, replica.applies_out_of_order) = (false, Some(!in_order));
        }
        let mut only = branch("a", "z", &memory);
        only.steps = vec![Step::new(&key("a"), Action::ResetReplica, 10)];
        run(&plan(vec![only]), &memory, &book).await;
        assert_eq!(*book.equivalent.lock().unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn draining_a_stopped_applier_fails_at_once() {
    let memory = world(&[]);
    memory.change(&key("a"), &Action::Stop { threads: Threads::SQL });
    memory.servers.lock().unwrap().get_mut(&key("a")).unwrap().replica.as_mut().unwrap().read.position = 900;
    let mut only = branch("a", "z", &memory);
    only.steps = vec![Step::new(&key("a"), Action::Drain, 300).then(Condition::Drained)];
    only.restore = Vec::new();
    let began = Instant::now();
    let report = run(&plan(vec![only]), &memory, &Book::default()).await;
    assert!(report.branches[0].result.error().unwrap().contains("applier does not run"), "{report:?}");
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(memory.sent(), 0, "waiting is not an order");
}

#[tokio::test(start_paused = true)]
async fn what_a_source_names_late_is_waited_for_but_not_for_long() {
    let sent = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5";
    for (names_it_after, done) in [(300, true), (5_000, false)] {
        let memory = world(&[]);
        memory.servers.lock().unwrap().get_mut(&key("a")).unwrap().gtid.executed = sent.to_owned();
        let mut only = branch("a", "z", &memory);
        only.steps = vec![stop("a").when(Condition::ExecutedIsIn { other: key("z") })];
        only.restore = Vec::new();
        let (plan, book) = (plan(vec![only]), Book::default());
        let late = async {
            tokio::time::sleep(Duration::from_millis(names_it_after)).await;
            memory.servers.lock().unwrap().get_mut(&key("z")).unwrap().gtid.executed = sent.to_owned();
        };
        let (report, ()) = tokio::join!(run(&plan, &memory, &book), late);
        assert_eq!((report.branches[0].result == BranchResult::Done, memory.sent() == 1), (done, done), "{report:?}");
        if !done {
            assert!(report.branches[0].result.error().unwrap().contains("lacks what"), "{report:?}");
        }
    }
}
