//! A wake-up between parts of one process: what would be found at the next regular look is found now.
//!
//! Never a way to hand anything over: whoever hears the bell looks at the backend, and finds what is to be done there. So a
//! ring too many, or one that nobody hears, does no harm.

use std::sync::Arc;

use tokio::sync::Notify;

/// A bell; clones ring the same one. Several rings before somebody listens count as one.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// Wakes who listens, or whoever listens next. Made for one listener.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Returns when the bell was rung since it was last listened to.
    pub async fn rung(&self) {
        self.0.notified().await;
    }
}
