//! What came back, compared with what is there; `a` was the primary, `b` is.

use super::*;
use crate::operation::fixture::{Fixture, key, lines};
use crate::plan::check;

fn request() -> Request {
    Request::Recover { failed: key("a"), recovery: 7 }
}

fn judged(world: &str, promoted_at: &str) -> Judgement {
    let fixture = Fixture::new(world);
    judge(&fixture.instances[&key("a")], &fixture.instances[&key("b")], promoted_at)
}

fn shown(world: &str, promoted_at: &str) -> Vec<String> {
    let fixture = Fixture::new(world);
    match plan(&fixture.world(), &key("a"), &key("b"), promoted_at, &request()) {
        Ok(Some(plan)) => {
            assert_eq!(check(&plan), Ok(()), "{plan}");
            lines(&plan)
        }
        Ok(None) => vec!["nothing".to_owned()],
        Err(refusal) => vec![refusal.rule.word()],
    }
}

#[test]
fn it_is_closed_at_once() {
    let closed = |world: &str| {
        let fixture = Fixture::new(world);
        let plan = fence(&fixture.world(), &key("a"), &request()).expect("no refusal");
        plan.map(|plan| {
            assert_eq!(check(&plan), Ok(()));
            lines(&plan)
        })
    };
    assert_eq!(
        closed("a"),
        Some(vec!["a: refuse writes, ending connections whose commits wait for acknowledgements".to_owned()])
    );
    // Restarted read-only by its configuration: privileged users would write to it still.
    assert!(closed("a ro").is_some());
    assert!(closed("a mariadb").is_some());
    assert_eq!(closed("a mariadb ro"), None);
    let fixture = Fixture::new("a ro").edit("a", |a| a.facts.super_read_only = true);
    assert_eq!(fence(&fixture.world(), &key("a"), &request()), Ok(None));
}

#[test]
fn mysql_names_exactly_what_is_its_own() {
    assert_eq!(judged("a\nb executed=a:1-100,b:1-7", ""), Judgement::Contained);
    let own = "00000001-1111-1111-1111-111111111111:101-103:105";
    assert_eq!(judged("a executed=a:1-103:105\nb executed=a:1-100,b:1-7", ""), Judgement::Errant(own.to_owned()));
    assert_eq!(judged("a executed=\nb", ""), Judgement::Contained);
    assert!(matches!(judged("a mode=OFF\nb", ""), Judgement::Unknown(_)));
    assert!(matches!(judged("a mariadb\nb", ""), Judgement::Unknown(_)));
}

#[test]
fn numbers_of_mariadb_mean_nothing_beyond_the_promotion() {
    let at = "0-1-100";
    assert_eq!(judged("a mariadb=0-1-100\nb mariadb=0-2-107", at), Judgement::Contained);
    assert_eq!(judged("a mariadb=0-1-98\nb mariadb=0-2-107", at), Judgement::Contained);
    assert_eq!(judged("a mariadb=0-1-100\nb mariadb=0-1-100", ""), Judgement::Contained);
    // The successor has used the same numbers since.
    let errant = |set: &str| Judgement::Errant(set.to_owned());
    assert_eq!(judged("a mariadb=0-1-103\nb mariadb=0-2-107", at), errant("0-1-101..103"));
    assert_eq!(judged("a mariadb=0-1-101\nb mariadb=0-2-107", at), errant("0-1-101"));
    assert_eq!(judged("a mariadb=0-1-100,5-1-3\nb mariadb=0-2-107", at), errant("5-1-1..3"));
    // Promoted with the same number, written by somebody else.
    assert_eq!(judged("a mariadb=0-1-100\nb mariadb=0-2-107", "0-3-100"), errant("0-1-100"));
    assert!(matches!(judged("a mariadb=0-1-100\nb mariadb=0-2-107", ""), Judgement::Unknown(_)));
}

#[test]
fn a_clean_one_rejoins_with_the_credentials_of_a_replica() {
    let tree = "a ro\nb rw executed=a:1-100,b:1-7\n  c executed=a:1-100,b:1-7";
    let expected = [
        "a: take the replication user and password of c",
        "a: replicate from b, beginning at auto-position",
        "a: start receiver and applier, see it running",
    ];
    assert_eq!(shown(tree, ""), expected);
    let mariadb = shown("a mariadb ro\nb mariadb=0-2-107 rw\n  c mariadb=0-2-107", "0-1-100");
    assert_eq!(mariadb[1], "a: replicate from b, beginning at its own current_pos");
    assert_eq!(shown("b rw\n  a io=no sql=no\n  c", ""), ["a: start receiver and applier, see it running"]);
    assert_eq!(shown("b rw\n  a\n  c", ""), ["nothing"]);
}

#[test]
fn it_acknowledges_as_the_other_replicas_do() {
    let plugin = Some(crate::instance::PluginNaming::SourceReplica);
    let fixture =
        Fixture::new("a ro\nb rw\n  c").edit("c", |c| c.facts.semi_sync.replica_enabled = true).edit("a", |a| {
            let facts = &mut a.facts.semi_sync;
            (facts.replica_plugin, facts.source_plugin, facts.source_enabled) = (plugin, plugin, true);
        });
    let plan = plan(&fixture.world(), &key("a"), &key("b"), "", &request()).expect("no refusal").expect("a plan");
    assert_eq!(check(&plan), Ok(()), "{plan}");
    let shown = lines(&plan);
    assert_eq!(shown[2..4], ["a: switch semi-sync off (source side)", "a: switch semi-sync on (replica side)"]);
}

#[test]
fn what_is_not_clean_or_not_clear_is_left_alone() {
    assert_eq!(shown("a ro executed=a:1-101\nb rw\n  c", ""), ["errant-gtid"]);
    assert_eq!(shown("a mariadb=0-1-101 ro\nb mariadb=0-2-107 rw\n  c mariadb=0-2-107", "0-1-100"), ["errant-gtid"]);
    assert_eq!(shown("a mariadb ro\nb mariadb=0-2-107 rw\n  c mariadb=0-2-107", ""), ["no-shared-gtid"]);
    assert_eq!(shown("a\nb rw\n  c", ""), ["not-read-only"]);
    assert_eq!(shown("a ro\nb ro\n  c", ""), ["not-read-only"]);
    assert_eq!(shown("a ro\nz rw\n  b rw", ""), ["not-read-only"]);
    assert_eq!(shown("z rw\n  a\nb rw\n  c", ""), ["is-a-replica"]);
    assert_eq!(shown("a ro executed=a:1-90\nb rw purged=a:1-95\n  c", ""), ["purged-gtid"]);
    assert_eq!(
        shown("a mariadb ro nocred\nb mariadb=0-2-107 rw\n  c mariadb=0-2-107 nocred", "0-1-100"),
        ["no-credentials"]
    );
}
