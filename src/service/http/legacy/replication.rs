//! May one server replicate from another?

use api::legacy::Key;

use super::call::{Answer, Call};
use super::{Access, Route};
use crate::actions::{Error, replication};

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "can-replicate-from/:host/:port/:belowHost/:belowPort",
        access: Access::Read,
        run: |call| Box::pin(can_replicate(call)),
    },
    Route {
        pattern: "can-replicate-from-gtid/:host/:port/:belowHost/:belowPort",
        access: Access::Read,
        run: |call| Box::pin(can_replicate_by_gtid(call)),
    },
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
