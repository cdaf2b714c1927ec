//! What people say about instances: downtime, maintenance, tags.

use std::time::Duration;

use api::clock::Timestamp;
use api::v2::{Downtime, DowntimeRequest, Maintenance, MaintenanceRequest, Page, Problem, Tag};
use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use domain::instance::InstanceKey;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Answer;
use super::access::{KeyInPath, Reader, Writer};
use crate::actions::{Error, Scope, downtime, instances, maintenance, names, tags};

/// Running downtimes.
#[utoipa::path(get, path = "/downtimes", responses((status = 200, body = Page<Downtime>)))]
pub(super) async fn list_downtimes(Reader(scope): Reader) -> Answer<Json<Page<Downtime>>> {
    let found = downtime::active(&scope).await?;
    Ok(Json(Page::whole(found.into_iter().map(|(key, one)| shown(&key, one)).collect())))
}

fn shown(key: &InstanceKey, one: domain::instance::Downtime) -> Downtime {
    Downtime {
        instance: key.to_string(),
        owner: one.owner,
        reason: one.reason,
        begins_at: Timestamp(one.begins_at),
        ends_at: Timestamp(one.ends_at),
    }
}

/// Begins a downtime, replacing one that may be running.
#[utoipa::path(post, path = "/instances/{host}/{port}/downtime", request_body = DowntimeRequest,
    params(("host" = String, Path), ("port" = u16, Path)),
    responses((status = 201, body = Downtime), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn begin_downtime(
    Writer(scope): Writer,
    KeyInPath(key): KeyInPath,
    request: Result<Json<DowntimeRequest>, JsonRejection>,
) -> Answer<(StatusCode, Json<Downtime>)> {
    let Json(request) = request?;
    instances::read(&scope, &key).await?;
    downtime::begin(&scope, &key, &request.owner, &request.reason, span(request.duration_seconds)?).await?;
    let begun = downtime::active(&scope).await?.into_iter().find(|(other, _)| *other == key);
    let (key, begun) = begun.ok_or_else(|| Error::NotFound(format!("the downtime of {key} is over already")))?;
    Ok((StatusCode::CREATED, Json(shown(&key, begun))))
}

/// Ends a downtime.
#[utoipa::path(delete, path = "/instances/{host}/{port}/downtime", params(("host" = String, Path), ("port" = u16, Path)),
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn end_downtime(Writer(scope): Writer, KeyInPath(key): KeyInPath) -> Answer<StatusCode> {
    if downtime::end(&scope, &key).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Error::NotFound(format!("{key} is not downtimed")).into())
}

/// Active maintenance.
#[utoipa::path(get, path = "/maintenance", responses((status = 200, body = Page<Maintenance>)))]
pub(super) async fn list_maintenance(Reader(scope): Reader) -> Answer<Json<Page<Maintenance>>> {
    Ok(Json(Page::whole(active(&scope).await?)))
}

async fn active(scope: &Scope) -> Result<Vec<Maintenance>, Error> {
    let record = |one: store::maintenance::Maintenance| Maintenance {
        id: one.token.0,
        instance: one.key.to_string(),
        owner: one.owner,
        reason: one.reason,
        begins_at: Timestamp(one.begins_at),
        expires_at: Timestamp(one.expires_at),
    };
    Ok(maintenance::active(scope).await?.into_iter().map(record).collect())
}

