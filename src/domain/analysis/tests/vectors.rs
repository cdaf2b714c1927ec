//! The vectors by which the original orchestrator's analysis is known, and what follows from its table. Where we differ, the
//! line says so; the reasons are in `docs/analyses.md`.

use super::*;

/// Replaces lines of the base: master m with direct replicas a, b, c; d replicates from a.
fn base(changes: &[(&str, &str)]) -> String {
    let words = |name: &str| {
        changes.iter().filter(|(on, _)| *on == name).map(|(_, words)| *words).collect::<Vec<_>>().join(" ")
    };
    format!("m {}\n  a {}\n    d {}\n  b {}\n  c {}\n", words("m"), words("a"), words("d"), words("b"), words("c"))
}

#[track_caller]
fn vector(changes: &[(&str, &str)], expected: &[&str]) {
    check(&base(changes), expected);
}

const IO_OFF: [(&str, &str); 3] = [("a", "io=no"), ("b", "io=no"), ("c", "io=no")];

fn io_off(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&IO_OFF, more].concat()
}

#[test]
fn a_healthy_cluster_is_no_news() {
    vector(&[], &[]);
}

#[test]
fn dead_primaries() {
    vector(&io_off(&[("m", "dead")]), &["m: DeadMaster"]);
    vector(&io_off(&[("m", "dead"), ("b", "dead"), ("c", "dead")]), &["m: DeadMasterAndSomeReplicas"]);
    check("m dead", &["m: DeadMasterWithoutReplicas"]);
    check("m dead\n a dead\n b dead", &["m: DeadMasterAndReplicas"]);
    // We differ: it is alive, and none replicates from it.
    vector(
        &io_off(&[("m", "alive_but=access_denied")]),
        &["m: AllMasterReplicasNotReplicating, LoginRefusedStructureWarning"],
    );
}

