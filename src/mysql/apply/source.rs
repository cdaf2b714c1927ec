//! From whom a server replicates, and how: changes of source, of its name, of the delay; forgetting it.
//!
//! Tried on 9.7.4 and 10.11 (page "CHANGE REPLICATION SOURCE TO"): naming a host or a port, even the one there was, empties
//! the position and sets the heartbeat period back to half of `replica_net_timeout`; MariaDB does the latter at every change.
//! User and password, delay, retries, bound interface, compression, filters, `GTID_ONLY`, `IGNORE_SERVER_IDS`, TLS stay. So
//! the heartbeat period is read and said again; TLS is said again all the same, because a MySQL 9.7 channel that was told
//! nothing insists on TLS.
//!
//! Any of these statements, `SOURCE_DELAY` alone too, removes the relay logs when both threads are stopped, whatever they
//! still hold. For changes of source that is what the conditions of the step are for; the other actions keep them, or refuse.

use std::collections::BTreeMap;

use domain::instance::{ReplicaFacts, SourceTls, ThreadState};
use domain::plan::{Condition, Position, SourceOptions, Threads};
use domain::version::Fact;

use super::Context;
use super::credentials::Credentials;
use super::error::ApplyError;
use super::quote::{Unquotable, quote};
use super::session::Session;
use super::sql::Sql;
use super::words::{Dialect, Unsuitable, file};
use crate::columns::Columns;
use crate::dialect as questions;
use crate::wire::Row;

/// "Could not initialize master info structure" ("ER_MASTER_INFO").
const MASTER_INFO: u16 = 1201;

/// A receiver of MariaDB that acknowledges and is stopped first connects to its source once more, to end its session there, and
/// waits for that so long (5 s; tried on 10.11).
const KILL_PATIENCE: &str = "rpl_semi_sync_slave_kill_conn_timeout";
/// Seconds within which a receiver that was started reads how patient it is to be: it does so at once.
const BEGINS_WITHIN: &str = "0.05";

/// Where to replicate from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) position: &'a Position,
    pub(super) options: &'a SourceOptions,
}

/// What the server would set back, and its limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Kept {
    /// In seconds, as the server wrote it.
    heartbeat: Option<String>,
    /// MariaDB: replicates only some GTID domains.
    filters_domains: bool,
}

/// Another source, or another name of the same. The password stays as the server has it.
pub(super) async fn change(context: &Context<'_>, target: Target<'_>) -> Result<(), ApplyError> {
    let replica = context.order.facts.replica.as_ref();
    let options = options(&context.dialect, replica, target).map_err(|reason| context.unsuitable(reason))?;
    let mut session = context.open().await?;
    let changed = async {
        let kept = kept(context, &mut session).await?;
        if kept.filters_domains && matches!(target.position, Position::At(_)) {
            // The server would refuse with error 1201, after it has made half of the change (tried on 10.11).
            let reason = "it replicates only some GTID domains (DO_DOMAIN_IDS, IGNORE_DOMAIN_IDS), which needs GTID";
            return Err(context.unsuitable(reason.to_owned()));
        }
        let mut options = options;
        options.extend(heartbeat(&context.dialect, &kept));
        run(context, &mut session, &context.dialect.change(&options).into()).await
    }
    .await;
    session.leave(context.idle).await;
    changed
}

