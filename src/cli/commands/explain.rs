//! Why a cluster would, or would not, be recovered.

use anyhow::bail;
use service::actions::{clusters, explain};

use super::each;
use crate::answer::Answer;
use crate::catalogue::Command;
use crate::session::Session;

pub(crate) const COMMANDS: &[Command] = &[each!(
    "Recovery",
    "explain",
    explain_cluster,
    "Say why a cluster would, or would not, be recovered",
    "explain [CLUSTER]   name, alias, or an instance of it; or -i, --alias\n\n\
     Shows what is wrong with the cluster now, and what would follow if its primary died this moment: every gate of a\n\
     recovery, open or closed, with the reason and the setting that decides, and every server that was considered for\n\
     promotion. These are the very gates that the leader asks. Touches nothing."
)];

async fn explain_cluster(session: &Session<'_>) -> anyhow::Result<Answer> {
    let cluster = match session.base.words.as_slice() {
        [] => session.cluster().await?,
        [hint] => clusters::by_hint(&session.scope, hint).await?,
        _ => bail!("name one cluster: orchestrator explain CLUSTER"),
    };
    let explanation = explain::explain(&session.scope, &cluster).await?;
    Ok(Answer::line_as(explain::text(&explanation), serde_json::to_value(&explanation)?))
}
