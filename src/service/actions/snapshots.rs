//! Recording topologies as they are now.

use super::{Error, Record, Scope};

/// Records all topologies; returns how many instances were recorded.
pub async fn write(scope: &Scope) -> Result<u64, Error> {
    let mut tx = scope.pool.begin().await.map_err(Error::unreachable)?;
    let recorded = store::snapshots::write(&mut *tx).await?;
    let message = format!("{recorded} instances");
    scope.record(&mut tx, &Record { kind: "snapshot-topologies", message: &message, ..Record::default() }).await?;
    tx.commit().await.map_err(Error::unreachable)?;
    Ok(recorded)
}
