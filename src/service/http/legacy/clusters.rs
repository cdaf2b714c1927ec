//! Clusters: names, aliases, members, primaries, drawings.

use api::json::or_null;
use api::legacy::Instance;
use domain::text::Style;

use super::super::reply::Reply;
use super::call::{Answer, Call};
use super::{Access, Route};
use crate::actions::{Scope, clusters, instances, snapshots, topology};

pub(super) const ROUTES: &[Route] = &[
    Route { pattern: "clusters", access: Access::Read, run: |call| Box::pin(list(call)) },
    Route { pattern: "clusters-info", access: Access::Read, run: |call| Box::pin(list_infos(call)) },
    Route { pattern: "cluster/:clusterHint", access: Access::Read, run: |call| Box::pin(members(call)) },
    Route {
        pattern: "cluster/alias/:clusterAlias",
        access: Access::Read,
        run: |call| Box::pin(members_of_alias(call)),
    },
    Route { pattern: "cluster/instance/:host/:port", access: Access::Read, run: |call| Box::pin(members(call)) },
    Route { pattern: "cluster-info/:clusterHint", access: Access::Read, run: |call| Box::pin(info(call)) },
    Route {
        pattern: "cluster-info/alias/:clusterAlias",
        access: Access::Read,
        run: |call| Box::pin(info_of_alias(call)),
    },
    Route {
        pattern: "cluster-osc-slaves/:clusterHint",
        access: Access::Read,
        run: |call| Box::pin(osc_replicas(call)),
    },
    Route {
        pattern: "cluster-osc-replicas/:clusterHint",
        access: Access::Read,
        run: |call| Box::pin(osc_replicas(call)),
    },
    Route { pattern: "set-cluster-alias/:clusterName", access: Access::Write, run: |call| Box::pin(set_alias(call)) },
    Route { pattern: "masters", access: Access::Read, run: |call| Box::pin(primaries(call)) },
    Route { pattern: "master/:clusterHint", access: Access::Read, run: |call| Box::pin(primary(call)) },
    Route { pattern: "topology/:clusterHint", access: Access::Read, run: |call| Box::pin(draw(call, Style::Plain)) },
    Route { pattern: "topology/:host/:port", access: Access::Read, run: |call| Box::pin(draw(call, Style::Plain)) },
    Route {
        pattern: "topology-tabulated/:clusterHint",
        access: Access::Read,
        run: |call| Box::pin(draw(call, Style::Tabulated)),
    },
    Route {
        pattern: "topology-tabulated/:host/:port",
        access: Access::Read,
        run: |call| Box::pin(draw(call, Style::Tabulated)),
    },
    Route {
        pattern: "topology-tags/:clusterHint",
        access: Access::Read,
        run: |call| Box::pin(draw(call, Style::Tags)),
    },
    Route { pattern: "topology-tags/:host/:port", access: Access::Read, run: |call| Box::pin(draw(call, Style::Tags)) },
    Route { pattern: "snapshot-topologies", access: Access::Write, run: |call| Box::pin(snapshot(call)) },
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
