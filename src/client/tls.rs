//! The HTTP agent, and TLS where an address asks for it.

use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::problem::Problem;
use crate::settings::{Settings, Tls};

/// A service that does not accept a connection within this time is not there.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// An agent that follows nobody elsewhere: a redirect would carry credentials to where nobody meant them to go.
pub(crate) fn agent(settings: &Settings) -> Result<Agent, Problem> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("orchestrator-client/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(CONNECT_LIMIT))
        .timeout_connect(Some(CONNECT_LIMIT));
    if settings.endpoints.iter().any(crate::endpoint::Endpoint::is_encrypted) {
        config = config.tls_config(tls_config(&settings.tls)?);
    }
    Ok(config.build().new_agent())
}

fn tls_config(tls: &Tls) -> Result<TlsConfig, Problem> {
    let mut config = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .disable_verification(tls.skip_verify);
    if !tls.skip_verify {
        config = config.root_certs(RootCerts::Specific(Arc::new(authorities(tls)?)));
    }
    if let Some((certificate, key)) = &tls.identity {
        let chain = certificates(&read(certificate)?);
        let key = PrivateKey::from_pem(&read(key)?)
            .map_err(|_| Problem::usage(format!("no private key in {}", key.display())))?;
        if chain.is_empty() {
            return Err(Problem::usage(format!("no certificate in {}", certificate.display())));
        }
        config = config.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
    }
    Ok(config.build())
}

/// Whom to trust: the given file, or the system (which heeds `SSL_CERT_FILE` and `SSL_CERT_DIR`).
fn authorities(tls: &Tls) -> Result<Vec<Certificate<'static>>, Problem> {
    let Some(file) = &tls.ca_file else {
        let found = rustls_native_certs::load_native_certs();
        return Ok(found.certs.iter().map(|one| Certificate::from_der(one.as_ref()).to_owned()).collect());
    };
    let found = certificates(&read(file)?);
    if found.is_empty() {
        return Err(Problem::usage(format!("no certificate in {}", file.display())));
    }
    Ok(found)
}

fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect()
}

fn read(file: &std::path::Path) -> Result<Vec<u8>, Problem> {
    std::fs::read(file).map_err(|error| Problem::usage(format!("cannot read {}: {error}", file.display())))
}
