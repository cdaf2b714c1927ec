//! How replies are printed: one function for each shape, named after what it prints. The text ends with a line end
//! unless it is empty.

use api::legacy::{
    Audit, BlockedTopologyRecovery, CandidateDatabaseInstance, ClusterInfo, Instance, KVPair, Key, PoolMap,
    ResolveCache, TopologyRecovery,
};
use serde::Deserialize;
use serde_json::Value;

use crate::problem::Problem;
use crate::reply::Reply;

pub(crate) type Printed = Result<String, Problem>;

/// Recorded as the reason of a downtime by a recovery.
const LOST_IN_RECOVERY: &str = "lost-in-recovery";

pub(crate) fn lines(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().map(|item| item + "\n").collect()
}

pub(crate) fn name(key: &Key) -> String {
    format!("{}:{}", key.hostname, key.port)
}

fn named(key: &Key) -> Option<String> {
    (!key.hostname.is_empty()).then(|| name(key))
}

/// A key that must be there: a reply without one tells why in its message.
fn required(reply: &Reply, key: &Key) -> Printed {
    named(key).map(|name| name + "\n").ok_or_else(|| reply.unexpected("no instance in the reply"))
}

pub(crate) fn nothing(_: &Reply) -> Printed {
    Ok(String::new())
}

/// `host:port` of an instance record.
pub(crate) fn instance(reply: &Reply) -> Printed {
    let instance: Option<Instance> = reply.as_one()?;
    required(reply, &instance.unwrap_or_default().key)
}

/// `host:port` per instance record.
pub(crate) fn instances(reply: &Reply) -> Printed {
    Ok(lines(reply.as_list::<Instance>()?.iter().map(|one| name(&one.key))))
}

/// `host:port` of a key.
pub(crate) fn key(reply: &Reply) -> Printed {
    required(reply, &reply.as_one::<Option<Key>>()?.unwrap_or_default())
}

/// `host:port` per key.
pub(crate) fn keys(reply: &Reply) -> Printed {
    Ok(lines(reply.as_list::<Key>()?.iter().map(name)))
}

/// The same, sorted as text.
pub(crate) fn keys_sorted(reply: &Reply) -> Printed {
    let mut names: Vec<String> = reply.as_list::<Key>()?.iter().map(name).collect();
    names.sort();
    Ok(lines(names))
}

/// `host:port` per record, or of the one key: so different are the replies to operations on many replicas.
pub(crate) fn instances_or_key(reply: &Reply) -> Printed {
    if reply.data.get().starts_with('{') { key(reply) } else { instances(reply) }
}

/// `replica<source`.
pub(crate) fn moved(reply: &Reply) -> Printed {
    let one: Instance = reply.as_one::<Option<Instance>>()?.unwrap_or_default();
    required(reply, &one.key)?;
    Ok(format!("{}<{}\n", name(&one.key), name(&one.master_key)))
}

/// The source of an instance record; `:0` for none, as the original client prints it.
pub(crate) fn source(reply: &Reply) -> Printed {
    Ok(format!("{}\n", name(&reply.as_one::<Instance>()?.master_key)))
}

/// The text itself; nothing for none.
pub(crate) fn text(reply: &Reply) -> Printed {
    Ok(match reply.as_one::<Value>()? {
        Value::Null => String::new(),
        Value::String(text) => format!("{}\n", text.trim_end_matches('\n')),
        other => format!("{other}\n"),
    })
}

/// The text, nothing if it is empty.
pub(crate) fn text_if_any(reply: &Reply) -> Printed {
    let text = text(reply)?;
    Ok(if text.trim().is_empty() { String::new() } else { text })
}

/// A text per line.
pub(crate) fn texts(reply: &Reply) -> Printed {
    Ok(lines(reply.as_list::<String>()?))
}

/// The data as they are.
pub(crate) fn json(reply: &Reply) -> Printed {
    Ok(format!("{}\n", reply.data.get()))
}

