//! Facts of a server that rarely change, and what each probe of it therefore asks.
//!
//! Read when we first meet a server, again every `slow_facts_every`, and at once when it is not the server it was
//! (`server_uuid`, `server_id` or host name differ, or it has restarted). Of the operator's queries the classifying ones
//! run at this pace; those that decide a failover (promotion rule, semi-sync priority) and the lag run in each probe.
//!
//! A plugin that is installed at run time (semi-sync, Group Replication) is therefore noticed within that time; whether
//! one that was there is switched on or off is seen in each probe.
//!
//! The start time needs no question per probe: a server that restarts breaks the connection, so uptime is asked with
//! each new connection only.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use domain::instance::{FailureKind, InstanceKey, ProbeFailure};
use domain::version::{Fact, ServerVersion};

use crate::batch::{Answers, Ask, Statement};
use crate::columns::{Columns, is_on};
use crate::dialect;
use crate::failure::failure;
use crate::settings::ProbeSettings;
use crate::variables::{Live, SlowVariables, Var, learn_sql};

/// Rounding of uptime and clock, on both sides.
const START_TOLERANCE_SECONDS: i64 = 2;

/// What we know about a server besides its live facts.
#[derive(Debug, Clone)]
pub(crate) struct Learned {
    pub(crate) version: ServerVersion,
    pub(crate) variables: SlowVariables,
    /// Seconds since the Unix epoch; 0 if the server did not tell.
    pub(crate) started_at: i64,
    pub(crate) credentials_available: bool,
    pub(crate) data_center: String,
    pub(crate) region: String,
    pub(crate) physical_environment: String,
    pub(crate) alias: String,
    pub(crate) cluster_alias: String,
    pub(crate) cluster_domain: String,
    pub(crate) using_pseudo_gtid: bool,
    /// Statements the server refused since; not asked again before the next reading.
    pub(crate) refused: BTreeMap<Ask, String>,
    /// The last answer said that the process list is needed too.
    pub(crate) asks_dump_threads: bool,
    /// The last answer said that a semi-sync role is on.
    pub(crate) asks_semi_sync: bool,
    /// The position of the binary log is not asked for until then, and why: the question hung. Each such question stays
    /// behind on the server, as a session that waits.
    pub(crate) hung: Option<Box<(Instant, String)>>,
    identity: Option<Identity>,
    due_at: Instant,
    settings_version: u64,
}

/// What tells a server from another one behind the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    server_id: u64,
    server_uuid: String,
    hostname: String,
}

/// The slow statements. Which server it is, is not known yet: these are the same for all.
pub(crate) fn statements(settings: &ProbeSettings) -> Vec<Statement<'_>> {
    let queries = &settings.queries;
    let mut statements = vec![
        Statement::new(Ask::Variables, learn_sql()),
        Statement::new(Ask::Clock, dialect::CLOCK),
        Statement::new(Ask::Uptime, dialect::UPTIME),
    ];
    if !settings.has_credentials_query {
        statements.push(Statement::new(Ask::SavedCredentials, dialect::SAVED_CREDENTIALS));
    }
    for (ask, sql) in [
        (Ask::DataCenter, &queries.data_center),
        (Ask::Region, &queries.region),
        (Ask::PhysicalEnvironment, &queries.physical_environment),
        (Ask::InstanceAlias, &queries.instance_alias),
        (Ask::ClusterAlias, &queries.cluster_alias),
        (Ask::ClusterDomain, &queries.cluster_domain),
        (Ask::PseudoGtid, &queries.pseudo_gtid),
    ] {
        statements.extend(operators(ask, sql));
    }
    statements
}

/// An operator's query, if there is one.
fn operators(ask: Ask, sql: &str) -> Option<Statement<'_>> {
    (!sql.trim().is_empty()).then(|| Statement::new(ask, sql))
}

