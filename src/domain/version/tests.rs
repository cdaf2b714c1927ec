use proptest::prelude::*;
use rstest::rstest;

use super::*;

const PERCONA: &str = "Percona Server (GPL), Release 28, Revision 47601f19";
const MARIADB: &str = "mariadb.org binary distribution";
const ORACLE: &str = "MySQL Community Server - GPL";

fn mysql(text: &str) -> ServerVersion {
    ServerVersion::parse(text, ORACLE)
}

fn mariadb(text: &str) -> ServerVersion {
    ServerVersion::parse(&format!("{text}-MariaDB"), "")
}

#[rstest]
#[case("5.7.44-log", ORACLE, "MySQL", (5, 7, 44))]
#[case("8.0.35", ORACLE, "MySQL", (8, 0, 35))]
#[case("8.0.35-0ubuntu0.22.04.1", "(Ubuntu)", "MySQL", (8, 0, 35))]
#[case("8.0.36-28", PERCONA, "Percona", (8, 0, 36))]
#[case("8.0.35-27.1", "Percona XtraDB Cluster (GPL), Release rel27", "Percona", (8, 0, 35))]
#[case("8.4.0", ORACLE, "MySQL", (8, 4, 0))]
#[case("9.7.4-2", "(Debian)", "MySQL", (9, 7, 4))]
#[case("10.11.19-MariaDB-0+deb12u1-log", "Debian 12", "MariaDB", (10, 11, 19))]
#[case("5.5.5-10.4.32-MariaDB", "", "MariaDB", (10, 4, 32))]
#[case("5.5.68-MariaDB", "MariaDB Server", "MariaDB", (5, 5, 68))]
#[case("5.5.5-m3", "", "MySQL", (5, 5, 5))]
#[case("11.8.2-MariaDB", MARIADB, "MariaDB", (11, 8, 2))]
#[case("10.6.16", "MariaDB Server", "MariaDB", (10, 6, 16))]
#[case("10.6.16-11-mariadb-enterprise-log", "", "MariaDB", (10, 6, 16))]
#[case("8.0.mysql_aurora.3.04.0", "Source distribution", "MySQL", (8, 0, 0))]
#[case("5.7.44-ndb-7.6.28", "MySQL Cluster", "MySQL", (5, 7, 44))]
#[case("8.0.4-rc-log", ORACLE, "MySQL", (8, 0, 4))]
#[case("8.0", "", "MySQL", (8, 0, 0))]
#[case("8.0-log", "", "MySQL", (8, 0, 0))]
#[case(" 8.0.35\n", "", "MySQL", (8, 0, 35))]
#[case("1.1.0-maxscale", "", "MaxScale", (1, 1, 0))]
#[case("5.5.5-10.4.32 2.5.10-maxscale", "MariaDB Server", "MaxScale", (5, 5, 5))]
#[case("maxscale", "", "MaxScale", (0, 0, 0))]
#[case("", "", "unknown", (0, 0, 0))]
#[case("Unknown", "", "unknown", (0, 0, 0))]
#[case("8", "", "unknown", (0, 0, 0))]
#[case("8.", "", "unknown", (0, 0, 0))]
#[case("-8.0.1", "", "unknown", (0, 0, 0))]
#[case("v8.0.1", "", "unknown", (0, 0, 0))]
#[case("8a.0.1", "", "unknown", (0, 0, 0))]
#[case("99999999999999999999.0.1", "", "unknown", (0, 0, 0))]
#[case("8.99999999999999999999.1", "", "unknown", (0, 0, 0))]
#[case("8.0.99999999999999999999", "", "unknown", (0, 0, 0))]
#[case("8.0.4294967295", "", "MySQL", (8, 0, u32::MAX))]
#[case("garbage", MARIADB, "MariaDB", (0, 0, 0))]
fn reads_real_and_strange_texts(
    #[case] text: &str,
    #[case] comment: &str,
    #[case] flavor: &str,
    #[case] number: (u32, u32, u32),
) {
    let version = ServerVersion::parse(text, comment);
    assert_eq!((version.flavor.name(), version.number()), (flavor, number));
    assert_eq!((version.text.as_str(), version.to_string().as_str()), (text, text));
}

