//! The compatibility API: every path that the original orchestrator answers, by GET as users' scripts ask, or by POST.
//!
//! Its matching is its own: the path is percent-decoded first, a parameter is one segment, the first registered pattern
//! wins, a slash at the end changes nothing. So the routes are rows of tables, tried from top to bottom; each file here
//! holds the rows and the functions of one family.
//!
//! Every path of the original has a row: what is not built yet says so ([`unbuilt`]) instead of being unknown.

mod agents;
mod analysis;
mod call;
mod changes;
mod clusters;
mod discovery;
mod instances;
mod meta;
mod operations;
mod pools;
mod recoveries;
mod replication;
mod tags;
mod unbuilt;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use axum::response::IntoResponse;
use futures::future::BoxFuture;
use percent_encoding::percent_decode_str;

use call::{Answer, Call};

use super::auth::{self, Caller, Refusal};
use super::origin::Origin;
use super::page;
use super::reply::Reply;
use super::site::Site;

/// What a route needs of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody who is let in may read it.
    Read,
    /// It reads, but only for those who may change things: so it is in the original.
    GuardedRead,
    /// It changes something.
    Write,
}

/// One path.
pub(super) struct Route {
    /// Segments; `:name` is a parameter.
    pub(super) pattern: &'static str,
    pub(super) access: Access,
    pub(super) run: fn(Call) -> BoxFuture<'static, Answer>,
}

/// A row: access, pattern, and the function of the [`Call`] that answers, or what is to be done with the call.
macro_rules! route {
    ($access:ident, $pattern:literal, $run:ident) => {
        $crate::http::legacy::route!($access, $pattern, |call| $run(call))
    };
    ($access:ident, $pattern:literal, |$call:pat_param| $run:expr) => {
        $crate::http::legacy::Route {
            pattern: $pattern,
            access: $crate::http::legacy::Access::$access,
            run: |$call| Box::pin($run),
        }
    };
}
use route;

/// In the order of matching.
const TABLES: &[&[Route]] = &[
    clusters::ROUTES,
    instances::ROUTES,
    discovery::ROUTES,
    changes::ROUTES,
    tags::ROUTES,
    pools::ROUTES,
    replication::ROUTES,
    recoveries::ROUTES,
    analysis::ROUTES,
    operations::ROUTES,
    meta::ROUTES,
    agents::ROUTES,
];

/// Reply to another site's page that asks for a change.
const FOREIGN: &str = "Refused: the request comes from a page of another site";
/// What clients match when they may not.
const UNAUTHORIZED: &str = "Unauthorized";

/// Answers a path below `/api/`.
pub(super) async fn dispatch(State(site): State<Arc<Site>>, request: Request) -> Response<Body> {
    let (request, _) = request.into_parts();
    let path = request.uri.path();
    let Some(tail) = path.split_once("/api/").map(|(_, tail)| tail) else { return page::not_found().await };
    let Ok(decoded) = percent_decode_str(tail).decode_utf8() else { return page::not_found().await };
    let decoded = decoded.strip_suffix('/').unwrap_or(&decoded).to_owned();
    if decoded == "status" && site.literal_status_endpoint().is_some() {
        return page::not_found().await;
    }
    answer(site, &decoded, request).await
}

/// The health check at its own literal path.
pub(super) async fn status(State(site): State<Arc<Site>>, request: Request) -> Response<Body> {
    answer(site, "status", request.into_parts().0).await
}

async fn answer(site: Arc<Site>, path: &str, request: Parts) -> Response<Body> {
    let segments: Vec<&str> = path.split('/').collect();
    let is_head = request.method == Method::HEAD;
    let mut response = match find(&segments) {
        Some((access, target, params)) if is_allowed(&request.method, access) => {
            let call = call(&site, params, &request);
            perform(&site, access, target, call, &request).await.into_response()
        }
        Some((Access::Write, ..)) if is_head => {
            let allow = [(header::ALLOW, HeaderValue::from_static("GET, POST"))];
            (StatusCode::METHOD_NOT_ALLOWED, allow).into_response()
        }
        Some(_) | None => page::not_found().await,
    };
    if is_head {
        *response.body_mut() = Body::empty();
    }
    response
}

/// Changes are never made by HEAD; POST is for changes.
fn is_allowed(method: &Method, access: Access) -> bool {
    match access {
        Access::Read | Access::GuardedRead => *method == Method::GET || *method == Method::HEAD,
        Access::Write => *method == Method::GET || *method == Method::POST,
    }
}

