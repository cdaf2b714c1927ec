//! Topologies as text: what people look at and scripts cut with `cut -d'|'`. The layout is an interface.

use std::collections::{BTreeMap, HashSet};

use crate::health::{Judgement, is_detached_position};
use crate::instance::{Instance, InstanceKey};
use crate::tag;

/// Marker of a group secondary, whatever its state.
const GROUP_SECONDARY: char = '\u{2021}';

/// Which of the three drawings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `topology`: a bracketed description, aligned.
    Plain,
    /// `topology-tabulated`: seven columns separated by `|`.
    Tabulated,
    /// `topology-tags`: as plain, and the tags.
    Tags,
}

/// Tags by instance: (name, value) sorted by name.
pub type TagMap = BTreeMap<InstanceKey, Vec<(String, String)>>;

/// Draws the instances of a cluster, lines joined by `\n`, without one at the end.
pub fn draw(instances: &[Instance], style: Style, tags: &TagMap, judgement: &Judgement) -> String {
    let rows: Vec<Row> = walk(instances)
        .into_iter()
        .map(|(depth, instance)| Row {
            name: name_cell(depth, instance, judgement),
            tokens: describe(instance, judgement),
            tags: tags.get(&instance.key).map(|tags| tag_cell(tags)).unwrap_or_default(),
        })
        .collect();
    match style {
        Style::Plain => plain(&rows, false),
        Style::Tags => plain(&rows, true),
        Style::Tabulated => tabulated(&rows),
    }
}

/// The seven description tokens of an instance: lag, status, version, write mode, binlog, extras (may be empty).
pub fn describe(instance: &Instance, judgement: &Judgement) -> [String; 6] {
    let facts = &instance.facts;
    [
        judgement.lag(instance),
        judgement.status(instance).to_owned(),
        facts.version.clone(),
        if facts.read_only { "ro" } else { "rw" }.to_owned(),
        if facts.log_bin { facts.binlog_format.clone() } else { "nobinlog".to_owned() },
        extras(instance).join(","),
    ]
}

/// The bracketed description, empty tokens left out: `[0s,ok,8.0.36,rw,ROW,>>,GTID]`.
pub fn bracketed(tokens: &[String]) -> String {
    let shown: Vec<&str> = tokens.iter().map(String::as_str).filter(|token| !token.is_empty()).collect();
    format!("[{}]", shown.join(","))
}

fn extras(instance: &Instance) -> Vec<&'static str> {
    let facts = &instance.facts;
    let mut extras = Vec::new();
    if facts.log_bin && facts.log_replica_updates {
        extras.push(">>");
    }
    if facts.is_using_gtid() || facts.supports_oracle_gtid() {
        extras.push(if instance.placement.gtid_errant.is_empty() { "GTID" } else { "GTID:errant" });
    }
    if facts.using_pseudo_gtid {
        extras.push("P-GTID");
    }
    if facts.semi_sync.source_status {
        extras.push("semi:master");
    }
    if facts.semi_sync.replica_status {
        extras.push("semi:replica");
    }
    if instance.downtime.is_some() {
        extras.push("downtimed");
    }
    extras
}

struct Row {
    name: String,
    tokens: [String; 6],
    tags: String,
}

