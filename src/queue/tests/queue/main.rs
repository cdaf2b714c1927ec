//! The queue on real servers. Times are set by SQL, conditions are waited for with a deadline.

mod enqueueing;
mod inspecting;
mod maintaining;
mod pooling;
mod running;
mod support;
mod surviving;