/// Stops the receiver and starts it again; its first try to connect is given up after `patience` seconds. There is no option
/// for that but the server's global patience, which is lowered for the moment in which the receiver begins (it reads it then;
/// a receiver that does connect comes back once more a second later, with the usual patience: tried on 9.7 and 10.11). All in
/// one packet, so that the server puts it back whatever becomes of us.
pub(super) async fn restart_receiver(context: &Context<'_>, patience: u32) -> Result<(), ApplyError> {
    let dialect = &context.dialect;
    let (Some(stop), Some(start)) = (dialect.stop(Threads::IO), dialect.start(Threads::IO)) else { return Ok(()) };
    let mut variables = vec![dialect.net_timeout()];
    if dialect.is_mariadb() && context.order.facts.semi_sync.replica_enabled {
        variables.push(KILL_PATIENCE);
    }
    let mut session = context.open().await?;
    let restarted = async {
        let (mut lower, mut usual) = (Vec::new(), Vec::new());
        for variable in variables {
            let rows = session.rows(&format!("SELECT @@GLOBAL.{variable}").into()).await?;
            let now: Option<u32> = rows.first().and_then(|row| Columns::at(row, 0)?.parse().ok());
            if let Some(now) = now.filter(|now| *now > patience) {
                lower.push(format!("GLOBAL {variable} = {patience}"));
                usual.push(format!("GLOBAL {variable} = {now}"));
            }
        }
        if lower.is_empty() {
            session.run(&stop).await?;
            return session.run(&start).await;
        }
        let put_back = Sql::from(format!("SET {}", usual.join(", ")));
        let sql = format!(
            "SET {}; {}; {}; DO SLEEP({BEGINS_WITHIN}); {}",
            lower.join(", "),
            stop.text(),
            start.text(),
            put_back.text()
        );
        let restarted = session.run(&sql.into()).await;
        if restarted.is_err() {
            // The server stops at the first statement that it refuses, and hears nothing more over a connection that broke.
            if session.is_usable() {
                session.run(&put_back).await?;
            } else {
                context.send([put_back]).await?;
            }
        }
        restarted
    }
    .await;
    session.leave(context.idle).await;
    restarted
}

/// Starts the applier of a replica none of whose threads runs, and keeps its relay logs. MariaDB with GTID removes them when
/// the first of both threads starts, and begins anew at `gtid_slave_pos`: without GTID, and with its place in them said, it goes
/// on there (tried on 10.11). Where appliers worked in parallel that place is the beginning of the oldest log, and the server
/// skips by GTID what is applied, in each domain. Both statements in one packet: between them nothing would tell what is in
/// the relay logs.
pub(super) async fn resume_applier(context: &Context<'_>) -> Result<(), ApplyError> {
    let dialect = &context.dialect;
    let Some(start) = dialect.start(Threads::SQL) else { return Ok(()) };
    let Some(replica) = context.order.facts.replica.as_ref().filter(|replica| replica.using_mariadb_gtid) else {
        return context.send([start]).await;
    };
    let file = file(&replica.relay.file).map_err(|reason| context.unsuitable(reason))?;
    let mut options = vec![
        "MASTER_USE_GTID = no".to_owned(),
        format!("RELAY_LOG_FILE = {file}"),
        format!("RELAY_LOG_POS = {}", replica.relay.position),
    ];
    let mut session = context.open().await?;
    let resumed = async {
        let kept = kept(context, &mut session).await?;
        if kept.filters_domains {
            let reason = "it replicates only some GTID domains (DO_DOMAIN_IDS, IGNORE_DOMAIN_IDS), which needs GTID, with \
                          which it would throw its relay logs away";
            return Err(context.unsuitable(reason.to_owned()));
        }
        options.extend(heartbeat(dialect, &kept));
        session.run(&format!("{}; {}", dialect.change(&options), start.text()).into()).await
    }
    .await;
    session.leave(context.idle).await;
    resumed
}

/// The delay. MySQL wants the applier stopped, MariaDB both threads.
pub(super) async fn set_delay(context: &Context<'_>, seconds: u32) -> Result<(), ApplyError> {
    let dialect = &context.dialect;
    let mut options = vec![format!("{}_DELAY = {seconds}", dialect.source())];
    options.extend(keep_relay_logs(context)?);
    let mut session = context.open().await?;
    let changed = async {
        if dialect.is_mariadb() {
            options.extend(heartbeat(dialect, &kept(context, &mut session).await?));
        }
        session.run(&dialect.change(&options).into()).await
    }
    .await;
    session.leave(context.idle).await;
    changed
}

