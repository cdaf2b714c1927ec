//! Every statement for every dialect, as text.

use domain::instance::ReplicaFacts;

use super::*;

/// One version of each dialect.
pub(crate) const VERSIONS: [&str; 7] =
    ["5.7.44-log", "8.0.21", "8.0.22", "8.0.25", "8.0.36", "9.7.4", "10.5.23-MariaDB"];

pub(crate) fn facts(version: &str) -> ServerFacts {
    ServerFacts { version: version.to_owned(), ..ServerFacts::default() }
}

fn dialect(version: &str) -> Dialect {
    Dialect::of(&facts(version)).expect("supported")
}

/// What the dialects say, version by version.
fn check(expected: [&str; 7], said: impl Fn(&Dialect) -> Sql) {
    for (version, expected) in VERSIONS.into_iter().zip(expected) {
        assert_eq!(said(&dialect(version)).text(), expected, "{version}");
    }
}

fn place() -> BinlogCoordinates {
    BinlogCoordinates { file: "bin.000007".to_owned(), position: 1234 }
}

#[test]
fn threads() {
    let stop = |replica: &str| format!("STOP {replica}");
    for (version, word) in
        VERSIONS.into_iter().zip(["SLAVE", "SLAVE", "REPLICA", "REPLICA", "REPLICA", "REPLICA", "SLAVE"])
    {
        let dialect = dialect(version);
        let text = |sql: Option<Sql>| sql.map(|sql| sql.text().to_owned());
        assert_eq!(text(dialect.stop(Threads::BOTH)), Some(stop(word)), "{version}");
        assert_eq!(text(dialect.stop(Threads::IO)), Some(format!("STOP {word} IO_THREAD")));
        assert_eq!(text(dialect.start(Threads::SQL)), Some(format!("START {word} SQL_THREAD")));
        assert_eq!(text(dialect.start(Threads::BOTH)), Some(format!("START {word}")));
        assert_eq!(dialect.start(Threads::NONE), None);
        assert_eq!(dialect.reset().text(), format!("RESET {word}"));
        assert_eq!(dialect.reset_all().text(), format!("RESET {word} ALL"));
    }
}

#[test]
fn until_a_place() {
    check(
        [
            "START SLAVE SQL_THREAD UNTIL MASTER_LOG_FILE = 'bin.000007', MASTER_LOG_POS = 1234",
            "START SLAVE SQL_THREAD UNTIL MASTER_LOG_FILE = 'bin.000007', MASTER_LOG_POS = 1234",
            "START REPLICA SQL_THREAD UNTIL MASTER_LOG_FILE = 'bin.000007', MASTER_LOG_POS = 1234",
            "START REPLICA SQL_THREAD UNTIL SOURCE_LOG_FILE = 'bin.000007', SOURCE_LOG_POS = 1234",
            "START REPLICA SQL_THREAD UNTIL SOURCE_LOG_FILE = 'bin.000007', SOURCE_LOG_POS = 1234",
            "START REPLICA SQL_THREAD UNTIL SOURCE_LOG_FILE = 'bin.000007', SOURCE_LOG_POS = 1234",
            "START SLAVE SQL_THREAD UNTIL MASTER_LOG_FILE = 'bin.000007', MASTER_LOG_POS = 1234",
        ],
        |dialect| dialect.start_until(&place()).expect("a file").expect("a thread"),
    );
    check(
        [
            "SELECT MASTER_POS_WAIT('bin.000007', 1234, 5)",
            "SELECT MASTER_POS_WAIT('bin.000007', 1234, 5)",
            "SELECT MASTER_POS_WAIT('bin.000007', 1234, 5)",
            "SELECT MASTER_POS_WAIT('bin.000007', 1234, 5)",
            "SELECT SOURCE_POS_WAIT('bin.000007', 1234, 5)",
            "SELECT SOURCE_POS_WAIT('bin.000007', 1234, 5)",
            "SELECT MASTER_POS_WAIT('bin.000007', 1234, 5)",
        ],
        |dialect| dialect.wait_for(&place(), 5).expect("a file"),
    );
    assert!(dialect("9.7.4").start_until(&BinlogCoordinates::default()).is_err());
}

#[test]
fn changes() {
    check(
        [
            "CHANGE MASTER TO MASTER_DELAY = 7",
            "CHANGE MASTER TO MASTER_DELAY = 7",
            "CHANGE MASTER TO MASTER_DELAY = 7",
            "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 7",
            "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 7",
            "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 7",
            "CHANGE MASTER TO MASTER_DELAY = 7",
        ],
        |dialect| dialect.change(&[format!("{}_DELAY = 7", dialect.source())]).into(),
    );
}

