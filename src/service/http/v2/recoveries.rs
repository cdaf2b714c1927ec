//! Recoveries, detections, and the switch of automatic recoveries.

use api::v2::{
    AcknowledgementReply, AcknowledgementRequest, BlockedRecovery, Detection, Page, Problem, Recovery,
    RecoveryAccepted, RecoveryRequest, RecoverySwitch,
};
use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::instance::InstanceKey;
use serde::Deserialize;
use std::sync::Arc;
use store::recoveries::Filter;
use utoipa::IntoParams;

use super::Answer;
use super::access::{Reader, Writer};
use crate::actions::recoveries::{self as asking, Ask, Node, Whose};
use crate::actions::{Error, Scope, clusters, names};
use crate::http::site::Site;

/// Which recoveries or detections.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Selection {
    /// Only of this cluster: the name it had then, or its alias.
    cluster: Option<String>,
    /// Only of this instance: the failed one.
    instance: Option<String>,
    /// Only those that nobody has acknowledged.
    #[serde(default)]
    unacknowledged: bool,
    /// Only those that have not ended; of detections those that are active.
    #[serde(default)]
    open: bool,
    /// Page of twenty, from 0.
    #[serde(default)]
    page: u32,
}

/// Only of a cluster.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct OfCluster {
    /// Its name, its alias, or one of its instances.
    cluster: Option<String>,
}

/// Recoveries, newest first, twenty per page.
#[utoipa::path(get, path = "/recoveries", params(Selection),
    responses((status = 200, body = Page<Recovery>), (status = 400, body = Problem)))]
pub(super) async fn list_recoveries(
    Reader(scope): Reader,
    selection: Result<Query<Selection>, QueryRejection>,
) -> Answer<Json<Page<Recovery>>> {
    let Query(selection) = selection?;
    let instance = instance(&scope, selection.instance.as_deref()).await?;
    let filter = Filter {
        instance: instance.as_ref(),
        unacknowledged: selection.unacknowledged,
        open: selection.open,
        page: selection.page,
        ..Filter::default()
    };
    let found = match given(selection.cluster.as_deref()) {
        Some(name) => asking::of_cluster(&scope, name, &filter).await?,
        None => asking::list(&scope, &filter).await?,
    };
    Ok(Json(Page::whole(found.iter().map(asking::brief).collect())))
}

/// One recovery by number or UID, with its choice, gates and timeline.
#[utoipa::path(get, path = "/recoveries/{id}", params(("id" = String, Path)),
    responses((status = 200, body = Recovery), (status = 404, body = Problem)))]
pub(super) async fn read_recovery(Reader(scope): Reader, Path(id): Path<String>) -> Answer<Json<Recovery>> {
    let found = match id.parse() {
        Ok(id) => asking::read(&scope, id).await?,
        Err(_) => asking::read_uid(&scope, &id).await?,
    };
    Ok(Json(asking::full(&scope, &found).await?))
}

