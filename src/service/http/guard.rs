//! What every reply passes: panics become plain errors, and browsers are told to be careful.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;

/// Longest time for one request. The longest that is meant to be waits twenty seconds for a discovery.
const LONGEST: Duration = Duration::from_secs(30);
/// Text of a reply to a request that took longer.
const TOO_LONG: &str = "504 Gateway Timeout: no answer within 30 s";
/// Text of a reply to a request that hit a bug.
const CRASHED: &str = "500 Internal Server Error";

pub(super) async fn catch_panics(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!(path, "a request hit a bug and was not answered");
            let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (StatusCode::INTERNAL_SERVER_ERROR, plain, CRASHED).into_response()
        }
    }
}

/// Gives up on what takes too long: a backend that hangs must not pile up requests. What was begun is rolled back.
pub(super) async fn limit_time(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    match tokio::time::timeout(LONGEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            tracing::warn!(path, "a request took too long and was given up");
            let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (StatusCode::GATEWAY_TIMEOUT, plain, TOO_LONG).into_response()
        }
    }
}

pub(super) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::Request as HttpRequest;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn answer(router: Router) -> (u16, String) {
        let request = HttpRequest::builder().uri("/").body(Body::empty()).expect("request");
        let response = router.oneshot(request).await.expect("answer");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("body").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn a_bug_is_a_plain_500() {
        async fn bug() -> &'static str {
            panic!("a bug")
        }
        let router = Router::new().route("/", get(bug)).layer(from_fn(catch_panics));
        assert_eq!(answer(router).await, (500, CRASHED.to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_given_up() {
        let router = Router::new().route("/", get(std::future::pending::<()>)).layer(from_fn(limit_time));
        assert_eq!(answer(router).await, (504, TOO_LONG.to_owned()));
    }
}