#[rstest]
#[case(mysql("5.7.9"), None)]
#[case(mysql("8.0.11"), None)]
#[case(mysql("8.4.0"), None)]
#[case(mysql("9.7.4-2"), None)]
#[case(mysql("10.0.0"), None)]
#[case(ServerVersion::parse("5.7.44-48", PERCONA), None)]
#[case(mariadb("10.5.0"), None)]
#[case(mariadb("11.8.2"), None)]
#[case(mariadb("12.3.1"), None)]
#[case(mysql("5.6.51"), Some("MySQL 5.6.51 is older than 5.7, the oldest supported version"))]
#[case(mysql("4.1.22"), Some("MySQL 4.1.22 is older than 5.7, the oldest supported version"))]
#[case(mysql("5.8.0"), Some("MySQL 5.8.0 belongs to no supported release series"))]
#[case(mysql("6.0.11-alpha"), Some("MySQL 6.0.11 belongs to no supported release series"))]
#[case(mariadb("10.4.32"), Some("MariaDB 10.4.32 is older than 10.5, the oldest supported version"))]
#[case(mariadb("5.5.5-10.4.32"), Some("MariaDB 10.4.32 is older than 10.5, the oldest supported version"))]
#[case(mariadb("13.0.1"), Some("MariaDB 13.0.1 is newer than 12.x, the newest supported version"))]
#[case(mariadb("x"), Some("the version text names no version we understand"))]
#[case(mysql(""), Some("the version text names no version we understand"))]
#[case(mysql("1.1.0-maxscale"), Some("MaxScale is a proxy and not a server of its own"))]
fn says_what_is_supported_and_why_not(#[case] version: ServerVersion, #[case] reason: Option<&str>) {
    assert_eq!(version.support().err().map(|reason| reason.to_string()).as_deref(), reason);
    assert_eq!(version.is_supported(), reason.is_none());
}

/// Each row: the fact, the last version without and the first one with it, for MySQL and for MariaDB.
#[rstest]
#[case(Fact::ReplicaWords, Some(("8.0.21", "8.0.22")), Some(("10.5.0", "10.5.1")))]
#[case(Fact::ShowReplicas, Some(("8.0.21", "8.0.22")), None)]
#[case(Fact::SourceWords, Some(("8.0.22", "8.0.23")), None)]
#[case(Fact::BinaryLogStatus, Some(("8.1.0", "8.2.0")), None)]
#[case(Fact::BinlogStatus, None, Some(("10.5.1", "10.5.2")))]
#[case(Fact::SourcePosWait, Some(("8.0.25", "8.0.26")), None)]
#[case(Fact::ReplicaVariables, Some(("8.0.25", "8.0.26")), None)]
#[case(Fact::SourceSemiSyncPlugins, Some(("8.0.25", "8.0.26")), None)]
#[case(Fact::BuiltInSemiSync, None, Some(("10.3.2", "10.3.3")))]
#[case(Fact::OracleGtid, Some(("5.6.4", "5.6.5")), None)]
#[case(Fact::TaggedGtid, Some(("8.2.0", "8.3.0")), None)]
#[case(Fact::MariaDbGtid, None, Some(("10.0.1", "10.0.2")))]
#[case(Fact::PerformanceSchemaProcesslist, Some(("8.0.21", "8.0.22")), None)]
#[case(Fact::ReplicationGroupMembers, Some(("8.0.1", "8.0.2")), None)]
#[case(Fact::SuperReadOnly, Some(("5.7.7", "5.7.8")), None)]
#[case(Fact::ReadOnlyAdminApart, None, Some(("10.10.7", "10.11.0")))]
#[case(Fact::GetSourcePublicKey, Some(("8.0.3", "8.0.4")), None)]
#[case(Fact::DemoteToReplica, None, Some(("10.9.8", "10.10.0")))]
fn facts_begin_with_a_version(
    #[case] fact: Fact,
    #[case] in_mysql: Option<(&str, &str)>,
    #[case] in_mariadb: Option<(&str, &str)>,
) {
    for (flavored, range) in [(mysql as fn(&str) -> ServerVersion, in_mysql), (mariadb, in_mariadb)] {
        match range {
            Some((without, with)) => {
                assert!(!flavored(without).has(fact), "{without}");
                for later in [with, "12.3.1"] {
                    assert!(flavored(later).has(fact), "{later}");
                }
            }
            None => assert!(["5.5.1", "8.0.35", "10.11.6", "12.3.1"].iter().all(|text| !flavored(text).has(fact))),
        }
    }
    assert_eq!(ServerVersion::parse("8.0.36-28", PERCONA).has(fact), mysql("8.0.36").has(fact));
    assert!(!mysql("garbage").has(fact) && !mysql("1.1.0-maxscale").has(fact));
}

