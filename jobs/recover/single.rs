//! Recoveries that open nobody for writes in another's place: a dead intermediate source, a group member with replicas, a
//! primary that refuses writes, semi-synchronous replication.

use domain::plan::{Refusal, Rule};
use queue::JobError;

use super::{End, Recovering};

impl Recovering<'_> {
    pub(super) async fn single(&mut self) -> Result<End, JobError> {
        let reason = format!("recoveries of kind {} are not built yet", self.row.kind.name());
        let refusal = Refusal::new(Rule::NotBuilt, &self.row.failed, reason, "move its replicas: relocate-replicas");
        Ok(End::Refused(refusal.to_string()))
    }
}
