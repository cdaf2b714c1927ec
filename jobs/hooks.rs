//! Lists of hooks: each entry at most once for its detection or recovery, whoever dies in between.
//!
//! The row that says "begun" is there before the process starts. Whoever finds it without an end after the loss of a worker
//! does not know what became of the hook: it is marked unknown, and not run again.

use std::time::Duration;

use config::Settings;
use domain::instance::InstanceKey;
use integrations::hooks::{HookEnd, HookFacts, HookReport, HookSettings};
use queue::JobError;
use serde_json::Value;
use sqlx::MySqlPool;
use store::hook_runs::{HookBegin, HookOwner, HookState, NewHookRun};
use store::operations::Run;

/// Output kept of each hook: its beginning and its end.
const LONGEST_OUTPUT: usize = 64 * 1024;

/// A list of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    OnFailureDetection,
    PreGracefulTakeover,
    PreFailover,
    PostMasterFailover,
    PostIntermediateMasterFailover,
    PostFailover,
    PostUnsuccessfulFailover,
    PostGracefulTakeover,
}

impl List {
    /// Its key.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OnFailureDetection => "OnFailureDetectionProcesses",
            Self::PreGracefulTakeover => "PreGracefulTakeoverProcesses",
            Self::PreFailover => "PreFailoverProcesses",
            Self::PostMasterFailover => "PostMasterFailoverProcesses",
            Self::PostIntermediateMasterFailover => "PostIntermediateMasterFailoverProcesses",
            Self::PostFailover => "PostFailoverProcesses",
            Self::PostUnsuccessfulFailover => "PostUnsuccessfulFailoverProcesses",
            Self::PostGracefulTakeover => "PostGracefulTakeoverProcesses",
        }
    }

    /// Its entries.
    pub(crate) fn commands(self, settings: &Settings) -> &[String] {
        let hooks = &settings.hooks;
        match self {
            Self::OnFailureDetection => &hooks.on_failure_detection_processes,
            Self::PreGracefulTakeover => &hooks.pre_graceful_takeover_processes,
            Self::PreFailover => &hooks.pre_failover_processes,
            Self::PostMasterFailover => &hooks.post_master_failover_processes,
            Self::PostIntermediateMasterFailover => &hooks.post_intermediate_master_failover_processes,
            Self::PostFailover => &hooks.post_failover_processes,
            Self::PostUnsuccessfulFailover => &hooks.post_unsuccessful_failover_processes,
            Self::PostGracefulTakeover => &hooks.post_graceful_takeover_processes,
        }
    }

    /// A failing entry ends the list, and stops what the list comes before.
    const fn may_stop(self) -> bool {
        matches!(self, Self::OnFailureDetection | Self::PreGracefulTakeover | Self::PreFailover)
    }
}

/// For whom and by whom hooks are run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) pool: &'a MySqlPool,
    pub(crate) settings: &'a Settings,
    pub(crate) owner: HookOwner,
    /// Run of the recovery's operation; `None` for detections.
    pub(crate) run: Option<Run>,
    pub(crate) worker: &'a str,
}

/// What became of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listed {
    /// All entries were tried.
    Passed,
    /// An entry failed, in a list that may stop things: with the reason.
    Stopped(String),
    /// The recovery was taken by another worker.
    NotOurs,
}

/// How one entry ended, for the timeline.
pub(crate) struct Told<'a> {
    pub(crate) text: String,
    pub(crate) report: Option<&'a HookReport>,
}

