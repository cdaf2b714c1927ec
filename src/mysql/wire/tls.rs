//! TLS towards managed servers: whom we trust, and who we say we are.
//!
//! Reading the system's authorities takes milliseconds and a hundred certificates of memory, so all connections share one
//! configuration. It is read again now and then, and after a failure: certificates are renewed while we run.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::Error;
use crate::settings::{TlsMode, TlsSettings};

/// How long what was read from files is used.
const USED_FOR: Duration = Duration::from_secs(60);

/// Makes connections encrypted, by one set of settings.
pub(crate) struct TlsClient {
    settings: TlsSettings,
    read: Mutex<Option<Read>>,
}

struct Read {
    config: Arc<ClientConfig>,
    at: Instant,
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl TlsClient {
    pub(crate) fn new(settings: TlsSettings) -> Self {
        Self { settings, read: Mutex::default() }
    }

    /// The configuration for one connection.
    pub(crate) async fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        // Held while reading, so that a thousand connections read once.
        let mut read = self.read.lock().await;
        if let Some(read) = &*read
            && read.at.elapsed() < USED_FOR
        {
            return Ok(Arc::clone(&read.config));
        }
        let settings = self.settings.clone();
        let config = tokio::task::spawn_blocking(move || config(&settings)).await;
        let config = Arc::new(config.map_err(|error| Error::Settings(format!("reading them failed: {error}")))??);
        *read = Some(Read { config: Arc::clone(&config), at: Instant::now() });
        Ok(config)
    }

    /// The next connection reads the files again, unless that was done since `used` was read: of a thousand connections
    /// that fail at once, one makes us read.
    pub(crate) async fn forget(&self, used: &Arc<ClientConfig>) {
        let mut read = self.read.lock().await;
        if read.as_ref().is_some_and(|read| Arc::ptr_eq(&read.config, used)) {
            *read = None;
        }
    }
}

/// Encrypts a connection to `host`. What rustls has against the other side is an [`io::Error`] of kind `InvalidData`.
pub(super) async fn encrypt(
    stream: TcpStream,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, Error> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| Error::Tls(format!("{host:?}: {error}")))?;
    Ok(TlsConnector::from(config).connect(name, stream).await?)
}

fn config(settings: &TlsSettings) -> Result<ClientConfig, Error> {
    let own = own_certificate(settings)?;
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Settings(error.to_string()))?;
    let builder = if settings.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_root_certificates(authorities(settings.ca_file.as_deref())?)
    };
    let mut config = match own {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| Error::Settings(format!("the client certificate: {error}")))?,
        None => builder.with_no_client_auth(),
    };
    // Connections stay open: remembering sessions of thousands of servers would cost more than it saves.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The authority of the settings, and those of the system.
fn authorities(ca_file: Option<&Path>) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    // First, as it may fail: a failure is not remembered, so every connection pays for what comes before it.
    if let Some(path) = ca_file {
        for certificate in certificates(path)? {
            store.add(certificate).map_err(|error| unusable(path, &error))?;
        }
    }
    let system = rustls_native_certs::load_native_certs();
    for error in system.errors {
        tracing::debug!(%error, "cannot read all certificate authorities of the system");
    }
    // Systems carry certificates that are too old-fashioned for rustls: those are left out.
    store.add_parsable_certificates(system.certs);
    Ok(store)
}

/// As documented: who we are is told only where mutual TLS is configured, and only to a server that proved who it is.
fn own_certificate(
    settings: &TlsSettings,
) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, Error> {
    if settings.mode != TlsMode::Always || settings.skip_verify {
        return Ok(None);
    }
    match (&settings.cert_file, &settings.key_file) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| unusable(key, &error))?;
            Ok(Some((chain, private)))
        }
        _ => Err(Error::Settings("a client certificate and its key must be given together".to_owned())),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if found.is_empty() => Err(unusable(path, &"there is no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(path, &error)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|cause| Error::File { path: path.to_owned(), cause })
}

fn unusable(path: &Path, why: &dyn fmt::Display) -> Error {
    let cause = io::Error::new(io::ErrorKind::InvalidInput, why.to_string());
    Error::File { path: path.to_owned(), cause }
}

/// Takes any certificate (`MySQLTopologySSLSkipVerify`), but only from who holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_failures_at_once_read_the_files_once() {
        let client = TlsClient::new(TlsSettings { skip_verify: true, ..TlsSettings::default() });
        let first = client.config().await.expect("a configuration");
        assert!(Arc::ptr_eq(&first, &client.config().await.expect("the same")), "it is shared");
        client.forget(&first).await;
        let second = client.config().await.expect("another");
        assert!(!Arc::ptr_eq(&first, &second), "it is read again after a failure");
        // Those that failed with the first one come late.
        client.forget(&first).await;
        assert!(Arc::ptr_eq(&second, &client.config().await.expect("the same")));
    }
}
