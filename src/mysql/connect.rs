//! Opening one connection to a managed server: name, TCP, TLS, login, within one deadline.
//!
//! Mixed TLS: we first ask without TLS; a server that answers 3159 (TLS demanded) or 1045 (an account may demand it) is
//! asked once more with TLS. Only success with TLS is worth remembering: a refused connection says nothing about TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::instance::{FailureKind, InstanceKey, ProbeFailure};
use rustls::ClientConfig;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::{self, Stage, failure};
use crate::settings::{ConnectSettings, TlsMode};
use crate::wire::{Connection, Error, Login, TlsClient};

/// Opens connections by one set of settings. One is enough for a process: it remembers the certificates it has read.
#[derive(Debug)]
pub struct Connector {
    settings: ConnectSettings,
    tls: TlsClient,
}

impl Connector {
    /// Connects to nobody yet.
    pub fn new(settings: ConnectSettings) -> Self {
        let tls = TlsClient::new(settings.tls.clone());
        Self { settings, tls }
    }

    /// How it logs in.
    pub fn settings(&self) -> &ConnectSettings {
        &self.settings
    }

    /// Opens a connection to `key`, within `connect_timeout`. `knows_tls`: in mixed mode, this server is known to demand
    /// TLS; [`Connection::is_encrypted`] tells whether there is something to remember.
    pub async fn open(&self, key: &InstanceKey, knows_tls: bool) -> Result<Connection, ProbeFailure> {
        let limit = self.settings.connect_timeout;
        let opened = match timeout(limit, self.open_unbounded(key, knows_tls)).await {
            Ok(opened) => opened,
            Err(_) => Err(failure::timed_out(Stage::Connect, limit)),
        };
        opened.map_err(|cause| {
            let user = &self.settings.user;
            failure(cause.kind, format!("cannot connect to {key} as {user:?}: {}", cause.message))
        })
    }

    async fn open_unbounded(&self, key: &InstanceKey, knows_tls: bool) -> Result<Connection, ProbeFailure> {
        let addresses = resolve(key).await?;
        let mode = self.settings.tls.mode;
        let classify = |error: &Error| failure::classify(error, Stage::Connect);
        if mode == TlsMode::Always || (mode == TlsMode::Mixed && knows_tls) {
            return self.with_tls(key, &addresses).await.map_err(|error| classify(&error));
        }
        match self.log_in(key, &addresses, None).await {
            Err(first) if mode == TlsMode::Mixed && failure::may_demand_tls(&first) => {
                let second = self.with_tls(key, &addresses).await;
                second.map_err(|second| both(classify(&first), classify(&second)))
            }
            opened => opened.map_err(|error| classify(&error)),
        }
    }

    async fn with_tls(&self, key: &InstanceKey, addresses: &[SocketAddr]) -> Result<Connection, Error> {
        let config = self.tls.config().await?;
        let opened = self.log_in(key, addresses, Some(Arc::clone(&config))).await;
        if opened.as_ref().is_err_and(failure::is_about_certificates) {
            self.tls.forget(&config).await;
        }
        opened
    }

    async fn log_in(
        &self,
        key: &InstanceKey,
        addresses: &[SocketAddr],
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Connection, Error> {
        let stream = TcpStream::connect(addresses).await?;
        let ConnectSettings { user, password, .. } = &self.settings;
        let login = Login { host: &key.hostname, user, password: password.reveal(), tls };
        Connection::login(stream, &login).await
    }
}

/// Both attempts of mixed mode failed. Both causes are told: usually the password is wrong, and then the certificate is
/// not what the operator should look at.
fn both(first: ProbeFailure, second: ProbeFailure) -> ProbeFailure {
    if first.message == second.message {
        return first;
    }
    // The first answer came from a living server, whatever became of the second attempt.
    failure(first.kind, format!("without TLS: {}; with TLS: {}", first.message, second.message))
}

async fn resolve(key: &InstanceKey) -> Result<Vec<SocketAddr>, ProbeFailure> {
    let unknown = |cause: String| failure(FailureKind::UnknownHost, format!("the host name does not resolve: {cause}"));
    match tokio::net::lookup_host((key.hostname.as_str(), key.port)).await {
        Ok(addresses) => {
            let addresses: Vec<_> = addresses.collect();
            if addresses.is_empty() { Err(unknown("no address".to_owned())) } else { Ok(addresses) }
        }
        Err(error) => Err(failure::lack_of_means(&error).unwrap_or_else(|| unknown(error.to_string()))),
    }
}

/// What somebody who accepts connections says first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// A MySQL handshake or error packet.
    MySql,
    /// Something else, of which this is the beginning.
    Foreign(String),
    /// Nothing, within the limit.
    Silence,
}

/// Listens to what the other side says first. Called only after a failed login, to tell a web server from a server
/// that hangs: each call counts as an aborted connection there.
pub(crate) async fn listen(key: &InstanceKey, limit: Duration) -> Greeting {
    let heard = timeout(limit, async {
        let mut stream = TcpStream::connect((key.hostname.as_str(), key.port)).await?;
        let mut buffer = [0_u8; 64];
        let mut length = stream.read(&mut buffer).await?;
        if length < 5 && length > 0 {
            length += stream.read(&mut buffer[length..]).await?;
        }
        Ok::<_, io::Error>(recognise(&buffer[..length]))
    });
    heard.await.ok().and_then(Result::ok).unwrap_or(Greeting::Silence)
}

fn recognise(bytes: &[u8]) -> Greeting {
    match bytes {
        [] => Greeting::Silence,
        // Length (3 bytes, small), sequence 0, then protocol version 10 or an error packet.
        [_, _, 0, 0, 0x0a | 0xff, ..] => Greeting::MySql,
        _ => Greeting::Foreign(failure::shorten(String::from_utf8_lossy(bytes).trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_recognised() {
        assert_eq!(recognise(b"J\0\0\0\x0a9.7.4"), Greeting::MySql);
        assert_eq!(recognise(b"\x17\0\0\0\xff\x10\x04Too many connections"), Greeting::MySql);
        assert_eq!(recognise(b""), Greeting::Silence);
        assert_eq!(recognise(b"HTTP/1.1 400 Bad\r\n"), Greeting::Foreign("HTTP/1.1 400 Bad".to_owned()));
    }

    #[tokio::test]
    async fn unknown_hosts_and_closed_ports_are_told_apart() {
        let settings = ConnectSettings::default();
        let failed = |host: &str, port| {
            let key = InstanceKey::new(host, port);
            let settings = settings.clone();
            async move { Connector::new(settings).open(&key, false).await.expect_err("nobody there") }
        };
        assert_eq!(failed("no-such-host.invalid", 3306).await.kind, FailureKind::UnknownHost);
        assert_eq!(failed("127.0.0.1", 1).await.kind, FailureKind::Refused);
        assert_eq!(failed("::1", 1).await.kind, FailureKind::Refused);
    }
}