/// The user and password for the source, and TLS where the query named files for it.
pub(super) async fn set_credentials(context: &Context<'_>, credentials: &Credentials) -> Result<(), ApplyError> {
    let dialect = &context.dialect;
    let unsuitable = |error: Unquotable| context.unsuitable(error.to_string());
    let source = dialect.source();
    let user = quote("name of the replication user", &credentials.user).map_err(unsuitable)?;
    let secret = credentials.password.reveal();
    let password = quote("password", secret).map_err(unsuitable)?;
    let mut options = vec![format!("{source}_USER = {user}")];
    if let Some(files) = &credentials.tls {
        options.extend(tls(dialect, files).map_err(|reason| context.unsuitable(reason))?);
    }
    options.extend(keep_relay_logs(context)?);
    let mut session = context.open().await?;
    let changed = async {
        options.extend(heartbeat(dialect, &kept(context, &mut session).await?));
        if secret.is_empty() {
            return session.run(&dialect.change(&options).into()).await;
        }
        let make = |literal: &str| {
            let password = format!("{source}_PASSWORD = {literal}");
            dialect.change(&[options.clone(), vec![password]].concat())
        };
        session.run(&Sql::with_secret(make, &password, secret)).await
    }
    .await;
    session.leave(context.idle).await;
    changed
}

/// Forgets the source, its position and the relay logs.
pub(super) async fn reset(context: &Context<'_>) -> Result<(), ApplyError> {
    let mut session = context.open().await?;
    let reset = run(context, &mut session, &context.dialect.reset_all()).await;
    session.leave(context.idle).await;
    reset
}

