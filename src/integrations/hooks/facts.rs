//! What a hook is told, and by which names: both in placeholders and in environment variables. The names are an
//! interface: scripts of users depend on them.

use domain::instance::InstanceKey;

/// What is known when a hook runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HookFacts {
    /// Code of the analysis: `DeadMaster`.
    pub failure_type: String,
    /// `master`, `co-master`, `intermediate-master` or `group-member`.
    pub instance_type: String,
    pub is_master: bool,
    pub is_co_master: bool,
    pub failure_description: String,
    /// What a person has asked for: `graceful-master-takeover`, `force-master-failover`, ...; empty: nobody has.
    pub command: String,
    pub failed: InstanceKey,
    pub failure_cluster: String,
    pub failure_cluster_alias: String,
    pub failure_cluster_domain: String,
    pub count_replicas: u64,
    pub is_downtimed: bool,
    pub auto_master_recovery: bool,
    pub auto_intermediate_master_recovery: bool,
    /// Name of this node.
    pub orchestrator_host: String,
    /// Empty for hooks before a planned takeover.
    pub recovery_uid: String,
    pub lost_replicas: Vec<InstanceKey>,
    /// The replicas of the failed server when it was analysed.
    pub replica_hosts: Vec<InstanceKey>,
    /// Who takes its place. None: its placeholders stay as they are, its variables are not set.
    pub successor: Option<Successor>,
}

/// Who takes the place of the failed server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    pub key: InstanceKey,
    /// `file:position`.
    pub binlog_coordinates: Option<String>,
    pub alias: String,
}

/// One value with its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) placeholders: &'static [&'static str],
    /// Empty: none.
    pub(super) name: &'static str,
    pub(super) text: String,
}

/// Every variable that a hook may be given: those without a value are taken out of what it inherits.
pub(super) const VARIABLES: &[&str] = &[
    "ORC_FAILURE_TYPE",
    "ORC_INSTANCE_TYPE",
    "ORC_IS_MASTER",
    "ORC_IS_CO_MASTER",
    "ORC_FAILURE_DESCRIPTION",
    "ORC_COMMAND",
    "ORC_FAILED_HOST",
    "ORC_FAILED_PORT",
    "ORC_FAILURE_CLUSTER",
    "ORC_FAILURE_CLUSTER_ALIAS",
    "ORC_FAILURE_CLUSTER_DOMAIN",
    "ORC_COUNT_REPLICAS",
    "ORC_IS_DOWNTIMED",
    "ORC_AUTO_MASTER_RECOVERY",
    "ORC_AUTO_INTERMEDIATE_MASTER_RECOVERY",
    "ORC_ORCHESTRATOR_HOST",
    "ORC_RECOVERY_UID",
    "ORC_IS_SUCCESSFUL",
    "ORC_LOST_REPLICAS",
    "ORC_REPLICA_HOSTS",
    "ORC_SUCCESSOR_HOST",
    "ORC_SUCCESSOR_PORT",
    "ORC_SUCCESSOR_BINLOG_COORDINATES",
    "ORC_SUCCESSOR_ALIAS",
];

/// Linux refuses to start a program with a variable of more than 128 KiB; lists of thousands of servers may be longer.
const LONGEST_VARIABLE: usize = 100_000;

impl Value {
    fn new(placeholders: &'static [&'static str], name: &'static str, text: impl ToString) -> Self {
        // No program can be started with a NUL in its environment.
        Self { placeholders, name, text: text.to_string().replace('\0', "") }
    }

    /// Name and value in the environment; too long a list is cut behind an entry.
    pub(super) fn variable(&self) -> Option<(&'static str, String)> {
        let name = Some(self.name).filter(|name| !name.is_empty())?;
        if self.text.len() <= LONGEST_VARIABLE {
            return Some((name, self.text.clone()));
        }
        let boundary = (0..=LONGEST_VARIABLE).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or_default();
        let cut = &self.text[..boundary];
        Some((name, cut.rsplit_once(',').map_or(cut, |(entries, _)| entries).to_owned()))
    }
}

