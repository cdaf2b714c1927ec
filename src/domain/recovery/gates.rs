//! May we act? Every condition of an automatic recovery is one row of [`GATES`], and every row answers, passed or not, with
//! the reason and the setting that decides: `explain` shows them all, and so does the record of a recovery.
//!
//! ```text
//!   finding + Question ──▶ judge ──▶ [Verdict; one per gate] ──▶ all passed: act;  else: every closed gate is named
//! ```
//! Pure: what is asked here was read by the caller, at one moment. What could not be read closes its gate: a switch that
//! cannot be read counts as off (the original took it for on).
//!
//! How to add one more: a variant of [`Gate`], a row of [`GATES`], a test below.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::instance::{DbMicros, InstanceKey};

/// A condition of acting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// The analysis is one that a recovery exists for.
    Analysis,
    /// The kind of recovery is switched on.
    Feature,
    /// The finding has held as long as configured.
    Confirmation,
    /// The host is not excluded.
    IgnoredHostname,
    /// Nobody declared a downtime.
    Downtime,
    /// Nobody works on it.
    Maintenance,
    /// Recoveries are not disabled altogether.
    GlobalSwitch,
    /// The cluster is one of those to be recovered.
    ClusterFilter,
    /// The failed server was not itself promoted a moment ago.
    RecentlyPromoted,
    /// The cluster was not recovered a moment ago.
    RecentlyRecovered,
    /// The hooks of the detection have succeeded.
    DetectionHooks,
    /// Nobody is finding out whether the replicas can connect to it anew.
    Receivers,
    /// There is somebody to promote.
    Candidate,
    /// No recovery of this cluster is under way.
    UnderWay,
    /// Not too many clusters are being recovered at once.
    FleetBrake,
}

impl Gate {
    /// As shown and stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Analysis => "analysis",
            Self::Feature => "feature",
            Self::Confirmation => "confirmation",
            Self::IgnoredHostname => "ignored-hostname",
            Self::Downtime => "downtime",
            Self::Maintenance => "maintenance",
            Self::GlobalSwitch => "global-switch",
            Self::ClusterFilter => "cluster-filter",
            Self::RecentlyPromoted => "recently-promoted",
            Self::RecentlyRecovered => "recently-recovered",
            Self::DetectionHooks => "detection-hooks",
            Self::Receivers => "receivers",
            Self::Candidate => "candidate",
            Self::UnderWay => "under-way",
            Self::FleetBrake => "fleet-brake",
        }
    }
}

/// What one gate says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which gate.
    pub gate: Gate,
    /// Open.
    pub passed: bool,
    /// Why, naming the fact.
    pub reason: String,
    /// The setting or command that decides; empty: none does.
    pub setting: String,
}

/// An earlier recovery whose active period has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    pub id: u64,
    pub failed: InstanceKey,
    /// Promoted by it.
    pub successor: Option<InstanceKey>,
    /// Of a kind that changes the primary, whatever became of it.
    pub changed_primary: bool,
    pub cluster_name: String,
    pub cluster_alias: String,
    /// End of its active period.
    pub until: DbMicros,
}

/// A recovery that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderWay {
    pub id: u64,
    pub failed: InstanceKey,
    pub cluster_name: String,
}

/// How the hooks of a detection stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetectionHooks {
    /// There are none, or they have succeeded.
    Clear,
    /// They run, or are yet to run.
    Pending,
    /// One of them failed.
    Failed,
}

