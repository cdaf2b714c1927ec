//! The written documentation is that of the code.

#[test]
fn configuration_md_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == config::markdown(), "run: cargo run -p config --example configuration_docs");
}
