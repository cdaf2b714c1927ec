//! From the instance we know to the record readers expect.

use domain::instance::{GroupFacts, Instance as Known, PluginNaming, ReplicaFacts, SourceTls, ThreadState};

use super::{Coordinates, Instance, Key};
use crate::clock::backend_text;
use crate::quote::quote_error;
use crate::view::{View, flavor, lag_seconds, uptime_seconds};

const NANOS_PER_MICRO: u64 = 1_000;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

impl Instance {
    /// The record of information endpoints. As in the original it does not carry the TLS options of replication nor
    /// the naming of the semi-sync plugins.
    pub fn stored(known: &Known, view: &View) -> Self {
        let mut record = Self { flavor_name: flavor(&known.facts).to_owned(), ..Self::default() };
        record.take_server(known);
        record.take_replica(known.facts.replica.as_ref());
        record.take_replication_facts(known, view);
        record.take_placement(known);
        record.take_semi_sync(known);
        record.take_group(known.facts.group.as_ref());
        record.take_check(known, view);
        record.take_people(known, view);
        record
    }

    /// The record in the result of an operation that has just read the server: with TLS options and plugin naming,
    /// without what only the backend knows (downtime, problems, candidacy, times).
    pub fn live(known: &Known, view: &View) -> Self {
        let mut record = Self::default();
        record.take_server(known);
        record.take_replica(known.facts.replica.as_ref());
        record.take_replication_facts(known, view);
        record.take_placement(known);
        record.take_semi_sync(known);
        record.take_group(known.facts.group.as_ref());
        record.is_last_check_valid = true;
        record.is_up_to_date = true;
        record.is_recently_checked = true;
        record.last_discovery_latency = known.check.latency_micros.saturating_mul(NANOS_PER_MICRO);
        known.promotion_rule.name().clone_into(&mut record.promotion_rule);
        let new_name = |naming: Option<PluginNaming>| naming == Some(PluginNaming::SourceReplica);
        record.semi_sync_master_plugin_new_version = new_name(known.facts.semi_sync.source_plugin);
        record.semi_sync_replica_plugin_new_version = new_name(known.facts.semi_sync.replica_plugin);
        if let Some(replica) = &known.facts.replica {
            record.take_tls(&replica.tls);
        }
        record
    }

    fn take_server(&mut self, known: &Known) {
        let facts = &known.facts;
        self.key = Key::from(&known.key);
        self.instance_alias.clone_from(&facts.alias);
        self.uptime = uptime_seconds(known);
        self.server_id = facts.server_id;
        self.server_uuid.clone_from(&facts.server_uuid);
        self.version.clone_from(&facts.version);
        self.version_comment.clone_from(&facts.version_comment);
        self.read_only = facts.read_only;
        self.binlog_format.clone_from(&facts.binlog_format);
        // The original reads this together with the GTID mode, hence never from MariaDB.
        if !facts.gtid.mode.is_empty() {
            self.binlog_row_image.clone_from(&facts.binlog_row_image);
        }
        self.log_bin_enabled = facts.log_bin;
        self.log_slave_updates_enabled = facts.log_replica_updates;
        self.log_replication_updates_enabled = facts.log_replica_updates;
        self.self_binlog_coordinates = Coordinates::binary(&facts.binlog);
        self.gtid_mode.clone_from(&facts.gtid.mode);
        self.supports_oracle_gtid = facts.supports_oracle_gtid();
        self.using_pseudo_gtid = facts.using_pseudo_gtid;
        self.executed_gtid_set = without_white_space(&facts.gtid.executed);
        self.gtid_purged = without_white_space(&facts.gtid.purged);
        self.replicas = Key::list(&facts.replicas);
        self.slave_hosts.clone_from(&self.replicas);
        self.data_center.clone_from(&facts.data_center);
        self.region.clone_from(&facts.region);
        self.physical_environment.clone_from(&facts.physical_environment);
    }

    /// What `SHOW REPLICA STATUS` says; a server that is no replica still has a relay log coordinate of that type.
    fn take_replica(&mut self, replica: Option<&ReplicaFacts>) {
        let none = ReplicaFacts::default();
        let replica = replica.unwrap_or(&none);
        self.master_key = Key::from(&replica.source);
        self.master_uuid.clone_from(&replica.source_uuid);
        self.is_detached_master = replica.source.is_detached();
        self.has_replication_filters = replica.has_filters;
        self.using_oracle_gtid = replica.auto_position;
        self.using_mariadb_gtid = replica.using_mariadb_gtid;
        self.read_binlog_coordinates = Coordinates::binary(&replica.read);
        self.exec_binlog_coordinates = Coordinates::binary(&replica.exec);
        self.relaylog_coordinates = Coordinates::relay(&replica.relay);
        self.is_detached = domain::health::is_detached_position(&replica.exec.file);
        self.last_sql_error = quote_error(&replica.last_sql_error);
        self.last_io_error = quote_error(&replica.last_io_error);
        self.seconds_behind_master = replica.seconds_behind.into();
        self.sql_delay = replica.sql_delay;
        self.has_replication_credentials = !replica.user.is_empty();
        self.allow_tls = replica.tls.allowed;
    }

