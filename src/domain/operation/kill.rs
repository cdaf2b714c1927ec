//! Ending a running statement.

use super::in_place::plan;
use super::steps::identity;
use super::{World, limit};
use crate::instance::InstanceKey;
use crate::plan::{Action, Plan, Refusal, Request, Rule, Step, Threads};

/// The statement of one connection; the connection stays.
pub(super) fn query(request: &Request, instance: &InstanceKey, id: u64, world: &World<'_>) -> Result<Plan, Refusal> {
    if id == 0 {
        return Err(Refusal::new(
            Rule::BadArgument,
            instance,
            "0 is no connection",
            "take a number from the process list of the server",
        ));
    }
    let instance = world.fresh(instance)?;
    // A connection number means something on one server only, and only until that server restarts.
    let step = Step::new(&instance.key, Action::KillQuery { id }, limit::OTHER).when(identity(instance));
    Ok(plan(request, instance, vec![step], Threads::NONE))
}

#[cfg(test)]
mod tests {
    use super::super::in_place::fixture::{Servers, key};
    use super::*;

    #[test]
    fn one_statement_ends() {
        let request = |id| Request::KillQuery { instance: key("a"), id };
        let mut servers = Servers::new();
        assert_eq!(servers.shown(&request(7)), "a:3306: end the statement of connection 7");
        assert_eq!(servers.shown(&request(0)), "bad-argument");
        servers.lose("a");
        assert_eq!(servers.shown(&request(7)), "unreachable");
    }
}
