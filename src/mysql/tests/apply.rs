//! Orders to real servers, given with the account that the manual asks for, and judged by what the servers then say
//! themselves.

#[path = "servers/support.rs"]
mod support;

#[path = "apply/close.rs"]
mod close;
#[path = "apply/deadlines.rs"]
mod deadlines;
#[path = "apply/gtids.rs"]
mod gtids;
#[path = "apply/orders.rs"]
mod orders;
#[path = "apply/receivers.rs"]
mod receivers;
#[path = "apply/relay_places.rs"]
mod relay_places;
#[path = "apply/source.rs"]
mod source;
#[path = "apply/switches.rs"]
mod switches;
#[path = "apply/unfinished.rs"]
mod unfinished;
