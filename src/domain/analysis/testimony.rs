//! What one instance lets us know about itself, and what a replica can say about its source.
//!
//! The heart of not failing over wrongly: a primary is dead only when it is silent and everybody who could have heard it
//! since then says that he has not.

use crate::analysis::AnalysisPolicy;
use crate::instance::{DbMicros, Instance, ReplicaFacts, ThreadState};

const SECOND: DbMicros = 1_000_000;

/// What our own checks say about an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// The last check brought facts.
    Answers,
    /// The last check failed in a way that only a living server can make it fail: a refused login, no free connection.
    Refuses,
    /// The last check failed without a sign of life.
    Silent,
    /// It never answered, or nobody checked it lately: it may be alive or dead.
    Unknown,
}

/// What a replica says about its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Testimony {
    /// Its receiver runs: the source is alive for it, whatever its applier does.
    Hears,
    /// Its receiver was turned away by the source, which therefore is alive.
    Refused,
    /// Its receiver does not run, and was looked at after the source fell silent.
    Lost,
    /// It was looked at before the source fell silent: what it said then is no evidence.
    Outdated,
    /// It cannot be asked itself.
    Unreachable,
    /// Nobody asked it lately.
    Unknown,
}

impl Testimony {
    /// For people: `b still hears it`.
    pub fn words(self) -> &'static str {
        match self {
            Self::Hears => "hears it",
            Self::Refused => "was turned away by it, so it is alive",
            Self::Lost => "has lost it",
            Self::Outdated => "was last asked before it fell silent",
            Self::Unreachable => "cannot be reached itself",
            Self::Unknown => "was not asked lately",
        }
    }
}

/// What our own checks say about an instance.
pub(super) fn reach(instance: &Instance, policy: &AnalysisPolicy, now: DbMicros) -> Reach {
    let check = &instance.check;
    let (Some(checked), Some(seen)) = (check.last_checked_at, check.last_seen_at) else { return Reach::Unknown };
    let allowance = (policy.poll_seconds + policy.check_seconds) * SECOND;
    // A check that was begun and never ended tells that a worker died, not that a server did.
    let hangs = check.last_attempted_at.is_some_and(|at| at > checked.max(seen) + allowance);
    if hangs || now - checked > policy.stale_after_seconds * SECOND {
        Reach::Unknown
    } else if check.is_valid() {
        Reach::Answers
    } else if check.partial_success {
        Reach::Refuses
    } else {
        Reach::Silent
    }
}

/// When a silent instance fell silent; `None` for one that is not.
pub(super) fn silent_since(instance: &Instance, reach: Reach) -> Option<DbMicros> {
    let check = &instance.check;
    (reach == Reach::Silent).then(|| check.silent_since.or(check.last_checked_at)).flatten()
}

/// What a replica says about a source that fell silent at the given time, or did not.
pub(super) fn testimony(replica: &Instance, reach: Reach, silent_since: Option<DbMicros>) -> Testimony {
    let status = match (reach, &replica.facts.replica) {
        (Reach::Answers, Some(status)) => status,
        (Reach::Unknown, _) | (Reach::Answers, None) => return Testimony::Unknown,
        // It lives, but what its receiver does is as unknown as if it were gone.
        (Reach::Refuses | Reach::Silent, _) => return Testimony::Unreachable,
    };
    if silent_since.is_some_and(|since| replica.check.last_seen_at < Some(since)) {
        Testimony::Outdated
    } else if status.io_thread == ThreadState::Running {
        Testimony::Hears
    } else if status.io_thread == ThreadState::Other && is_refused(status) {
        // While it keeps trying, the error is that of its last try; of a stopped receiver it may be of any age.
        Testimony::Refused
    } else {
        Testimony::Lost
    }
}

/// Errors of a receiver that its source itself sent: no free connection; login, host or account refused; TLS demanded.
const REFUSALS: &[u32] = &[1040, 1203, 1226, 1045, 1129, 1130, 1251, 1275, 1524, 1698, 1862, 3118, 3159];
/// Errors of a receiver that got no connection, or lost it.
const LOSSES: &[u32] = &[2002, 2003, 2005, 2006, 2013, 2026, 2055, 2061];

fn is_refused(status: &ReplicaFacts) -> bool {
    REFUSALS.contains(&status.last_io_errno)
}

/// Its receiver does not run although its applier does, because it gets no connection to its source.
pub(super) fn fails_to_connect(instance: &Instance) -> bool {
    instance.facts.replica.as_ref().is_some_and(|status| {
        let number = status.last_io_errno;
        status.sql_thread == ThreadState::Running
            && status.io_thread != ThreadState::Running
            && (LOSSES.contains(&number) || REFUSALS.contains(&number) || says_it_cannot_connect(&status.last_io_error))
    })
}

/// The English of every server, for facts without a number: `error connecting to master`, `error reconnecting to source`.
fn says_it_cannot_connect(error: &str) -> bool {
    let error = error.to_ascii_lowercase();
    error
        .split_once("error ")
        .is_some_and(|(_, rest)| rest.contains("connecting to master") || rest.contains("connecting to source"))
}
