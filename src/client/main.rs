//! The `orchestrator-client` executable; everything is in the library.

fn main() -> std::process::ExitCode {
    client::main()
}
