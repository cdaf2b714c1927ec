//! Single instances and lists of them.

use service::actions::instances;

use super::each;
use crate::answer::Answer;
use crate::catalogue::Command;
use crate::session::Session;

const SECTION: &str = "Information";

pub(crate) const COMMANDS: &[Command] = &[
    each!(SECTION, "all-instances", all, "List all known instances"),
    each!(
        SECTION,
        "find",
        find,
        "Find instances whose host:port matches a regular expression",
        "find --pattern REGEX\n\nPrints matching instances: by depth, number of replicas, cluster, host and port."
    ),
    each!(
        SECTION,
        "search",
        search,
        "Find instances by a text",
        "search --pattern TEXT\n\n\
         Prints instances in whose host:port, cluster, version, version comment or suggested alias the text occurs, or\n\
         whose server id or port it is. Without a text: all."
    ),
    each!(
        SECTION,
        "instance",
        which,
        "Print an instance's full name; with --json all that is known of it",
        "Prints host:port of the instance in -i (this host without -i), which may be given in part. Fails when it is not known."
    ),
    each!(
        SECTION,
        "which-instance",
        which,
        "Print an instance's full name",
        "Prints host:port of the instance in -i (this host without -i), which may be given in part. Fails when it is not known."
    ),
    each!(
        SECTION,
        "instance-status",
        status,
        "Describe an instance in a line",
        "Prints the bracketed description that `topology` shows: lag, status, version, write mode, binary log format, extras."
    ),
    each!(SECTION, "which-cluster-instances", of_cluster, "List the instances of a cluster"),
    each!(
        SECTION,
        "which-master",
        source,
        "Print the source an instance replicates from",
        "Prints host:port of the source of the instance in -i; nothing where it has none one could connect to."
    ),
    each!(SECTION, "which-replicas", replicas, "List the replicas of an instance"),
    each!(
        SECTION,
        "which-broken-replicas",
        broken_replicas,
        "List the replicas of an instance that stopped with an error"
    ),
    each!(
        SECTION,
        "which-downtimed-instances",
        downtimed,
        "List downtimed instances, of a cluster or all",
        "Prints downtimed instances of the cluster of --alias or -i; of all clusters when neither is given."
    ),
    each!(
        SECTION,
        "downtimed",
        downtimed,
        "List downtimed instances, of a cluster or all",
        "The same as which-downtimed-instances."
    ),
    each!(
        SECTION,
        "which-lost-in-recovery",
        lost,
        "List instances that were lost in a recovery",
        "Prints instances whose downtime has the reason lost-in-recovery."
    ),
    each!(
        SECTION,
        "problems",
        problems,
        "List instances with a problem, of a cluster or all",
        "Prints instances that are not reachable, not checked lately, not replicating, lagging or have errant transactions;\ndowntimed ones and those of ProblemIgnoreHostnameFilters are left out. --json tells what is wrong with each."
    ),
    each!(SECTION, "bulk-instances", bulk, "List all instances, sorted as text"),
];

async fn all(session: &Session<'_>) -> anyhow::Result<Answer> {
    Answer::instances(&instances::all(&session.scope).await?, &session.scope.view().await?)
}

async fn find(session: &Session<'_>) -> anyhow::Result<Answer> {
    let found = instances::find(&session.scope, session.base.required("pattern")?).await?;
    Answer::instances(&found, &session.scope.view().await?)
}

async fn search(session: &Session<'_>) -> anyhow::Result<Answer> {
    let found = instances::search(&session.scope, session.flags().text("pattern")).await?;
    Answer::instances(&found, &session.scope.view().await?)
}

async fn which(session: &Session<'_>) -> anyhow::Result<Answer> {
    let instance = instances::read(&session.scope, &session.instance().await?).await?;
    Answer::instance(&instance, &session.scope.view().await?)
}

async fn status(session: &Session<'_>) -> anyhow::Result<Answer> {
    Ok(Answer::line(instances::status_line(&session.scope, &session.instance().await?).await?))
}

async fn of_cluster(session: &Session<'_>) -> anyhow::Result<Answer> {
    let members = instances::of_cluster(&session.scope, &session.cluster().await?).await?;
    Answer::instances(&members, &session.scope.view().await?)
}

async fn source(session: &Session<'_>) -> anyhow::Result<Answer> {
    let source = instances::source(&session.scope, &session.instance().await?).await?;
    Ok(Answer::maybe_key(source.as_ref()))
}

async fn replicas(session: &Session<'_>) -> anyhow::Result<Answer> {
    let replicas = instances::replicas(&session.scope, &session.instance().await?).await?;
    Answer::instances(&replicas, &session.scope.view().await?)
}

async fn broken_replicas(session: &Session<'_>) -> anyhow::Result<Answer> {
    let mut replicas = instances::replicas(&session.scope, &session.instance().await?).await?;
    replicas.retain(|one| {
        let has_error = |replica: &domain::instance::ReplicaFacts| {
            !replica.last_sql_error.is_empty() || !replica.last_io_error.is_empty()
        };
        !one.facts.is_replica_running() && one.facts.replica.as_ref().is_some_and(has_error)
    });
    Answer::instances(&replicas, &session.scope.view().await?)
}

async fn downtimed(session: &Session<'_>) -> anyhow::Result<Answer> {
    let cluster = session.cluster_or_all().await?;
    let found = instances::downtimed(&session.scope, cluster.as_deref()).await?;
    Answer::instances(&found, &session.scope.view().await?)
}

async fn lost(session: &Session<'_>) -> anyhow::Result<Answer> {
    Answer::instances(&instances::lost_in_recovery(&session.scope).await?, &session.scope.view().await?)
}

async fn problems(session: &Session<'_>) -> anyhow::Result<Answer> {
    let cluster = session.cluster_or_all().await?;
    let found = instances::problems(&session.scope, cluster.as_deref()).await?;
    Answer::instances(&found, &session.scope.view().await?)
}

async fn bulk(session: &Session<'_>) -> anyhow::Result<Answer> {
    let mut names: Vec<String> = instances::keys(&session.scope).await?.iter().map(ToString::to_string).collect();
    names.sort();
    Ok(Answer::joined(names))
}
