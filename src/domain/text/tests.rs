//! The drawings, character for character.

use super::*;
use crate::instance::{CheckState, Downtime, GroupFacts, ReplicaFacts, ServerFacts, ThreadState};

const NOW: i64 = 1_000_000_000;
const JUDGEMENT: Judgement =
    Judgement { now: NOW, poll_seconds: 5, reasonable_lag_seconds: 10, maintenance_lag_seconds: 20 };

fn key(name: &str) -> InstanceKey {
    InstanceKey::new(name, 3306)
}

fn instance(name: &str, source: Option<&str>) -> Instance {
    let replica = source.map(|source| ReplicaFacts {
        source: key(source),
        io_thread: ThreadState::Running,
        sql_thread: ThreadState::Running,
        auto_position: true,
        seconds_behind: Some(0),
        lag_seconds: Some(0),
        ..ReplicaFacts::default()
    });
    let mut facts = ServerFacts {
        version: "8.0.36".to_owned(),
        read_only: replica.is_some(),
        binlog_format: "ROW".to_owned(),
        log_bin: true,
        log_replica_updates: true,
        replica,
        ..ServerFacts::default()
    };
    facts.gtid.mode = "ON".to_owned();
    Instance {
        id: 1,
        key: key(name),
        lane: String::new(),
        facts,
        placement: crate::instance::Placement::default(),
        check: CheckState { last_checked_at: Some(NOW), last_seen_at: Some(NOW), ..CheckState::default() },
        downtime: None,
        promotion_rule: crate::promotion::PromotionRule::Neutral,
        unresolved_hostname: String::new(),
    }
}

fn downtimed(mut instance: Instance) -> Instance {
    instance.downtime =
        Some(Downtime { owner: "o".to_owned(), reason: "r".to_owned(), begins_at: 0, ends_at: NOW + 1 });
    instance
}

fn stopped(mut instance: Instance) -> Instance {
    if let Some(replica) = &mut instance.facts.replica {
        (replica.io_thread, replica.sql_thread) = (ThreadState::Stopped, ThreadState::Stopped);
        (replica.seconds_behind, replica.lag_seconds) = (None, None);
    }
    instance
}

fn shop() -> Vec<Instance> {
    let mut backup = downtimed(stopped(instance("db4", Some("db1"))));
    backup.facts.alias = "bkp".to_owned();
    vec![instance("db1", None), instance("db2", Some("db1")), instance("db3", Some("db2")), backup]
}

#[test]
fn plain_is_aligned_at_the_bracket() {
    let expected = "\
db1:3306         [0s,ok,8.0.36,rw,ROW,>>,GTID]
+ db2:3306       [0s,ok,8.0.36,ro,ROW,>>,GTID]
  + db3:3306     [0s,ok,8.0.36,ro,ROW,>>,GTID]
- db4:3306 (bkp) [null,nonreplicating,8.0.36,ro,ROW,>>,GTID,downtimed]";
    assert_eq!(draw(&shop(), Style::Plain, &TagMap::new(), &JUDGEMENT), expected);
}

#[test]
fn tabulated_pads_every_column_and_right_aligns_the_lag() {
    let expected = "\
db1:3306        |  0s|ok            |8.0.36|rw|ROW|>>,GTID          \n\
+ db2:3306      |  0s|ok            |8.0.36|ro|ROW|>>,GTID          \n  \
+ db3:3306    |  0s|ok            |8.0.36|ro|ROW|>>,GTID          \n\
- db4:3306 (bkp)|null|nonreplicating|8.0.36|ro|ROW|>>,GTID,downtimed";
    assert_eq!(draw(&shop(), Style::Tabulated, &TagMap::new(), &JUDGEMENT), expected);
}

#[test]
fn tags_follow_in_a_second_bracket() {
    let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let tags = TagMap::from([(key("db1"), vec![tag("in_service", ""), tag("role", "primary")])]);
    let expected = "\
db1:3306   [0s,ok,8.0.36,rw,ROW,>>,GTID] [in_service,role=primary]
+ db2:3306 [0s,ok,8.0.36,ro,ROW,>>,GTID] []";
    assert_eq!(draw(&shop()[..2], Style::Tags, &tags, &JUDGEMENT), expected);
}

#[test]
fn a_ring_of_two_is_drawn_side_by_side() {
    let mut ring = vec![instance("db1", Some("db2")), instance("db2", Some("db1")), instance("db3", Some("db1"))];
    ring[0].placement.is_co_primary = true;
    ring[1].placement.is_co_primary = true;
    ring[0].facts.read_only = false;
    let expected = "\
+ db1:3306   [0s,ok,8.0.36,rw,ROW,>>,GTID]
  + db3:3306 [0s,ok,8.0.36,ro,ROW,>>,GTID]
+ db2:3306   [0s,ok,8.0.36,ro,ROW,>>,GTID]";
    assert_eq!(draw(&ring, Style::Plain, &TagMap::new(), &JUDGEMENT), expected);
}

#[test]
fn every_root_and_every_longer_ring_is_drawn_once() {
    let lost = vec![
        instance("a", Some("gone")),
        instance("b", None),
        instance("r1", Some("r3")),
        instance("r2", Some("r1")),
        instance("r3", Some("r2")),
    ];
    let text = draw(&lost, Style::Plain, &TagMap::new(), &JUDGEMENT);
    assert_eq!(text.lines().count(), 5, "{text}");
}

#[test]
fn a_group_secondary_has_its_own_marker_and_hangs_below_the_primary() {
    let group = Some(GroupFacts { name: "g".to_owned(), primary: Some(key("db1")), ..GroupFacts::default() });
    let mut members = vec![instance("db1", None), instance("db2", None)];
    for member in &mut members {
        member.facts.group.clone_from(&group);
    }
    let text = draw(&members, Style::Plain, &TagMap::new(), &JUDGEMENT);
    assert!(text.lines().nth(1).is_some_and(|line| line.starts_with("\u{2021} db2:3306")), "{text}");
}

#[test]
fn unknown_stale_and_lagging_servers_say_so() {
    let mut never = instance("n", None);
    never.check = CheckState::default();
    assert_eq!(describe(&never, &JUDGEMENT)[..2], ["unknown".to_owned(), "invalid".to_owned()]);
    let stale = instance("s", Some("n"));
    let later = Judgement { now: NOW + 26_000_000, ..JUDGEMENT };
    assert_eq!(describe(&stale, &later)[..2], ["unknown".to_owned(), "unchecked".to_owned()]);
    let mut lagging = instance("l", Some("n"));
    if let Some(replica) = &mut lagging.facts.replica {
        (replica.seconds_behind, replica.lag_seconds) = (Some(21), Some(21));
    }
    assert_eq!(describe(&lagging, &JUDGEMENT)[..2], ["21s".to_owned(), "lag".to_owned()]);
    if let Some(replica) = &mut lagging.facts.replica {
        replica.sql_delay = 20;
    }
    assert_eq!(describe(&lagging, &JUDGEMENT)[1], "ok");
}

#[test]
fn an_alias_cannot_break_the_drawing() {
    let mut hostile = instance("h", None);
    hostile.facts.alias = "a|b\nc".to_owned();
    assert_eq!(draw(&[hostile], Style::Tabulated, &TagMap::new(), &JUDGEMENT).matches('|').count(), 6);
}
