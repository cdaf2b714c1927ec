//! Replication seen from outside a plan: statements for people to run, and waiting for a place.

use std::time::{Duration, Instant};

use domain::instance::{BinlogCoordinates, InstanceKey, ServerFacts, ThreadState};
use domain::plan::Threads;

use crate::Connector;
use crate::apply::{ApplyError, Dialect, Session};

/// How long an answer may take beyond the wait that was asked for.
const MARGIN: Duration = Duration::from_secs(2);

/// How a wait for a place ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The applier is there; it had so many events to go.
    Reached {
        /// 0: it was there already.
        events: u64,
    },
    /// Not within the limit.
    TimedOut,
    /// The server is no replica, or its applier does not run, or stopped meanwhile.
    NotApplying,
}

/// The statements that run `statement` while replication is stopped: they stop what runs, and start it again. For people to
/// run by hand; each ends with a semicolon.
pub fn restart_replica_statements(facts: &ServerFacts, statement: &str) -> Result<Vec<String>, String> {
    let dialect = Dialect::of(facts)?;
    let (io, sql) = facts.threads();
    let runs = |state| matches!(state, ThreadState::Running | ThreadState::Other);
    let io = Threads { io: runs(io), sql: false };
    let sql = Threads { io: false, sql: runs(sql) };
    let middle = statement.trim().trim_end_matches(|c: char| c == ';' || c.is_whitespace()).to_owned();
    // In small letters, as the original says them.
    let text = |sql: crate::apply::Sql| sql.text().to_ascii_lowercase();
    let stops = [dialect.stop(io), dialect.stop(sql)].into_iter().flatten().map(text);
    let starts = [dialect.start(sql), dialect.start(io)].into_iter().flatten().map(text);
    Ok(stops.chain((!middle.is_empty()).then_some(middle)).chain(starts).map(|sql| sql + ";").collect())
}

/// Waits on the server until its applier has reached a place in its source's log (page "Position-Based Synchronization
/// Functions").
pub async fn wait_for_position(
    connector: &Connector,
    on: &InstanceKey,
    facts: &ServerFacts,
    place: &BinlogCoordinates,
    limit: Duration,
) -> Result<Waited, ApplyError> {
    let unsuitable = |reason| ApplyError::Unsuitable { key: on.clone(), reason };
    let dialect = Dialect::of(facts).map_err(unsuitable)?;
    let sql = dialect.wait_for(place, limit.as_secs().max(1)).map_err(unsuitable)?;
    let mut session = Session::open_to_read(connector, on, Instant::now() + limit + MARGIN).await?;
    let rows = session.rows(&sql).await;
    session.close().await;
    let answer = rows?.first().and_then(|row| row.at(0)?.parse::<i64>().ok());
    Ok(match answer {
        Some(events) if events >= 0 => Waited::Reached { events: events.unsigned_abs() },
        Some(_) => Waited::TimedOut,
        None => Waited::NotApplying,
    })
}

#[cfg(test)]
mod tests {
    use domain::instance::ReplicaFacts;

    use super::*;

    fn statements(version: &str, io: ThreadState, sql: ThreadState, statement: &str) -> String {
        let replica = ReplicaFacts { io_thread: io, sql_thread: sql, ..ReplicaFacts::default() };
        let facts = ServerFacts { version: version.to_owned(), replica: Some(replica), ..ServerFacts::default() };
        restart_replica_statements(&facts, statement).expect("supported").join(" ")
    }

    #[test]
    fn what_runs_is_stopped_and_started_again() {
        use ThreadState::{NoThread, Other, Running, Stopped};
        for (version, io, sql, statement, expected) in [
            (
                "9.7.4",
                Running,
                Running,
                "SET GLOBAL x = 1;\n",
                "stop replica io_thread; stop replica sql_thread; SET GLOBAL x = 1; start replica sql_thread; start \
                 replica io_thread;",
            ),
            ("8.0.21", Other, Stopped, "x", "stop slave io_thread; x; start slave io_thread;"),
            ("10.11.6-MariaDB", Stopped, Running, "x", "stop slave sql_thread; x; start slave sql_thread;"),
            ("9.7.4", NoThread, NoThread, "x", "x;"),
            ("9.7.4", Stopped, Stopped, " ; ", ""),
        ] {
            assert_eq!(statements(version, io, sql, statement), expected, "{version}");
        }
    }
}
