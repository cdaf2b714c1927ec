//! Asking a service: which one of several, how long, how often, in whose name.
//!
//! With one address that one is asked. With several it is the leader: the first that says so, or the first behind which a
//! leader can be reached; all are asked at the same time. Where nobody leads, the first that answers at all: any service
//! can serve any request, and between two leaders there are seconds.
//!
//! What failed is tried again after a pause, with the leader looked for anew. Not everything: a request that reads may be
//! repeated; one that changes something only if it cannot have reached a service. Otherwise it may have been done, and
//! the user is told to look.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use ureq::http::{Request, Response};
use ureq::{Agent, Body, Timeout};

use crate::endpoint::{Credentials, Endpoint};
use crate::problem::Problem;
use crate::reply::{self, Reply};
use crate::settings::Settings;
use crate::tls;

/// A service that leads says so at once.
const CHECK_LIMIT: Duration = Duration::from_secs(1);
/// Pauses between attempts, in milliseconds: eleven seconds in all outlast an election and the restart of a service.
pub(crate) const PAUSES: &[u64] = &[100, 200, 500, 1000, 2000, 2500, 5000];
/// Twenty thousand instances take some eighty megabytes.
const LARGEST_REPLY: u64 = 1 << 30;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sends {
    Read,
    Change,
    /// A path that the user typed: sent like a read, repeated like a change.
    Unknown,
}

/// The services.
#[derive(Debug)]
pub(crate) struct Api {
    link: Link,
    /// Place of the one that was asked last.
    chosen: Cell<Option<usize>>,
    pauses: &'static [u64],
}

/// The means to send one request.
#[derive(Debug)]
struct Link {
    settings: Settings,
    agent: Agent,
}

/// An attempt that led to no reply of the service.
#[derive(Debug)]
struct Failure {
    text: String,
    fate: Fate,
}

/// What is known about a request without a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It did not arrive.
    NotSent,
    /// It may have arrived, and may have been done.
    Unknown,
    /// It arrived where it is of no use to try again.
    Hopeless,
}

impl Api {
    pub(crate) fn new(settings: Settings) -> Result<Self, Problem> {
        let agent = tls::agent(&settings)?;
        Ok(Self { link: Link { settings, agent }, chosen: Cell::new(None), pauses: PAUSES })
    }

    /// The same without patience, for tests.
    #[cfg(test)]
    pub(crate) fn hasty(settings: Settings) -> Self {
        Self { pauses: &[1, 1, 1], ..Self::new(settings).expect("an agent") }
    }

    pub(crate) fn read(&self, path: &str) -> Result<Reply, Problem> {
        self.call(Sends::Read, path)
    }

    pub(crate) fn change(&self, path: &str) -> Result<Reply, Problem> {
        self.call(Sends::Change, path)
    }

    /// Sends a request below `/api/`, again where that is sensible.
    pub(crate) fn call(&self, sends: Sends, path: &str) -> Result<Reply, Problem> {
        let mut pauses = self.pauses.iter();
        loop {
            let failure = match self.endpoint().and_then(|endpoint| self.link.attempt(endpoint, sends, path)) {
                Ok(answered) => return answered,
                Err(failure) => failure,
            };
            let again = match failure.fate {
                Fate::NotSent => true,
                Fate::Unknown => sends == Sends::Read,
                Fate::Hopeless => false,
            };
            match pauses.next() {
                Some(pause) if again => thread::sleep(Duration::from_millis(*pause)),
                _ => return Err(failure.into_problem(sends)),
            }
            self.chosen.set(None);
        }
    }

    /// The address that is asked.
    pub(crate) fn address(&self) -> Result<&str, Problem> {
        let endpoint = self.endpoint().map_err(|failure| failure.into_problem(Sends::Read))?;
        Ok(&endpoint.base)
    }

    fn endpoint(&self) -> Result<&Endpoint, Failure> {
        let endpoints = &self.link.settings.endpoints;
        let place = match (self.chosen.get(), endpoints.len()) {
            (Some(place), _) => place,
            (None, 1) => 0,
            (None, _) => self.find_leader()?,
        };
        self.chosen.set(Some(place));
        Ok(&endpoints[place])
    }

    fn find_leader(&self) -> Result<usize, Failure> {
        let first = |found: &[Option<u16>]| found.iter().position(|status| *status == Some(200));
        let direct = self.link.check("leader-check");
        if let Some(place) = first(&direct) {
            return Ok(place);
        }
        let routed = self.link.check("routed-leader-check");
        if let Some(place) = first(&routed) {
            return Ok(place);
        }
        direct.iter().position(Option::is_some).ok_or_else(|| {
            let all: Vec<&str> = self.link.settings.endpoints.iter().map(|endpoint| endpoint.base.as_str()).collect();
            Failure { text: format!("no service answers at any of {}", all.join(" ")), fate: Fate::NotSent }
        })
    }
}

