//! What is wrong with replication.

use domain::analysis::Finding;
use service::actions::analysis::{self, Whose};

use super::each;
use crate::answer::{Answer, ended};
use crate::catalogue::Command;
use crate::session::Session;

pub(crate) const COMMANDS: &[Command] = &[each!(
    "Recovery",
    "replication-analysis",
    list,
    "List what is wrong with replication",
    "Prints a line for each instance with a problem, downtimed ones left out:\n\n  \
     host:port (cluster NAME): CODE, WARNING, ...\n\n\
     Judged on what is recorded now; docs/analyses.md tells what the codes mean. With --alias or -i only of\n\
     that cluster. --json gives the records of the compatibility API."
)];

async fn list(session: &Session<'_>) -> anyhow::Result<Answer> {
    let cluster = session.cluster_or_all().await?;
    let whose = cluster.as_deref().map_or(Whose::All, Whose::Cluster);
    let mut listing = analysis::list(&session.scope, whose).await?;
    listing.findings.retain(|one| !one.skippable_due_to_downtime);
    let line = |one: &Finding| format!("{} (cluster {}): {}", one.key, one.cluster_name, one.summary());
    let lines: Vec<String> = listing.findings.iter().map(line).collect();
    let records = listing.records(&session.base.me.hostname, "");
    Ok(Answer { text: ended(&lines), json: serde_json::to_value(records)? })
}
