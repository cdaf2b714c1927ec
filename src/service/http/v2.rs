//! The REST API: one file per resource, errors as problems, documented by what it is made of (`openapi.json`).

mod access;
mod analyses;
mod clusters;
mod configuration;
mod fleet;
mod instances;
mod jobs;
mod operations;
mod operators;
mod recoveries;

use std::sync::Arc;

use api::v2::Problem;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use axum::{Json, Router};
use serde::Serialize;
use utoipa::OpenApi;

use super::reply;
use super::site::Site;
use crate::actions::Error;

/// Items of a page when nobody says how many.
const PAGE: usize = 100;
/// Most items of a page.
const MAX_PAGE: usize = 1_000;

#[derive(OpenApi)]
#[openapi(
    info(title = "orchestrator", description = "MySQL replication topologies: instances, clusters, operations, jobs and leadership"),
    servers((url = "/api/v2")),
    paths(
        analyses::list_analyses,
        clusters::list_clusters,
        clusters::read_cluster,
        clusters::list_members,
        clusters::draw_topology,
        clusters::explain_cluster,
        configuration::read_config,
        fleet::list_nodes,
        fleet::list_lanes,
        fleet::read_leader,
        fleet::list_terms,
        fleet::list_audit,
        instances::list_instances,
        instances::read_instance,
        instances::forget_instance,
        jobs::list_jobs,
        jobs::read_job,
        jobs::retry_job,
        jobs::cancel_job,
        jobs::submit_discovery,
        operations::make_plan,
        operations::submit_operation,
        operations::list_operations,
        operations::read_operation,
        operations::cancel_operation,
        recoveries::list_recoveries,
        recoveries::read_recovery,
        recoveries::begin_recovery,
        recoveries::acknowledge,
        recoveries::list_detections,
        recoveries::list_blocked,
        recoveries::read_switch,
        recoveries::turn_switch,
        operators::list_downtimes,
        operators::begin_downtime,
        operators::end_downtime,
        operators::list_maintenance,
        operators::begin_maintenance,
        operators::end_maintenance,
        operators::list_tags,
        operators::put_tag,
        operators::remove_tag,
    )
)]
struct Document;

pub(super) fn router() -> Router<Arc<Site>> {
    Router::new()
        .route("/openapi.json", get(openapi))
        .route("/nodes", get(fleet::list_nodes))
        .route("/lanes", get(fleet::list_lanes))
        .route("/leadership", get(fleet::read_leader))
        .route("/leadership/terms", get(fleet::list_terms))
        .route("/audit", get(fleet::list_audit))
        .route("/config", get(configuration::read_config))
        .route("/clusters", get(clusters::list_clusters))
        .route("/clusters/{name}", get(clusters::read_cluster))
        .route("/clusters/{name}/instances", get(clusters::list_members))
        .route("/clusters/{name}/explain", get(clusters::explain_cluster))
        .route("/clusters/{name}/topology", get(clusters::draw_topology))
        .route("/analyses", get(analyses::list_analyses))
        .route("/instances", get(instances::list_instances))
        .route("/instances/{host}/{port}", get(instances::read_instance).delete(instances::forget_instance))
        .route("/instances/{host}/{port}/downtime", post(operators::begin_downtime).delete(operators::end_downtime))
        .route("/instances/{host}/{port}/maintenance", post(operators::begin_maintenance))
        .route("/downtimes", get(operators::list_downtimes))
        .route("/maintenance", get(operators::list_maintenance))
        .route("/maintenance/{id}", delete(operators::end_maintenance))
        .route("/tags", get(operators::list_tags).post(operators::put_tag).delete(operators::remove_tag))
        .route("/jobs", get(jobs::list_jobs))
        .route("/jobs/{id}", get(jobs::read_job).delete(jobs::cancel_job))
        .route("/jobs/{id}/retry", post(jobs::retry_job))
        .route("/plans", post(operations::make_plan))
        .route("/operations", get(operations::list_operations).post(operations::submit_operation))
        .route("/operations/{id}", get(operations::read_operation).delete(operations::cancel_operation))
        .route("/recoveries", get(recoveries::list_recoveries).post(recoveries::begin_recovery))
        .route("/recoveries/{id}", get(recoveries::read_recovery))
        .route("/acknowledgements", post(recoveries::acknowledge))
        .route("/detections", get(recoveries::list_detections))
        .route("/blocked-recoveries", get(recoveries::list_blocked))
        .route("/recovery-switch", get(recoveries::read_switch).put(recoveries::turn_switch))
        .route("/discoveries", post(jobs::submit_discovery))
        // Not a fallback: the compatibility API catches everything below `/api/`.
        .route("/{*rest}", any(unknown))
        .method_not_allowed_fallback(wrong_method)
}

async fn openapi() -> Response {
    let mut document = Document::openapi();
    document.merge(api::v2::Schemas::openapi());
    Json(document).into_response()
}

async fn unknown() -> Failure {
    Failure(Problem::new(404, "unknown-path", "There is no such resource"))
}

async fn wrong_method() -> Failure {
    Failure(Problem::new(405, "wrong-method", "This resource does not know that method"))
}

/// An error reply.
#[derive(Debug)]
pub(super) struct Failure(pub(super) Problem);

/// What a handler answers.
type Answer<T> = Result<T, Failure>;

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(Problem::CONTENT_TYPE))];
        (status, kind, serde_json::to_vec(&self.0).unwrap_or_default()).into_response()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        reply::log(&error);
        let (status, kind, title) = match &error {
            Error::NotFound(_) => (404, "not-found", "There is no such thing"),
            Error::Refused { .. } => (409, "held", "Somebody else holds it"),
            Error::NotPossible(_) => (409, "not-possible", "Not possible in its present state"),
            Error::Invalid(_) => (400, "invalid", "The request makes no sense as it is"),
            Error::NoWorker { .. } => (503, "no-worker", "No worker is alive"),
            Error::JobFailed { .. } => (502, "job-failed", "The job failed"),
            Error::Timeout { .. } => (504, "job-pending", "The job has not ended yet"),
            Error::Pending { .. } => (504, "operation-pending", "The operation has not ended yet"),
            Error::Unavailable { .. } => (503, "unavailable", "The backend database does not answer"),
            Error::Backend { .. } => (500, "backend", "The backend database answers unexpectedly"),
        };
        Self(Problem::new(status, kind, title).with_detail(error.to_string()))
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self(Problem::new(400, "invalid", "The body cannot be read").with_detail(rejection.body_text()))
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        Self(Problem::new(400, "invalid", "The query cannot be read").with_detail(rejection.body_text()))
    }
}

/// A document with its tag; `304` when the caller has this very one.
fn tagged<T: Serialize>(headers: &HeaderMap, document: &T) -> Response {
    let body = match serde_json::to_vec(document) {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(error = %error, "cannot write a document as JSON");
            return Failure(Problem::new(500, "bug", "The document cannot be written")).into_response();
        }
    };
    let tag = tag(&body);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|list| list.split(',')).any(|one| one.trim() == tag || one.trim() == "*");
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::ETAG, tag),
    ];
    if is_known { (StatusCode::NOT_MODIFIED, headers).into_response() } else { (headers, body).into_response() }
}

/// Weak, because compression changes the bytes. Equal documents have equal tags on every node of one release.
fn tag(body: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    format!("W/\"{:016x}\"", hasher.finish())
}

/// Items of a page.
fn limit(asked: Option<usize>) -> usize {
    asked.unwrap_or(PAGE).clamp(1, MAX_PAGE)
}
