//! What people say about instances: downtime, maintenance, promotion rules, virtual names.

use std::future::ready;

use api::legacy::{AutomatedRecoveryFilters, Key};
use store::candidates::Lasting;

use super::super::reply::Reply;
use super::call::{Answer, Call};
use super::{Route, route};
use crate::actions::{Error, candidates, downtime, hostnames, maintenance};

pub(super) const ROUTES: &[Route] = &[
    route!(Write, "begin-downtime/:host/:port/:owner/:reason", begin_downtime),
    route!(Write, "begin-downtime/:host/:port/:owner/:reason/:duration", begin_downtime),
    // Owner and reason after the question mark: there they may contain slashes.
    route!(Write, "begin-downtime/:host/:port", begin_downtime),
    route!(Write, "end-downtime/:host/:port", end_downtime),
    route!(Write, "begin-maintenance/:host/:port/:owner/:reason", begin_maintenance),
    route!(Write, "begin-maintenance/:host/:port", begin_maintenance),
    route!(Write, "end-maintenance/:host/:port", end_maintenance),
    route!(Write, "end-maintenance/:maintenanceKey", end_maintenance_by_id),
    route!(Read, "in-maintenance/:host/:port", in_maintenance),
    route!(Read, "maintenance", list_maintenance),
    route!(Write, "register-candidate/:host/:port/:promotionRule", register_candidate),
    route!(Read, "automated-recovery-filters", |call| ready(recovery_filters(&call))),
    route!(Write, "register-hostname-unresolve/:host/:port/:virtualname", register_unresolve),
    route!(Write, "deregister-hostname-unresolve/:host/:port", deregister_unresolve),
];

async fn begin_downtime(call: Call) -> Answer {
    let key = call.key().await?;
    let duration = call.duration()?;
    downtime::begin(&call.scope, &key, call.text("owner"), call.text("reason"), duration).await?;
    let seconds = duration.unwrap_or(downtime::DEFAULT).as_secs();
    call.envelope(format!("Downtime begun: {key} durationSeconds={seconds}"), Key::from(&key))
}

async fn end_downtime(call: Call) -> Answer {
    let key = call.key().await?;
    downtime::end(&call.scope, &key).await?;
    call.envelope(format!("Downtime ended: {key}"), Key::from(&key))
}

/// Always ten minutes, as in the original.
async fn begin_maintenance(call: Call) -> Answer {
    let key = call.key().await?;
    maintenance::begin(&call.scope, &key, call.text("owner"), call.text("reason"), None).await?;
    call.envelope(format!("Maintenance begun: {key}"), Key::from(&key))
}

async fn end_maintenance(call: Call) -> Answer {
    let key = call.key().await?;
    maintenance::end(&call.scope, &key).await?;
    call.envelope(format!("Maintenance ended: {key}"), Key::from(&key))
}

async fn end_maintenance_by_id(call: Call) -> Answer {
    let id = call.param("maintenanceKey");
    let id: u64 = id.parse().map_err(|_| Error::Invalid(format!("a maintenance key is a number, not {id:?}")))?;
    maintenance::end_by_id(&call.scope, id).await?;
    call.envelope(format!("Maintenance ended: {id}"), id)
}

async fn in_maintenance(call: Call) -> Answer {
    let key = call.key().await?;
    let is_active = maintenance::is_active(&call.scope, &key).await?;
    call.envelope(is_active.to_string(), if is_active { key.to_string() } else { String::new() })
}

async fn list_maintenance(call: Call) -> Answer {
    Ok(Reply::raw(&maintenance::list(&call.scope).await?))
}

async fn register_candidate(call: Call) -> Answer {
    let key = call.key().await?;
    let lasting = if call.query("durable") == Some("true") { Lasting::Durable } else { Lasting::Expiring };
    candidates::register(&call.scope, &key, call.param("promotionRule"), lasting).await?;
    call.envelope("Registered candidate", Key::from(&key))
}

fn recovery_filters(call: &Call) -> Answer {
    let recovery = &call.scope.config.settings.recovery;
    let filters = AutomatedRecoveryFilters {
        recover_intermediate_master_cluster_filters: recovery.recover_intermediate_master_cluster_filters.clone(),
        recover_master_cluster_filters: recovery.recover_master_cluster_filters.clone(),
        recovery_ignore_hostname_filters: recovery.recovery_ignore_hostname_filters.clone(),
    };
    call.envelope("Automated recovery configuration details", filters)
}

async fn register_unresolve(call: Call) -> Answer {
    let key = call.key().await?;
    hostnames::register_unresolve(&call.scope, &key, call.param("virtualname")).await?;
    call.envelope(format!("Hostname register unresolve completed for {key}"), Key::from(&key))
}

async fn deregister_unresolve(call: Call) -> Answer {
    let key = call.key().await?;
    hostnames::deregister_unresolve(&call.scope, &key).await?;
    call.envelope(format!("Hostname deregister unresolve completed for {key}"), Key::from(&key))
}