/// Begins maintenance, unless somebody else is at it.
#[utoipa::path(post, path = "/instances/{host}/{port}/maintenance", request_body = MaintenanceRequest,
    params(("host" = String, Path), ("port" = u16, Path)),
    responses((status = 201, body = Maintenance), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn begin_maintenance(
    Writer(scope): Writer,
    KeyInPath(key): KeyInPath,
    request: Result<Json<MaintenanceRequest>, JsonRejection>,
) -> Answer<(StatusCode, Json<Maintenance>)> {
    let Json(request) = request?;
    instances::read(&scope, &key).await?;
    let duration = span(request.duration_seconds)?;
    let id = maintenance::begin(&scope, &key, &request.owner, &request.reason, duration).await?;
    let begun = active(&scope).await?.into_iter().find(|one| one.id == id);
    let begun = begun.ok_or_else(|| Error::NotFound(format!("maintenance {id} is over already")))?;
    Ok((StatusCode::CREATED, Json(begun)))
}

/// Ends a maintenance.
#[utoipa::path(delete, path = "/maintenance/{id}", params(("id" = u64, Path)),
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn end_maintenance(Writer(scope): Writer, Path(id): Path<String>) -> Answer<StatusCode> {
    let number: u64 = id.parse().map_err(|_| Error::Invalid(format!("a maintenance is a number, not {id:?}")))?;
    if maintenance::end_by_id(&scope, number).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Error::NotFound(format!("maintenance {number} is not active")).into())
}

fn span(seconds: Option<u64>) -> Result<Option<Duration>, Error> {
    match seconds {
        Some(0) => Err(Error::Invalid("a duration is one second or more".to_owned())),
        Some(seconds) => Ok(Some(Duration::from_secs(seconds))),
        None => Ok(None),
    }
}

/// Which tags.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct TagSelection {
    /// Only of this instance.
    instance: Option<String>,
    /// Only of instances that satisfy this expression.
    expression: Option<String>,
}

/// Tags on instances.
#[utoipa::path(get, path = "/tags", params(TagSelection),
    responses((status = 200, body = Page<Tag>), (status = 400, body = Problem)))]
pub(super) async fn list_tags(
    Reader(scope): Reader,
    selection: Result<Query<TagSelection>, QueryRejection>,
) -> Answer<Json<Page<Tag>>> {
    let Query(selection) = selection?;
    let mut all = tags::all(&scope).await?;
    if let Some(text) = &selection.instance {
        let key = names::parse(&scope, text)?;
        all.retain(|one, _| *one == key);
    }
    if let Some(expression) = &selection.expression {
        let found = tags::find(&scope, expression).await?;
        all.retain(|one, _| found.contains(one));
    }
    let flat = all.into_iter().flat_map(|(key, tags)| {
        tags.into_iter().map(move |(name, value)| Tag { instance: key.to_string(), name, value })
    });
    Ok(Json(Page::whole(flat.collect())))
}

/// Puts a tag on an instance, replacing its value.
#[utoipa::path(post, path = "/tags", request_body = Tag,
    responses((status = 201, body = Tag), (status = 400, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn put_tag(
    Writer(scope): Writer,
    request: Result<Json<Tag>, JsonRejection>,
) -> Answer<(StatusCode, Json<Tag>)> {
    let Json(tag) = request?;
    let key = names::parse(&scope, &tag.instance)?;
    instances::read(&scope, &key).await?;
    tags::put(&scope, &key, &format!("{}={}", tag.name, tag.value)).await?;
    Ok((StatusCode::CREATED, Json(tag)))
}

/// Which tag to remove.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct TagToRemove {
    /// The instance.
    instance: String,
    /// Name of the tag.
    name: String,
    /// Only if it has this value.
    value: Option<String>,
}

/// Removes a tag from an instance.
#[utoipa::path(delete, path = "/tags", params(TagToRemove),
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn remove_tag(
    Writer(scope): Writer,
    which: Result<Query<TagToRemove>, QueryRejection>,
) -> Answer<StatusCode> {
    let Query(which) = which?;
    let key = names::parse(&scope, &which.instance)?;
    let text = match &which.value {
        Some(value) => format!("{}={value}", which.name),
        None => which.name.clone(),
    };
    if tags::remove(&scope, &key, &text).await?.is_empty() {
        return Err(Error::NotFound(format!("tag {text} not found for {key}")).into());
    }
    Ok(StatusCode::NO_CONTENT)
}
