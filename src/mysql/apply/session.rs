//! A connection for one order: in a known state, with a deadline, and not left behind.
//!
//! A statement that is not answered in time may still happen: our side hangs up hard (an answer may be under way), and then
//! asks the server, over another connection, to end the one left behind. Both servers also know when to give up by
//! themselves: `lock_wait_timeout` bounds the wait for metadata locks, which is what `SET GLOBAL read_only = ON` waits for
//! behind somebody's `LOCK TABLES` (tried on 9.7 and 10.11: error 1205), and MariaDB's `max_statement_time` the rest.

use std::time::{Duration, Instant};

use domain::instance::{FailureKind, InstanceKey};
use tokio::time::{timeout, timeout_at};

use super::error::ApplyError;
use super::idle::{self, IdleConnections};
use super::sql::Sql;
use crate::Connector;
use crate::failure::{self, Stage};
use crate::wire::{Connection, Error, ResultSet, Row};

/// What ending a statement left behind may take after the deadline. It changes nothing, so it may be late.
const KILL_LIMIT: Duration = Duration::from_millis(300);
/// The server gave up in the middle: by our `KILL` or somebody's, by `max_statement_time`. How far it came is unknown.
const INTERRUPTED: [u16; 3] = [1317, 1969, 3024];

/// A connection in a known state.
pub(crate) struct Session<'a> {
    connector: &'a Connector,
    key: &'a InstanceKey,
    until: Instant,
    /// `None` once it was given up.
    connection: Option<Connection>,
    /// The server's number for it, if it told one.
    id: Option<u64>,
}

impl<'a> Session<'a> {
    /// Connects, or goes on over a connection of the order before. Nothing that changes anything is sent.
    pub(crate) async fn open(
        connector: &'a Connector,
        idle: &IdleConnections,
        key: &'a InstanceKey,
        is_mariadb: bool,
        until: Instant,
    ) -> Result<Self, ApplyError> {
        let mut session = Self { connector, key, until, connection: None, id: None };
        if let Some(connection) = idle.take(key).await
            && session.begin(connection, is_mariadb).await.is_ok()
        {
            return Ok(session);
        }
        session.connect(is_mariadb).await?;
        Ok(session)
    }

    /// Connects, to ask only.
    pub(crate) async fn open_to_read(
        connector: &'a Connector,
        key: &'a InstanceKey,
        until: Instant,
    ) -> Result<Self, ApplyError> {
        let mut session = Self { connector, key, until, connection: None, id: None };
        session.connect(false).await?;
        Ok(session)
    }

    async fn connect(&mut self, is_mariadb: bool) -> Result<(), ApplyError> {
        let opening = self.connector.open(self.key, false).await_until(self.until).await;
        let connection = opening.ok_or_else(|| self.late())?.map_err(|failure| self.unreachable(failure.message))?;
        self.begin(connection, is_mariadb).await
    }

