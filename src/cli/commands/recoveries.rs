//! Recoveries and planned takeovers: asking for one and following it, looking back, acknowledging, and the global switch.
//!
//! A command that asks for one prints what the original prints when it has ended well, and fails with the reason otherwise.
//! Interrupted, it stops following; the recovery goes on.

mod records;

use anyhow::bail;
use domain::instance::InstanceKey;
use serde_json::{Value, json};
use service::actions::operations::PATIENCE;
use service::actions::recoveries::{self as asking, Ask, Node, Started, Whose};
use store::recoveries::Recovery;

use super::each;
use super::operations::{name_local, progress};
use crate::answer::Answer;
use crate::catalogue::{Command, Run};
use crate::session::{Interrupted, Session};

pub(crate) use records::COMMANDS as RECORDS;

const SECTION: &str = "Recovery";

/// What the commands that begin a recovery have in common.
macro_rules! begins {
    ($name:literal, $run:ident, $summary:literal, $help:literal) => {
        Command {
            name: $name,
            section: SECTION,
            summary: $summary,
            help: concat!(
                $help,
                "\n\nCarried out by a worker under locks, step by step, recorded; `orchestrator recovery N` tells all of it.\n\
                 Refused when the cluster is being recovered already, or when somebody has locked a server it is about.\n\n\
                 \x20 --async               print the number of the job and return at once\n\
                 \x20 --quiet               no progress on stderr\n\
                 \x20 --json                the recovery as a document\n\n\
                 Interrupted, the command stops following with exit status 130, and the recovery goes on."
            ),
            run: Run::Patient(|session| Box::pin($run(session))),
        }
    };
}

pub(crate) const COMMANDS: &[Command] = &[
    begins!(
        "recover",
        recover,
        "Recover from the failure of an instance",
        "recover -i INSTANCE [-d SUCCESSOR]\n\n\
         Recovers from what replication-analysis says about the instance now, past the gates: filters, downtime, anti-flapping\n\
         and the global switch do not count. Prints host:port of the successor. Refused where nothing is wrong."
    ),
    begins!(
        "recover-lite",
        recover_lite,
        "Recover without external hooks",
        "recover-lite -i INSTANCE [-d SUCCESSOR]\n\nAs recover, and runs no hooks."
    ),
    begins!(
        "force-master-failover",
        failover,
        "Fail over, whatever the state of the primary",
        "force-master-failover --alias CLUSTER | -i INSTANCE\n\n\
         Treats the only primary of the cluster as dead. If it can be reached, it is made read-only first.\n\
         Prints host:port of the successor."
    ),
    begins!(
        "force-master-takeover",
        takeover_by_force,
        "Fail over to a given replica, whatever the state of the primary",
        "force-master-takeover --alias CLUSTER | -i INSTANCE -d SUCCESSOR\n\n\
         As force-master-failover, to this direct replica of the primary."
    ),
    begins!(
        "graceful-master-takeover",
        takeover,
        "Replace a healthy primary by a replica",
        "graceful-master-takeover --alias CLUSTER | -i INSTANCE [-d SUCCESSOR]\n\n\
         Closes the primary, waits until the successor has all of it, opens the successor. When a step fails, everything is\n\
         taken back. Without -d the primary must have one direct replica only. The old primary is pointed at the new one and\n\
         left stopped. Prints host:port of the successor, then its binary log coordinates; the write pause is told on stderr."
    ),
    begins!(
        "graceful-master-takeover-auto",
        takeover_auto,
        "The same, and let the old primary replicate",
        "graceful-master-takeover-auto --alias CLUSTER | -i INSTANCE [-d SUCCESSOR]\n\n\
         As graceful-master-takeover; without -d the best direct replica takes over, and the old primary replicates afterwards."
    ),
    each!(SECTION, "ack-all-recoveries", ack_all, "Acknowledge all recoveries", "ack-all-recoveries --reason TEXT"),
    each!(
        SECTION,
        "ack-cluster-recoveries",
        ack_cluster,
        "Acknowledge the recoveries of a cluster",
        "ack-cluster-recoveries --alias CLUSTER | -i INSTANCE --reason TEXT\n\n\
         By the cluster's name and its alias. The next failure is detected and recovered again."
    ),
    each!(
        SECTION,
        "ack-instance-recoveries",
        ack_instance,
        "Acknowledge the recoveries of an instance",
        "ack-instance-recoveries -i INSTANCE --reason TEXT\n\nThose of which this was the failed instance."
    ),
    each!(SECTION, "ack-recovery", ack_one, "Acknowledge one recovery", "ack-recovery NUMBER|UID --reason TEXT"),
    each!(
        SECTION,
        "disable-global-recoveries",
        disable,
        "Recover nothing by itself, anywhere",
        "Failures are still detected, and what people ask for is still done."
    ),
    each!(SECTION, "enable-global-recoveries", enable, "Undo disable-global-recoveries"),
    each!(
        SECTION,
        "check-global-recoveries",
        check,
        "Are recoveries disabled everywhere?",
        "Prints `OK: Global recoveries disabled: true` or `false`; --json: with who turned the switch, and when."
    ),
];

