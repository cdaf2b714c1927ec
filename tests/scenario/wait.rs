//! Waiting for a condition, with a deadline, never for a duration.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until `look` gives something; fails after `limit`, naming what was waited for.
pub async fn until<T, F>(what: &str, limit: Duration, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let begun = Instant::now();
    let mut last = None;
    while begun.elapsed() < limit {
        match look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    match last {
        Some(error) => Err(error.context(format!("{what}: not within {limit:?}; the last look failed"))),
        None => bail!("{what}: not within {limit:?}"),
    }
}
