//! After writes are open: names follow the new primary, the lost are put aside, hooks hear of it.

use std::time::Duration;

use domain::instance::InstanceKey;
use domain::plan::Request;
use domain::recovery::Choice;
use queue::JobError;
use sqlx::mysql::MySqlConnection;
use store::clusters::LOST_IN_RECOVERY;
use store::former_primaries::NewFormer;
use store::recoveries::{Kind, Phase};

use super::{Recovering, errors_of};
use crate::acting::{Gathered, look_again};
use crate::hooks::List;

/// Downtime of what was left behind. It ends when the server is of use again, see `jobs/lost.rs`.
const LOST_FOR: Duration = Duration::from_secs(365 * 24 * 3_600);

impl Recovering<'_> {
    /// Everything that others are to know. May be done twice.
    pub(super) async fn publish(&mut self, choice: &Choice) -> Result<(), JobError> {
        self.phase(Phase::Publishing).await?;
        let gathered = self.look().await?;
        self.note_successor(&choice.successor, &gathered);
        self.keep_results().await?;
        self.hand_over_names(choice, &gathered).await?;
        self.detach_lost(choice, &gathered).await?;
        let changed: Vec<InstanceKey> = self.done.participating.iter().cloned().collect();
        look_again(&self.work, &changed).await;
        self.end_locks().await?;
        self.tell_hooks(List::PostMasterFailover).await
    }

    /// Nothing is done to any server from here on: hooks may take their time.
    pub(super) async fn end_locks(&mut self) -> Result<(), JobError> {
        self.work.still_ours(store::operations::release(&self.work.ctx.pool, self.work.run).await)?;
        self.tokens.clear();
        Ok(())
    }

    /// The list of this kind, then the list of all.
    pub(super) async fn tell_hooks(&mut self, own: List) -> Result<(), JobError> {
        for list in [own, List::PostFailover] {
            self.hooks(list).await?.ok();
        }
        Ok(())
    }

    pub(super) fn note_successor(&mut self, successor: &InstanceKey, gathered: &Gathered) {
        if let Some(instance) = gathered.instances.get(successor) {
            self.row.successor_alias.clone_from(&instance.facts.alias);
            let at = &instance.facts.binlog;
            if self.row.successor_coordinates.is_empty() && !at.file.is_empty() {
                self.row.successor_coordinates = at.to_string();
            }
        }
    }

    async fn hand_over_names(&self, choice: &Choice, gathered: &Gathered) -> Result<(), JobError> {
        let mut tx = self.work.ctx.pool.begin().await.map_err(JobError::retry)?;
        let ours = store::operations::is_ours(&mut tx, self.work.run).await;
        self.work.still_ours(ours)?;
        let written = async {
            self.move_names(&mut tx, &choice.successor).await?;
            self.put_aside(&mut tx, choice, gathered).await
        };
        written.await.map_err(JobError::retry)?;
        tx.commit().await.map_err(JobError::retry)
    }

    /// The cluster goes by the name of its primary: what it is called besides moves to the new name, what people chose
    /// before what servers suggest.
    async fn move_names(&self, conn: &mut MySqlConnection, successor: &InstanceKey) -> Result<(), store::Error> {
        let (old, new) = (self.row.cluster_name.as_str(), successor.to_string());
        if old == new {
            return Ok(());
        }
        let by_people = store::clusters::overrides(&mut *conn).await?;
        if let Some(alias) = by_people.get(old) {
            store::clusters::set_override(conn, old, "").await?;
            store::clusters::set_override(conn, &new, alias).await?;
        }
        let alias = &self.row.cluster_alias;
        if !alias.is_empty() && alias != old && by_people.get(old) != Some(alias) {
            store::clusters::register_aliases(conn, &[(new.clone(), alias.clone())]).await?;
        }
        if let Some(domain) = store::clusters::domain(&mut *conn, old).await? {
            let domains = std::collections::HashMap::from([(new, domain)]);
            store::clusters::register_domains(conn, &domains).await?;
        }
        Ok(())
    }

    /// The failed and the lost go into downtime, the successor comes out of it; the failed one is remembered, because it
    /// may come back.
    async fn put_aside(
        &self,
        conn: &mut MySqlConnection,
        choice: &Choice,
        gathered: &Gathered,
    ) -> Result<(), store::Error> {
        let followed = gathered
            .instances
            .get(&self.row.failed)
            .is_some_and(|one| one.check.is_valid() && one.facts.source() == Some(&choice.successor));
        let failed = (!followed).then_some(&self.row.failed);
        for key in self.done.lost.keys().chain(failed) {
            store::downtime::begin(conn, key, super::OWNER, LOST_IN_RECOVERY, LOST_FOR).await?;
        }
        store::downtime::end(conn, &choice.successor).await?;
        store::detections::release_of_instance(conn, &self.row.failed).await?;
        if self.row.kind.changes_primary() && !followed {
            let gtid = gathered.instances.get(&choice.successor).map_or(String::new(), |one| {
                let gtid = &one.facts.gtid;
                // What a MariaDB server applied as a replica stays as it was at its promotion; a set of MySQL tells apart
                // who wrote what.
                let all = [&gtid.executed, &gtid.mariadb_slave_pos, &gtid.mariadb_current_pos];
                all.into_iter().find(|text| !text.is_empty()).cloned().unwrap_or_default()
            });
            let former = NewFormer {
                key: &self.row.failed,
                cluster_name: &self.row.cluster_name,
                successor: &choice.successor,
                recovery_id: self.row.id,
                gtid: &gtid,
            };
            store::former_primaries::mark(conn, &former).await?;
        }
        // A former primary that is promoted again is none any more.
        store::former_primaries::forget(conn, &choice.successor).await.map(|_| ())
    }

    /// `DetachLostReplicasAfterMasterFailover`, `MasterFailoverDetachReplicaMasterHost`.
    async fn detach_lost(&mut self, choice: &Choice, gathered: &Gathered) -> Result<(), JobError> {
        let recovery = &self.work.config.settings.recovery;
        let mut detached: Vec<InstanceKey> = Vec::new();
        if recovery.detach_lost_replicas_after_master_failover {
            detached.extend(self.done.lost.keys().cloned());
        }
        if recovery.master_failover_detach_replica_master_host && self.row.kind == Kind::Primary {
            detached.push(choice.successor.clone());
        }
        for key in detached {
            let still = gathered.instances.get(&key);
            let reads_the_failed = |one: &domain::instance::Instance| {
                one.check.is_valid() && one.facts.is_replica() && one.facts.source() == Some(&self.row.failed)
            };
            if !still.is_some_and(reads_the_failed) || !self.tokens.contains_key(&key) {
                continue;
            }
            let request = Request::DetachReplica { instance: key.clone() };
            match self.ask(gathered, |scene| domain::operation::plan(&request, scene.world)) {
                Ok(plan) => {
                    let report = self.execute(&plan, gathered).await?;
                    if !errors_of(&report).is_empty() {
                        tracing::warn!(recovery.id = self.row.id, instance.key = %key, "a lost replica was not detached");
                    }
                }
                Err(refusal) => self.trouble(format!("{key} was not detached: {refusal}")),
            }
        }
        Ok(())
    }
}
