//! Who may talk to the API, and who may change things.
//!
//! | Method | Lets in | May change things |
//! |---|---|---|
//! | none | everybody | everybody |
//! | basic | the configured user | the configured user |
//! | multi | that user, and `readonly` with any password | that user |
//! | proxy | everybody (the proxy in front has asked) | listed users and groups |
//! | token | everybody | who sends the cookie of a valid token |
//!
//! `ReadOnly` overrides all: nobody changes anything. Only `/health/live` is answered to anybody: it says nothing.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::{Auth, AuthMethod};
use subtle::ConstantTimeEq;

use super::groups;
use super::origin::Origin;
use super::site::Site;
use crate::actions::tokens;

/// With `multi`: who may look and not touch, with any password.
const READONLY_USER: &str = "readonly";
/// Cookie of an acquired token: `<public>:<secret>`.
pub(super) const TOKEN_COOKIE: &str = "access-token";
/// Who is recorded when the method of authentication names nobody.
const ANONYMOUS: &str = "anonymous";

/// Who sent a request, as far as the method of authentication tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Caller {
    /// Name; empty: unknown.
    pub(super) user: String,
}

impl Caller {
    /// The name for records.
    pub(super) fn actor(&self) -> &str {
        if self.user.is_empty() { ANONYMOUS } else { &self.user }
    }
}

/// Why a change is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The caller may not change things, or nobody may now.
    NotAllowed,
    /// Another site's page asked for it.
    ForeignOrigin,
}