impl Link {
    /// The status that each address answers a check with, all asked at the same time.
    fn check(&self, path: &str) -> Vec<Option<u16>> {
        let ask =
            |endpoint: &Endpoint| self.send("GET", endpoint, path, CHECK_LIMIT).ok().map(|one| one.status().as_u16());
        thread::scope(|scope| {
            let asked: Vec<_> = self
                .settings
                .endpoints
                .iter()
                .map(|endpoint| {
                    scope.spawn({
                        let ask = &ask;
                        move || ask(endpoint)
                    })
                })
                .collect();
            asked.into_iter().map(|one| one.join().ok().flatten()).collect()
        })
    }

    fn attempt(&self, endpoint: &Endpoint, sends: Sends, path: &str) -> Result<Result<Reply, Problem>, Failure> {
        let limit = if sends == Sends::Read { self.settings.read_limit } else { self.settings.change_limit };
        // By POST, which nothing on the way repeats by itself. Services of old, and some gateways, know only GET; their
        // reply proves that nothing was done.
        if sends == Sends::Change {
            let response = self.send("POST", endpoint, path, limit);
            match response {
                Ok(response) if matches!(response.status().as_u16(), 404 | 405 | 501) && !is_json(&response) => {}
                other => return judge(endpoint, path, other),
            }
        }
        judge(endpoint, path, self.send("GET", endpoint, path, limit))
    }

    fn send(
        &self,
        method: &str,
        endpoint: &Endpoint,
        path: &str,
        limit: Duration,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}/{path}", endpoint.base));
        if let Some(credentials) = self.settings.credentials.as_ref().or(endpoint.credentials.as_ref()) {
            request = request.header(AUTHORIZATION, basic(credentials));
        }
        if let Some((name, value)) = &self.settings.header {
            request = request.header(name, value);
        }
        let request = request.body(())?;
        let request = self.agent.configure_request(request).timeout_global(Some(limit)).build();
        self.agent.run(request)
    }
}

fn basic(credentials: &Credentials) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", credentials.user, credentials.password)))
}

fn is_json(response: &Response<Body>) -> bool {
    content_type(response).contains("json")
}

fn content_type(response: &Response<Body>) -> &str {
    response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// What became of a request.
fn judge(
    endpoint: &Endpoint,
    path: &str,
    sent: Result<Response<Body>, ureq::Error>,
) -> Result<Result<Reply, Problem>, Failure> {
    let failure = |text: String, fate| Failure { text: format!("{}: {text}", endpoint.base), fate };
    let mut response = sent.map_err(|error| failure(describe(&error), fate(&error)))?;
    let status = response.status().as_u16();
    if status == 401 {
        let text = "not authorized: see ORCHESTRATOR_AUTH_USER and ORCHESTRATOR_AUTH_PASSWORD, or -b";
        return Err(failure(text.to_owned(), Fate::Hopeless));
    }
    if let (300..400, Some(elsewhere)) = (status, response.headers().get(LOCATION)) {
        let elsewhere = String::from_utf8_lossy(elsewhere.as_bytes());
        let text = format!("redirected to {elsewhere}; if that is the service, set ORCHESTRATOR_API to it");
        return Err(failure(text, Fate::Hopeless));
    }
    let is_problem = content_type(&response).starts_with(api::v2::Problem::CONTENT_TYPE);
    let body = response.body_mut().with_config().limit(LARGEST_REPLY).lossy_utf8(true).read_to_string();
    let body = body.map_err(|error| failure(describe(&error), Fate::Unknown))?;
    reply::read(status, is_problem, &body).ok_or_else(|| match status {
        // No room: it was turned away at the door.
        429 | 503 => failure(odd(status, &body), Fate::NotSent),
        404 => failure(format!("the service does not know the path {path}"), Fate::Hopeless),
        400..500 => failure(odd(status, &body), Fate::Hopeless),
        _ => failure(odd(status, &body), Fate::Unknown),
    })
}

fn odd(status: u16, body: &str) -> String {
    let start: String = reply::collapsed(body).chars().take(200).collect();
    format!("answered {status} without JSON: {start}")
}

/// The error in words. Those of the library may repeat the address, but that has no secret in it.
fn describe(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(Timeout::Resolve) => "the name was not resolved in time".to_owned(),
        ureq::Error::Timeout(Timeout::Connect) => "no connection within 5 s".to_owned(),
        ureq::Error::Timeout(_) => "no answer in time (ORCHESTRATOR_API_TIMEOUT)".to_owned(),
        ureq::Error::HostNotFound => "no such host".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

fn fate(error: &ureq::Error) -> Fate {
    use std::io::ErrorKind;
    match error {
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed => Fate::NotSent,
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::AddrNotAvailable => Fate::NotSent,
            // rustls hides in here.
            ErrorKind::InvalidData => Fate::Hopeless,
            _ => Fate::Unknown,
        },
        ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => Fate::Unknown,
        // TLS, a malformed address: the same next time.
        _ => Fate::Hopeless,
    }
}

impl Failure {
    fn into_problem(self, sends: Sends) -> Problem {
        let doubt = match (sends, self.fate) {
            (Sends::Change, Fate::Unknown) => "; it is not known whether it was done: look before you repeat it",
            _ => "",
        };
        Problem::Unanswered(format!("{}{doubt}", self.text))
    }
}

#[cfg(test)]
mod tests;
