//! What the gates of an automatic recovery look at, read from the backend: for the duty that opens recoveries and for
//! `explain`, which must say the same.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::time::Duration;

use domain::analysis::{Code, FilterKind, Finding, Handler};
use domain::instance::{DbMicros, Instance, InstanceKey};
use domain::operation::{World, receivers};
use domain::plan::{Baseline, Request};
use domain::recovery::gates::{DetectionHooks, Gate, Question, Recent, UnderWay, Verdict, judge};
use domain::recovery::{Choice, Scene, preview};
use jobs::Configuration;
use sqlx::MySqlPool;
use store::hook_runs::{HookOwner, HookState};
use store::maintenance::Maintenance;
use store::operations;
use store::recoveries::{FAILURE_BLOCK, Kind, Recovery};

/// The receivers of one source are asked about, and restarted, at most this often.
const RESTARTS_WITHIN: Duration = Duration::from_secs(60);
/// Sources that this is done about at once. It mostly waits for heartbeats, in places that recoveries need.
const RESTARTS_AT_ONCE: usize = 8;

/// What is so in the whole fleet at one moment.
#[derive(Debug, Default)]
pub(crate) struct Circumstances {
    recent: Vec<Recent>,
    under_way: Vec<UnderWay>,
    /// `None`: could not be read.
    globally_disabled: Option<bool>,
    maintenance: Vec<Maintenance>,
    /// Operations that restarted receivers lately.
    restarts: Vec<operations::Recent>,
    aliases: HashMap<String, String>,
    now: DbMicros,
}

/// One finding, and what is known about it besides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) finding: &'a Finding,
    /// The members of its cluster.
    pub(crate) members: &'a [Instance],
    /// How long the same was found.
    pub(crate) held: Duration,
    pub(crate) hooks: DetectionHooks,
}

impl Circumstances {
    /// Reads what concerns these clusters.
    pub(crate) async fn read(
        pool: &MySqlPool,
        clusters: &[String],
        config: &Configuration,
    ) -> Result<Self, store::Error> {
        let mut all = Self {
            globally_disabled: store::recovery_switch::is_disabled(pool).await.ok(),
            maintenance: store::maintenance::active(pool).await?,
            restarts: operations::recent(pool, receivers::WORD, RESTARTS_WITHIN).await?,
            aliases: store::clusters::aliases_of(pool, clusters).await?,
            now: store::database_now(pool).await?,
            ..Self::default()
        };
        let block = Duration::from_secs(config.settings.recovery.recovery_period_block_seconds);
        for one in store::recoveries::active(pool).await? {
            if one.ended_at.is_none() {
                all.under_way.push(UnderWay { id: one.id, failed: one.failed, cluster_name: one.cluster_name });
            } else if let Some(recent) = recent(one, block).filter(|recent| recent.until > all.now) {
                all.recent.push(recent);
            }
        }
        Ok(all)
    }

    /// Time of this reading.
    pub(crate) fn now(&self) -> DbMicros {
        self.now
    }

    /// What the cluster goes by.
    pub(crate) fn alias<'a>(&'a self, cluster_name: &'a str) -> &'a str {
        self.aliases.get(cluster_name).map_or(cluster_name, String::as_str)
    }

    /// The operation that restarts the receivers of the replicas of this instance now: it holds their locks. (Before it does, it
    /// only asks them.) These end with it, or, when its worker is lost, by themselves.
    fn restarting(&self, of: &InstanceKey) -> Option<u64> {
        let locks = |id: u64| self.maintenance.iter().any(|lock| lock.operation == Some(id));
        let restarts = |one: &&operations::Recent| one.instance == *of && !one.has_ended && locks(one.id);
        self.restarts.iter().find(restarts).map(|one| one.id)
    }

    /// May the receivers of its replicas be restarted? What has been done lately is not done again; people who work on it, or have
    /// disabled recoveries, are not disturbed; and where nothing would follow nothing is done.
    pub(crate) fn may_restart_receivers(&self, finding: &Finding, config: &Configuration) -> bool {
        let alias = self.alias(&finding.cluster_name);
        let patterns = &config.patterns;
        let filter = if finding.is_primary || finding.is_co_primary {
            &patterns.recover_masters
        } else {
            &patterns.recover_intermediate_masters
        };
        config.settings.detection.restart_receivers_of_unreachable
            && self.globally_disabled == Some(false)
            && !finding.skippable_due_to_downtime
            && filter.matches(&finding.cluster_name, alias)
            && patterns.recovery_ignore.matching(&finding.key.hostname).is_none()
            && !self.maintenance.iter().any(|one| one.key == finding.key && one.operation.is_none())
            && !self.under_way.iter().any(|one| one.cluster_name == finding.cluster_name)
            && !self.restarts.iter().any(|one| one.instance == finding.key)
            && self.restarts.iter().filter(|one| !one.has_ended).count() < RESTARTS_AT_ONCE
    }