/// Runs the entries one after the other; `tell` hears of each.
pub(crate) async fn run_list(
    caller: Caller<'_>,
    list: List,
    facts: &HookFacts,
    tell: impl Fn(Told<'_>),
) -> Result<Listed, JobError> {
    let settings = hook_settings(caller.settings);
    for (index, command) in list.commands(caller.settings).iter().enumerate() {
        let shown = settings.without_secrets(command);
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let name = format!("{}[{index}]", list.name());
        let new = NewHookRun {
            owner: caller.owner,
            list: list.name(),
            index: number,
            command: &shown,
            worker: caller.worker,
            run: caller.run,
        };
        let failed = match begin(caller.pool, &new).await? {
            HookBegin::NotOurs => return Ok(Listed::NotOurs),
            HookBegin::Begun(id) => {
                let report = integrations::hooks::run(command, facts, &settings).await;
                end(caller.pool, id, &report).await?;
                let text = format!("{name} {} after {:.1} s: {shown}", report.end, report.took.as_secs_f64());
                tell(Told { text: text.clone(), report: Some(&report) });
                (!report.succeeded()).then_some(text)
            }
            HookBegin::Already(before) => match before.state {
                // What a run before found out holds for this one.
                HookState::Failed | HookState::TimedOut => Some(format!("{name} had failed: {shown}")),
                HookState::Begun | HookState::Unknown => {
                    let text = format!(
                        "{name} was begun by {}, which was lost: what became of it is unknown, it is not run again: {shown}",
                        before.worker
                    );
                    tell(Told { text, report: None });
                    None
                }
                HookState::Done | HookState::Detached => None,
            },
        };
        if let Some(reason) = failed.filter(|_| list.may_stop()) {
            return Ok(Listed::Stopped(reason));
        }
    }
    Ok(Listed::Passed)
}

async fn begin(pool: &MySqlPool, new: &NewHookRun<'_>) -> Result<HookBegin, JobError> {
    let mut conn = pool.acquire().await.map_err(JobError::retry)?;
    store::hook_runs::begin(&mut conn, new).await.map_err(JobError::retry)
}

async fn end(pool: &MySqlPool, id: u64, report: &HookReport) -> Result<(), JobError> {
    let (state, code) = match &report.end {
        HookEnd::Succeeded => (HookState::Done, Some(0)),
        HookEnd::Failed { code } => (HookState::Failed, *code),
        HookEnd::TimedOut => (HookState::TimedOut, None),
        HookEnd::NotStarted { .. } => (HookState::Failed, None),
        HookEnd::Detached => (HookState::Detached, None),
    };
    let output = match &report.end {
        HookEnd::NotStarted { reason } => reason,
        _ => &report.output,
    };
    store::hook_runs::end(pool, id, state, code, output).await.map(|_| ()).map_err(JobError::retry)
}

/// How all hooks are run.
pub(crate) fn hook_settings(settings: &Settings) -> HookSettings {
    HookSettings {
        shell: settings.hooks.processes_shell_command.clone(),
        timeout: Duration::from_secs(settings.hooks.hook_timeout_seconds),
        longest_output: LONGEST_OUTPUT,
        secrets: settings.secrets(),
    }
}

/// What an analysis record tells hooks; the rest is for the caller to fill in.
pub(crate) fn facts_of(entry: &Value) -> HookFacts {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let flag = |name: &str| entry.get(name).and_then(Value::as_bool).unwrap_or_default();
    let cluster = entry.get("ClusterDetails").cloned().unwrap_or_default();
    let cluster_flag = |name: &str| cluster.get(name).and_then(Value::as_bool).unwrap_or_default();
    let (is_master, is_co_master) = (flag("IsMaster"), flag("IsCoMaster"));
    let instance_type = match () {
        () if is_co_master => "co-master",
        () if flag("IsReplicationGroupMember") => "group-member",
        () if is_master => "master",
        () => "intermediate-master",
    };
    HookFacts {
        failure_type: text("Analysis"),
        instance_type: instance_type.to_owned(),
        is_master,
        is_co_master,
        failure_description: text("Description"),
        command: text("CommandHint"),
        failure_cluster: cluster.get("ClusterName").and_then(Value::as_str).unwrap_or_default().to_owned(),
        failure_cluster_domain: cluster.get("ClusterDomain").and_then(Value::as_str).unwrap_or_default().to_owned(),
        count_replicas: entry.get("CountReplicas").and_then(Value::as_u64).unwrap_or_default(),
        is_downtimed: flag("IsDowntimed"),
        auto_master_recovery: cluster_flag("HasAutomatedMasterRecovery"),
        auto_intermediate_master_recovery: cluster_flag("HasAutomatedIntermediateMasterRecovery"),
        replica_hosts: keys(entry.get("Replicas")),
        ..HookFacts::default()
    }
}

/// A list of keys as the analysis record has it.
fn keys(list: Option<&Value>) -> Vec<InstanceKey> {
    let key = |one: &Value| {
        let port = one.get("Port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok())?;
        Some(InstanceKey::new(one.get("Hostname").and_then(Value::as_str)?, port))
    };
    list.and_then(Value::as_array).into_iter().flatten().filter_map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_are_kept_from_every_secret_of_the_configuration() {
        let secret = |name: &str| format!("the-{name}");
        let keys: Vec<&str> = config::keys().filter(|key| key.is_secret()).map(|key| key.name).collect();
        assert!(keys.contains(&"MySQLTopologyPassword") && keys.contains(&"ConsulAclToken"), "{keys:?}");
        for name in keys {
            let text = serde_json::json!({ name: secret(name) }).to_string();
            let loaded = Settings::from_json(&text).expect(name);
            assert_eq!(hook_settings(&loaded.settings).secrets, [secret(name)], "{name}");
        }
        assert_eq!(hook_settings(&Settings::default()).secrets, [""; 0]);
    }
}
