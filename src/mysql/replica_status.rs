//! `SHOW REPLICA STATUS` and its older names. Columns are found by presence: their names follow the statement and the
//! flavor, not the version alone.

use domain::instance::{BinlogCoordinates, InstanceKey, ReplicaFacts, SourceTls, ThreadState};

use crate::columns::{Columns, is_on};

/// Filters a replica may have; any that is set makes it a filtered replica.
const FILTERS: [&str; 6] = [
    "Replicate_Do_DB",
    "Replicate_Ignore_DB",
    "Replicate_Do_Table",
    "Replicate_Ignore_Table",
    "Replicate_Wild_Do_Table",
    "Replicate_Wild_Ignore_Table",
];

/// Facts of the channel that makes the server a replica: the default channel if it has a source, else the first that
/// has one. `None` if there is no such channel. The error says what cannot be read.
pub(crate) fn read<C: Columns>(rows: &[C]) -> Result<Option<ReplicaFacts>, String> {
    let sourced = || rows.iter().filter(|row| has_source(*row));
    let Some(chosen) = sourced().find(|row| channel(*row).is_empty()).or_else(|| sourced().next()) else {
        return Ok(None);
    };
    let name = channel(chosen);
    let mut facts = read_channel(chosen)?;
    facts.other_channels = sourced().map(channel).filter(|other| *other != name).collect();
    facts.channel = name;
    Ok(Some(facts))
}

/// The replication user of a channel.
pub(crate) fn user(row: &impl Columns) -> String {
    row.any(["Source_User", "Master_User"])
}

fn channel(row: &impl Columns) -> String {
    row.any(["Channel_Name", "Connection_name"])
}

/// Left-over rows have no host, and the channels of Group Replication have none of their own.
fn has_source(row: &impl Columns) -> bool {
    let host = row.any(["Source_Host", "Master_Host"]);
    !matches!(host.as_str(), "" | "<NULL>") && !channel(row).starts_with("group_replication_")
}

fn read_channel(row: &impl Columns) -> Result<ReplicaFacts, String> {
    let seconds_behind = row
        .maybe(["Seconds_Behind_Source", "Seconds_Behind_Master"])
        .and_then(|text| text.parse::<i64>().ok())
        .map(|seconds| seconds.max(0));
    Ok(ReplicaFacts {
        source: source(row)?,
        source_uuid: row.maybe(["Source_UUID", "Master_UUID"]).unwrap_or_else(|| "No".to_owned()),
        user: user(row),
        io_thread: thread(row, ["Replica_IO_Running", "Slave_IO_Running"]),
        sql_thread: thread(row, ["Replica_SQL_Running", "Slave_SQL_Running"]),
        read: coordinates(row, ["Source_Log_File", "Master_Log_File"], ["Read_Source_Log_Pos", "Read_Master_Log_Pos"]),
        exec: coordinates(
            row,
            ["Relay_Source_Log_File", "Relay_Master_Log_File"],
            ["Exec_Source_Log_Pos", "Exec_Master_Log_Pos"],
        ),
        relay: coordinates(row, ["Relay_Log_File"; 2], ["Relay_Log_Pos"; 2]),
        last_sql_error: row.any(["Last_SQL_Error"; 2]),
        last_sql_errno: row.maybe(["Last_SQL_Errno"; 2]).and_then(|text| text.parse().ok()).unwrap_or(0),
        last_io_error: row.any(["Last_IO_Error"; 2]),
        last_io_errno: row.maybe(["Last_IO_Errno"; 2]).and_then(|text| text.parse().ok()).unwrap_or(0),
        seconds_behind,
        lag_seconds: seconds_behind,
        sql_delay: number(row, ["SQL_Delay"; 2]),
        auto_position: row.any(["Auto_Position"; 2]) == "1",
        using_mariadb_gtid: is_on(&row.any(["Using_Gtid"; 2])),
        retrieved_gtid_set: gtid_set(row, "Retrieved_Gtid_Set"),
        mariadb_io_pos: gtid_set(row, "Gtid_IO_Pos"),
        has_filters: FILTERS.iter().any(|name| row.text(name).is_some_and(|text| !text.is_empty())),
        tls: tls(row),
        channel: String::new(),
        other_channels: Vec::new(),
        // Not among the columns: the variables tell.
        applies_out_of_order: None,
    })
}

