//! Where the original orchestrator would have acted wrongly, or said nothing.

use std::time::Instant;

use super::*;

#[test]
fn stopped_appliers_never_mean_death() {
    check("m dead\n a sql=no\n b sql=no", &["m: UnreachableMaster"]);
    check("m dead\n a sql=no", &["m: UnreachableMaster"]);
    check("m dead\n a sql=no\n b io=connecting", &["m: UnreachableMaster"]);
    check("m dead\n a sql=no io=no\n b io=connecting", &["m: DeadMaster"]);
    check("m\n a dead\n  d sql=no\n b", &["a: UnreachableIntermediateMaster"]);
}

#[test]
fn what_was_said_before_the_silence_is_no_evidence() {
    // Its receiver was down when it was last asked, three seconds ago; the primary fell silent two seconds ago.
    check("m dead\n a io=connecting checked=3", &["m: UnreachableMaster"]);
    check("m dead\n a io=connecting checked=3\n b io=connecting", &["m: UnreachableMaster"]);
    check("m dead\n a io=connecting checked=2\n b io=connecting", &["m: DeadMaster"]);
    // A later failure of the primary's check does not make what was heard in between too old.
    check("m dead\n a io=connecting\n b io=no", &["m: DeadMaster"]);
    // Nor does it matter when one who cannot be asked was tried last.
    check("m dead\n a io=connecting\n b dead checked=30", &["m: DeadMasterAndSomeReplicas"]);
    let evidence = finding_of("m dead\n a io=connecting checked=3\n b\n c io=no\n d dead", "m").evidence(NOW);
    assert_eq!(
        evidence,
        "silent for 2 s (refused); a:3306 was last asked before it fell silent; b:3306 hears it; c:3306 has lost it; \
         d:3306 cannot be reached itself"
    );
}

#[test]
fn without_a_recorded_silence_the_last_failure_counts() {
    let mut instances = draw("m dead\n a io=connecting");
    instances[0].check.silent_since = None;
    let code = |instances: &[Instance]| {
        analyze(&instances.iter().collect::<Vec<_>>(), &BTreeMap::new(), &policy(), NOW)[0].code
    };
    assert_eq!(code(&instances), Code::UnreachableMaster, "the replica was asked before the last failure");
    instances[1].check.last_seen_at = Some(NOW);
    instances[1].check.last_checked_at = Some(NOW);
    assert_eq!(code(&instances), Code::DeadMaster);
}

#[test]
fn signs_of_life_are_named() {
    for (kind, warning) in [
        ("access_denied", "LoginRefusedStructureWarning"),
        ("too_many_connections", "TooManyConnectionsStructureWarning"),
        ("unsupported_version", "ChecksRefusedStructureWarning"),
        ("statement", "ChecksRefusedStructureWarning"),
    ] {
        check(&format!("m alive_but={kind}\n a"), &[&format!("m: {warning}")]);
        check(&format!("m alive_but={kind}\n a io=no"), &[&format!("m: MasterSingleReplicaNotReplicating, {warning}")]);
    }
    // Not of those nobody depends on: these are among the problems.
    check("m\n a alive_but=access_denied\n b", &[]);
}

#[test]
fn a_replica_that_is_turned_away_proves_life() {
    let turned_away = "a: FirstTierReplicaFailingToConnectToMaster";
    check("m dead\n a io=connecting errno=1045\n b io=connecting", &[turned_away, "m: UnreachableMaster"]);
    check("m dead\n a io=connecting errno=1040", &[turned_away, "m: UnreachableMaster"]);
    // Of a receiver that no longer tries, the error may be of yesterday.
    check("m dead\n a io=no errno=1045\n b io=connecting", &[turned_away, "m: DeadMaster"]);
    check(
        "m dead\n a io=connecting errno=2003\n b io=connecting errno=2013",
        &[turned_away, "b: FirstTierReplicaFailingToConnectToMaster", "m: DeadMaster"],
    );
}

#[test]
fn errors_are_known_by_number_and_by_text() {
    for number in [2003, 2005, 2013, 1045] {
        check(&format!("m\n a io=connecting errno={number}\n b"), &["a: FirstTierReplicaFailingToConnectToMaster"]);
    }
    check("m\n a io=no errno=1236\n b", &[]);
    let mut instances = draw("m\n a io=connecting\n b");
    for (text, fails) in [
        ("Error reconnecting to source 'repl@m:3306'", true),
        ("error connecting to master 'repl@m:3306' - retry-time: 60", true),
        ("Got fatal error 1236 from source", false),
        ("connecting to master", false),
    ] {
        if let Some(status) = &mut instances[1].facts.replica {
            text.clone_into(&mut status.last_io_error);
        }
        let findings = analyze(&instances.iter().collect::<Vec<_>>(), &BTreeMap::new(), &policy(), NOW);
        let failing = findings[0].counts.failing_to_connect;
        assert_eq!(failing, usize::from(fails), "{text}");
    }
    // Its own facts are too old to say that it fails to connect.
    check("m\n a cannot_connect checked=90\n b", &[]);
}

