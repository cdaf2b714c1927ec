//! With mutual TLS: who shows a client certificate of a valid organisational unit is let in.
//!
//! The TLS handshake has verified the chain of a certificate, if one was shown; here it is required, except on the
//! health check for load balancers unless `StatusOUVerify` says otherwise.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum_server::tls::TlsInfo;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::site::Site;

pub(super) async fn check(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let config = site.handles.config.get();
    let http = &config.settings.http;
    let is_asked = http.use_ssl && http.use_mutual_tls && http.listen_socket.is_empty();
    let is_status = site.is_status_path(request.uri().path());
    if !is_asked || (is_status && !http.status_ou_verify) {
        return next.run(request).await;
    }
    let leaf = request.extensions().get::<Arc<TlsInfo>>().and_then(|info| info.peer_certificates.first().cloned());
    let units = leaf.map(|leaf| units(&leaf)).unwrap_or_default();
    if units.iter().any(|unit| http.ssl_valid_ous.contains(unit)) {
        return next.run(request).await;
    }
    tracing::info!(?units, "a client certificate was missing or of no valid organisational unit");
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::UNAUTHORIZED, plain, "No valid client certificate\n").into_response()
}

/// Organisational units in the subject of a certificate.
fn units(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let subject = certificate.subject();
    subject.iter_organizational_unit().filter_map(|unit| unit.as_str().ok()).map(str::to_owned).collect()
}
