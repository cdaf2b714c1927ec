//! The leader's copy of all instances, kept fresh by reading what changed.
//!
//! Commits become visible in another order than their `changed_at` suggests, so each read goes back a little behind the
//! last one, and every now and then all row versions are compared: that also finds rows that were deleted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use domain::instance::{DbMicros, Instance};
use sqlx::MySqlPool;
use store::instances;

/// How far a delta read goes back behind the newest change seen: longer than any recording transaction lasts.
const OVERLAP_MICROS: DbMicros = 2_000_000;
/// How often all row versions are compared.
const COMPARE_EVERY: Duration = Duration::from_secs(20);
/// Rows fetched by id per statement when the comparison finds differences.
const FETCH_BATCH: usize = 500;

/// All instances as of the last refresh.
#[derive(Debug, Default)]
pub struct Inventory {
    rows: HashMap<u64, Row>,
    newest: DbMicros,
    compared_at: Option<Instant>,
    version: u64,
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

    /// Grows with every refresh that changed something.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Mutable access for the duty that places instances: what it writes to the backend it also writes here.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Instance> {
        self.rows.get_mut(&id).map(|row| &mut row.instance)
    }

    /// Reads what changed since the last refresh.
    pub async fn refresh(&mut self, pool: &MySqlPool) -> Result<(), store::Error> {
        if self.compared_at.is_none_or(|at| at.elapsed() >= COMPARE_EVERY) {
            return self.compare(pool).await;
        }
        for (instance, changed_at) in instances::delta(pool, self.newest - OVERLAP_MICROS).await? {
            self.put(instance, changed_at);
        }
        Ok(())
    }

    /// Compares all row versions, fetches what differs, drops what is gone.
    async fn compare(&mut self, pool: &MySqlPool) -> Result<(), store::Error> {
        let index = instances::index(pool).await?;
        let known: HashMap<u64, DbMicros> = index.iter().copied().collect();
        let before = self.rows.len();
        self.rows.retain(|id, _| known.contains_key(id));
        if self.rows.len() != before {
            self.version += 1;
        }
        let differing: Vec<u64> = index
            .iter()
            .filter(|(id, changed_at)| self.rows.get(id).is_none_or(|row| row.changed_at != *changed_at))
            .map(|(id, _)| *id)
            .collect();
        for batch in differing.chunks(FETCH_BATCH) {
            for (instance, changed_at) in instances::read_ids(pool, batch).await? {
                self.put(instance, changed_at);
            }
        }
        self.compared_at = Some(Instant::now());
        Ok(())
    }

    fn put(&mut self, instance: Instance, changed_at: DbMicros) {
        self.newest = self.newest.max(changed_at);
        let seen = self.rows.get(&instance.id).is_some_and(|row| row.changed_at == changed_at);
        if !seen {
            self.version += 1;
            self.rows.insert(instance.id, Row { instance, changed_at });
        }
    }
}
