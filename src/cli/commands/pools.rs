//! Pools of instances.

use anyhow::Context;
use api::legacy::Key;
use serde_json::{Value, json};
use service::actions::pools;

use super::each;
use crate::answer::{Answer, ended};
use crate::catalogue::{Command, Run};
use crate::session::Session;

const SECTION: &str = "Pools";

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "submit-pool-instances",
        section: SECTION,
        summary: "Set the members of a pool",
        help: "submit-pool-instances --pool POOL -i LIST\n\n\
               Replaces the members of the pool by the instances of the comma separated list. Prints nothing.",
        run: Run::Whole(|session| Box::pin(submit(session))),
    },
    each!(
        SECTION,
        "cluster-pool-instances",
        all,
        "List the members of all pools",
        "Prints, separated by tabs: cluster, its alias, pool, host:port."
    ),
    each!(
        SECTION,
        "which-heuristic-cluster-pool-instances",
        of_cluster,
        "List the pooled instances of a cluster that answer",
        "Prints members of --pool, or of any pool, within the cluster of --alias or -i; unreachable instances and binlog\n\
         servers are left out."
    ),
];

async fn submit(session: &Session<'_>) -> anyhow::Result<Answer> {
    let pool = session.base.required("pool")?;
    let list = session.given.as_deref().context("-i is required: the pool's instances, separated by commas")?;
    let members = pools::submit(&session.scope, pool, list).await?;
    Ok(Answer { text: String::new(), json: json!({ "Pool": pool, "Instances": Key::list(&members) }) })
}

async fn all(session: &Session<'_>) -> anyhow::Result<Answer> {
    let found = pools::all(&session.scope).await?;
    let lines = found.iter().map(|one| {
        let fields = [&one.cluster_name, &one.cluster_alias, &one.pool, &one.key.to_string()];
        fields.map(String::as_str).join("\t")
    });
    let text = ended(lines);
    let rows: Vec<Value> = found
        .iter()
        .map(|one| {
            json!({
                "ClusterName": one.cluster_name,
                "ClusterAlias": one.cluster_alias,
                "Pool": one.pool,
                "Key": Key::from(&one.key),
            })
        })
        .collect();
    Ok(Answer { text, json: Value::Array(rows) })
}

async fn of_cluster(session: &Session<'_>) -> anyhow::Result<Answer> {
    let cluster = session.cluster().await?;
    let pool = session.flags().get("pool").filter(|pool| !pool.is_empty());
    let found = pools::usable_instances(&session.scope, &cluster, pool).await?;
    Answer::instances(&found, &session.scope.view().await?)
}