fn plain(rows: &[Row], with_tags: bool) -> String {
    // Positions are counted in bytes, as scripts that cut these lines expect.
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let lines = rows.iter().map(|row| {
        let padding = " ".repeat(width - row.name.len());
        let tags = if with_tags { format!(" [{}]", row.tags) } else { String::new() };
        format!("{}{padding} {}{tags}", row.name, bracketed(&row.tokens))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn tabulated(rows: &[Row]) -> String {
    let cells: Vec<Vec<&str>> = rows
        .iter()
        .map(|row| [row.name.as_str()].into_iter().chain(row.tokens.iter().map(String::as_str)).collect())
        .collect();
    let widths: Vec<usize> =
        (0..7).map(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let lines = cells.iter().map(|row| {
        let padded = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            // the lag column reads as a number: right aligned
            if column == 1 { format!("{padding}{cell}") } else { format!("{cell}{padding}") }
        });
        padded.collect::<Vec<_>>().join("|")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn name_cell(depth: usize, instance: &Instance, judgement: &Judgement) -> String {
    let alias = &instance.facts.alias;
    let alias = if alias.is_empty() { String::new() } else { format!(" ({})", printable(alias)) };
    let prefix = match depth {
        0 => String::new(),
        _ => format!("{}{} ", "  ".repeat(depth - 1), marker(instance, judgement)),
    };
    format!("{prefix}{}{alias}", instance.key)
}

fn marker(instance: &Instance, judgement: &Judgement) -> char {
    if instance.facts.is_group_secondary(&instance.key) {
        GROUP_SECONDARY
    } else if judgement.is_fine_replica(instance) && !detached(instance) {
        '+'
    } else {
        '-'
    }
}

fn detached(instance: &Instance) -> bool {
    instance.facts.replica.as_ref().is_some_and(|replica| is_detached_position(&replica.exec.file))
}

/// A server chooses its alias: it must not be able to break lines or columns.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || c == '|' { '?' } else { c }).take(255).collect()
}

fn tag_cell(tags: &[(String, String)]) -> String {
    tags.iter().map(|(name, value)| printable(&tag::short(name, value))).collect::<Vec<_>>().join(",")
}

/// The instances in drawing order with their depths: children by host and port below their parent; every root drawn;
/// in a ring of two each co-primary is a branch of its own at depth 1.
fn walk(instances: &[Instance]) -> Vec<(usize, &Instance)> {
    let mut ordered: Vec<&Instance> = instances.iter().collect();
    ordered.sort_by(|a, b| a.key.cmp(&b.key));
    let known: HashSet<&InstanceKey> = ordered.iter().map(|instance| &instance.key).collect();
    let mut children: BTreeMap<&InstanceKey, Vec<&Instance>> = BTreeMap::new();
    let mut roots = Vec::new();
    for instance in &ordered {
        match parent(instance).filter(|parent| known.contains(parent) && **parent != instance.key) {
            Some(parent) => children.entry(parent).or_default().push(instance),
            None => roots.push(*instance),
        }
    }
    let mut drawing = Drawing { children, drawn: HashSet::new(), lines: Vec::new() };
    for root in roots {
        drawing.branch(root, 0);
    }
    // What is left hangs in rings: co-primaries side by side first, then whatever else was not reached.
    let co_primaries = ordered.iter().filter(|instance| instance.placement.is_co_primary).copied().collect::<Vec<_>>();
    let pending: Vec<_> = co_primaries.into_iter().filter(|one| !drawing.drawn.contains(&one.key)).collect();
    drawing.drawn.extend(pending.iter().map(|one| &one.key));
    for one in pending {
        drawing.line(one, 1);
    }
    for one in ordered {
        drawing.branch(one, 1);
    }
    drawing.lines
}

struct Drawing<'a> {
    children: BTreeMap<&'a InstanceKey, Vec<&'a Instance>>,
    drawn: HashSet<&'a InstanceKey>,
    lines: Vec<(usize, &'a Instance)>,
}

impl<'a> Drawing<'a> {
    fn branch(&mut self, instance: &'a Instance, depth: usize) {
        if self.drawn.insert(&instance.key) {
            self.line(instance, depth);
        }
    }

    fn line(&mut self, instance: &'a Instance, depth: usize) {
        self.lines.push((depth, instance));
        for child in self.children.get(&instance.key).cloned().unwrap_or_default() {
            self.branch(child, depth + 1);
        }
    }
}

fn parent(instance: &Instance) -> Option<&InstanceKey> {
    if instance.facts.is_group_secondary(&instance.key) {
        return instance.facts.group.as_ref().and_then(|group| group.primary.as_ref());
    }
    if instance.facts.is_group_primary(&instance.key) && !instance.facts.is_replica() {
        return None;
    }
    instance.facts.source()
}

#[cfg(test)]
mod tests;
