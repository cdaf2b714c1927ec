//! What is wrong with replication.

use api::json::or_null;

use super::super::reply::Reply;
use super::call::{Answer, Call};
use super::{Route, route};
use crate::actions::analysis::{self, Listing, Whose};

pub(super) const ROUTES: &[Route] = &[
    route!(Read, "replication-analysis", list),
    route!(Read, "replication-analysis/:clusterName", of_cluster),
    route!(Read, "replication-analysis/instance/:host/:port", of_instance),
    route!(Read, "replication-analysis-changelog", changelog),
];

async fn list(call: Call) -> Answer {
    let listing = analysis::list(&call.scope, Whose::All).await?;
    shown(&call, &listing)
}

/// Name or alias; nothing is found in an unknown cluster.
async fn of_cluster(call: Call) -> Answer {
    let listing = analysis::list_of_cluster(&call.scope, call.param("clusterName")).await?;
    shown(&call, &listing)
}

async fn of_instance(call: Call) -> Answer {
    let key = call.key().await?;
    let listing = analysis::list(&call.scope, Whose::Instance(&key)).await?;
    shown(&call, &listing)
}

async fn changelog(call: Call) -> Answer {
    Ok(Reply::raw(&or_null(analysis::changelog(&call.scope).await?)))
}

fn shown(call: &Call, listing: &Listing) -> Answer {
    let identity = &call.site.handles.identity;
    call.envelope("Analysis", listing.records(&identity.hostname, &identity.token))
}
