//! The statements that change a server, in the words of each server: every statement is spelt here and nowhere else.
//!
//! Who knows which words is in [`domain::version`]. MariaDB keeps the old words in all versions, so it is told those.
//!
//! Manual: <https://dev.mysql.com/doc/refman/8.4/en/replication-statements.html>,
//! <https://mariadb.com/kb/en/replication-statements/>.

use domain::instance::{BinlogCoordinates, PluginNaming, ServerFacts};
use domain::plan::{SemiSyncSide, Threads};
use domain::version::{Fact, ServerVersion};

use super::quote::quote;
use super::sql::Sql;

/// Why a server cannot be told something; for people.
pub(crate) type Unsuitable = String;

/// How to talk to one server about one of its channels.
#[derive(Debug, Clone)]
pub(crate) struct Dialect {
    version: ServerVersion,
    /// The literal of the channel's name, if it has to be said: unnamed statements act on all channels (MySQL), or on the
    /// default one (MariaDB).
    channel: Option<String>,
}

impl Dialect {
    /// For the server that said this about itself.
    pub(crate) fn of(facts: &ServerFacts) -> Result<Self, Unsuitable> {
        let version = ServerVersion::parse(&facts.version, &facts.version_comment);
        version.support().map_err(|error| error.to_string())?;
        let channel = match &facts.replica {
            Some(replica) if !(replica.channel.is_empty() && replica.other_channels.is_empty()) => {
                Some(quote("name of the channel", &replica.channel).map_err(|error| error.to_string())?)
            }
            _ => None,
        };
        Ok(Self { version, channel })
    }

    pub(crate) fn is_mariadb(&self) -> bool {
        self.version.has(Fact::MariaDbGtid)
    }

    pub(crate) fn has(&self, fact: Fact) -> bool {
        self.version.has(fact)
    }

    /// `REPLICA` or `SLAVE`.
    fn replica(&self) -> &'static str {
        if self.has(Fact::ReplicaWords) && !self.is_mariadb() { "REPLICA" } else { "SLAVE" }
    }

    /// Prefix of the options of a source.
    pub(crate) fn source(&self) -> &'static str {
        if self.has(Fact::SourceWords) { "SOURCE" } else { "MASTER" }
    }

    /// MariaDB names the channel behind the words that begin the statement.
    fn early_channel(&self) -> String {
        self.channel.as_ref().filter(|_| self.is_mariadb()).map_or_else(String::new, |name| format!(" {name}"))
    }

    /// MySQL names it at the end.
    fn late_channel(&self) -> String {
        let named = self.channel.as_ref().filter(|_| !self.is_mariadb());
        named.map_or_else(String::new, |name| format!(" FOR CHANNEL {name}"))
    }

    fn threads(&self, verb: &str, threads: Threads, until: &str) -> Option<Sql> {
        let which = match (threads.io, threads.sql) {
            (true, true) => "",
            (true, false) => " IO_THREAD",
            (false, true) => " SQL_THREAD",
            (false, false) => return None,
        };
        let (replica, early, late) = (self.replica(), self.early_channel(), self.late_channel());
        Some(format!("{verb} {replica}{early}{which}{until}{late}").into())
    }

    /// `None`: no threads, nothing to do.
    pub(crate) fn stop(&self, threads: Threads) -> Option<Sql> {
        self.threads("STOP", threads, "")
    }

    /// `None`: no threads, nothing to do.
    pub(crate) fn start(&self, threads: Threads) -> Option<Sql> {
        self.threads("START", threads, "")
    }

    /// The applier stops by itself at the end of the first event group that reaches the place.
    pub(crate) fn start_until(&self, place: &BinlogCoordinates) -> Result<Option<Sql>, Unsuitable> {
        let source = self.source();
        let file = file(&place.file)?;
        let until = format!(" UNTIL {source}_LOG_FILE = {file}, {source}_LOG_POS = {}", place.position);
        Ok(self.threads("START", Threads::SQL, &until))
    }

    /// How long a receiver waits for its source, to connect and for each packet.
    pub(crate) fn net_timeout(&self) -> &'static str {
        if self.has(Fact::ReplicaVariables) && !self.is_mariadb() { "replica_net_timeout" } else { "slave_net_timeout" }
    }

    /// The change of some options of the source.
    pub(crate) fn change(&self, options: &[String]) -> String {
        let options = options.join(", ");
        if self.has(Fact::SourceWords) {
            format!("CHANGE REPLICATION SOURCE TO {options}{}", self.late_channel())
        } else {
            format!("CHANGE MASTER{} TO {options}{}", self.early_channel(), self.late_channel())
        }
    }

    /// Removes the relay logs, keeps the options.
    pub(crate) fn reset(&self) -> Sql {
        format!("RESET {}{}{}", self.replica(), self.early_channel(), self.late_channel()).into()
    }

    /// Removes the options, too. Every supported server then knows nothing of its source any more. (Before 5.6.3 the
    /// host stayed, and was changed to `_` first.)
    pub(crate) fn reset_all(&self) -> Sql {
        format!("RESET {}{} ALL{}", self.replica(), self.early_channel(), self.late_channel()).into()
    }

    /// Skips one event group when the applier is next started. MariaDB has one counter per channel.
    pub(crate) fn skip_one(&self) -> Vec<Sql> {
        let counter =
            if self.has(Fact::ReplicaVariables) { "sql_replica_skip_counter" } else { "sql_slave_skip_counter" };
        let named = self.channel.as_ref().filter(|_| self.is_mariadb());
        let choose = named.map(|name| format!("SET SESSION default_master_connection = {name}").into());
        choose.into_iter().chain([format!("SET GLOBAL {counter} = 1").into()]).collect()
    }

    /// `read_only`, then `super_read_only` where asked for and known: the first stops most writers at once, and each waits
    /// for its own lock. Taking `read_only` away takes `super_read_only` away (page "Server System Variables").
    pub(crate) fn read_only(&self, read_only: bool, with_super: bool) -> Vec<Sql> {
        let mut statements = vec![Sql::from(format!("SET GLOBAL read_only = {}", on_off(read_only)))];
        if read_only && with_super && self.has(Fact::SuperReadOnly) {
            statements.push("SET GLOBAL super_read_only = ON".into());
        }
        statements
    }

    /// MySQL only.
    pub(crate) fn reset_binary_logs(&self) -> Sql {
        if self.has(Fact::BinaryLogStatus) { "RESET BINARY LOGS AND GTIDS" } else { "RESET MASTER" }.into()
    }

    /// Waits on the server until its applier has reached a place, for so many seconds.
    pub(crate) fn wait_for(&self, place: &BinlogCoordinates, seconds: u64) -> Result<Sql, Unsuitable> {
        let function = if self.has(Fact::SourcePosWait) { "SOURCE_POS_WAIT" } else { "MASTER_POS_WAIT" };
        let channel = self.channel.as_ref().map_or_else(String::new, |name| format!(", {name}"));
        let file = file(&place.file)?;
        Ok(format!("SELECT {function}({file}, {}, {seconds}{channel})", place.position).into())
    }
}

