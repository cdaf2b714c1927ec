//! The `orchestrator` executable; everything is in the `cli` crate.

fn main() -> std::process::ExitCode {
    cli::main()
}
