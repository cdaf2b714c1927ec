//! Writes `docs/configuration.md` from the table of keys.

use std::fmt::Write;

use crate::key::{Key, Origin, Reload, Status};
use crate::obsolete::OBSOLETE;
use crate::settings::{Settings, keys};
use crate::value::Kind;

const HEAD: &str = include_str!("documentation/head.md");

/// The text of `docs/configuration.md`.
pub fn markdown() -> String {
    let mut text = HEAD.to_string();
    let mut section = "";
    let defaults = Settings::underived();
    for key in keys() {
        if key.section != section {
            section = key.section;
            let _ =
                write!(text, "\n### {section}\n\n| Key | Type | Default | Status | Meaning |\n|---|---|---|---|---|\n");
        }
        let _ = writeln!(
            text,
            "| `{}`{} | {} | {} | {} | {} |",
            key.name,
            if key.origin == Origin::New { " (new)" } else { "" },
            key.kind.name(),
            default(key, &defaults),
            status(key),
            meaning(key)
        );
    }
    text.push_str("\n## Obsolete keys\n\nAccepted and ignored, with a warning.\n\n| Key | Why |\n|---|---|\n");
    for obsolete in OBSOLETE {
        let _ = writeln!(text, "| `{}` | {} |", obsolete.name, obsolete.reason);
    }
    text
}

fn default(key: &Key, defaults: &Settings) -> String {
    format!("`{}`", key.shown(defaults))
}

fn status(key: &Key) -> String {
    let effect = match key.status {
        Status::Effective => "effective".to_string(),
        Status::NotYet(feature) => format!("not yet: {feature}"),
        Status::Unused(reason) => format!("no effect: {reason}"),
        Status::Superseded(by) => format!("superseded by `{by}`"),
        Status::Unsupported(instead) => format!("not supported: {instead}"),
        Status::Synonym(of) => format!("older name of `{of}`"),
    };
    let settles = matches!(key.status, Status::Effective | Status::NotYet(_));
    if settles && key.reload == Reload::Restart { format!("{effect}; at start") } else { effect }
}

fn meaning(key: &Key) -> String {
    let mut text = key.meaning.to_string();
    if key.kind == Kind::Secret {
        text.push_str(" Secret.");
    }
    if key.expands() {
        text.push_str(" May be `${NAME}`.");
    }
    if let Some(deviation) = &key.deviation {
        let _ = write!(
            text,
            " The original's default is `{}`; ours differs because {}.",
            deviation.original, deviation.reason
        );
    }
    text.replace('|', "\\|")
}
