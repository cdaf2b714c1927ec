//! "I have seen it": acknowledgements end the active period. And the switch that lets nothing be recovered by itself.

use domain::instance::InstanceKey;
use store::recoveries::Which;
use store::recovery_switch::Switch;

use crate::actions::{Error, Record, Scope, clusters};

/// Whose recoveries are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    All,
    Id(u64),
    Uid(&'a str),
    /// A cluster, by a hint: its name now or then, its alias, or one of its instances.
    Cluster(&'a str),
    /// The failed instance.
    Instance(&'a InstanceKey),
}

/// What was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acknowledged {
    pub ids: Vec<u64>,
    /// Name of the cluster meant, where one was.
    pub cluster_name: String,
}

/// Acknowledges recoveries that nobody has acknowledged yet. The comment is mandatory: it is all that the next person has.
pub async fn acknowledge(scope: &Scope, whose: Whose<'_>, comment: &str) -> Result<Acknowledged, Error> {
    let comment = comment.trim();
    if comment.is_empty() {
        return Err(Error::Invalid("No acknowledge comment given: say what was found".to_owned()));
    }
    let (name, alias) = match whose {
        Whose::Cluster(hint) => names_of(scope, hint.trim()).await?,
        _ => (String::new(), String::new()),
    };
    let (which, kind) = match whose {
        Whose::All => (Which::All, "ack-all-recoveries"),
        Whose::Id(id) => (Which::Id(id), "ack-recovery"),
        Whose::Uid(uid) => (Which::Uid(uid), "ack-recovery"),
        Whose::Cluster(_) => (Which::Cluster { name: &name, alias: &alias }, "ack-cluster-recoveries"),
        Whose::Instance(key) => (Which::Instance(key), "ack-instance-recoveries"),
    };
    let mut tx = scope.begin().await?;
    let ids = store::recoveries::acknowledge(&mut tx, which, &scope.actor, comment).await?;
    let numbers: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let message = format!("{} recoveries ({}): {comment}", ids.len(), numbers.join(", "));
    let key = if let Whose::Instance(key) = whose { Some(key) } else { None };
    scope.commit_as(tx, &Record { kind, key, cluster: &name, message: &message }).await?;
    if ids.is_empty() {
        known(scope, whose).await?;
    }
    Ok(Acknowledged { ids, cluster_name: name })
}

/// Nothing to acknowledge is no mistake; a recovery that never was is one.
async fn known(scope: &Scope, whose: Whose<'_>) -> Result<(), Error> {
    match whose {
        Whose::Id(id) => super::look::read(scope, id).await.map(|_| ()),
        Whose::Uid(uid) => super::look::read_uid(scope, uid).await.map(|_| ()),
        Whose::All | Whose::Cluster(_) | Whose::Instance(_) => Ok(()),
    }
}

/// Name and alias of a cluster. A name that a failover took away is known from its recoveries only.
async fn names_of(scope: &Scope, hint: &str) -> Result<(String, String), Error> {
    match clusters::by_hint(scope, hint).await {
        Ok(name) => {
            let alias = clusters::info(scope, &name).await.map(|info| info.cluster_alias).unwrap_or_default();
            Ok((name, alias))
        }
        Err(unknown @ Error::NotFound(_)) => {
            let of = |name, alias| store::recoveries::Filter {
                cluster_name: name,
                cluster_alias: alias,
                ..Default::default()
            };
            let named = store::recoveries::list(&scope.pool, &of(Some(hint), None)).await?;
            let called = store::recoveries::list(&scope.pool, &of(None, Some(hint))).await?;
            if named.is_empty() && called.is_empty() {
                return Err(unknown);
            }
            Ok((hint.to_owned(), hint.to_owned()))
        }
        Err(error) => Err(error),
    }
}

/// Are automatic recoveries switched off everywhere?
pub async fn is_disabled(scope: &Scope) -> Result<bool, Error> {
    Ok(store::recovery_switch::is_disabled(&scope.pool).await?)
}

/// The switch, and who turned it last.
pub async fn read_switch(scope: &Scope) -> Result<Switch, Error> {
    Ok(store::recovery_switch::read(&scope.pool).await?)
}

/// Turns the switch of automatic recoveries.
pub async fn set_disabled(scope: &Scope, disabled: bool) -> Result<(), Error> {
    let mut tx = scope.begin().await?;
    let changed = store::recovery_switch::set(&mut tx, disabled, &scope.actor).await?;
    let kind = if disabled { "disable-global-recoveries" } else { "enable-global-recoveries" };
    let message = if changed { "" } else { "it stood so already" };
    scope.commit_as(tx, &Record { kind, message, ..Record::default() }).await
}
