//! This process in the registry of nodes.

use std::sync::Arc;
use std::time::Duration;

use rand::RngCore;
use tokio_util::sync::CancellationToken;

use crate::Handles;
use crate::outage::Reporter;

/// Who a process is. The token is new at each start: two processes with one name are still two nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// 64 hex digits.
    pub token: String,
    /// `NodeName`, else host name and process id.
    pub name: String,
    /// Host name of the machine.
    pub hostname: String,
    /// `service`, `worker`, `service+worker` or `cli`.
    pub role: &'static str,
    /// Datacenters whose lanes its worker serves; empty: all, or no worker.
    pub datacenters: Vec<String>,
    /// Where its HTTP API listens; empty: none.
    pub address: String,
    /// Program version.
    pub version: &'static str,
}

impl Identity {
    /// A new identity with a random token.
    pub fn new(hostname: String, name: &str, role: &'static str) -> Self {
        let mut bytes = [0_u8; 32];
        rand::rng().fill_bytes(&mut bytes);
        let token = bytes.iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"));
        let name = if name.is_empty() { format!("{hostname}:{}", std::process::id()) } else { name.to_owned() };
        Self {
            token,
            name,
            hostname,
            role,
            datacenters: Vec::new(),
            address: String::new(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// Reports this process to the registry until `shutdown`, then takes it out. `load` gives its load as JSON.
pub async fn heartbeat(handles: Arc<Handles>, load: impl Fn() -> String + Send, shutdown: CancellationToken) {
    let mut reporter = Reporter::new("node heartbeat");
    loop {
        match store::nodes::heartbeat(&handles.pool, &row(&handles.identity, load())).await {
            Ok(()) => reporter.worked(),
            Err(error) => reporter.failed(&crate::chain(&error)),
        }
        let every = Duration::from_secs(handles.config.get().settings.worker.node_heartbeat_seconds.max(1));
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(every) => {}
        }
    }
    if let Err(error) = store::nodes::leave(&handles.pool, &handles.identity.token).await {
        tracing::debug!(error = %error, "could not take this node out of the registry; it ages out");
    }
}

fn row(identity: &Identity, load: String) -> store::nodes::Registration {
    store::nodes::Registration {
        token: identity.token.clone(),
        name: identity.name.clone(),
        role: identity.role.to_owned(),
        datacenters: identity.datacenters.clone(),
        version: identity.version.to_owned(),
        address: identity.address.clone(),
        pid: u64::from(std::process::id()),
        load,
    }
}
