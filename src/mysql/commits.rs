//! When clients committed last and first, as replicas and a new primary tell: for the outage of a failover, which begins with the
//! old primary's last commit and ends with the new one's first.

use std::time::{Duration, Instant};

use domain::gtid::mysql::GtidSet;
use domain::instance::{InstanceKey, ServerFacts};

use crate::Connector;
use crate::apply::{ApplyError, Dialect, Session, quote};

/// How long ago this replica received its last transaction, by its own clock: the difference of two of its moments, so that clocks
/// of servers need not agree. `None`: it does not say (MariaDB, MySQL without `performance_schema`, nothing received since
/// its receiver began).
///
/// Source: <https://dev.mysql.com/doc/refman/9.4/en/performance-schema-replication-connection-status-table.html>
pub async fn last_received(
    connector: &Connector,
    on: &InstanceKey,
    facts: &ServerFacts,
    limit: Duration,
) -> Result<Option<Duration>, ApplyError> {
    let unsuitable = |reason| ApplyError::Unsuitable { key: on.clone(), reason };
    if Dialect::of(facts).map_err(unsuitable)?.is_mariadb() {
        return Ok(None);
    }
    let channel = facts.replica.as_ref().map(|replica| replica.channel.as_str()).unwrap_or_default();
    let channel = quote("name of the channel", channel).map_err(|error| unsuitable(error.to_string()))?;
    let sql = format!("{LAST_RECEIVED}{channel}");
    let mut session = Session::open_to_read(connector, on, Instant::now() + limit).await?;
    let rows = session.rows(&sql.into()).await;
    session.close().await;
    let micros = rows?.first().and_then(|row| row.at(0)?.parse().ok());
    Ok(micros.map(Duration::from_micros))
}

/// The moment of nothing received yet is zero, which gives NULL.
const LAST_RECEIVED: &str = "SELECT TIMESTAMPDIFF(MICROSECOND, LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP, NOW(6)) \
     FROM performance_schema.replication_connection_status \
     WHERE @@GLOBAL.performance_schema AND CHANNEL_NAME = ";

/// Waits until this server commits a transaction of its own that it had not when `before` was learned. Looks every `every`, which is
/// how exact it is. `false`: not within `limit`, or its transactions do not tell where they are from (no GTID).
pub async fn first_own_commit(
    connector: &Connector,
    on: &InstanceKey,
    before: &ServerFacts,
    every: Duration,
    limit: Duration,
) -> Result<bool, ApplyError> {
    let unsuitable = |reason| ApplyError::Unsuitable { key: on.clone(), reason };
    let is_mariadb = Dialect::of(before).map_err(unsuitable)?.is_mariadb();
    if !is_mariadb && !before.supports_oracle_gtid() {
        return Ok(false);
    }
    let sql = if is_mariadb { "SELECT @@GLOBAL.gtid_binlog_pos" } else { "SELECT @@GLOBAL.gtid_executed" };
    let until = Instant::now() + limit;
    let mut session = Session::open_to_read(connector, on, until).await?;
    let found = loop {
        let rows = match session.rows(&sql.to_owned().into()).await {
            Ok(rows) => rows,
            Err(error) => break Err(error),
        };
        let now = rows.first().and_then(|row| row.at(0)).map(std::borrow::Cow::into_owned).unwrap_or_default();
        let is_new = if is_mariadb { is_new_on_mariadb(before, &now) } else { is_new_on_mysql(before, &now) };
        if is_new || Instant::now() + every >= until {
            break Ok(is_new);
        }
        tokio::time::sleep(every).await;
    };
    session.close().await;
    found
}

/// Transactions of a MySQL server bear its UUID.
fn is_new_on_mysql(before: &ServerFacts, now: &str) -> bool {
    let own =
        |text: &str| GtidSet::parse(text).map(|set| set.retain_uuids(|uuid| uuid.to_string() == before.server_uuid));
    let (Ok(had), Ok(has)) = (own(&before.gtid.executed), own(now)) else { return false };
    !has.subtract(&had).is_empty()
}

/// The last transaction of each domain bears the number of the server that committed it: `domain-server-sequence`.
fn is_new_on_mariadb(before: &ServerFacts, now: &str) -> bool {
    let own = before.server_id.to_string();
    let had: Vec<&str> = before.gtid.mariadb_binlog_pos.split(',').map(str::trim).collect();
    now.split(',').map(str::trim).any(|one| one.split('-').nth(1) == Some(own.as_str()) && !had.contains(&one))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "11111111-1111-1111-1111-111111111111";
    const OTHER: &str = "22222222-2222-2222-2222-222222222222";

    #[test]
    fn only_transactions_of_its_own_are_commits_of_its_clients() {
        let mut before = ServerFacts { server_uuid: OWN.to_owned(), ..ServerFacts::default() };
        before.gtid.executed = format!("{OTHER}:1-10");
        assert!(!is_new_on_mysql(&before, &format!("{OTHER}:1-12")), "applied from its relay log");
        assert!(is_new_on_mysql(&before, &format!("{OWN}:1,{OTHER}:1-12")));
        before.gtid.executed = format!("{OWN}:1-3,{OTHER}:1-10");
        assert!(!is_new_on_mysql(&before, &format!("{OWN}:1-3,{OTHER}:1-12")), "from an earlier time as primary");
        assert!(is_new_on_mysql(&before, &format!("{OWN}:1-4,{OTHER}:1-12")));
        assert!(!is_new_on_mysql(&before, "nonsense"));
    }

    #[test]
    fn mariadb_names_the_server_of_the_last_transaction() {
        let mut before = ServerFacts { server_id: 2, ..ServerFacts::default() };
        before.gtid.mariadb_binlog_pos = "0-1-10".to_owned();
        assert!(!is_new_on_mariadb(&before, "0-1-12"));
        assert!(is_new_on_mariadb(&before, "0-2-13"));
        before.gtid.mariadb_binlog_pos = "0-2-13,1-1-5".to_owned();
        assert!(!is_new_on_mariadb(&before, "0-2-13,1-1-6"));
        assert!(is_new_on_mariadb(&before, "0-2-13,1-2-7") && !is_new_on_mariadb(&before, ""));
    }
}
