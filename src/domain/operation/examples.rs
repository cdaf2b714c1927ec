//! Plans by example: what each move does, step by step, in the smallest world that shows it; and half-done worlds.

mod gtid;
mod many;
mod position;
mod resumed;
mod roles;

use super::fixture::{Fixture, key, short};
use crate::plan::{Plan, Request};

fn relocate_replicas(of: &str, below: &str) -> Request {
    Request::RelocateReplicas { of: key(of), below: key(below), pattern: String::new() }
}

/// The steps that this request makes in this world.
fn check(world: &str, request: &Request, expected: &[&str]) {
    assert_eq!(Fixture::new(world).steps(request), expected, "{request:?}");
}

fn moved(plan: &Plan) -> Vec<String> {
    let branches = plan.branches.iter();
    branches.map(|one| short(&format!("{}<{}", one.instance, one.new_source.clone().unwrap_or_default()))).collect()
}

const TREE: &str = "a\n  b\n    c\n      e\n    d";
const BY_POSITION: &str = "a\n  b nogtid\n    c nogtid\n    d nogtid\n    e nogtid";