    /// Counts a recovery that was opened since this was read.
    pub(crate) fn opened(&mut self, id: u64, failed: &InstanceKey, cluster_name: &str) {
        self.under_way.push(UnderWay { id, failed: failed.clone(), cluster_name: cluster_name.to_owned() });
    }

    /// The earlier recovery whose active period this falls into.
    pub(crate) fn blocking(&self, finding: &Finding) -> Option<u64> {
        let alias = self.alias(&finding.cluster_name);
        let blocks = |one: &&Recent| {
            one.cluster_name == finding.cluster_name
                || one.cluster_alias == alias
                || one.successor.as_ref() == Some(&finding.key)
        };
        self.recent.iter().find(blocks).map(|one| one.id)
    }

    /// What every gate says about acting on this finding.
    pub(crate) fn verdicts(&self, subject: Subject<'_>, config: &Configuration) -> Vec<Verdict> {
        let Subject { finding, .. } = subject;
        let alias = self.alias(&finding.cluster_name);
        let handler = finding.code.handler();
        let held = self.maintenance.iter().find(|one| one.key == finding.key && one.operation.is_none());
        let candidate = candidate(subject, config, self.now);
        let mut verdicts = judge(&Question {
            instance: &finding.key,
            cluster_name: &finding.cluster_name,
            cluster_alias: alias,
            analysis: finding.code.name(),
            is_actionable: Kind::answering(handler).is_some(),
            promotes: matches!(handler, Handler::DeadPrimary | Handler::DeadCoPrimary),
            feature: feature(finding, &config.settings),
            held: subject.held,
            confirmation: confirmation(handler, &finding.cluster_name, alias, config),
            ignored_by: config.patterns.recovery_ignore.matching(&finding.key.hostname),
            downtime: downtime(finding),
            maintenance: held.map(|one| (one.owner.as_str(), one.reason.as_str())),
            globally_disabled: self.globally_disabled,
            filter: filter(handler, &finding.cluster_name, alias, config),
            recent: &self.recent,
            under_way: &self.under_way,
            hooks: subject.hooks,
            restarting: self.restarting(&finding.key),
            candidate: candidate
                .as_ref()
                .map(|found| found.as_ref().map(|choice| &choice.successor).map_err(String::as_str)),
            brake: config.settings.recovery.max_concurrent,
            now: self.now,
        });
        let closed = verdicts.iter_mut().find(|one| one.gate == Gate::ClusterFilter && !one.passed);
        if let (Some(closed), Some(entry)) = (closed, meant_for_alias(finding.code, alias, config)) {
            let _ =
                write!(closed.reason, "; entry {entry:?} looks at names only: write \"alias~={entry}\" for the alias");
        }
        verdicts
    }
}

/// How the hooks of a detection stand.
pub(crate) async fn hooks_of(
    pool: &MySqlPool,
    config: &Configuration,
    detection: u64,
) -> Result<DetectionHooks, store::Error> {
    let wanted = config.settings.hooks.on_failure_detection_processes.len();
    let runs = store::hook_runs::of(pool, HookOwner::Detection(detection)).await?;
    // Whether one was done whose worker was lost is unknown: nothing is held back for that, here as in a recovery.
    let failed = |state: HookState| matches!(state, HookState::Failed | HookState::TimedOut);
    let ended = runs.iter().filter(|one| one.state != HookState::Begun).count();
    Ok(if wanted == 0 || (ended >= wanted && !runs.iter().any(|one| failed(one.state))) {
        DetectionHooks::Clear
    } else if runs.iter().any(|one| failed(one.state)) {
        DetectionHooks::Failed
    } else {
        DetectionHooks::Pending
    })
}

/// Who would be promoted, or why nobody; `None`: this kind of finding promotes nobody.
pub(crate) fn candidate(subject: Subject<'_>, config: &Configuration, now: DbMicros) -> Option<Result<Choice, String>> {
    let Subject { finding, members, .. } = subject;
    if !matches!(finding.code.handler(), Handler::DeadPrimary | Handler::DeadCoPrimary) {
        return None;
    }
    let instances: BTreeMap<InstanceKey, Instance> = members.iter().map(|one| (one.key.clone(), one.clone())).collect();
    let (policy, baseline) = (jobs::planner_policy(config), Baseline::new());
    let world =
        World { instances: &instances, baseline: &baseline, earlier: None, equivalences: &[], policy: &policy, now };
    let request = Request::Recover { failed: finding.key.clone(), recovery: 0 };
    let scene = Scene {
        world: &world,
        failed: &finding.key,
        requested: None,
        earlier_choice: None,
        opening_begun: false,
        banned: &jobs::banned(config, instances.keys()),
        policy: &jobs::recovery_policy(config),
        request: &request,
        force: false,
        had_semi_sync: finding.semi_sync.source_enabled,
    };
    Some(preview(&scene).map_err(|refusal| refusal.to_string()))
}

