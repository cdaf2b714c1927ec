//! Recording topologies as they are now.

use super::{Error, Record, Scope};

/// Records all topologies; returns how many instances were recorded.
pub async fn write(scope: &Scope) -> Result<u64, Error> {
    let mut tx = scope.begin().await?;
    let recorded = store::snapshots::write(&mut *tx).await?;
    let message = format!("{recorded} instances");
    scope.commit_as(tx, &Record { kind: "snapshot-topologies", message: &message, ..Record::default() }).await?;
    Ok(recorded)
}
