//! Topologies as text, now and as recorded.

use std::collections::BTreeSet;

use domain::instance::{CheckState, Instance, InstanceKey, Placement, ReplicaFacts, ServerFacts};
use domain::promotion::PromotionRule;
use domain::text::{self, Style, TagMap};
use regex::Regex;
use store::snapshots::PastInstance;

use super::{Error, Scope, instances};

/// Draws a cluster of this exact name.
pub async fn draw(scope: &Scope, cluster_name: &str, style: Style) -> Result<String, Error> {
    let members = instances::of_cluster(scope, cluster_name).await?;
    let tags = match style {
        Style::Tags => tags_of(scope, &members).await?,
        Style::Plain | Style::Tabulated => TagMap::new(),
    };
    Ok(text::draw(&members, style, &tags, &scope.judgement().await?))
}

async fn tags_of(scope: &Scope, members: &[Instance]) -> Result<TagMap, Error> {
    let keys: BTreeSet<&InstanceKey> = members.iter().map(|one| &one.key).collect();
    let tags = store::tags::read_all(&scope.pool).await?;
    let members = tags.into_iter().filter(|(key, _)| keys.contains(key));
    Ok(members.map(|(key, tags)| (key, tags.into_iter().collect())).collect())
}

/// Draws a cluster as it was recorded, once for each snapshot whose unix time matches the pattern, oldest first.
/// Only names and aliases are recorded, so nothing else is drawn, and every marker is `-`.
pub async fn draw_recorded(scope: &Scope, cluster_name: &str, pattern: &str) -> Result<String, Error> {
    let pattern = Regex::new(pattern).map_err(|error| Error::Invalid(format!("cannot read the pattern: {error}")))?;
    let judgement = crate::judgement(&scope.config.settings, 0);
    let mut times = store::snapshots::times(&scope.pool).await?;
    times.retain(|at| pattern.is_match(&at.to_string()));
    times.sort_unstable();
    let mut lines = Vec::new();
    for at in times {
        let recorded = store::snapshots::read(&scope.pool, at, cluster_name).await?;
        let members: Vec<Instance> = recorded.into_iter().map(recorded_instance).collect();
        let drawn = text::draw(&members, Style::Plain, &TagMap::new(), &judgement);
        lines.extend(drawn.lines().map(without_description).map(str::to_owned));
    }
    Ok(lines.join("\n"))
}

fn without_description(line: &str) -> &str {
    line.rfind(" [").map_or(line, |at| line[..at].trim_end())
}

fn recorded_instance(recorded: PastInstance) -> Instance {
    let source = recorded.source.map(|source| ReplicaFacts { source, ..ReplicaFacts::default() });
    Instance {
        id: 0,
        key: recorded.key,
        lane: String::new(),
        facts: ServerFacts { replica: source, alias: recorded.alias, ..ServerFacts::default() },
        placement: Placement { cluster_name: recorded.cluster_name, ..Placement::default() },
        check: CheckState::default(),
        downtime: None,
        promotion_rule: PromotionRule::Neutral,
        unresolved_hostname: String::new(),
    }
}
