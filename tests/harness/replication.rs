//! Making one server follow another, and seeing whether it does.

use crate::accounts::REPLICATION;
use crate::flavor::Flavor;
use crate::server::{HOST, Server};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use sqlx::Row;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use std::time::{Duration, Instant};

/// From START REPLICA to both threads running. The receiver retries every second.
const LINK_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// How a replica follows its source.
#[derive(Debug, Clone, Copy, Default)]
pub struct Link {
    /// The port to connect to instead of the source's own: a [`crate::Proxy`].
    pub via_port: Option<u16>,
    /// The applier keeps this far behind on purpose.
    pub delay_seconds: u32,
}

/// What a replica says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplicaStatus {
    pub source_host: String,
    pub source_port: u16,
    /// `Yes`, `No` or `Connecting`.
    pub io_running: String,
    pub sql_running: String,
    pub io_error: String,
    pub sql_error: String,
    pub delay_seconds: u32,
}

impl ReplicaStatus {
    pub fn is_running(&self) -> bool {
        self.io_running == "Yes" && self.sql_running == "Yes"
    }
}

/// Makes `replica` follow `source` by GTID and waits until both of its threads run.
pub async fn replicate(replica: &Server, source: &Server, link: Link) -> Result<()> {
    start_replication(replica, source, link).await?;
    wait_running(replica, LINK_LIMIT).await
}

pub(crate) async fn start_replication(replica: &Server, source: &Server, link: Link) -> Result<()> {
    let port = link.via_port.unwrap_or(source.port());
    let Link { delay_seconds, .. } = link;
    let (user, password) = (REPLICATION.user, REPLICATION.password);
    let sql = match replica.flavor() {
        Flavor::MySql => {
            let auto_position = u8::from(replica.uses_gtid());
            // Said in any case: a MySQL 9.7 replica that is told nothing insists on TLS. All servers have their certificates from one
            // template. A receiver that is told no authority reads the machine's whole bundle at each connect: 8 ms of processor time.
            let tls = if source.offers_tls() { "SOURCE_SSL = 1, SOURCE_SSL_CA = 'ca.pem'" } else { "SOURCE_SSL = 0" };
            format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{HOST}', SOURCE_PORT = {port}, SOURCE_USER = '{user}', \
                 SOURCE_PASSWORD = '{password}', {tls}, SOURCE_AUTO_POSITION = {auto_position}, GET_SOURCE_PUBLIC_KEY = 1, \
                 SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 86400, SOURCE_DELAY = {delay_seconds}; START REPLICA"
            )
        }
        Flavor::MariaDb => format!(
            "CHANGE MASTER TO MASTER_HOST = '{HOST}', MASTER_PORT = {port}, MASTER_USER = '{user}', \
             MASTER_PASSWORD = '{password}', MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, \
             MASTER_DELAY = {delay_seconds}; START SLAVE"
        ),
    };
    replica.execute(&sql).await
}

/// Waits until both threads of a replica run.
pub async fn wait_running(replica: &Server, limit: Duration) -> Result<()> {
    let mut connection = replica.connect_root().await?;
    let start = Instant::now();
    loop {
        let status = replica_status(replica.flavor(), &mut connection).await?;
        if status.as_ref().is_some_and(ReplicaStatus::is_running) {
            return Ok(());
        }
        if start.elapsed() > limit {
            bail!("replication of {} does not run after {limit:?}: {status:?}", replica.address());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until `replica` has applied everything `source` has executed by now.
pub async fn catch_up(replica: &Server, source: &Server, limit: Duration) -> Result<()> {
    let (executed, wait) = match source.flavor() {
        Flavor::MySql => ("SELECT @@GLOBAL.gtid_executed", "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)"),
        Flavor::MariaDb => ("SELECT @@GLOBAL.gtid_current_pos", "SELECT MASTER_GTID_WAIT(?, ?)"),
    };
    let row = sqlx::query(executed).fetch_one(&mut source.connect_root().await?).await?;
    let position: String = row.try_get_unchecked(0)?;
    let waiting = sqlx::query(wait)
        .bind(&position)
        .bind(limit.as_secs_f64())
        .fetch_one(&mut replica.connect_root().await?)
        .await
        .with_context(|| format!("{} cannot wait for {position}", replica.address()))?;
    if waiting.try_get_unchecked::<i64, _>(0)? != 0 {
        bail!("{} did not reach {position} of {} within {limit:?}", replica.address(), source.address());
    }
    Ok(())
}

/// `None`: not configured as a replica.
pub async fn replica_status(flavor: Flavor, connection: &mut MySqlConnection) -> Result<Option<ReplicaStatus>> {
    let (sql, source, replica) = match flavor {
        Flavor::MySql => ("SHOW REPLICA STATUS", "Source", "Replica"),
        Flavor::MariaDb => ("SHOW SLAVE STATUS", "Master", "Slave"),
    };
    let Some(row) = sqlx::raw_sql(sql).fetch_all(connection).await?.into_iter().next() else { return Ok(None) };
    let text = |column: String| text(&row, &column);
    Ok(Some(ReplicaStatus {
        source_host: text(format!("{source}_Host"))?,
        source_port: number(&text(format!("{source}_Port"))?)?,
        io_running: text(format!("{replica}_IO_Running"))?,
        sql_running: text(format!("{replica}_SQL_Running"))?,
        io_error: text("Last_IO_Error".to_owned())?,
        sql_error: text("Last_SQL_Error".to_owned())?,
        delay_seconds: number(&text("SQL_Delay".to_owned())?)?,
    }))
}

/// Unchecked, because the two families disagree about column types; the text protocol sends text in any case.
fn text(row: &MySqlRow, column: &str) -> Result<String> {
    Ok(row.try_get_unchecked::<Option<String>, _>(column)?.unwrap_or_default())
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().ok().with_context(|| format!("{text:?} is no number"))
}
