//! Section: publishing primaries in key-value stores.

use crate::key::section;
use crate::secret::Secret;
use crate::value::{choice, text};

choice! {
    /// How Consul is reached.
    pub enum ConsulScheme {
        Http = "http" | "",
        Https = "https",
    }
}

choice! {
    /// How keys are written to Consul.
    pub enum ConsulKVStoreProvider {
        /// One request per key.
        Single = "consul" | "",
        /// Several keys in one transaction.
        Transaction = "consul-txn" | "consul_txn",
    }
}

section! {
    /// Publishing primaries in key-value stores.
    pub struct Kv in kv, "Key-value stores";
    cluster_master_prefix: String = text("mysql/master") => "KVClusterMasterPrefix", NotYet("key-value stores"), Live,
        "Prefix of the keys; made to end with exactly one `/`.";
    consul_address: String = String::new() => "ConsulAddress", NotYet("key-value stores"), Restart,
        "`host:port` of Consul; empty = none.";
    consul_scheme: ConsulScheme = ConsulScheme::Http => "ConsulScheme", NotYet("key-value stores"), Restart,
        "`http` or `https`.";
    consul_acl_token: Secret = Secret::default() => "ConsulAclToken", NotYet("key-value stores"), Restart, "ACL token of Consul.";
    consul_cross_data_center_distribution: bool = false => "ConsulCrossDataCenterDistribution", NotYet("key-value stores"), Restart,
        "Write to all data centers that Consul knows.";
    consul_kv_store_provider: ConsulKVStoreProvider = ConsulKVStoreProvider::Single => "ConsulKVStoreProvider", NotYet("key-value stores"), Restart,
        "`consul` (one request per key) or `consul-txn` (transactions).";
    consul_max_kvs_per_transaction: i64 = 5 => "ConsulMaxKVsPerTransaction", NotYet("key-value stores"), Restart,
        "Keys per transaction; forced into 5 to 64.";
    zk_address: String = String::new() => "ZkAddress", NotYet("key-value stores"), Restart,
        "ZooKeeper servers `host[:port]`, separated by commas; empty = none.";
}