impl Learned {
    /// From the answers to [`statements`]. `before`: what we knew of the same server.
    pub(crate) fn read(
        answers: Answers,
        settings: &ProbeSettings,
        settings_version: u64,
        key: &InstanceKey,
        before: Option<&Self>,
    ) -> Result<Self, ProbeFailure> {
        let variables = SlowVariables::read(answers.rows(Ask::Variables));
        let version = version(&variables)?;
        let cell = |ask| answers.first(ask).and_then(|row| row.at(0)).map_or_else(String::new, Cow::into_owned);
        let is_mysql = version.has(Fact::OracleGtid);
        let keeps_table = variables.get("master_info_repository").is_none_or(|kind| kind.eq_ignore_ascii_case("TABLE"));
        let started_at = started_at(&answers).unwrap_or(0);
        let mut refused = answers.refused.clone();
        if !is_mysql {
            // MariaDB has no such table: nothing is missing.
            refused.remove(&Ask::SavedCredentials);
        }
        Ok(Self {
            // MariaDB keeps them in a file: there only the operator's query tells.
            credentials_available: settings.has_credentials_query
                || (is_mysql && keeps_table && is_on(&cell(Ask::SavedCredentials))),
            started_at: before.map_or(started_at, |before| settled(before.started_at, started_at)),
            version,
            variables,
            data_center: cell(Ask::DataCenter),
            region: cell(Ask::Region),
            physical_environment: cell(Ask::PhysicalEnvironment),
            alias: cell(Ask::InstanceAlias),
            cluster_alias: cell(Ask::ClusterAlias),
            cluster_domain: cell(Ask::ClusterDomain),
            using_pseudo_gtid: cell(Ask::PseudoGtid) == "1",
            refused,
            asks_dump_threads: before.is_some_and(|before| before.asks_dump_threads),
            asks_semi_sync: before.is_some_and(|before| before.asks_semi_sync),
            hung: before.and_then(|before| before.hung.clone()),
            identity: before.and_then(|before| before.identity.clone()),
            due_at: Instant::now() + spread(settings.slow_facts_every, key),
            settings_version,
        })
    }

    /// It is time to read again.
    pub(crate) fn is_due(&self, settings_version: u64) -> bool {
        self.settings_version != settings_version || Instant::now() >= self.due_at
    }

    /// Another probe begins: a question that hung is asked again now and then.
    pub(crate) fn tire_of_hanging(&mut self) {
        self.hung.take_if(|hung| Instant::now() >= hung.0);
    }

    /// The statements of each probe. `is_new_connection`: the server may have restarted.
    pub(crate) fn live_statements<'s>(
        &self,
        settings: &'s ProbeSettings,
        is_new_connection: bool,
    ) -> Vec<Statement<'s>> {
        let mut statements = vec![
            Statement::new(Ask::Live, self.variables.live.sql()),
            Statement::new(Ask::ReplicaStatus, dialect::replica_status(&self.version)),
        ];
        if is_new_connection {
            statements.push(Statement::new(Ask::Clock, dialect::CLOCK));
            statements.push(Statement::new(Ask::Uptime, dialect::UPTIME));
        }
        statements.push(Statement::new(Ask::Replicas, dialect::replicas(&self.version)));
        if self.asks_semi_sync {
            statements.push(Self::semi_sync_status());
        }
        if self.asks_dump_threads {
            statements.push(self.dump_threads());
        }
        if self.variables.get("group_replication_group_name").is_some_and(|name| !name.is_empty())
            && self.version.has(Fact::ReplicationGroupMembers)
        {
            statements.push(Statement::new(Ask::Group, dialect::GROUP_MEMBERS));
        }
        if self.has_binlog() && self.hung.is_none() {
            statements.push(Statement::new(Ask::BinlogStatus, dialect::binlog_status(&self.version)));
        }
        let queries = &settings.queries;
        statements.extend(operators(Ask::PromotionRule, &queries.promotion_rule));
        statements.extend(operators(Ask::SemiSyncPriority, &queries.semi_sync_priority));
        statements.extend(operators(Ask::Lag, &queries.replication_lag));
        statements.retain(|statement| !self.refused.contains_key(&statement.ask));
        statements
    }

    /// What the answers show to be needed besides.
    pub(crate) fn further_statements<'a>(&self, answers: &Answers) -> Vec<Statement<'a>> {
        let mut statements = Vec::new();
        if self.asks_semi_sync {
            statements.push(Self::semi_sync_status());
        }
        if self.asks_dump_threads {
            statements.push(self.dump_threads());
        }
        statements.retain(|statement| !answers.has(statement.ask) && !self.refused.contains_key(&statement.ask));
        statements
    }

    fn dump_threads<'a>(&self) -> Statement<'a> {
        let has_performance_schema = self.variables.get("performance_schema").is_some_and(is_on);
        Statement::new(Ask::DumpThreads, dialect::dump_threads(&self.version, has_performance_schema))
    }

    fn semi_sync_status<'a>() -> Statement<'a> {
        Statement::new(Ask::SemiSyncStatus, dialect::SEMI_SYNC_STATUS)
    }

    pub(crate) fn has_binlog(&self) -> bool {
        self.variables.get("log_bin").is_some_and(is_on)
    }

    pub(crate) fn logs_replica_updates(&self) -> bool {
        ["log_replica_updates", "log_slave_updates"].iter().any(|name| self.variables.get(name).is_some_and(is_on))
    }

    /// Is this still the server we learned about? Remembers which one it is.
    pub(crate) fn is_same_server<C: Columns>(&mut self, live: &Live<'_, C>, answers: &Answers) -> bool {
        let identity = Identity {
            server_id: live.number(Var::ServerId),
            server_uuid: live.text(Var::ServerUuid),
            hostname: live.text(Var::Hostname),
        };
        let is_same = self.identity.as_ref().is_none_or(|known| *known == identity);
        self.identity = Some(identity);
        let has_restarted =
            started_at(answers).is_some_and(|started_at| settled(self.started_at, started_at) != self.started_at);
        is_same && !has_restarted
    }
}

