//! Rules, places, vetoes, data and logs against each other, as tables.

use super::super::stage::Stage;
use super::F;
use crate::operation::fixture::key;
use crate::plan::Rule;

/// One world in which people would argue: the data center of the dead primary, its replicas p, x, y, z, and whom the original
/// promoted where it had chosen p at first.
struct Vector {
    home: &'static str,
    replicas: [&'static str; 4],
    original: &'static str,
    here: &'static str,
}

const fn same(home: &'static str, replicas: [&'static str; 4], both: &'static str) -> Vector {
    Vector { home, replicas, original: both, here: both }
}

const NY: &str = "dc=ny";
const SEATTLE: &str = "dc=seattle";

/// `docs/recovery-candidates.md` tells where the original chose otherwise.
const VECTORS: &[Vector] = &[
    same("ny", [NY, NY, NY, NY], "p"),
    same("ny", ["dc=ny rule=prefer", NY, NY, NY], "p"),
    same("ny", [NY, NY, NY, "dc=ny rule=prefer"], "z"),
    same("ny", [NY, "dc=ny rule=prefer", NY, NY], "x"),
    // It stayed with whom it had chosen first; the place of the dead one counts here.
    Vector { home: "ny", replicas: [SEATTLE, SEATTLE, NY, SEATTLE], original: "p", here: "y" },
    same("ny", [SEATTLE, "dc=seattle rule=prefer", NY, SEATTLE], "x"),
    same("ny", [SEATTLE, "dc=ny rule=prefer", SEATTLE, "dc=seattle rule=prefer"], "x"),
    same("ny", [SEATTLE, "dc=seattle rule=prefer", SEATTLE, "dc=ny rule=prefer"], "z"),
    same("ny", ["dc=seattle rule=prefer_not", SEATTLE, SEATTLE, NY], "z"),
    // Nobody who may is where the dead one was.
    same("seattle", ["dc=ny rule=prefer_not", NY, "dc=seattle rule=must_not", "dc=sf"], "x"),
    same("ny", ["dc=ny rule=prefer_not", NY, "dc=seattle rule=must_not", "dc=sf"], "x"),
    same("ny", [NY, NY, "dc=ny rule=prefer nolog", NY], "p"),
];

#[test]
fn vectors_of_rules_and_places() {
    for vector in VECTORS {
        let lines =
            vector.replicas.iter().zip(["p", "x", "y", "z"]).map(|(words, name)| format!("  {name} {F} {words}"));
        let world = format!("a dead dc={}\n{}", vector.home, lines.collect::<Vec<_>>().join("\n"));
        assert_eq!(Stage::new(&world).chosen(), vector.here, "{world}\nthe original: {}", vector.original);
    }
}

/// The same with the vetoes of places: who is elsewhere is nobody, whatever people wish.
#[test]
fn vectors_of_vetoes() {
    let home = |replicas: [&str; 3]| {
        let lines = replicas.iter().zip(["b", "c", "d"]).map(|(words, name)| format!("  {name} {F} {words}"));
        let mut stage = Stage::new(&format!("a dead dc=ny\n{}", lines.collect::<Vec<_>>().join("\n")));
        stage.policy.prevent_cross_data_center = true;
        stage
    };
    assert_eq!(home(["dc=sf rule=prefer", NY, NY]).judged(), ["c chosen", "d", "b forbidden"]);
    assert_eq!(home(["dc=sf rule=prefer", "dc=ny rule=prefer_not", "dc=ny rule=must_not"]).chosen(), "c");
    assert_eq!(home(["dc=sf rule=prefer", "dc=ny downtimed", NY]).chosen(), "d");
    // A downtime is a wish, not a veto; the place is one.
    assert_eq!(home(["dc=sf rule=prefer", "dc=ny downtimed", "dc=sf"]).chosen(), "c");
    let told = home(["dc=sf rule=prefer", "dc=ny rule=must_not", "dc=sf"]).refusal();
    assert!(told.reason.contains("PreventCrossDataCenterMasterFailover") && told.reason.contains("must_not"), "{told}");
    // Data of somebody who may not be promoted are fetched all the same.
    let ahead = home(["dc=sf executed=a:1-105", "dc=ny rule=must_not", NY]);
    assert_eq!(ahead.chosen(), "d < b");
    let ahead = home([NY, "dc=ny rule=must_not executed=a:1-105", NY]);
    assert_eq!(ahead.chosen(), "b < c");
}

#[test]
fn vectors_of_data_and_logs() {
    // By position, as the original compared: a and b equal, c behind.
    let replica = |name: &str, at: u64, more: &str| format!("  {name} mode=OFF nogtid {F} read={at} exec={at} {more}");
    let stage = |b: &str| {
        let lines = [replica("b", 10, "norelay"), replica("c", 10, b), replica("d", 4, "")];
        Stage::new(&format!("a dead\n{}", lines.join("\n")))
    };
    let choice = stage("").choose().expect("a choice");
    assert_eq!((choice.successor, choice.followers), (key("c"), vec![key("b")]));
    assert_eq!(choice.lost[0].0, key("d"));
    // The original chose d, which is behind, and lost the two others with their data.
    let choice = stage("rule=must_not").choose().expect("a choice");
    assert_eq!(choice.successor, key("b"));
    // By GTID the one that is behind follows, too.
    let world = format!("a dead\n  b {F} norelay\n  c {F}\n  d {F} executed=a:1-40 retrieved=a:1-40");
    let choice = Stage::new(&world).choose().expect("a choice");
    assert_eq!((choice.successor, choice.followers), (key("c"), vec![key("b"), key("d")]));
    // Nobody may.
    let must_not = "rule=must_not";
    let told = Stage::new(&format!("a dead\n  b {F} {must_not}\n  c {F} {must_not}\n  d {F} {must_not}")).refusal();
    assert_eq!((told.rule, told.reason.matches(must_not.trim_start_matches("rule=")).count()), (Rule::NoCandidate, 3));
}
