//! Who leads, who led, and taking the lead by hand.

use std::time::Duration;

use store::leases::{self, Lease, Taken, Term};

use super::{Error, Record, Scope};

/// The lease as it stands.
pub async fn current(scope: &Scope) -> Result<Lease, Error> {
    Ok(leases::current(&scope.pool).await?)
}

/// The newest terms, newest first.
pub async fn history(scope: &Scope, limit: u32) -> Result<Vec<Term>, Error> {
    Ok(leases::history(&scope.pool, limit.min(1_000)).await?)
}

/// Ends the current term, whoever holds it: the services elect again. `false`: nobody led.
pub async fn reelect(scope: &Scope) -> Result<bool, Error> {
    let mut conn = scope.connection().await?;
    let lease = leases::current(&scope.pool).await?;
    if !lease.is_live || lease.holder.is_empty() {
        return Ok(false);
    }
    match leases::release(&mut *scope.pool.acquire().await.map_err(Error::unreachable)?, &lease.holder, lease.term)
        .await
    {
        Ok(()) => {}
        // It ended between the two statements: what was asked for has happened.
        Err(store::Error::NotLeader { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let message = format!("ended term {}", lease.term);
    scope.record(&mut conn, &Record { kind: "reelect", message: &message, ..Record::default() }).await?;
    Ok(true)
}

/// Takes the lease for a node, whoever holds it. That node's own election finds it and leads; the former leader learns
/// at its next renewal or act.
pub async fn grab(scope: &Scope, token: &str, name: &str, ttl: Duration) -> Result<u64, Error> {
    let mut conn = scope.connection().await?;
    match leases::take_by_force(&scope.pool, token, name, ttl).await? {
        Taken::Won { term } => {
            let message = format!("{name} took term {term}");
            scope.record(&mut conn, &Record { kind: "grab-election", message: &message, ..Record::default() }).await?;
            Ok(term)
        }
        Taken::Held(lease) => Err(Error::Refused {
            what: "the lease".to_owned(),
            holder: lease.holder,
            reason: format!("term {}", lease.term),
        }),
    }
}
