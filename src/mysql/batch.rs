//! Several statements in one packet, and an answer for each.
//!
//! A server stops at the first statement it refuses. A refused statement that we can do without is noted, and what
//! came after it is sent again, so one missing privilege costs one fact and not the probe. The operator's own queries
//! come last: when one of them does not end in time, what came before it still counts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use domain::instance::{FailureKind, ProbeFailure};
use tokio::time::timeout;

use crate::failure::{self, Stage, failure};
use crate::wire::{Connection, Error, ResultSet, Row};

/// What a statement asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ask {
    /// Variables that rarely change, and which variables there are.
    Variables,
    /// The server's clock.
    Clock,
    /// Seconds since it started.
    Uptime,
    /// Variables that change.
    Live,
    /// Whom it replicates from, and how.
    ReplicaStatus,
    /// Position of its binary log.
    BinlogStatus,
    /// Semi-synchronous replication at work.
    SemiSyncStatus,
    /// Replicas registered with it.
    Replicas,
    /// Connections that read its binary log.
    DumpThreads,
    /// Members of its replication group.
    Group,
    /// Are replication credentials kept in a table?
    SavedCredentials,
    /// `DetectDataCenterQuery`; like all below, written by the operator.
    DataCenter,
    /// `DetectRegionQuery`.
    Region,
    /// `DetectPhysicalEnvironmentQuery`.
    PhysicalEnvironment,
    /// `DetectInstanceAliasQuery`.
    InstanceAlias,
    /// `DetectClusterAliasQuery`.
    ClusterAlias,
    /// `DetectClusterDomainQuery`.
    ClusterDomain,
    /// `DetectPseudoGTIDQuery`.
    PseudoGtid,
    /// `DetectPromotionRuleQuery`.
    PromotionRule,
    /// `DetectSemiSyncEnforcedQuery`.
    SemiSyncPriority,
    /// `ReplicationLagQuery`.
    Lag,
}

impl Ask {
    /// Without this there are no facts.
    fn is_required(self) -> bool {
        matches!(self, Self::Variables | Self::Live | Self::ReplicaStatus)
    }

    /// Waits for whoever writes the binary log, for as long as that takes. Asked after what does not.
    fn may_hang(self) -> bool {
        self == Self::BinlogStatus
    }

    /// Written by the operator: may be slow, may be several statements.
    fn is_operators(self) -> bool {
        self >= Self::DataCenter
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Variables => "global variables",
            Self::Clock => "server clock",
            Self::Uptime => "uptime",
            Self::Live => "live variables",
            Self::ReplicaStatus => "replica status",
            Self::BinlogStatus => "binary log status",
            Self::SemiSyncStatus => "semi-sync status",
            Self::Replicas => "registered replicas",
            Self::DumpThreads => "process list",
            Self::Group => "replication group members",
            Self::SavedCredentials => "replication credentials",
            Self::DataCenter => "DetectDataCenterQuery",
            Self::Region => "DetectRegionQuery",
            Self::PhysicalEnvironment => "DetectPhysicalEnvironmentQuery",
            Self::InstanceAlias => "DetectInstanceAliasQuery",
            Self::ClusterAlias => "DetectClusterAliasQuery",
            Self::ClusterDomain => "DetectClusterDomainQuery",
            Self::PseudoGtid => "DetectPseudoGTIDQuery",
            Self::PromotionRule => "DetectPromotionRuleQuery",
            Self::SemiSyncPriority => "DetectSemiSyncEnforcedQuery",
            Self::Lag => "ReplicationLagQuery",
        })
    }
}

/// One statement and what it is for.
#[derive(Debug, Clone)]
pub(crate) struct Statement<'a> {
    pub(crate) ask: Ask,
    pub(crate) sql: Cow<'a, str>,
}

impl<'a> Statement<'a> {
    pub(crate) fn new(ask: Ask, sql: impl Into<Cow<'a, str>>) -> Self {
        Self { ask, sql: sql.into() }
    }

    /// Gives exactly one result, so it may share a packet. An operator may write a procedure call, or several
    /// statements: those get a packet of their own.
    fn may_share(&self) -> bool {
        if !self.ask.is_operators() {
            return true;
        }
        let sql = trimmed(&self.sql);
        let first: String = sql.chars().take_while(char::is_ascii_alphabetic).collect();
        !sql.contains(';') && matches!(first.to_ascii_uppercase().as_str(), "SELECT" | "SHOW" | "WITH")
    }
}

/// Result sets by what was asked.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    rows: BTreeMap<Ask, Vec<Row>>,
    /// Statements that gave an error, with its text.
    pub(crate) refused: BTreeMap<Ask, String>,
    /// The connection must not be used again.
    pub(crate) is_broken: bool,
    /// What became of a statement that [may hang](Ask::may_hang), and did.
    pub(crate) hung: Option<ProbeFailure>,
}

impl Answers {
    /// The rows of an answer; none if it was not asked or not given.
    pub(crate) fn rows(&self, ask: Ask) -> &[Row] {
        self.rows.get(&ask).map_or(&[], Vec::as_slice)
    }

