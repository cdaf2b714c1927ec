//! Opening one connection to a managed server.
//!
//! A connection is opened without any statement of the driver's own (no `SET NAMES`, no `sql_mode`), keeps no prepared
//! statements and logs nothing: thousands of them are open at once, and each probe is one packet.
//!
//! Mixed TLS: we first ask without TLS; a server that answers 3159 (TLS demanded) or 1045 (an account may demand it) is
//! asked once more with TLS. Only success with TLS is worth remembering: a refused connection says nothing about TLS.

use std::io;
use std::time::Duration;

use domain::instance::{FailureKind, InstanceKey, ProbeFailure};
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::{self, Stage, failure};
use crate::settings::{ConnectSettings, TlsMode};

/// An open connection, and how it was made.
#[derive(Debug)]
pub struct Opened {
    /// The connection.
    pub connection: MySqlConnection,
    /// It is encrypted.
    pub tls: bool,
}

/// Opens a connection to `key`. `knows_tls`: in mixed mode, this server is known to demand TLS.
pub async fn open(settings: &ConnectSettings, key: &InstanceKey, knows_tls: bool) -> Result<Opened, ProbeFailure> {
    let limit = settings.connect_timeout;
    match timeout(limit, open_unbounded(settings, key, knows_tls)).await {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(failure)) => Err(named(settings, key, failure)),
        Err(_) => Err(named(settings, key, failure::timed_out(Stage::Connect, limit))),
    }
}

/// Puts into the message whom we tried to reach, and as whom.
fn named(settings: &ConnectSettings, key: &InstanceKey, cause: ProbeFailure) -> ProbeFailure {
    failure(cause.kind, format!("cannot connect to {key} as {:?}: {}", settings.user, cause.message))
}

async fn open_unbounded(
    settings: &ConnectSettings,
    key: &InstanceKey,
    knows_tls: bool,
) -> Result<Opened, ProbeFailure> {
    resolve_or_fail(key).await?;
    let classify = |error: &sqlx::Error| failure::classify(error, Stage::Connect);
    if settings.tls.mode == TlsMode::Always || (settings.tls.mode == TlsMode::Mixed && knows_tls) {
        let connection = options(settings, key, true).connect().await.map_err(|error| classify(&error))?;
        return Ok(Opened { connection, tls: true });
    }
    match options(settings, key, false).connect().await {
        Ok(connection) => Ok(Opened { connection, tls: false }),
        Err(error) if settings.tls.mode == TlsMode::Mixed && failure::may_demand_tls(&error) => {
            with_tls_after(settings, key, &error).await
        }
        Err(error) => Err(classify(&error)),
    }
}

/// The second attempt of mixed mode. When it fails too, both causes are told: usually the password is wrong, and then
/// the certificate is not what the operator should look at.
async fn with_tls_after(
    settings: &ConnectSettings,
    key: &InstanceKey,
    first: &sqlx::Error,
) -> Result<Opened, ProbeFailure> {
    match options(settings, key, true).connect().await {
        Ok(connection) => Ok(Opened { connection, tls: true }),
        Err(second) => {
            let (first, second) =
                (failure::classify(first, Stage::Connect), failure::classify(&second, Stage::Connect));
            if first.message == second.message {
                return Err(first);
            }
            // The first answer came from a living server, whatever became of the second attempt.
            Err(failure(first.kind, format!("without TLS: {}; with TLS: {}", first.message, second.message)))
        }
    }
}

fn options(settings: &ConnectSettings, key: &InstanceKey, tls: bool) -> MySqlConnectOptions {
    let options = MySqlConnectOptions::new()
        .host(&key.hostname)
        .port(key.port)
        .username(&settings.user)
        .password(settings.password.reveal())
        .statement_cache_capacity(0)
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .set_names(false)
        .disable_statement_logging();
    if !tls {
        return options.ssl_mode(MySqlSslMode::Disabled);
    }
    let tls = &settings.tls;
    let mut options =
        options.ssl_mode(if tls.skip_verify { MySqlSslMode::Required } else { MySqlSslMode::VerifyIdentity });
    if let Some(ca) = &tls.ca_file {
        options = options.ssl_ca(ca);
    }
    // As documented: who we are is told only where mutual TLS is configured, and only to a server that proved who it is.
    if tls.mode == TlsMode::Always && !tls.skip_verify {
        if let Some(cert) = &tls.cert_file {
            options = options.ssl_client_cert(cert);
        }
        if let Some(key) = &tls.key_file {
            options = options.ssl_client_key(key);
        }
    }
    options
}

/// The driver does not tell a name that does not resolve from other network errors, so names are looked up first.
async fn resolve_or_fail(key: &InstanceKey) -> Result<(), ProbeFailure> {
    if key.hostname.parse::<std::net::IpAddr>().is_ok() {
        return Ok(());
    }
    let unknown = |cause: String| failure(FailureKind::UnknownHost, format!("the host name does not resolve: {cause}"));
    match tokio::net::lookup_host((key.hostname.as_str(), key.port)).await {
        Ok(mut addresses) => addresses.next().map(|_| ()).ok_or_else(|| unknown("no address".to_owned())),
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
            async move { open(&settings, &key, false).await.expect_err("nobody there") }
        };
        assert_eq!(failed("no-such-host.invalid", 3306).await.kind, FailureKind::UnknownHost);
        assert_eq!(failed("127.0.0.1", 1).await.kind, FailureKind::Refused);
        assert_eq!(failed("::1", 1).await.kind, FailureKind::Refused);
    }
}
