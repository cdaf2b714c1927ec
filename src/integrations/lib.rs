//! The outside world that is neither a managed server nor our backend: commands that users hang onto failures,
//! recoveries and takeovers.
//!
//! What it is not: a place that decides whether, when or how often a hook runs. Its caller records that it begins before
//! it begins, and what became of it; so that a worker that takes over knows what may have run.
//!
//! Invariants:
//! - Nothing here waits without a limit: a hook that is waited for has ended, or is killed with all it started, when
//!   [`hooks::run`] returns.
//! - No value (host name, alias, description) is ever read by a shell as a piece of a program.
//! - Of what a hook prints only so much is kept, and no secret that the caller has named.
//!
//! To add another integration (a proxy, a key-value store): a file beside `hooks.rs`, reached from a job or a step.

pub mod hooks;
