//! Downtime: "do not act on this", said by people.

use std::time::Duration;

use domain::instance::{Downtime, InstanceKey};

use super::{Error, Record, Scope, duration};

/// Length of a downtime when none is given.
pub const DEFAULT: Duration = Duration::from_secs(600);

/// Begins a downtime, replacing one that may be running.
pub async fn begin(
    scope: &Scope,
    key: &InstanceKey,
    owner: &str,
    reason: &str,
    lasts: Option<Duration>,
) -> Result<(), Error> {
    let (owner, reason) = (said("owner", owner)?, said("reason", reason)?);
    let duration = duration::checked(lasts.unwrap_or(DEFAULT))?;
    let mut tx = scope.begin().await?;
    store::downtime::begin(&mut tx, key, owner, reason, duration).await?;
    let message = format!("owner: {owner}, reason: {reason}, seconds: {}", duration.as_secs());
    let record = Record { kind: "begin-downtime", key: Some(key), message: &message, ..Record::default() };
    scope.commit_as(tx, &record).await
}

/// Ends the downtime; `false`: there was none.
pub async fn end(scope: &Scope, key: &InstanceKey) -> Result<bool, Error> {
    let mut tx = scope.begin().await?;
    let ended = store::downtime::end(&mut tx, key).await?;
    if ended {
        let record = Record { kind: "end-downtime", key: Some(key), ..Record::default() };
        scope.record(&mut tx, &record).await?;
    }
    tx.commit().await.map_err(Error::unreachable)?;
    Ok(ended)
}

/// Running downtimes, sorted by key.
pub async fn active(scope: &Scope) -> Result<Vec<(InstanceKey, Downtime)>, Error> {
    Ok(store::downtime::active(&scope.pool).await?)
}

/// A text people must give. Surrounding blanks are dropped: clients send a line feed at the end.
pub(super) fn said<'a>(what: &str, text: &'a str) -> Result<&'a str, Error> {
    let text = text.trim();
    if text.is_empty() { Err(Error::Invalid(format!("no {what} given"))) } else { Ok(text) }
}