fn source(row: &impl Columns) -> Result<InstanceKey, String> {
    let host = row.any(["Source_Host", "Master_Host"]);
    let port = row.any(["Source_Port", "Master_Port"]);
    let port: u16 = port.parse().map_err(|_| format!("the source's port {port:?} is no port"))?;
    InstanceKey::reported(&host, port).map_err(|error| format!("the source's name is unusable: {error}"))
}

fn thread(row: &impl Columns, names: [&str; 2]) -> ThreadState {
    ThreadState::from_status(&row.any(names))
}

fn coordinates(row: &impl Columns, file: [&str; 2], position: [&str; 2]) -> BinlogCoordinates {
    BinlogCoordinates { file: row.any(file), position: number(row, position) }
}

fn number(row: &impl Columns, names: [&str; 2]) -> u64 {
    row.maybe(names).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn gtid_set(row: &impl Columns, name: &str) -> String {
    row.text(name).map_or_else(String::new, |text| text.chars().filter(|c| !c.is_whitespace()).collect())
}

fn tls(row: &impl Columns) -> SourceTls {
    let public_key_path = row.any(["Source_public_key_path", "Master_public_key_path"]);
    let get_public_key = match row.any(["Get_Source_public_key", "Get_master_public_key"]) {
        text if !text.is_empty() => Some(is_on(&text)),
        // A key file and fetching the key exclude each other.
        _ => (!public_key_path.is_empty()).then_some(false),
    };
    let verify = row.any(["Source_SSL_Verify_Server_Cert", "Master_SSL_Verify_Server_Cert"]);
    SourceTls {
        allowed: row.any(["Source_SSL_Allowed", "Master_SSL_Allowed"]) == "Yes",
        ca_file: row.any(["Source_SSL_CA_File", "Master_SSL_CA_File"]),
        ca_path: row.any(["Source_SSL_CA_Path", "Master_SSL_CA_Path"]),
        cert: row.any(["Source_SSL_Cert", "Master_SSL_Cert"]),
        cipher: row.any(["Source_SSL_Cipher", "Master_SSL_Cipher"]),
        crl_file: row.any(["Source_SSL_Crl", "Master_SSL_Crl"]),
        crl_path: row.any(["Source_SSL_Crlpath", "Master_SSL_Crlpath"]),
        key: row.any(["Source_SSL_Key", "Master_SSL_Key"]),
        verify_server_cert: (!verify.is_empty()).then(|| is_on(&verify)),
        version: row.any(["Source_TLS_Version", "Master_TLS_Version"]),
        ciphersuites: row.any(["Source_TLS_Ciphersuites", "Master_TLS_Ciphersuites"]),
        public_key_path,
        get_public_key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::written::row;

    /// MySQL 5.7, a running replica behind a delay.
    const OLD: &str = "Slave_IO_State=Waiting for master to send event
        Master_Host=db1.example.com\nMaster_User=repl\nMaster_Port=3306
        Master_Log_File=mysql-bin.000007\nRead_Master_Log_Pos=1540\nRelay_Log_File=relay.000002\nRelay_Log_Pos=367
        Relay_Master_Log_File=mysql-bin.000007\nSlave_IO_Running=Yes\nSlave_SQL_Running=No
        Replicate_Do_DB=\nReplicate_Wild_Ignore_Table=tmp.%\nExec_Master_Log_Pos=1100
        Master_SSL_Allowed=Yes\nMaster_SSL_CA_File=/ca.pem\nMaster_SSL_Verify_Server_Cert=No
        Seconds_Behind_Master=-3\nLast_IO_Errno=2003\nLast_IO_Error=\nLast_SQL_Errno=1062\nLast_SQL_Error=Duplicate entry \"1\" for key
        Master_UUID=aaaa\nSQL_Delay=60\nAuto_Position=1\nRetrieved_Gtid_Set=aaaa:1-7\nMaster_TLS_Version=TLSv1.2
        Channel_Name=";

    #[test]
    fn old_names_are_read() {
        let facts = read(&[row(OLD)]).expect("readable").expect("a replica");
        assert_eq!(facts.source, InstanceKey::new("db1.example.com", 3306));
        assert_eq!((facts.io_thread, facts.sql_thread), (ThreadState::Running, ThreadState::Stopped));
        assert_eq!(facts.read, BinlogCoordinates { file: "mysql-bin.000007".to_owned(), position: 1540 });
        assert_eq!(facts.exec.position, 1100);
        assert_eq!(facts.relay, BinlogCoordinates { file: "relay.000002".to_owned(), position: 367 });
        assert_eq!((facts.seconds_behind, facts.sql_delay), (Some(0), 60), "a negative lag is no lag");
        assert!(facts.has_filters && facts.auto_position && !facts.using_mariadb_gtid);
        assert_eq!((facts.last_io_errno, facts.last_sql_errno), (2003, 1062));
        assert_eq!(facts.last_sql_error, "Duplicate entry \"1\" for key");
        assert_eq!((facts.source_uuid.as_str(), facts.user.as_str()), ("aaaa", "repl"));
        assert!(facts.tls.allowed);
        assert_eq!((facts.tls.ca_file.as_str(), facts.tls.verify_server_cert), ("/ca.pem", Some(false)));
        assert_eq!(facts.tls.get_public_key, None, "5.7 does not say");
    }

    #[test]
    fn new_names_and_old_names_mean_the_same() {
        let new = OLD
            .replace("Master_", "Source_")
            .replace("_Master", "_Source")
            .replace("Slave_IO_R", "Replica_IO_R")
            .replace("Slave_SQL_R", "Replica_SQL_R");
        assert_eq!(read(&[row(OLD)]), read(&[row(&new)]));
    }

    #[test]
    fn mariadb_gtid_and_thread_states_are_read() {
        for (using, expected) in [("No", false), ("Slave_Pos", true), ("Current_Pos", true), ("", false)] {
            let text = format!(
                "Connection_name=\nMaster_Host=m\nMaster_Port=3306\nSlave_IO_Running=Connecting\nUsing_Gtid={using}
                 Gtid_IO_Pos=0-1-5, 1-1-2\nSeconds_Behind_Master"
            );
            let facts = read(&[row(&text)]).expect("readable").expect("a replica");
            assert_eq!(facts.using_mariadb_gtid, expected, "{using:?}");
            assert_eq!((facts.io_thread, facts.sql_thread), (ThreadState::Other, ThreadState::Other));
            assert_eq!((facts.seconds_behind, facts.mariadb_io_pos.as_str()), (None, "0-1-5,1-1-2"));
            assert_eq!(facts.source_uuid, "No");
        }
    }

    #[test]
    fn a_row_without_a_source_makes_no_replica() {
        assert_eq!(read(&[row("Source_Host=\nSource_Port=3306")]), Ok(None));
        assert_eq!(read(&[row("Source_Host=<NULL>\nSource_Port=0\nChannel_Name=group_replication_applier")]), Ok(None));
        assert_eq!(read::<crate::columns::written::Written>(&[]), Ok(None));
    }

    #[test]
    fn the_default_channel_comes_first_and_the_others_are_named() {
        let channel = |name: &str, host: &str| row(&format!("Source_Host={host}\nSource_Port=1\nChannel_Name={name}"));
        let facts = |rows: &[_]| {
            let facts = read(rows).expect("readable").expect("a replica");
            (facts.source.hostname, facts.channel, facts.other_channels.join(","))
        };
        let chosen = |host: &str, name: &str, others: &str| (host.to_owned(), name.to_owned(), others.to_owned());
        assert_eq!(facts(&[channel("a", "one"), channel("", "two")]), chosen("two", "", "a"));
        assert_eq!(facts(&[channel("", ""), channel("b", "three"), channel("c", "four")]), chosen("three", "b", "c"));
    }

    #[test]
    fn hostile_source_names_are_refused_in_few_words() {
        for host in ["<script>".to_owned(), "a\u{7}b".to_owned(), "x".repeat(10_000)] {
            let error = read(&[row(&format!("Source_Host={host}\nSource_Port=3306"))]).expect_err("unusable");
            assert!(error.len() < 300, "{error}");
        }
        assert!(read(&[row("Source_Host=db1\nSource_Port=99999")]).is_err());
    }
}
