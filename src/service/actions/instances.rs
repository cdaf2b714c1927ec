//! Instances: finding them, judging them, forgetting them.

use std::time::Duration;

use domain::health::Judgement;
use domain::instance::{Instance, InstanceKey, ThreadState};
use domain::{search, text};
use regex::Regex;

use super::{Error, Record, Scope, clusters, submission};

/// Downtime reason that marks servers lost in a recovery.
const LOST_IN_RECOVERY: &str = "lost-in-recovery";
/// A forgotten instance is not rediscovered for this many poll intervals.
const FORGET_INTERVALS: u64 = 3;
/// Forgetting may meet those who record the same instances, batch after batch.
const TRIES: u64 = 20;

/// One known instance. `Cannot read instance: h:p` is a text that clients match.
pub async fn read(scope: &Scope, key: &InstanceKey) -> Result<Instance, Error> {
    find_exact(scope, key).await?.ok_or_else(|| Error::NotFound(format!("Cannot read instance: {key}")))
}

/// One instance, if it is known.
pub async fn find_exact(scope: &Scope, key: &InstanceKey) -> Result<Option<Instance>, Error> {
    Ok(store::instances::read(&scope.pool, key).await?)
}

/// All instances: by depth, number of replicas descending, cluster, key.
pub async fn all(scope: &Scope) -> Result<Vec<Instance>, Error> {
    let mut instances = store::instances::read_all(&scope.pool).await?.instances;
    search::sort_for_lists(&mut instances);
    Ok(instances)
}

/// Keys of all instances, sorted.
pub async fn keys(scope: &Scope) -> Result<Vec<InstanceKey>, Error> {
    let mut keys: Vec<InstanceKey> = all(scope).await?.into_iter().map(|one| one.key).collect();
    keys.sort();
    Ok(keys)
}

/// Members of a cluster by its exact name, sorted by key.
pub async fn of_cluster(scope: &Scope, cluster_name: &str) -> Result<Vec<Instance>, Error> {
    Ok(store::instances::read_cluster(&scope.pool, cluster_name).await?.instances)
}

/// Instances in which the text occurs (see [`search::matches`]), in the order of [`all`].
pub async fn search(scope: &Scope, text: &str) -> Result<Vec<Instance>, Error> {
    let mut instances = store::instances::search_candidates(&scope.pool, text).await?.instances;
    instances.retain(|one| search::matches(one, text));
    search::sort_for_lists(&mut instances);
    Ok(instances)
}

/// Instances whose `host:port` matches the regular expression, in the order of [`all`].
pub async fn find(scope: &Scope, pattern: &str) -> Result<Vec<Instance>, Error> {
    if pattern.is_empty() {
        return Err(Error::Invalid("no pattern given".to_owned()));
    }
    let pattern = Regex::new(pattern).map_err(|error| Error::Invalid(format!("cannot read the pattern: {error}")))?;
    let mut instances = all(scope).await?;
    instances.retain(|one| pattern.is_match(&one.key.to_string()));
    Ok(instances)
}

/// Instances that replicate from `key`, sorted by key.
pub async fn replicas(scope: &Scope, key: &InstanceKey) -> Result<Vec<Instance>, Error> {
    Ok(store::instances::read_replicas(&scope.pool, key).await?.instances)
}

/// Instances with a problem that nobody has downtimed and no filter leaves out; of one cluster, or of all. Sorted by key.
pub async fn problems(scope: &Scope, cluster_name: Option<&str>) -> Result<Vec<Instance>, Error> {
    let mut instances = match cluster_name {
        Some(name) => of_cluster(scope, name).await?,
        None => all(scope).await?,
    };
    let judgement = scope.judgement().await?;
    let ignored = &scope.config.patterns.problem_ignore;
    instances.retain(|one| {
        !is_downtimed(one, &judgement)
            && !ignored.matches(&one.key.hostname, one.key.port)
            && !judgement.problems(one).is_empty()
    });
    instances.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(instances)
}

