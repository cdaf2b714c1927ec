//! What lapses by itself.

use std::time::{Duration, Instant};

use jobs::Configuration;

use crate::leader::{DutyError, Leading};

/// Active periods and blocks end by their own times, which the gates know; this only tidies up.
const TIDY_EVERY: Duration = Duration::from_secs(5);
/// Held-back recoveries are said again every second; one that was not is void.
const BLOCKED_FOR: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Housekeeping {
    tidied_at: Option<Instant>,
}

impl Housekeeping {
    pub(super) async fn keep(&mut self, leading: &Leading, config: &Configuration) -> Result<(), DutyError> {
        if self.tidied_at.is_none_or(|at| at.elapsed() >= TIDY_EVERY) {
            self.tidied_at = Some(Instant::now());
            self.tidy(leading, config).await?;
        }
        Ok(())
    }

    async fn tidy(&mut self, leading: &Leading, config: &Configuration) -> Result<(), DutyError> {
        let settings = &config.settings;
        let block = Duration::from_secs(settings.recovery.recovery_period_block_seconds);
        let detections =
            Duration::from_secs(settings.detection.failure_detection_period_block_minutes.saturating_mul(60));
        let mut transaction = leading.fenced().await?;
        store::recoveries::close_orphans(&mut transaction).await?;
        store::recoveries::end_active_periods(&mut transaction, block).await?;
        store::recoveries::expire_blocked(&mut transaction, BLOCKED_FOR).await?;
        store::detections::release_older(&mut transaction, detections).await?;
        transaction.commit().await?;
        Ok(())
    }
}
