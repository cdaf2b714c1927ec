//! The configuration in force. Secrets are masked.

use std::sync::Arc;

use api::v2::{ConfigFinding, ConfigKey, ConfigReport, FindingLevel};
use axum::Json;
use axum::extract::State;
use config::{Reload, Settings, Status};

use super::Answer;
use super::access::Reader;
use crate::http::site::Site;

/// The settings in force: values, and what the program makes of them.
#[utoipa::path(get, path = "/config", responses((status = 200, body = ConfigReport)))]
pub(super) async fn read_config(State(site): State<Arc<Site>>, Reader(scope): Reader) -> Answer<Json<ConfigReport>> {
    let settings = &scope.config.settings;
    let defaults = Settings::default();
    let keys: Vec<ConfigKey> = config::keys()
        .map(|key| {
            let value = key.shown(settings);
            ConfigKey {
                name: key.name.to_owned(),
                section: key.section.to_owned(),
                kind: format!("{:?}", key.kind).to_lowercase(),
                is_default: !settings.changed(&defaults).iter().any(|changed| changed.name == key.name),
                status: status(key.status).to_owned(),
                is_live: key.reload == Reload::Live,
                meaning: key.meaning.to_owned(),
                value,
            }
        })
        .collect();
    let findings = config::keys().filter_map(|key| finding(key, settings, &defaults)).collect();
    Ok(Json(ConfigReport { files: site.options.config_files.clone(), keys, findings }))
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Effective => "effective",
        Status::NotYet(_) => "not_yet_effective",
        Status::Unused(_) => "unused",
        Status::Superseded(_) => "superseded",
        Status::Unsupported(_) => "unsupported",
        Status::Synonym(_) => "synonym",
    }
}

/// What people should know about a key they have set.
fn finding(key: &config::Key, settings: &Settings, defaults: &Settings) -> Option<ConfigFinding> {
    if !settings.changed(defaults).iter().any(|changed| changed.name == key.name) {
        return None;
    }
    let (level, message) = match key.status {
        Status::Effective => return None,
        Status::NotYet(feature) => (FindingLevel::Warning, format!("not yet effective: {feature}")),
        Status::Unused(reason) => (FindingLevel::Info, format!("without effect: {reason}")),
        Status::Superseded(by) => (FindingLevel::Info, format!("superseded by {by}")),
        Status::Unsupported(instead) => (FindingLevel::Warning, format!("not supported: {instead}")),
        Status::Synonym(of) => (FindingLevel::Info, format!("older name of {of}")),
    };
    Some(ConfigFinding { level, key: key.name.to_owned(), message, suggestion: None })
}
