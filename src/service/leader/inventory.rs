//! The leader's copy of all instances, kept fresh by reading what changed.
//!
//! Commits become visible in another order than their `changed_at` suggests, so each look goes back a little behind the
//! last one, and every now and then all row versions are compared: that also finds rows that were deleted.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use domain::instance::{DbMicros, Instance};
use queue::{DbClock, Upkeep};
use sqlx::MySqlPool;
use store::instances;

/// How far a look goes back behind the last one: longer than any recording transaction lasts. It reads versions only, so
/// what was seen before costs next to nothing.
const OVERLAP_MICROS: DbMicros = 5_000_000;
/// How often all row versions are compared.
const COMPARE_EVERY: Duration = Duration::from_secs(20);
/// Rows fetched by id per statement.
const FETCH_BATCH: usize = 500;

/// All instances as of the last refresh.
#[derive(Debug, Default)]
pub struct Inventory {
    rows: HashMap<u64, Row>,
    /// The database's time at the last look.
    looked_at: DbMicros,
    compared_at: Option<Instant>,
    version: u64,
    /// Rows read anew or placed anew since they were last asked for, and the clusters that rows have left.
    touched: HashSet<u64>,
    left: BTreeSet<String>,
}

#[derive(Debug)]
struct Row {
    instance: Instance,
    changed_at: DbMicros,
}

impl Inventory {
    /// The instances, in no particular order.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.rows.values().map(|row| &row.instance)
    }

    /// It has been read at least once.
    pub fn is_loaded(&self) -> bool {
        self.compared_at.is_some()
    }

    /// Grows with every refresh after which instances may stand elsewhere: another failed check moves nobody.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Mutable access for the duty that places instances: what it writes to the backend it also writes here.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Instance> {
        let instance = self.rows.get_mut(&id).map(|row| &mut row.instance)?;
        self.touched.insert(id);
        self.left.insert(instance.placement.cluster_name.clone());
        Some(instance)
    }

    /// The clusters in which anything changed since this was last asked for: facts, checks, places.
    pub fn take_touched(&mut self) -> BTreeSet<String> {
        let mut clusters = std::mem::take(&mut self.left);
        for id in self.touched.drain() {
            if let Some(row) = self.rows.get(&id) {
                clusters.insert(row.instance.placement.cluster_name.clone());
            }
        }
        clusters
    }

    /// The members of these clusters.
    pub fn members<'a>(&'a self, clusters: &BTreeSet<String>) -> HashMap<&'a str, Vec<&'a Instance>> {
        let mut members: HashMap<&str, Vec<&Instance>> = HashMap::new();
        for one in self.instances().filter(|one| clusters.contains(&one.placement.cluster_name)) {
            members.entry(&one.placement.cluster_name).or_default().push(one);
        }
        members
    }

    /// Reads what changed since the last refresh; brings along what the queue needs and the database's time.
    pub async fn refresh(&mut self, pool: &MySqlPool, clock: &DbClock) -> Result<Upkeep, store::Error> {
        let asked_at = Instant::now();
        // Before anything was read all is to be compared, and the time before it is of no interest.
        let since = if self.is_loaded() { self.looked_at - OVERLAP_MICROS } else { DbMicros::MAX };
        let look = instances::look(pool, since).await?;
        clock.observe(asked_at, Instant::now(), look.now);
        if self.compared_at.is_none_or(|at| at.elapsed() >= COMPARE_EVERY) {
            self.compare(pool).await?;
        } else {
            self.fetch(pool, &look.changed).await?;
        }
        self.looked_at = look.now;
        Ok(look.upkeep)
    }

    /// Compares all row versions, fetches what differs, drops what is gone.
    async fn compare(&mut self, pool: &MySqlPool) -> Result<(), store::Error> {
        let index = instances::index(pool).await?;
        let known: HashMap<u64, DbMicros> = index.iter().copied().collect();
        let before = self.rows.len();
        let left = &mut self.left;
        self.rows.retain(|id, row| {
            let stays = known.contains_key(id);
            if !stays {
                left.insert(row.instance.placement.cluster_name.clone());
            }
            stays
        });
        if self.rows.len() != before {
            self.version += 1;
        }
        self.fetch(pool, &index).await?;
        self.compared_at = Some(Instant::now());
        Ok(())
    }

    /// Fetches those whose version is not the one we have.
    async fn fetch(&mut self, pool: &MySqlPool, versions: &[(u64, DbMicros)]) -> Result<(), store::Error> {
        let differs = |id: &u64, at: &DbMicros| self.rows.get(id).is_none_or(|row| row.changed_at != *at);
        let differing: Vec<u64> = versions.iter().filter(|(id, at)| differs(id, at)).map(|(id, _)| *id).collect();
        for batch in differing.chunks(FETCH_BATCH) {
            for (instance, changed_at) in instances::read_ids(pool, batch).await? {
                self.put(instance, changed_at);
            }
        }
        Ok(())
    }

    fn put(&mut self, instance: Instance, changed_at: DbMicros) {
        let stays = self.rows.get(&instance.id).is_some_and(|Row { instance: old, .. }| {
            old.key == instance.key && old.facts == instance.facts && old.placement == instance.placement
        });
        if !stays {
            self.version += 1;
        }
        self.touched.insert(instance.id);
        if let Some(old) = self.rows.insert(instance.id, Row { instance, changed_at }) {
            self.left.insert(old.instance.placement.cluster_name);
        }
    }
}