    /// The first row of an answer.
    pub(crate) fn first(&self, ask: Ask) -> Option<&Row> {
        self.rows(ask).first()
    }

    /// The answer was given.
    pub(crate) fn has(&self, ask: Ask) -> bool {
        self.rows.contains_key(&ask)
    }

    /// Adds the answers of a later packet.
    pub(crate) fn extend(&mut self, later: Answers) {
        self.rows.extend(later.rows);
        self.refused.extend(later.refused);
        self.is_broken |= later.is_broken;
        self.hung = later.hung.or(self.hung.take());
    }
}

/// Asks all statements: in one packet, if none is refused. Adds the packets sent to `round_trips`.
pub(crate) async fn ask(
    connection: &mut Connection,
    statements: &[Statement<'_>],
    limit: Duration,
    round_trips: &mut u64,
) -> Result<Answers, ProbeFailure> {
    let mut answers = Answers::default();
    let (shared, alone): (Vec<&Statement<'_>>, Vec<&Statement<'_>>) = statements.iter().partition(|s| s.may_share());
    let mut pending = shared.as_slice();
    while !pending.is_empty() && !answers.is_broken {
        pending = send(connection, pending, limit, round_trips, &mut answers).await?;
    }
    for statement in alone {
        if answers.hung.is_some() {
            break;
        } else if answers.is_broken {
            answers.refused.insert(statement.ask, "not asked: an earlier query did not end in time".to_owned());
        } else {
            send(connection, &[statement], limit, round_trips, &mut answers).await?;
        }
    }
    Ok(answers)
}

/// Sends one packet; returns the statements that were not reached.
async fn send<'s, 'a>(
    connection: &mut Connection,
    statements: &'s [&'a Statement<'a>],
    limit: Duration,
    round_trips: &mut u64,
    answers: &mut Answers,
) -> Result<&'s [&'a Statement<'a>], ProbeFailure> {
    let sql = joined(statements);
    let mut results: Vec<ResultSet> = Vec::with_capacity(statements.len());
    *round_trips += 1;
    let ended = timeout(limit, connection.query_into(&sql, &mut results)).await;
    let is_alone = statements.len() == 1;
    let answered = if is_alone { results.len().min(1) } else { results.len() };
    if answered > statements.len() {
        return Err(failure(FailureKind::Protocol, "more results than statements"));
    }
    answers.rows.extend(statements.iter().map(|s| s.ask).zip(results.into_iter().map(|result| result.rows)));
    let Some(culprit) = statements.get(answered) else {
        // An error after the first result of a procedure call: we have what we need.
        answers.is_broken |= ended.is_err();
        return Ok(&[]);
    };
    let cause = match &ended {
        Ok(Ok(())) => failure(FailureKind::Protocol, "fewer results than statements"),
        Ok(Err(error)) => failure::classify(error, Stage::Read),
        Err(_) => failure::timed_out(Stage::Read, limit),
    };
    let is_refusal = matches!(ended, Ok(Err(Error::Server(_)))) && cause.kind != FailureKind::Broken;
    if is_refusal && !culprit.ask.is_required() {
        answers.refused.insert(culprit.ask, cause.message);
        return Ok(&statements[answered + 1..]);
    }
    if ended.is_err() && culprit.ask.is_operators() {
        answers.is_broken = true;
        answers.refused.extend(statements[answered..].iter().map(|s| (s.ask, cause.message.clone())));
        return Ok(&[]);
    }
    let cause = failure(cause.kind, format!("asked for {}: {}", culprit.ask, cause.message));
    if ended.is_err() && culprit.ask.may_hang() {
        // Whether what came is enough is for those to say who know the server.
        answers.is_broken = true;
        answers.hung = Some(cause);
        return Ok(&[]);
    }
    Err(cause)
}

/// Line breaks keep a trailing comment of one statement from swallowing the next.
fn joined(statements: &[&Statement<'_>]) -> String {
    let mut sql = String::with_capacity(statements.iter().map(|s| s.sql.len() + 2).sum());
    for statement in statements {
        if !sql.is_empty() {
            sql.push_str("\n;");
        }
        sql.push_str(trimmed(&statement.sql));
    }
    sql
}

fn trimmed(sql: &str) -> &str {
    sql.trim().trim_end_matches(|c: char| c == ';' || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_queries_share_a_packet() {
        for (sql, shares) in [
            ("select 1", true),
            ("SELECT 1 ;\n", true),
            ("with x as (select 1) select * from x", true),
            ("call lag()", false),
            ("set @a = 1; select @a", false),
            ("-- why\nselect 1", false),
        ] {
            assert_eq!(Statement::new(Ask::Lag, sql).may_share(), shares, "{sql}");
        }
    }

    #[test]
    fn a_trailing_comment_hides_nothing() {
        let statements = [Statement::new(Ask::Live, "SELECT 1 -- one"), Statement::new(Ask::Lag, "SELECT 2; ")];
        assert_eq!(joined(&statements.iter().collect::<Vec<_>>()), "SELECT 1 -- one\n;SELECT 2");
    }
}
