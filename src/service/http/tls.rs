//! TLS of the listener: version 1.2 or newer, and with mutual TLS the verification of client certificates.

use std::path::Path;
use std::sync::Arc;

use axum_server::tls_rustls::RustlsConfig;
use config::Http;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::Error;

/// The listener's TLS settings.
pub(super) fn settings(http: &Http) -> Result<RustlsConfig, Error> {
    let (cert_file, key_file) = (Path::new(&http.ssl_cert_file), Path::new(&http.ssl_private_key_file));
    let chain = certificates("certificate SSLCertFile", cert_file)?;
    let key = PrivateKeyDer::from_pem_file(key_file)
        .map_err(|error| unusable("private key SSLPrivateKeyFile", key_file, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| unusable("certificate SSLCertFile", cert_file, &error))?;
    let builder = if http.use_mutual_tls {
        let ca_file = Path::new(&http.ssl_ca_file);
        let mut roots = RootCertStore::empty();
        for root in certificates("certificate authority SSLCAFile", ca_file)? {
            roots.add(root).map_err(|error| unusable("certificate authority SSLCAFile", ca_file, &error))?;
        }
        // The health check may be asked without one, so whether one was shown is checked per request.
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build()
            .map_err(|error| unusable("certificate authority SSLCAFile", ca_file, &error))?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let mut settings =
        builder.with_single_cert(chain, key).map_err(|error| unusable("certificate SSLCertFile", cert_file, &error))?;
    settings.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(settings)))
}

fn certificates(what: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| unusable(what, file, &error))?;
    if found.is_empty() {
        return Err(unusable(what, file, &"there is no certificate in it"));
    }
    Ok(found)
}

fn unusable(what: &'static str, file: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::Tls { what, file: file.to_owned(), reason: reason.to_string() }
}
