//! The audit: what was done, by whom.

use api::clock::backend_text;
use api::legacy::{Audit, Key};
use domain::instance::InstanceKey;
use sqlx::MySqlConnection;
use tokio::io::AsyncWriteExt;

use super::{Error, Record, Scope};

/// One page of the audit, newest first; of one instance, or of all.
pub async fn page(scope: &Scope, number: u32, key: Option<&InstanceKey>) -> Result<Vec<Audit>, Error> {
    Ok(entries(scope, number, key).await?.into_iter().map(record).collect())
}

/// The same with all that is known about the entries.
pub async fn entries(scope: &Scope, number: u32, key: Option<&InstanceKey>) -> Result<Vec<store::audit::Audit>, Error> {
    Ok(store::audit::page(&scope.pool, key, number).await?)
}

fn record(one: store::audit::Audit) -> Audit {
    Audit {
        audit_id: one.id,
        audit_timestamp: backend_text(Some(one.audited_at)),
        audit_type: one.audit_type,
        audit_instance_key: Key::or_none(one.instance.as_ref()),
        message: one.message,
    }
}

/// Records something that was done outside the backend.
pub async fn note(scope: &Scope, kind: &str, message: &str) -> Result<(), Error> {
    let mut conn = scope.connection().await?;
    write(scope, &mut conn, &Record { kind, message, ..Record::default() }).await
}

/// Writes one entry to the backend, and to `AuditLogFile` if there is one. A file that cannot be written does not undo
/// the act: that is logged.
pub(super) async fn write(scope: &Scope, conn: &mut MySqlConnection, what: &Record<'_>) -> Result<(), Error> {
    let entry = store::audit::Entry {
        audit_type: what.kind,
        instance: what.key,
        cluster_name: what.cluster,
        actor: &scope.actor,
        message: what.message,
    };
    store::audit::write(conn, &entry).await?;
    let file = &scope.config.settings.audit.log_file;
    if !file.is_empty() {
        let now = store::database_now(conn).await?;
        if let Err(error) = append(file, &line(scope, what, now)).await {
            tracing::warn!(file, error = %error, "cannot write to the audit log file");
        }
    }
    Ok(())
}

/// `time TAB kind TAB instance TAB cluster TAB actor TAB message`: one line whatever people wrote.
fn line(scope: &Scope, what: &Record<'_>, now: i64) -> String {
    let key = what.key.map(ToString::to_string).unwrap_or_default();
    let fields = [&backend_text(Some(now)), what.kind, &key, what.cluster, &scope.actor, what.message];
    let clean = |field: &&str| field.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let mut line = fields.iter().map(clean).collect::<Vec<_>>().join("\t");
    line.push('\n');
    line
}

async fn append(file: &str, line: &str) -> std::io::Result<()> {
    let mut file = tokio::fs::OpenOptions::new().append(true).create(true).open(file).await?;
    file.write_all(line.as_bytes()).await?;
    file.flush().await
}
