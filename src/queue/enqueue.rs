//! Putting jobs into the queue, inside the caller's transaction.
//!
//! Unique keys. At most one waiting (ready or scheduled) job has a given key; an equal submission joins it and gets its id. The
//! joined row stays locked until the caller commits, and claims skip locked rows: so the job runs after that commit and
//! sees what the caller wrote, exactly as a new one would.
//! - Joining a delayed job brings it forward to the earlier time; joining a retry does not, so that a scheduler which
//!   submits the same key every tick cannot defeat the backoff.
//! - Two enqueuers at once: both insert, one waits for the other and finds its row (`ON DUPLICATE KEY UPDATE`), no error.
//! - A delayed and an immediate job enqueued at the same moment may both wait: the first to become ready absorbs the other.
//! - Row locks are taken by primary key, as the claim takes them; an insert touches a foreign row only when another enqueuer
//!   came between look-up and insert. The deadlock that remains possible then is a conflict to retry: see [`submit`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::{Connection, MySql, MySqlPool, QueryBuilder, Row};

use crate::sql::{bind_ids, micros, text};
use crate::{Error, NewJob};

/// Jobs per statement: 500 rows of some hundred bytes stay far below `max_allowed_packet`.
const BATCH: usize = 500;
/// Ids per row of `job_sequence`; at least [`BATCH`].
const IDS_PER_BLOCK: u64 = 1000;
/// Tries of [`submit`] when the backend reports a conflict. Each conflict means that somebody else has succeeded, so many are
/// only needed by many enqueuers of the same keys at one moment.
const SUBMIT_TRIES: u32 = 50;
/// Longest random pause per try already made, so that those in conflict do not meet again.
const SUBMIT_PAUSE_MS: u64 = 2;

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    New(u64),
    /// An equal job was waiting; this submission joined it.
    AlreadyWaiting(u64),
}

impl Enqueued {
    /// The id to watch, either way.
    pub fn id(self) -> u64 {
        match self {
            Enqueued::New(id) | Enqueued::AlreadyWaiting(id) => id,
        }
    }

    pub fn is_new(self) -> bool {
        matches!(self, Enqueued::New(_))
    }
}

/// Enqueues inside the caller's transaction; the answers are in the order of `jobs`. A batch without keys costs two statements,
/// one with keys three, more only for what waits already. Works under READ COMMITTED (see [`crate::session_setup`]).
pub async fn enqueue(conn: &mut MySqlConnection, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
    let mut answers = Vec::with_capacity(jobs.len());
    for batch in jobs.chunks(BATCH) {
        answers.extend(enqueue_batch(conn, batch).await.map_err(Error::backend("enqueue jobs"))?);
    }
    Ok(answers)
}

