//! Operations on managed servers: plans, requests, progress, cancelling.

use api::v2::{Operation, OperationAccepted, OperationRequest, Page, PlanReply, Problem};
use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::plan::Request;
use serde::Deserialize;
use std::time::Duration;
use store::operations::{Filter, State};
use utoipa::IntoParams;

use super::access::{Reader, Writer};
use super::{Answer, limit};
use crate::actions::operations::{self as asking, Asked, Intent};
use crate::actions::{Error, Scope, clusters, names};

/// Longest wait for a plan: the guard of the listener gives up a request after 30 s.
const PATIENCE: Duration = Duration::from_secs(25);

/// Which operations.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Selection {
    /// Only of this cluster: its name, its alias, or one of its instances.
    cluster: Option<String>,
    /// `waiting`, `running`, `done`, `failed`, `refused` or `cancelled`.
    state: Option<String>,
    /// Only those older than this one: the `next` of the page before.
    after: Option<u64>,
    /// At most so many, 1000 at most.
    limit: Option<usize>,
}

/// What an operation would do now, from a fresh look at the servers. Nothing is changed.
#[utoipa::path(post, path = "/plans", request_body = OperationRequest,
    responses((status = 200, body = PlanReply), (status = 400, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem), (status = 503, body = Problem), (status = 504, body = Problem)))]
pub(super) async fn make_plan(
    Writer(scope): Writer,
    request: Result<Json<OperationRequest>, JsonRejection>,
) -> Answer<Json<PlanReply>> {
    let Json(request) = request?;
    let request = understood(&scope, &request).await?;
    let outcome = asking::plan(&scope, &request, PATIENCE).await?;
    if outcome.refusal.is_none() {
        asking::check(&request, &outcome)?;
    }
    Ok(Json(asking::planned(&outcome)))
}

/// Asks for an operation.
#[utoipa::path(post, path = "/operations", request_body = OperationRequest,
    responses((status = 202, body = OperationAccepted), (status = 400, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn submit_operation(
    Writer(scope): Writer,
    request: Result<Json<OperationRequest>, JsonRejection>,
) -> Answer<Response> {
    let Json(request) = request?;
    let request = understood(&scope, &request).await?;
    let submitted = asking::submit(&scope, &request, Intent::Do).await?;
    let accepted = OperationAccepted::new(submitted.operation, submitted.job);
    let location = HeaderValue::from_str(&accepted.location);
    let mut response = (StatusCode::ACCEPTED, Json(accepted)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Operations, newest first.
#[utoipa::path(get, path = "/operations", params(Selection),
    responses((status = 200, body = Page<Operation>), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn list_operations(
    Reader(scope): Reader,
    selection: Result<Query<Selection>, QueryRejection>,
) -> Answer<Json<Page<Operation>>> {
    let Query(selection) = selection?;
    let state = selection.state.as_deref().filter(|state| !state.is_empty()).map(state_named).transpose()?;
    let cluster = match selection.cluster.as_deref().filter(|hint| !hint.is_empty()) {
        Some(hint) => Some(clusters::by_hint(&scope, hint).await?),
        None => None,
    };
    let limit = limit(selection.limit);
    let filter = Filter {
        cluster_name: cluster.as_deref(),
        state,
        before: selection.after,
        limit: u32::try_from(limit + 1).unwrap_or(u32::MAX),
    };
    let found = asking::list(&scope, &filter).await?;
    Ok(Json(Page::cut(found.iter().map(asking::brief).collect(), limit, |one: &Operation| one.id.to_string())))
}

/// One operation with its plan and steps.
#[utoipa::path(get, path = "/operations/{id}", params(("id" = u64, Path)),
    responses((status = 200, body = Operation), (status = 404, body = Problem)))]
pub(super) async fn read_operation(Reader(scope): Reader, Path(id): Path<String>) -> Answer<Json<Operation>> {
    let id = number(&id)?;
    // The operation first: steps that end in between are news, not contradictions.
    let operation = asking::read(&scope, id).await?;
    let steps = asking::steps(&scope, id).await?;
    Ok(Json(asking::full(&operation, &steps)))
}

/// Cancels an operation: at once if nobody took it up, else before its next step; what it stopped is started again.
#[utoipa::path(delete, path = "/operations/{id}", params(("id" = u64, Path)),
    responses((status = 204, description = "It will not begin"), (status = 202, description = "It is asked to stop"),
              (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn cancel_operation(Writer(scope): Writer, Path(id): Path<String>) -> Answer<StatusCode> {
    Ok(match asking::cancel(&scope, number(&id)?).await? {
        State::Cancelled => StatusCode::NO_CONTENT,
        _ => StatusCode::ACCEPTED,
    })
}

/// Names are resolved and never completed: a program means what it says.
async fn understood(scope: &Scope, request: &OperationRequest) -> Result<Request, Error> {
    let given = request.below.as_deref().filter(|below| !below.is_empty());
    if given.is_some() && asking::Below::of(&request.operation) == Some(asking::Below::No) {
        return Err(Error::Invalid(format!("{} takes no \"below\"", request.operation)));
    }
    let below = match given {
        Some(below) => Some(names::resolved(scope, names::parse(scope, below)?).await?),
        None => None,
    };
    let text = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    asking::request(&Asked {
        word: &request.operation,
        instance: names::resolved(scope, names::parse(scope, &request.instance)?).await?,
        below,
        pattern: request.pattern.as_deref().unwrap_or_default(),
        seconds: &text(request.seconds.map(u64::from)),
        until: request.until.as_deref().unwrap_or_default(),
        id: &text(request.id),
        force: request.force,
    })
}

fn number(id: &str) -> Result<u64, Error> {
    id.parse().map_err(|_| Error::Invalid(format!("an operation is a number, not {id:?}")))
}

fn state_named(word: &str) -> Result<State, Error> {
    State::parse(word).ok_or_else(|| {
        let known: Vec<&str> = State::ALL.iter().map(|state| state.name()).collect();
        Error::Invalid(format!("an operation is {}, not {word:?}", known.join(", ")))
    })
}
