//! Maintenance: "I am acting on this", at most one at a time per instance.

use std::time::Duration;

use api::legacy::Maintenance;
use domain::instance::InstanceKey;
use store::maintenance::{Claim, FencingToken};

use super::downtime::said;
use super::{Error, Record, Scope, duration, instances};

/// Length of a maintenance when none is given.
pub const DEFAULT: Duration = Duration::from_secs(600);

/// Begins a maintenance of a known instance and returns its number. [`Error::Refused`] when somebody else is at it.
pub async fn begin(
    scope: &Scope,
    key: &InstanceKey,
    owner: &str,
    reason: &str,
    lasts: Option<Duration>,
) -> Result<u64, Error> {
    let (owner, reason) = (said("owner", owner)?, said("reason", reason)?);
    let span = duration::checked(lasts.unwrap_or(DEFAULT))?;
    instances::read(scope, key).await?;
    let claim = Claim { owner, reason, duration: span, holder_node: "" };
    let FencingToken(id) = store::maintenance::begin(&scope.pool, key, claim).await?;
    let message = format!("maintenance {id}, owner: {owner}, reason: {reason}");
    let record = Record { kind: "begin-maintenance", key: Some(key), message: &message, ..Record::default() };
    let mut conn = scope.connection().await?;
    scope.record(&mut conn, &record).await?;
    Ok(id)
}

/// Ends the maintenance of an instance; `false`: there was none.
pub async fn end(scope: &Scope, key: &InstanceKey) -> Result<bool, Error> {
    let mut tx = scope.begin().await?;
    let ended = store::maintenance::end_of(&mut tx, key).await?;
    if ended {
        let record = Record { kind: "end-maintenance", key: Some(key), ..Record::default() };
        scope.record(&mut tx, &record).await?;
    }
    tx.commit().await.map_err(Error::unreachable)?;
    Ok(ended)
}

/// Ends a maintenance by its number; `false`: it was not active.
pub async fn end_by_id(scope: &Scope, id: u64) -> Result<bool, Error> {
    let mut tx = scope.begin().await?;
    let ended = store::maintenance::end(&mut tx, FencingToken(id)).await?;
    if ended {
        let message = format!("maintenance {id}");
        let record = Record { kind: "end-maintenance", message: &message, ..Record::default() };
        scope.record(&mut tx, &record).await?;
    }
    tx.commit().await.map_err(Error::unreachable)?;
    Ok(ended)
}

/// Active maintenances.
pub async fn list(scope: &Scope) -> Result<Vec<Maintenance>, Error> {
    let record = |one: &store::maintenance::Maintenance| {
        Maintenance::active(one.token.0, &one.key, &one.owner, &one.reason, one.begins_at, one.now)
    };
    Ok(active(scope).await?.iter().map(record).collect())
}

/// The same with all that is known about them.
pub async fn active(scope: &Scope) -> Result<Vec<store::maintenance::Maintenance>, Error> {
    Ok(store::maintenance::active(&scope.pool).await?)
}

/// Is the instance in maintenance?
pub async fn is_active(scope: &Scope, key: &InstanceKey) -> Result<bool, Error> {
    Ok(store::maintenance::read(&scope.pool, key).await?.is_some())
}
