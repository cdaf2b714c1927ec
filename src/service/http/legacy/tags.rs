//! Tags on instances.

use api::legacy::Key;

use super::super::reply::Reply;
use super::call::{Answer, Call};
use super::{Route, route};
use crate::actions::{Error, tags};

pub(super) const ROUTES: &[Route] = &[
    route!(Read, "tagged", find),
    route!(Read, "tags/:host/:port", list),
    route!(Read, "tag-value/:host/:port", value),
    route!(Read, "tag-value/:host/:port/:tagName", value),
    route!(Write, "tag/:host/:port", put),
    route!(Write, "tag/:host/:port/:tagName/:tagValue", put),
    route!(Write, "untag/:host/:port", remove),
    route!(Write, "untag/:host/:port/:tagName", remove),
    route!(Write, "untag-all", remove_everywhere),
    route!(Write, "untag-all/:tagName/:tagValue", remove_everywhere),
];

/// `?tag=` wins over the path.
fn tag(call: &Call) -> Result<String, Error> {
    match (call.query("tag").unwrap_or_default().trim(), call.param("tagName"), call.param("tagValue")) {
        ("", "", _) => Err(Error::Invalid("no tag given: use ?tag=name or ?tag=name%3Dvalue".to_owned())),
        ("", name, "") => Ok(name.to_owned()),
        ("", name, value) => Ok(format!("{name}={value}")),
        (tag, _, _) => Ok(tag.to_owned()),
    }
}

async fn find(call: Call) -> Answer {
    let keys = tags::find(&call.scope, &tag(&call)?).await?;
    Ok(Reply::raw(&Key::list(&keys)))
}

async fn list(call: Call) -> Answer {
    let tags = tags::list(&call.scope, &call.key().await?).await?;
    let texts: Vec<String> = tags.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(Reply::raw(&texts))
}

/// `tag <name> not found for <key>` is a text that clients match.
async fn value(call: Call) -> Answer {
    let (key, name) = (call.key().await?, tag(&call)?);
    let value = tags::value(&call.scope, &key, &name).await?;
    let value = value.ok_or_else(|| Error::NotFound(format!("tag {name} not found for {key}")))?;
    Ok(Reply::raw(&value))
}

async fn put(call: Call) -> Answer {
    let (key, tag) = (call.key().await?, tag(&call)?);
    tags::put(&call.scope, &key, &tag).await?;
    call.envelope(format!("{key} tagged with {tag}"), Key::from(&key))
}

async fn remove(call: Call) -> Answer {
    let (key, tag) = (call.key().await?, tag(&call)?);
    let changed = tags::remove(&call.scope, &key, &tag).await?;
    call.envelope(format!("{tag} removed from {} instances", changed.len()), Key::list(&changed))
}

async fn remove_everywhere(call: Call) -> Answer {
    let tag = tag(&call)?;
    let changed = tags::remove_everywhere(&call.scope, &tag).await?;
    call.envelope(format!("{tag} removed from {} instances", changed.len()), Key::list(&changed))
}
