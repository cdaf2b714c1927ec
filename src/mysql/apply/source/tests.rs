//! Changes of source as text.

use domain::instance::{BinlogCoordinates, InstanceKey, ServerFacts};

use super::*;
use crate::columns::written::row;

fn dialect(version: &str, replica: Option<&ReplicaFacts>) -> Dialect {
    let facts = ServerFacts { version: version.to_owned(), replica: replica.cloned(), ..ServerFacts::default() };
    Dialect::of(&facts).expect("supported")
}

fn change(version: &str, replica: Option<&ReplicaFacts>, position: &Position, options: &SourceOptions) -> String {
    let target = Target { host: "db2", port: 3307, position, options };
    match super::options(&dialect(version, replica), replica, target) {
        Ok(options) => options.join(", "),
        Err(reason) => format!("unsuitable: {reason}"),
    }
}

fn at() -> Position {
    Position::At(BinlogCoordinates { file: "bin.000002".to_owned(), position: 77 })
}

#[test]
fn a_position_in_every_dialect() {
    let plain = SourceOptions::default();
    let gtid = ReplicaFacts { auto_position: true, ..ReplicaFacts::default() };
    let old = "MASTER_HOST = 'db2', MASTER_PORT = 3307, ";
    let new = "SOURCE_HOST = 'db2', SOURCE_PORT = 3307, ";
    for version in ["5.7.44", "8.0.22"] {
        let said = change(version, Some(&gtid), &Position::Auto, &plain);
        assert_eq!(said, format!("{old}MASTER_AUTO_POSITION = 1, MASTER_SSL = 0"), "{version}");
        let said = change(version, Some(&gtid), &at(), &plain);
        let place = "MASTER_LOG_FILE = 'bin.000002', MASTER_LOG_POS = 77, MASTER_AUTO_POSITION = 0";
        assert_eq!(said, format!("{old}{place}, MASTER_SSL = 0"), "{version}");
    }
    for version in ["8.0.23", "8.0.36", "8.4.3", "9.7.4"] {
        let said = change(version, Some(&gtid), &Position::Auto, &plain);
        assert_eq!(said, format!("{new}SOURCE_AUTO_POSITION = 1, SOURCE_SSL = 0"), "{version}");
        let said = change(version, None, &at(), &plain);
        let place = "SOURCE_LOG_FILE = 'bin.000002', SOURCE_LOG_POS = 77, SOURCE_AUTO_POSITION = 0";
        assert_eq!(said, format!("{new}{place}, SOURCE_SSL = 0"), "{version}");
        let said = change(version, Some(&gtid), &Position::Unchanged, &plain);
        assert_eq!(said, format!("{new}SOURCE_SSL = 0"));
    }
    let replica = ReplicaFacts { using_mariadb_gtid: true, ..ReplicaFacts::default() };
    for (replica, position, expected) in [
        (Some(&replica), Position::MariadbSlavePos, "MASTER_USE_GTID = slave_pos, "),
        (None, Position::MariadbSlavePos, "MASTER_USE_GTID = slave_pos, "),
        (None, Position::MariadbCurrentPos, "MASTER_USE_GTID = slave_pos, MASTER_DEMOTE_TO_SLAVE = 1, "),
        (Some(&replica), at(), "MASTER_LOG_FILE = 'bin.000002', MASTER_LOG_POS = 77, MASTER_USE_GTID = no, "),
        (Some(&replica), Position::Unchanged, ""),
    ] {
        let said = change("10.11.6-MariaDB", replica, &position, &plain);
        assert_eq!(said, format!("{old}{expected}MASTER_SSL = 0"));
    }
    let said = change("10.5.23-MariaDB", None, &Position::MariadbCurrentPos, &plain);
    assert_eq!(said, format!("{old}MASTER_USE_GTID = current_pos, MASTER_SSL = 0"));
}

