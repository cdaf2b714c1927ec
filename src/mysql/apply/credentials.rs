//! The user and password that a server uses for its own source.

use std::borrow::Cow;

use domain::instance::{InstanceKey, SourceTls};

use super::Context;
use super::error::ApplyError;
use super::session::Session;
use super::sql::Sql;
use crate::settings::Secret;
use crate::wire::Row;

/// What a server logs in with at its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: Secret,
    /// TLS, if the operator's query named files for it.
    pub(super) tls: Option<SourceTls>,
}

/// The default channel first. MySQL only: MariaDB keeps them in a file. The password is there in clear (page "mysql System
/// Schema"), unless the user is named at each `START REPLICA`.
const SAVED: &str = "SELECT User_name, User_password FROM mysql.slave_master_info WHERE User_name <> '' \
     ORDER BY Channel_name <> '', Channel_name LIMIT 1";

/// Reads what `from` uses: the operator's query first, then the server's own table. An error of the first does not hide
/// the second.
pub(super) async fn read(context: &Context<'_>, from: &InstanceKey) -> Result<Credentials, ApplyError> {
    let order = context.order;
    let mut session = Session::open_to_read(context.connector, from, order.until).await?;
    let read = read_from(&mut session, from, order.credentials_query).await;
    session.close().await;
    read
}

async fn read_from(session: &mut Session<'_>, from: &InstanceKey, query: &str) -> Result<Credentials, ApplyError> {
    let mut reasons = Vec::new();
    let questions = [("ReplicationCredentialsQuery", query), ("mysql.slave_master_info", SAVED)];
    for (name, sql) in questions.into_iter().filter(|(_, sql)| !sql.trim().is_empty()) {
        // Only the name is shown: an operator may have written a password into the query itself.
        match session.query(&Sql::named(name, sql)).await {
            Ok(results) => {
                let row = results.iter().rev().find_map(|result| result.rows.first());
                if let Some(credentials) = row.and_then(credentials) {
                    return Ok(credentials);
                }
                reasons.push(format!("{name}: no user"));
            }
            Err(ApplyError::Refused { number, reason, .. }) => reasons.push(format!("error {number}: {reason}")),
            // Nothing was changed by asking.
            Err(ApplyError::Unknown { key, reason }) => return Err(ApplyError::Unreachable { key, reason }),
            Err(error) => return Err(error),
        }
    }
    let reason = format!(
        "its replication credentials cannot be read ({}); set ReplicationCredentialsQuery, or grant SELECT ON \
         mysql.slave_master_info",
        reasons.join("; ")
    );
    Err(ApplyError::Unsuitable { key: from.clone(), reason })
}

/// User, password, and maybe the files of authority, certificate and key.
fn credentials(row: &Row) -> Option<Credentials> {
    let cell = |index: usize| row.at(index).map(Cow::into_owned).unwrap_or_default();
    let user = cell(0);
    if user.is_empty() {
        return None;
    }
    let files = SourceTls { allowed: true, ca_file: cell(2), cert: cell(3), key: cell(4), ..SourceTls::default() };
    let has_files = [&files.ca_file, &files.cert, &files.key].iter().any(|file| !file.is_empty());
    Some(Credentials { user, password: Secret::new(cell(1)), tls: has_files.then_some(files) })
}
