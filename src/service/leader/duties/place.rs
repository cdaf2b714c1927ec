//! Places every instance: cluster, depth, ancestry, errant GTIDs, alias; keeps cluster aliases and domains registered.
//!
//! Idempotent: computed from the whole inventory, and only what differs is written.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use domain::instance::Placement;
use domain::topology::{self, Naming, Node};

use crate::leader::{Duty, DutyError, Inventory, Leading};

/// How soon after a look that brought new facts they are placed.
const EVERY: Duration = Duration::from_millis(100);
/// Even without new facts: aliases may have been overridden.
const AT_LEAST_EVERY: Duration = Duration::from_secs(10);
/// Aliases and domains are registered again after this long, changed or not: far below their shortest lifetime.
const REGISTER_EVERY: Duration = Duration::from_secs(300);

/// Places per transaction. Its fence holds the row of the lease: the renewal and the other duties wait for it.
const WRITE_BATCH: usize = 500;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Place {
    placed: Option<(u64, Instant)>,
    registered: Option<(Registered, Instant)>,
}

/// What clusters are called.
#[derive(Debug, Default)]
struct Registered {
    aliases: Vec<(String, String)>,
    domains: HashMap<String, String>,
    /// The newest instance. A cluster that was forgotten lost its names in the backend; found again before the inventory
    /// missed it, it is called the same, but its instances are new.
    newest: u64,
}

impl Registered {
    /// What is not as it was. The rest is left alone: a recovery hands the names of a cluster over before we see its new primary.
    fn other_than(&self, known: &Self) -> Self {
        let as_before: HashSet<_> = known.aliases.iter().collect();
        let aliases = self.aliases.iter().filter(|alias| !as_before.contains(alias)).cloned().collect();
        let domains = self.domains.iter().filter(|(cluster, domain)| known.domains.get(*cluster) != Some(domain));
        let domains = domains.map(|(cluster, domain)| (cluster.clone(), domain.clone())).collect();
        Self { aliases, domains, newest: self.newest }
    }
}

impl Duty for Place {
    const NAME: &'static str = "place";

    fn every(&self, _: &Leading) -> Duration {
        EVERY
    }

    async fn tick(&mut self, leading: &Leading) -> Result<(), DutyError> {
        let pool = &leading.handles.pool;
        let mut inventory = leading.inventory.lock().await;
        let version = inventory.version();
        let is_placed = self.placed.is_some_and(|(at, when)| at == version && when.elapsed() < AT_LEAST_EVERY);
        if is_placed || !inventory.is_loaded() {
            return Ok(());
        }
        let naming = Naming {
            overrides: store::clusters::overrides(pool).await?,
            patterns: leading.handles.config.get().patterns.cluster_aliases.clone(),
        };
        let changed = changed_placements(&inventory, &naming);
        for chunk in changed.chunks(WRITE_BATCH) {
            let mut transaction = leading.fenced().await?;
            store::instances::write_placements(&mut transaction, chunk).await?;
            transaction.commit().await?;
            for (id, placement) in chunk {
                if let Some(instance) = inventory.get_mut(*id) {
                    instance.placement = placement.clone();
                }
            }
        }
        let wanted = Registered {
            aliases: store::clusters::choose_aliases(inventory.instances()),
            domains: domains(&inventory),
            newest: inventory.instances().map(|one| one.id).max().unwrap_or_default(),
        };
        drop(inventory);
        self.register(leading, wanted).await?;
        self.placed = Some((version, Instant::now()));
        Ok(())
    }
}

impl Place {
    /// Registers aliases and domains when they changed, and now and then so that they do not expire.
    async fn register(&mut self, leading: &Leading, wanted: Registered) -> Result<(), DutyError> {
        let known =
            self.registered.take_if(|(known, when)| known.newest == wanted.newest && when.elapsed() < REGISTER_EVERY);
        let (known, when) = known.unwrap_or_else(|| (Registered::default(), Instant::now()));
        let fresh = wanted.other_than(&known);
        if !fresh.aliases.is_empty() || !fresh.domains.is_empty() {
            let mut transaction = leading.fenced().await?;
            store::clusters::register_aliases(&mut transaction, &fresh.aliases).await?;
            store::clusters::register_domains(&mut transaction, &fresh.domains).await?;
            transaction.commit().await?;
        }
        self.registered = Some((wanted, when));
        Ok(())
    }
}

/// The places that differ from what is stored.
fn changed_placements(inventory: &Inventory, naming: &Naming) -> Vec<(u64, Placement)> {
    let instances: Vec<_> = inventory.instances().collect();
    let nodes: Vec<Node<'_>> = instances
        .iter()
        .map(|one| Node { key: &one.key, facts: &one.facts, previous_cluster: &one.placement.cluster_name })
        .collect();
    let forest = topology::place(&nodes, naming);
    let mut changed = Vec::new();
    for (index, mut placement) in forest.placements.into_iter().enumerate() {
        let upstream = forest.upstream[index].map(|up| &instances[up].facts);
        placement.gtid_errant = topology::errant(&instances[index].facts, &placement, upstream);
        if placement != instances[index].placement {
            changed.push((instances[index].id, placement));
        }
    }
    changed
}

/// Domains that primaries report, by cluster.
fn domains(inventory: &Inventory) -> HashMap<String, String> {
    inventory
        .instances()
        .filter(|one| one.placement.replication_depth == 0 && !one.facts.detected_cluster_domain.is_empty())
        .map(|one| (one.placement.cluster_name.clone(), one.facts.detected_cluster_domain.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(aliases: &[(&str, &str)], domains: &[(&str, &str)]) -> Registered {
        let pair = |(cluster, name): &(&str, &str)| ((*cluster).to_owned(), (*name).to_owned());
        Registered {
            aliases: aliases.iter().map(pair).collect(),
            domains: domains.iter().map(pair).collect(),
            newest: 1,
        }
    }

    #[test]
    fn what_has_not_changed_is_left_to_whoever_hands_it_over() {
        // A recovery gives the name of a:3306 to b:3306, which we have not seen yet; something else changes.
        let known = names(&[("a:3306", "shop"), ("c:3306", "blog")], &[("a:3306", "shop.example")]);
        let wanted = names(&[("a:3306", "shop"), ("c:3306", "news")], &[("a:3306", "shop.example")]);
        let fresh = wanted.other_than(&known);
        assert_eq!(fresh.aliases, names(&[("c:3306", "news")], &[]).aliases);
        assert!(fresh.domains.is_empty());
        // Now we have.
        let wanted = names(&[("b:3306", "shop"), ("c:3306", "news")], &[("b:3306", "shop.example")]);
        let fresh = wanted.other_than(&known);
        assert_eq!((fresh.aliases.len(), fresh.domains.len()), (2, 1));
        assert!(wanted.other_than(&wanted).aliases.is_empty());
    }
}
