//! What operations print on stdout: the lines of the original orchestrator, which scripts cut.

use domain::instance::InstanceKey;
use domain::plan::Request;
use operations::OperationOutcome;
use service::actions::{instances, operations as asking};

use crate::answer::ended;
use crate::session::Session;

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prints {
    /// The instance of `-i`.
    Key,
    /// `instance<destination`, as given.
    BelowDestination,
    /// `instance<source`, the source as it is afterwards.
    BelowSource,
    /// The replicas that were moved.
    List,
    /// `replica<instance` for each; the right side is the instance of `-i`.
    EachBelowInstance,
    /// The candidate, then counts.
    Regrouped,
}

impl Prints {
    /// It is about several servers, of which some may fail.
    pub(super) const fn tells_many(self) -> bool {
        match self {
            Self::List | Self::EachBelowInstance | Self::Regrouped => true,
            Self::Key | Self::BelowDestination | Self::BelowSource => false,
        }
    }
}

/// The lines.
pub(super) async fn text(
    session: &Session<'_>,
    request: &Request,
    outcome: &OperationOutcome,
    prints: Prints,
) -> anyhow::Result<String> {
    let key = request.instance();
    Ok(match prints {
        Prints::Key => format!("{key}\n"),
        Prints::BelowDestination => format!("{key}<{}\n", named(request.destination())),
        Prints::BelowSource => {
            let source = match &outcome.new_source {
                Some(source) => Some(source.clone()),
                None => instances::source(&session.scope, key).await?,
            };
            format!("{key}<{}\n", named(source.as_ref()))
        }
        Prints::List => ended(asking::changed(outcome).iter().map(ToString::to_string)),
        Prints::EachBelowInstance => ended(asking::changed(outcome).iter().map(|one| format!("{one}<{key}"))),
        Prints::Regrouped if outcome.instance == *key || outcome.method.is_none() => String::new(),
        Prints::Regrouped => regrouped(request, outcome),
    })
}

fn regrouped(request: &Request, outcome: &OperationOutcome) -> String {
    let (promoted, lost, moved) = (&outcome.instance, asking::troubles(outcome).len(), outcome.done.len());
    match request {
        Request::RegroupReplicas { gtid_only: true, .. } => {
            format!("{promoted}\n{promoted} lost: {lost}, moved: {moved}\n")
        }
        // Replicas that follow by GTID need no matching: the original counts them as trivial.
        _ => format!("{promoted}\n{promoted} lost: {lost}, trivial: {moved}, pseudo-gtid: 0\n"),
    }
}

/// Why a result that was printed is a failure all the same.
pub(super) fn problem(request: &Request, outcome: &OperationOutcome, prints: Prints) -> Option<String> {
    if prints != Prints::Regrouped {
        return None;
    }
    let key = request.instance();
    if outcome.instance == *key {
        return Some(format!("{key} has no replicas to regroup"));
    }
    let lost = asking::troubles(outcome).len();
    (lost > 0).then(|| format!("{lost} replicas of {key} could not be moved below {}", outcome.instance))
}

fn named(key: Option<&InstanceKey>) -> String {
    key.map(ToString::to_string).unwrap_or_default()
}
