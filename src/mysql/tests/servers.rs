//! Probes of real servers, compared with what the servers themselves say to independent questions.

#[path = "servers/support.rs"]
mod support;

#[path = "servers/cost.rs"]
mod cost;
#[path = "servers/facts.rs"]
mod facts;
#[path = "servers/failures.rs"]
mod failures;
#[path = "servers/group.rs"]
mod group;
#[path = "servers/logins.rs"]
mod logins;
#[path = "servers/privileges.rs"]
mod privileges;
#[path = "servers/tls.rs"]
mod tls;
#[path = "servers/watching.rs"]
mod watching;
