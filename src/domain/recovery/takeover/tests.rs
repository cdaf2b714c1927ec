//! The rules by the smallest world that breaks them; the plans; and worlds in which somebody died half-way.

use std::collections::BTreeSet;

use super::*;
use crate::instance::Instance;
use crate::operation::fixture::{Fixture, key, lines};
use crate::plan::check;
use crate::recovery::scene::RecoveryPolicy;

/// What a [`Scene`] borrows besides the world.
#[derive(Default)]
struct Case {
    fixture: Fixture,
    requested: Option<InstanceKey>,
    choice: Option<Choice>,
    banned: BTreeSet<InstanceKey>,
    opening_begun: bool,
    had_semi_sync: bool,
}

fn case(text: &str) -> Case {
    Case { fixture: Fixture::new(text), ..Case::default() }
}

impl Case {
    fn naming(mut self, name: &str) -> Self {
        self.requested = Some(key(name));
        self
    }

    /// An earlier run chose this one.
    fn chosen(mut self, name: &str, followers: &[&str]) -> Self {
        self.choice = Some(choice(name, followers));
        self
    }

    fn with<T>(&self, act: impl FnOnce(&Scene<'_>) -> T) -> T {
        let (world, policy) = (self.fixture.world(), RecoveryPolicy::default());
        let failed = key("a");
        let request = Request::Recover { failed: failed.clone(), recovery: 7 };
        act(&Scene {
            world: &world,
            failed: &failed,
            requested: self.requested.as_ref(),
            earlier_choice: self.choice.as_ref(),
            opening_begun: self.opening_begun,
            banned: &self.banned,
            policy: &policy,
            request: &request,
            force: false,
            had_semi_sync: self.had_semi_sync,
        })
    }

    fn designate(&self, variant: Variant) -> Result<Choice, Refusal> {
        self.with(|scene| designate(scene, variant))
    }

    fn shown(&self, plan: impl FnOnce(&Scene<'_>, &Choice) -> Result<Option<Plan>, Refusal>) -> Vec<String> {
        let choice = self.choice.clone().expect("a choice");
        match self.with(|scene| plan(scene, &choice)) {
            Ok(Some(plan)) => {
                assert_eq!(check(&plan), Ok(()), "{}", plan.to_text(crate::plan::Detail::Conditions));
                lines(&plan)
            }
            Ok(None) => vec!["nothing".to_owned()],
            Err(refusal) => vec![refusal.rule.word()],
        }
    }
}

fn choice(name: &str, followers: &[&str]) -> Choice {
    Choice {
        successor: key(name),
        catch_up_from: None,
        considered: Vec::new(),
        followers: followers.iter().map(|name| key(name)).collect(),
        lost: Vec::new(),
        because: String::new(),
        warnings: Vec::new(),
    }
}

fn refuses(case: &Case, variant: Variant, rule: Rule, named: &str) {
    let refusal = case.designate(variant).expect_err("a refusal");
    assert_eq!(refusal.rule, rule, "{refusal}");
    assert!(refusal.reason.contains(named) && !refusal.remedy.is_empty(), "{named:?} is not in: {refusal}");
}

/// b is named; one word about it (first), the primary (second) or its sibling (third) forbids it.
const FORBIDDEN: &[(&str, &str, &str, Rule, &str)] = &[
    ("rule=must_not", "", "", Rule::NoCandidate, "must_not"),
    ("downtimed", "", "", Rule::Downtimed, "ann: disk"),
    ("delay=60", "", "", Rule::Delayed, "60 s"),
    ("sql=no", "", "", Rule::NotReplicating, "does not run"),
    ("sql=broken", "", "", Rule::NotReplicating, "duplicate key"),
    ("io=connecting", "", "", Rule::NotReplicating, "not connected"),
    ("lag=21", "", "", Rule::Lagging, "21 s"),
    ("lag=null", "", "", Rule::Lagging, "unknown"),
    ("nogtid", "", "", Rule::NoSharedGtid, "file and position"),
    ("", "mode=OFF", "", Rule::NoSharedGtid, "OFF"),
    ("nolog", "", "", Rule::BinaryLogOff, "b:3306"),
    ("norelay", "", "", Rule::DoesNotRelay, "b:3306"),
    ("executed=a:1-100,b:1", "", "", Rule::ErrantGtid, ":1"),
    ("version=8.4.2", "", "", Rule::LowerVersion, "8.0.36"),
    ("dead", "", "", Rule::Unreachable, "b:3306"),
    ("channels", "", "", Rule::SeveralChannels, "other"),
    ("", "dead", "", Rule::Unreachable, "a:3306"),
    ("", "stale", "", Rule::StaleFacts, "a:3306"),
    ("", "head=a", "", Rule::GroupSecondary, "replication group"),
    ("", "", "dead", Rule::Unreachable, "c:3306 cannot follow b:3306"),
    ("", "", "executed=a:1-100,c:1", Rule::ErrantGtid, "c:3306 cannot follow"),
    ("", "", "version=5.7.44", Rule::LowerVersion, "5.7.44"),
    ("", "", "executed=a:1-90 retrieved=a:1-105 sql=broken", Rule::UnappliedRelayLog, "duplicate key"),
];

#[test]
fn a_takeover_is_refused_each_time_by_its_rule() {
    for (b, a, c, rule, named) in FORBIDDEN {
        let world = format!("a {a}\n  b {b}\n  c {c}");
        refuses(&case(&world).naming("b"), Variant::Plain, *rule, named);
    }
    let mut banned = case("a\n  b").naming("b");
    banned.banned.insert(key("b"));
    refuses(&banned, Variant::Plain, Rule::NoCandidate, "PromotionIgnoreHostnameFilters");
    case("a\n  b\n  c").naming("b").designate(Variant::Plain).expect("a healthy one");
}

#[test]
fn who_is_named_is_a_direct_replica_of_the_head() {
    refuses(&case("a\n  b\n    c").naming("c"), Variant::Plain, Rule::NotSiblings, "no direct replica");
    refuses(&case("a\n  b").naming("x"), Variant::Plain, Rule::UnknownInstance, "x:3306");
    refuses(&case("a\n  b").naming("a"), Variant::Plain, Rule::NotSiblings, "a:3306");
    refuses(&case("a"), Variant::Auto, Rule::NoCandidate, "no replica");
    refuses(&case("z\n  a\n    b"), Variant::Auto, Rule::IsAReplica, "z:3306");
    refuses(&case("a from=b\n  b"), Variant::Auto, Rule::CoPrimary, "each other");
    refuses(&case("a\n  b\n  c"), Variant::Plain, Rule::BadArgument, "b:3306, c:3306");
    assert_eq!(case("a\n  b").designate(Variant::Plain).expect("the only one").successor, key("b"));
}

#[test]
fn the_best_is_designated() {
    let of = |world: &str| case(world).designate(Variant::Auto).map(|choice| choice.successor.hostname);
    assert_eq!(of("a\n  b\n  c"), Ok("b".to_owned()));
    assert_eq!(of("a\n  b\n  c rule=prefer"), Ok("c".to_owned()));
    assert_eq!(of("a\n  b rule=prefer_not\n  c"), Ok("c".to_owned()));
    assert_eq!(of("a dc=x\n  b dc=y\n  c dc=x"), Ok("c".to_owned()));
    assert_eq!(of("a dc=x\n  b dc=y rule=prefer\n  c dc=x"), Ok("b".to_owned()));
    assert_eq!(of("a\n  b lag=9\n  c"), Ok("c".to_owned()));
    // Below b, c could not follow: it is older.
    assert_eq!(of("a version=8.0.36\n  b version=8.4.0\n  c"), Ok("c".to_owned()));
    let judged = case("a\n  b rule=must_not\n  c\n  d lag=3").designate(Variant::Auto).expect("a choice");
    let verdicts: Vec<String> = judged.considered.iter().map(|one| format!("{} {:?}", one.key, one.verdict)).collect();
    assert_eq!(verdicts[..2], ["c:3306 Chosen", "d:3306 Eligible"]);
    assert!(verdicts[2].starts_with("b:3306 Rejected { rule: NoCandidate"), "{verdicts:?}");
    assert_eq!(judged.followers, [key("b"), key("d")]);
    refuses(&case("a\n  b rule=must_not\n  c lag=99"), Variant::Auto, Rule::NoCandidate, "none of 2");
    // Who was chosen stays chosen.
    let again = case("a\n  b\n    c").chosen("b", &["c"]).designate(Variant::Auto).expect("a choice");
    assert_eq!(again.successor, key("b"));
}

#[test]
fn a_downtimed_sibling_is_given_up_and_told_about() {
    let choice = case("a\n  b\n  c dead downtimed").naming("b").designate(Variant::Plain).expect("a choice");
    assert!(choice.followers.is_empty() && choice.lost[0].0 == key("c"), "{choice:?}");
    assert_eq!(choice.warnings.len(), 1);
    let case = Case { choice: Some(choice), ..case("a\n  b\n  c dead downtimed") };
    assert_eq!(case.shown(prepare), ["nothing"]);
    assert_eq!(case.shown(switch).len(), 4);
}

#[test]
fn auto_needs_credentials_for_the_old_primary() {
    refuses(&case("a\n  b nocred"), Variant::Auto, Rule::NoCredentials, "a:3306");
    case("a\n  b nocred").designate(Variant::Plain).expect("it is left stopped");
}

#[test]
fn the_whole_way_of_mysql() {
    let tree = case("a\n  b\n  c\n  d").chosen("b", &["c", "d"]);
    let prepared = tree.shown(prepare);
    assert_eq!(prepared.len(), 8, "{prepared:#?}");
    assert_eq!(tree.shown(switch), ["not-replicating"], "nobody is left behind");
    let chain = || case("a\n  b\n    c\n    d").chosen("b", &["c", "d"]);
    assert_eq!(chain().shown(prepare), ["nothing"]);
    let pause = [
        "a: refuse the writes of everybody, however privileged",
        "b: wait until everything received is applied",
        "b: stop receiver and applier",
        "b: set read_only and super_read_only off",
    ];
    assert_eq!(chain().shown(switch), pause);
    chain().with(|scene| {
        let plan = switch(scene, &choice("b", &[])).expect("a plan").expect("steps");
        assert_eq!(write_pause(&plan), Some((0, 3)));
        assert!(plan.because.contains("pause"), "{}", plan.because);
    });
    assert_eq!(chain().shown(|scene, choice| demote(scene, choice, Variant::Auto)), ["primary-alive"]);
    let switched = || case("a ro\n  b rw io=no sql=no\n    c\n    d").chosen("b", &["c", "d"]);
    assert_eq!(switched().shown(switch), ["nothing"]);
    let demoted = [
        "a: take the replication user and password of b",
        "b: forget the source and its relay logs",
        "a: replicate from b, beginning at auto-position",
    ];
    let shown = switched().shown(|scene, choice| demote(scene, choice, Variant::Plain));
    assert_eq!(shown, demoted);
    let shown = switched().shown(|scene, choice| demote(scene, choice, Variant::Auto));
    assert_eq!(shown[..3], demoted);
    assert_eq!(shown[3], "a: start receiver and applier, see it running");
    let done = case("b rw\n  a\n  c\n  d").chosen("b", &["c", "d"]);
    for variant in [Variant::Plain, Variant::Auto] {
        assert_eq!(done.shown(|scene, choice| demote(scene, choice, variant)), ["nothing"]);
    }
}

#[test]
fn mariadb_skips_what_it_wrote_itself() {
    let switched = case("a mariadb ro\n  b mariadb rw io=no sql=no").chosen("b", &[]);
    let shown = switched.shown(|scene, choice| demote(scene, choice, Variant::Auto));
    assert_eq!(shown[2], "a: replicate from b, beginning at its own current_pos");
    assert_eq!(case("a mariadb\n  b mariadb").chosen("b", &[]).shown(switch).len(), 4);
}

#[test]
fn semi_sync_goes_with_the_role() {
    let plugins = |one: &mut Instance| {
        one.facts.semi_sync.source_plugin = Some(crate::instance::PluginNaming::SourceReplica);
        one.facts.semi_sync.replica_plugin = Some(crate::instance::PluginNaming::SourceReplica);
    };
    let with = |text: &str, clients: u64| {
        let fixture = Fixture::new(text).edit("a", plugins).edit("b", plugins);
        let fixture = fixture.edit("a", |a| a.facts.semi_sync.source_enabled = true);
        let fixture = fixture.edit("b", |b| {
            (b.facts.semi_sync.replica_enabled, b.facts.semi_sync.source_clients) = (true, clients);
        });
        Case { fixture, ..Case::default() }.chosen("b", &["c"])
    };
    let on = "b: switch semi-sync on (source side)".to_owned();
    let shown = with("a\n  b\n    c", 1).shown(switch);
    assert_eq!((&shown[3], shown.len()), (&on, 5), "before it takes writes");
    // Nobody would acknowledge: every commit would wait until the old primary does.
    assert!(!with("a\n  b\n    c", 0).shown(switch).contains(&on));
    let shown = with("a ro\n  b rw io=no sql=no\n    c", 0).shown(|scene, choice| demote(scene, choice, Variant::Auto));
    assert_eq!(shown[3..5], ["a: switch semi-sync off (source side)", "a: switch semi-sync on (replica side)"]);
    assert_eq!(shown[5..], ["a: start receiver and applier, see it running".to_owned(), on]);
}

#[test]
fn half_done_worlds_are_finished() {
    // Died after closing; after stopping; after the credentials; after the new primary forgot; after the change.
    let closed = case("a ro\n  b").chosen("b", &[]);
    assert_eq!(closed.shown(switch).len(), 4);
    let mut stopped = case("a ro\n  b io=no sql=no").chosen("b", &[]);
    stopped.fixture = stopped.fixture.resumed(&["b"]);
    assert_eq!(stopped.shown(switch).len(), 2, "close again, open");
    let mut behind = case("a ro executed=a:1-105\n  b io=no sql=no").chosen("b", &[]);
    behind.fixture = behind.fixture.resumed(&["b"]);
    assert_eq!(behind.shown(switch).len(), 5, "start again first");
    let forgot = case("a ro\nb rw").chosen("b", &[]);
    let shown = forgot.shown(|scene, choice| demote(scene, choice, Variant::Auto));
    assert_eq!(
        shown,
        ["a: replicate from b, beginning at auto-position", "a: start receiver and applier, see it running"]
    );
    let changed = case("b rw\n  a io=no sql=no").chosen("b", &[]);
    let shown = changed.shown(|scene, choice| demote(scene, choice, Variant::Auto));
    assert_eq!(shown, ["a: start receiver and applier, see it running"]);
    // Somebody wrote to the old primary after it was left.
    let errant = case("a ro executed=a:1-101\n  b rw io=no sql=no").chosen("b", &[]);
    assert_eq!(errant.shown(|scene, choice| demote(scene, choice, Variant::Auto)), ["errant-gtid"]);
}

#[test]
fn a_rollback_restores_fully() {
    let back = |case: &Case, reopen| case.shown(|scene, choice| rollback(scene, choice, reopen));
    assert_eq!(back(&case("a\n  b\n  c").chosen("b", &["c"]), Reopen::Yes), ["nothing"]);
    let open = "a: set read_only and super_read_only off";
    assert_eq!(back(&case("a ro\n  b").chosen("b", &[]), Reopen::Yes), [open]);
    assert_eq!(back(&case("a ro\n  b").chosen("b", &[]), Reopen::No), ["nothing"]);
    let mut stopped = case("a ro\n  b io=no sql=no\n    c").chosen("b", &["c"]);
    stopped.fixture = stopped.fixture.resumed(&["b", "c"]);
    let shown = back(&stopped, Reopen::Yes);
    assert_eq!(shown[..2], [open, "b: start receiver and applier, see it running"]);
    assert_eq!(shown.last().expect("steps"), "c: start receiver, see it running");
    assert!(shown.contains(&"c: replicate from a, beginning at auto-position".to_owned()), "{shown:?}");
    // It died on the way, and was never opened: the old primary opens, and the dead one is told about.
    assert_eq!(back(&case("a ro\n  b dead\n  c").chosen("b", &["c"]), Reopen::Yes), [open]);
    // It was, or may have been, opened.
    let switched = case("a ro\n  b rw io=no sql=no").chosen("b", &[]);
    assert_eq!(back(&switched, Reopen::Yes), ["would-write-twice"]);
    let maybe = Case { opening_begun: true, ..case("a ro\n  b dead").chosen("b", &[]) };
    assert_eq!(back(&maybe, Reopen::Yes), ["would-write-twice"]);
    let begun = Case { opening_begun: true, ..case("a ro\n  b io=no sql=no").chosen("b", &[]) };
    assert_eq!(back(&begun, Reopen::Yes).len(), 2, "it was not opened: that can be seen");
}