async fn recover(session: &Session<'_>) -> anyhow::Result<Answer> {
    one(session, true).await
}

async fn recover_lite(session: &Session<'_>) -> anyhow::Result<Answer> {
    one(session, false).await
}

async fn one(session: &Session<'_>, hooks: bool) -> anyhow::Result<Answer> {
    let failed = session.instance().await?;
    let candidate = successor(session).await?;
    let ask = Ask::Recover { failed: &failed, candidate: candidate.as_ref(), hooks };
    begin(session, ask, |recovery| Answer::maybe_key(recovery.successor.as_ref()).text).await
}

async fn failover(session: &Session<'_>) -> anyhow::Result<Answer> {
    let cluster = session.cluster().await?;
    begin(session, Ask::Failover { cluster_name: &cluster }, promoted).await
}

async fn takeover_by_force(session: &Session<'_>) -> anyhow::Result<Answer> {
    let cluster = session.cluster().await?;
    let successor = session.destination().await?;
    begin(session, Ask::TakeoverByForce { cluster_name: &cluster, successor: &successor }, promoted).await
}

async fn takeover(session: &Session<'_>) -> anyhow::Result<Answer> {
    planned(session, false).await
}

async fn takeover_auto(session: &Session<'_>) -> anyhow::Result<Answer> {
    planned(session, true).await
}

async fn planned(session: &Session<'_>, auto: bool) -> anyhow::Result<Answer> {
    let cluster = session.cluster().await?;
    let successor = successor(session).await?;
    let ask = Ask::Takeover { cluster_name: &cluster, successor: successor.as_ref(), auto };
    begin(session, ask, |recovery| format!("{}{}\n", promoted(recovery), recovery.successor_coordinates)).await
}

/// `-d`, where it is given.
async fn successor(session: &Session<'_>) -> anyhow::Result<Option<InstanceKey>> {
    let given = !session.flags().text("d").is_empty() || !session.flags().text("s").is_empty();
    if given { session.destination().await.map(Some) } else { Ok(None) }
}

fn promoted(recovery: &Recovery) -> String {
    Answer::maybe_key(recovery.successor.as_ref()).text
}

