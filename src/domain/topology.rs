//! Who replicates from whom: the forest of all instances, and each one's place in it.
//!
//! Computed from all facts at once, so that a new or moved server has its right place after one look, however deep the
//! tree. Rings end somewhere: in a ring of two (co-primaries) the server that gave the cluster its name stays at depth
//! 0; in a longer ring the smallest key does.

use std::collections::HashMap;

use regex::Regex;

use crate::gtid::mysql::{self, GtidSet, Lineage, Uuid};
use crate::instance::{InstanceKey, Placement, ServerFacts};

/// One instance as input of [`place`].
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// Its key.
    pub key: &'a InstanceKey,
    /// What it last said.
    pub facts: &'a ServerFacts,
    /// The cluster it was last placed in; decides which co-primary names a cluster.
    pub previous_cluster: &'a str,
}

/// What people say about cluster aliases.
#[derive(Debug, Clone, Default)]
pub struct Naming {
    /// Alias by cluster name, set by people; wins over all.
    pub overrides: HashMap<String, String>,
    /// `ClusterNameToAlias`: the first pattern that matches a cluster name gives its alias if nothing else does.
    pub patterns: Vec<(Regex, String)>,
}

/// The place of every node, in the order of the input. `gtid_errant` is left empty: see [`errant`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forest {
    /// Place of each node.
    pub placements: Vec<Placement>,
    /// Index of the node each one reads from (for a group secondary: the group's primary), if known.
    pub upstream: Vec<Option<usize>>,
}

/// Places every node. Nodes with equal keys must not occur.
pub fn place(nodes: &[Node<'_>], naming: &Naming) -> Forest {
    let upstream = upstreams(nodes);
    let mut placer = Placer { nodes, naming, upstream: &upstream, placed: vec![None; nodes.len()] };
    for index in 0..nodes.len() {
        placer.settle(index);
    }
    let placements = placer.placed.into_iter().map(Option::unwrap_or_default).collect();
    Forest { placements, upstream }
}

/// The transactions `own` has and its upstream has not, as text; empty when there are none or when it cannot be told.
///
/// MySQL only: MariaDB positions name one transaction per domain, so an errant one shows as divergence of that domain
/// once the source moves on, and not before. Sets that cannot be read tell nothing.
pub fn errant(own: &ServerFacts, placement: &Placement, upstream: Option<&ServerFacts>) -> String {
    let (Some(upstream), Ok(own_uuid)) = (upstream, own.server_uuid.parse::<Uuid>()) else { return String::new() };
    if own.gtid.executed.is_empty() || own.gtid.executed == upstream.gtid.executed {
        return String::new();
    }
    let (Ok(executed), Ok(above)) = (GtidSet::parse(&own.gtid.executed), GtidSet::parse(&upstream.gtid.executed))
    else {
        return String::new();
    };
    let ancestry: Vec<Uuid> = placement.ancestry_uuid.split(',').filter_map(|uuid| uuid.parse().ok()).collect();
    let source = own.replica.as_ref().and_then(|replica| replica.source_uuid.parse().ok());
    let lineage = Lineage { own: own_uuid, ancestry: &ancestry, source, co_primary: placement.is_co_primary };
    mysql::errant(&executed, &above, &lineage).to_string()
}

fn upstreams(nodes: &[Node<'_>]) -> Vec<Option<usize>> {
    let index: HashMap<&InstanceKey, usize> = nodes.iter().enumerate().map(|(i, node)| (node.key, i)).collect();
    nodes
        .iter()
        .enumerate()
        .map(|(own, node)| upstream_key(node).and_then(|key| index.get(key).copied()).filter(|up| *up != own))
        .collect()
}

/// Whom a node depends on: the group primary for a group secondary, else its source. A detached source is nobody's
/// key, so a detached replica heads a cluster of its own.
fn upstream_key<'a>(node: &Node<'a>) -> Option<&'a InstanceKey> {
    if node.facts.is_group_secondary(node.key) {
        return node.facts.group.as_ref().and_then(|group| group.primary.as_ref());
    }
    node.facts.source().filter(|source| source.is_valid())
}

struct Placer<'a> {
    nodes: &'a [Node<'a>],
    naming: &'a Naming,
    upstream: &'a [Option<usize>],
    placed: Vec<Option<Placement>>,
}