/// What a path leads to.
enum Target {
    Built(fn(Call) -> BoxFuture<'static, Answer>),
    Unbuilt(&'static str),
}

type Params = Vec<(&'static str, String)>;

fn find(segments: &[&str]) -> Option<(Access, Target, Params)> {
    let built = TABLES.iter().flat_map(|table| table.iter()).find_map(|route| {
        capture(route.pattern, segments).map(|params| (route.access, Target::Built(route.run), params))
    });
    built.or_else(|| {
        unbuilt::PATHS.iter().find_map(|path| {
            capture(path.pattern, segments).map(|params| (path.access, Target::Unbuilt(path.feature), params))
        })
    })
}

/// The parameters, if the path fits the pattern. A parameter has one character or more.
fn capture(pattern: &'static str, segments: &[&str]) -> Option<Params> {
    let mut params = Vec::new();
    let mut rest = segments.iter();
    for part in pattern.split('/') {
        let segment = rest.next()?;
        match part.strip_prefix(':') {
            Some(name) if !segment.is_empty() && !segment.contains(['#', '?']) => {
                params.push((name, (*segment).to_owned()));
            }
            None if part == *segment => {}
            Some(_) | None => return None,
        }
    }
    rest.next().is_none().then_some(params)
}

fn call(site: &Arc<Site>, params: Params, request: &Parts) -> Call {
    let caller = request.extensions.get::<Caller>().cloned().unwrap_or_default();
    Call {
        scope: site.scope(caller.actor()),
        site: Arc::clone(site),
        params,
        query: call::pairs(request.uri.query().unwrap_or_default()),
        headers: request.headers.clone(),
    }
}

async fn perform(site: &Site, access: Access, target: Target, call: Call, request: &Parts) -> Reply {
    let caller = request.extensions.get::<Caller>().cloned().unwrap_or_default();
    // Nobody noted where it comes from: then the worst is assumed.
    let origin = request.extensions.get::<Origin>().copied().unwrap_or(Origin::Foreign);
    let origin = if access == Access::GuardedRead { Origin::Own } else { origin };
    if access != Access::Read {
        match auth::check_write(site, &caller, origin, &request.headers).await {
            Ok(()) => {}
            Err(Refusal::NotAllowed) => return Reply::error(site, UNAUTHORIZED),
            Err(Refusal::ForeignOrigin) => return Reply::error(site, FOREIGN),
        }
    }
    match target {
        Target::Unbuilt(feature) => Reply::error(site, format!("not built yet: {feature}")),
        Target::Built(run) => run(call).await.unwrap_or_else(|error| Reply::failure(site, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &'static str, path: &str) -> Option<Vec<String>> {
        let segments: Vec<&str> = path.split('/').collect();
        capture(pattern, &segments).map(|params| params.into_iter().map(|(_, value)| value).collect())
    }

    #[test]
    fn patterns_match_whole_paths_only() {
        assert_eq!(fits("forget/:host/:port", "forget/db1/3306"), Some(vec!["db1".to_owned(), "3306".to_owned()]));
        assert_eq!(fits("forget/:host/:port", "forget/db1"), None);
        assert_eq!(fits("forget/:host/:port", "forget/db1/3306/x"), None);
        assert_eq!(fits("forget/:host/:port", "forget//3306"), None);
        assert_eq!(fits("clusters", "clusters"), Some(vec![]));
        assert_eq!(fits("clusters", "Clusters"), None);
        assert_eq!(fits("tag/:host", "tag/a?b"), None);
    }

    #[test]
    fn no_pattern_is_hidden_by_an_earlier_one() {
        let patterns: Vec<&str> = TABLES
            .iter()
            .flat_map(|table| table.iter().map(|route| route.pattern))
            .chain(unbuilt::PATHS.iter().map(|path| path.pattern))
            .collect();
        for (place, pattern) in patterns.iter().enumerate() {
            assert!(!patterns[..place].contains(pattern), "{pattern} occurs twice");
        }
        // 250 paths of the original, less `status` at its own place, none forgotten.
        let original = include_str!("legacy/paths.txt");
        for path in original.lines() {
            let sample: Vec<&str> = path.split('/').map(|part| part.strip_prefix(':').map_or(part, |_| "7")).collect();
            assert!(find(&sample).is_some(), "{path} is not answered");
        }
        assert_eq!(original.lines().count(), 250);
    }
}
