//! What became of an order that was not carried out, by what the caller knows afterwards.

use domain::instance::InstanceKey;

/// An order that did not succeed. The texts are for people and contain no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// No connection could be had in time: nothing was sent.
    #[error("cannot reach {key}: {reason}")]
    Unreachable { key: InstanceKey, reason: String },
    /// This server cannot be told that (its flavor, a missing plugin, a name no statement can hold): nothing was changed.
    #[error("{key}: {reason}")]
    Unsuitable { key: InstanceKey, reason: String },
    /// The server answered with an error. Of several statements, those before the refused one have taken effect.
    #[error("{key} refused: error {number}: {reason}")]
    Refused {
        key: InstanceKey,
        /// What the servers' error references list.
        number: u16,
        /// The server's words, and the statement.
        reason: String,
    },
    /// Sent, and not answered: it may have happened, or may still happen. Of several statements, those before have.
    #[error("{key} did not answer: {reason}")]
    Unknown { key: InstanceKey, reason: String },
}

impl ApplyError {
    /// The server concerned: the one to be changed, or another one that was only read.
    pub fn key(&self) -> &InstanceKey {
        match self {
            Self::Unreachable { key, .. }
            | Self::Unsuitable { key, .. }
            | Self::Refused { key, .. }
            | Self::Unknown { key, .. } => key,
        }
    }

    /// With something more the reader has to know.
    pub(super) fn with(mut self, more: &str) -> Self {
        let (Self::Unreachable { reason, .. }
        | Self::Unsuitable { reason, .. }
        | Self::Refused { reason, .. }
        | Self::Unknown { reason, .. }) = &mut self;
        *reason = format!("{reason}; {more}");
        self
    }
}