impl Placer<'_> {
    /// Places `start` and everything above it, from the top down.
    fn settle(&mut self, start: usize) {
        let mut path = Vec::new();
        let mut at = Some(start);
        while let Some(node) = at {
            if self.placed[node].is_some() {
                break;
            }
            if let Some(ring_start) = path.iter().position(|seen| *seen == node) {
                let ring = path.split_off(ring_start);
                self.settle_ring(&ring);
                break;
            }
            path.push(node);
            at = self.upstream[node];
        }
        for node in path.into_iter().rev() {
            let placement = self.below_upstream(node);
            self.placed[node] = Some(placement);
        }
    }

    /// `ring[i]` reads from `ring[i + 1]`, the last from the first.
    fn settle_ring(&mut self, ring: &[usize]) {
        let head = self.ring_head(ring);
        let is_pair = ring.len() == 2;
        let cluster_name = self.nodes[ring[head]].key.to_string();
        for step in 0..ring.len() {
            // downstream of the head is the one that reads from it: the previous in the list
            let position = (head + ring.len() - step) % ring.len();
            let node = ring[position];
            let placement = if step == 0 {
                self.finish(node, self.top(node, cluster_name.clone(), is_pair))
            } else {
                let mut placement = self.below_upstream(node);
                if is_pair {
                    placement.is_co_primary = true;
                    placement.ancestry_uuid = self.co_primary_ancestry(node);
                }
                placement
            };
            self.placed[node] = Some(placement);
        }
    }

    /// The member that names the ring: the one that named it before, else the smallest key.
    fn ring_head(&self, ring: &[usize]) -> usize {
        let key = |position: &usize| self.nodes[ring[*position]].key;
        let mut positions: Vec<usize> = (0..ring.len()).collect();
        positions.sort_by_key(|position| key(position).clone());
        let named = positions.iter().copied().find(|position| {
            let name = key(position).to_string();
            ring.iter().all(|member| self.nodes[*member].previous_cluster == name)
        });
        named.or_else(|| positions.first().copied()).unwrap_or(0)
    }

    fn top(&self, node: usize, cluster_name: String, is_co_primary: bool) -> Placement {
        let ancestry_uuid = if is_co_primary { self.co_primary_ancestry(node) } else { self.ancestry(node, "") };
        Placement { cluster_name, is_co_primary, ancestry_uuid, ..Placement::default() }
    }

    fn below_upstream(&self, node: usize) -> Placement {
        let above = self.upstream[node].and_then(|up| self.placed[up].as_ref());
        let placement = match above {
            None => self.top(node, self.nodes[node].key.to_string(), false),
            Some(above) => Placement {
                cluster_name: above.cluster_name.clone(),
                suggested_cluster_alias: above.suggested_cluster_alias.clone(),
                replication_depth: above.replication_depth.saturating_add(1),
                is_co_primary: false,
                ancestry_uuid: self.ancestry(node, &above.ancestry_uuid),
                gtid_errant: String::new(),
            },
        };
        self.finish(node, placement)
    }

    /// Fills the alias: override, inherited, detected, pattern.
    fn finish(&self, node: usize, mut placement: Placement) -> Placement {
        let detected = &self.nodes[node].facts.detected_cluster_alias;
        if let Some(chosen) = self.naming.overrides.get(&placement.cluster_name).filter(|alias| !alias.is_empty()) {
            placement.suggested_cluster_alias.clone_from(chosen);
        } else if placement.suggested_cluster_alias.is_empty() {
            placement.suggested_cluster_alias = if detected.is_empty() {
                let matching =
                    self.naming.patterns.iter().find(|(pattern, _)| pattern.is_match(&placement.cluster_name));
                matching.map(|(_, alias)| alias.clone()).unwrap_or_default()
            } else {
                detected.clone()
            };
        }
        placement
    }

    fn ancestry(&self, node: usize, above: &str) -> String {
        let facts = self.nodes[node].facts;
        let group = facts.group.as_ref().map_or("", |group| group.name.as_str());
        join_uuids(&[above, &facts.server_uuid, group])
    }

    fn co_primary_ancestry(&self, node: usize) -> String {
        let facts = self.nodes[node].facts;
        let source_uuid = facts.replica.as_ref().map_or("", |replica| replica.source_uuid.as_str());
        let source_uuid = if facts.server_uuid.is_empty() { "" } else { source_uuid };
        let group = facts.group.as_ref().map_or("", |group| group.name.as_str());
        join_uuids(&[source_uuid, &facts.server_uuid, group])
    }
}

