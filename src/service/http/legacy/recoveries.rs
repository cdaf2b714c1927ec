//! Recoveries: asking for one, looking back, acknowledging, and the global switch.
//!
//! A request waits [`PATIENCE`]. A recovery that takes longer is not given up: the reply is an error that names its
//! operation, and it goes on; `/api/v2/recoveries` tells how. The same path with `?operation=NUMBER` waits for that one
//! instead of asking for another.

use std::time::Duration;

use api::legacy::Key;
use domain::instance::InstanceKey;
use store::recoveries::{Filter, Recovery};

use super::super::reply::Reply;
use super::call::{Answer, Call};
use super::{Route, route};
use crate::actions::recoveries::{self as asking, Ask, Node, Whose};
use crate::actions::{Error, names};

/// Longest wait for a recovery: the guard of the listener gives up a request after 30 s.
const PATIENCE: Duration = Duration::from_secs(25);

pub(super) const ROUTES: &[Route] = &[
    route!(Write, "recover/:host/:port", |call| recover(call, true)),
    route!(Write, "recover/:host/:port/:candidateHost/:candidatePort", |call| recover(call, true)),
    route!(Write, "recover-lite/:host/:port", |call| recover(call, false)),
    route!(Write, "recover-lite/:host/:port/:candidateHost/:candidatePort", |call| recover(call, false)),
    route!(Write, "graceful-master-takeover/:host/:port", |call| takeover(call, false)),
    route!(Write, "graceful-master-takeover/:host/:port/:designatedHost/:designatedPort", |call| takeover(call, false)),
    route!(Write, "graceful-master-takeover/:clusterHint", |call| takeover(call, false)),
    route!(Write, "graceful-master-takeover/:clusterHint/:designatedHost/:designatedPort", |call| takeover(
        call, false
    )),
    route!(Write, "graceful-master-takeover-auto/:host/:port", |call| takeover(call, true)),
    route!(Write, "graceful-master-takeover-auto/:host/:port/:designatedHost/:designatedPort", |call| takeover(
        call, true
    )),
    route!(Write, "graceful-master-takeover-auto/:clusterHint", |call| takeover(call, true)),
    route!(Write, "graceful-master-takeover-auto/:clusterHint/:designatedHost/:designatedPort", |call| takeover(
        call, true
    )),
    route!(Write, "force-master-failover/:host/:port", failover),
    route!(Write, "force-master-failover/:clusterHint", failover),
    route!(Write, "force-master-takeover/:clusterHint/:designatedHost/:designatedPort", takeover_by_force),
    route!(Write, "force-master-takeover/:host/:port/:designatedHost/:designatedPort", takeover_by_force),
    route!(Read, "audit-failure-detection", detections),
    route!(Read, "audit-failure-detection/:page", detections),
    route!(Read, "audit-failure-detection/id/:id", detections),
    route!(Read, "audit-failure-detection/alias/:clusterAlias", detections),
    route!(Read, "audit-failure-detection/alias/:clusterAlias/:page", detections),
    route!(Read, "audit-recovery", recoveries),
    route!(Read, "audit-recovery/:page", recoveries),
    route!(Read, "audit-recovery/id/:id", recovery_by_id),
    route!(Read, "audit-recovery/uid/:uid", recovery_by_uid),
    route!(Read, "audit-recovery/cluster/:clusterName", recoveries),
    route!(Read, "audit-recovery/cluster/:clusterName/:page", recoveries),
    route!(Read, "audit-recovery/alias/:clusterAlias", recoveries),
    route!(Read, "audit-recovery/alias/:clusterAlias/:page", recoveries),
    route!(Read, "audit-recovery-steps/:uid", steps),
    route!(Read, "active-cluster-recovery/:clusterName", under_way),
    route!(Read, "recently-active-cluster-recovery/:clusterName", recently_of_cluster),
    route!(Read, "recently-active-instance-recovery/:host/:port", recently_of_instance),
    route!(Read, "blocked-recoveries", blocked),
    route!(Read, "blocked-recoveries/cluster/:clusterName", blocked),
    route!(Write, "ack-recovery/cluster/:clusterHint", ack_cluster),
    route!(Write, "ack-recovery/cluster/alias/:clusterAlias", ack_cluster),
    route!(Write, "ack-recovery/instance/:host/:port", ack_instance),
    route!(Write, "ack-recovery/:recoveryId", ack_by_id),
    route!(Write, "ack-recovery/uid/:uid", ack_by_uid),
    route!(Write, "ack-all-recoveries", ack_all),
    route!(Write, "disable-global-recoveries", |call| turn(call, true)),
    route!(Write, "enable-global-recoveries", |call| turn(call, false)),
    route!(Read, "check-global-recoveries", check),
];

