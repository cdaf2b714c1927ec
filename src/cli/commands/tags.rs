//! Tags on instances.

use serde_json::json;
use service::actions::tags;

use super::each;
use crate::answer::{Answer, ended};
use crate::catalogue::Command;
use crate::session::Session;

const SECTION: &str = "Tags";

pub(crate) const COMMANDS: &[Command] = &[
    each!(
        SECTION,
        "tags",
        list,
        "List the tags of an instance",
        "Prints name=value per line, by name. A tag without a value prints as name= with nothing after it."
    ),
    each!(
        SECTION,
        "tag-value",
        value,
        "Print the value of a tag of an instance",
        "tag-value -i INSTANCE --tag NAME\n\nPrints the value, an empty line for a tag without one, nothing when the instance does not carry the tag."
    ),
    each!(
        SECTION,
        "tagged",
        tagged,
        "List instances by their tags",
        "tagged --tag TERM[,TERM...]\n\n\
         Prints instances that satisfy every term: name (has the tag), name=value, ~name (has tags, but not this one),\n\
         ~name=value (has the tag with another value). ! is the same as ~."
    ),
    each!(
        SECTION,
        "tag",
        put,
        "Put a tag on an instance",
        "tag -i INSTANCE --tag NAME[=VALUE]\n\nReplaces the value of a tag that is there. Prints host:port."
    ),
    each!(
        SECTION,
        "untag",
        remove,
        "Remove a tag from an instance",
        "untag -i INSTANCE --tag NAME[=VALUE]\n\nRemoves the tag, with =VALUE only if it has that value. Prints host:port if there was such a tag."
    ),
    each!(
        SECTION,
        "untag-all",
        remove_everywhere,
        "Remove a tag with a value from all instances",
        "untag-all --tag NAME=VALUE\n\nPrints the instances that carried it."
    ),
];

async fn list(session: &Session<'_>) -> anyhow::Result<Answer> {
    let found = tags::list(&session.scope, &session.instance().await?).await?;
    let pairs: serde_json::Map<String, serde_json::Value> =
        found.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let text = ended(found.iter().map(|(name, value)| format!("{name}={value}")));
    Ok(Answer { text, json: pairs.into() })
}

async fn value(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = session.instance().await?;
    let value = tags::value(&session.scope, &key, session.base.required("tag")?).await?;
    Ok(value.map_or_else(Answer::nothing, Answer::line))
}

async fn tagged(session: &Session<'_>) -> anyhow::Result<Answer> {
    Ok(Answer::keys(&tags::find(&session.scope, session.base.required("tag")?).await?))
}

async fn put(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = session.instance().await?;
    tags::put(&session.scope, &key, session.base.required("tag")?).await?;
    Ok(Answer::key(&key))
}

async fn remove(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = session.instance().await?;
    Ok(Answer::keys(&tags::remove(&session.scope, &key, session.base.required("tag")?).await?))
}

async fn remove_everywhere(session: &Session<'_>) -> anyhow::Result<Answer> {
    Ok(Answer::keys(&tags::remove_everywhere(&session.scope, session.base.required("tag")?).await?))
}
