//! Jobs of the queue, and asking for discoveries.

use api::clock::Timestamp;
use api::v2::{Job, JobAccepted, JobState, Page, Problem};
use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::instance::DbMicros;
use queue::{Filter, JobView, State};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::access::{Reader, Writer};
use super::{Answer, limit};
use crate::actions::{Error, discovery, jobs, names};

/// Which jobs.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Selection {
    /// `ready`, `scheduled`, `running` or `failed`; without it all of them.
    state: Option<String>,
    /// Only of this kind.
    kind: Option<String>,
    /// Only in this lane, `queue/datacenter`.
    lane: Option<String>,
    /// At most so many, 1000 at most.
    limit: Option<usize>,
}

/// Jobs that wait, run or failed.
#[utoipa::path(get, path = "/jobs", params(Selection), responses((status = 200, body = Page<Job>)))]
pub(super) async fn list_jobs(
    Reader(scope): Reader,
    selection: Result<Query<Selection>, QueryRejection>,
) -> Answer<Json<Page<Job>>> {
    let Query(selection) = selection?;
    let state = selection.state.as_deref().filter(|state| !state.is_empty()).map(state_named).transpose()?;
    let filter = Filter { state, kind: selection.kind, lane: selection.lane };
    let limit = u32::try_from(limit(selection.limit)).unwrap_or(u32::MAX);
    let now = scope.judgement().await?.now;
    let found = jobs::list(&scope, &filter, limit).await?;
    Ok(Json(Page::whole(found.into_iter().map(|one| job(one, now)).collect())))
}

/// One job that waits, runs or failed.
#[utoipa::path(get, path = "/jobs/{id}", params(("id" = u64, Path)),
    responses((status = 200, body = Job), (status = 404, body = Problem)))]
pub(super) async fn read_job(Reader(scope): Reader, Path(id): Path<String>) -> Answer<Json<Job>> {
    let now = scope.judgement().await?.now;
    let found = jobs::show(&scope, number(&id)?).await?;
    Ok(Json(job(found, now)))
}

/// Puts a failed job back to ready.
#[utoipa::path(post, path = "/jobs/{id}/retry", params(("id" = u64, Path)),
    responses((status = 202, body = JobAccepted), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn retry_job(Writer(scope): Writer, Path(id): Path<String>) -> Answer<Response> {
    let id = number(&id)?;
    jobs::retry(&scope, id).await?;
    Ok(accepted(&JobAccepted::new(id, false)))
}

/// Cancels a waiting job, or asks a running one to stop.
#[utoipa::path(delete, path = "/jobs/{id}", params(("id" = u64, Path)),
    responses((status = 204, description = "It will not run"), (status = 202, description = "It runs and is asked to stop"),
              (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn cancel_job(Writer(scope): Writer, Path(id): Path<String>) -> Answer<StatusCode> {
    Ok(match jobs::cancel(&scope, number(&id)?).await? {
        queue::Cancelled::Removed => StatusCode::NO_CONTENT,
        queue::Cancelled::Requested => StatusCode::ACCEPTED,
    })
}

/// A server to make known.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct DiscoveryRequest {
    /// `host:port`, or `host`.
    instance: String,
}

/// Asks for the discovery of a server.
#[utoipa::path(post, path = "/discoveries", request_body = DiscoveryRequest,
    responses((status = 202, body = JobAccepted), (status = 400, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn submit_discovery(
    Writer(scope): Writer,
    request: Result<Json<DiscoveryRequest>, JsonRejection>,
) -> Answer<Response> {
    let Json(request) = request?;
    let key = names::parse(&scope, &request.instance)?;
    let enqueued = discovery::submit(&scope, &key, std::time::Duration::ZERO).await?;
    Ok(accepted(&JobAccepted::new(enqueued.id(), !enqueued.is_new())))
}

fn accepted(job: &JobAccepted) -> Response {
    let mut response = (StatusCode::ACCEPTED, Json(job)).into_response();
    if let Ok(location) = HeaderValue::from_str(&job.location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn number(id: &str) -> Result<u64, Error> {
    id.parse().map_err(|_| Error::Invalid(format!("a job is a number, not {id:?}")))
}

fn state_named(word: &str) -> Result<State, Error> {
    match JobState::parse(word) {
        Some(JobState::Ready) => Ok(State::Ready),
        Some(JobState::Scheduled) => Ok(State::Scheduled),
        Some(JobState::Running) => Ok(State::Claimed),
        Some(JobState::Failed) => Ok(State::Failed),
        Some(JobState::Done | JobState::Cancelled | JobState::Merged) | None => {
            Err(Error::Invalid(format!("jobs are listed as ready, scheduled, running or failed, not {word:?}")))
        }
    }
}

fn job(one: JobView, now: DbMicros) -> Job {
    let ago = |seconds: f64| Timestamp(now.saturating_sub(micros(seconds)));
    let since = ago(one.state_seconds);
    let at = |state: State| (one.state == state).then_some(since);
    Job {
        id: one.id,
        state: match one.state {
            State::Ready => JobState::Ready,
            State::Scheduled => JobState::Scheduled,
            State::Claimed => JobState::Running,
            State::Failed => JobState::Failed,
        },
        run_at: at(State::Scheduled),
        claimed_at: at(State::Claimed),
        finished_at: at(State::Failed),
        submitted_at: ago(one.age_seconds),
        kind: one.kind,
        lane: one.lane,
        priority: one.priority,
        unique_key: one.unique_key,
        attempts: one.attempts,
        max_attempts: one.max_attempts,
        rescues: one.rescues,
        age_seconds: one.age_seconds,
        error: one.error,
        payload: serde_json::from_str(&one.payload).ok(),
        output: None,
        merged_into: None,
        worker: one.worker,
        submitted_by: one.submitted_by,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "ages of jobs are far below 2^53 microseconds")]
fn micros(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}
