//! The service itself: health, leadership, audit, caches, configuration.

use std::future::ready;

use api::legacy::RequestHeaders;
use axum::http::StatusCode;

use super::super::health;
use super::super::reply::Reply;
use super::call::{Answer, Call};
use super::{Access, Route};
use crate::actions::{Error, audit, hostnames, leadership};

pub(super) const ROUTES: &[Route] = &[
    Route { pattern: "audit", access: Access::Read, run: |call| Box::pin(audit_page(call)) },
    Route { pattern: "audit/:page", access: Access::Read, run: |call| Box::pin(audit_page(call)) },
    Route {
        pattern: "audit/instance/:host/:port",
        access: Access::Read,
        run: |call| Box::pin(audit_of_instance(call)),
    },
    Route {
        pattern: "audit/instance/:host/:port/:page",
        access: Access::Read,
        run: |call| Box::pin(audit_of_instance(call)),
    },
    Route { pattern: "headers", access: Access::Read, run: |call| Box::pin(ready(headers(&call))) },
    Route { pattern: "health", access: Access::Read, run: |call| Box::pin(health_status(call)) },
    Route { pattern: "status", access: Access::Read, run: |call| Box::pin(health_status(call)) },
    Route { pattern: "lb-check", access: Access::Read, run: |_| Box::pin(ready(Ok(Reply::raw("OK")))) },
    Route { pattern: "_ping", access: Access::Read, run: |_| Box::pin(ready(Ok(Reply::raw("OK")))) },
    Route { pattern: "leader-check", access: Access::Read, run: |call| Box::pin(ready(leader_check(&call))) },
    Route {
        pattern: "leader-check/:errorStatusCode",
        access: Access::Read,
        run: |call| Box::pin(ready(leader_check(&call))),
    },
    Route { pattern: "routed-leader-check", access: Access::Read, run: |call| Box::pin(routed_leader_check(call)) },
    Route { pattern: "grab-election", access: Access::Write, run: |call| Box::pin(grab_election(call)) },
    Route { pattern: "reelect", access: Access::Write, run: |call| Box::pin(reelect(call)) },
    Route { pattern: "reload-configuration", access: Access::Write, run: |call| Box::pin(reload(call)) },
    Route { pattern: "reload-cluster-alias", access: Access::Write, run: |_| Box::pin(ready(retired())) },
    Route { pattern: "hostname-resolve-cache", access: Access::Read, run: |call| Box::pin(resolve_cache(call)) },
    Route { pattern: "reset-hostname-resolve-cache", access: Access::Write, run: |call| Box::pin(reset_cache(call)) },
    Route { pattern: "raft-add-peer/:addr", access: Access::Write, run: |_| Box::pin(ready(no_raft("raft-add-peer"))) },
    Route {
        pattern: "raft-remove-peer/:addr",
        access: Access::Write,
        run: |_| Box::pin(ready(no_raft("raft-remove-peer"))),
    },
    Route { pattern: "raft-yield/:node", access: Access::Write, run: |_| Box::pin(ready(no_raft("raft-yield"))) },
    Route {
        pattern: "raft-yield-hint/:hint",
        access: Access::Write,
        run: |_| Box::pin(ready(no_raft("raft-yield-hint"))),
    },
    Route { pattern: "raft-peers", access: Access::Read, run: |_| Box::pin(ready(no_raft("raft-nodes"))) },
    Route { pattern: "raft-state", access: Access::Read, run: |_| Box::pin(ready(no_raft("raft-state"))) },
    Route { pattern: "raft-leader", access: Access::Read, run: |_| Box::pin(ready(no_raft("raft-leader"))) },
    Route { pattern: "raft-health", access: Access::Read, run: |_| Box::pin(ready(no_raft("raft-state"))) },
    Route { pattern: "raft-status", access: Access::Read, run: |_| Box::pin(ready(no_raft("raft-state"))) },
    Route { pattern: "raft-snapshot", access: Access::Write, run: |_| Box::pin(ready(no_raft("raft-snapshot"))) },
    Route {
        pattern: "raft-follower-health-report/:authenticationToken/:raftBind/:raftAdvertise",
        access: Access::Write,
        run: |_| Box::pin(ready(no_raft("raft-follower-health-report"))),
    },
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
