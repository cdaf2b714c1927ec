//! Host names: what they resolve to, and what replicas should call a host instead.

use std::time::Duration;

use api::legacy::{ResolveCache, ResolveEntry};
use domain::instance::InstanceKey;
use tokio::net::TcpStream;

use super::{Error, Record, Scope, names};

/// Time for the TCP check of [`resolve`], the lookup of the name included: a person waits.
const TCP_DEADLINE: Duration = Duration::from_secs(1);
/// Longest registered virtual name.
const MAX_NAME: usize = 255;

/// Resolves a key and checks that something listens there, from where this runs, as the original did: scripts ask it whether
/// this host reaches that one. The only connection to a managed server outside of jobs; nothing is said on it.
pub async fn resolve(scope: &Scope, key: InstanceKey) -> Result<InstanceKey, Error> {
    let resolved = names::understand(scope, key).await?;
    let connect = TcpStream::connect((resolved.hostname.as_str(), resolved.port));
    match tokio::time::timeout(TCP_DEADLINE, connect).await {
        Ok(Ok(_)) => Ok(resolved),
        Ok(Err(error)) => Err(Error::NotPossible(format!("cannot connect to {resolved}: {error}"))),
        Err(_) => {
            let seconds = TCP_DEADLINE.as_secs();
            Err(Error::NotPossible(format!("cannot connect to {resolved}: no answer within {seconds} s")))
        }
    }
}

/// Recorded mappings, by the name asked.
pub async fn cache(scope: &Scope) -> Result<ResolveCache, Error> {
    let minutes = scope.config.settings.hostnames.expiry_hostname_resolves_minutes;
    let lifetime_micros = i64::try_from(minutes.saturating_mul(60_000_000)).unwrap_or(i64::MAX);
    let entries = store::hostnames::all_resolved(&scope.pool).await?;
    let entry = |one: store::hostnames::Resolved| {
        let expiration = one.resolved_at.saturating_add(lifetime_micros).saturating_mul(1_000);
        (one.hostname, ResolveEntry { object: one.resolved, expiration })
    };
    Ok(entries.into_iter().map(entry).collect())
}

/// Forgets all recorded mappings; probes and workers learn them anew.
pub async fn reset(scope: &Scope) -> Result<u64, Error> {
    let mut tx = scope.begin().await?;
    let forgotten = store::hostnames::reset(&mut tx).await?;
    let message = format!("{forgotten} names");
    let record = Record { kind: "reset-hostname-resolve-cache", message: &message, ..Record::default() };
    scope.commit_as(tx, &record).await?;
    Ok(forgotten)
}

/// Registers the name by which replicas should reach an instance's host; an empty name deregisters.
pub async fn register_unresolve(scope: &Scope, key: &InstanceKey, virtual_name: &str) -> Result<(), Error> {
    let name = virtual_name.trim();
    if name.is_empty() {
        return deregister_unresolve(scope, key).await;
    }
    if name.len() > MAX_NAME || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Error::Invalid("the virtual name is no host name".to_owned()));
    }
    let mut tx = scope.begin().await?;
    store::hostnames::register_unresolve(&mut tx, &key.hostname, name).await?;
    let record = Record { kind: "register-hostname-unresolve", key: Some(key), message: name, ..Record::default() };
    scope.commit_as(tx, &record).await
}

/// Removes that registration.
pub async fn deregister_unresolve(scope: &Scope, key: &InstanceKey) -> Result<(), Error> {
    let mut tx = scope.begin().await?;
    store::hostnames::deregister_unresolve(&mut tx, &key.hostname).await?;
    let record = Record { kind: "deregister-hostname-unresolve", key: Some(key), ..Record::default() };
    scope.commit_as(tx, &record).await
}
