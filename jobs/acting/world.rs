//! The world of an operation or recovery: all instances of the clusters concerned, asked right now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::instance::{Answer, DbMicros, FailureKind, Instance, InstanceKey, ServerFacts};
use domain::operation::{Equivalence, LogPlace, Policy};
use domain::version::{Flavor, ServerVersion};
use futures::StreamExt;
use queue::JobError;

use super::Work;
use crate::Context;
use crate::context::Configuration;
use crate::policies::planner_policy;
use crate::probing;

/// Looks under way at once, for one operation or recovery: it mostly waits, and its cluster is one of many.
const SIDE_BY_SIDE: usize = 64;

fn is_mariadb(facts: &ServerFacts) -> bool {
    ServerVersion::parse(&facts.version, &facts.version_comment).flavor == Flavor::MariaDb
}

/// Longest wait for a server to tell what it has purged.
const PURGED_LIMIT: Duration = Duration::from_secs(2);

/// Sources above sources that are followed; rings end sooner, because each server is read once.
const MOST_LEVELS: usize = 32;

/// What planners look at, owned.
pub(crate) struct Gathered {
    pub(crate) instances: BTreeMap<InstanceKey, Instance>,
    pub(crate) equivalences: Vec<Equivalence>,
    pub(crate) policy: Policy,
    pub(crate) now: DbMicros,
}

impl Gathered {
    /// Names that replicas use for a server instead of ours.
    pub(crate) fn names_for_replicas(&self) -> BTreeMap<InstanceKey, String> {
        let named = self.instances.values().filter(|one| !one.unresolved_hostname.is_empty());
        named.map(|one| (one.key.clone(), one.unresolved_hostname.clone())).collect()
    }
}

/// A server for whose answer nobody waits long, if it gave none when it was asked before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hurry<'a> {
    pub(crate) server: &'a InstanceKey,
    pub(crate) at_most: Duration,
}

/// By what servers are asked and answers recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Eyes<'a> {
    pub(crate) ctx: &'a Context,
    pub(crate) config: &'a Configuration,
}

/// Asks every member of the clusters that the request names, see [`gather_around`].
pub(crate) async fn gather(work: &Work<'_>) -> Result<Gathered, JobError> {
    let mut gathered = gather_around(work.eyes(), &named(work), None).await?;
    learn_what_is_purged(work, &mut gathered).await;
    Ok(gathered)
}

/// MariaDB servers do not tell in a variable what they have purged. Those below which something may be moved are asked for it:
/// the servers named, and the two above them. Who does not tell is believed to have everything; the server itself will
/// turn a replica away.
async fn learn_what_is_purged(work: &Work<'_>, gathered: &mut Gathered) {
    let above = |key: &InstanceKey| gathered.instances.get(key).and_then(|one| one.facts.source().cloned());
    let mut keys: BTreeSet<InstanceKey> = named(work).into_iter().collect();
    for _ in 0..2 {
        keys.extend(keys.iter().filter_map(above).collect::<Vec<_>>());
    }
    keys.retain(|key| {
        let one = gathered.instances.get(key);
        one.is_some_and(|one| one.check.is_valid() && one.facts.log_bin && is_mariadb(&one.facts))
    });
    let connector = work.ctx.prober.connector();
    let until = std::time::Instant::now() + PURGED_LIMIT;
    let asked = keys.iter().map(|key| mysql::binlogs::purged_by_mariadb(&connector, key, until));
    let answers = futures::future::join_all(asked).await;
    for (key, answer) in keys.iter().zip(answers) {
        match (answer, gathered.instances.get_mut(key)) {
            (Ok(purged), Some(one)) => one.facts.gtid.purged = purged,
            (Err(error), _) => tracing::debug!(instance.key = %key, %error, "it is not known what it has purged"),
            (Ok(_), None) => {}
        }
    }
}

/// Asks every member of the clusters of these servers, records the answers, and reads everything back. A server that does
/// not answer is there with what it last said, and with its failure.
pub(crate) async fn gather_around(
    eyes: Eyes<'_>,
    named: &[InstanceKey],
    hurry: Option<Hurry<'_>>,
) -> Result<Gathered, JobError> {
    let known = load(eyes, named).await?;
    let silent = |hurry: &Hurry<'_>| known.get(hurry.server).is_some_and(|one| !one.check.is_valid());
    let hurry = hurry.filter(silent);
    ask(eyes, known.into_keys().collect(), hurry).await?;
    let now = async { store::database_now(&eyes.ctx.pool).await.map_err(JobError::retry) };
    let (instances, now) = futures::future::try_join(load(eyes, named), now).await?;
    let equivalences = equivalences(eyes, named, &instances).await?;
    Ok(Gathered { instances, equivalences, policy: planner_policy(eyes.config), now })
}