/// Begins a recovery and waits for its end.
async fn carry_out(call: &Call, ask: Ask<'_>) -> Result<Recovery, Error> {
    let identity = &call.site.handles.identity;
    let node = Node { name: &identity.hostname, token: &identity.token };
    let started = match call.operation()? {
        Some(operation) => asking::started(&call.scope, operation).await?,
        None => asking::start(&call.scope, ask, node).await?,
    };
    asking::wait(&call.scope, started, PATIENCE, |_| {}).await
}

/// Answers with the key of the successor; on failure with that of the failed instance.
async fn recover(call: Call, hooks: bool) -> Answer {
    let failed = call.key().await?;
    let candidate = call.other("candidateHost", "candidatePort").await?;
    let hooks = hooks && call.query("skipProcesses") != Some("true");
    match carry_out(&call, Ask::Recover { failed: &failed, candidate: candidate.as_ref(), hooks }).await {
        Ok(recovery) => {
            call.envelope(format!("Recovery executed on {failed}"), Key::or_none(recovery.successor.as_ref()))
        }
        Err(error @ (Error::NotPossible(_) | Error::Refused { .. })) => {
            Ok(Reply::error_with(&call.site, error.to_string(), Key::from(&failed)))
        }
        Err(error) => Err(error),
    }
}

async fn takeover(call: Call, auto: bool) -> Answer {
    let cluster = call.cluster().await?;
    let successor = call.other("designatedHost", "designatedPort").await?;
    let ask = Ask::Takeover { cluster_name: &cluster, successor: successor.as_ref(), auto };
    let recovery = carry_out(&call, ask).await?;
    let record = asking::record(&call.scope, &recovery);
    call.envelope("graceful-master-takeover: successor promoted", record)
}

async fn failover(call: Call) -> Answer {
    let cluster = call.cluster().await?;
    let recovery = carry_out(&call, Ask::Failover { cluster_name: &cluster }).await?;
    call.envelope("Master failed over", asking::record(&call.scope, &recovery))
}

async fn takeover_by_force(call: Call) -> Answer {
    let cluster = call.cluster().await?;
    let successor = call.other("designatedHost", "designatedPort").await?;
    let successor = successor.ok_or_else(|| Error::Invalid("no designated instance given".to_owned()))?;
    let ask = Ask::TakeoverByForce { cluster_name: &cluster, successor: &successor };
    let recovery = carry_out(&call, ask).await?;
    call.envelope("Master failed over", asking::record(&call.scope, &recovery))
}

async fn detections(call: Call) -> Answer {
    let alias = given(call.param("clusterAlias"));
    let id = match call.param("id") {
        "" => None,
        text => Some(number(text, "a detection")?),
    };
    let filter = store::detections::Filter { id, cluster_alias: alias, page: call.page(), ..Default::default() };
    Ok(Reply::raw(&asking::detection_records(&call.scope, &filter).await?))
}

async fn recoveries(call: Call) -> Answer {
    let filter = Filter {
        cluster_name: given(call.param("clusterName")),
        cluster_alias: given(call.param("clusterAlias")),
        unacknowledged: call.query("unacknowledged") == Some("true"),
        page: call.page(),
        ..Filter::default()
    };
    Ok(Reply::raw(&asking::records(&call.scope, &filter).await?))
}

async fn recovery_by_id(call: Call) -> Answer {
    let id = number(call.param("id"), "a recovery")?;
    Ok(Reply::raw(&asking::by_id(&call.scope, id).await?))
}

