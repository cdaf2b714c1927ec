//! Whole runs of the command line in this process: arguments in, stdout, stderr and exit status out, on a real backend.

mod answers;
mod fixture;
mod operations;
mod recoveries;
mod streams;