/// Enqueues in a transaction of its own and tries again on a conflict with other enqueuers.
pub async fn submit(pool: &MySqlPool, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
    let mut conn = pool.acquire().await.map_err(Error::backend("reach the backend to submit jobs"))?;
    let mut tries = 0;
    loop {
        tries += 1;
        let mut tx = conn.begin().await.map_err(Error::backend("begin submitting jobs"))?;
        let result = match enqueue(&mut tx, jobs).await {
            Ok(answers) => tx.commit().await.map(|()| answers).map_err(Error::backend("commit submitted jobs")),
            Err(error) => {
                // The server has already ended a transaction it chose as deadlock victim.
                tx.rollback().await.ok();
                Err(error)
            }
        };
        match result {
            Err(error) if error.is_conflict() && tries < SUBMIT_TRIES => {
                tracing::debug!(tries, "submitting jobs met a conflict, trying again");
                let pause = rand::random_range(0..=SUBMIT_PAUSE_MS * u64::from(tries));
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            other => return other,
        }
    }
}

/// For one who enqueues a little all the time, such as a scheduler: an insert, where [`enqueue`] takes three statements.
///
/// - It takes its ids from a block that serves many batches.
/// - It does not look first for what waits: it joins that all the same, but only among the ready; and when a claim comes
///   between, the server may see a deadlock: a conflict to retry.
#[derive(Debug, Default)]
pub struct Enqueuer {
    ids: Range<u64>,
    /// What the batches of the current transaction left of theirs. Until the commit a block may be given to others.
    uncommitted: Range<u64>,
}

impl Enqueuer {
    /// Enqueues in the caller's transaction; call [`Enqueuer::committed`] when it is.
    pub async fn enqueue(&mut self, conn: &mut MySqlConnection, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        let mut answers = Vec::with_capacity(jobs.len());
        let mut ids = std::mem::take(&mut self.ids);
        for batch in jobs.chunks(BATCH) {
            answers.extend(insert_batch(conn, &mut ids, batch).await.map_err(Error::backend("enqueue jobs"))?);
        }
        self.uncommitted = ids;
        Ok(answers)
    }

    /// The transaction of the last batch was committed.
    pub fn committed(&mut self) {
        self.ids = std::mem::take(&mut self.uncommitted);
    }
}

async fn insert_batch(
    conn: &mut MySqlConnection,
    ids: &mut Range<u64>,
    jobs: &[NewJob],
) -> sqlx::Result<Vec<Enqueued>> {
    let mut answers = vec![None; jobs.len()];
    let first_of = first_of(jobs);
    let fresh = fresh(jobs, &first_of, &answers);
    if ids.end - ids.start < fresh.len() as u64 {
        *ids = reserve(conn).await?;
    }
    let from = ids.start;
    ids.start += fresh.len() as u64;
    insert(conn, jobs, from, &fresh, &mut answers).await?;
    Ok(complete(jobs, &first_of, &answers))
}

async fn enqueue_batch(conn: &mut MySqlConnection, jobs: &[NewJob]) -> sqlx::Result<Vec<Enqueued>> {
    let mut answers: Vec<Option<Enqueued>> = vec![None; jobs.len()];
    let first_of = first_of(jobs);
    join_waiting(conn, jobs, &first_of, &mut answers).await?;
    let fresh = fresh(jobs, &first_of, &answers);
    if !fresh.is_empty() {
        let from = reserve(conn).await?.start;
        insert(conn, jobs, from, &fresh, &mut answers).await?;
    }
    Ok(complete(jobs, &first_of, &answers))
}

/// Ids that nobody else gets.
async fn reserve(conn: &mut MySqlConnection) -> sqlx::Result<Range<u64>> {
    let block = sqlx::query("INSERT INTO job_sequence () VALUES ()").execute(conn).await?.last_insert_id();
    Ok(block * IDS_PER_BLOCK..(block + 1) * IDS_PER_BLOCK)
}

/// Within a batch the first of several equal jobs stands for all.
fn first_of(jobs: &[NewJob]) -> BTreeMap<&str, usize> {
    let mut first_of: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, job) in jobs.iter().enumerate() {
        if let Some(key) = &job.unique_key {
            first_of.entry(key).or_insert(index);
        }
    }
    first_of
}

/// What is to be inserted, sorted by key: enqueuers of overlapping batches then wait for each other in one direction.
fn fresh(jobs: &[NewJob], first_of: &BTreeMap<&str, usize>, answers: &[Option<Enqueued>]) -> Vec<usize> {
    let mut fresh: Vec<usize> = (0..jobs.len())
        .filter(|index| match &jobs[*index].unique_key {
            Some(key) => answers[*index].is_none() && first_of[key.as_str()] == *index,
            None => true,
        })
        .collect();
    fresh.sort_by(|a, b| jobs[*a].unique_key.cmp(&jobs[*b].unique_key).then(a.cmp(b)));
    fresh
}

/// An answer for each job: equal ones share theirs.
fn complete(jobs: &[NewJob], first_of: &BTreeMap<&str, usize>, answers: &[Option<Enqueued>]) -> Vec<Enqueued> {
    jobs.iter()
        .zip(answers)
        .map(|(job, answer)| match (answer, &job.unique_key) {
            (Some(answer), _) => *answer,
            (None, Some(key)) => {
                let first = answers[first_of[key.as_str()]].map_or(0, Enqueued::id);
                Enqueued::AlreadyWaiting(first)
            }
            (None, None) => unreachable!("every job without a key was inserted above"),
        })
        .collect()
}