/// Asks for a recovery or a takeover.
#[utoipa::path(post, path = "/recoveries", request_body = RecoveryRequest,
    responses((status = 202, body = RecoveryAccepted), (status = 400, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn begin_recovery(
    State(site): State<Arc<Site>>,
    Writer(scope): Writer,
    request: Result<Json<RecoveryRequest>, JsonRejection>,
) -> Answer<Response> {
    let Json(request) = request?;
    let successor = instance(&scope, request.successor.as_deref()).await?;
    let successor = successor.as_ref();
    let (failed, cluster);
    let ask = match request.command.as_str() {
        word @ ("recover" | "recover-lite") => {
            failed = instance(&scope, request.instance.as_deref()).await?;
            let failed = failed.as_ref().ok_or_else(|| Error::Invalid(format!("{word} needs an instance")))?;
            Ask::Recover { failed, candidate: successor, hooks: word == "recover" }
        }
        word => {
            let hint = given(request.cluster.as_deref()).or_else(|| given(request.instance.as_deref()));
            let hint = hint.ok_or_else(|| Error::Invalid("name a cluster, or an instance of it".to_owned()))?;
            cluster = clusters::by_hint(&scope, hint).await?;
            of_cluster(word, &cluster, successor)?
        }
    };
    let identity = &site.handles.identity;
    let node = Node { name: &identity.hostname, token: &identity.token };
    let started = asking::start(&scope, ask, node).await?;
    let accepted = RecoveryAccepted::new(started.recovery, started.operation, started.job);
    let location = HeaderValue::from_str(&accepted.location);
    let mut response = (StatusCode::ACCEPTED, Json(accepted)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn of_cluster<'a>(word: &str, cluster_name: &'a str, successor: Option<&'a InstanceKey>) -> Result<Ask<'a>, Error> {
    match (word, successor) {
        ("force-master-failover", None) => Ok(Ask::Failover { cluster_name }),
        ("force-master-failover", Some(_)) => {
            Err(Error::Invalid("force-master-failover takes no successor: see force-master-takeover".to_owned()))
        }
        ("force-master-takeover", Some(successor)) => Ok(Ask::TakeoverByForce { cluster_name, successor }),
        ("force-master-takeover", None) => Err(Error::Invalid("force-master-takeover needs a successor".to_owned())),
        ("graceful-master-takeover", successor) => Ok(Ask::Takeover { cluster_name, successor, auto: false }),
        ("graceful-master-takeover-auto", successor) => Ok(Ask::Takeover { cluster_name, successor, auto: true }),
        _ => {
            let shown: String = word.chars().take(60).collect();
            Err(Error::Invalid(format!(
                "{shown:?} begins no recovery: use recover, recover-lite, force-master-failover, force-master-takeover, \
                 graceful-master-takeover or graceful-master-takeover-auto"
            )))
        }
    }
}

/// Acknowledges recoveries: the next automatic one is no longer held back by them.
#[utoipa::path(post, path = "/acknowledgements", request_body = AcknowledgementRequest,
    responses((status = 200, body = AcknowledgementReply), (status = 400, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn acknowledge(
    Writer(scope): Writer,
    request: Result<Json<AcknowledgementRequest>, JsonRejection>,
) -> Answer<Json<AcknowledgementReply>> {
    let Json(request) = request?;
    let key = instance(&scope, request.instance.as_deref()).await?;
    let forms = (request.recovery, given(request.uid.as_deref()), given(request.cluster.as_deref()), &key, request.all);
    let whose = match forms {
        (Some(id), None, None, None, false) => Whose::Id(id),
        (None, Some(uid), None, None, false) => Whose::Uid(uid),
        (None, None, Some(hint), None, false) => Whose::Cluster(hint),
        (None, None, None, Some(key), false) => Whose::Instance(key),
        (None, None, None, None, true) => Whose::All,
        _ => {
            let text = "say one of recovery, uid, cluster, instance and all";
            return Err(Error::Invalid(text.to_owned()).into());
        }
    };
    let done = asking::acknowledge(&scope, whose, &request.comment).await?;
    Ok(Json(AcknowledgementReply { acknowledged: done.ids }))
}

/// Detected failures, newest first, twenty per page.
#[utoipa::path(get, path = "/detections", params(Selection),
    responses((status = 200, body = Page<Detection>), (status = 400, body = Problem)))]
pub(super) async fn list_detections(
    Reader(scope): Reader,
    selection: Result<Query<Selection>, QueryRejection>,
) -> Answer<Json<Page<Detection>>> {
    let Query(selection) = selection?;
    let instance = instance(&scope, selection.instance.as_deref()).await?;
    let filter = store::detections::Filter {
        instance: instance.as_ref(),
        active: selection.open,
        page: selection.page,
        ..Default::default()
    };
    let found = match given(selection.cluster.as_deref()) {
        Some(name) => asking::detections_of_cluster(&scope, name, &filter).await?,
        None => asking::detections(&scope, &filter).await?,
    };
    Ok(Json(Page::whole(found.iter().map(asking::detected).collect())))
}

/// Recoveries that are held back at the moment, with the gate and setting that say no.
#[utoipa::path(get, path = "/blocked-recoveries", params(OfCluster),
    responses((status = 200, body = Page<BlockedRecovery>), (status = 404, body = Problem)))]
pub(super) async fn list_blocked(
    Reader(scope): Reader,
    of: Result<Query<OfCluster>, QueryRejection>,
) -> Answer<Json<Page<BlockedRecovery>>> {
    let Query(of) = of?;
    let cluster = match given(of.cluster.as_deref()) {
        Some(hint) => Some(clusters::by_hint(&scope, hint).await?),
        None => None,
    };
    let found = asking::blocked(&scope, cluster.as_deref()).await?;
    Ok(Json(Page::whole(found.iter().map(asking::held_back).collect())))
}

/// Are automatic recoveries switched off everywhere?
#[utoipa::path(get, path = "/recovery-switch", responses((status = 200, body = RecoverySwitch)))]
pub(super) async fn read_switch(Reader(scope): Reader) -> Answer<Json<RecoverySwitch>> {
    Ok(Json(asking::switch(&asking::read_switch(&scope).await?)))
}

/// Switches automatic recoveries off, or on again; `actor` and `changed_at` are ignored.
#[utoipa::path(put, path = "/recovery-switch", request_body = RecoverySwitch,
    responses((status = 200, body = RecoverySwitch), (status = 400, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn turn_switch(
    Writer(scope): Writer,
    request: Result<Json<RecoverySwitch>, JsonRejection>,
) -> Answer<Json<RecoverySwitch>> {
    let Json(request) = request?;
    asking::set_disabled(&scope, request.is_disabled).await?;
    Ok(Json(asking::switch(&asking::read_switch(&scope).await?)))
}

/// Names are resolved and never completed: a program means what it says.
async fn instance(scope: &Scope, text: Option<&str>) -> Result<Option<InstanceKey>, Error> {
    match given(text) {
        Some(text) => names::resolved(scope, names::parse(scope, text)?).await.map(Some),
        None => Ok(None),
    }
}

fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}