impl HookFacts {
    /// Everything that has a value.
    pub(super) fn values(&self) -> Vec<Value> {
        let mut values = vec![
            Value::new(&["failureType"], "ORC_FAILURE_TYPE", &self.failure_type),
            Value::new(&["instanceType"], "ORC_INSTANCE_TYPE", &self.instance_type),
            Value::new(&["isMaster"], "ORC_IS_MASTER", self.is_master),
            Value::new(&["isCoMaster"], "ORC_IS_CO_MASTER", self.is_co_master),
            Value::new(&["failureDescription"], "ORC_FAILURE_DESCRIPTION", &self.failure_description),
            Value::new(&["command"], "ORC_COMMAND", &self.command),
            Value::new(&["failedHost"], "ORC_FAILED_HOST", &self.failed.hostname),
            Value::new(&["failedPort"], "ORC_FAILED_PORT", self.failed.port),
            Value::new(&["failureCluster"], "ORC_FAILURE_CLUSTER", &self.failure_cluster),
            Value::new(&["failureClusterAlias"], "ORC_FAILURE_CLUSTER_ALIAS", &self.failure_cluster_alias),
            Value::new(&["failureClusterDomain"], "ORC_FAILURE_CLUSTER_DOMAIN", &self.failure_cluster_domain),
            Value::new(&["countReplicas", "countSlaves"], "ORC_COUNT_REPLICAS", self.count_replicas),
            Value::new(&["isDowntimed"], "ORC_IS_DOWNTIMED", self.is_downtimed),
            Value::new(&["autoMasterRecovery"], "ORC_AUTO_MASTER_RECOVERY", self.auto_master_recovery),
            Value::new(
                &["autoIntermediateMasterRecovery"],
                "ORC_AUTO_INTERMEDIATE_MASTER_RECOVERY",
                self.auto_intermediate_master_recovery,
            ),
            Value::new(&["orchestratorHost"], "ORC_ORCHESTRATOR_HOST", &self.orchestrator_host),
            Value::new(&["recoveryUID"], "ORC_RECOVERY_UID", &self.recovery_uid),
            Value::new(&["isSuccessful"], "ORC_IS_SUCCESSFUL", self.successor.is_some()),
            Value::new(&["lostReplicas", "lostSlaves"], "ORC_LOST_REPLICAS", list(&self.lost_replicas)),
            Value::new(&["countLostReplicas"], "", self.lost_replicas.len()),
            Value::new(&["replicaHosts", "slaveHosts"], "ORC_REPLICA_HOSTS", list(&self.replica_hosts)),
        ];
        if let Some(successor) = &self.successor {
            values.push(Value::new(&["successorHost"], "ORC_SUCCESSOR_HOST", &successor.key.hostname));
            values.push(Value::new(&["successorPort"], "ORC_SUCCESSOR_PORT", successor.key.port));
            if let Some(coordinates) = &successor.binlog_coordinates {
                let names = &["successorBinlogCoordinates"];
                values.push(Value::new(names, "ORC_SUCCESSOR_BINLOG_COORDINATES", coordinates));
            }
            values.push(Value::new(&["successorAlias"], "ORC_SUCCESSOR_ALIAS", &successor.alias));
        }
        values
    }
}

fn list(keys: &[InstanceKey]) -> String {
    keys.iter().map(InstanceKey::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_among_those_that_are_taken_out_of_what_is_inherited() {
        let successor = Successor {
            key: InstanceKey::new("b", 3306),
            binlog_coordinates: Some("binlog.1:4".to_owned()),
            alias: String::new(),
        };
        let facts = HookFacts { successor: Some(successor), ..HookFacts::default() };
        let values = facts.values();
        let names: Vec<&str> = values.iter().map(|value| value.name).filter(|name| !name.is_empty()).collect();
        assert_eq!(names, VARIABLES);
    }

    #[test]
    fn a_variable_is_never_longer_than_the_system_bears() {
        let keys: Vec<InstanceKey> = (0..9_000).map(|n| InstanceKey::new(format!("replica-{n}"), 3306)).collect();
        let facts = HookFacts { replica_hosts: keys, ..HookFacts::default() };
        let values = facts.values();
        let hosts = values.iter().find(|value| value.name == "ORC_REPLICA_HOSTS").unwrap();
        let (_, text) = hosts.variable().unwrap();
        assert!(hosts.text.ends_with("replica-8999:3306"), "the placeholder has them all");
        assert!(text.len() <= LONGEST_VARIABLE && text.ends_with(":3306") && hosts.text.starts_with(&text));
        // One text without commas is cut between characters.
        let (_, text) = Value::new(&[], "ORC_COMMAND", "ä".repeat(60_000)).variable().unwrap();
        assert_eq!(text.len(), LONGEST_VARIABLE);
    }
}
