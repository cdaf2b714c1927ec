//! Plans as people read them.

use super::*;
use crate::instance::InstanceKey;
use crate::plan::{Refusal, Rule, SourceOptions};

fn key(name: &str) -> InstanceKey {
    InstanceKey::new(name, 3306)
}

fn move_below(name: &str, to: &str) -> Branch {
    let (own, to) = (key(name), key(to));
    let change = Action::ChangeSource { to: to.clone(), position: Position::Auto, options: SourceOptions::default() };
    Branch {
        instance: own.clone(),
        new_source: Some(to.clone()),
        locks: vec![own.clone()],
        steps: vec![
            Step::new(&own, Action::Stop { threads: Threads::IO }, 10)
                .when(Condition::Server { server_id: 3, server_uuid: String::new() }),
            Step::new(&own, Action::Drain, 60),
            Step::new(&own, Action::Stop { threads: Threads::SQL }, 10),
            Step::new(&own, change, 10)
                .when(Condition::Threads { running: Threads::NONE })
                .when(Condition::Drained)
                .then(Condition::ReplicatesFrom { source: to }),
            Step::new(&own, Action::Start { threads: Threads::BOTH }, 10)
                .then(Condition::Replicating { threads: Threads::BOTH }),
        ],
        restore: vec![Step::new(&own, Action::Start { threads: Threads::BOTH }, 10)],
    }
}

fn bulk() -> Plan {
    let request = Request::RelocateReplicas { of: key("a"), below: key("b"), pattern: "^db-".to_owned() };
    let mut plan = Plan::in_place(request, key("b"), Vec::new());
    plan.method = Method::Gtid;
    plan.because = "all of them and b:3306 use GTID".to_owned();
    plan.warnings = vec!["db-1:3306 is downtimed: it is moved all the same".to_owned()];
    plan.head = vec![Step::new(&key("b"), Action::Stop { threads: Threads::BOTH }, 10)];
    plan.branches = vec![move_below("db-1", "b"), move_below("db-long-name", "b")];
    plan.tail = vec![Step::new(&key("b"), Action::Start { threads: Threads::BOTH }, 10)];
    plan.left_out =
        vec![Refusal::new(Rule::Delayed, &key("db-3"), "db-3:3306 is delayed by 3600 s", "end its delay first")];
    plan
}

#[test]
fn a_plan_reads_as_a_list() {
    insta::assert_snapshot!(bulk().to_text(Detail::Steps), @r#"
relocate-replicas a:3306 below b:3306, only those that match "^db-"
method: GTID: all of them and b:3306 use GTID
warning: db-1:3306 is downtimed: it is moved all the same
steps:
   1. b:3306             stop receiver and applier
  db-1:3306 below b:3306:
       2. db-1:3306          stop receiver
       3. db-1:3306          wait until everything received is applied
       4. db-1:3306          stop applier
       5. db-1:3306          replicate from b:3306, beginning at auto-position
       6. db-1:3306          start receiver and applier, see it running
      if a step fails:
        - db-1:3306          start receiver and applier, see it running
  db-long-name:3306 below b:3306:
       7. db-long-name:3306  stop receiver
       8. db-long-name:3306  wait until everything received is applied
       9. db-long-name:3306  stop applier
      10. db-long-name:3306  replicate from b:3306, beginning at auto-position
      11. db-long-name:3306  start receiver and applier, see it running
      if a step fails:
        - db-long-name:3306  start receiver and applier, see it running
  12. b:3306             start receiver and applier, see it running
left where they are:
  db-3:3306 is delayed by 3600 s (delayed)
    remedy: end its delay first
"#);
}

#[test]
fn conditions_are_told_on_request() {
    let mut plan = bulk();
    (plan.head, plan.tail) = (Vec::new(), Vec::new());
    plan.branches.truncate(1);
    plan.left_out.clear();
    insta::assert_snapshot!(plan.to_text(Detail::Conditions), @r#"
relocate-replicas a:3306 below b:3306, only those that match "^db-"
method: GTID: all of them and b:3306 use GTID
locked throughout: b:3306
warning: db-1:3306 is downtimed: it is moved all the same
steps:
  locked: db-1:3306
   1. db-1:3306  stop receiver
        only if it is the server with id 3
        within 10 s
   2. db-1:3306  wait until everything received is applied
        within 60 s
   3. db-1:3306  stop applier
        within 10 s
   4. db-1:3306  replicate from b:3306, beginning at auto-position
        only if both threads are stopped
        only if everything received is applied
        verified: it replicates from b:3306
        within 10 s
   5. db-1:3306  start receiver and applier, see it running
        verified: running: receiver and applier
        within 10 s
  if a step fails:
    - db-1:3306  start receiver and applier, see it running
"#);
}

#[test]
fn a_request_names_its_arguments() {
    let shown = [
        Request::DelayReplication { instance: key("a"), seconds: 60 },
        Request::PurgeBinaryLogs { instance: key("a"), until: "bin.000002".to_owned(), force: true },
        Request::KillQuery { instance: key("a"), id: 7 },
        Request::Repoint { instance: key("a"), below: None },
        Request::Repoint { instance: key("a"), below: Some(key("b")) },
        Request::Recover { failed: key("a"), recovery: 7 },
    ];
    let shown: Vec<String> = shown.iter().map(ToString::to_string).collect();
    let expected = [
        "delay-replication a:3306 by 60 s",
        "purge-binary-logs a:3306 to bin.000002, whatever its replicas need",
        "kill-query a:3306, connection 7",
        "repoint a:3306",
        "repoint a:3306 below b:3306",
        "recover a:3306, recovery 7",
    ];
    assert_eq!(shown, expected);
}
