//! What every reply passes: panics become plain errors, requests have limits and an end, and browsers are told to be
//! careful.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::connections::Place;
use super::site::Site;

/// Longest time for one request. The longest that is meant to be waits twenty seconds for a discovery.
const LONGEST: Duration = Duration::from_secs(30);
/// Text of a reply to a request that took longer.
const TOO_LONG: &str = "504 Gateway Timeout: no answer within 30 s";
/// Text of a reply to a request for which there is no room.
const BUSY: &str = "503 Service Unavailable: too many clients at once";
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

/// Requests under way.
#[derive(Debug, Clone)]
pub(super) struct UnderWay {
    tasks: TaskTracker,
    room: Arc<Semaphore>,
}

impl UnderWay {
    pub(super) fn new(limit: usize) -> Self {
        Self { tasks: TaskTracker::new(), room: Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS))) }
    }

    /// Waits for what is still under way though its client has gone.
    pub(super) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// A client that came when all places were taken gets one answer, and only the health checks get another than 503.
pub(super) async fn admit(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    if request.extensions().get::<Place>() != Some(&Place::Spare) {
        return next.run(request).await;
    }
    let can_close = request.version() < Version::HTTP_2;
    let mut response = if site.is_health_check(request.uri().path()) { next.run(request).await } else { busy() };
    if can_close {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Runs a request to its end, even when its client hangs up meanwhile: what was begun is not half done because somebody
/// pressed a key. As clients may come and go faster than requests end, those are counted apart from connections.
///
/// Gives up on what takes too long: a backend that hangs must not pile up requests. What was begun is rolled back then.
pub(super) async fn finish(
    State((site, under_way)): State<(Arc<Site>, UnderWay)>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let place = Arc::clone(&under_way.room).try_acquire_owned().ok();
    if place.is_none() && !site.is_health_check(&path) {
        return busy();
    }
    let ended = under_way.tasks.spawn(async move {
        let _place = place;
        tokio::time::timeout(LONGEST, next.run(request)).await
    });
    match ended.await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::warn!(path, "a request took too long and was given up");
            let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (StatusCode::GATEWAY_TIMEOUT, plain, TOO_LONG).into_response()
        }
        // Told and answered by `catch_panics`.
        Err(bug) => match bug.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => busy(),
        },
    }
}

fn busy() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::RETRY_AFTER, "1")];
    (StatusCode::SERVICE_UNAVAILABLE, headers, BUSY).into_response()
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
    use axum::middleware::{from_fn, from_fn_with_state};
    use axum::routing::get;
    use config::Settings;
    use http_body_util::BodyExt;
    use jobs::SharedSettings;
    use queue::DbClock;
    use sqlx::mysql::{MySqlConnectOptions, MySqlPool};
    use tokio::sync::Notify;
    use tower::ServiceExt;

    use super::super::Options;
    use super::*;
    use crate::{Handles, Identity};

    /// A site whose backend nobody asks.
    fn site() -> Arc<Site> {
        let handles = Handles {
            pool: MySqlPool::connect_lazy_with(MySqlConnectOptions::new()),
            clock: Arc::new(DbClock::new()),
            config: SharedSettings::new(Settings::default()),
            identity: Identity::new("here".to_owned(), "", "service"),
            leadership: tokio::sync::watch::Sender::new(None),
            bells: crate::Bells::default(),
        };
        Arc::new(Site::new(Arc::new(handles), Options::default()))
    }

    fn finishing(router: Router, limit: usize) -> (Router, UnderWay) {
        let under_way = UnderWay::new(limit);
        let layer = from_fn_with_state((site(), under_way.clone()), finish);
        (router.layer(layer).layer(from_fn(catch_panics)), under_way)
    }

    fn request(path: &str) -> Request {
        HttpRequest::builder().uri(path).body(Body::empty()).expect("request")
    }

    async fn answer(router: Router, path: &str) -> (u16, String) {
        let response = router.oneshot(request(path)).await.expect("answer");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("body").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn a_bug_is_a_plain_500() {
        async fn bug() -> &'static str {
            panic!("a bug")
        }
        let (router, _) = finishing(Router::new().route("/", get(bug)), 1);
        assert_eq!(answer(router, "/").await, (500, CRASHED.to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_given_up() {
        let (router, _) = finishing(Router::new().route("/", get(std::future::pending::<()>)), 1);
        assert_eq!(answer(router, "/").await, (504, TOO_LONG.to_owned()));
    }

    #[tokio::test]
    async fn a_request_whose_client_hung_up_is_done_to_its_end() {
        let (begun, go, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let handler = {
            let (begun, go, done) = (Arc::clone(&begun), Arc::clone(&go), Arc::clone(&done));
            move || async move {
                begun.notify_one();
                go.notified().await;
                done.notify_one();
            }
        };
        let (router, under_way) = finishing(Router::new().route("/", get(handler)), 1);
        let client = tokio::spawn(router.clone().oneshot(request("/")));
        begun.notified().await;
        client.abort();
        assert!(client.await.expect_err("hung up").is_cancelled());
        // It still counts, so that clients that come and go cannot pile requests up; health checks pass.
        assert_eq!(answer(router.clone(), "/").await, (503, BUSY.to_owned()));
        assert_eq!(answer(router.clone(), "/health/live").await.0, 404, "there is no such route here, but room");
        go.notify_one();
        tokio::time::timeout(Duration::from_secs(20), done.notified()).await.expect("it went on");
        under_way.finish().await;
    }

    #[tokio::test]
    async fn a_client_without_a_place_is_sent_away_but_for_health_checks() {
        let router = Router::new().fallback(|| async { "served" }).layer(from_fn_with_state(site(), admit));
        let ask = async |path: &str, place: Place| {
            let mut request = request(path);
            request.extensions_mut().insert(place);
            let response = router.clone().oneshot(request).await.expect("answer");
            (response.status().as_u16(), response.headers().contains_key(header::CONNECTION))
        };
        assert_eq!(ask("/api/clusters", Place::Ordinary).await, (200, false));
        assert_eq!(ask("/api/clusters", Place::Spare).await, (503, true));
        for path in ["/health/live", "/health/ready", "/health/leader", "/api/status"] {
            assert_eq!(ask(path, Place::Spare).await, (200, true), "{path}");
        }
    }
}