/// Joins what waits already: locks the rows by id and looks whether they are still there.
async fn join_waiting(
    conn: &mut MySqlConnection,
    jobs: &[NewJob],
    first_of: &BTreeMap<&str, usize>,
    answers: &mut [Option<Enqueued>],
) -> sqlx::Result<()> {
    if first_of.is_empty() {
        return Ok(());
    }
    let wanted: HashMap<&str, bool> = jobs.iter().fold(HashMap::new(), |mut wanted, job| {
        if let Some(key) = &job.unique_key {
            *wanted.entry(key.as_str()).or_default() |= job.wants_outcome;
        }
        wanted
    });
    for (table, found) in
        [("job_ready", true), ("job_scheduled", false)].into_iter().zip(look_up(conn, first_of).await?)
    {
        let ((table, is_ready), found) = (table, found);
        // One statement per distinct (delay, wish): one in practice.
        let mut groups: BTreeMap<(Duration, bool), BTreeMap<u64, usize>> = BTreeMap::new();
        for (key, id) in &found {
            let Some(&index) = first_of.get(key.as_str()) else { continue };
            if answers[index].is_none() {
                let delay = if is_ready { Duration::ZERO } else { jobs[index].delay };
                groups.entry((delay, wanted[key.as_str()])).or_default().insert(*id, index);
            }
        }
        for ((delay, wants), rows) in groups {
            let ids: Vec<u64> = rows.keys().copied().collect();
            for id in join_rows(conn, table, &ids, wants, delay).await? {
                answers[rows[&id]] = Some(Enqueued::AlreadyWaiting(id));
            }
        }
    }
    Ok(())
}

/// Keys that wait, with their ids: in `job_ready`, in `job_scheduled`.
async fn look_up(conn: &mut MySqlConnection, keys: &BTreeMap<&str, usize>) -> sqlx::Result<[Vec<(String, u64)>; 2]> {
    let mut query =
        QueryBuilder::<MySql>::new("SELECT id, unique_key, 0 AS scheduled FROM job_ready WHERE unique_key IN (");
    bind_keys(&mut query, keys.keys().copied());
    query.push(") UNION ALL SELECT id, unique_key, 1 FROM job_scheduled WHERE unique_key IN (");
    bind_keys(&mut query, keys.keys().copied());
    query.push(")");
    let mut found = [Vec::new(), Vec::new()];
    for row in query.build().fetch_all(conn).await? {
        let scheduled: i64 = row.try_get("scheduled")?;
        found[usize::from(scheduled == 1)].push((text(&row, "unique_key")?, row.try_get("id")?));
    }
    Ok(found)
}

/// Counts a submission on each of these waiting rows and keeps them locked; returns the ones that still wait.
async fn join_rows(
    conn: &mut MySqlConnection,
    table: &'static str,
    ids: &[u64],
    wants_outcome: bool,
    delay: Duration,
) -> sqlx::Result<Vec<u64>> {
    let mut update = QueryBuilder::<MySql>::new("UPDATE ");
    update.push(table).push(" SET merges = merges + 1, wants_outcome = wants_outcome OR ").push_bind(wants_outcome);
    if table == "job_scheduled" {
        update.push(", run_at = IF(attempts = 0, LEAST(run_at, NOW(6) + INTERVAL ").push_bind(micros(delay));
        update.push(" MICROSECOND), run_at)");
    }
    update.push(" WHERE id IN (");
    bind_ids(&mut update, ids);
    update.push(")");
    let joined = update.build().execute(&mut *conn).await?.rows_affected();
    if joined == ids.len() as u64 {
        return Ok(ids.to_vec());
    }
    let mut query = QueryBuilder::<MySql>::new("SELECT id FROM ");
    query.push(table).push(" WHERE id IN (");
    bind_ids(&mut query, ids);
    query.push(") FOR UPDATE");
    query.build().fetch_all(conn).await?.iter().map(|row| row.try_get("id")).collect()
}

