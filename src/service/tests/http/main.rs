//! The HTTP API against real backends: every test of data runs on MySQL and on MariaDB, in a database of its own.

mod access;
mod analyses;
mod changes;
mod fleet;
mod listening;
mod operating;
mod operations;
mod reading;
mod recoveries;
mod rest;