#[test]
fn some_facts_end_with_a_version() {
    assert!(mysql("8.3.0").knows_legacy_words() && !mysql("8.4.0").knows_legacy_words());
    assert!(!mysql("9.7.4-2").knows_legacy_words() && mariadb("12.3.1").knows_legacy_words());
    assert!(mysql("1.1.0-maxscale").knows_legacy_words() && !mysql("garbage").knows_legacy_words());
    assert!(mysql("8.2.0").has(Fact::MasterInfoRepository) && !mysql("8.3.0").has(Fact::MasterInfoRepository));
    assert!(!mariadb("10.11.6").has(Fact::MasterInfoRepository));
}

/// Versions that a comparison of texts gets wrong.
#[test]
fn versions_are_numbers() {
    assert!(!mysql("8.0.9").knows_replica_words());
    assert!(mysql("10.0.0").knows_replica_words());
    assert!(mysql("8.10.0").knows_binary_log_status());
    assert!(!mariadb("10.4.99").knows_replica_words());
    assert!(!ServerVersion::parse("5.5.5-10.4.32-MariaDB", "").knows_replica_words());
    assert!(mysql("8.0.9").is_smaller_major_than(&mysql("8.4.0")));
    assert!(mysql("8.4.0").is_smaller_major_than(&mysql("10.0.0")));
    assert!(!mysql("8.0.9").is_smaller_major_than(&mysql("8.0.35")));
    assert!(mariadb("10.6.1").is_smaller_major_than(&mariadb("10.11.1")));
    assert!(mysql("5.7.44").is_smaller_major_than(&mysql("8.0.1")));
}

#[test]
fn named_facts_ask_the_table() {
    let new = mysql("9.7.4-2");
    assert!(new.knows_replica_words() && new.knows_source_words() && new.knows_source_pos_wait());
    assert!(new.has_replica_variables() && new.has_oracle_gtid() && new.has_tagged_gtid() && new.has_super_read_only());
    assert!(new.has_performance_schema_processlist() && new.has_replication_group_members());
    assert!(!new.has_mariadb_gtid() && !new.has_built_in_semi_sync());
    let maria = mariadb("10.11.19");
    assert!(maria.has_mariadb_gtid() && maria.has_built_in_semi_sync() && !maria.has_oracle_gtid());
}

#[rstest]
#[case(mysql("8.0.11"), true)]
#[case(mysql("9.7.4-2"), true)]
#[case(mysql("5.7.44"), false)]
#[case(ServerVersion::parse("8.0.36-28", PERCONA), true)]
#[case(mariadb("10.6.0"), true)]
#[case(mariadb("13.0.0"), true)]
#[case(mariadb("10.5.23"), false)]
#[case(mysql("5.5.5-10.4.32-maxscale"), false)]
#[case(mysql(""), false)]
fn backends(#[case] version: ServerVersion, #[case] want: bool) {
    assert_eq!(is_supported_backend(&version), want);
}

#[test]
fn names_and_series_are_shown_as_users_know_them() {
    assert_eq!(mysql("5.7.44-log").major_version(), "5.7");
    assert_eq!(mysql("5.7.44-log").flavor_and_major(), "MySQL-5.7");
    assert!(mysql("5.7.44-ndb-7.6.28").is_ndb() && !mysql("5.7.44").is_ndb());
    for flavor in [Flavor::MySql, Flavor::MariaDb, Flavor::Percona, Flavor::MaxScale, Flavor::Unknown] {
        assert_eq!(serde_json::to_string(&flavor).unwrap(), format!("\"{flavor}\""));
    }
    let json = r#"{"major":8,"minor":4,"patch":0,"flavor":"MySQL","text":"8.4.0"}"#;
    assert_eq!(serde_json::to_string(&mysql("8.4.0")).unwrap(), json);
    assert_eq!(serde_json::from_str::<ServerVersion>(json).unwrap(), mysql("8.4.0"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), comment in any::<String>(), number in "[0-9.]{0,40}") {
        for text in [text.clone(), number.clone(), format!("{number}{text}"), format!("5.5.5-{number}-MariaDB")] {
            let version = ServerVersion::parse(&text, &comment);
            let _ = (version.support(), version.major_version(), is_supported_backend(&version));
            prop_assert_eq!(version.text, text);
        }
    }
}