/// The members of the clusters of these servers, and whoever is around these, as they are known.
pub(crate) async fn members(eyes: Eyes<'_>, named: &[InstanceKey]) -> Result<Vec<InstanceKey>, JobError> {
    Ok(load(eyes, named).await?.into_keys().collect())
}

/// The servers that the request names.
pub(super) fn named(work: &Work<'_>) -> Vec<InstanceKey> {
    let request = &work.operation.request;
    let destination = request.destination().filter(|to| *to != request.instance());
    std::iter::once(request.instance()).chain(destination).cloned().collect()
}

/// Asks and records these servers after they were changed, so that readers see it at once. A failure costs only time: the
/// next slot asks them, too.
pub(crate) async fn look_again(work: &Work<'_>, servers: &[InstanceKey]) {
    if let Err(error) = ask(work.eyes(), servers.to_vec(), None).await {
        tracing::warn!(operation.id = work.operation.id, %error, "cannot record what the changed servers say");
    }
}

async fn ask(eyes: Eyes<'_>, servers: Vec<InstanceKey>, hurry: Option<Hurry<'_>>) -> Result<(), JobError> {
    let probes: Vec<_> = servers
        .into_iter()
        .map(|key| async move {
            let probe = probing::probe_one(eyes.ctx, &key);
            match hurry.filter(|hurry| *hurry.server == key) {
                // No answer so soon is no failure to be recorded: the failure before it stands.
                Some(hurry) => tokio::time::timeout(hurry.at_most, probe).await.ok(),
                None => Some(probe.await),
            }
        })
        .collect();
    let asked = futures::stream::iter(probes).buffer_unordered(SIDE_BY_SIDE).collect::<Vec<_>>().await;
    let mut observations: Vec<_> = asked.into_iter().flatten().collect();
    // Our own want of means says nothing about a server.
    observations.retain(|one| !matches!(&one.answer, Answer::Failed(failure) if failure.kind == FailureKind::Local));
    probing::record(eyes.ctx, eyes.config, observations).await
}

/// The members of the clusters of the servers named, and whoever is around these.
async fn load(eyes: Eyes<'_>, named: &[InstanceKey]) -> Result<BTreeMap<InstanceKey, Instance>, JobError> {
    let pool = &eyes.ctx.pool;
    let mut found = store::instances::read_many(pool, named).await.map_err(JobError::retry)?;
    // The source that a detached replica had is no member of the cluster that the replica is now.
    let had: Vec<InstanceKey> = found.iter().filter_map(detached_from).filter(|key| !named.contains(key)).collect();
    if !had.is_empty() {
        found.extend(store::instances::read_many(pool, &had).await.map_err(JobError::retry)?);
    }
    let mut instances: BTreeMap<InstanceKey, Instance> = BTreeMap::new();
    let mut clusters: Vec<&str> = found.iter().map(|one| one.placement.cluster_name.as_str()).collect();
    clusters.sort_unstable();
    clusters.dedup();
    for cluster in clusters.into_iter().filter(|name| !name.is_empty()) {
        let members = store::instances::read_cluster(pool, cluster).await.map_err(JobError::retry)?;
        instances.extend(members.instances.into_iter().map(|one| (one.key.clone(), one)));
    }
    // The leader places a server a moment after it was found or moved: its neighbours may not be members yet. So go up to
    // the top from the servers named, with the replicas on the way.
    let mut around = found;
    for _ in 0..MOST_LEVELS {
        let mut above = Vec::new();
        for one in around {
            let replicas = store::instances::read_replicas(pool, &one.key).await.map_err(JobError::retry)?;
            instances.extend(replicas.instances.into_iter().map(|one| (one.key.clone(), one)));
            above.extend(one.facts.source().filter(|source| !instances.contains_key(*source)).cloned());
            instances.insert(one.key.clone(), one);
        }
        if above.is_empty() {
            break;
        }
        around = store::instances::read_many(pool, &above).await.map_err(JobError::retry)?;
    }
    Ok(instances)
}

fn detached_from(one: &Instance) -> Option<InstanceKey> {
    let source = one.facts.source()?;
    Some(InstanceKey::new(source.hostname.strip_prefix("//")?, source.port))
}

/// Equal places in the logs of the servers named and of their sources.
async fn equivalences(
    eyes: Eyes<'_>,
    named: &[InstanceKey],
    instances: &BTreeMap<InstanceKey, Instance>,
) -> Result<Vec<Equivalence>, JobError> {
    let sources = named.iter().filter_map(|key| instances.get(key)?.facts.source());
    let servers: BTreeSet<&InstanceKey> = named.iter().chain(sources).collect();
    let mut all = Vec::new();
    for key in servers {
        let pairs = store::equivalences::of_server(&eyes.ctx.pool, key).await.map_err(JobError::retry)?;
        let place = |(server, at)| LogPlace { server, at };
        all.extend(pairs.into_iter().map(|pair| Equivalence { one: place(pair.one), other: place(pair.other) }));
    }
    Ok(all)
}