#[test]
fn logs_and_counters() {
    check(
        [
            "RESET MASTER",
            "RESET MASTER",
            "RESET MASTER",
            "RESET MASTER",
            "RESET MASTER",
            "RESET BINARY LOGS AND GTIDS",
            "RESET MASTER",
        ],
        Dialect::reset_binary_logs,
    );
    check(
        [
            "SET GLOBAL sql_slave_skip_counter = 1",
            "SET GLOBAL sql_slave_skip_counter = 1",
            "SET GLOBAL sql_slave_skip_counter = 1",
            "SET GLOBAL sql_slave_skip_counter = 1",
            "SET GLOBAL sql_replica_skip_counter = 1",
            "SET GLOBAL sql_replica_skip_counter = 1",
            "SET GLOBAL sql_slave_skip_counter = 1",
        ],
        |dialect| dialect.skip_one().pop().expect("a statement"),
    );
    assert_eq!(purge_to("o'bin.1").expect("a name").text(), r"PURGE BINARY LOGS TO 'o\'bin.1'");
    assert!(purge_to("").is_err() && purge_to("a\nb").is_err());
    assert_eq!(kill_query(7).text(), "KILL QUERY 7");
}

#[test]
fn read_only_comes_before_super_read_only() {
    let said = |version: &str, read_only, with_super| {
        let statements = dialect(version).read_only(read_only, with_super);
        statements.iter().map(Sql::text).collect::<Vec<_>>().join("; ")
    };
    for version in VERSIONS {
        assert_eq!(said(version, true, false), "SET GLOBAL read_only = ON");
        assert_eq!(said(version, false, true), "SET GLOBAL read_only = OFF", "takes super_read_only away");
        let both = said(version, true, true);
        let expected = if version.contains("MariaDB") {
            "SET GLOBAL read_only = ON"
        } else {
            "SET GLOBAL read_only = ON; SET GLOBAL super_read_only = ON"
        };
        assert_eq!(both, expected, "{version}");
    }
}

#[test]
fn semi_sync_by_its_naming() {
    for (naming, side, expected) in [
        (PluginNaming::SourceReplica, SemiSyncSide::Source, "SET GLOBAL rpl_semi_sync_source_enabled = ON"),
        (PluginNaming::SourceReplica, SemiSyncSide::Replica, "SET GLOBAL rpl_semi_sync_replica_enabled = ON"),
        (PluginNaming::MasterSlave, SemiSyncSide::Source, "SET GLOBAL rpl_semi_sync_master_enabled = ON"),
        (PluginNaming::MasterSlave, SemiSyncSide::Replica, "SET GLOBAL rpl_semi_sync_slave_enabled = ON"),
    ] {
        assert_eq!(semi_sync(naming, side, true).text(), expected);
    }
    let off = semi_sync(PluginNaming::MasterSlave, SemiSyncSide::Source, false);
    assert_eq!(off.text(), "SET GLOBAL rpl_semi_sync_master_enabled = OFF");
}

#[test]
fn a_channel_is_named_where_there_is_more_than_the_default_one() {
    let with = |version: &str, channel: &str, others: &[&str]| {
        let replica = ReplicaFacts {
            channel: channel.to_owned(),
            other_channels: others.iter().map(ToString::to_string).collect(),
            ..ReplicaFacts::default()
        };
        Dialect::of(&ServerFacts { replica: Some(replica), ..facts(version) }).expect("supported")
    };
    let stop = |dialect: &Dialect| dialect.stop(Threads::IO).expect("a thread").text().to_owned();
    let alone = with("9.7.4", "", &[]);
    assert_eq!(stop(&alone), "STOP REPLICA IO_THREAD");
    let default = with("9.7.4", "", &["other"]);
    assert_eq!(stop(&default), "STOP REPLICA IO_THREAD FOR CHANNEL ''", "unnamed, it would stop both");
    let named = with("9.7.4", "o'x", &[]);
    assert_eq!(named.change(&["A = 1".to_owned()]), r"CHANGE REPLICATION SOURCE TO A = 1 FOR CHANNEL 'o\'x'");
    assert_eq!(named.reset_all().text(), r"RESET REPLICA ALL FOR CHANNEL 'o\'x'");
    assert_eq!(with("5.7.44", "x", &[]).change(&["A = 1".to_owned()]), "CHANGE MASTER TO A = 1 FOR CHANNEL 'x'");
    let mariadb = with("10.11.6-MariaDB", "x", &[""]);
    assert_eq!(stop(&mariadb), "STOP SLAVE 'x' IO_THREAD");
    assert_eq!(mariadb.change(&["A = 1".to_owned()]), "CHANGE MASTER 'x' TO A = 1");
    assert_eq!(mariadb.reset_all().text(), "RESET SLAVE 'x' ALL");
    let skip: Vec<_> = mariadb.skip_one().iter().map(|sql| sql.text().to_owned()).collect();
    assert_eq!(skip, ["SET SESSION default_master_connection = 'x'", "SET GLOBAL sql_slave_skip_counter = 1"]);
    let until = mariadb.start_until(&place()).expect("a file").expect("a thread");
    assert!(until.text().starts_with("START SLAVE 'x' SQL_THREAD UNTIL MASTER_LOG_FILE"), "{until:?}");
    assert_eq!(
        mariadb.wait_for(&place(), 1).expect("a file").text(),
        "SELECT MASTER_POS_WAIT('bin.000007', 1234, 1, 'x')"
    );
}

#[test]
fn servers_we_do_not_know_are_told_nothing() {
    for version in ["", "5.6.51", "9.99.maxscale", "4.1"] {
        assert!(Dialect::of(&facts(version)).is_err(), "{version}");
    }
}
