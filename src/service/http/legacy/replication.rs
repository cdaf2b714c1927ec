//! May one server replicate from another?

use api::legacy::Key;

use super::call::{Answer, Call};
use super::{Route, route};
use crate::actions::{Error, replication};

pub(super) const ROUTES: &[Route] = &[
    route!(Read, "can-replicate-from/:host/:port/:belowHost/:belowPort", can_replicate),
    route!(Read, "can-replicate-from-gtid/:host/:port/:belowHost/:belowPort", can_replicate_by_gtid),
];

async fn can_replicate(call: Call) -> Answer {
    let (own, below) = (call.key().await?, call.below_key().await?);
    match replication::can_replicate_from(&call.scope, &own, &below).await? {
        None => call.envelope("true", Key::from(&below)),
        Some(reason) => Err(Error::NotPossible(reason)),
    }
}

async fn can_replicate_by_gtid(call: Call) -> Answer {
    let (own, below) = (call.key().await?, call.below_key().await?);
    match replication::can_replicate_from_gtid(&call.scope, &own, &below).await? {
        None => call.envelope("true", Key::from(&below)),
        Some(reason) => Err(Error::NotPossible(reason)),
    }
}