    /// Brings the connection into the known state, whatever state it was in.
    async fn begin(&mut self, mut connection: Connection, is_mariadb: bool) -> Result<(), ApplyError> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.late());
        }
        let settling = connection.query(&settle(is_mariadb, left)).await_until(self.until).await;
        let settled = settling.ok_or_else(|| self.late())?;
        let results = settled.map_err(|error| self.unreachable(failure::classify(&error, Stage::Read).message))?;
        // Only a number may get into a statement.
        self.id = results.last().and_then(|result| result.rows.first()?.at(0)?.parse().ok());
        self.connection = Some(connection);
        Ok(())
    }

    fn late(&self) -> ApplyError {
        self.unreachable("no time was left; nothing was sent".to_owned())
    }

    fn unreachable(&self, reason: String) -> ApplyError {
        ApplyError::Unreachable { key: self.key.clone(), reason }
    }

    /// The rows of one question.
    pub(crate) async fn rows(&mut self, sql: &Sql) -> Result<Vec<Row>, ApplyError> {
        Ok(self.query(sql).await?.into_iter().next().map(|result| result.rows).unwrap_or_default())
    }

    /// Runs one statement whose rows nobody wants.
    pub(crate) async fn run(&mut self, sql: &Sql) -> Result<(), ApplyError> {
        tracing::debug!(instance.key = %self.key, statement = sql.shown(), "changing a server");
        self.query(sql).await.map(drop)
    }

    /// Runs what is in one packet; gives the result of each statement.
    pub(crate) async fn query(&mut self, sql: &Sql) -> Result<Vec<ResultSet>, ApplyError> {
        let mut results = Vec::new();
        self.query_into(sql, &mut results).await.map(|()| results)
    }

    /// As [`Self::query`]; what has come is in `results` even when this fails.
    pub(crate) async fn query_into(&mut self, sql: &Sql, results: &mut Vec<ResultSet>) -> Result<(), ApplyError> {
        let unsent = |reason: &str| ApplyError::Unknown {
            key: self.key.clone(),
            reason: format!("{reason}, so this was not sent: {}", sql.shown()),
        };
        if Instant::now() >= self.until {
            return Err(unsent("the time was over"));
        }
        let Some(connection) = &mut self.connection else {
            return Err(unsent("the connection had been given up"));
        };
        match connection.query_into(sql.text(), results).await_until(self.until).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(self.failed(sql, &error)),
            None => {
                self.abandon().await;
                let reason = failure::shorten(format!("no answer in time to: {}", sql.shown()));
                Err(ApplyError::Unknown { key: self.key.clone(), reason })
            }
        }
    }

    /// The connection can be used.
    pub(crate) fn is_usable(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| !connection.is_broken())
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        if let Some(connection) = self.connection {
            idle::close(connection).await;
        }
    }

    /// Leaves the connection to the next order. Not for sessions that were told something which is not said anew at each
    /// beginning.
    pub(crate) async fn leave(self, idle: &IdleConnections) {
        if let Some(connection) = self.connection
            && !connection.is_broken()
        {
            idle.put(self.key, connection).await;
        }
    }

    fn failed(&self, sql: &Sql, error: &Error) -> ApplyError {
        let key = self.key.clone();
        let cause = failure::classify(error, Stage::Read);
        let told = |said: &str| {
            let said = sql.cleaned(error.number(), said);
            failure::shorten(format!("{said} (statement: {})", sql.shown()))
        };
        match error {
            Error::Server(server) if cause.kind != FailureKind::Broken && !INTERRUPTED.contains(&server.number) => {
                ApplyError::Refused { key, number: server.number, reason: told(&server.message) }
            }
            _ => ApplyError::Unknown { key, reason: told(&cause.message) },
        }
    }

    /// Hangs up without waiting, and asks the server to end what it may still be doing for us.
    async fn abandon(&mut self) {
        drop(self.connection.take());
        let killing = async {
            let id = self.id?;
            let mut connection = self.connector.open(self.key, false).await.ok()?;
            connection.execute(&format!("KILL {id}")).await.ok()
        };
        let killed = timeout(KILL_LIMIT, killing).await.ok().flatten().is_some();
        tracing::debug!(instance.key = %self.key, killed, "gave up a connection in the middle of a statement");
    }
}

/// The state every statement is read in, whatever the server's defaults and its `init_connect` say. The last result is our
/// connection's number.
fn settle(is_mariadb: bool, left: Duration) -> String {
    // Whole seconds. It comes first: "no lock" is a clear answer, an interrupted statement is none.
    let seconds = left.as_secs().max(1);
    let whole = if is_mariadb { format!(", max_statement_time = {:.3}", left.as_secs_f64()) } else { String::new() };
    format!(
        "SET NAMES utf8mb4; SET SESSION sql_mode = '', lock_wait_timeout = {seconds}{whole}, autocommit = 1; \
         SELECT CONNECTION_ID()"
    )
}

/// `timeout_at`, for a moment of our own clock.
trait AwaitUntil: Future + Sized {
    async fn await_until(self, until: Instant) -> Option<Self::Output> {
        timeout_at(until.into(), self).await.ok()
    }
}

impl<F: Future> AwaitUntil for F {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_gives_up_no_later_than_we_do() {
        let mysql = settle(false, Duration::from_millis(2900));
        assert!(mysql.contains("lock_wait_timeout = 2,") && !mysql.contains("max_statement_time"), "{mysql}");
        let mariadb = settle(true, Duration::from_millis(10));
        assert!(mariadb.contains("lock_wait_timeout = 1, max_statement_time = 0.010,"), "{mariadb}");
    }
}
