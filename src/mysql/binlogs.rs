//! Reading the binary logs of a server: which there are, and which hold given GTIDs.

use std::time::Instant;

use domain::gtid::mysql::GtidSet;
use domain::instance::InstanceKey;

use crate::Connector;
use crate::apply::{ApplyError, SHOW_BINARY_LOGS, Session, quote};
use crate::wire::Row;

/// The first events of a log: format, encryption, previous GTIDs; what a newer server may put between them.
const HEAD: u32 = 5;

/// A binary log of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryLog {
    /// File name, without a directory.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
}

/// The binary logs of a server, oldest first (page "SHOW BINARY LOGS").
pub async fn list(connector: &Connector, on: &InstanceKey, until: Instant) -> Result<Vec<BinaryLog>, ApplyError> {
    let mut session = Session::open_to_read(connector, on, until).await?;
    let logs = logs(&mut session).await;
    session.close().await;
    logs
}

/// The binary logs of a MySQL server that hold any of `errant`, oldest first. `purged`: the server's `gtid_purged`.
pub async fn locate(
    connector: &Connector,
    on: &InstanceKey,
    errant: &GtidSet,
    purged: &GtidSet,
    until: Instant,
) -> Result<Vec<String>, ApplyError> {
    let gone = errant.intersect(purged);
    if !gone.is_empty() {
        let reason = format!("the binary logs that held {gone} have been removed");
        return Err(ApplyError::Unsuitable { key: on.clone(), reason });
    }
    let mut session = Session::open_to_read(connector, on, until).await?;
    let located = async {
        let mut walk = Walk::new(errant);
        for log in logs(&mut session).await? {
            let previous = previous(&mut session, on, &log.name).await?;
            walk.reach(log.name, &previous);
            if walk.is_done() {
                break;
            }
        }
        Ok(walk.end())
    }
    .await;
    session.close().await;
    located
}

/// What a MariaDB server can no longer send, as a GTID position: the state at the beginning of its oldest log (page "Gtid_list
/// event"). A replica that has not got as far is turned away with error 1236. Empty: it has everything from the beginning.
pub async fn purged_by_mariadb(connector: &Connector, on: &InstanceKey, until: Instant) -> Result<String, ApplyError> {
    let mut session = Session::open_to_read(connector, on, until).await?;
    let purged = async {
        let Some(oldest) = logs(&mut session).await?.into_iter().next() else { return Ok(String::new()) };
        let info = head(&mut session, on, &oldest.name, "Gtid_list").await?;
        Ok(info.trim_matches(['[', ']']).to_owned())
    }
    .await;
    session.close().await;
    purged
}

async fn logs(session: &mut Session<'_>) -> Result<Vec<BinaryLog>, ApplyError> {
    let rows = session.rows(&SHOW_BINARY_LOGS.into()).await?;
    let log = |row: &Row| {
        let name = row.at(0)?.into_owned();
        Some(BinaryLog { name, size: row.at(1).and_then(|size| size.parse().ok()).unwrap_or(0) })
    };
    Ok(rows.iter().filter_map(log).collect())
}

/// Everything that was executed before a log began.
async fn previous(session: &mut Session<'_>, on: &InstanceKey, log: &str) -> Result<GtidSet, ApplyError> {
    let info = head(session, on, log, "Previous_gtids").await?;
    GtidSet::parse(&info).map_err(|error| ApplyError::Unsuitable { key: on.clone(), reason: format!("{log}: {error}") })
}

/// What an event at the beginning of a log says.
async fn head(session: &mut Session<'_>, on: &InstanceKey, log: &str, event: &str) -> Result<String, ApplyError> {
    let unsuitable = |reason: String| ApplyError::Unsuitable { key: on.clone(), reason };
    let file = quote("name of a log file", log).map_err(|error| unsuitable(error.to_string()))?;
    let rows = session.rows(&format!("SHOW BINLOG EVENTS IN {file} LIMIT {HEAD}").into()).await?;
    let found = rows.iter().find(|row| row.text("Event_type").as_deref() == Some(event));
    let info = found.and_then(|row| row.text("Info")).map(std::borrow::Cow::into_owned);
    info.ok_or_else(|| unsuitable(format!("{log} does not tell which GTIDs came before it")))
}

/// From log to log: what a log's beginning has more than the beginning of the one before is in the one before.
struct Walk {
    missing: GtidSet,
    last: Option<String>,
    found: Vec<String>,
}

impl Walk {
    fn new(errant: &GtidSet) -> Self {
        Self { missing: errant.clone(), last: None, found: Vec::new() }
    }

    /// The next log begins after all of `previous`.
    fn reach(&mut self, log: String, previous: &GtidSet) {
        let still = self.missing.subtract(previous);
        if still != self.missing {
            // Nothing of it was purged, so there is a log before; if the server says otherwise, nothing is found there.
            self.found.extend(self.last.take());
            self.missing = still;
        }
        self.last = Some(log);
    }

    fn is_done(&self) -> bool {
        self.missing.is_empty()
    }

    /// What no beginning has is in the last log.
    fn end(mut self) -> Vec<String> {
        if !self.missing.is_empty() {
            self.found.extend(self.last);
        }
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";

    fn set(intervals: &str) -> GtidSet {
        let text = if intervals.is_empty() { String::new() } else { format!("{A}:{intervals}") };
        GtidSet::parse(&text).expect("a set")
    }

    fn located(errant: &str, beginnings: &[&str]) -> String {
        let mut walk = Walk::new(&set(errant));
        for (index, previous) in beginnings.iter().enumerate() {
            walk.reach(format!("bin.{}", index + 1), &set(previous));
        }
        walk.end().join(" ")
    }

    #[test]
    fn each_gtid_is_in_the_log_before_the_one_that_knows_it() {
        let logs = ["", "1-10", "1-20", "1-30"];
        for (errant, expected) in [
            ("5", "bin.1"),
            ("10-11", "bin.1 bin.2"),
            ("21-30", "bin.3"),
            ("31", "bin.4"),
            ("1:25:40", "bin.1 bin.3 bin.4"),
        ] {
            assert_eq!(located(errant, &logs), expected, "{errant}");
        }
        assert_eq!(located("5", &[]), "");
    }
}
