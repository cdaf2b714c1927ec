//! What can be lost, and when.

use std::fmt;

use store::recoveries::Phase;

/// Processes that are killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Worker,
    Leader,
    Both,
}

/// A loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    Kill(Who),
    /// The worker: SIGSTOP, and SIGCONT when others have finished.
    Freeze,
    BackendRestart,
    BackendKill,
}

impl Loss {
    pub(crate) const ALL: [Self; 6] = [
        Self::Kill(Who::Worker),
        Self::Kill(Who::Leader),
        Self::Kill(Who::Both),
        Self::Freeze,
        Self::BackendRestart,
        Self::BackendKill,
    ];

    /// The worker is among what is lost.
    pub(crate) fn takes_worker(self) -> bool {
        matches!(self, Self::Kill(Who::Worker | Who::Both) | Self::Freeze)
    }

    pub(crate) fn takes_leader(self) -> bool {
        matches!(self, Self::Kill(Who::Leader | Who::Both))
    }

    pub(crate) fn takes_backend(self) -> bool {
        matches!(self, Self::BackendRestart | Self::BackendKill)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill(Who::Worker) => "kill worker",
            Self::Kill(Who::Leader) => "kill leader",
            Self::Kill(Who::Both) => "kill both",
            Self::Freeze => "freeze",
            Self::BackendRestart => "backend restart",
            Self::BackendKill => "backend kill",
        })
    }
}

/// A moment of a recovery: the first look at which it has come so far. A phase that begins is the end of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// Within the hook of the detection: there is no recovery yet.
    DetectionHook,
    Registered,
    PreHook,
    Fencing,
    Choosing,
    Promoting,
    /// A step of the promotion has begun.
    Promotion,
    Repointing,
    Publishing,
    PostHook,
}

impl Moment {
    pub(crate) const ALL: [Self; 10] = [
        Self::DetectionHook,
        Self::Registered,
        Self::PreHook,
        Self::Fencing,
        Self::Choosing,
        Self::Promoting,
        Self::Promotion,
        Self::Repointing,
        Self::Publishing,
        Self::PostHook,
    ];

    pub(crate) fn is_for(self, loss: Loss) -> bool {
        // A worker frozen in a hook of a detection has nothing to do with servers.
        !(loss == Loss::Freeze && self == Self::DetectionHook)
    }

    /// How far a recovery has come.
    pub(crate) fn of(phase: Phase, lists: &str, steps_of_promotion: i64) -> Self {
        let hook = |list: &str| lists.split(',').any(|one| one == list);
        match phase {
            Phase::Registered if hook("PreFailoverProcesses") => Self::PreHook,
            Phase::Registered => Self::Registered,
            Phase::Fencing => Self::Fencing,
            Phase::Choosing => Self::Choosing,
            Phase::Promoting if steps_of_promotion > 0 => Self::Promotion,
            Phase::Promoting => Self::Promoting,
            Phase::Repointing => Self::Repointing,
            Phase::Publishing | Phase::Closed if hook("PostMasterFailoverProcesses") => Self::PostHook,
            Phase::Publishing | Phase::Closed => Self::Publishing,
        }
    }
}