/// One side of semi-synchronous replication.
pub(crate) fn semi_sync(naming: PluginNaming, side: SemiSyncSide, enabled: bool) -> Sql {
    let word = match (naming, side) {
        (PluginNaming::SourceReplica, SemiSyncSide::Source) => "source",
        (PluginNaming::SourceReplica, SemiSyncSide::Replica) => "replica",
        (PluginNaming::MasterSlave, SemiSyncSide::Source) => "master",
        (PluginNaming::MasterSlave, SemiSyncSide::Replica) => "slave",
    };
    format!("SET GLOBAL rpl_semi_sync_{word}_enabled = {}", on_off(enabled)).into()
}

/// Begins a new binary log. Flushes of logs are never written to the log themselves; this says so once more.
pub(crate) const FLUSH_BINARY_LOGS: &str = "FLUSH NO_WRITE_TO_BINLOG BINARY LOGS";

/// The logs that are there, the oldest first.
pub(crate) const SHOW_BINARY_LOGS: &str = "SHOW BINARY LOGS";

/// MariaDB: who is there and may write in spite of `read_only`: sessions (not ours, not replication) and events; a word,
/// whose, number or name. Privileges are bits: 33 is `READ_ONLY ADMIN`, 15 is `SUPER`, which means the other in what was
/// granted before 10.11 (`privilege.h`). Roles give them, too, one through another; the account of a session is known by
/// its user only, whatever host it comes from.
pub(crate) const PRIVILEGED_WRITERS: &str = "WITH RECURSIVE
 told AS (SELECT User, Host, CAST(COALESCE(JSON_VALUE(Priv, '$.access'), 0) AS UNSIGNED) AS access,
   CAST(COALESCE(JSON_VALUE(Priv, '$.version_id'), 0) AS UNSIGNED) AS since FROM mysql.global_priv),
 may (user, host) AS (
   SELECT User, Host FROM told WHERE access & 8589934592 <> 0 OR (access & 32768 <> 0 AND since < 101100)
   UNION SELECT granted.User, granted.Host FROM mysql.roles_mapping granted
     JOIN may ON granted.Role = may.user AND may.host = '')
SELECT 'session' AS what, session.ID, session.USER FROM information_schema.PROCESSLIST session
 WHERE session.ID <> CONNECTION_ID() AND session.USER <> SUBSTRING_INDEX(USER(), '@', 1)
   AND session.USER NOT IN ('system user', 'event_scheduler')
   AND session.COMMAND NOT IN ('Binlog Dump', 'Daemon', 'Slave_IO', 'Slave_SQL', 'Slave_worker')
   AND EXISTS (SELECT 1 FROM may WHERE may.user IN (session.USER, '', 'PUBLIC'))
UNION ALL
SELECT 'event', CONCAT(event.db, '.', event.name), event.definer FROM mysql.event event
 WHERE @@GLOBAL.event_scheduler = 'ON' AND event.status = 'ENABLED'
   AND EXISTS (SELECT 1 FROM may
     WHERE may.user = LEFT(event.definer, CHAR_LENGTH(event.definer) - LOCATE('@', REVERSE(event.definer))))
 LIMIT 20";

/// Removes the binary logs before this one.
pub(crate) fn purge_to(name: &str) -> Result<Sql, Unsuitable> {
    Ok(format!("PURGE BINARY LOGS TO {}", file(name)?).into())
}

/// Ends a statement, not its connection.
pub(crate) fn kill_query(id: u64) -> Sql {
    format!("KILL QUERY {id}").into()
}

/// Ends a connection, whatever it does.
pub(crate) fn kill(id: u64) -> Sql {
    format!("KILL {id}").into()
}

/// Everybody who is connected: number, user, host, schema, command, seconds, state, statement.
pub(crate) const SHOW_SESSIONS: &str = "SHOW PROCESSLIST";

/// The literal of a log file's name.
pub(crate) fn file(name: &str) -> Result<String, Unsuitable> {
    if name.is_empty() {
        return Err("the name of a log file is missing".to_owned());
    }
    quote("name of a log file", name).map_err(|error| error.to_string())
}

fn on_off(on: bool) -> &'static str {
    if on { "ON" } else { "OFF" }
}

#[cfg(test)]
pub(crate) mod tests;