#[test]
fn the_unknown_are_never_dead() {
    check("m dead checked=90\n a io=no\n b io=no", &["m: NotCheckedLatelyStructureWarning"]);
    check("m checked=90\n a", &["m: NotCheckedLatelyStructureWarning"]);
    check("m dead\n a io=no\n b io=no checked=90", &["m: UnreachableMaster"]);
    check("m dead\n a io=no\n b dead checked=90", &["m: UnreachableMaster"]);
    // A check was begun long ago and never ended: its worker died.
    check("m attempted=1 checked=20\n a", &["m: NotCheckedLatelyStructureWarning"]);
    check("m attempted=5 checked=10\n a", &[]);
    // It never answered: nobody knows what it is.
    check("m never", &[]);
    check("m\n a checked=90", &[]);
    check("m\n a sql=no checked=90", &[]);
}

#[test]
fn lag_counts_only_where_it_means_something() {
    check("m dead\n a lag=60 delay=30\n b lag=0", &["m: UnreachableMaster"]);
    check("m dead\n a lag=60 delay=30\n b lag=60", &["m: UnreachableMasterWithLaggingReplicas"]);
    check("m dead\n a lag=60 checked=90\n b lag=60", &["m: UnreachableMaster"]);
    assert_eq!(finding_of("m\n a lag=60 dead\n b lag=60", "m").counts.lagging, 1);
}

#[test]
fn servers_without_gtid_modes_differ_from_nobody() {
    check("m mode=\n a mode=OFF\n b mode=", &[]);
    check("m mode=OFF\n a mode=\n b mode=ON", &["m: DifferentGTIDModesStructureWarning"]);
    let counts = finding_of("m\n a mode=ON\n b mode=", "m").counts;
    assert_eq!((counts.min_gtid_mode.as_str(), counts.max_gtid_mode.as_str()), ("", "ON"));
}

#[test]
fn downtime_marks_and_hides_nothing() {
    let finding = finding_of("m dead downtimed\n a io=no", "m");
    assert_eq!((finding.code, finding.is_downtimed), (Code::DeadMaster, true));
    assert!(finding.skippable_due_to_downtime && !finding.is_replicas_downtimed);
    let finding = finding_of("m\n a sql=no downtimed", "m");
    assert_eq!(finding.code, Code::MasterSingleReplicaNotReplicating);
    assert!(finding.skippable_due_to_downtime && finding.is_replicas_downtimed && !finding.is_downtimed);
    // The death of a primary is news whatever is known about its replicas.
    assert!(!finding_of("m dead\n a io=no downtimed", "m").skippable_due_to_downtime);
}

#[test]
fn findings_come_in_the_order_of_listings() {
    let text = "x\n y\n  z\n   w\nm\n a\n b\n c\n  d";
    let keys: Vec<String> =
        findings_with(text, &BTreeMap::new(), &policy()).into_iter().map(|one| one.key.hostname).collect();
    assert_eq!(keys, ["m", "x", "c", "y", "z"]);
}

#[test]
fn every_code_is_written_and_read_back() {
    for code in Code::ALL {
        assert_eq!(Code::parse(code.name()), Ok(*code));
        assert!(!code.description().is_empty());
        assert_eq!(code.filter().is_some(), code.is_actionable(), "{code}: what acts is filtered");
    }
    assert!(Code::parse("DeadPrimary").is_err());
    assert!(Code::NoWriteableMasterStructureWarning.is_structure() && !Code::DeadMaster.is_structure());
}

#[test]
fn a_fleet_is_analysed_within_a_second() {
    let instances: Vec<Instance> = (0..1_000)
        .flat_map(|cluster| {
            let replicas = (0..9).map(|n| format!(" r{cluster}x{n} io=connecting errno=2003\n"));
            draw(&format!("m{cluster} dead\n{}", replicas.collect::<String>()))
        })
        .collect();
    let members: Vec<&Instance> = instances.iter().collect();
    let started = Instant::now();
    let findings = analyze(&members, &BTreeMap::new(), &policy(), NOW);
    let took = started.elapsed();
    let dead = findings.iter().filter(|one| one.code == Code::DeadMaster).count();
    assert_eq!((findings.len(), dead), (10_000, 1_000));
    assert!(took.as_millis() < 1_000, "10,000 instances took {took:?}");
}
