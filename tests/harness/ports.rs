//! Free loopback ports, safe against tests that run at the same time.
//!
//! Below the range the kernel hands out for outgoing connections, so that no client socket takes a port between our
//! look and the server's `bind`, or while the server is down and about to be started again. A lock file per port keeps
//! other processes of the harness away for as long as the lease lives; the kernel drops the lock with the process.

use crate::workspace;
use anyhow::{Context, Result, bail};
use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct PortLease {
    pub(crate) port: u16,
    _lock: File,
}

/// Takes a free port; processes start their search at different places.
pub(crate) fn lease_any() -> Result<PortLease> {
    static STEP: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or_default();
    for _ in 0..COUNT {
        let step = STEP.fetch_add(1, Ordering::Relaxed);
        // 7 is coprime to COUNT: every port comes up once, and neighbours in process id do not walk in step.
        let offset = (u32::from(start) * 31 + u32::from(step) * 7) % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).unwrap_or_default();
        if let Some(lease) = try_lease(port)? {
            return Ok(lease);
        }
    }
    bail!("no free port between {FIRST} and {} on 127.0.0.1", FIRST + COUNT);
}

/// Takes this very port.
pub(crate) fn lease(port: u16) -> Result<PortLease> {
    try_lease(port)?.with_context(|| format!("port {port} on 127.0.0.1 is taken"))
}

fn try_lease(port: u16) -> Result<Option<PortLease>> {
    let path = workspace::common_directory("ports")?.join(port.to_string());
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    if lock.try_lock().is_err() {
        return Ok(None);
    }
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(Some(PortLease { port, _lock: lock })),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leased_port_is_not_given_twice() {
        let first = lease_any().unwrap();
        assert!(lease(first.port).is_err());
        let port = first.port;
        drop(first);
        assert_eq!(lease(port).unwrap().port, port);
    }

    #[test]
    fn a_port_somebody_listens_on_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(lease(listener.local_addr().unwrap().port()).is_err());
    }
}
