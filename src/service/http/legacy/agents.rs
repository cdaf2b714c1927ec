//! Agents on database hosts: not served, and saying so in the words clients match.

use std::future::ready;

use super::call::Answer;
use super::{Access, Route};
use crate::actions::Error;

macro_rules! agents {
    ($($pattern:literal),* $(,)?) => {
        &[$(Route { pattern: $pattern, access: Access::GuardedRead, run: |_| Box::pin(ready(not_served())) }),*]
    };
}

/// All of them need the write check in the original, also where they read.
pub(super) const ROUTES: &[Route] = agents![
    "agents",
    "agent/:host",
    "agent-umount/:host",
    "agent-mount/:host",
    "agent-create-snapshot/:host",
    "agent-removelv/:host",
    "agent-mysql-stop/:host",
    "agent-mysql-start/:host",
    "agent-seed/:targetHost/:sourceHost",
    "agent-active-seeds/:host",
    "agent-recent-seeds/:host",
    "agent-seed-details/:seedId",
    "agent-seed-states/:seedId",
    "agent-abort-seed/:seedId",
    "agent-custom-command/:host/:command",
    "seeds",
];

fn not_served() -> Answer {
    Err(Error::NotPossible("Agents not served".to_owned()))
}
