//! Acting on managed servers as the worker of one operation or recovery: looking at its servers, locking them, waiting for
//! what a lost worker may have sent, carrying out plans.
//!
//! Every function that writes names the run of the operation, or the tokens of its locks. Once another worker has taken
//! the operation up they all end with an error, and nothing more is done to any server.

mod locks;
mod put_back;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::instance::InstanceKey;
use domain::plan::{Baseline, Plan, Request, running_threads};
use operations::{Ending, MySqlFleet, Options, Report, Resolver, StoreLedger, execute};
use queue::{Attempt, JobError};
use store::maintenance::{Claim, FencingToken};
use store::operations::{Operation, Run};
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::context::Configuration;
pub(crate) use put_back::Expected;
use world::named;
pub(crate) use world::{Eyes, Gathered, Hurry, gather, gather_around, look_again, members};

/// Locks taken before a plan is final hold for this long: two looks at the whole cluster and a plan.
pub(crate) const LOCK_FOR: Duration = Duration::from_secs(60);
/// Added to the moment after which a lost worker sends nothing any more: an order on its way arrives by then.
const ARRIVAL: Duration = Duration::from_millis(500);

pub(crate) type Tokens = BTreeMap<InstanceKey, FencingToken>;

/// One run of one operation.
pub(crate) struct Work<'a> {
    pub(crate) ctx: &'a Arc<Context>,
    pub(crate) config: &'a Arc<Configuration>,
    pub(crate) attempt: &'a Attempt,
    pub(crate) operation: Operation,
    pub(crate) run: Run,
    pub(crate) claim: Claim<'a>,
}

impl Work<'_> {
    /// By what it looks.
    pub(crate) fn eyes(&self) -> Eyes<'_> {
        Eyes { ctx: self.ctx, config: self.config }
    }

    /// Waits until nothing that an earlier run was allowed to send can still be sent.
    pub(crate) async fn wait_for_the_lost(&self) -> Result<(), JobError> {
        loop {
            let pending = store::operations::pending(&self.ctx.pool, self.run).await.map_err(JobError::retry)?;
            if pending.is_zero() {
                break;
            }
            tokio::time::sleep(pending).await;
        }
        tokio::time::sleep(ARRIVAL).await;
        store::operations::close_steps(&self.ctx.pool, self.run).await.map_err(JobError::retry)?;
        Ok(())
    }

    /// Runs a plan under these locks; an error means that the operation is not ours, or cannot be recorded, any more.
    pub(crate) async fn execute(
        &self,
        plan: &Plan,
        gathered: &Gathered,
        tokens: Tokens,
        options: &Options,
    ) -> Result<Report, JobError> {
        let ledger = StoreLedger::new(self.ctx.pool.clone(), self.run, &self.attempt.worker, tokens);
        let query = &self.config.settings.discovery.replication_credentials_query;
        let names = gathered.names_for_replicas();
        let fleet = MySqlFleet::new(&self.ctx.prober, self.resolver(), names, query);
        let report = execute(plan, &fleet, &ledger, options).await;
        fleet.close().await;
        match &report.ending {
            Ending::Fenced(reason) => Err(self.fenced(reason, plan).await),
            Ending::LedgerAway(reason) => Err(JobError::retry(reason.clone())),
            Ending::Ended | Ending::HeadFailed(_) | Ending::Cancelled => Ok(report),
        }
    }

    /// A lock was lost. Whoever ends the lock of an operation wants that to stop: unless another worker has it, it ends at once,
    /// and nothing is put back, now or later, for somebody else may be acting on the servers. Clients wait for a recovery: that
    /// is taken up again, with new locks.
    async fn fenced(&self, reason: &str, plan: &Plan) -> JobError {
        let (id, worker) = (self.operation.id, &self.attempt.worker);
        let is_recovery = matches!(self.operation.request, Request::Recover { .. });
        let ours = async {
            let mut conn = self.ctx.pool.acquire().await.map_err(JobError::retry)?;
            store::operations::is_ours(&mut conn, self.run).await.map_err(JobError::retry)
        };
        match ours.await {
            Ok(true) if is_recovery => JobError::retry(format!("a lock of operation {id} was lost: {reason}")),
            Ok(true) => {
                let servers: Vec<String> = plan.servers().iter().map(ToString::to_string).collect();
                self.conclude_fenced(format!(
                    "{reason}; nothing was put back: see whether replication of {} runs as it should",
                    servers.join(", ")
                ))
                .await
            }
            Ok(false) => JobError::give_up(format!("operation {id} was taken from {worker}: {reason}")),
            Err(error) => error,
        }
    }

    /// A compare-and-set on the operation: an error when it is another's by now.
    pub(crate) fn still_ours(&self, written: Result<bool, store::Error>) -> Result<(), JobError> {
        match written {
            Ok(true) => Ok(()),
            Ok(false) => Err(JobError::give_up(format!(
                "operation {} was taken from {} by another worker",
                self.operation.id, self.attempt.worker
            ))),
            Err(error) => Err(JobError::retry(error)),
        }
    }

    /// Our token fires when an operator cancels the job, and also when this worker must stop.
    pub(crate) async fn is_only_stopping(&self) -> Result<bool, JobError> {
        if self.attempt.job_id == 0 {
            return Ok(false);
        }
        let mut conn = self.ctx.pool.acquire().await.map_err(JobError::retry)?;
        let job = queue::show(&mut conn, self.attempt.job_id).await.map_err(JobError::retry)?;
        Ok(job.is_some_and(|job| !job.cancel_requested))
    }

    /// Resolves names as the recording of probes does.
    fn resolver(&self) -> Resolver {
        let (ctx, config) = (Arc::clone(self.ctx), Arc::clone(self.config));
        Box::new(move |facts| {
            let (ctx, config) = (Arc::clone(&ctx), Arc::clone(&config));
            Box::pin(async move { ctx.names.resolve_facts(&ctx.pool, &config, facts).await })
        })
    }
}

/// Why nothing of a plan is carried out: what the check finds in it.
pub(crate) fn unsound(plan: &Plan) -> Option<String> {
    let flaws = domain::plan::check(plan).err()?;
    let flaws: Vec<String> = flaws.into_iter().map(|flaw| flaw.0).collect();
    Some(format!("the plan is not sound, nothing of it was done: {}", flaws.join("; ")))
}

/// Adds to a baseline the threads that run now on servers that this plan touches first.
pub(crate) fn note_running(baseline: &mut Baseline, plan: &Plan, gathered: &Gathered) {
    for key in plan.servers() {
        if let Some(instance) = gathered.instances.get(&key).filter(|one| one.facts.is_replica()) {
            baseline.entry(key).or_insert_with(|| running_threads(&instance.facts));
        }
    }
}

/// How to carry out a plan: as many branches at once as the settings say.
pub(crate) fn options(
    gathered: &Gathered,
    cancelled: CancellationToken,
    withheld: BTreeMap<InstanceKey, String>,
) -> Options {
    let max_parallel = usize::try_from(gathered.policy.max_parallel).unwrap_or(1);
    Options { max_parallel, cancelled, withheld }
}
