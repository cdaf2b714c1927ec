//! What a person's word for a recovery is about: the failed instance, the finding, the one to take over. Judged on what is
//! recorded; the worker looks afresh and judges again.

use domain::analysis::{Code, Finding};
use domain::instance::{Instance, InstanceKey};
use store::recoveries::Kind;

use crate::actions::analysis::{self, Listing, Whose};
use crate::actions::{Error, Scope, instances, operations};

/// What a person asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Recover from what analysis says about this instance.
    Recover { failed: &'a InstanceKey, candidate: Option<&'a InstanceKey>, hooks: bool },
    /// Fail over, whatever the state of the primary.
    Failover { cluster_name: &'a str },
    /// The same, to this direct replica.
    TakeoverByForce { cluster_name: &'a str, successor: &'a InstanceKey },
    /// Replace a healthy primary, in order; `auto`: the best replica unless one is named, and the old primary replicates.
    Takeover { cluster_name: &'a str, successor: Option<&'a InstanceKey>, auto: bool },
}

impl Ask<'_> {
    /// The command word; also the type of its audit entries.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Recover { hooks: true, .. } => "recover",
            Self::Recover { hooks: false, .. } => "recover-lite",
            Self::Failover { .. } => "force-master-failover",
            Self::TakeoverByForce { .. } => "force-master-takeover",
            Self::Takeover { auto: false, .. } => "graceful-master-takeover",
            Self::Takeover { auto: true, .. } => "graceful-master-takeover-auto",
        }
    }
}

/// Who asks, for the record.
#[derive(Debug, Clone, Copy, Default)]
pub struct Node<'a> {
    pub name: &'a str,
    /// Of the process; empty: a command.
    pub token: &'a str,
}

/// What is to be recovered.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) kind: Kind,
    pub(super) code: Code,
    pub(super) hint: &'static str,
    pub(super) finding: Finding,
    pub(super) listing: Listing,
    pub(super) candidate: Option<InstanceKey>,
    pub(super) hooks: bool,
}

/// Finds it, or says why there is nothing to do.
pub(super) async fn find(scope: &Scope, ask: Ask<'_>) -> Result<Target, Error> {
    match ask {
        Ask::Recover { failed, candidate, hooks } => recover(scope, failed, candidate, hooks).await,
        Ask::Failover { cluster_name } => {
            let heads = heads(scope, cluster_name).await?;
            let head = only(cluster_name, &heads)?;
            forced(scope, head, None, ask.word()).await
        }
        Ask::TakeoverByForce { cluster_name, successor } => {
            let heads = heads(scope, cluster_name).await?;
            let writable: Vec<Instance> = heads.into_iter().filter(|one| !one.facts.read_only).collect();
            let head = only(cluster_name, &writable)?;
            below(scope, successor, &head.key).await?;
            forced(scope, head, Some(successor), ask.word()).await
        }
        Ask::Takeover { cluster_name, successor, auto } => takeover(scope, cluster_name, successor, auto).await,
    }
}

async fn recover(
    scope: &Scope,
    failed: &InstanceKey,
    candidate: Option<&InstanceKey>,
    hooks: bool,
) -> Result<Target, Error> {
    let instance = operations::known(scope, failed).await?;
    let listing = analysis::everything(scope, Whose::Instance(failed)).await?;
    let nothing = |why: &str| {
        Error::NotPossible(format!(
            "Recovery not attempted: {failed}: {why}. Nothing is recovered where nothing is found; \
             replication-analysis tells what is, force-master-failover fails over in any case"
        ))
    };
    let Some(finding) = listing.findings.first().cloned() else { return Err(nothing("nothing is wrong with it")) };
    let code = finding.code;
    let Some(kind) = Kind::answering(code.handler()) else {
        let why = if code == Code::NoProblem {
            "nothing is wrong with it".to_owned()
        } else {
            format!("the analysis is {code}, for which there is no recovery")
        };
        return Err(nothing(&why));
    };
    if let Some(candidate) = candidate {
        let other = operations::known(scope, candidate).await?;
        if other.placement.cluster_name != instance.placement.cluster_name || candidate == failed {
            return Err(Error::Invalid(format!(
                "{candidate} cannot succeed {failed}: it is not another of its cluster"
            )));
        }
    }
    Ok(Target { kind, code, hint: "", finding, listing, candidate: candidate.cloned(), hooks })
}

