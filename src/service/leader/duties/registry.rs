//! Keeps the registry of nodes and workers short, and notices two live nodes with one name.
//!
//! Idempotent: deletes what is old, says once what is doubled.

use std::time::Duration;

use crate::leader::{Duty, DutyError, Leading};

/// The registry is small; this only bounds how long the dead stay listed.
const EVERY: Duration = Duration::from_secs(30);
/// Dead nodes are shown this long, so that people see what died.
const REMEMBER_DEAD: Duration = Duration::from_secs(3600);

/// See the module.
#[derive(Debug)]
pub(super) struct NodeRegistry;

impl Duty for NodeRegistry {
    const NAME: &'static str = "node_registry";

    fn every(&self, _: &Leading) -> Duration {
        EVERY
    }

    async fn tick(&mut self, leading: &Leading) -> Result<(), DutyError> {
        let mut transaction = leading.fenced().await?;
        store::nodes::forget_dead(&mut transaction, REMEMBER_DEAD).await?;
        queue::forget_dead_workers(&mut transaction, REMEMBER_DEAD).await?;
        transaction.commit().await?;
        for name in store::nodes::doubled_names(&leading.handles.pool).await? {
            tracing::warn!(node.name = name, "two live nodes have one name; set NodeName on each to tell them apart");
        }
        Ok(())
    }
}