#[test]
fn what_cannot_be_is_not_said() {
    let plain = SourceOptions::default();
    let by_position = ReplicaFacts::default();
    for (version, position, reason) in [
        ("10.11.6-MariaDB", Position::Auto, "no auto-position"),
        ("9.7.4", Position::MariadbSlavePos, "only MariaDB"),
        ("9.7.4", Position::MariadbCurrentPos, "only MariaDB"),
        ("9.7.4", Position::Unchanged, "forgets the position"),
        ("9.7.4", Position::At(BinlogCoordinates::default()), "log file is missing"),
        ("9.7.4", Position::EndOf(InstanceKey::new("x", 1)), "x:1 was not read"),
        ("9.7.4", Position::ExecutedBy(InstanceKey::new("x", 1)), "x:1 was not read"),
    ] {
        let said = change(version, Some(&by_position), &position, &plain);
        assert!(said.starts_with("unsuitable: ") && said.contains(reason), "{said}");
    }
    let dialect = dialect("9.7.4", None);
    for (host, port) in [("", 1), ("a", 0), ("a\nb", 1)] {
        let target = Target { host, port, position: &Position::Auto, options: &plain };
        assert!(super::options(&dialect, None, target).is_err(), "{host:?}:{port}");
    }
}

#[test]
fn tls_and_keys_are_said_again() {
    let tls = SourceTls {
        allowed: true,
        ca_file: "/c'a.pem".to_owned(),
        ca_path: "/ca".to_owned(),
        cert: "/cert".to_owned(),
        cipher: "AES".to_owned(),
        crl_file: "/crl".to_owned(),
        crl_path: "/crls".to_owned(),
        key: r"C:\key".to_owned(),
        verify_server_cert: Some(true),
        version: "TLSv1.3".to_owned(),
        ciphersuites: "S".to_owned(),
        public_key_path: "/pub".to_owned(),
        get_public_key: Some(false),
    };
    let options = SourceOptions { tls, request_public_key: false };
    let common = r"MASTER_SSL = 1, MASTER_SSL_CA = '/c\'a.pem', MASTER_SSL_CAPATH = '/ca', MASTER_SSL_CERT = '/cert', MASTER_SSL_CIPHER = 'AES', MASTER_SSL_CRL = '/crl', MASTER_SSL_CRLPATH = '/crls', MASTER_SSL_KEY = 'C:\\key'";
    let suites = "MASTER_TLS_VERSION = 'TLSv1.3', MASTER_TLS_CIPHERSUITES = 'S'";
    let verify = "MASTER_SSL_VERIFY_SERVER_CERT = 1";
    let keys = "MASTER_PUBLIC_KEY_PATH = '/pub', GET_MASTER_PUBLIC_KEY = 0";
    let said = |version: &str| change(version, None, &Position::Auto, &options);
    assert!(said("8.0.21").ends_with(&format!("{common}, {suites}, {verify}, {keys}")), "{}", said("8.0.21"));
    let new = format!("{common}, {suites}, {verify}, {keys}").replace("MASTER", "SOURCE");
    assert!(said("9.7.4").ends_with(&new), "{}", said("9.7.4"));
    let mariadb = change("10.11.6-MariaDB", None, &Position::MariadbSlavePos, &options);
    assert!(mariadb.ends_with(&format!("{common}, {verify}")), "{mariadb}");
    let asking = SourceOptions { request_public_key: true, ..SourceOptions::default() };
    assert!(change("9.7.4", None, &Position::Auto, &asking).ends_with("GET_SOURCE_PUBLIC_KEY = 1"));
    assert!(!change("5.7.44", None, &Position::Auto, &asking).contains("PUBLIC_KEY"));
}

#[test]
fn the_heartbeat_period_is_said_again_if_it_is_one() {
    let said = |text: &str| {
        heartbeat(&dialect("9.7.4", None), &Kept { heartbeat: Some(text.to_owned()), filters_domains: false })
    };
    assert_eq!(said("0.5").as_deref(), Some("SOURCE_HEARTBEAT_PERIOD = 0.500"));
    assert_eq!(said("2.000").as_deref(), Some("SOURCE_HEARTBEAT_PERIOD = 2.000"));
    assert_eq!(said("0").as_deref(), Some("SOURCE_HEARTBEAT_PERIOD = 0.000"), "switched off stays off");
    for text in ["", "-1", "NaN", "1e300", "1; DROP TABLE t"] {
        assert_eq!(said(text), None, "{text}");
    }
    let kept =
        kept_by_mariadb(&row("Slave_heartbeat_period=2.5\nReplicate_Do_Domain_Ids=\nReplicate_Ignore_Domain_Ids=9"));
    assert_eq!(kept, Kept { heartbeat: Some("2.5".to_owned()), filters_domains: true });
    assert!(!kept_by_mariadb(&row("Replicate_Do_Domain_Ids=\nReplicate_Ignore_Domain_Ids=")).filters_domains);
}