pub(crate) fn cluster_names(reply: &Reply) -> Printed {
    Ok(lines(reply.as_list::<ClusterInfo>()?.into_iter().map(|one| one.cluster_name)))
}

/// `name,alias`; the CLI separates them by a tab.
pub(crate) fn cluster_aliases(reply: &Reply) -> Printed {
    let infos = reply.as_list::<ClusterInfo>()?;
    Ok(lines(infos.into_iter().map(|one| format!("{},{}", one.cluster_name, one.cluster_alias))))
}

pub(crate) fn cluster_name(reply: &Reply) -> Printed {
    Ok(reply.as_one::<ClusterInfo>()?.cluster_name + "\n")
}

pub(crate) fn cluster_alias(reply: &Reply) -> Printed {
    Ok(reply.as_one::<ClusterInfo>()?.cluster_alias + "\n")
}

pub(crate) fn cluster_domain(reply: &Reply) -> Printed {
    Ok(reply.as_one::<ClusterInfo>()?.cluster_domain + "\n")
}

/// Stopped, with an error.
pub(crate) fn broken(reply: &Reply) -> Printed {
    let has_error = |one: &Instance| !one.last_sql_error.is_empty() || !one.last_io_error.is_empty();
    let is_broken = |one: &&Instance| !is_running(one) && has_error(one);
    Ok(lines(reply.as_list::<Instance>()?.iter().filter(is_broken).map(|one| name(&one.key))))
}

pub(crate) fn running(reply: &Reply) -> Printed {
    Ok(lines(reply.as_list::<Instance>()?.iter().filter(|one| is_running(one)).map(|one| name(&one.key))))
}

fn is_running(one: &Instance) -> bool {
    one.replication_io_thread_runing && one.replication_sql_thread_runing
}

pub(crate) fn lost_in_recovery(reply: &Reply) -> Printed {
    let found = reply.as_list::<Instance>()?;
    let lost = found.iter().filter(|one| one.is_downtimed && one.downtime_reason == LOST_IN_RECOVERY);
    Ok(lines(lost.map(|one| name(&one.key))))
}

/// The instance if both threads run.
pub(crate) fn if_replicating(reply: &Reply) -> Printed {
    if_threads(reply, 1)
}

/// The instance if it is a replica whose threads are both stopped.
pub(crate) fn if_stopped(reply: &Reply) -> Printed {
    if_threads(reply, 0)
}

fn if_threads(reply: &Reply, state: i64) -> Printed {
    let one: Instance = reply.as_one()?;
    let agrees = one.replication_io_thread_state == state && one.replication_sql_thread_state == state;
    Ok(if agrees { name(&one.key) + "\n" } else { String::new() })
}

/// The destination if the message says `true`.
pub(crate) fn key_if_true(reply: &Reply) -> Printed {
    if reply.message.contains("true") { key(reply) } else { nothing(reply) }
}

/// An empty line for none.
pub(crate) fn errant_gtid(reply: &Reply) -> Printed {
    Ok(reply.as_one::<Instance>()?.gtid_errant + "\n")
}

/// Most frequent one; of equally many the first by name.
pub(crate) fn dominant_data_center(reply: &Reply) -> Printed {
    let primaries = reply.as_list::<Instance>()?;
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for primary in &primaries {
        *counts.entry(&primary.data_center).or_default() += 1;
    }
    let dominant = counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or("", |(name, _)| name);
    Ok(format!("{dominant}\n"))
}

/// `Key:Value` per entry.
pub(crate) fn pairs(reply: &Reply) -> Printed {
    Ok(lines(reply.as_list::<KVPair>()?.into_iter().map(|pair| format!("{}:{}", pair.key, pair.value))))
}

