//! Changes one server: each [`Action`] in the words that server knows, within a limit.
//!
//! What this is: statements ([`words`], [`source`]), how values get into them ([`quote`]), one session per order
//! ([`session`]), over the connection of the order before if there is one ([`idle`]). What it deliberately is not: it decides
//! nothing, waits for nothing (whoever orders looks afterwards), and persists nothing on the server: `SET GLOBAL` holds until
//! the server restarts, as its operator configured it.
//!
//! Invariants:
//! - no statement is sent after `until`; a statement not answered by then is given up hard, and ended on the server;
//! - what was not sent, refused, and not answered are told apart ([`ApplyError`]);
//! - no password is in a log line or an error.
//!
//! To do one more thing to a server: a variant of [`Action`], its words in `words.rs` (one place, tested for every
//! dialect), its arm here, a test on real servers.

mod close;
mod credentials;
mod error;
mod gtid;
mod idle;
mod purge;
mod quote;
mod seal;
mod session;
mod sessions;
mod source;
mod sql;
mod stop;
mod words;

use std::time::Instant;

use domain::instance::{InstanceKey, ServerFacts, ThreadState};
use domain::plan::{Action, Position, SemiSyncSide, Threads};

pub use error::ApplyError;
pub use idle::IdleConnections;
pub(crate) use quote::quote;
pub(crate) use session::Session;
use source::Target;
pub(crate) use sql::Sql;
use words::Unsuitable;
pub(crate) use words::{Dialect, SHOW_BINARY_LOGS};

use crate::Connector;

/// One order to one server.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The server.
    pub on: &'a InstanceKey,
    /// What to do. Positions are known by now: `ExecutedBy` and `EndOf` are errors here.
    pub action: &'a Action,
    /// What the server said a moment ago: version, present options, state of its threads.
    pub facts: &'a ServerFacts,
    /// Our own clock: no statement is sent after.
    pub until: Instant,
    /// `ReplicationCredentialsQuery`; empty if not configured.
    pub credentials_query: &'a str,
}

/// Carries out one order. Returns when the server has answered, at the latest 0.4 s after `until`.
///
/// `Drain` sends nothing, and `RunUntil` only starts the applier: the caller looks until they have come true.
pub async fn apply(connector: &Connector, idle: &IdleConnections, order: Order<'_>) -> Result<(), ApplyError> {
    let unsuitable = |reason| ApplyError::Unsuitable { key: order.on.clone(), reason };
    let context = &Context { connector, idle, order, dialect: Dialect::of(order.facts).map_err(unsuitable)? };
    let dialect = &context.dialect;
    match order.action {
        Action::Drain => Ok(()),
        Action::Stop { threads } => stop::stop(context, *threads).await,
        Action::Start { threads } => context.send(dialect.start(*threads)).await,
        Action::RestartReceiver { patience_seconds } => source::restart_receiver(context, *patience_seconds).await,
        Action::ResumeApplier => source::resume_applier(context).await,
        Action::RunUntil { position } => context.try_send(run_until(dialect, position)).await,
        Action::ChangeSource { to, position, options } => {
            source::change(context, Target { host: &to.hostname, port: to.port, position, options }).await
        }
        Action::RenameSource { to, port, position, options } => {
            source::change(context, Target { host: to, port: *port, position, options }).await
        }
        Action::ResetReplica => source::reset(context).await,
        Action::CopyCredentials { from } => {
            let credentials = credentials::read(context, from).await?;
            source::set_credentials(context, &credentials).await
        }
        Action::SetReadOnly { read_only, with_super } => context.send(dialect.read_only(*read_only, *with_super)).await,
        Action::Close => close::close(context).await,
        Action::Seal => seal::seal(context).await,
        Action::SetSemiSync { side, enabled } => {
            context.try_send(set_semi_sync(dialect, order.facts, *side, *enabled)).await
        }
        Action::SetDelay { seconds } => source::set_delay(context, *seconds).await,
        Action::InjectEmpty { gtids } => gtid::inject_empty(context, gtids).await,
        Action::SkipOne => context.send(dialect.skip_one()).await,
        Action::ResetBinaryLogs { errant } => gtid::reset_binary_logs(context, errant).await,
        Action::FlushBinaryLogs { times } => {
            // A closure, not a path: the future must be `Send` for any caller.
            let flush = std::iter::repeat_with(|| Sql::from(words::FLUSH_BINARY_LOGS));
            context.send(flush.take(usize::try_from(*times).unwrap_or(usize::MAX))).await
        }
        Action::PurgeBinaryLogs { to } => purge::purge(context, to).await,
        Action::KillQuery { id } => context.send([words::kill_query(*id)]).await,
    }
}

