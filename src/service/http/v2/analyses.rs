//! What is wrong with replication.

use api::v2::{Analysis, Page, Problem};
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::Reader;
use super::{Answer, tagged};
use crate::actions::analysis::{self, Whose};
use crate::actions::{clusters, names};

/// Whose.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Selection {
    /// Only of this cluster: its name, its alias, or an instance of it.
    cluster: Option<String>,
    /// Only of this instance.
    instance: Option<String>,
}

/// Instances with a problem or a warning, downtimed ones among them; primaries first.
#[utoipa::path(get, path = "/analyses", params(Selection), responses((status = 200, body = Page<Analysis>),
    (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn list_analyses(
    Reader(scope): Reader,
    selection: Result<Query<Selection>, QueryRejection>,
    headers: HeaderMap,
) -> Answer<Response> {
    let Query(selection) = selection?;
    let listing = match (&selection.instance, &selection.cluster) {
        (Some(instance), _) => {
            let key = names::understand(&scope, names::parse(&scope, instance)?).await?;
            analysis::list(&scope, Whose::Instance(&key)).await?
        }
        (None, Some(cluster)) => {
            let name = clusters::by_hint(&scope, cluster).await?;
            analysis::list(&scope, Whose::Cluster(&name)).await?
        }
        (None, None) => analysis::list(&scope, Whose::All).await?,
    };
    let shown = listing.findings.iter().map(|finding| {
        let alias = listing.cluster(finding).map_or("", |cluster| cluster.cluster_alias.as_str());
        Analysis::new(finding, alias, listing.now)
    });
    Ok(tagged(&headers, &Page::whole(shown.collect())))
}
