//! What people say about instances: downtime, maintenance, promotion rules, virtual names.

use std::future::ready;

use api::legacy::{AutomatedRecoveryFilters, Key};

use super::super::reply::Reply;
use super::call::{Answer, Call};
use super::{Access, Route};
use crate::actions::{Error, candidates, downtime, hostnames, maintenance};

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "begin-downtime/:host/:port/:owner/:reason",
        access: Access::Write,
        run: |call| Box::pin(begin_downtime(call)),
    },
    Route {
        pattern: "begin-downtime/:host/:port/:owner/:reason/:duration",
        access: Access::Write,
        run: |call| Box::pin(begin_downtime(call)),
    },
    // Owner and reason after the question mark: there they may contain slashes.
    Route { pattern: "begin-downtime/:host/:port", access: Access::Write, run: |call| Box::pin(begin_downtime(call)) },
    Route { pattern: "end-downtime/:host/:port", access: Access::Write, run: |call| Box::pin(end_downtime(call)) },
    Route {
        pattern: "begin-maintenance/:host/:port/:owner/:reason",
        access: Access::Write,
        run: |call| Box::pin(begin_maintenance(call)),
    },
    Route {
        pattern: "begin-maintenance/:host/:port",
        access: Access::Write,
        run: |call| Box::pin(begin_maintenance(call)),
    },
    Route {
        pattern: "end-maintenance/:host/:port",
        access: Access::Write,
        run: |call| Box::pin(end_maintenance(call)),
    },
    Route {
        pattern: "end-maintenance/:maintenanceKey",
        access: Access::Write,
        run: |call| Box::pin(end_maintenance_by_id(call)),
    },
    Route { pattern: "in-maintenance/:host/:port", access: Access::Read, run: |call| Box::pin(in_maintenance(call)) },
    Route { pattern: "maintenance", access: Access::Read, run: |call| Box::pin(list_maintenance(call)) },
    Route {
        pattern: "register-candidate/:host/:port/:promotionRule",
        access: Access::Write,
        run: |call| Box::pin(register_candidate(call)),
    },
    Route {
        pattern: "automated-recovery-filters",
        access: Access::Read,
        run: |call| Box::pin(ready(recovery_filters(&call))),
    },
    Route {
        pattern: "register-hostname-unresolve/:host/:port/:virtualname",
        access: Access::Write,
        run: |call| Box::pin(register_unresolve(call)),
    },
    Route {
        pattern: "deregister-hostname-unresolve/:host/:port",
        access: Access::Write,
        run: |call| Box::pin(deregister_unresolve(call)),
    },
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
    candidates::register(&call.scope, &key, call.param("promotionRule")).await?;
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
