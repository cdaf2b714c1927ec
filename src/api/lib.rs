//! Wire types of the HTTP API: everything that crosses HTTP is defined here, and nothing else does.
//!
//! What this is: [`legacy`], the compatibility API that existing scripts and dashboards read, equal byte for byte to
//! what the original orchestrator answers; and [`v2`], the resources of our own REST API, from which the OpenAPI
//! document is generated. [`json`] writes the former the way its readers expect. What it deliberately is not: handlers,
//! routing, or access to the backend. A handler asks `store`, converts here, and returns bytes.
//!
//! Invariants: field names and their order in [`legacy`] never change; fields are only added to [`v2`], never renamed;
//! each wire format is held by one snapshot; no secret is ever part of a type here.
//!
//! To add a resource: one file in `v2/`, its types in the list of [`v2::Schemas`], a snapshot. To add a reply of the
//! compatibility API: one file in `legacy/`, fields in emission order, a snapshot.

pub mod clock;
pub mod json;
pub mod legacy;
pub mod quote;
pub mod v2;
mod view;

#[cfg(test)]
mod fixtures;

pub use view::{View, flavor};