/// Lets a request pass or answers 401.
pub(super) async fn authenticate(State(site): State<Arc<Site>>, mut request: Request, next: Next) -> Response {
    let config = site.handles.config.get();
    let is_liveness = request.uri().path().strip_prefix(site.prefix.as_str()) == Some("/health/live");
    match identify(&config.settings.auth, request.headers()) {
        Some(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        None if is_liveness => {
            request.extensions_mut().insert(Caller::default());
            next.run(request).await
        }
        None => not_authorized(),
    }
}

fn not_authorized() -> Response {
    let headers = [
        (header::WWW_AUTHENTICATE, "Basic realm=\"Authorization Required\""),
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
    ];
    (StatusCode::UNAUTHORIZED, headers, "Not Authorized\n").into_response()
}

/// The caller, or `None` when the request is not let in.
fn identify(auth: &Auth, headers: &HeaderMap) -> Option<Caller> {
    match auth.authentication_method {
        AuthMethod::None | AuthMethod::Token => Some(Caller::default()),
        AuthMethod::Basic => credentials(headers).filter(|given| is_configured_user(auth, given)).map(known),
        AuthMethod::Multi => {
            credentials(headers).filter(|given| given.0 == READONLY_USER || is_configured_user(auth, given)).map(known)
        }
        AuthMethod::Proxy => {
            let user = headers.get(auth.auth_user_header.as_str()).and_then(|value| value.to_str().ok());
            Some(Caller { user: user.unwrap_or_default().trim().to_owned() })
        }
    }
}

fn known((user, _): (String, String)) -> Caller {
    Caller { user }
}

/// User and password of a basic authorisation.
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Compares in constant time, and both halves in any case: how long it takes tells nothing but their lengths.
fn is_configured_user(auth: &Auth, (user, password): &(String, String)) -> bool {
    let user = user.as_bytes().ct_eq(auth.http_auth_user.as_bytes());
    let password = password.as_bytes().ct_eq(auth.http_auth_password.expose().as_bytes());
    let is_configured = !auth.http_auth_user.is_empty();
    is_configured && bool::from(user & password)
}

/// May this request change things?
pub(super) async fn check_write(
    site: &Site,
    caller: &Caller,
    origin: Origin,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let config = site.handles.config.get();
    let auth = &config.settings.auth;
    if auth.read_only {
        return Err(Refusal::NotAllowed);
    }
    let allowed = match auth.authentication_method {
        AuthMethod::None | AuthMethod::Basic => true,
        AuthMethod::Multi => caller.user != READONLY_USER,
        AuthMethod::Proxy => {
            auth.power_auth_users.iter().any(|user| user == "*" || (*user == caller.user && !user.is_empty()))
                || groups::is_member(&caller.user, &auth.power_auth_groups).await
        }
        AuthMethod::Token => has_token(site, headers).await,
    };
    match (allowed, origin) {
        (false, _) => Err(Refusal::NotAllowed),
        (true, Origin::Foreign) => Err(Refusal::ForeignOrigin),
        (true, Origin::Own) => Ok(()),
    }
}

async fn has_token(site: &Site, headers: &HeaderMap) -> bool {
    let Some((public, secret)) = token(headers) else { return false };
    match tokens::owner(&site.scope(ANONYMOUS), &public, &secret).await {
        Ok(owner) => owner.is_some(),
        Err(error) => {
            tracing::warn!(error = %error.chain(), "cannot verify an access token: the request is refused");
            false
        }
    }
}

/// Both halves of the token in the cookie.
fn token(headers: &HeaderMap) -> Option<(String, String)> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    let value = pairs.filter(|(name, _)| *name == TOKEN_COOKIE).map(|(_, value)| value).next()?;
    let (public, secret) = value.trim_matches('"').split_once(':')?;
    Some((public.to_owned(), secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use config::Settings;

    use super::*;

    fn auth(method: AuthMethod) -> Auth {
        let mut auth = Settings::default().auth;
        auth.authentication_method = method;
        auth.http_auth_user = "dba".to_owned();
        auth.http_auth_password = config::Secret::from("s3cret:x");
        auth
    }

    fn basic(text: &str) -> HeaderMap {
        let value = format!("Basic {}", STANDARD.encode(text));
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(&value).expect("header"))])
    }

    fn user(auth: &Auth, headers: &HeaderMap) -> Option<String> {
        identify(auth, headers).map(|caller| caller.user)
    }

    #[test]
    fn basic_and_multi_let_in_whom_they_should() {
        let (basic_auth, multi) = (auth(AuthMethod::Basic), auth(AuthMethod::Multi));
        for (text, by_basic, by_multi) in [
            ("dba:s3cret:x", true, true),
            ("dba:wrong", false, false),
            ("dba:", false, false),
            ("other:s3cret:x", false, false),
            ("readonly:whatever", false, true),
            ("readonly:", false, true),
            ("dba", false, false),
        ] {
            assert_eq!(user(&basic_auth, &basic(text)).is_some(), by_basic, "basic {text}");
            assert_eq!(user(&multi, &basic(text)).is_some(), by_multi, "multi {text}");
        }
        assert_eq!(user(&basic_auth, &HeaderMap::new()), None);
        let garbage = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("Basic %%%"))]);
        assert_eq!(user(&multi, &garbage), None);
    }

    #[test]
    fn an_empty_configured_user_lets_nobody_in() {
        let mut auth = auth(AuthMethod::Basic);
        auth.http_auth_user = String::new();
        auth.http_auth_password = config::Secret::from("");
        assert_eq!(user(&auth, &basic(":")), None);
    }

    #[test]
    fn the_proxy_header_is_found_in_any_case() {
        let mut auth = auth(AuthMethod::Proxy);
        auth.auth_user_header = "x-forwarded-USER".to_owned();
        let headers: HeaderMap =
            [(header::HeaderName::from_static("x-forwarded-user"), HeaderValue::from_static("ann"))]
                .into_iter()
                .collect();
        assert_eq!(user(&auth, &headers).as_deref(), Some("ann"));
        assert_eq!(user(&auth, &HeaderMap::new()).as_deref(), Some(""));
    }

    #[test]
    fn cookies_are_read_with_care() {
        let cookie = |text: &'static str| HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static(text))]);
        assert_eq!(token(&cookie("a=b; access-token=pub:sec; c=d")), Some(("pub".to_owned(), "sec".to_owned())));
        assert_eq!(token(&cookie("access-token=nocolon")), None);
        assert_eq!(token(&cookie("xaccess-token=a:b")), None);
        assert_eq!(token(&cookie(";;;=")), None);
    }
}