async fn takeover(
    scope: &Scope,
    cluster_name: &str,
    successor: Option<&InstanceKey>,
    auto: bool,
) -> Result<Target, Error> {
    let heads = heads(scope, cluster_name).await?;
    let head = only(cluster_name, &heads)?;
    if !head.check.is_valid() {
        return Err(Error::NotPossible(format!(
            "{} did not answer its last check: a primary that is gone hands nothing over; see recover and force-master-failover",
            head.key
        )));
    }
    let hint = if auto { "graceful-master-takeover-auto" } else { "graceful-master-takeover" };
    let target = of_head(scope, head, successor, hint).await?;
    match (successor, target.finding.replicas.len()) {
        (Some(successor), _) => below(scope, successor, &head.key).await?,
        (None, 2..) if !auto => {
            return Err(Error::Invalid(format!(
                "GracefulMasterTakeover: target instance not indicated: {} has {} direct replicas; name one with -d, or use \
                 graceful-master-takeover-auto",
                head.key,
                target.finding.replicas.len()
            )));
        }
        (None, _) => {}
    }
    Ok(Target { kind: Kind::Takeover, ..target })
}

async fn forced(
    scope: &Scope,
    head: &Instance,
    candidate: Option<&InstanceKey>,
    hint: &'static str,
) -> Result<Target, Error> {
    of_head(scope, head, candidate, hint).await
}

/// A primary that is to count as dead.
async fn of_head(
    scope: &Scope,
    head: &Instance,
    candidate: Option<&InstanceKey>,
    hint: &'static str,
) -> Result<Target, Error> {
    let listing = analysis::everything(scope, Whose::Instance(&head.key)).await?;
    let finding = listing.findings.first().filter(|one| !one.replicas.is_empty()).cloned();
    let finding = finding
        .ok_or_else(|| Error::NotPossible(format!("{} has no replicas: nobody could take over from it", head.key)))?;
    let code = Code::DeadMaster;
    Ok(Target { kind: Kind::Primary, code, hint, finding, listing, candidate: candidate.cloned(), hooks: true })
}

/// Heads of a cluster: who replicates from nobody in it, or from each other.
async fn heads(scope: &Scope, cluster_name: &str) -> Result<Vec<Instance>, Error> {
    let members = instances::of_cluster(scope, cluster_name).await?;
    let is_head = |one: &Instance| one.placement.replication_depth == 0 || one.placement.is_co_primary;
    Ok(members.into_iter().filter(is_head).collect())
}

fn only<'a>(cluster_name: &str, heads: &'a [Instance]) -> Result<&'a Instance, Error> {
    match heads {
        [one] => Ok(one),
        [] => Err(Error::NotFound(format!("No masters found for {cluster_name}"))),
        several => {
            let names: Vec<String> = several.iter().map(|one| one.key.to_string()).collect();
            Err(Error::NotPossible(format!(
                "Cannot deduce the primary of {cluster_name}: {} could be it ({})",
                several.len(),
                names.join(", ")
            )))
        }
    }
}

async fn below(scope: &Scope, successor: &InstanceKey, head: &InstanceKey) -> Result<(), Error> {
    let instance = operations::known(scope, successor).await?;
    if instance.facts.source() == Some(head) {
        return Ok(());
    }
    // The beginning is a text that clients match.
    Err(Error::NotPossible(format!("{successor} must be directly replicating from the master {head}")))
}