/// Runs a statement that a MySQL replica with GTID may refuse because its relay logs are not as its tables say (server bug
/// 83713: error 1201, for instance after files were lost; 9.7 accepts it, and then may refuse to start with error 1872 until
/// somebody resets it). Removing the relay logs twice, with a receiver begun in between, makes it accept. Nothing is lost by
/// that: the statement itself would have removed them.
async fn run(context: &Context<'_>, session: &mut Session<'_>, sql: &Sql) -> Result<(), ApplyError> {
    let refused = match session.run(sql).await {
        Err(error @ ApplyError::Refused { number: MASTER_INFO, .. }) if uses_auto_position(context) => error,
        ended => return ended,
    };
    tracing::warn!(error = %refused, "removing the relay logs, and trying once more");
    let dialect = &context.dialect;
    let workaround =
        [Some(dialect.reset()), dialect.start(Threads::IO), dialect.stop(Threads::IO), Some(dialect.reset())];
    for statement in workaround.into_iter().flatten() {
        match session.run(&statement).await {
            Ok(()) | Err(ApplyError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    session.run(sql).await
}

fn uses_auto_position(context: &Context<'_>) -> bool {
    context.order.facts.replica.as_ref().is_some_and(|replica| replica.auto_position)
}

/// What keeps the relay logs of a replica whose threads are both stopped: MySQL with auto-position knows no way. MariaDB with
/// GTID removes them at the next start in any case, and fetches from the source what was not applied.
pub(super) fn keep_relay_logs(context: &Context<'_>) -> Result<Vec<String>, ApplyError> {
    let facts = context.order.facts;
    let Some(replica) = &facts.replica else { return Ok(Vec::new()) };
    let is_idle = domain::plan::running_threads(facts) == Threads::NONE;
    let is_drained = Condition::Drained.holds(context.order.on, facts, &BTreeMap::new()).is_ok();
    if !is_idle || is_drained || replica.using_mariadb_gtid {
        return Ok(Vec::new());
    }
    if replica.auto_position {
        let reason = "both threads are stopped, and this would remove relay logs that are not applied yet; start the \
                      applier until they are, or leave the receiver running";
        return Err(context.unsuitable(reason.to_owned()));
    }
    let file = file(&replica.relay.file).map_err(|reason| context.unsuitable(reason))?;
    Ok(vec![format!("RELAY_LOG_FILE = {file}"), format!("RELAY_LOG_POS = {}", replica.relay.position)])
}

/// What the server would set back. What cannot be read is left to the server.
async fn kept(context: &Context<'_>, session: &mut Session<'_>) -> Result<Kept, ApplyError> {
    let Some(replica) = &context.order.facts.replica else { return Ok(Kept::default()) };
    if context.dialect.is_mariadb() {
        let rows = ask(session, questions::ALL_SLAVES_STATUS).await?;
        let named = |row: &&_| Columns::any(*row, ["Connection_name"; 2]) == replica.channel;
        return Ok(rows.iter().find(named).map(kept_by_mariadb).unwrap_or_default());
    }
    let channel =
        quote("name of the channel", &replica.channel).map_err(|error| context.unsuitable(error.to_string()))?;
    for sql in questions::heartbeat(&channel) {
        let rows = ask(session, &sql).await?;
        if let Some(heartbeat) = rows.first().and_then(|row| Columns::at(row, 0)) {
            return Ok(Kept { heartbeat: Some(heartbeat.into_owned()), filters_domains: false });
        }
    }
    tracing::info!(instance.key = %context.order.on, "the heartbeat period cannot be read; the server sets it anew");
    Ok(Kept::default())
}

fn kept_by_mariadb(row: &impl Columns) -> Kept {
    let names = ["Replicate_Do_Domain_Ids", "Replicate_Ignore_Domain_Ids"];
    Kept {
        heartbeat: row.maybe(["Slave_heartbeat_period"; 2]),
        filters_domains: names.iter().any(|name| row.text(name).is_some_and(|text| !text.is_empty())),
    }
}

/// Rows of a question that may be refused.
async fn ask(session: &mut Session<'_>, sql: &str) -> Result<Vec<Row>, ApplyError> {
    match session.rows(&sql.into()).await {
        Err(ApplyError::Refused { .. }) => Ok(Vec::new()),
        answer => answer,
    }
}

/// The heartbeat period, if it is a number of seconds that servers take.
fn heartbeat(dialect: &Dialect, kept: &Kept) -> Option<String> {
    const LONGEST: f64 = 4_294_967.0;
    let seconds: f64 = kept.heartbeat.as_ref()?.parse().ok()?;
    let is_valid = (0.0..=LONGEST).contains(&seconds);
    is_valid.then(|| format!("{}_HEARTBEAT_PERIOD = {seconds:.3}", dialect.source()))
}

/// The options of a change of source.
fn options(dialect: &Dialect, replica: Option<&ReplicaFacts>, target: Target<'_>) -> Result<Vec<String>, Unsuitable> {
    if target.host.is_empty() || target.port == 0 {
        return Err("a source needs a host and a port".to_owned());
    }
    let source = dialect.source();
    let host = quote("name of the source", target.host).map_err(|error| error.to_string())?;
    let mut options = vec![format!("{source}_HOST = {host}"), format!("{source}_PORT = {}", target.port)];
    options.extend(position(dialect, replica, target.position)?);
    options.extend(tls(dialect, &target.options.tls)?);
    options.extend(public_key(dialect, target.options)?);
    Ok(options)
}

fn position(dialect: &Dialect, replica: Option<&ReplicaFacts>, position: &Position) -> Result<Vec<String>, Unsuitable> {
    let is_mariadb = dialect.is_mariadb();
    let source = dialect.source();
    match position {
        Position::Auto if is_mariadb => Err("MariaDB has no auto-position".to_owned()),
        // Said while the applier runs, even what is so already is refused (error 3081).
        Position::Auto if replica.is_some_and(|now| now.auto_position && now.sql_thread == ThreadState::Running) => {
            Ok(Vec::new())
        }
        Position::Auto => Ok(vec![format!("{source}_AUTO_POSITION = 1")]),
        Position::MariadbSlavePos | Position::MariadbCurrentPos if !is_mariadb => {
            Err("only MariaDB has gtid_slave_pos".to_owned())
        }
        Position::MariadbSlavePos => Ok(vec!["MASTER_USE_GTID = slave_pos".to_owned()]),
        Position::MariadbCurrentPos => Ok(former_primary(dialect)),
        Position::At(place) => {
            let off =
                if is_mariadb { "MASTER_USE_GTID = no".to_owned() } else { format!("{source}_AUTO_POSITION = 0") };
            let file = file(&place.file)?;
            Ok(vec![format!("{source}_LOG_FILE = {file}"), format!("{source}_LOG_POS = {}", place.position), off])
        }
        Position::Unchanged if replica.is_some_and(|now| now.auto_position || now.using_mariadb_gtid) => Ok(Vec::new()),
        Position::Unchanged => Err("without GTID, naming a source forgets the position: it must be said".to_owned()),
        Position::ExecutedBy(key) | Position::EndOf(key) => Err(format!("the position of {key} was not read yet")),
    }
}

/// `gtid_slave_pos` is what was replicated. A server that was a primary has written, too, and must not get that again: it
/// counts as replicated from now on (10.10), or the position is taken from both (before).
fn former_primary(dialect: &Dialect) -> Vec<String> {
    if dialect.has(Fact::DemoteToReplica) {
        return vec!["MASTER_USE_GTID = slave_pos".to_owned(), "MASTER_DEMOTE_TO_SLAVE = 1".to_owned()];
    }
    vec!["MASTER_USE_GTID = current_pos".to_owned()]
}

/// On or off is always said; of the rest, what is known. MariaDB has no options for the version and the suites of TLS.
pub(super) fn tls(dialect: &Dialect, tls: &SourceTls) -> Result<Vec<String>, Unsuitable> {
    let source = dialect.source();
    let mut options = vec![format!("{source}_SSL = {}", u8::from(tls.allowed))];
    let texts = [
        ("SSL_CA", &tls.ca_file),
        ("SSL_CAPATH", &tls.ca_path),
        ("SSL_CERT", &tls.cert),
        ("SSL_CIPHER", &tls.cipher),
        ("SSL_CRL", &tls.crl_file),
        ("SSL_CRLPATH", &tls.crl_path),
        ("SSL_KEY", &tls.key),
        ("TLS_VERSION", &tls.version),
        ("TLS_CIPHERSUITES", &tls.ciphersuites),
    ];
    for (name, text) in texts {
        if text.is_empty() || (dialect.is_mariadb() && name.starts_with("TLS_")) {
            continue;
        }
        let text = quote("value of a TLS option", text).map_err(|error| error.to_string())?;
        options.push(format!("{source}_{name} = {text}"));
    }
    let verify = tls.verify_server_cert.map(|verify| format!("{source}_SSL_VERIFY_SERVER_CERT = {}", u8::from(verify)));
    options.extend(verify);
    Ok(options)
}

fn public_key(dialect: &Dialect, options: &SourceOptions) -> Result<Vec<String>, Unsuitable> {
    if !dialect.has(Fact::GetSourcePublicKey) {
        return Ok(Vec::new());
    }
    let source = dialect.source();
    let mut said = Vec::new();
    if !options.tls.public_key_path.is_empty() {
        let path = quote("path of the public key", &options.tls.public_key_path).map_err(|error| error.to_string())?;
        said.push(format!("{source}_PUBLIC_KEY_PATH = {path}"));
    }
    let get = if options.request_public_key { Some(true) } else { options.tls.get_public_key };
    said.extend(get.map(|get| format!("GET_{source}_PUBLIC_KEY = {}", u8::from(get))));
    Ok(said)
}

#[cfg(test)]
mod tests;
