//! The service itself: health, leadership, audit, caches, configuration.

use std::future::ready;

use api::legacy::RequestHeaders;
use axum::http::StatusCode;

use super::super::health;
use super::super::reply::Reply;
use super::call::{Answer, Call};
use super::{Route, route};
use crate::actions::{Error, audit, hostnames, leadership};

pub(super) const ROUTES: &[Route] = &[
    route!(Read, "audit", audit_page),
    route!(Read, "audit/:page", audit_page),
    route!(Read, "audit/instance/:host/:port", audit_of_instance),
    route!(Read, "audit/instance/:host/:port/:page", audit_of_instance),
    route!(Read, "headers", |call| ready(headers(&call))),
    route!(Read, "health", health_status),
    route!(Read, "status", health_status),
    route!(Read, "lb-check", |_| ready(Ok(Reply::raw("OK")))),
    route!(Read, "_ping", |_| ready(Ok(Reply::raw("OK")))),
    route!(Read, "leader-check", |call| ready(leader_check(&call))),
    route!(Read, "leader-check/:errorStatusCode", |call| ready(leader_check(&call))),
    route!(Read, "routed-leader-check", routed_leader_check),
    route!(Write, "grab-election", grab_election),
    route!(Write, "reelect", reelect),
    route!(Write, "reload-configuration", reload),
    route!(Write, "reload-cluster-alias", |_| ready(retired())),
    route!(Read, "hostname-resolve-cache", resolve_cache),
    route!(Write, "reset-hostname-resolve-cache", reset_cache),
    route!(Write, "raft-add-peer/:addr", |_| ready(no_raft("raft-add-peer"))),
    route!(Write, "raft-remove-peer/:addr", |_| ready(no_raft("raft-remove-peer"))),
    route!(Write, "raft-yield/:node", |_| ready(no_raft("raft-yield"))),
    route!(Write, "raft-yield-hint/:hint", |_| ready(no_raft("raft-yield-hint"))),
    route!(Read, "raft-peers", |_| ready(no_raft("raft-nodes"))),
    route!(Read, "raft-state", |_| ready(no_raft("raft-state"))),
    route!(Read, "raft-leader", |_| ready(no_raft("raft-leader"))),
    route!(Read, "raft-health", |_| ready(no_raft("raft-state"))),
    route!(Read, "raft-status", |_| ready(no_raft("raft-state"))),
    route!(Write, "raft-snapshot", |_| ready(no_raft("raft-snapshot"))),
    route!(Write, "raft-follower-health-report/:authenticationToken/:raftBind/:raftAdvertise", |_| ready(no_raft(
        "raft-follower-health-report"
    ))),
];

async fn audit_page(call: Call) -> Answer {
    Ok(Reply::raw(&audit::page(&call.scope, call.page(), None).await?))
}

async fn audit_of_instance(call: Call) -> Answer {
    let key = call.key().await?;
    Ok(Reply::raw(&audit::page(&call.scope, call.page(), Some(&key)).await?))
}

/// The request as the service saw it: for those who set up proxies. What proves who somebody is, is not repeated.
fn headers(call: &Call) -> Answer {
    let mut headers = RequestHeaders::new();
    for (name, value) in &call.headers {
        let value = match name.as_str() {
            "authorization" | "cookie" | "proxy-authorization" => "(not shown)".to_owned(),
            _ => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        };
        headers.entry(canonical(name.as_str())).or_default().push(value);
    }
    Ok(Reply::raw(&headers))
}

/// `accept-encoding` as `Accept-Encoding`.
fn canonical(name: &str) -> String {
    let capital = |part: &str| {
        let mut letters = part.chars();
        letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    name.split('-').map(capital).collect::<Vec<_>>().join("-")
}

async fn health_status(call: Call) -> Answer {
    let health = health::current(&call.site).await;
    if health.failure.is_empty() {
        return call.envelope("Application node is healthy", health.status);
    }
    let message = format!("Application node is unhealthy {}", health.failure);
    Ok(Reply::error_with(&call.site, message, health.status))
}

/// 200 on the leader; elsewhere 404, or what the load balancer wants to see.
fn leader_check(call: &Call) -> Answer {
    if call.site.leading().is_some() {
        return Ok(Reply::raw("OK"));
    }
    let code = call.param("errorStatusCode").parse::<u16>().ok().filter(|code| (200..=599).contains(code));
    let status = code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::NOT_FOUND);
    Ok(Reply::raw_with(status, "Not leader"))
}

/// Any node serves every request, so what matters is that some node leads.
async fn routed_leader_check(call: Call) -> Answer {
    let lease = leadership::current(&call.scope).await?;
    if lease.is_live && !lease.holder.is_empty() {
        return Ok(Reply::raw("OK"));
    }
    Ok(Reply::raw_with(StatusCode::NOT_FOUND, "Not leader"))
}

async fn grab_election(call: Call) -> Answer {
    if call.site.leading().is_none() {
        let identity = &call.site.handles.identity;
        leadership::grab(&call.scope, &identity.token, &identity.name, call.site.lease_ttl()).await?;
    }
    call.envelope("Node grabbed election", ())
}

async fn reelect(call: Call) -> Answer {
    leadership::reelect(&call.scope).await?;
    call.envelope("Set re-elections", ())
}

async fn reload(call: Call) -> Answer {
    let file = call.query("config").unwrap_or_default().trim().to_owned();
    let Some(reload) = &call.site.options.reload else {
        return Err(Error::NotPossible("this service cannot reload its configuration".to_owned()));
    };
    reload(Some(file.clone()).filter(|file| !file.is_empty())).await.map_err(Error::Invalid)?;
    crate::actions::audit::note(&call.scope, "reload-configuration", &file).await?;
    call.envelope("Config reloaded", file)
}

fn retired() -> Answer {
    Err(Error::NotPossible("reload-cluster-alias is retired: aliases are placed anew all the time".to_owned()))
}

async fn resolve_cache(call: Call) -> Answer {
    let cache = hostnames::cache(&call.scope).await?;
    call.envelope("Cache retrieved", cache)
}

async fn reset_cache(call: Call) -> Answer {
    hostnames::reset(&call.scope).await?;
    call.envelope("Hostname cache cleared", ())
}

/// Leadership comes from a lease in the backend.
fn no_raft(what: &str) -> Answer {
    Err(Error::NotPossible(format!("{what}: not running with raft setup")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_are_written_as_people_know_them() {
        assert_eq!(canonical("accept-encoding"), "Accept-Encoding");
        assert_eq!(canonical("x"), "X");
        assert_eq!(canonical(""), "");
    }
}
