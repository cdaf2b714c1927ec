//! Whatever the files contain, loading answers; and no answer shows a secret.

use std::path::PathBuf;

use config::{Environment, check, keys, load_bytes, parse_credentials, parse_host_port, parse_listen_address};
use proptest::prelude::*;
use serde_json::Value;

fn load(bytes: Vec<u8>) -> Result<config::Loaded, config::ConfigError> {
    load_bytes(vec![(PathBuf::from("fuzz"), bytes)], &Environment::empty())
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z0-9*/, \\[\\](){}|+?^$.:-]{0,24}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_key() -> impl Strategy<Value = String> {
    let names: Vec<String> = keys().map(|key| key.name.to_string()).collect();
    prop_oneof![4 => prop::sample::select(names), 1 => any::<String>()]
}

proptest! {
    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = load(bytes);
    }

    #[test]
    fn json_under_known_keys_never_panics(entries in prop::collection::vec((any_key(), any_json()), 0..12)) {
        let text: Vec<String> = entries.iter().map(|(key, value)| format!("{}:{value}", Value::from(key.as_str()))).collect();
        match load(format!("{{{}}}", text.join(",")).into_bytes()) {
            Ok(loaded) => {
                let report = check(&loaded);
                let _ = (report.to_string(), serde_json::to_string(&report).unwrap());
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn cron_expressions_never_panic(text in "[0-9*/,A-Za-z? -]{0,32}") {
        let _ = load(serde_json::json!({ "CleanupSchedule": text }).to_string().into_bytes());
    }

    #[test]
    fn credential_files_never_panic(text in any::<String>(), tail in "[\"\\\\#;=\\[\\]a-z \n]{0,64}") {
        let _ = parse_credentials(&text);
        let _ = parse_credentials(&format!("[client]\npassword={tail}"));
    }

    #[test]
    fn addresses_never_panic(text in any::<String>(), more in "[\\[\\]:0-9a-f.]{0,24}") {
        for text in [text, more] {
            let _ = (parse_host_port(&text, 1), parse_listen_address(&text));
        }
    }

    /// A value of any type and content under a secret key, broken files included.
    #[test]
    fn secrets_never_show(
        key in prop::sample::select(keys().filter(|key| key.is_secret()).map(|key| key.name).collect::<Vec<_>>()),
        before in "[ -~]{0,8}", after in "[ -~]{0,8}", cut in 0_usize..4, listed in any::<bool>(),
    ) {
        let secret = Value::from(format!("{before}hunter2{after}"));
        let value = if listed { Value::from(vec![secret]) } else { secret };
        let mut text = serde_json::json!({ key: value }).to_string();
        text.truncate(text.len().saturating_sub(cut));
        let shown = match load(text.into_bytes()) {
            Ok(loaded) => format!("{loaded:?} {} {:?}", check(&loaded), loaded.settings.dump()),
            Err(error) => format!("{error} {error:?}"),
        };
        prop_assert!(!shown.contains("hunter2"), "{}", shown);
    }
}
