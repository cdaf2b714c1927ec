//! Rewrites `docs/configuration.md` from the table of keys.

fn main() -> std::io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    std::fs::write(path, config::markdown())
}