/// An order, and the means to carry it out.
struct Context<'a> {
    connector: &'a Connector,
    idle: &'a IdleConnections,
    order: Order<'a>,
    dialect: Dialect,
}

impl Context<'_> {
    async fn open(&self) -> Result<Session<'_>, ApplyError> {
        Session::open(self.connector, self.idle, self.order.on, self.dialect.is_mariadb(), self.order.until).await
    }

    /// One statement after the other, over one connection; the first that fails is the last.
    async fn send(&self, statements: impl IntoIterator<Item = Sql>) -> Result<(), ApplyError> {
        let mut statements = statements.into_iter().enumerate().peekable();
        if statements.peek().is_none() {
            return Ok(());
        }
        let mut session = self.open().await?;
        let mut ended = Ok(());
        for (before, sql) in statements {
            ended = session.run(&sql).await;
            if let Err(error) = ended {
                ended = Err(if before == 0 {
                    error
                } else {
                    error.with(&format!("{before} statements before took effect"))
                });
                break;
            }
        }
        session.leave(self.idle).await;
        ended
    }

    async fn try_send(&self, statements: Result<impl IntoIterator<Item = Sql>, Unsuitable>) -> Result<(), ApplyError> {
        self.send(statements.map_err(|reason| self.unsuitable(reason))?).await
    }

    fn unsuitable(&self, reason: String) -> ApplyError {
        ApplyError::Unsuitable { key: self.order.on.clone(), reason }
    }

    fn mysql_only(&self, what: &str) -> Result<(), ApplyError> {
        if self.dialect.is_mariadb() {
            return Err(self.unsuitable(format!("{what} on MariaDB")));
        }
        Ok(())
    }
}

fn run_until(dialect: &Dialect, position: &Position) -> Result<Option<Sql>, Unsuitable> {
    match position {
        Position::At(place) => dialect.start_until(place),
        Position::ExecutedBy(key) | Position::EndOf(key) => Err(format!("the position of {key} was not read yet")),
        Position::Auto | Position::MariadbSlavePos | Position::MariadbCurrentPos | Position::Unchanged => {
            Err("an applier runs until a place in a log, and none was named".to_owned())
        }
    }
}

/// The variable, and for the replica side a new connection to the source: it asks for acknowledgements only when it
/// connects (page "Configuring Semisynchronous Replication").
fn set_semi_sync(
    dialect: &Dialect,
    facts: &ServerFacts,
    side: SemiSyncSide,
    enabled: bool,
) -> Result<Vec<Sql>, Unsuitable> {
    let semi_sync = &facts.semi_sync;
    let (naming, now) = match side {
        SemiSyncSide::Source => (semi_sync.source_plugin, semi_sync.source_enabled),
        SemiSyncSide::Replica => (semi_sync.replica_plugin, semi_sync.replica_enabled),
    };
    let naming = naming.ok_or_else(|| missing_plugin(side))?;
    let mut statements = vec![words::semi_sync(naming, side, enabled)];
    if side == SemiSyncSide::Replica && now != enabled && may_reconnect(facts) {
        statements.extend(dialect.stop(Threads::IO));
        statements.extend(dialect.start(Threads::IO));
    }
    Ok(statements)
}

/// A receiver that runs may be started anew. Not with MariaDB's GTID and a stopped applier: that server removes the relay
/// logs when the first of both threads starts, and fetches from the source what was not applied (tried on 10.11).
fn may_reconnect(facts: &ServerFacts) -> bool {
    let (receiver, applier) = facts.threads();
    let runs = matches!(receiver, ThreadState::Running | ThreadState::Other);
    let forgets = facts.replica.as_ref().is_some_and(|replica| replica.using_mariadb_gtid);
    runs && !(forgets && applier == ThreadState::Stopped)
}

fn missing_plugin(side: SemiSyncSide) -> Unsuitable {
    let (word, old) = match side {
        SemiSyncSide::Source => ("source", "master"),
        SemiSyncSide::Replica => ("replica", "slave"),
    };
    format!(
        "the {word} side of semi-synchronous replication is not there: INSTALL PLUGIN rpl_semi_sync_{word} SONAME \
         'semisync_{word}.so' (before 8.0.26: rpl_semi_sync_{old}, 'semisync_{old}.so')"
    )
}

#[cfg(test)]
mod tests;
