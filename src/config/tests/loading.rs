//! Files, merging, secrets, reload: what a user sees of the loader.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{AuthMethod, ConfigError, Environment, Loaded, Loader, Settings, Warning, check, load_bytes};
use rstest::rstest;

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<BTreeMap<_, _>>().into()
}

fn merged(texts: &[&str]) -> Result<Loaded, ConfigError> {
    let sources =
        texts.iter().enumerate().map(|(n, text)| (format!("f{n}").into(), text.as_bytes().to_vec())).collect();
    load_bytes(sources, &environment(&[("PW", "from-env"), ("EMPTY", "")]))
}

fn settings(texts: &[&str]) -> Settings {
    (*merged(texts).unwrap().settings).clone()
}

fn error(text: &str) -> String {
    merged(&[text]).unwrap_err().to_string()
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn an_empty_object_is_the_default() {
    assert_eq!(settings(&["{}"]), Settings::default());
    assert_eq!(settings(&["null"]), Settings::default());
    assert_eq!(settings(&[]), Settings::default());
}

#[test]
fn later_files_win_lists_are_replaced_and_maps_merged() {
    let s = settings(&[
        r#"{"InstancePollSeconds": 7, "DiscoverySeeds": ["a", "b"], "ClusterNameToAlias": {"x": "1", "y": "2"}, "ReadOnly": true}"#,
        r#"{"InstancePollSeconds": 8, "DiscoverySeeds": ["c"], "ClusterNameToAlias": {"y": "3", "z": "4"}}"#,
    ]);
    assert_eq!(s.discovery.instance_poll_seconds, 8);
    assert_eq!(s.discovery.discovery_seeds, ["c"]);
    let aliases: Vec<_> = s.classification.cluster_name_to_alias.iter().map(|(k, v)| format!("{k}{v}")).collect();
    assert_eq!(aliases, ["x1", "y3", "z4"]);
    assert!(s.auth.read_only);
}

#[test]
fn names_ignore_case_and_the_last_of_a_repeated_key_wins() {
    let s = settings(&[
        r#"{"listenaddress": ":1", "LISTENADDRESS": ":2", "ListenAddress": ":3", "INSTANCEPOLLSECONDS": 9}"#,
    ]);
    assert_eq!(s.http.listen_address, ":3");
    assert_eq!(s.discovery.instance_poll_seconds, 9);
}

#[test]
fn null_leaves_scalars_and_empties_lists_and_maps() {
    let s = settings(&[
        r#"{"InstancePollSeconds": 7, "DiscoverySeeds": ["a"], "ClusterNameToAlias": {"x": "1"}, "AuthenticationMethod": "token"}"#,
        r#"{"InstancePollSeconds": null, "DiscoverySeeds": null, "ClusterNameToAlias": null, "AuthenticationMethod": null, "PowerAuthUsers": null}"#,
    ]);
    assert_eq!(s.discovery.instance_poll_seconds, 7);
    assert!(s.discovery.discovery_seeds.is_empty());
    assert!(s.classification.cluster_name_to_alias.is_empty());
    assert_eq!(s.auth.authentication_method, AuthMethod::Token);
    assert!(s.auth.power_auth_users.is_empty());
}

#[test]
fn only_the_first_value_of_a_file_counts() {
    assert_eq!(settings(&["{\"InstancePollSeconds\": 6} trailing {"]).discovery.instance_poll_seconds, 6);
}

#[rstest]
#[case("", "f0: this is not JSON")]
#[case("{,}", "f0: this is not JSON")]
#[case("{\"Debug\": true,}", "f0: this is not JSON")]
#[case("[1]", "f0: the file does not begin with a JSON object")]
#[case("\"hunter2\"", "f0: the file does not begin with a JSON object")]
#[case(
    r#"{"InstancePollSeconds": "5"}"#,
    "f0: InstancePollSeconds must be a whole number, not negative, but is a string"
)]
#[case(
    r#"{"instancepollseconds": -5}"#,
    "f0: InstancePollSeconds must be a whole number, not negative, but is a negative number"
)]
#[case(r#"{"InstancePollSeconds": 1.5}"#, "must be a whole number, not negative, but is a number with a fraction")]
#[case(r#"{"Debug": 1}"#, "f0: Debug must be true or false, but is a whole number")]
#[case(r#"{"DiscoverySeeds": "a"}"#, "f0: DiscoverySeeds must be a list of strings, but is a string")]
#[case(
    r#"{"DiscoverySeeds": ["a", 1]}"#,
    "DiscoverySeeds must be only strings as its entries, but is a whole number as entry 2"
)]
#[case(r#"{"ClusterNameToAlias": ["a"]}"#, "ClusterNameToAlias must be an object of strings, but is a list")]
#[case(r#"{"MySQLOrchestratorPort": 70000}"#, "MySQLOrchestratorPort must be a port number up to 65535")]
#[case(r#"{"MySQLTopologyPassword": {"hunter2": 1}}"#, "MySQLTopologyPassword must be a string, but is an object")]
fn malformed(#[case] text: &str, #[case] expected: &str) {
    let error = error(text);
    assert!(error.contains(expected), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[rstest]
#[case("InstancePollSecond", "InstancePollSeconds")]
#[case("ListenAdress", "ListenAddress")]
#[case("RecoverMastreClusterFilters", "RecoverMasterClusterFilters")]
#[case("mysqltopologyuesr", "MySQLTopologyUser")]
#[case("Debgu", "Debug")]
fn a_misspelt_key_is_told_with_the_nearest(#[case] given: &str, #[case] expected: &str) {
    let loaded = merged(&[&format!(r#"{{"{given}": 1}}"#)]).unwrap();
    let expected =
        Warning::Unknown { file: "f0".into(), key: given.into(), nearest: config::find_key(expected).map(|k| k.name) };
    assert_eq!(loaded.warnings, [expected]);
}

#[test]
fn comments_are_silent_obsolete_and_foreign_keys_are_not() {
    let loaded = merged(&[r#"{"_comment": 1, "statussimplehealth": true, "Zzyzx Road 7": "\u001b[31m"}"#]).unwrap();
    let texts: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "f0: StatusSimpleHealth is obsolete and ignored: the health check is always the simple one",
            "f0: unknown key Zzyzx Road 7"
        ]
    );
}

#[test]
fn hostile_keys_are_bounded() {
    let long = "k".repeat(100_000);
    let many: Vec<_> = (0..5_000).map(|n| format!("\"\\u001bkey{n}\": 0")).collect();
    let loaded = merged(&[&format!("{{\"{long}\": 1}}"), &format!("{{{}}}", many.join(","))]).unwrap();
    assert_eq!(loaded.warnings.len(), 102);
    for warning in &loaded.warnings {
        let text = warning.to_string();
        assert!(text.len() < 500 && !text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let error = error(
        r#"{"Debug": "x", "InstancePollSeconds": 0, "AuthenticationMethod": "bacis", "DiscoveryIgnoreHostnameFilters": ["("],
            "BackendDB": "sqlite3", "RaftEnabled": true}"#,
    );
    for key in [
        "Debug",
        "InstancePollSeconds",
        "AuthenticationMethod",
        "DiscoveryIgnoreHostnameFilters",
        "BackendDB",
        "RaftEnabled",
    ] {
        assert!(error.contains(&format!("f0: {key} ")), "{key} in {error}");
    }
    assert!(error.contains("did you mean `basic`?"), "{error}");
    assert!(error.starts_with("configuration: 6 problems"), "{error}");
}

#[test]
fn a_key_of_the_wrong_type_has_no_follow_up_problem() {
    let error = error(r#"{"UseSSL": true, "SSLPrivateKeyFile": "k", "SSLCertFile": 7}"#);
    assert_eq!(error, "configuration: f0: SSLCertFile must be a string, but is a whole number");
}

#[rstest]
#[case("${PW}", "from-env", 0)]
#[case("plain", "plain", 0)]
#[case("a$b{c}", "a$b{c}", 0)]
#[case("${PW", "${PW", 0)]
#[case("${EMPTY}", "", 0)]
#[case("x${PW}y", "from-env", 1)]
fn secrets_are_expanded(#[case] given: &str, #[case] expected: &str, #[case] warnings: usize) {
    for key in ["MySQLTopologyPassword", "MySQLOrchestratorPassword", "ConsulAclToken", "OAuthClientSecret"] {
        let loaded = merged(&[&format!(r#"{{"{key}": "{given}"}}"#)]).unwrap();
        let s = &loaded.settings;
        let found = match key {
            "MySQLTopologyPassword" => &s.topology.password,
            "MySQLOrchestratorPassword" => &s.backend.password,
            "ConsulAclToken" => &s.kv.consul_acl_token,
            _ => &s.auth.oauth_client_secret,
        };
        assert_eq!(found.expose(), expected, "{key}");
        assert_eq!(loaded.warnings.len(), warnings);
    }
}

#[test]
fn user_names_are_expanded_and_other_keys_are_not() {
    let s = settings(&[
        r#"{"MySQLTopologyUser": "${PW}", "MySQLOrchestratorUser": "${PW}", "HTTPAuthUser": "${PW}", "WebMessage": "${PW}"}"#,
    ]);
    assert_eq!((s.topology.user.as_str(), s.backend.user.as_str()), ("from-env", "from-env"));
    assert_eq!((s.auth.http_auth_user.as_str(), s.http.web_message.as_str()), ("from-env", "${PW}"));
}

#[rstest]
#[case("${NOPE}", "refers to the environment variable NOPE, which is not set")]
#[case("${}", "no name of a variable")]
#[case("${PW}-${PW}", "no name of a variable")]
#[case("hunter2${hunter2 !}", "no name of a variable")]
fn a_variable_that_is_not_set_is_an_error(#[case] given: &str, #[case] expected: &str) {
    let error = error(&format!(r#"{{"MySQLTopologyPassword": "{given}"}}"#));
    assert!(error.contains("f0: MySQLTopologyPassword ") && error.contains(expected), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn credential_files_replace_user_and_password_and_are_expanded_after() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "my.cnf", "[mysqld]\nuser=no\n[client]\nuser = topo\npassword = \"${PW}\"\nport=3\n");
    let only_user = write(dir.path(), "user.cnf", "[client]\nuser = u\n");
    let s = settings(&[&format!(
        r#"{{"MySQLTopologyUser": "x", "MySQLTopologyPassword": "y", "MySQLTopologyCredentialsConfigFile": {file:?},
             "MySQLOrchestratorUser": "x", "MySQLOrchestratorPassword": "y", "MySQLOrchestratorCredentialsConfigFile": {only_user:?}}}"#
    )]);
    assert_eq!((s.topology.user.as_str(), s.topology.password.expose()), ("topo", "from-env"));
    assert_eq!((s.backend.user.as_str(), s.backend.password.expose()), ("u", ""));

    let missing = error(r#"{"MySQLTopologyCredentialsConfigFile": "/nonexistent/my.cnf"}"#);
    assert!(
        missing.contains("/nonexistent/my.cnf: MySQLTopologyCredentialsConfigFile names a file that cannot be read"),
        "{missing}"
    );
    let bad = write(dir.path(), "bad.cnf", "[client]\npassword=\"hunter2\n");
    let bad = error(&format!(r#"{{"MySQLOrchestratorCredentialsConfigFile": {bad:?}}}"#));
    assert!(bad.contains("malformed file: line 2: a double quote is not closed") && !bad.contains("hunter2"), "{bad}");
}

#[test]
fn secrets_show_nowhere() {
    let loaded = merged(&[
        r#"{"MySQLTopologyPassword": "hunter2", "MySQLOrchestratorPassword": "hunter2", "HTTPAuthPassword": "hunter2",
            "ConsulAclToken": "hunter2", "OAuthClientSecret": "hunter2"}"#,
    ])
    .unwrap();
    let report = check(&loaded);
    let dump: serde_json::Map<_, _> = loaded.settings.dump().into_iter().map(|(k, v)| (k.to_string(), v)).collect();
    assert_eq!(dump["MySQLTopologyPassword"], "******");
    let shown = format!("{loaded:?} {report} {report:?} {} {dump:?}", serde_json::to_string(&report).unwrap());
    assert!(shown.contains("Secret(***)"));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn the_report_sorts_keys_by_effect() {
    let loaded = merged(&[
        r#"{"ListenAddress": ":3001", "ServeAgentsHttp": true, "DiscoveryMaxConcurrency": 3, "SlaveLagQuery": "select 1",
            "InstancePolSeconds": 1, "OAuthClientId": "x", "RaftNodes": ["a"]}"#,
    ])
    .unwrap();
    let text = check(&loaded).to_string();
    let expected = r#"Read f0

Effective:
  ListenAddress = ":3001"

Not yet effective (waiting for):
  ServeAgentsHttp = true  (agents)

Without effect (because):
  OAuthClientId = "x"  (OAuth never worked)
  DiscoveryMaxConcurrency = 3  (superseded by WorkerConcurrency)
  RaftNodes = ["a"]  (not supported: leader election in a shared, replicated backend)

Older names (use instead):
  SlaveLagQuery = "select 1"  (ReplicationLagQuery)

Warnings:
  f0: unknown key InstancePolSeconds: did you mean InstancePollSeconds?
"#;
    assert_eq!(text, expected);
}

#[test]
fn named_files_must_exist_and_search_files_need_not() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none.json");
    let error = Loader::new(Some(missing.clone()), Environment::empty()).load().unwrap_err();
    assert!(matches!(&error, ConfigError::Read { file, .. } if *file == missing), "{error}");

    let first = write(dir.path(), "a.json", r#"{"InstancePollSeconds": 7}"#);
    let second = write(dir.path(), "b.json", r#"{"InstancePollSeconds": 8}"#);
    let loaded =
        Loader::search(vec![first.clone(), missing.clone(), second.clone()], Environment::empty()).load().unwrap();
    assert_eq!(loaded.settings.discovery.instance_poll_seconds, 8);
    assert_eq!(loaded.files, [first, second.clone()]);
    assert_eq!(
        loaded.set.iter().map(|set| (set.name, set.file.clone())).collect::<Vec<_>>(),
        [("InstancePollSeconds", second)]
    );
    let none = Loader::search(vec![missing], Environment::empty()).load().unwrap();
    assert_eq!((*none.settings).clone(), Settings::default());
    // A directory exists but cannot be read: told, not silent.
    let unreadable = Loader::search(vec![dir.path().to_path_buf()], Environment::empty()).load().unwrap();
    assert!(matches!(unreadable.warnings.as_slice(), [Warning::Unreadable { .. }]));
}

#[test]
fn endless_files_are_refused() {
    let error = Loader::new(Some("/dev/zero".into()), Environment::empty()).load().unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }));
}

#[test]
fn reload_starts_from_the_defaults_and_a_broken_file_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "a.json", r#"{"InstancePollSeconds": 7, "ReadOnly": true, "ListenAddress": ":1"}"#);
    let loader = Loader::search(vec![file.clone()], Environment::empty());
    let first = loader.load().unwrap().settings;

    write(dir.path(), "a.json", r#"{"ReadOnly": true, "ListenAddress": ":2", "WorkerConcurrency": 3}"#);
    let second = loader.reload().unwrap();
    assert_eq!(second.discovery.instance_poll_seconds, 5);
    assert_eq!(first.restart_needed(&second), ["ListenAddress", "WorkerConcurrency"]);
    assert_eq!(first.changed(&second).len(), 3);

    write(dir.path(), "a.json", r#"{"ReadOnly": tru"#);
    assert!(matches!(loader.reload(), Err(ConfigError::Invalid { .. })));
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(loader.reload(), Err(ConfigError::Read { .. })), "a file that was there must not silently go");

    write(dir.path(), "a.json", "{}");
    let extra = write(dir.path(), "extra.json", r#"{"InstancePollSeconds": 9}"#);
    assert_eq!(loader.load_with(Some(&extra)).unwrap().settings.discovery.instance_poll_seconds, 9);
    assert_eq!(loader.reload().unwrap().discovery.instance_poll_seconds, 5);
}
