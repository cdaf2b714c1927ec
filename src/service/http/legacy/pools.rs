//! Pools of instances.

use api::legacy::{Key, PoolMap};

use super::call::{Answer, Call};
use super::clusters::stored;
use super::{Route, route};
use crate::actions::pools;

pub(super) const ROUTES: &[Route] = &[
    route!(Write, "submit-pool-instances/:pool", submit),
    route!(GuardedRead, "cluster-pool-instances/:clusterName", of_cluster),
    route!(GuardedRead, "cluster-pool-instances/:clusterName/:pool", of_cluster),
    route!(GuardedRead, "heuristic-cluster-pool-instances/:clusterName", usable),
    route!(GuardedRead, "heuristic-cluster-pool-instances/:clusterName/:pool", usable),
    route!(GuardedRead, "heuristic-cluster-pool-lag/:clusterName", lag),
    route!(GuardedRead, "heuristic-cluster-pool-lag/:clusterName/:pool", lag),
];

fn pool(call: &Call) -> Option<&str> {
    Some(call.param("pool")).filter(|pool| !pool.is_empty())
}

async fn submit(call: Call) -> Answer {
    let pool = call.param("pool").to_owned();
    pools::submit(&call.scope, &pool, call.query("instances").unwrap_or_default()).await?;
    call.envelope(format!("Applied {pool} pool instances"), pool)
}

/// The name is taken literally: a cluster that does not exist has no pools.
async fn of_cluster(call: Call) -> Answer {
    let cluster = call.param("clusterName");
    let pools = pools::of_cluster(&call.scope, cluster, pool(&call)).await?;
    let pools: PoolMap = pools.into_iter().map(|(pool, keys)| (pool, Key::list(&keys))).collect();
    call.envelope(format!("Read pool instances for cluster {cluster}"), pools)
}

async fn usable(call: Call) -> Answer {
    let cluster = call.cluster().await?;
    let members = pools::usable_instances(&call.scope, &cluster, pool(&call)).await?;
    let members = stored(&call.scope, &members).await?;
    call.envelope(format!("Heuristic pool instances for cluster {cluster}"), members)
}

async fn lag(call: Call) -> Answer {
    let cluster = call.cluster().await?;
    let lag = pools::lag(&call.scope, &cluster, pool(&call)).await?;
    call.envelope(format!("Heuristic pool lag for cluster {cluster}"), lag)
}
