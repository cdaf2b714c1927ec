//! When a receiver last got anything from its source: transactions, or the heartbeats that an idle source sends. One that got
//! nothing for longer than the heartbeat period has lost its source, long before it notices.
//!
//! MySQL tells when (`performance_schema` on, its default); MariaDB, and MySQL without that, tell how much: whether that changes
//! from one question to the next has to be watched for a period.

use std::time::{Duration, Instant};

use domain::instance::{InstanceKey, ServerFacts};

use crate::Connector;
use crate::apply::{ApplyError, Dialect, Session, quote};
use crate::columns::{Columns, is_on};
use crate::dialect::ALL_SLAVES_STATUS;
use crate::wire::Row;

/// What a receiver has heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// An idle source sends something this often; `None`: it sends nothing.
    pub period: Option<Duration>,
    /// Since it last got anything; `None`: only [`Self::mark`] tells.
    pub quiet: Option<Duration>,
    /// Something else whenever anything came.
    pub mark: String,
}

/// Asks the receiver of the channel that makes this server a replica. `facts`: what the server said last. `None`: it does not say.
pub async fn heard(
    connector: &Connector,
    on: &InstanceKey,
    facts: &ServerFacts,
    limit: Duration,
) -> Result<Option<Heard>, ApplyError> {
    let unsuitable = |reason| ApplyError::Unsuitable { key: on.clone(), reason };
    let is_mariadb = Dialect::of(facts).map_err(unsuitable)?.is_mariadb();
    let channel = facts.replica.as_ref().map(|replica| replica.channel.as_str()).unwrap_or_default();
    let sql = if is_mariadb {
        ALL_SLAVES_STATUS.to_owned()
    } else {
        let channel = quote("name of the channel", channel).map_err(|error| unsuitable(error.to_string()))?;
        format!("{OF_MYSQL}{channel}; SHOW REPLICA STATUS FOR CHANNEL {channel}")
    };
    let mut session = Session::open_to_read(connector, on, Instant::now() + limit).await?;
    let results = session.query(&sql.into()).await;
    session.close().await;
    let results = results?;
    let rows = |index: usize| results.get(index).map(|result| result.rows.as_slice()).unwrap_or_default();
    if is_mariadb {
        let named = |row: &&Row| row.any(["Connection_name"; 2]) == channel;
        return Ok(rows(0).iter().find(named).map(of_mariadb));
    }
    Ok(rows(0).first().zip(rows(1).first()).map(|(heard, status)| of_mysql(heard, status)))
}

/// Times are those of the server's own clock. While a transaction is being received nothing tells how old its last piece is.
const OF_MYSQL: &str = "SELECT told.HEARTBEAT_INTERVAL, heard.COUNT_RECEIVED_HEARTBEATS, @@GLOBAL.performance_schema, \
     heard.QUEUEING_TRANSACTION, TIMESTAMPDIFF(MICROSECOND, \
       GREATEST(heard.LAST_HEARTBEAT_TIMESTAMP, heard.LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP), NOW(6)) \
     FROM performance_schema.replication_connection_status heard \
     JOIN performance_schema.replication_connection_configuration told USING (CHANNEL_NAME) WHERE CHANNEL_NAME = ";

fn of_mysql(heard: &Row, status: &Row) -> Heard {
    let cell = |index: usize| heard.at(index).map(std::borrow::Cow::into_owned).unwrap_or_default();
    let tells = is_on(&cell(2)) && cell(3).is_empty();
    let place = ["Source_Log_File", "Read_Source_Log_Pos", "Retrieved_Gtid_Set"].map(|name| status.any([name; 2]));
    Heard {
        period: period(&cell(0)),
        quiet: cell(4).parse().ok().filter(|_| tells).map(Duration::from_micros),
        mark: format!("{} {}", cell(1), place.join(" ")),
    }
}

fn of_mariadb(status: &Row) -> Heard {
    let place = ["Slave_received_heartbeats", "Master_Log_File", "Read_Master_Log_Pos", "Gtid_IO_Pos"];
    Heard {
        period: period(&status.any(["Slave_heartbeat_period"; 2])),
        quiet: None,
        mark: place.map(|name| status.any([name; 2])).join(" "),
    }
}

/// As servers write it: seconds with a fraction, 0 for none.
fn period(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|period| !period.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_seconds_with_a_fraction() {
        assert_eq!(period("2.000"), Some(Duration::from_secs(2)));
        assert_eq!(period("0.5"), Some(Duration::from_millis(500)));
        for none in ["0.000", "", "-1", "x"] {
            assert_eq!(period(none), None, "{none}");
        }
    }
}