/// Everything the gates look at.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    pub instance: &'a InstanceKey,
    pub cluster_name: &'a str,
    pub cluster_alias: &'a str,
    /// Name of the analysis.
    pub analysis: &'a str,
    /// Some recovery exists for it.
    pub is_actionable: bool,
    /// It promotes another primary. Such a recovery is held back only by others that did: a repaired intermediate source must
    /// not keep a cluster without a primary.
    pub promotes: bool,
    /// The switch that this kind of recovery needs, and whether it is on; `None`: needs none.
    pub feature: Option<(&'static str, bool)>,
    /// How long the analysis has been the same.
    pub held: Duration,
    /// How long it must have been.
    pub confirmation: Duration,
    /// The filter of `RecoveryIgnoreHostnameFilters` that matches.
    pub ignored_by: Option<&'a str>,
    /// Downtime of the instance (or of all its replicas, where the analysis is about these): owner and reason.
    pub downtime: Option<(&'a str, &'a str)>,
    /// Maintenance of the instance begun by a person: owner and reason. Locks of operations are waited for instead.
    pub maintenance: Option<(&'a str, &'a str)>,
    /// `None`: could not be read.
    pub globally_disabled: Option<bool>,
    /// The list of filters that applies and what of it matched; `None`: no list applies to this kind.
    pub filter: Option<(&'static str, Option<&'a str>)>,
    pub recent: &'a [Recent],
    pub under_way: &'a [UnderWay],
    pub hooks: DetectionHooks,
    /// The operation that restarts the receivers of its replicas now.
    pub restarting: Option<u64>,
    /// Who would be promoted, or why nobody; `None`: this kind promotes nobody.
    pub candidate: Option<Result<&'a InstanceKey, &'a str>>,
    /// At most so many clusters in recovery at once; 0: no limit.
    pub brake: u64,
    pub now: DbMicros,
}