/// Inserts `fresh`, with ids from `from` on, and finds out whose place was taken.
async fn insert(
    conn: &mut MySqlConnection,
    jobs: &[NewJob],
    from: u64,
    fresh: &[usize],
    answers: &mut [Option<Enqueued>],
) -> sqlx::Result<()> {
    let numbered = |delayed: bool| -> Vec<(u64, usize)> {
        (from..)
            .zip(fresh)
            .filter(|(_, index)| jobs[**index].is_delayed() == delayed)
            .map(|(id, index)| (id, *index))
            .collect()
    };
    for (table, time, rows) in [("job_ready", "ready_at", numbered(false)), ("job_scheduled", "run_at", numbered(true))]
    {
        if rows.is_empty() {
            continue;
        }
        // A joined row counts twice in the affected rows because `merges` always changes.
        let affected = insert_rows(conn, table, time, jobs, &rows).await?;
        let taken =
            if affected == rows.len() as u64 { HashMap::new() } else { holders(conn, table, jobs, &rows).await? };
        for (id, index) in rows {
            let holder = jobs[index].unique_key.as_ref().and_then(|key| taken.get(key)).copied();
            answers[index] = Some(match holder {
                Some(other) if other != id => Enqueued::AlreadyWaiting(other),
                _ => Enqueued::New(id),
            });
        }
    }
    Ok(())
}

async fn insert_rows(
    conn: &mut MySqlConnection,
    table: &str,
    time: &str,
    jobs: &[NewJob],
    rows: &[(u64, usize)],
) -> sqlx::Result<u64> {
    let mut query = QueryBuilder::<MySql>::new("INSERT INTO ");
    query.push(table).push(
        " (id, kind, lane, priority, unique_key, worker_hint, hint_until, payload, max_attempts, timeout_ms, wants_outcome, \
         submitted_by, submitted_at, enqueued_term, ",
    );
    query.push(time).push(") ");
    query.push_values(rows, |mut row, (id, index)| {
        let job = &jobs[*index];
        let (hint, patience) =
            job.hint.as_ref().map_or(("", None), |(token, patience)| (token.as_str(), Some(*patience)));
        row.push_bind(*id).push_bind(job.kind).push_bind(job.lane.to_string()).push_bind(job.priority);
        row.push_bind(job.unique_key.as_deref()).push_bind(hint);
        row.push("NOW(6) + INTERVAL ").push_bind_unseparated(patience.map(|patience| micros(job.delay + patience)));
        row.push_unseparated(" MICROSECOND");
        row.push_bind(job.payload.as_str()).push_bind(job.max_attempts).push_bind(job.timeout_ms);
        row.push_bind(job.wants_outcome).push_bind(job.submitted_by.as_str());
        row.push("NOW(6)").push_bind(job.term);
        row.push("NOW(6) + INTERVAL ").push_bind_unseparated(micros(job.delay)).push_unseparated(" MICROSECOND");
    });
    query.push(" ON DUPLICATE KEY UPDATE merges = ").push(table).push(".merges + 1, wants_outcome = ");
    query.push(table).push(".wants_outcome OR VALUES(wants_outcome)");
    Ok(query.build().execute(conn).await?.rows_affected())
}

/// Who holds the keys of these rows now. A locking read, so that it sees what was committed meanwhile under any isolation.
async fn holders(
    conn: &mut MySqlConnection,
    table: &str,
    jobs: &[NewJob],
    rows: &[(u64, usize)],
) -> sqlx::Result<HashMap<String, u64>> {
    let keys: BTreeSet<&str> = rows.iter().filter_map(|(_, index)| jobs[*index].unique_key.as_deref()).collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let mut query = QueryBuilder::<MySql>::new("SELECT id, unique_key FROM ");
    query.push(table).push(" WHERE unique_key IN (");
    bind_keys(&mut query, keys.into_iter());
    query.push(") FOR UPDATE");
    query.build().fetch_all(conn).await?.iter().map(|row| Ok((text(row, "unique_key")?, row.try_get("id")?))).collect()
}

fn bind_keys<'a>(query: &mut QueryBuilder<'_, MySql>, keys: impl Iterator<Item = &'a str>) {
    let mut list = query.separated(", ");
    for key in keys {
        list.push_bind(key.to_owned());
    }
}
