//! Replies of the compatibility API: one line of JSON, and status 500 for every error.

use api::json::to_legacy_bytes;
use api::legacy::Envelope;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::site::Site;
use crate::actions::Error;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");

/// A reply, written already.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// A bare value.
    pub(super) fn raw<T: Serialize + ?Sized>(value: &T) -> Self {
        Self::raw_with(StatusCode::OK, value)
    }

    /// A bare value with a status other than 200.
    pub(super) fn raw_with<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Self {
        match to_legacy_bytes(value) {
            Ok(body) => Self { status, body },
            Err(error) => {
                tracing::error!(error = %error, "cannot write a reply as JSON");
                Self { status: StatusCode::INTERNAL_SERVER_ERROR, body: b"null".to_vec() }
            }
        }
    }

    /// Success in an envelope.
    pub(super) fn envelope<T: Serialize>(site: &Site, message: impl Into<String>, details: T) -> Self {
        Self::raw(&Envelope::ok(message, details).said_by(&site.identity))
    }

    /// Failure in an envelope.
    pub(super) fn error(site: &Site, message: impl Into<String>) -> Self {
        Self::error_with(site, message, ())
    }

    /// Failure in an envelope that still carries details.
    pub(super) fn error_with<T: Serialize>(site: &Site, message: impl Into<String>, details: T) -> Self {
        let envelope = Envelope::error_with(message, details).said_by(&site.identity);
        Self::raw_with(StatusCode::INTERNAL_SERVER_ERROR, &envelope)
    }

    /// The answer to a request that an action did not meet.
    pub(super) fn failure(site: &Site, error: &Error) -> Self {
        log(error);
        Self::error(site, error.to_string())
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, JSON);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// What people can do nothing about with another request goes to the log with its causes, once.
pub(super) fn log(error: &Error) {
    match error {
        Error::Unavailable { .. } | Error::Backend { .. } => {
            tracing::warn!(error = %error.chain(), "a request was not answered");
        }
        Error::NotFound(_)
        | Error::Refused { .. }
        | Error::NotPossible(_)
        | Error::Invalid(_)
        | Error::NoWorker { .. }
        | Error::JobFailed { .. }
        | Error::Timeout { .. }
        | Error::Pending { .. } => tracing::debug!(error = %error, "a request was refused"),
    }
}
