//! May one server replicate from another? Judged on what is recorded about both.

use domain::instance::InstanceKey;
use domain::operation::{Policy, compatibility};

use super::{Error, Scope, instances};

/// `Ok(None)`: `own` can replicate from `other`. `Ok(Some(reason))`: it cannot. Both must be known.
pub async fn can_replicate_from(
    scope: &Scope,
    own: &InstanceKey,
    other: &InstanceKey,
) -> Result<Option<String>, Error> {
    let (own, other) = (instances::read(scope, own).await?, instances::read(scope, other).await?);
    Ok(compatibility::can_replicate(&own, &other, &policy(scope)).err().map(|refusal| refusal.reason))
}

/// The same, and both speak the same kind of GTID.
pub async fn can_replicate_from_gtid(
    scope: &Scope,
    own: &InstanceKey,
    other: &InstanceKey,
) -> Result<Option<String>, Error> {
    let (own, other) = (instances::read(scope, own).await?, instances::read(scope, other).await?);
    Ok(compatibility::can_move_by_gtid(&own, &other, &policy(scope)).err().map(|refusal| refusal.reason))
}

fn policy(scope: &Scope) -> Policy {
    let discovery = &scope.config.settings.discovery;
    Policy {
        lower_replica_version_allowed: discovery.lower_replica_version_allowed,
        verify_replication_filters: discovery.verify_replication_filters,
        reasonable_maintenance_lag_seconds: discovery.reasonable_maintenance_replication_lag_seconds,
        ..Policy::default()
    }
}
