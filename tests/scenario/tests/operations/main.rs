//! Operations on real servers under a steady write load: each does what it says, refuses what is unsafe, and harms nobody
//! when something breaks.

mod every;
mod positions;
mod refusals;
mod row;
mod troubles;
