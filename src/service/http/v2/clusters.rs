//! Clusters and their topologies.

use std::collections::BTreeMap;

use api::v2::{Cluster, Explanation, InstanceSummary, Page, Problem};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use domain::instance::Instance;
use domain::text::Style;
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::Reader;
use super::{Answer, tagged};
use crate::actions::{Error, clusters, explain, instances, topology};

/// All clusters, by name.
#[utoipa::path(get, path = "/clusters", responses((status = 200, body = Page<Cluster>)))]
pub(super) async fn list_clusters(Reader(scope): Reader, headers: HeaderMap) -> Answer<Response> {
    let view = scope.view().await?;
    let infos = clusters::infos(&scope).await?;
    let all = instances::all(&scope).await?;
    let mut members: BTreeMap<&str, Vec<&Instance>> = BTreeMap::new();
    for one in &all {
        members.entry(&one.placement.cluster_name).or_default().push(one);
    }
    let cluster = |info: &api::legacy::ClusterInfo| {
        let members = members.get(info.cluster_name.as_str()).map_or(&[][..], Vec::as_slice);
        Cluster::new(&info.cluster_name, &info.cluster_alias, &info.cluster_domain, members, &view)
    };
    Ok(tagged(&headers, &Page::whole(infos.iter().map(cluster).collect())))
}

/// One cluster, by its name, its alias, or an instance of it.
#[utoipa::path(get, path = "/clusters/{name}", params(("name" = String, Path)),
    responses((status = 200, body = Cluster), (status = 404, body = Problem)))]
pub(super) async fn read_cluster(
    Reader(scope): Reader,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let name = clusters::by_hint(&scope, &name).await?;
    let info = clusters::info(&scope, &name).await?;
    let members = instances::of_cluster(&scope, &name).await?;
    let members: Vec<&Instance> = members.iter().collect();
    let view = scope.view().await?;
    let cluster = Cluster::new(&info.cluster_name, &info.cluster_alias, &info.cluster_domain, &members, &view);
    Ok(tagged(&headers, &cluster))
}

/// Members of a cluster, by key.
#[utoipa::path(get, path = "/clusters/{name}/instances", params(("name" = String, Path)),
    responses((status = 200, body = Page<InstanceSummary>), (status = 404, body = Problem)))]
pub(super) async fn list_members(
    Reader(scope): Reader,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let name = clusters::by_hint(&scope, &name).await?;
    let members = instances::of_cluster(&scope, &name).await?;
    let view = scope.view().await?;
    let summaries = members.iter().map(|one| InstanceSummary::new(one, &view)).collect();
    Ok(tagged(&headers, &Page::whole(summaries)))
}

/// Why a cluster would, or would not, be recovered: as it is, and if its primary died now.
#[utoipa::path(get, path = "/clusters/{name}/explain", params(("name" = String, Path)),
    responses((status = 200, body = Explanation), (status = 404, body = Problem)))]
pub(super) async fn explain_cluster(Reader(scope): Reader, Path(name): Path<String>) -> Answer<Json<Explanation>> {
    let name = clusters::by_hint(&scope, &name).await?;
    Ok(Json(explain::explain(&scope, &name).await?))
}

/// How to draw.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Drawing {
    /// `plain` (without it, too), `tabulated` or `tags`.
    #[serde(default)]
    style: String,
}

/// A cluster drawn as text.
#[utoipa::path(get, path = "/clusters/{name}/topology", params(("name" = String, Path), Drawing),
    responses((status = 200, body = String, content_type = "text/plain"), (status = 404, body = Problem)))]
pub(super) async fn draw_topology(
    Reader(scope): Reader,
    Path(name): Path<String>,
    drawing: Result<Query<Drawing>, QueryRejection>,
) -> Answer<Response> {
    let Query(drawing) = drawing?;
    let style = match drawing.style.as_str() {
        "" | "plain" => Style::Plain,
        "tabulated" => Style::Tabulated,
        "tags" => Style::Tags,
        other => return Err(Error::Invalid(format!("unknown style {other:?}: plain, tabulated or tags")).into()),
    };
    let name = clusters::by_hint(&scope, &name).await?;
    let text = topology::draw(&scope, &name, style).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
