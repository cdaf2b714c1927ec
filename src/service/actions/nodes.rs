//! The processes of the fleet.

use store::nodes::Node;

use super::{Error, Scope};

/// Registered processes, live ones first, then by name.
pub async fn list(scope: &Scope) -> Result<Vec<Node>, Error> {
    Ok(store::nodes::read_all(&scope.pool).await?)
}
