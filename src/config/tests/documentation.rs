//! The written documentation is that of the code.

#[test]
fn configuration_md_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == config::markdown(), "run: cargo run -p config --example configuration_docs");
}

#[test]
fn the_example_in_it_loads() {
    let dir = tempfile::tempdir().unwrap();
    let credentials = dir.path().join("my.cnf");
    std::fs::write(&credentials, "[client]\nuser=orc_backend\npassword=p\n").unwrap();
    let text = config::markdown();
    let example = text.split("```json").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let example = example.replace("/etc/mysql/orchestrator-backend.cnf", credentials.to_str().unwrap());
    let environment = config::Environment::new(|name| (name == "ORC_TOPOLOGY_PASSWORD").then(|| "t".to_string()));
    let loaded = config::load_bytes(vec![("example".into(), example.into_bytes())], &environment).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert!(loaded.settings.check_backend().is_empty());
    assert_eq!(loaded.settings.topology.password.expose(), "t");
}

#[test]
fn original_and_new_keys_are_told_apart() {
    let text = config::markdown();
    assert!(text.contains("| `WorkerConcurrency` (new) |") && text.contains("| `InstancePollSeconds` | uint | `5` |"));
    assert!(text.contains("The original's default is `1`; ours differs because"));
}
