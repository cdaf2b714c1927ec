//! Tags on instances.

use std::collections::BTreeMap;

use domain::instance::InstanceKey;
use domain::tag::Tag;

use super::{Error, Record, Scope};

/// Tags of an instance as (name, value), sorted by name.
pub async fn list(scope: &Scope, key: &InstanceKey) -> Result<Vec<(String, String)>, Error> {
    Ok(store::tags::read(&scope.pool, key).await?.into_iter().collect())
}

/// All tags, by instance and name.
pub async fn all(scope: &Scope) -> Result<BTreeMap<InstanceKey, BTreeMap<String, String>>, Error> {
    Ok(store::tags::read_all(&scope.pool).await?)
}

/// Value of a tag; `None`: the instance does not carry it.
pub async fn value(scope: &Scope, key: &InstanceKey, name: &str) -> Result<Option<String>, Error> {
    let tag: Tag = name.parse().map_err(Error::invalid)?;
    Ok(list(scope, key).await?.into_iter().find(|(name, _)| *name == tag.name).map(|(_, value)| value))
}

/// Instances that satisfy every term of the expression, sorted as text.
pub async fn find(scope: &Scope, expression: &str) -> Result<Vec<InstanceKey>, Error> {
    let terms = Tag::parse_all(expression).map_err(Error::invalid)?;
    let mut found: Vec<InstanceKey> = store::tags::tagged_all(&scope.pool, &terms).await?.into_iter().collect();
    found.sort_by_cached_key(ToString::to_string);
    Ok(found)
}

/// Puts a tag on an instance, replacing its value.
pub async fn put(scope: &Scope, key: &InstanceKey, text: &str) -> Result<(), Error> {
    let tag: Tag = text.parse().map_err(Error::invalid)?;
    if tag.negated {
        return Err(Error::Invalid(format!("cannot put a negated tag: {text}")));
    }
    let value = tag.value.as_deref().unwrap_or_default();
    let mut tx = scope.begin().await?;
    store::tags::set(&mut tx, key, &tag.name, value).await?;
    let message = format!("{}={value}", tag.name);
    let record = Record { kind: "tag", key: Some(key), message: &message, ..Record::default() };
    scope.commit_as(tx, &record).await
}

/// Removes a tag from an instance: by name, or only if it has the given value. Returns the instances changed.
pub async fn remove(scope: &Scope, key: &InstanceKey, text: &str) -> Result<Vec<InstanceKey>, Error> {
    let tag = removable(text)?;
    let mut tx = scope.begin().await?;
    let removed = store::tags::unset(&mut tx, key, &tag.name, tag.value.as_deref()).await?;
    if removed {
        let record = Record { kind: "untag", key: Some(key), message: text.trim(), ..Record::default() };
        scope.record(&mut tx, &record).await?;
    }
    tx.commit().await.map_err(Error::unreachable)?;
    Ok(if removed { vec![key.clone()] } else { Vec::new() })
}

/// Removes a tag with a certain value from every instance. Returns the instances changed, sorted.
pub async fn remove_everywhere(scope: &Scope, text: &str) -> Result<Vec<InstanceKey>, Error> {
    let tag = removable(text)?;
    let Some(value) = &tag.value else {
        return Err(Error::Invalid(format!("untag-all needs name=value, not only a name: {}", tag.name)));
    };
    let mut tx = scope.begin().await?;
    let changed = store::tags::unset_all(&mut tx, &tag.name, value).await?;
    for key in &changed {
        let record = Record { kind: "untag", key: Some(key), message: text.trim(), ..Record::default() };
        scope.record(&mut tx, &record).await?;
    }
    tx.commit().await.map_err(Error::unreachable)?;
    Ok(changed.into_iter().collect())
}

fn removable(text: &str) -> Result<Tag, Error> {
    let tag: Tag = text.parse().map_err(Error::invalid)?;
    if tag.negated { Err(Error::Invalid(format!("cannot remove a negated tag: {text}"))) } else { Ok(tag) }
}
