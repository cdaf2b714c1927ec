//! The processes of the fleet, who leads, the lanes of the queue, and the audit.

use api::clock::Timestamp;
use api::v2::{AuditEntry, Lane, Leader, Node, Page, Problem, Term};
use axum::Json;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::Reader;
use super::{Answer, limit};
use crate::actions::{audit, jobs, leadership, names, nodes};

/// Registered processes.
#[utoipa::path(get, path = "/nodes", responses((status = 200, body = Page<Node>)))]
pub(super) async fn list_nodes(Reader(scope): Reader) -> Answer<Json<Page<Node>>> {
    let lease = leadership::current(&scope).await?;
    let found = nodes::list(&scope).await?;
    let node = |one: store::nodes::Node| {
        let silent = one.now.saturating_sub(one.heartbeat_at).max(0);
        let registration = one.registration;
        Node {
            is_leader: lease.is_live && lease.holder == registration.token,
            token: registration.token,
            name: registration.name,
            role: registration.role,
            datacenters: registration.datacenters,
            version: registration.version,
            address: Some(registration.address).filter(|address| !address.is_empty()),
            pid: registration.pid,
            started_at: Timestamp(one.started_at),
            heartbeat_at: Timestamp(one.heartbeat_at),
            seconds_since_heartbeat: silent as f64 / 1e6,
            load: serde_json::from_str(&registration.load).unwrap_or_default(),
        }
    };
    Ok(Json(Page::whole(found.into_iter().map(node).collect())))
}

/// Lanes of the queue, with the live workers that serve each.
#[utoipa::path(get, path = "/lanes", responses((status = 200, body = Page<Lane>)))]
pub(super) async fn list_lanes(Reader(scope): Reader) -> Answer<Json<Page<Lane>>> {
    let workers = jobs::workers(&scope).await?;
    let found = jobs::lanes(&scope).await?;
    let lane = |one: queue::Depth| {
        let (queue, datacenter) = one.lane.split_once('/').unwrap_or((&one.lane, ""));
        let dedicated = workers.iter().filter(|worker| worker.datacenters.iter().any(|one| one == datacenter)).count();
        let all = workers.iter().filter(|worker| worker.datacenters.is_empty()).count();
        // A lane that nobody is dedicated to is served by all.
        let serving = if datacenter.is_empty() || dedicated + all == 0 { workers.len() } else { dedicated + all };
        Lane {
            queue: queue.to_owned(),
            datacenter: datacenter.to_owned(),
            depth: one.ready,
            scheduled: one.scheduled,
            running: one.claimed,
            failed: one.failed,
            oldest_age_seconds: (one.ready > 0).then_some(one.oldest_seconds),
            workers: serving as u64,
            name: one.lane.clone(),
        }
    };
    Ok(Json(Page::whole(found.into_iter().map(lane).collect())))
}

/// Who leads.
#[utoipa::path(get, path = "/leadership", responses((status = 200, body = Leader)))]
pub(super) async fn read_leader(Reader(scope): Reader) -> Answer<Json<Leader>> {
    let lease = leadership::current(&scope).await?;
    let holds = lease.is_live && !lease.holder.is_empty();
    let node = nodes::list(&scope).await?.into_iter().find(|node| holds && node.registration.token == lease.holder);
    let registration = node.map(|node| node.registration);
    Ok(Json(Leader {
        name: registration.as_ref().map(|one| one.name.clone()),
        address: registration.map(|one| one.address).filter(|address| !address.is_empty()),
        token: holds.then_some(lease.holder),
        term: lease.term,
        acquired_at: Timestamp(lease.acquired_at),
        expires_at: Timestamp(lease.expires_at),
    }))
}

/// How many.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Count {
    /// At most so many, 1000 at most.
    limit: Option<usize>,
}

/// The newest terms of leadership, newest first.
#[utoipa::path(get, path = "/leadership/terms", params(Count), responses((status = 200, body = Page<Term>)))]
pub(super) async fn list_terms(
    Reader(scope): Reader,
    count: Result<Query<Count>, QueryRejection>,
) -> Answer<Json<Page<Term>>> {
    let Query(count) = count?;
    let found = leadership::history(&scope, u32::try_from(limit(count.limit)).unwrap_or(u32::MAX)).await?;
    let term = |one: store::leases::Term| Term {
        term: one.term,
        holder: one.holder,
        holder_name: one.holder_name,
        acquired_at: Timestamp(one.acquired_at),
        last_acted_at: one.last_acted_at.map(Timestamp),
        ended_at: one.ended_at.map(Timestamp),
        end_reason: one.end_reason,
    };
    Ok(Json(Page::whole(found.into_iter().map(term).collect())))
}

/// Which part of the audit.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct AuditSelection {
    /// Only of this instance.
    instance: Option<String>,
    /// Pages of 20, from 0.
    #[serde(default)]
    page: u32,
}

/// What was done, by whom; newest first.
#[utoipa::path(get, path = "/audit", params(AuditSelection),
    responses((status = 200, body = Page<AuditEntry>), (status = 400, body = Problem)))]
pub(super) async fn list_audit(
    Reader(scope): Reader,
    selection: Result<Query<AuditSelection>, QueryRejection>,
) -> Answer<Json<Page<AuditEntry>>> {
    let Query(selection) = selection?;
    let key = selection.instance.as_deref().map(|text| names::parse(&scope, text)).transpose()?;
    let found = audit::entries(&scope, selection.page, key.as_ref()).await?;
    let is_full = found.len() >= store::audit::PAGE as usize;
    let entry = |one: store::audit::Audit| AuditEntry {
        id: one.id,
        audited_at: Timestamp(one.audited_at),
        audit_type: one.audit_type,
        instance: one.instance.map(|key| key.to_string()),
        cluster_name: Some(one.cluster_name).filter(|name| !name.is_empty()),
        actor: one.actor,
        message: one.message,
    };
    let next = is_full.then(|| selection.page.saturating_add(1).to_string());
    Ok(Json(Page { items: found.into_iter().map(entry).collect(), next }))
}
