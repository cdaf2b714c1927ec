//! Refuses changes that another site's page makes a browser ask for.
//!
//! The compatibility API changes things by GET, so a link or an image on any page could. Browsers say where a request
//! comes from (`Sec-Fetch-Site`, `Origin`); programs send neither and are not concerned. What changes something is
//! known only after routing, so this only notes what it finds, and the write check ([`super::auth`]) refuses.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::Response;

use super::site::Site;

/// Where a request comes from, as far as browsers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A program, or our own page.
    Own,
    /// A page of another site.
    Foreign,
}

pub(super) async fn check(State(_): State<Arc<Site>>, mut request: Request, next: Next) -> Response {
    let origin = of(request.headers(), request.uri());
    request.extensions_mut().insert(origin);
    next.run(request).await
}

fn of(headers: &HeaderMap, uri: &Uri) -> Origin {
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    if matches!(site, Some("cross-site" | "same-site")) {
        return Origin::Foreign;
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Origin::Own };
    let Some(authority) = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest) else {
        return Origin::Foreign;
    };
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // HTTP/2 carries the host in the URI. A page cannot set any of the three.
    let own = [text("host"), text("x-forwarded-host"), uri.authority().map(axum::http::uri::Authority::as_str)];
    let is_own = own.into_iter().flatten().any(|host| host.eq_ignore_ascii_case(authority));
    if is_own { Origin::Own } else { Origin::Foreign }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn judge(headers: &[(&'static str, &'static str)]) -> Origin {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        of(&headers, &Uri::from_static("/api/forget/a/1"))
    }

    #[test]
    fn programs_and_own_pages_pass_other_sites_do_not() {
        let host = ("host", "orc.example.com:3000");
        assert_eq!(judge(&[host]), Origin::Own);
        assert_eq!(judge(&[host, ("sec-fetch-site", "same-origin")]), Origin::Own);
        assert_eq!(judge(&[host, ("sec-fetch-site", "none")]), Origin::Own);
        assert_eq!(judge(&[host, ("origin", "http://orc.example.com:3000")]), Origin::Own);
        assert_eq!(judge(&[host, ("x-forwarded-host", "orc"), ("origin", "https://orc")]), Origin::Own);
        assert_eq!(judge(&[host, ("sec-fetch-site", "cross-site")]), Origin::Foreign);
        assert_eq!(judge(&[host, ("sec-fetch-site", "same-site")]), Origin::Foreign);
        assert_eq!(judge(&[host, ("origin", "http://evil.example.com")]), Origin::Foreign);
        assert_eq!(judge(&[host, ("origin", "http://orc.example.com")]), Origin::Foreign);
        assert_eq!(judge(&[host, ("origin", "null")]), Origin::Foreign);
    }
}
