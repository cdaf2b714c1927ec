//! Managed servers.

use api::v2::{InstanceDetail, InstanceSummary, Page, Problem};
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::{KeyInPath, Reader, Writer};
use super::{Answer, limit, tagged};
use crate::actions::{clusters, instances, names};

/// Which instances.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Selection {
    /// Only of this cluster: name, alias, or an instance of it.
    cluster: Option<String>,
    /// Only where this text occurs.
    search: Option<String>,
    /// Items per page, at most 1000.
    limit: Option<usize>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Known instances, by key.
#[utoipa::path(get, path = "/instances", params(Selection),
    responses((status = 200, body = Page<InstanceSummary>), (status = 304), (status = 404, body = Problem)))]
pub(super) async fn list_instances(
    Reader(scope): Reader,
    selection: Result<Query<Selection>, QueryRejection>,
    headers: HeaderMap,
) -> Answer<Response> {
    let Query(selection) = selection?;
    let mut found = match (&selection.cluster, &selection.search) {
        (Some(hint), _) => instances::of_cluster(&scope, &clusters::by_hint(&scope, hint).await?).await?,
        (None, Some(text)) => instances::search(&scope, text).await?,
        (None, None) => instances::all(&scope).await?,
    };
    if let (Some(_), Some(text)) = (&selection.cluster, &selection.search) {
        found.retain(|one| domain::search::matches(one, text));
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    if let Some(after) = &selection.after {
        let after = names::parse(&scope, after)?;
        found.retain(|one| one.key > after);
    }
    let limit = limit(selection.limit);
    let view = scope.view().await?;
    let summaries = found.iter().take(limit + 1).map(|one| InstanceSummary::new(one, &view)).collect();
    Ok(tagged(&headers, &Page::cut(summaries, limit, |one| one.key.clone())))
}

/// Everything known about one instance.
#[utoipa::path(get, path = "/instances/{host}/{port}", params(("host" = String, Path), ("port" = u16, Path)),
    responses((status = 200, body = InstanceDetail), (status = 304), (status = 404, body = Problem)))]
pub(super) async fn read_instance(
    Reader(scope): Reader,
    KeyInPath(key): KeyInPath,
    headers: HeaderMap,
) -> Answer<Response> {
    let instance = instances::read(&scope, &key).await?;
    Ok(tagged(&headers, &InstanceDetail::new(&instance, &scope.view().await?)))
}

/// Forgets an instance; it is not rediscovered for a while.
#[utoipa::path(delete, path = "/instances/{host}/{port}", params(("host" = String, Path), ("port" = u16, Path)),
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn forget_instance(Writer(scope): Writer, KeyInPath(key): KeyInPath) -> Answer<StatusCode> {
    instances::forget(&scope, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}