/// An ended recovery, as long as it holds back others: until the end that was written when it closed, or sooner if the period
/// was shortened since.
fn recent(one: Recovery, block: Duration) -> Option<Recent> {
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    let longest = if one.is_successful {
        one.started_at.saturating_add(micros(block))
    } else {
        one.ended_at?.saturating_add(micros(block.min(FAILURE_BLOCK)))
    };
    let until = one.active_until.map_or(longest, |until| until.min(longest));
    Some(Recent {
        id: one.id,
        failed: one.failed,
        successor: one.successor.filter(|_| one.is_successful && one.kind.changes_primary()),
        changed_primary: one.kind.changes_primary(),
        cluster_name: one.cluster_name,
        cluster_alias: one.cluster_alias,
        until,
    })
}

/// How long this finding must hold before a recovery begins.
pub(crate) fn confirmation_of(finding: &Finding, circumstances: &Circumstances, config: &Configuration) -> Duration {
    let alias = circumstances.alias(&finding.cluster_name);
    confirmation(finding.code.handler(), &finding.cluster_name, alias, config)
}

fn feature(finding: &Finding, settings: &config::Settings) -> Option<(&'static str, bool)> {
    let detection = &settings.detection;
    match finding.code.handler() {
        Handler::NonWriteable => Some(("RecoverNonWriteableMaster", detection.recover_non_writeable_master)),
        Handler::SemiSync if finding.code == Code::MasterWithTooManySemiSyncReplicas => {
            Some(("EnforceExactSemiSyncReplicas", detection.enforce_exact_semi_sync_replicas))
        }
        Handler::SemiSync => {
            let on = detection.recover_locked_semi_sync_master || detection.enforce_exact_semi_sync_replicas;
            Some(("RecoverLockedSemiSyncMaster", on))
        }
        Handler::DeadPrimary
        | Handler::DeadCoPrimary
        | Handler::DeadIntermediate
        | Handler::DeadGroupMember
        | Handler::NotifyOnly
        | Handler::Nothing => None,
    }
}

/// Only what is dead must be seen dead for a while: the rest has times of its own.
fn confirmation(handler: Handler, cluster_name: &str, alias: &str, config: &Configuration) -> Duration {
    match handler {
        Handler::DeadPrimary | Handler::DeadCoPrimary | Handler::DeadIntermediate | Handler::DeadGroupMember => {
            let otherwise = Duration::from_secs(config.settings.detection.failure_confirmation_seconds);
            config.patterns.confirmation(cluster_name, alias, otherwise)
        }
        Handler::NonWriteable | Handler::SemiSync | Handler::NotifyOnly | Handler::Nothing => Duration::ZERO,
    }
}

fn downtime(finding: &Finding) -> Option<(&str, &str)> {
    if !finding.skippable_due_to_downtime {
        return None;
    }
    let own = finding.downtime.as_ref().map(|downtime| (downtime.owner.as_str(), downtime.reason.as_str()));
    Some(own.unwrap_or(("their owners", "all replicas that this is about are in downtime")))
}

/// The entry that would match if it looked at aliases: what an operator who sees a closed gate may have meant.
fn meant_for_alias<'a>(code: Code, alias: &str, config: &'a Configuration) -> Option<&'a str> {
    match code.filter()? {
        FilterKind::Primary => config.patterns.recover_masters.meant_for_alias(alias),
        FilterKind::Intermediate => config.patterns.recover_intermediate_masters.meant_for_alias(alias),
    }
}

/// The list of filters that applies to this kind, and the entry that matched. Those without a list of their own go by that
/// of primaries, whose settings they change (the original let them ignore the filters).
fn filter<'a>(
    handler: Handler,
    cluster_name: &str,
    alias: &str,
    config: &'a Configuration,
) -> Option<(&'static str, Option<&'a str>)> {
    let patterns = &config.patterns;
    match handler {
        Handler::DeadPrimary | Handler::DeadCoPrimary | Handler::NonWriteable | Handler::SemiSync => {
            Some(("RecoverMasterClusterFilters", patterns.recover_masters.matching(cluster_name, alias)))
        }
        Handler::DeadIntermediate | Handler::DeadGroupMember => {
            let matched = patterns.recover_intermediate_masters.matching(cluster_name, alias);
            Some(("RecoverIntermediateMasterClusterFilters", matched))
        }
        Handler::NotifyOnly | Handler::Nothing => None,
    }
}