type Judge = fn(&Question<'_>) -> (bool, String, String);

/// In the order of showing: what is wrong with the request first, what passes by itself last.
const GATES: &[(Gate, Judge)] = &[
    (Gate::Analysis, |q| {
        let reason = if q.is_actionable { "a recovery exists for it" } else { "no recovery exists for it" };
        (q.is_actionable, format!("{}: {reason}", q.analysis), String::new())
    }),
    (Gate::Feature, |q| match q.feature {
        None => (true, "this kind of recovery needs no switch".to_owned(), String::new()),
        Some((setting, on)) => (on, format!("{setting} is {on}"), setting.to_owned()),
    }),
    (Gate::Confirmation, |q| {
        let (held, wanted) = (q.held.as_secs_f64(), q.confirmation.as_secs_f64());
        let reason = format!("seen for {held:.1} s, {wanted:.1} s are asked for");
        (q.held >= q.confirmation, reason, "FailureConfirmationSeconds".to_owned())
    }),
    (Gate::IgnoredHostname, |q| {
        let reason = match q.ignored_by {
            None => "no filter matches".to_owned(),
            Some(filter) => format!("{} matches {filter:?}", q.instance.hostname),
        };
        (q.ignored_by.is_none(), reason, "RecoveryIgnoreHostnameFilters".to_owned())
    }),
    (Gate::Downtime, |q| match q.downtime {
        None => (true, "not downtimed".to_owned(), String::new()),
        Some((owner, why)) => {
            (false, format!("downtimed by {owner}: {why}"), format!("end-downtime -i {}", q.instance))
        }
    }),
    (Gate::Maintenance, |q| match q.maintenance {
        None => (true, "not under maintenance".to_owned(), String::new()),
        Some((owner, why)) => {
            (false, format!("under maintenance by {owner}: {why}"), format!("end-maintenance -i {}", q.instance))
        }
    }),
    (Gate::GlobalSwitch, |q| {
        let reason = match q.globally_disabled {
            Some(false) => "recoveries are enabled",
            Some(true) => "recoveries are disabled globally",
            None => "the switch could not be read",
        };
        (q.globally_disabled == Some(false), reason.to_owned(), "enable-global-recoveries".to_owned())
    }),
    (Gate::ClusterFilter, |q| match q.filter {
        None => (true, "no filter applies to this kind of recovery".to_owned(), String::new()),
        Some((setting, Some(matched))) => (true, format!("{matched:?} matches"), setting.to_owned()),
        Some((setting, None)) => {
            let reason = format!("matches neither cluster {:?} nor alias {:?}", q.cluster_name, q.cluster_alias);
            (false, reason, setting.to_owned())
        }
    }),
    (Gate::RecentlyPromoted, |q| {
        let found = q.recent.iter().find(|one| one.successor.as_ref() == Some(q.instance));
        flapping(q, found, "promoted it")
    }),
    (Gate::RecentlyRecovered, |q| {
        let same = |one: &&Recent| {
            one.cluster_name == q.cluster_name || (!q.cluster_alias.is_empty() && one.cluster_alias == q.cluster_alias)
        };
        let counts = |one: &&Recent| one.changed_primary || !q.promotes;
        flapping(q, q.recent.iter().filter(same).find(counts), "dealt with this cluster")
    }),
    (Gate::DetectionHooks, |q| {
        let reason = match q.hooks {
            DetectionHooks::Clear => "none is in the way",
            DetectionHooks::Pending => "not ended yet",
            DetectionHooks::Failed => "one of them failed",
        };
        (q.hooks == DetectionHooks::Clear, reason.to_owned(), "OnFailureDetectionProcesses".to_owned())
    }),
    (Gate::Receivers, |q| {
        let reason = match q.restarting {
            None => "nobody restarts the receivers of its replicas".to_owned(),
            Some(id) => {
                format!("operation {id} restarts the receivers of its replicas: what they say counts once it has ended")
            }
        };
        (q.restarting.is_none(), reason, "RestartReceiversOfUnreachable".to_owned())
    }),
    (Gate::Candidate, |q| match q.candidate {
        None => (true, "nobody is to be promoted".to_owned(), String::new()),
        Some(Ok(key)) => (true, format!("{key} could be promoted"), String::new()),
        Some(Err(why)) => (false, why.to_owned(), "register-candidate, PromotionIgnoreHostnameFilters".to_owned()),
    }),
    (Gate::UnderWay, |q| {
        let same = |one: &&UnderWay| one.cluster_name == q.cluster_name || one.failed == *q.instance;
        match q.under_way.iter().find(same) {
            None => (true, "no recovery of this cluster is under way".to_owned(), String::new()),
            Some(one) => (false, format!("recovery {} of {} is under way", one.id, one.failed), String::new()),
        }
    }),
    (Gate::FleetBrake, |q| {
        let count = q.under_way.len() as u64;
        let reason = match q.brake {
            0 => format!("{count} under way, no limit"),
            limit => format!("{count} under way, at most {limit} at once"),
        };
        (q.brake == 0 || count < q.brake, reason, "RecoveryMaxConcurrent".to_owned())
    }),
];

fn flapping(q: &Question<'_>, found: Option<&Recent>, did: &str) -> (bool, String, String) {
    match found {
        None => (true, format!("no active recovery {did}"), "RecoveryPeriodBlockSeconds".to_owned()),
        Some(one) => {
            let left = (one.until - q.now).max(0) / 1_000_000;
            let reason = format!("recovery {} of {} {did}; it blocks for another {left} s", one.id, one.failed);
            (false, reason, format!("RecoveryPeriodBlockSeconds, ack-recovery {}", one.id))
        }
    }
}

/// What every gate says, in the order of the table.
pub fn judge(question: &Question<'_>) -> Vec<Verdict> {
    let verdict = |(gate, judge): &(Gate, Judge)| {
        let (passed, reason, setting) = judge(question);
        Verdict { gate: *gate, passed, reason, setting }
    };
    GATES.iter().map(verdict).collect()
}

/// All gates are open.
pub fn all_open(verdicts: &[Verdict]) -> bool {
    verdicts.iter().all(|verdict| verdict.passed)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    fn key(host: &str) -> InstanceKey {
        InstanceKey::new(host, 3306)
    }

    /// Everything open, changed by `change`: names of the closed gates.
    fn closed<'a>(change: impl FnOnce(&mut Question<'a>)) -> Vec<&'static str> {
        static FAILED: LazyLock<InstanceKey> = LazyLock::new(|| key("a"));
        static NEXT: LazyLock<InstanceKey> = LazyLock::new(|| key("b"));
        let mut question: Question<'a> = Question {
            instance: &FAILED,
            cluster_name: "a:3306",
            cluster_alias: "shop",
            analysis: "DeadMaster",
            is_actionable: true,
            promotes: true,
            feature: None,
            held: Duration::ZERO,
            confirmation: Duration::ZERO,
            ignored_by: None,
            downtime: None,
            maintenance: None,
            globally_disabled: Some(false),
            filter: Some(("RecoverMasterClusterFilters", Some("*"))),
            recent: &[],
            under_way: &[],
            hooks: DetectionHooks::Clear,
            restarting: None,
            candidate: Some(Ok(&NEXT)),
            brake: 0,
            now: 0,
        };
        change(&mut question);
        let verdicts = judge(&question);
        assert_eq!(verdicts.len(), GATES.len());
        assert!(verdicts.iter().all(|one| !one.reason.is_empty()), "{verdicts:?}");
        verdicts.iter().filter(|one| !one.passed).map(|one| one.gate.name()).collect()
    }

    fn recent(failed: &str, successor: &str, cluster: &str, alias: &str) -> Vec<Recent> {
        vec![Recent {
            id: 7,
            failed: key(failed),
            successor: Some(key(successor)),
            changed_primary: true,
            cluster_name: cluster.to_owned(),
            cluster_alias: alias.to_owned(),
            until: 60_000_000,
        }]
    }

    #[test]
    fn with_nothing_in_the_way_all_are_open() {
        assert_eq!(closed(|_| {}), Vec::<&str>::new());
    }

    #[test]
    fn each_closes_alone_and_is_named() {
        assert_eq!(closed(|q| q.is_actionable = false), ["analysis"]);
        assert_eq!(closed(|q| q.feature = Some(("RecoverNonWriteableMaster", false))), ["feature"]);
        assert_eq!(closed(|q| q.confirmation = Duration::from_secs(2)), ["confirmation"]);
        assert_eq!(closed(|q| q.ignored_by = Some("^a")), ["ignored-hostname"]);
        assert_eq!(closed(|q| q.downtime = Some(("me", "disk"))), ["downtime"]);
        assert_eq!(closed(|q| q.maintenance = Some(("me", "disk"))), ["maintenance"]);
        assert_eq!(closed(|q| q.globally_disabled = Some(true)), ["global-switch"]);
        assert_eq!(closed(|q| q.filter = Some(("RecoverMasterClusterFilters", None))), ["cluster-filter"]);
        assert_eq!(closed(|q| q.hooks = DetectionHooks::Failed), ["detection-hooks"]);
        assert_eq!(closed(|q| q.hooks = DetectionHooks::Pending), ["detection-hooks"]);
        assert_eq!(closed(|q| q.restarting = Some(7)), ["receivers"]);
        assert_eq!(closed(|q| q.candidate = Some(Err("b is must_not"))), ["candidate"]);
    }

    #[test]
    fn a_switch_that_cannot_be_read_is_off() {
        assert_eq!(closed(|q| q.globally_disabled = None), ["global-switch"]);
    }

    #[test]
    fn a_cluster_or_its_new_primary_is_not_failed_over_twice_in_a_row() {
        let promoted = recent("z", "a", "z:3306", "other");
        assert_eq!(closed(|q| q.recent = &promoted), ["recently-promoted"]);
        let by_name = recent("z", "y", "a:3306", "");
        assert_eq!(closed(|q| q.recent = &by_name), ["recently-recovered"]);
        // The name of a cluster changes with its primary, its alias does not.
        let by_alias = recent("z", "y", "z:3306", "shop");
        assert_eq!(closed(|q| q.recent = &by_alias), ["recently-recovered"]);
        // What was done to an intermediate source is no reason to leave the cluster without a primary.
        let mut intermediate = recent("i", "j", "a:3306", "shop");
        intermediate[0].changed_primary = false;
        assert_eq!(closed(|q| q.recent = &intermediate), Vec::<&str>::new());
        let other_kind = closed(|q| {
            q.recent = &intermediate;
            q.promotes = false;
        });
        assert_eq!(other_kind, ["recently-recovered"]);
        let elsewhere = recent("z", "y", "z:3306", "other");
        assert_eq!(closed(|q| q.recent = &elsewhere), Vec::<&str>::new());
    }

    #[test]
    fn the_brake_counts_clusters_under_way() {
        let others: Vec<UnderWay> = (0..3)
            .map(|id| UnderWay { id, failed: key(&format!("x{id}")), cluster_name: format!("x{id}:3306") })
            .collect();
        let with = |brake: u64| {
            closed(|q| {
                q.under_way = &others;
                q.brake = brake;
            })
        };
        assert_eq!(with(0), Vec::<&str>::new());
        assert_eq!(with(4), Vec::<&str>::new());
        assert_eq!(with(3), ["fleet-brake"]);
        let own = vec![UnderWay { id: 1, failed: key("c"), cluster_name: "a:3306".to_owned() }];
        assert_eq!(closed(|q| q.under_way = &own), ["under-way"]);
    }
}