#[test]
fn unreachable_primaries() {
    vector(&[("m", "dead")], &["m: UnreachableMaster"]);
    // We differ: it is said why it does not answer.
    vector(&[("m", "alive_but=statement")], &["m: ChecksRefusedStructureWarning"]);
    vector(
        &[("m", "alive_but=statement"), ("a", "cannot_connect")],
        &["a: FirstTierReplicaFailingToConnectToMaster", "m: UnreachableMaster, ChecksRefusedStructureWarning"],
    );
    let lag = |names: &[&'static str], words: &'static str| -> Vec<(&str, &str)> {
        names.iter().map(|name| (*name, words)).chain([("m", "dead")]).collect()
    };
    vector(&lag(&["a", "b", "c"], "lag=60"), &["m: UnreachableMasterWithLaggingReplicas"]);
    vector(&lag(&["b", "c", "d"], "lag=60"), &["m: UnreachableMaster"]);
    vector(&lag(&["a", "b", "c"], "lag=600 delay=600"), &["m: UnreachableMaster"]);
    let mut one_delayed = lag(&["a", "b", "c"], "lag=600");
    one_delayed.push(("c", "delay=600"));
    vector(&one_delayed, &["m: UnreachableMasterWithLaggingReplicas"]);
}

#[test]
fn replicas_that_do_not_replicate() {
    let sql_off = [("a", "sql=no"), ("b", "sql=no"), ("c", "sql=no")];
    vector(&sql_off, &["m: AllMasterReplicasNotReplicating"]);
    vector(&[sql_off[0], ("b", "sql=no dead"), ("c", "sql=no dead")], &["m: AllMasterReplicasNotReplicatingOrDead"]);
    vector(&[("d", "sql=no")], &["a: AllIntermediateMasterReplicasNotReplicating"]);
    vector(&[("d", "sql=no downtimed")], &[]);
    check("m\n a io=no", &["m: MasterSingleReplicaNotReplicating"]);
    check("m\n a dead", &["m: MasterSingleReplicaDead"]);
}

#[test]
fn intermediate_sources() {
    vector(&[("a", "dead"), ("d", "io=no")], &["a: DeadIntermediateMasterWithSingleReplica"]);
    vector(&[("a", "dead"), ("d", "cannot_connect")], &["a: DeadIntermediateMasterWithSingleReplicaFailingToConnect"]);
    vector(&[("a", "dead"), ("d", "dead")], &["a: DeadIntermediateMasterAndReplicas"]);
    vector(&[("a", "dead")], &["a: UnreachableIntermediateMaster"]);
    // We differ: it is said why it does not answer.
    vector(&[("a", "alive_but=statement")], &["a: ChecksRefusedStructureWarning"]);
    vector(&[("a", "dead"), ("d", "lag=60")], &["a: UnreachableIntermediateMasterWithLaggingReplicas"]);
    vector(&[("a", "cannot_connect")], &["a: FirstTierReplicaFailingToConnectToMaster"]);
    check("m\n a dead\n  d io=no\n  e io=connecting\n b", &["a: DeadIntermediateMaster"]);
    check("m\n a dead\n  d io=no\n  e dead\n b", &["a: DeadIntermediateMasterAndSomeReplicas"]);
    check(
        "m\n a\n  d cannot_connect\n  e dead\n  f cannot_connect",
        &["a: AllIntermediateMasterReplicasFailingToConnectOrDead"],
    );
}

#[test]
fn semi_sync_primaries() {
    let text = base(&[("m", "semi=on/2/1")]);
    check(&text, &["m: LockedSemiSyncMasterHypothesis"]);
    let sample = |position, seconds: i64| {
        let at = BinlogCoordinates { file: "bin.1".to_owned(), position };
        [(key("m"), Sample { at, first_seen: NOW - seconds * SECOND })].into()
    };
    assert_eq!(found_with(&text, &sample(1000, 60), &policy()), ["m: LockedSemiSyncMaster"]);
    for (position, seconds) in [(1000, 10), (999, 60)] {
        assert_eq!(found_with(&text, &sample(position, seconds), &policy()), ["m: LockedSemiSyncMasterHypothesis"]);
    }
    let patient = AnalysisPolicy { locked_semi_sync_seconds: 61, ..policy() };
    assert_eq!(found_with(&text, &sample(1000, 60), &patient), ["m: LockedSemiSyncMasterHypothesis"]);
    vector(&[("m", "semi=off/2/1")], &["m: NotEnoughValidSemiSyncReplicasStructureWarning"]);
    vector(&[("m", "semi=on/2/2")], &[]);
    vector(&[("m", "semi=on/2/3")], &[]);
    let exact = AnalysisPolicy { enforce_exact_semi_sync: true, ..policy() };
    let text = base(&[("m", "semi=on/2/3")]);
    assert_eq!(found_with(&text, &BTreeMap::new(), &exact), ["m: MasterWithTooManySemiSyncReplicas"]);
    // From what it last said, while it is alive and says no more.
    vector(
        &[("m", "semi=on/2/1 alive_but=too_many_connections")],
        &["m: LockedSemiSyncMasterHypothesis, TooManyConnectionsStructureWarning"],
    );
}

#[test]
fn structure() {
    vector(&[("m", "ro")], &["m: NoWriteableMasterStructureWarning"]);
    let acting = AnalysisPolicy { recover_non_writeable: true, ..policy() };
    let text = base(&[("m", "ro")]);
    assert_eq!(
        found_with(&text, &BTreeMap::new(), &acting),
        ["m: NoWriteableMasterStructureWarning, NoWriteableMasterStructureWarning"]
    );
    vector(&[("c", "version=8.4.2")], &["m: MultipleMajorVersionsLoggingReplicasStructureWarning"]);
    vector(&[("c", "format=ROW")], &["m: StatementAndRowLoggingReplicasStructureWarning"]);
    vector(&[("c", "format=MIXED")], &["m: StatementAndMixedLoggingReplicasStructureWarning"]);
    vector(
        &[("a", "norelay"), ("b", "norelay"), ("c", "norelay"), ("d", "norelay")],
        &["m: NoLoggingReplicasStructureWarning"],
    );
    vector(&[("a", "nogtid"), ("b", "nogtid"), ("c", "nogtid")], &["m: NoFailoverSupportStructureWarning"]);
    vector(&[("a", "errant=x:1")], &["m: ErrantGTIDStructureWarning"]);
    vector(&[("a", "errant=x:1 downtimed")], &[]);
    vector(&[("c", "mode=ON_PERMISSIVE")], &["m: DifferentGTIDModesStructureWarning"]);
}

#[test]
fn co_primaries() {
    let pair = |x: &str, y: &str, r: &str| format!("x from=y {x}\n y from=x {y}\n r from=x {r}\n");
    check(&pair("", "", ""), &[]);
    check(
        &pair("dead", "io=connecting", "io=connecting"),
        &["x: DeadCoMaster", "y: AllCoMasterReplicasNotReplicating"],
    );
    check(&pair("dead", "dead", "io=connecting"), &["x: DeadCoMasterAndSomeReplicas", "y: DeadMasterAndReplicas"]);
    check(&pair("dead", "", "io=connecting"), &["x: UnreachableCoMaster", "y: AllCoMasterReplicasNotReplicating"]);
    check(&pair("", "io=no", "io=no"), &["x: AllCoMasterReplicasNotReplicating"]);
    // We differ: such a pair is no intermediate source.
    check(&pair("dead", "dead", "dead"), &["x: DeadMasterAndReplicas", "y: DeadMasterAndReplicas"]);
    let shown = findings_with(&pair("dead", "io=no", ""), &BTreeMap::new(), &policy());
    assert!(shown.iter().filter(|one| one.key != key("r")).all(|one| instance_type(one) == "co-master"));
}

#[test]
fn group_members_have_a_rule_of_their_own() {
    check("m group dead\n r io=connecting", &["m: DeadReplicationGroupMemberWithReplicas"]);
    check("m group dead\n r dead", &["m: DeadReplicationGroupMemberWithReplicas"]);
    check("m group dead\n r", &[]);
    check("m group dead", &[]);
    check("m group=SECONDARY ro dead\n r io=no", &["m: DeadReplicationGroupMemberWithReplicas"]);
    assert_eq!(instance_type(&finding_of("m group dead\n r", "m")), "group-member");
}

#[test]
fn what_follows_from_the_order_of_the_rows() {
    // A lost leaf is nobody's problem; it is listed, for those who ask for everything.
    check("m\n a dead\n b", &[]);
    assert_eq!(finding_of("m\n a dead\n b", "a").code, Code::NoProblem);
    // A replica at the first tier, and one further below.
    check("m\n a\n  d cannot_connect\n  e", &[]);
    check("maxscale", &[]);
    check(
        "m\n a version=2.0-maxscale cannot_connect",
        &["a: BinlogServerFailingToConnectToMaster", "m: MasterSingleReplicaNotReplicating"],
    );
    let types: Vec<_> = ["m", "a"].map(|name| instance_type(&finding_of("m\n a\n  d", name))).into();
    assert_eq!(types, ["master", "intermediate-master"]);
}
