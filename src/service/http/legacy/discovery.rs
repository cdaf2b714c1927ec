//! Making servers known, and forgetting them.

use std::time::Duration;

use api::legacy::{Instance, Key};

use super::call::{Answer, Call};
use super::{Route, route};
use crate::actions::{discovery, instances, names};

pub(super) const ROUTES: &[Route] = &[
    route!(Write, "discover/:host/:port", discover),
    route!(Write, "async-discover/:host/:port", submit),
    route!(Write, "refresh/:host/:port", refresh),
    route!(Write, "forget/:host/:port", forget),
    route!(Write, "forget-cluster/:clusterHint", forget_cluster),
];

/// Not completed: a new server's name may be contained in the name of a known one.
async fn discover(call: Call) -> Answer {
    let found = discovery::discover(&call.scope, &call.given_key()?).await?;
    let Some(instance) = instances::find_exact(&call.scope, &found.key).await? else {
        return call.envelope("No instances discovered", ());
    };
    let record = Instance::live(&instance, &call.scope.view().await?);
    call.envelope(format!("Instance discovered: {}", found.key), record)
}

async fn submit(call: Call) -> Answer {
    let key = call.given_key()?;
    discovery::submit(&call.scope, &key, Duration::ZERO).await?;
    call.envelope(format!("Asynchronous discovery initiated for Instance: {key}"), ())
}

async fn refresh(call: Call) -> Answer {
    let found = discovery::discover(&call.scope, &call.key().await?).await?;
    call.envelope(format!("Instance refreshed: {}", found.key), Key::from(&found.key))
}

/// Not resolved: what is to be forgotten may not resolve any more.
async fn forget(call: Call) -> Answer {
    let key = names::complete(&call.scope, call.given_key()?).await?;
    instances::forget(&call.scope, &key).await?;
    call.envelope(format!("Instance forgotten: {key}"), Key::from(&key))
}

async fn forget_cluster(call: Call) -> Answer {
    let (cluster, _) = instances::forget_cluster(&call.scope, call.param("clusterHint")).await?;
    call.envelope(format!("Cluster forgotten: {cluster}"), ())
}