async fn recovery_by_uid(call: Call) -> Answer {
    Ok(Reply::raw(&asking::by_uid(&call.scope, call.param("uid")).await?))
}

async fn steps(call: Call) -> Answer {
    Ok(Reply::raw(&asking::step_records(&call.scope, call.param("uid")).await?))
}

async fn under_way(call: Call) -> Answer {
    let found = asking::under_way(&call.scope, call.param("clusterName")).await?;
    Ok(Reply::raw(&shown(&call, &found)))
}

async fn recently_of_cluster(call: Call) -> Answer {
    let found = asking::recently(&call.scope, Some(call.param("clusterName")), None).await?;
    Ok(Reply::raw(&shown(&call, &found)))
}

async fn recently_of_instance(call: Call) -> Answer {
    let key = call.key().await?;
    let found = asking::recently(&call.scope, None, Some(&key)).await?;
    Ok(Reply::raw(&shown(&call, &found)))
}

fn shown(call: &Call, found: &[Recovery]) -> Vec<api::legacy::TopologyRecovery> {
    found.iter().map(|one| asking::record(&call.scope, one)).collect()
}

async fn blocked(call: Call) -> Answer {
    Ok(Reply::raw(&asking::blocked_records(&call.scope, given(call.param("clusterName"))).await?))
}

async fn ack_cluster(call: Call) -> Answer {
    let hint = match call.param("clusterHint") {
        "" => call.param("clusterAlias"),
        hint => hint,
    };
    let done = asking::acknowledge(&call.scope, Whose::Cluster(hint), comment(&call)).await?;
    call.envelope("Acknowledged cluster recoveries", done.cluster_name)
}

async fn ack_instance(call: Call) -> Answer {
    let key = call.key().await?;
    asking::acknowledge(&call.scope, Whose::Instance(&key), comment(&call)).await?;
    call.envelope("Acknowledged instance recoveries", Key::from(&key))
}

/// The number comes back as text, as in the original.
async fn ack_by_id(call: Call) -> Answer {
    let id = number(call.param("recoveryId"), "a recovery")?;
    asking::acknowledge(&call.scope, Whose::Id(id), comment(&call)).await?;
    call.envelope("Acknowledged recovery", id.to_string())
}

async fn ack_by_uid(call: Call) -> Answer {
    let uid = call.param("uid");
    asking::acknowledge(&call.scope, Whose::Uid(uid), comment(&call)).await?;
    call.envelope("Acknowledged recovery", uid)
}

async fn ack_all(call: Call) -> Answer {
    let comment = comment(&call);
    asking::acknowledge(&call.scope, Whose::All, comment).await?;
    call.envelope("Acknowledged all recoveries", comment)
}

fn comment(call: &Call) -> &str {
    call.query("comment").unwrap_or_default().trim()
}

async fn turn(call: Call, disabled: bool) -> Answer {
    asking::set_disabled(&call.scope, disabled).await?;
    let (message, word) = switch_words(disabled);
    call.envelope(message, word)
}

async fn check(call: Call) -> Answer {
    let (message, word) = switch_words(asking::is_disabled(&call.scope).await?);
    call.envelope(message, word)
}

const fn switch_words(disabled: bool) -> (&'static str, &'static str) {
    if disabled { ("Global recoveries disabled", "disabled") } else { ("Global recoveries enabled", "enabled") }
}

fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn number(text: &str, what: &str) -> Result<u64, Error> {
    let shown: String = text.chars().take(40).collect();
    text.parse().map_err(|_| Error::Invalid(format!("{what} has a number, not {shown:?}")))
}

impl Call {
    /// A second instance of the path, resolved and completed; `None` when the path has none.
    async fn other(&self, host: &str, port: &str) -> Result<Option<InstanceKey>, Error> {
        if self.param(host).is_empty() {
            return Ok(None);
        }
        let key = names::parse_parts(self.param(host), self.param(port))?;
        names::understand(&self.scope, key).await.map(Some)
    }
}