fn version(variables: &SlowVariables) -> Result<ServerVersion, ProbeFailure> {
    let text = variables.get("version").unwrap_or_default();
    let version = ServerVersion::parse(text, variables.get("version_comment").unwrap_or_default());
    match version.support() {
        Ok(()) => Ok(version),
        Err(reason) => {
            Err(failure(FailureKind::UnsupportedVersion, format!("version {text:?} is not supported: {reason}")))
        }
    }
}

/// Between three quarters and all of `every`: a fleet that was first read at once is not read again at once.
fn spread(every: Duration, key: &InstanceKey) -> Duration {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let share = u32::try_from(hasher.finish() % 256).unwrap_or(0);
    every * (1024 - share) / 1024
}

/// The server's start, by its own clock and uptime.
fn started_at(answers: &Answers) -> Option<i64> {
    let now: i64 = answers.first(Ask::Clock)?.at(0)?.parse().ok()?;
    let uptime: i64 = answers.first(Ask::Uptime)?.at(1)?.parse().ok()?;
    Some(now - uptime)
}

/// The earlier value, while the new one differs by rounding only.
fn settled(before: i64, now: i64) -> i64 {
    if (before - now).abs() <= START_TOLERANCE_SECONDS { before } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_time_does_not_move_by_rounding() {
        for (before, now, settles) in [(1000, 1000, 1000), (1000, 1002, 1000), (1000, 998, 1000), (1000, 1003, 1003)] {
            assert_eq!(settled(before, now), settles);
        }
    }

    #[test]
    fn slow_readings_are_spread() {
        let every = Duration::from_secs(300);
        let after: Vec<_> = (1..100).map(|port| spread(every, &InstanceKey::new("db", port))).collect();
        assert!(after.iter().all(|after| (225..=300).contains(&after.as_secs())));
        assert!(after.iter().max() > after.iter().min().map(|least| *least + Duration::from_secs(40)).as_ref());
    }

    #[test]
    fn empty_queries_are_not_asked() {
        let mut settings = ProbeSettings::default();
        let asks = |settings: &ProbeSettings| statements(settings).iter().map(|s| s.ask).collect::<Vec<_>>();
        assert_eq!(asks(&settings), [Ask::Variables, Ask::Clock, Ask::Uptime, Ask::SavedCredentials]);
        settings.has_credentials_query = true;
        settings.queries.region = "select 'eu'".to_owned();
        assert_eq!(asks(&settings), [Ask::Variables, Ask::Clock, Ask::Uptime, Ask::Region]);
    }
}
