//! Looking back at recoveries and detections.

use std::time::Duration;

use domain::instance::InstanceKey;
use store::detections::Detection;
use store::recoveries::{Blocked, Filter, Recovery};

use crate::actions::{Error, Scope};

/// How long ago "recently" reaches.
const RECENTLY: Duration = Duration::from_secs(300);

/// One recovery.
pub async fn read(scope: &Scope, id: u64) -> Result<Recovery, Error> {
    let found = store::recoveries::read(&scope.pool, id).await?;
    found.ok_or_else(|| Error::NotFound(format!("there is no recovery {id}")))
}

/// One recovery by its name for people and hooks.
pub async fn read_uid(scope: &Scope, uid: &str) -> Result<Recovery, Error> {
    let found = store::recoveries::by_uid(&scope.pool, uid).await?;
    let shown: String = uid.chars().take(100).collect();
    found.ok_or_else(|| Error::NotFound(format!("there is no recovery {shown:?}")))
}

/// A page of recoveries, newest first.
pub async fn list(scope: &Scope, filter: &Filter<'_>) -> Result<Vec<Recovery>, Error> {
    Ok(store::recoveries::list(&scope.pool, filter).await?)
}

/// The same of a cluster, by the name it had then, or by its alias.
pub async fn of_cluster(scope: &Scope, name: &str, filter: &Filter<'_>) -> Result<Vec<Recovery>, Error> {
    let named = list(scope, &Filter { cluster_name: Some(name), ..*filter }).await?;
    if !named.is_empty() {
        return Ok(named);
    }
    list(scope, &Filter { cluster_alias: Some(name), ..*filter }).await
}

/// Those of a cluster that are being carried out.
pub async fn under_way(scope: &Scope, cluster_name: &str) -> Result<Vec<Recovery>, Error> {
    list(scope, &Filter { cluster_name: Some(cluster_name), open: true, ..Filter::default() }).await
}

/// Those that ended within five minutes: of a cluster, by its name then or now, or those that an instance won.
pub async fn recently(
    scope: &Scope,
    cluster_name: Option<&str>,
    successor: Option<&InstanceKey>,
) -> Result<Vec<Recovery>, Error> {
    list(scope, &Filter { cluster_name, successor, ended_within: Some(RECENTLY), ..Filter::default() }).await
}

/// A page of detections, newest first.
pub async fn detections(scope: &Scope, filter: &store::detections::Filter<'_>) -> Result<Vec<Detection>, Error> {
    Ok(store::detections::list(&scope.pool, filter).await?)
}

/// The same of a cluster, by the name it had then, or by its alias.
pub async fn detections_of_cluster(
    scope: &Scope,
    name: &str,
    filter: &store::detections::Filter<'_>,
) -> Result<Vec<Detection>, Error> {
    let named = detections(scope, &store::detections::Filter { cluster_name: Some(name), ..*filter }).await?;
    if !named.is_empty() {
        return Ok(named);
    }
    detections(scope, &store::detections::Filter { cluster_alias: Some(name), ..*filter }).await
}

/// One detection.
pub async fn detection(scope: &Scope, id: u64) -> Result<Detection, Error> {
    let found = store::detections::read(&scope.pool, id).await?;
    found.ok_or_else(|| Error::NotFound(format!("there is no detection {id}")))
}

/// Recoveries held back at the moment, everywhere or in one cluster.
pub async fn blocked(scope: &Scope, cluster_name: Option<&str>) -> Result<Vec<Blocked>, Error> {
    Ok(store::recoveries::blocked(&scope.pool, cluster_name).await?)
}