fn join_uuids(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::{GroupFacts, ReplicaFacts};

    fn key(port: u16) -> InstanceKey {
        InstanceKey::new("db", port)
    }

    fn facts(source: Option<u16>) -> ServerFacts {
        ServerFacts {
            replica: source.map(|port| ReplicaFacts { source: key(port), auto_position: true, ..Default::default() }),
            ..ServerFacts::default()
        }
    }

    /// Places servers given as (own port, source port, previous cluster port); returns "port cluster depth co".
    fn check(servers: &[(u16, u16, u16)], expected: &[&str]) {
        let owned: Vec<_> = servers
            .iter()
            .map(|(own, source, previous)| {
                let facts = facts((*source != 0).then_some(*source));
                (key(*own), facts, if *previous == 0 { String::new() } else { key(*previous).to_string() })
            })
            .collect();
        let nodes: Vec<_> =
            owned.iter().map(|(key, facts, previous)| Node { key, facts, previous_cluster: previous }).collect();
        let forest = place(&nodes, &Naming::default());
        let shown: Vec<String> = nodes
            .iter()
            .zip(&forest.placements)
            .map(|(node, place)| {
                let co = if place.is_co_primary { " co" } else { "" };
                format!("{} {} {}{co}", node.key.port, place.cluster_name, place.replication_depth)
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_tree_is_placed_in_one_look_in_any_order() {
        check(&[(4, 3, 0), (3, 2, 0), (2, 1, 0), (1, 0, 0)], &["4 db:1 3", "3 db:1 2", "2 db:1 1", "1 db:1 0"]);
    }

    #[test]
    fn an_unknown_source_makes_a_head() {
        check(&[(2, 1, 0), (3, 2, 0)], &["2 db:2 0", "3 db:2 1"]);
    }

    #[test]
    fn co_primaries_keep_the_name_they_had() {
        check(&[(1, 2, 0), (2, 1, 0), (3, 2, 0)], &["1 db:1 0 co", "2 db:1 1 co", "3 db:1 2"]);
        check(&[(1, 2, 2), (2, 1, 2), (3, 1, 2)], &["1 db:2 1 co", "2 db:2 0 co", "3 db:2 2"]);
        check(&[(1, 2, 9), (2, 1, 9)], &["1 db:1 0 co", "2 db:1 1 co"]);
    }

    #[test]
    fn longer_rings_and_self_replication_end() {
        check(&[(3, 2, 0), (2, 1, 0), (1, 3, 0), (4, 2, 0)], &["3 db:1 2", "2 db:1 1", "1 db:1 0", "4 db:1 2"]);
        check(&[(1, 1, 0)], &["1 db:1 0"]);
    }

    #[test]
    fn a_detached_replica_heads_its_own_cluster() {
        let (own, primary) = (key(2), key(1));
        let mut detached = facts(Some(1));
        if let Some(replica) = &mut detached.replica {
            replica.source.hostname = "//db".to_owned();
        }
        let plain = facts(None);
        let nodes = [
            Node { key: &primary, facts: &plain, previous_cluster: "" },
            Node { key: &own, facts: &detached, previous_cluster: "db:1" },
        ];
        assert_eq!(place(&nodes, &Naming::default()).placements[1].cluster_name, "db:2");
    }

    #[test]
    fn group_secondaries_hang_below_their_primary_and_replicas_below_them() {
        let group =
            |primary| Some(GroupFacts { name: "g".to_owned(), primary: Some(key(primary)), ..GroupFacts::default() });
        let (a, b, c) = (key(1), key(2), key(3));
        let member = |uuid: &str| ServerFacts { server_uuid: uuid.to_owned(), group: group(1), ..facts(None) };
        let (fa, fb, fc) = (member("ua"), member("ub"), facts(Some(2)));
        let node = |key, facts| Node { key, facts, previous_cluster: "" };
        let placements = place(&[node(&a, &fa), node(&b, &fb), node(&c, &fc)], &Naming::default()).placements;
        assert_eq!(placements[1].cluster_name, "db:1");
        assert_eq!((placements[1].replication_depth, placements[2].replication_depth), (1, 2));
        assert_eq!(placements[1].ancestry_uuid, "ua,g,ub,g");
    }

    #[test]
    fn aliases_come_from_override_then_primary_then_detection_then_pattern() {
        let (a, b) = (key(1), key(2));
        let mut primary = facts(None);
        let replica = facts(Some(1));
        let alias = |primary: &ServerFacts, naming: &Naming| {
            let nodes = [
                Node { key: &a, facts: primary, previous_cluster: "" },
                Node { key: &b, facts: &replica, previous_cluster: "" },
            ];
            place(&nodes, naming).placements.into_iter().map(|p| p.suggested_cluster_alias).collect::<Vec<_>>()
        };
        let mut naming = Naming::default();
        assert_eq!(alias(&primary, &naming), ["", ""]);
        naming.patterns.push((Regex::new("db:1").expect("pattern"), "pattern".to_owned()));
        assert_eq!(alias(&primary, &naming), ["pattern", "pattern"]);
        primary.detected_cluster_alias = "detected".to_owned();
        assert_eq!(alias(&primary, &naming), ["detected", "detected"]);
        naming.overrides.insert("db:1".to_owned(), "chosen".to_owned());
        assert_eq!(alias(&primary, &naming), ["chosen", "chosen"]);
    }
}
