//! Promotion rules: who may become primary.

use service::actions::candidates;
use store::candidates::Lasting;

use super::each;
use crate::answer::Answer;
use crate::catalogue::Command;
use crate::session::Session;

/// What `--promotion-rule` means when it is not given.
const DEFAULT_RULE: &str = "prefer";

pub(crate) const COMMANDS: &[Command] = &[
    each!(
        "Instance, meta",
        "register-candidate",
        register,
        "Say how willingly an instance is to be promoted",
        "register-candidate -i INSTANCE [--promotion-rule prefer|neutral|prefer_not|must_not] [--durable]\n\n\
         The rule expires after CandidateInstanceExpireMinutes: register it again and again, from a crontab for instance.\n\
         With --durable it stays until another is registered, and DetectPromotionRuleQuery does not overrule it."
    ),
    each!(
        "",
        "bulk-promotion-rules",
        all,
        "List the registered promotion rules",
        "Prints host:port and rule per line, sorted as text."
    ),
];

async fn register(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = session.instance().await?;
    let rule = session.flags().get("promotion-rule").unwrap_or(DEFAULT_RULE);
    let lasting = if session.flags().is_on("durable") { Lasting::Durable } else { Lasting::Expiring };
    candidates::register(&session.scope, &key, rule, lasting).await?;
    Ok(Answer::key(&key))
}

async fn all(session: &Session<'_>) -> anyhow::Result<Answer> {
    let rules = candidates::list(&session.scope).await?;
    let mut lines: Vec<String> =
        rules.iter().map(|one| format!("{}:{} {}", one.hostname, one.port, one.promotion_rule)).collect();
    lines.sort();
    Ok(Answer { text: Answer::lines(&lines).text, json: serde_json::to_value(&rules)? })
}
