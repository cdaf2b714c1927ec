//! Clusters: names, aliases, members, primaries, drawings.

use api::json::or_null;
use api::legacy::Instance;
use domain::text::Style;

use super::super::reply::Reply;
use super::call::{Answer, Call};
use super::{Route, route};
use crate::actions::{Scope, clusters, instances, snapshots, topology};

pub(super) const ROUTES: &[Route] = &[
    route!(Read, "clusters", list),
    route!(Read, "clusters-info", list_infos),
    route!(Read, "cluster/:clusterHint", members),
    route!(Read, "cluster/alias/:clusterAlias", members_of_alias),
    route!(Read, "cluster/instance/:host/:port", members),
    route!(Read, "cluster-info/:clusterHint", info),
    route!(Read, "cluster-info/alias/:clusterAlias", info_of_alias),
    route!(Read, "cluster-osc-slaves/:clusterHint", osc_replicas),
    route!(Read, "cluster-osc-replicas/:clusterHint", osc_replicas),
    route!(Write, "set-cluster-alias/:clusterName", set_alias),
    route!(Read, "masters", primaries),
    route!(Read, "master/:clusterHint", primary),
    route!(Read, "topology/:clusterHint", |call| draw(call, Style::Plain)),
    route!(Read, "topology/:host/:port", |call| draw(call, Style::Plain)),
    route!(Read, "topology-tabulated/:clusterHint", |call| draw(call, Style::Tabulated)),
    route!(Read, "topology-tabulated/:host/:port", |call| draw(call, Style::Tabulated)),
    route!(Read, "topology-tags/:clusterHint", |call| draw(call, Style::Tags)),
    route!(Read, "topology-tags/:host/:port", |call| draw(call, Style::Tags)),
    route!(Write, "snapshot-topologies", snapshot),
];

async fn list(call: Call) -> Answer {
    Ok(Reply::raw(&or_null(clusters::list(&call.scope).await?)))
}

async fn list_infos(call: Call) -> Answer {
    Ok(Reply::raw(&clusters::infos(&call.scope).await?))
}

async fn members(call: Call) -> Answer {
    let cluster = call.cluster().await?;
    let members = instances::of_cluster(&call.scope, &cluster).await?;
    Ok(Reply::raw(&stored(&call.scope, &members).await?))
}

async fn members_of_alias(call: Call) -> Answer {
    let cluster = clusters::by_alias(&call.scope, call.param("clusterAlias")).await?;
    let members = instances::of_cluster(&call.scope, &cluster).await?;
    Ok(Reply::raw(&stored(&call.scope, &members).await?))
}

async fn info(call: Call) -> Answer {
    let cluster = call.cluster().await?;
    Ok(Reply::raw(&clusters::info(&call.scope, &cluster).await?))
}

async fn info_of_alias(call: Call) -> Answer {
    let cluster = clusters::by_alias(&call.scope, call.param("clusterAlias")).await?;
    Ok(Reply::raw(&clusters::info(&call.scope, &cluster).await?))
}

async fn osc_replicas(call: Call) -> Answer {
    let cluster = call.cluster().await?;
    let replicas = clusters::osc_replicas(&call.scope, &cluster).await?;
    Ok(Reply::raw(&stored(&call.scope, &replicas).await?))
}

/// The name is taken literally.
async fn set_alias(call: Call) -> Answer {
    let name = call.param("clusterName");
    let alias = call.query("alias").unwrap_or_default().trim();
    clusters::set_alias(&call.scope, name, alias).await?;
    call.envelope(format!("Cluster {name} now has alias '{alias}'"), ())
}

async fn primaries(call: Call) -> Answer {
    let primaries = clusters::primaries(&call.scope).await?;
    Ok(Reply::raw(&or_null(stored(&call.scope, &primaries).await?)))
}

async fn primary(call: Call) -> Answer {
    let cluster = call.cluster().await?;
    let primary = clusters::primary(&call.scope, &cluster).await?;
    Ok(Reply::raw(&Instance::stored(&primary, &call.scope.view().await?)))
}

async fn draw(call: Call, style: Style) -> Answer {
    let cluster = call.cluster().await?;
    let drawing = topology::draw(&call.scope, &cluster, style).await?;
    call.envelope(format!("Topology for cluster {cluster}"), drawing)
}

async fn snapshot(call: Call) -> Answer {
    let begun = std::time::Instant::now();
    snapshots::write(&call.scope).await?;
    call.envelope("Topology Snapshot completed", format!("Took {:?}", begun.elapsed()))
}

/// Records of instances read from the backend.
pub(super) async fn stored(
    scope: &Scope,
    instances: &[domain::instance::Instance],
) -> Result<Vec<Instance>, crate::actions::Error> {
    let view = scope.view().await?;
    Ok(instances.iter().map(|one| Instance::stored(one, &view)).collect())
}
