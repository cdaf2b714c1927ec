//! What was done, by whom.

use api::clock::rfc3339;
use serde_json::{Value, json};
use service::actions::audit;

use super::each;
use crate::answer::{Answer, columns};
use crate::catalogue::Command;
use crate::session::Session;

pub(crate) const COMMANDS: &[Command] = &[each!(
    "Meta",
    "audit",
    list,
    "List what was done, by whom, newest first",
    "audit [-i INSTANCE] [--page N]\n\n\
     Twenty per page; with -i only what was done to this instance. What was refused is there, too."
)];

async fn list(session: &Session<'_>) -> anyhow::Result<Answer> {
    let page = session.flags().number("page").map_err(anyhow::Error::msg)?.unwrap_or(0);
    let page = u32::try_from(page).unwrap_or(u32::MAX);
    let key = if session.named().is_some() { Some(session.instance().await?) } else { None };
    let entries = audit::entries(&session.scope, page, key.as_ref()).await?;
    let instance = |one: &store::audit::Audit| one.instance.as_ref().map(ToString::to_string).unwrap_or_default();
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|one| {
            vec![
                rfc3339(Some(one.audited_at)),
                one.audit_type.clone(),
                instance(one),
                one.actor.clone(),
                one.message.replace(char::is_control, " "),
            ]
        })
        .collect();
    let shown: Vec<Value> = entries
        .iter()
        .map(|one| {
            json!({
                "id": one.id,
                "audited_at": rfc3339(Some(one.audited_at)),
                "audit_type": one.audit_type,
                "instance": one.instance.as_ref().map(ToString::to_string),
                "cluster": one.cluster_name,
                "actor": one.actor,
                "message": one.message,
            })
        })
        .collect();
    Ok(Answer { text: columns(&["WHEN", "WHAT", "INSTANCE", "WHO", "MESSAGE"], &rows), json: shown.into() })
}
