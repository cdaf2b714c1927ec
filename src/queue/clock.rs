//! The database's clock, estimated without asking it every time.
//!
//! Time compared between processes is the database's. Each reading of `NOW(6)` gives an offset between that clock and our
//! monotonic one; the reading with the shortest round trip in the last minute is the best one, because the true moment lies
//! somewhere within the round trip.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A short round trip stops counting after this time: clocks drift, and a backend fail-over changes them.
const READING_LIFE: Duration = Duration::from_secs(60);
/// Within this time after any reading nobody need ask: drift is microseconds, and a changed clock shows at the next one.
const HEARD_LATELY: Duration = Duration::from_secs(5);

/// Estimates the database's time. Share it in an `Arc`.
#[derive(Debug)]
pub struct DbClock {
    started: Instant,
    reading: Mutex<Option<Reading>>,
    heard_at: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    /// Middle of the round trip.
    at: Instant,
    db_micros: i64,
    round_trip: Duration,
}

impl DbClock {
    pub fn new() -> Self {
        Self { started: Instant::now(), reading: Mutex::default(), heard_at: Mutex::default() }
    }

    /// Takes in an answer to `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', NOW(6))`.
    pub fn observe(&self, asked_at: Instant, answered_at: Instant, db_micros: i64) {
        let round_trip = answered_at.saturating_duration_since(asked_at);
        let fresh = Reading { at: asked_at + round_trip / 2, db_micros, round_trip };
        *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(answered_at);
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = reading.is_some_and(|old| {
            let apart = project(old, fresh.at).abs_diff(db_micros);
            old.round_trip < round_trip
                && answered_at.saturating_duration_since(old.at) < READING_LIFE
                // A jump beyond what the round trips explain is a changed clock, not noise.
                && u128::from(apart) <= (old.round_trip + round_trip).as_micros()
        });
        if !keep {
            *reading = Some(fresh);
        }
    }

    /// Microseconds since 1970 on the database's clock. Before the first reading: microseconds since this clock was made, which is
    /// in the past of anything stored.
    pub fn now_micros(&self) -> i64 {
        self.at(Instant::now())
    }

    /// The database's time at a moment of our monotonic clock.
    pub fn at(&self, moment: Instant) -> i64 {
        match *self.reading.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(reading) => project(reading, moment),
            None => to_micros(moment.saturating_duration_since(self.started)),
        }
    }

    /// Whether the database has been heard at all.
    pub fn is_set(&self) -> bool {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The database's time, asked for unless something else brought it lately, as a worker's heartbeats do.
    pub async fn ask(&self, conn: &mut sqlx::MySqlConnection) -> Result<i64, crate::Error> {
        let asked_at = Instant::now();
        if self.heard_lately(asked_at) {
            return Ok(self.at(asked_at));
        }
        let micros: i64 = sqlx::query_scalar("SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', NOW(6))")
            .fetch_one(conn)
            .await
            .map_err(crate::Error::backend("read the backend's clock"))?;
        self.observe(asked_at, Instant::now(), micros);
        Ok(micros)
    }

    fn heard_lately(&self, now: Instant) -> bool {
        let heard_at = *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner);
        heard_at.is_some_and(|at| now.saturating_duration_since(at) < HEARD_LATELY)
    }
}

impl Default for DbClock {
    fn default() -> Self {
        Self::new()
    }
}

fn project(reading: Reading, moment: Instant) -> i64 {
    match moment.checked_duration_since(reading.at) {
        Some(later) => reading.db_micros.saturating_add(to_micros(later)),
        None => reading.db_micros.saturating_sub(to_micros(reading.at.duration_since(moment))),
    }
}

fn to_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_short_round_trip_is_believed_over_a_long_one_until_it_is_old() {
        let (clock, start) = (DbClock::new(), Instant::now());
        clock.observe(start, start + 2 * MS, 1_000_000);
        assert_eq!(clock.at(start + MS), 1_000_000);
        // A slow answer that disagrees within its round trip changes nothing.
        clock.observe(start + 10 * MS, start + 110 * MS, 1_050_000);
        assert_eq!(clock.at(start + 11 * MS), 1_010_000);
        // A minute later it is all we have.
        clock.observe(start + 70_000 * MS, start + 70_100 * MS, 71_000_000);
        assert_eq!(clock.at(start + 70_050 * MS), 71_000_000);
    }

    #[test]
    fn whoever_heard_the_clock_lately_need_not_ask() {
        let (clock, start) = (DbClock::new(), Instant::now());
        assert!(!clock.heard_lately(start));
        clock.observe(start, start + MS, 1_000_000);
        assert!(clock.heard_lately(start + 4_000 * MS) && !clock.heard_lately(start + 5_001 * MS));
        // A worse reading is not believed, but heard all the same.
        clock.observe(start + 5_000 * MS, start + 5_100 * MS, 6_050_000);
        assert!(clock.heard_lately(start + 6_000 * MS));
    }

    #[test]
    fn a_jump_of_the_database_clock_is_followed_at_once() {
        let (clock, start) = (DbClock::new(), Instant::now());
        clock.observe(start, start + MS, 1_000_000);
        clock.observe(start + 10 * MS, start + 20 * MS, 9_000_000);
        assert_eq!(clock.at(start + 15 * MS), 9_000_000);
    }
}