/// Downtimed instances of one cluster, or of all, by cluster, depth and key.
pub async fn downtimed(scope: &Scope, cluster_name: Option<&str>) -> Result<Vec<Instance>, Error> {
    let keys: Vec<InstanceKey> = store::downtime::active(&scope.pool).await?.into_iter().map(|(key, _)| key).collect();
    let mut instances = store::instances::read_many(&scope.pool, &keys).await?;
    let judgement = scope.judgement().await?;
    instances.retain(|one| {
        is_downtimed(one, &judgement) && cluster_name.is_none_or(|name| one.placement.cluster_name == name)
    });
    let rank = |one: &Instance| (one.placement.cluster_name.clone(), one.placement.replication_depth, one.key.clone());
    instances.sort_by_key(rank);
    Ok(instances)
}

/// Instances that were lost in a recovery: downtimed with that reason.
pub async fn lost_in_recovery(scope: &Scope) -> Result<Vec<Instance>, Error> {
    let mut instances = downtimed(scope, None).await?;
    instances.retain(|one| one.downtime.as_ref().is_some_and(|downtime| downtime.reason == LOST_IN_RECOVERY));
    Ok(instances)
}

fn is_downtimed(instance: &Instance, judgement: &Judgement) -> bool {
    instance.downtime.as_ref().is_some_and(|downtime| downtime.ends_at > judgement.now)
}

/// The one-line description: `[0s,ok,8.0.36,rw,ROW,>>,GTID]`.
pub async fn status_line(scope: &Scope, key: &InstanceKey) -> Result<String, Error> {
    let instance = read(scope, key).await?;
    Ok(text::bracketed(&text::describe(&instance, &scope.judgement().await?)))
}

/// Both replication threads run.
pub async fn is_replicating(scope: &Scope, key: &InstanceKey) -> Result<bool, Error> {
    Ok(read(scope, key).await?.facts.is_replica_running())
}

/// Both replication threads exist and are stopped.
pub async fn is_replication_stopped(scope: &Scope, key: &InstanceKey) -> Result<bool, Error> {
    let instance = read(scope, key).await?;
    Ok(instance.facts.is_replica() && instance.facts.threads() == (ThreadState::Stopped, ThreadState::Stopped))
}

/// The source an instance replicates from; `None` when it has no source one could connect to.
pub async fn source(scope: &Scope, key: &InstanceKey) -> Result<Option<InstanceKey>, Error> {
    let instance = read(scope, key).await?;
    Ok(instance.facts.source().filter(|source| source.is_valid()).cloned())
}

/// Forgets an instance: it is not rediscovered for a while, except when a person asks.
pub async fn forget(scope: &Scope, key: &InstanceKey) -> Result<(), Error> {
    submission::retried(TRIES, || async {
        let mut tx = scope.begin().await?;
        store::instances::forget(&mut tx, key, silence(scope)).await?;
        scope.commit_as(tx, &Record { kind: "forget", key: Some(key), ..Record::default() }).await
    })
    .await
}

/// Forgets every member of the cluster meant by `hint`; returns the cluster's name and how many were forgotten.
pub async fn forget_cluster(scope: &Scope, hint: &str) -> Result<(String, usize), Error> {
    let cluster = clusters::by_hint(scope, hint).await?;
    let forgotten = submission::retried(TRIES, || async {
        let mut tx = scope.begin().await?;
        let forgotten = store::instances::forget_cluster(&mut tx, &cluster, silence(scope)).await?.len();
        let message = format!("forgot {forgotten} instances");
        let record = Record { kind: "forget-cluster", cluster: &cluster, message: &message, ..Record::default() };
        scope.commit_as(tx, &record).await?;
        Ok(forgotten)
    })
    .await?;
    Ok((cluster, forgotten))
}

fn silence(scope: &Scope) -> Duration {
    Duration::from_secs(scope.config.settings.discovery.instance_poll_seconds.saturating_mul(FORGET_INTERVALS))
}