    fn take_replication_facts(&mut self, known: &Known, view: &View) {
        let (io_thread, sql_thread) = known.facts.threads();
        self.replication_io_thread_state = io_thread.code();
        self.replication_sql_thread_state = sql_thread.code();
        self.replication_io_thread_runing = io_thread == ThreadState::Running;
        self.replication_sql_thread_runing = sql_thread == ThreadState::Running;
        self.slave_io_running = self.replication_io_thread_runing;
        self.slave_sql_running = self.replication_sql_thread_runing;
        self.replication_lag_seconds = lag_seconds(known).into();
        self.slave_lag_seconds = self.replication_lag_seconds;
        self.replication_credentials_available =
            view.credentials_query_configured || known.facts.replication_credentials_available;
    }

    fn take_placement(&mut self, known: &Known) {
        let placement = &known.placement;
        self.ancestry_uuid.clone_from(&placement.ancestry_uuid);
        self.gtid_errant = without_white_space(&placement.gtid_errant);
        self.cluster_name.clone_from(&placement.cluster_name);
        self.suggested_cluster_alias.clone_from(&placement.suggested_cluster_alias);
        self.replication_depth = u64::from(placement.replication_depth);
        self.is_co_master = placement.is_co_primary;
    }

    fn take_semi_sync(&mut self, known: &Known) {
        let semi_sync = &known.facts.semi_sync;
        self.semi_sync_available = semi_sync.source_plugin.is_some() && semi_sync.replica_plugin.is_some();
        self.semi_sync_priority = semi_sync.priority;
        self.semi_sync_master_enabled = semi_sync.source_enabled;
        self.semi_sync_replica_enabled = semi_sync.replica_enabled;
        self.semi_sync_master_timeout = semi_sync.source_timeout_ms;
        self.semi_sync_master_wait_for_replica_count = semi_sync.wait_for_replica_count;
        self.semi_sync_master_status = semi_sync.source_status;
        self.semi_sync_master_clients = semi_sync.source_clients;
        self.semi_sync_replica_status = semi_sync.replica_status;
    }

    fn take_group(&mut self, group: Option<&GroupFacts>) {
        let Some(group) = group else { return };
        self.replication_group_name.clone_from(&group.name);
        self.replication_group_is_single_primary = group.single_primary;
        self.replication_group_member_state.clone_from(&group.state);
        self.replication_group_member_role.clone_from(&group.role);
        self.replication_group_members = Key::list(&group.members);
        self.replication_group_primary_instance_key = Key::or_none(group.primary.as_ref());
    }

    fn take_check(&mut self, known: &Known, view: &View) {
        let check = &known.check;
        self.last_seen_timestamp = backend_text(check.last_seen_at);
        self.is_last_check_valid = check.is_valid();
        self.is_up_to_date = view.judgement.is_up_to_date(check);
        self.is_recently_checked = view.judgement.is_recently_checked(check);
        self.seconds_since_last_seen = check.seconds_since_seen(view.now()).into();
        self.problems = view.judgement.problems(known).into_iter().map(str::to_owned).collect();
        self.last_discovery_latency = check.latency_micros.saturating_mul(NANOS_PER_MICRO);
    }

    /// What people said about it. A downtime that is not running now is none.
    fn take_people(&mut self, known: &Known, view: &View) {
        known.promotion_rule.name().clone_into(&mut self.promotion_rule);
        self.is_candidate = known.promotion_rule.is_candidate();
        self.unresolved_hostname.clone_from(&known.unresolved_hostname);
        let Some(downtime) = known.downtime.as_ref().filter(|downtime| downtime.ends_at > view.now()) else { return };
        self.is_downtimed = true;
        self.downtime_reason.clone_from(&downtime.reason);
        self.downtime_owner.clone_from(&downtime.owner);
        self.downtime_end_timestamp = backend_text(Some(downtime.ends_at));
        // Whole seconds, in nanoseconds.
        let elapsed = view.now().saturating_sub(downtime.begins_at).max(0) / 1_000_000;
        self.elapsed_downtime = elapsed.unsigned_abs().saturating_mul(NANOS_PER_SECOND);
    }

    fn take_tls(&mut self, tls: &SourceTls) {
        self.replication_ssl_ca_file.clone_from(&tls.ca_file);
        self.replication_ssl_ca_path.clone_from(&tls.ca_path);
        self.replication_ssl_cert.clone_from(&tls.cert);
        self.replication_ssl_cipher.clone_from(&tls.cipher);
        self.replication_ssl_crl_file.clone_from(&tls.crl_file);
        self.replication_ssl_crl_path.clone_from(&tls.crl_path);
        self.replication_ssl_key.clone_from(&tls.key);
        self.replication_ssl_verify_server_cert = tls.verify_server_cert.into();
        self.replication_tls_version.clone_from(&tls.version);
        self.replication_tls_ciphersuites.clone_from(&tls.ciphersuites);
        self.replication_source_public_key_path.clone_from(&tls.public_key_path);
        self.replication_get_source_public_key = tls.get_public_key.into();
    }
}

/// GTID sets go out on one line, whatever the server put after its commas.
fn without_white_space(gtid_set: &str) -> String {
    gtid_set.chars().filter(|c| !c.is_whitespace()).collect()
}
