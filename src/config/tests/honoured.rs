//! What is said to be effective is looked at by the code that should act on it. Searches the sources: a key that nobody
//! reads compiles, and `orchestrator config check` would go on promising that it does something.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use config::Status;
use regex::Regex;

/// Keys that this crate itself turns into something else, with where others find that.
const CARRIED: &[(&str, &str, &str)] = &[
    ("BackendDB", "backend", "addresses"),
    ("MySQLOrchestratorHost", "backend", "addresses"),
    ("MySQLOrchestratorHosts", "backend", "addresses"),
    ("MySQLOrchestratorPort", "backend", "addresses"),
    ("MySQLOrchestratorCredentialsConfigFile", "backend", "password"),
    ("MySQLTopologyCredentialsConfigFile", "topology", "password"),
    ("ClusterNameToAlias", "patterns", "cluster_aliases"),
    ("DataCenterPattern", "patterns", "data_center"),
    ("RegionPattern", "patterns", "region"),
    ("PhysicalEnvironmentPattern", "patterns", "physical_environment"),
    ("OSCIgnoreHostnameFilters", "patterns", "osc_ignore"),
    ("ProblemIgnoreHostnameFilters", "patterns", "problem_ignore"),
    ("RejectHostnameResolvePattern", "patterns", "reject_hostname_resolve"),
    ("FailureConfirmationSecondsByCluster", "patterns", "confirmation"),
    ("PromotionIgnoreHostnameFilters", "patterns", "promotion_ignore"),
    ("RecoverMasterClusterFilters", "patterns", "recover_masters"),
    ("RecoverIntermediateMasterClusterFilters", "patterns", "recover_intermediate_masters"),
    ("RecoveryIgnoreHostnameFilters", "patterns", "recovery_ignore"),
];

#[test]
fn every_effective_key_is_used_outside_this_crate() {
    let carried: BTreeMap<&str, (&str, &str)> =
        CARRIED.iter().map(|(key, place, field)| (*key, (*place, *field))).collect();
    let sources = sources();
    let idle: Vec<&str> = config::keys()
        .filter(|key| key.status == Status::Effective)
        .filter(|key| {
            let (place, field) = carried.get(key.name).copied().unwrap_or(key.place);
            !sources.iter().any(|words| reads(words, place, field))
        })
        .map(|key| key.name)
        .collect();
    assert!(idle.is_empty(), "effective by their rows, used nowhere: {idle:?}");
}

#[test]
fn the_search_tells_used_from_unused() {
    let text = words(&production(
        "fn f() { let d = &settings\n.discovery; d.poll; }\n#[cfg(test)]\nmod tests { discovery.tested }",
    ));
    assert!(reads(&text, "discovery", "poll") && !reads(&text, "discovery", "poll_seconds"));
    assert!(!reads(&text, "discovery", "tested"), "tests do not count");
    assert!(!reads(&text, "queue", "poll"), "the field of another section");
    assert!(reads(&words("fn f(http: &Http) { http.port }"), "http", "port"), "the section handed on");
    assert!(!reads(&words(&production("// settings.discovery.poll\n")), "discovery", "poll"), "comments do not count");
}

/// The words of a file, those after a dot with the dot: what it may read from a section.
fn words(text: &str) -> BTreeSet<String> {
    let word = Regex::new(r"(\.\s*)?\b[A-Za-z_][A-Za-z0-9_]*").unwrap();
    word.find_iter(text).map(|found| found.as_str().split_whitespace().collect()).collect()
}

/// Has the section, as a field or as its type, and a field of that name.
fn reads(words: &BTreeSet<String>, place: &str, field: &str) -> bool {
    let section = place[..1].to_uppercase() + &place[1..];
    words.contains(&format!(".{field}")) && (words.contains(&format!(".{place}")) || words.contains(&section))
}

/// The words of each file of the program: everything but this crate, tests and examples.
fn sources() -> Vec<BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for folder in ["src", "jobs"] {
        collect(&root.join(folder), &mut files);
    }
    assert!(files.len() > 100, "found only {} files below {}", files.len(), root.display());
    files.iter().map(|file| words(&production(&fs::read_to_string(file).unwrap()))).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !["config", "tests", "examples", "end_to_end"].contains(&name) {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs" {
            files.push(path);
        }
    }
}

/// Without comments and the tests at the end.
fn production(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}
