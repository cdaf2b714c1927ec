//! A plan as a whole: head, branches side by side, tail.

use std::collections::BTreeMap;

use domain::instance::InstanceKey;
use domain::plan::{Branch, Plan};
use tokio_util::sync::CancellationToken;

use crate::branch::{self, Branched, Listed};
use crate::fleet::Fleet;
use crate::lanes::Lanes;
use crate::ledger::{Ledger, LedgerError, Part};
use crate::report::{BranchReport, BranchResult, Ending, Report};
use crate::step::Means;

/// How to carry out a plan.
#[derive(Debug, Clone)]
pub struct Options {
    /// Replicas that are taken from their sources at once, and as many others that connect to theirs; at least one.
    pub max_parallel: usize,
    /// Fires when no further step is to begin. What was begun is put back.
    pub cancelled: CancellationToken,
    /// Branches that must not begin, by their instance, each with the reason: their locks could not be had.
    pub withheld: BTreeMap<InstanceKey, String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_parallel: 5, cancelled: CancellationToken::new(), withheld: BTreeMap::new() }
    }
}

/// Carries out a plan whose locks the ledger holds. Never fails: what happened is in the report.
///
/// Dropping the future is safe at any moment: an order that is on its way may still happen, as when the process dies.
pub async fn execute<F: Fleet, L: Ledger>(plan: &Plan, fleet: &F, ledger: &L, options: &Options) -> Report {
    let means = Means { fleet, ledger, cancelled: &options.cancelled };
    let head = branch::in_order(means, Part::Head, &plan.head, None).await;
    let mut touched = !plan.head.is_empty();
    let mut ended: Vec<Branched> = Vec::new();
    let mut ending = match head {
        Listed::Done => {
            ended = branches(means, plan, options).await;
            touched |= ended.iter().any(|one| one.touched);
            ending_of(&ended)
        }
        Listed::Stop(error) => stopped(error),
        Listed::Failed { error, touched: some, cancelled } => {
            touched = some;
            if cancelled { Ending::Cancelled } else { Ending::HeadFailed(error) }
        }
    };
    let mut tail_errors = Vec::new();
    let goes_on = matches!(ending, Ending::Ended | Ending::HeadFailed(_) | Ending::Cancelled);
    if goes_on && touched {
        match branch::each(means, Part::Tail, &plan.tail).await {
            Ok(errors) => tail_errors = errors,
            Err(error) => ending = stopped(error),
        }
    }
    Report { branches: report(plan, ended, &ending), ending, tail_errors, touched }
}

/// All branches, in the order of the plan, as many at once as the lanes let through. A lost ledger lets none begin any more.
async fn branches<F: Fleet, L: Ledger>(means: Means<'_, F, L>, plan: &Plan, options: &Options) -> Vec<Branched> {
    let (lost, lanes) = (CancellationToken::new(), Lanes::new(options.max_parallel));
    let work = plan.branches.iter().enumerate().map(|(index, branch)| {
        let (lost, lanes) = (&lost, &lanes);
        async move {
            let ended = one(means, index, branch, options, lanes, lost).await;
            if ended.stop.is_some() {
                lost.cancel();
            }
            ended
        }
    });
    // Each waits for the lane in the order in which it is first polled: that of the plan.
    futures::future::join_all(work).await
}

async fn one<F: Fleet, L: Ledger>(
    means: Means<'_, F, L>,
    index: usize,
    branch: &Branch,
    options: &Options,
    lanes: &Lanes,
    lost: &CancellationToken,
) -> Branched {
    if let Some(reason) = options.withheld.get(&branch.instance) {
        return Branched::not_begun(reason);
    }
    let place = lanes.enter().await;
    // The ledger would refuse each of them anyway; this saves asking.
    if lost.is_cancelled() {
        return Branched::not_begun("the operation had to stop");
    }
    branch::run(means, index, branch, place).await
}

fn ending_of(ended: &[Branched]) -> Ending {
    if let Some(error) = ended.iter().find_map(|one| one.stop.clone()) {
        return stopped(error);
    }
    if ended.iter().any(|one| one.cancelled) { Ending::Cancelled } else { Ending::Ended }
}

fn stopped(error: LedgerError) -> Ending {
    match error {
        LedgerError::Fenced(reason) => Ending::Fenced(reason),
        LedgerError::Away(reason) => Ending::LedgerAway(reason),
    }
}

fn report(plan: &Plan, ended: Vec<Branched>, ending: &Ending) -> Vec<BranchReport> {
    let reason = match ending {
        Ending::HeadFailed(error) => error.clone(),
        Ending::Fenced(reason) | Ending::LedgerAway(reason) => reason.clone(),
        Ending::Cancelled => "cancelled".to_owned(),
        Ending::Ended => String::new(),
    };
    let mut results: Vec<BranchResult> = ended.into_iter().map(|one| one.result).collect();
    results.resize(plan.branches.len(), BranchResult::NotBegun(reason));
    plan.branches
        .iter()
        .zip(results)
        .map(|(branch, result)| BranchReport {
            instance: branch.instance.clone(),
            new_source: branch.new_source.clone(),
            result,
        })
        .collect()
}
