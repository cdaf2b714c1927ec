//! Drawing clusters, and recording how they look.

use domain::text::Style;
use serde_json::json;
use service::actions::{snapshots, topology};

use super::each;
use crate::answer::Answer;
use crate::catalogue::Command;
use crate::session::Session;

const SECTION: &str = "Information";

pub(crate) const COMMANDS: &[Command] = &[
    each!(
        SECTION,
        "topology",
        plain,
        "Draw a cluster as a tree",
        "Draws the cluster of --alias, or of the instance in -i (this host without either): one line per instance, replicas\n\
         below their source, each with lag, status, version, write mode, binary log format and what else is notable.\n\n\
         With --pattern, a regular expression on unix time, draws the recorded snapshots whose time matches (see\n\
         snapshot-topologies); they hold names only."
    ),
    each!(
        SECTION,
        "topology-tabulated",
        tabulated,
        "Draw a cluster as a table",
        "Like topology, in seven columns separated by |: name, lag, status, version, write mode, binary log format, extras."
    ),
    each!(
        SECTION,
        "topology-tags",
        tags,
        "Draw a cluster as a tree, with tags",
        "Like topology, each line followed by the instance's tags in brackets."
    ),
    each!(
        "Meta",
        "snapshot-topologies",
        snapshot,
        "Record all topologies as they are now",
        "Records every instance, its source and its cluster under the present time. Prints nothing."
    ),
];

async fn plain(session: &Session<'_>) -> anyhow::Result<Answer> {
    draw(session, Style::Plain).await
}

async fn tabulated(session: &Session<'_>) -> anyhow::Result<Answer> {
    draw(session, Style::Tabulated).await
}

async fn tags(session: &Session<'_>) -> anyhow::Result<Answer> {
    draw(session, Style::Tags).await
}

async fn draw(session: &Session<'_>, style: Style) -> anyhow::Result<Answer> {
    let cluster = session.cluster().await?;
    let text = match session.flags().text("pattern") {
        "" => topology::draw(&session.scope, &cluster, style).await?,
        pattern => topology::draw_recorded(&session.scope, &cluster, pattern).await?,
    };
    Ok(Answer::line(text))
}

async fn snapshot(session: &Session<'_>) -> anyhow::Result<Answer> {
    let recorded = snapshots::write(&session.scope).await?;
    Ok(Answer { text: String::new(), json: json!({ "instances": recorded }) })
}
