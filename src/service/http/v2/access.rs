//! Who reads and who writes, as extractors: a handler that takes a [`Writer`] runs only for those who may change things.

use std::sync::Arc;

use api::v2::Problem;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use domain::instance::InstanceKey;

use super::Failure;
use crate::actions::{Scope, names};
use crate::http::auth::{self, Caller, Refusal};
use crate::http::origin::Origin;
use crate::http::site::Site;

/// A caller who reads.
#[derive(Debug)]
pub(in crate::http) struct Reader(pub(in crate::http) Scope);

/// A caller who may change things.
#[derive(Debug)]
pub(in crate::http) struct Writer(pub(in crate::http) Scope);

/// `/{host}/{port}` of a path.
#[derive(Debug)]
pub(in crate::http) struct KeyInPath(pub(in crate::http) InstanceKey);

impl FromRequestParts<Arc<Site>> for Reader {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Failure> {
        Ok(Self(site.scope(caller(parts).actor())))
    }
}

impl FromRequestParts<Arc<Site>> for Writer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Failure> {
        let caller = caller(parts);
        let origin = parts.extensions.get::<Origin>().copied().unwrap_or(Origin::Foreign);
        match auth::check_write(site, &caller, origin, &parts.headers).await {
            Ok(()) => Ok(Self(site.scope(caller.actor()))),
            Err(Refusal::NotAllowed) => {
                Err(Failure(Problem::new(403, "not-allowed", "You may not change things here")))
            }
            Err(Refusal::ForeignOrigin) => {
                Err(Failure(Problem::new(403, "foreign-origin", "The request comes from a page of another site")))
            }
        }
    }
}

impl FromRequestParts<Arc<Site>> for KeyInPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Failure> {
        let Path((host, port)): Path<(String, String)> = Path::from_request_parts(parts, site)
            .await
            .map_err(|rejection| Failure(Problem::new(400, "invalid", rejection.body_text())))?;
        Ok(Self(names::parse_parts(&host, &port)?))
    }
}

fn caller(parts: &Parts) -> Caller {
    parts.extensions.get::<Caller>().cloned().unwrap_or_default()
}
