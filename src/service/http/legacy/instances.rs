//! Instances: reading, searching, problems.

use api::json::or_null;
use api::legacy::{Instance, Key};

use super::super::reply::Reply;
use super::call::{Answer, Call};
use super::clusters::stored;
use super::{Route, route};
use crate::actions::{candidates, hostnames, instances};

pub(super) const ROUTES: &[Route] = &[
    route!(Read, "instance/:host/:port", read),
    route!(Read, "instance-replicas/:host/:port", replicas),
    route!(Read, "all-instances", all),
    route!(Read, "search/:searchString", search),
    route!(Read, "search", search),
    route!(Read, "problems", problems),
    route!(Read, "problems/:clusterName", problems),
    route!(Read, "downtimed", downtimed),
    route!(Read, "downtimed/:clusterHint", downtimed),
    route!(Read, "resolve/:host/:port", resolve),
    route!(GuardedRead, "bulk-instances", bulk_keys),
    route!(GuardedRead, "bulk-promotion-rules", bulk_rules),
];

async fn read(call: Call) -> Answer {
    let instance = instances::read(&call.scope, &call.key().await?).await?;
    Ok(Reply::raw(&Instance::stored(&instance, &call.scope.view().await?)))
}

async fn replicas(call: Call) -> Answer {
    let replicas = instances::replicas(&call.scope, &call.key().await?).await?;
    Ok(Reply::raw(&stored(&call.scope, &replicas).await?))
}

async fn all(call: Call) -> Answer {
    let all = instances::all(&call.scope).await?;
    Ok(Reply::raw(&stored(&call.scope, &all).await?))
}

async fn search(call: Call) -> Answer {
    let text = match call.param("searchString") {
        "" => call.query("s").unwrap_or_default(),
        text => text,
    };
    let found = instances::search(&call.scope, text).await?;
    Ok(Reply::raw(&stored(&call.scope, &found).await?))
}

/// The original takes the name for a LIKE pattern; it is a name, or any hint.
async fn problems(call: Call) -> Answer {
    let cluster = match call.param("clusterName") {
        "" => None,
        _ => Some(call.cluster().await?),
    };
    let problems = instances::problems(&call.scope, cluster.as_deref()).await?;
    Ok(Reply::raw(&or_null(stored(&call.scope, &problems).await?)))
}

async fn downtimed(call: Call) -> Answer {
    let cluster = match call.param("clusterHint") {
        "" => None,
        _ => Some(call.cluster().await?),
    };
    let downtimed = instances::downtimed(&call.scope, cluster.as_deref()).await?;
    Ok(Reply::raw(&stored(&call.scope, &downtimed).await?))
}

async fn resolve(call: Call) -> Answer {
    let key = hostnames::resolve(&call.scope, call.given_key()?).await?;
    call.envelope("Instance resolved", Key::from(&key))
}

async fn bulk_keys(call: Call) -> Answer {
    let keys = instances::keys(&call.scope).await?;
    Ok(Reply::raw(&or_null(Key::list(&keys))))
}

async fn bulk_rules(call: Call) -> Answer {
    Ok(Reply::raw(&or_null(candidates::list(&call.scope).await?)))
}
