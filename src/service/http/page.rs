//! The first page and what it loads, the exchange of access tokens, and the answer to unknown paths.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum_server::tls::TlsInfo;
use serde::Deserialize;

use super::auth::{Caller, TOKEN_COOKIE};
use super::reply;
use super::site::Site;
use crate::actions::tokens;

const INDEX: &str = include_str!("../web/index.html");
const SCRIPT: &str = include_str!("../web/app.js");
const STYLE: &str = include_str!("../web/app.css");
/// Where the page's text takes `URLPrefix`.
const PREFIX_PLACE: &str = "{{prefix}}";
/// Own scripts and styles only, and no frames: what servers call themselves cannot become code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

pub(super) async fn index(State(site): State<Arc<Site>>, request: Request) -> Response {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return not_found().await;
    }
    let body = INDEX.replace(PREFIX_PLACE, &attribute(&site.prefix));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (StatusCode::OK, headers, body).into_response()
}

/// Text for a quoted attribute.
fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

pub(super) async fn script() -> Response {
    file("text/javascript; charset=utf-8", SCRIPT)
}

pub(super) async fn style() -> Response {
    file("text/css; charset=utf-8", STYLE)
}

fn file(content_type: &'static str, body: &'static str) -> Response {
    let headers = [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-cache")];
    (StatusCode::OK, headers, body).into_response()
}

pub(super) async fn not_found() -> Response {
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::NOT_FOUND, plain, "404 page not found\n").into_response()
}

#[derive(Debug, Deserialize)]
pub(super) struct TokenQuery {
    #[serde(rename = "publicToken", default)]
    public_token: String,
}

/// Exchanges a public token for a cookie, once, and goes to the first page.
pub(super) async fn access_token(
    State(site): State<Arc<Site>>,
    Query(query): Query<TokenQuery>,
    request: Request,
) -> Response {
    if request.method() != Method::GET {
        return not_found().await;
    }
    let actor = request.extensions().get::<Caller>().map_or("", Caller::actor).to_owned();
    let is_tls = request.extensions().get::<Arc<TlsInfo>>().is_some();
    match tokens::acquire(&site.scope(&actor), &query.public_token).await {
        Ok(secret) => {
            let secure = if is_tls { "; Secure" } else { "" };
            let public = &query.public_token;
            let cookie = format!("{TOKEN_COOKIE}={public}:{secret}; Path=/; HttpOnly; SameSite=Strict{secure}");
            let Ok(cookie) = HeaderValue::from_str(&cookie) else { return refused("the access token is malformed") };
            let Ok(home) = HeaderValue::from_str(&format!("{}/", site.prefix)) else {
                return refused("URLPrefix is malformed");
            };
            (StatusCode::FOUND, [(header::SET_COOKIE, cookie), (header::LOCATION, home)]).into_response()
        }
        Err(error) => {
            reply::log(&error);
            refused(&error.to_string())
        }
    }
}

fn refused(why: &str) -> Response {
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::FORBIDDEN, plain, format!("{why}\n")).into_response()
}