/// `pool`, tab, `host:port` per member.
pub(crate) fn pools(reply: &Reply) -> Printed {
    let pools = reply.as_one::<Option<PoolMap>>()?.unwrap_or_default();
    let members = pools.iter().flat_map(|(pool, keys)| keys.iter().map(move |key| format!("{pool}\t{}", name(key))));
    Ok(lines(members))
}

/// `host:port rule` per entry, sorted as text.
pub(crate) fn promotion_rules(reply: &Reply) -> Printed {
    let rules = reply.as_list::<CandidateDatabaseInstance>()?;
    let mut rows: Vec<String> =
        rules.iter().map(|one| format!("{}:{} {}", one.hostname, one.port, one.promotion_rule)).collect();
    rows.sort();
    Ok(lines(rows))
}

/// `host name` per entry.
pub(crate) fn resolved_names(reply: &Reply) -> Printed {
    let cache = reply.as_one::<Option<ResolveCache>>()?.unwrap_or_default();
    Ok(lines(cache.into_iter().map(|(host, entry)| format!("{host} {}", entry.object))))
}

pub(crate) fn cache_cleared(_: &Reply) -> Printed {
    Ok("hostname resolve cache cleared\n".to_owned())
}

/// `name:token` per live node, sorted.
pub(crate) fn nodes(reply: &Reply) -> Printed {
    let mut found: Vec<(String, String)> =
        reply.as_one::<api::v2::Page<api::v2::Node>>()?.items.into_iter().map(|one| (one.name, one.token)).collect();
    found.sort();
    Ok(lines(found.into_iter().map(|(name, token)| format!("{name}:{token}"))))
}

/// Who was promoted, and as the CLI does, what became of the others: the message has it.
pub(crate) fn regrouped(reply: &Reply) -> Printed {
    let promoted = key(reply)?;
    let rest = reply.message.split_once("promoted replica: ").and_then(|(_, text)| text.split_once(", "));
    Ok(match rest {
        Some((_, rest)) => format!("{promoted}{} {rest}\n", promoted.trim_end()),
        None => promoted,
    })
}

#[derive(Deserialize)]
struct Recovery {
    #[serde(rename = "SuccessorKey")]
    successor: Option<Key>,
}