/// Begins a recovery and follows it to its end.
async fn begin(session: &Session<'_>, ask: Ask<'_>, prints: impl Fn(&Recovery) -> String) -> anyhow::Result<Answer> {
    if session.flags().is_on("noop") {
        bail!("--noop: nothing is begun; orchestrator explain tells what a recovery would do");
    }
    let node = Node { name: &session.base.me.hostname, token: "" };
    let started = asking::start(&session.scope, ask, node).await?;
    if session.flags().is_on("async") {
        let Started { recovery, operation, job } = started;
        return Ok(Answer::line_as(job, json!({ "recovery": recovery, "operation": operation, "job": job })));
    }
    let recovery = follow(session, started).await?;
    if let Some(told) = asking::brief(&recovery).outage.as_ref().and_then(pause) {
        session.say(told);
    }
    for error in &recovery.errors {
        session.complain(format!("recovery {}: {error}", recovery.id));
    }
    if !recovery.lost.is_empty() {
        let lost: Vec<String> = recovery.lost.iter().map(ToString::to_string).collect();
        session.complain(format!("recovery {}: lost: {}", recovery.id, lost.join(", ")));
    }
    let shown = asking::full(&session.scope, &recovery).await?;
    Ok(Answer { text: prints(&recovery), json: serde_json::to_value(&shown)? })
}

/// How long nobody could write.
fn pause(outage: &Value) -> Option<String> {
    let seconds = outage.get("seconds")?.as_f64()?;
    let exactly = outage.get("is_write_pause").and_then(Value::as_bool).unwrap_or_default();
    Some(format!("  nobody could write for {}{seconds:.3} s", if exactly { "" } else { "about " }))
}

async fn follow(session: &Session<'_>, started: Started) -> anyhow::Result<Recovery> {
    let id = started.recovery;
    session.say(format!("recovery {id} (operation {}, job {})", started.operation, started.job));
    let following = asking::wait(&session.scope, started, PATIENCE, |step| session.say(progress(step)));
    tokio::select! {
        ended = following => ended.map_err(name_local),
        code = session.base.interrupt.wait() => Err(Interrupted {
            code,
            text: format!(
                "recovery {id} goes on without this command. Follow it: orchestrator recovery {id}; \
                 end it, as long as nothing is promoted: orchestrator operations cancel {}",
                started.operation
            ),
        }
        .into()),
    }
}

async fn ack_all(session: &Session<'_>) -> anyhow::Result<Answer> {
    acknowledge(session, Whose::All).await
}

async fn ack_cluster(session: &Session<'_>) -> anyhow::Result<Answer> {
    match session.flags().text("alias") {
        // Also a name that a failover took away.
        alias if !alias.is_empty() => acknowledge(session, Whose::Cluster(alias)).await,
        _ => {
            let cluster = session.cluster().await?;
            acknowledge(session, Whose::Cluster(&cluster)).await
        }
    }
}

async fn ack_instance(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = session.instance().await?;
    acknowledge(session, Whose::Instance(&key)).await
}

async fn ack_one(session: &Session<'_>) -> anyhow::Result<Answer> {
    match session.base.words.as_slice() {
        [word] => match word.parse() {
            Ok(id) => acknowledge(session, Whose::Id(id)).await,
            Err(_) => acknowledge(session, Whose::Uid(word)).await,
        },
        _ => bail!("say which: orchestrator ack-recovery NUMBER|UID --reason TEXT"),
    }
}

async fn acknowledge(session: &Session<'_>, whose: Whose<'_>) -> anyhow::Result<Answer> {
    let done = asking::acknowledge(&session.scope, whose, session.base.reason()?).await?;
    let text = format!("{} recoveries acknowledged", done.ids.len());
    Ok(Answer::line_as(text, json!({ "acknowledged": done.ids })))
}

async fn disable(session: &Session<'_>) -> anyhow::Result<Answer> {
    asking::set_disabled(&session.scope, true).await?;
    Ok(Answer::line("OK: Orchestrator recoveries DISABLED globally"))
}

async fn enable(session: &Session<'_>) -> anyhow::Result<Answer> {
    asking::set_disabled(&session.scope, false).await?;
    Ok(Answer::line("OK: Orchestrator recoveries ENABLED globally"))
}

async fn check(session: &Session<'_>) -> anyhow::Result<Answer> {
    let switch = asking::read_switch(&session.scope).await?;
    let text = format!("OK: Global recoveries disabled: {}", switch.is_disabled);
    Ok(Answer::line_as(text, serde_json::to_value(asking::switch(&switch))?))
}