/// Who was promoted in a recovery.
pub(crate) fn successor(reply: &Reply) -> Printed {
    let recovery: Option<Recovery> = reply.as_one()?;
    required(reply, &recovery.and_then(|one| one.successor).unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Analysis {
    analyzed_instance_key: Key,
    #[serde(default)]
    cluster_details: ClusterInfo,
    #[serde(default)]
    analysis: String,
    #[serde(default)]
    structure_analysis: Option<Vec<String>>,
}

/// `host:port (cluster name): CODE` per entry; the first warning where there is no problem.
pub(crate) fn analyses(reply: &Reply) -> Printed {
    let found = reply.as_list::<Analysis>()?;
    Ok(lines(found.into_iter().map(|one| {
        let warning = one.structure_analysis.unwrap_or_default().into_iter().next();
        let code = if one.analysis == "NoProblem" { warning.unwrap_or(one.analysis) } else { one.analysis };
        format!("{} (cluster {}): {code}", name(&one.analyzed_instance_key), one.cluster_details.cluster_name)
    })))
}

/// `number date time CODE failed successor`, `-` for no successor.
pub(crate) fn recoveries(reply: &Reply) -> Printed {
    Ok(lines(reply.as_list::<TopologyRecovery>()?.into_iter().map(|one| {
        let entry = &one.analysis_entry;
        let successor = one.successor_key.as_ref().and_then(named).unwrap_or_else(|| "-".to_owned());
        let failed = name(&entry.analyzed_instance_key);
        format!("{} {} {} {failed} {successor}", one.id, one.recovery_start_timestamp, entry.analysis)
    })))
}

/// As for analyses, with the number of the recovery that is in the way.
pub(crate) fn blocked(reply: &Reply) -> Printed {
    Ok(lines(reply.as_list::<BlockedTopologyRecovery>()?.into_iter().map(|one| {
        let by = match one.blocking_recovery_id {
            0 => String::new(),
            id => format!(", by recovery {id}"),
        };
        format!("{} (cluster {}): {}{by}", name(&one.failed_instance_key), one.cluster_name, one.analysis)
    })))
}

/// `date time what host:port message`, `-` for no instance.
pub(crate) fn audit(reply: &Reply) -> Printed {
    Ok(lines(reply.as_list::<Audit>()?.into_iter().map(|one| {
        let key = named(&one.audit_instance_key).unwrap_or_else(|| "-".to_owned());
        let message = one.message.replace(char::is_control, " ");
        format!("{} {} {key} {message}", one.audit_timestamp, one.audit_type)
    })))
}

#[derive(Deserialize)]
struct Health {
    #[serde(rename = "Hostname")]
    hostname: String,
}

/// Host name of the service that answered.
pub(crate) fn own_hostname(reply: &Reply) -> Printed {
    Ok(reply.as_one::<Health>()?.hostname + "\n")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::reply::tests::reply;

    const INSTANCES: &str = r#"[
        {"Key":{"Hostname":"a","Port":1},"DataCenter":"dc2","ReplicationIOThreadRuning":false,"ReplicationIOThreadState":-1},
        {"Key":{"Hostname":"b","Port":2},"MasterKey":{"Hostname":"a","Port":1},"DataCenter":"dc1",
         "ReplicationIOThreadRuning":true,"ReplicationSQLThreadRuning":true,"SlaveHosts":null},
        {"Key":{"Hostname":"c","Port":3},"MasterKey":{"Hostname":"a","Port":1},"DataCenter":"dc1","LastSQLError":"\"x\"",
         "ReplicationIOThreadRuning":true,"IsDowntimed":true,"DowntimeReason":"lost-in-recovery"}]"#;
    const REPLICA: &str = r#"{"Code":"OK","Message":"moved","Details":{"Key":{"Hostname":"b","Port":2},
        "MasterKey":{"Hostname":"a","Port":1},"ReplicationSQLThreadState":1,"ReplicationIOThreadState":1,"GtidErrant":"u:1-2"}}"#;
    const PRIMARY: &str = r#"{"Key":{"Hostname":"a","Port":1},"MasterKey":{"Hostname":"","Port":0}}"#;
    const KEY: &str = r#"{"Code":"OK","Message":"true","Details":{"Hostname":"b","Port":2}}"#;
    const KEYS: &str = r#"[{"Hostname":"b","Port":20},{"Hostname":"b","Port":3},{"Hostname":"a","Port":1}]"#;
    const NONE: &str = r#"{"Code":"OK","Message":"No instances discovered","Details":null}"#;
    const TEXT: &str = r#"{"Code":"OK","Message":"","Details":"a\n+ b\n"}"#;
    const CLUSTERS: &str = r#"[{"ClusterName":"a:1","ClusterAlias":"shop","ClusterDomain":"shop.db"},
        {"ClusterName":"d:4","ClusterAlias":"d:4"}]"#;
    const CLUSTER: &str = r#"{"ClusterName":"a:1","ClusterAlias":"shop","ClusterDomain":"shop.db"}"#;

    #[test]
    fn every_shape() {
        type Case = (&'static str, fn(&Reply) -> Printed, &'static [&'static str]);
        let cases: &[Case] = &[
            ("nothing", nothing, &[KEY]),
            ("instance", instance, &[REPLICA, PRIMARY, NONE]),
            ("instances", instances, &[INSTANCES, "[]", "null", KEY]),
            ("key", key, &[KEY, NONE]),
            ("keys", keys, &[KEYS, "null"]),
            ("keys_sorted", keys_sorted, &[KEYS]),
            ("instances_or_key", instances_or_key, &[INSTANCES, KEY]),
            ("moved", moved, &[REPLICA, NONE]),
            ("source", source, &[REPLICA, PRIMARY]),
            ("text", text, &[TEXT, "\"x\"", "\"\"", "7", "null"]),
            ("text_if_any", text_if_any, &["\"x\"", "\"\""]),
            ("texts", texts, &[r#"["a=1","b="]"#, "[]", "null"]),
            ("json", json, &[r#"{"Code":"OK","Message":"","Details":["stop replica","x \"y\""]}"#]),
            ("cluster_names", cluster_names, &[CLUSTERS]),
            ("cluster_aliases", cluster_aliases, &[CLUSTERS]),
            ("cluster_name", cluster_name, &[CLUSTER]),
            ("cluster_alias", cluster_alias, &[CLUSTER]),
            ("cluster_domain", cluster_domain, &[CLUSTER]),
            ("broken", broken, &[INSTANCES]),
            ("running", running, &[INSTANCES]),
            ("lost_in_recovery", lost_in_recovery, &[INSTANCES]),
            ("if_replicating", if_replicating, &[REPLICA, PRIMARY]),
            ("if_stopped", if_stopped, &[REPLICA, PRIMARY]),
            ("key_if_true", key_if_true, &[KEY, NONE]),
            ("errant_gtid", errant_gtid, &[REPLICA, PRIMARY]),
            ("dominant_data_center", dominant_data_center, &[INSTANCES, "null"]),
            ("pairs", pairs, &[r#"{"Code":"OK","Message":"","Details":[{"Key":"mysql/master/shop","Value":"a:1"}]}"#]),
            ("pools", pools, &[r#"{"Code":"OK","Message":"","Details":{"ro":[{"Hostname":"b","Port":2}]}}"#, NONE]),
            (
                "promotion_rules",
                promotion_rules,
                &[
                    r#"[{"Hostname":"b","Port":2,"PromotionRule":"prefer"},{"Hostname":"a","Port":1,"PromotionRule":"must_not"}]"#,
                ],
            ),
            (
                "resolved_names",
                resolved_names,
                &[r#"{"Code":"OK","Message":"","Details":{"a":{"Object":"a.b","Expiration":1}}}"#],
            ),
            ("cache_cleared", cache_cleared, &[NONE]),
            (
                "regrouped",
                regrouped,
                &[
                    r#"{"Code":"OK","Message":"promoted replica: b:2, lost: 0, moved: 3","Details":{"Hostname":"b","Port":2}}"#,
                    KEY,
                ],
            ),
            (
                "successor",
                successor,
                &[r#"{"Code":"OK","Message":"","Details":{"SuccessorKey":{"Hostname":"b","Port":2}}}"#, NONE],
            ),
            (
                "analyses",
                analyses,
                &[r#"{"Code":"OK","Message":"","Details":[
                    {"AnalyzedInstanceKey":{"Hostname":"a","Port":1},"ClusterDetails":{"ClusterName":"a:1"},
                     "Analysis":"DeadMaster","StructureAnalysis":["X"]},
                    {"AnalyzedInstanceKey":{"Hostname":"b","Port":2},"ClusterDetails":{"ClusterName":"a:1"},
                     "Analysis":"NoProblem","StructureAnalysis":["NoLoggingReplicasStructureWarning"]},
                    {"AnalyzedInstanceKey":{"Hostname":"c","Port":3},"Analysis":"NoProblem","StructureAnalysis":null}]}"#],
            ),
            ("own_hostname", own_hostname, &[r#"{"Code":"OK","Message":"","Details":{"Hostname":"svc1"}}"#]),
        ];
        let mut record = String::new();
        for (name, print, bodies) in cases {
            for body in *bodies {
                let _ = match print(&reply(body)) {
                    Ok(text) => writeln!(record, "{name}: {text:?}"),
                    Err(problem) => writeln!(record, "{name} fails: {problem}"),
                };
            }
        }
        insta::assert_snapshot!(record);
    }
}
