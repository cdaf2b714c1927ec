//! One instance with its replicas, counted once: what the rules look at.

use std::collections::{BTreeMap, BTreeSet};

use super::testimony::{fails_to_connect, reach, silent_since, testimony};
use super::{AnalysisPolicy, Reach, Sample, Testimony};
use crate::instance::{DbMicros, Instance, InstanceKey, ThreadState};
use crate::version::ServerVersion;

const SECOND: DbMicros = 1_000_000;

/// How many replicas an instance has, of every kind that matters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Instances that replicate from it.
    pub replicas: usize,
    /// Of these, answered their last check, which is not too old.
    pub valid: usize,
    /// Valid, and both threads run.
    pub replicating: usize,
    /// Valid, and the receiver gets no connection although the applier runs.
    pub failing_to_connect: usize,
    /// Valid, and behind for longer than is reasonable although no delay is configured.
    pub lagging: usize,
    /// A delay is configured.
    pub delayed: usize,
    /// Downtimed.
    pub downtimed: usize,
    /// Say that they hear it, or that it turned them away.
    pub hearing: usize,
    /// Say that they have lost it.
    pub lost: usize,
    /// Cannot be asked.
    pub unreachable: usize,
    /// Not asked lately, or not since it fell silent.
    pub unknown: usize,
    /// Valid, and replicate with MySQL GTID.
    pub oracle_gtid: usize,
    /// Valid, and replicate with MariaDB GTID.
    pub mariadb_gtid: usize,
    /// Valid binlog servers.
    pub binlog_servers: usize,
    /// The replica side of semi-synchronous replication is enabled.
    pub semi_sync_enabled: usize,
    /// Write what they apply to a binary log.
    pub logging: usize,
    /// Of these, log statements.
    pub logging_statement: usize,
    /// Of these, log mixed.
    pub logging_mixed: usize,
    /// Of these, log rows.
    pub logging_row: usize,
    /// Major versions among the logging.
    pub logging_major_versions: usize,
    /// First of the GTID modes of the replicas by name; empty without replicas.
    pub min_gtid_mode: String,
    /// Last of them.
    pub max_gtid_mode: String,
    /// There are two different modes, that of the instance included; servers without modes do not count.
    pub gtid_modes_differ: bool,
    /// Last of the errant sets of replicas that are not downtimed; empty if there is none.
    pub max_gtid_errant: String,
}

/// One instance with everything the rules ask about.
pub(super) struct Situation<'a> {
    pub(super) instance: &'a Instance,
    pub(super) policy: &'a AnalysisPolicy,
    pub(super) reach: Reach,
    pub(super) counts: Counts,
    /// By key.
    pub(super) replicas: Vec<(&'a InstanceKey, Testimony)>,
    pub(super) is_primary: bool,
    pub(super) is_co_primary: bool,
    pub(super) is_group_member: bool,
    pub(super) fails_to_connect: bool,
    sample: Option<&'a Sample>,
    now: DbMicros,
}

impl<'a> Situation<'a> {
    pub(super) fn new(
        instance: &'a Instance,
        replicas: &[&'a Instance],
        samples: &'a BTreeMap<InstanceKey, Sample>,
        policy: &'a AnalysisPolicy,
        now: DbMicros,
    ) -> Self {
        let reach_of_it = reach(instance, policy, now);
        let silent_since = silent_since(instance, reach_of_it);
        let mut counted = Counting::new(instance);
        let mut testimonies = Vec::with_capacity(replicas.len());
        for replica in replicas {
            let reach = reach(replica, policy, now);
            let testimony = testimony(replica, reach, silent_since);
            counted.add(replica, reach, testimony, policy, now);
            testimonies.push((&replica.key, testimony));
        }
        let group = instance.facts.group.as_ref().filter(|group| !group.name.is_empty());
        let has_source = instance.facts.source().is_some_and(InstanceKey::is_valid);
        Self {
            instance,
            policy,
            reach: reach_of_it,
            replicas: testimonies,
            is_primary: !has_source && group.is_none_or(|group| group.role == "PRIMARY"),
            is_co_primary: instance.placement.is_co_primary || replicas.iter().any(|one| one.placement.is_co_primary),
            is_group_member: group.is_some_and(|group| group.state != "OFFLINE"),
            fails_to_connect: reach_of_it == Reach::Answers && fails_to_connect(instance),
            counts: counted.end(),
            sample: samples.get(&instance.key),
            now,
        }
    }

    // The words of the rules, in the order of a sentence about an instance.

    /// Answered its last check.
    pub(super) fn answers(&self) -> bool {
        self.reach == Reach::Answers
    }

    /// Answered its last check, or refused it as only a living server can.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.reach, Reach::Answers | Reach::Refuses)
    }

    /// Its last check failed without a sign of life.
    pub(super) fn is_silent(&self) -> bool {
        self.reach == Reach::Silent
    }

    /// Its last check failed.
    pub(super) fn fails(&self) -> bool {
        matches!(self.reach, Reach::Silent | Reach::Refuses)
    }

    /// Neither a primary nor one of two co-primaries.
    pub(super) fn is_intermediate(&self) -> bool {
        !self.is_primary && !self.is_co_primary
    }

    pub(super) fn has_replicas(&self) -> bool {
        self.counts.replicas > 0
    }

    pub(super) fn has_one_replica(&self) -> bool {
        self.counts.replicas == 1
    }

    pub(super) fn has_several_replicas(&self) -> bool {
        self.counts.replicas > 1
    }

    /// All replicas can be asked, and all of them have lost it.
    pub(super) fn all_lost_it(&self) -> bool {
        self.has_replicas() && self.counts.lost == self.counts.replicas
    }

    /// Some replicas cannot be asked, and all the others have lost it.
    pub(super) fn some_unreachable_others_lost_it(&self) -> bool {
        let counts = &self.counts;
        counts.unreachable > 0 && counts.lost > 0 && counts.lost + counts.unreachable == counts.replicas
    }

    /// There are replicas, and none of them can be asked.
    pub(super) fn all_unreachable(&self) -> bool {
        self.has_replicas() && self.counts.unreachable == self.counts.replicas
    }

    /// A replica says that it is alive.
    pub(super) fn is_heard(&self) -> bool {
        self.counts.hearing > 0
    }

    /// A replica says that it is alive, or may still hear it: it was not asked since.
    pub(super) fn may_be_heard(&self) -> bool {
        self.counts.hearing + self.counts.unknown > 0
    }

    /// All replicas can be asked, and none has both threads running.
    pub(super) fn none_replicates(&self) -> bool {
        self.has_replicas() && self.counts.valid == self.counts.replicas && self.counts.replicating == 0
    }

    /// Some replicas cannot be asked, and none of the others has both threads running.
    pub(super) fn some_unreachable_none_replicates(&self) -> bool {
        let counts = &self.counts;
        counts.unreachable > 0
            && counts.valid > 0
            && counts.valid + counts.unreachable == counts.replicas
            && counts.replicating == 0
    }

    /// Every replica that is not delayed on purpose lags, and there is one.
    pub(super) fn all_lag(&self) -> bool {
        let prompt = self.counts.replicas - self.counts.delayed;
        prompt > 0 && self.counts.lagging == prompt
    }

    /// Every replica that can be asked fails to connect to it, and there is one.
    pub(super) fn all_reachable_fail_to_connect(&self) -> bool {
        let counts = &self.counts;
        counts.unknown == 0 && counts.failing_to_connect > 0 && counts.failing_to_connect == counts.valid
    }

    /// It waits for acknowledgements of semi-synchronous replicas now.
    pub(super) fn waits_for_acknowledgements(&self) -> bool {
        let semi_sync = &self.instance.facts.semi_sync;
        self.reach != Reach::Unknown && semi_sync.source_enabled && semi_sync.source_status
    }

    /// How many must acknowledge. MariaDB has no such number: it waits for one.
    fn acknowledgements(&self) -> u64 {
        self.instance.facts.semi_sync.wait_for_replica_count.max(1)
    }

    /// It was told to wait for acknowledgements, and has given up.
    pub(super) fn fell_back_to_asynchronous(&self) -> bool {
        let semi_sync = &self.instance.facts.semi_sync;
        semi_sync.source_enabled && !semi_sync.source_status
    }

    pub(super) fn has_too_few_acknowledging(&self) -> bool {
        self.instance.facts.semi_sync.source_clients < self.acknowledgements()
    }

    pub(super) fn has_too_many_acknowledging(&self) -> bool {
        self.instance.facts.semi_sync.source_clients > self.acknowledgements()
    }

    /// Its binary log has stood where it stands for as long as a locked primary is allowed to.
    pub(super) fn stands_still(&self) -> bool {
        let patience = self.policy.locked_patience_seconds() * SECOND;
        self.sample
            .is_some_and(|sample| sample.at == self.instance.facts.binlog && sample.first_seen < self.now - patience)
    }

    pub(super) fn has_gtid_topology(&self) -> bool {
        let counts = &self.counts;
        counts.valid > 0 && [counts.oracle_gtid, counts.mariadb_gtid, counts.binlog_servers].contains(&counts.valid)
    }
}

struct Counting<'a> {
    counts: Counts,
    versions: BTreeSet<String>,
    modes: BTreeSet<&'a str>,
    own_mode: &'a str,
}

impl<'a> Counting<'a> {
    fn new(instance: &'a Instance) -> Self {
        let own_mode = instance.facts.gtid.mode.as_str();
        Self { counts: Counts::default(), versions: BTreeSet::new(), modes: BTreeSet::new(), own_mode }
    }

    fn add(
        &mut self,
        replica: &'a Instance,
        reach: Reach,
        testimony: Testimony,
        policy: &AnalysisPolicy,
        now: DbMicros,
    ) {
        let counts = &mut self.counts;
        counts.replicas += 1;
        *match testimony {
            Testimony::Hears | Testimony::Refused => &mut counts.hearing,
            Testimony::Lost => &mut counts.lost,
            Testimony::Unreachable => &mut counts.unreachable,
            Testimony::Outdated | Testimony::Unknown => &mut counts.unknown,
        } += 1;
        let is_downtimed = replica.downtime.as_ref().is_some_and(|downtime| downtime.ends_at > now);
        counts.downtimed += usize::from(is_downtimed);
        if let Some(status) = &replica.facts.replica {
            counts.delayed += usize::from(status.sql_delay > 0);
        }
        counts.semi_sync_enabled += usize::from(replica.facts.semi_sync.replica_enabled);
        if !is_downtimed && replica.placement.gtid_errant > counts.max_gtid_errant {
            counts.max_gtid_errant.clone_from(&replica.placement.gtid_errant);
        }
        self.modes.insert(&replica.facts.gtid.mode);
        self.add_log(replica);
        if reach == Reach::Answers {
            self.add_valid(replica, policy);
        }
    }

    fn add_valid(&mut self, replica: &Instance, policy: &AnalysisPolicy) {
        let counts = &mut self.counts;
        counts.valid += 1;
        counts.failing_to_connect += usize::from(fails_to_connect(replica));
        counts.binlog_servers += usize::from(replica.facts.is_binlog_server());
        let Some(status) = &replica.facts.replica else { return };
        counts.replicating +=
            usize::from((status.io_thread, status.sql_thread) == (ThreadState::Running, ThreadState::Running));
        let lags = status.sql_delay == 0 && status.lag_seconds.is_some_and(|lag| lag > policy.lag_seconds);
        counts.lagging += usize::from(lags);
        counts.oracle_gtid += usize::from(status.auto_position);
        counts.mariadb_gtid += usize::from(status.using_mariadb_gtid);
    }

    fn add_log(&mut self, replica: &Instance) {
        let (facts, counts) = (&replica.facts, &mut self.counts);
        if !facts.log_bin || !facts.log_replica_updates {
            return;
        }
        counts.logging += 1;
        match facts.binlog_format.as_str() {
            "STATEMENT" => counts.logging_statement += 1,
            "MIXED" => counts.logging_mixed += 1,
            "ROW" => counts.logging_row += 1,
            _ => {}
        }
        self.versions.insert(ServerVersion::parse(&facts.version, &facts.version_comment).major_version());
    }

    fn end(mut self) -> Counts {
        self.counts.logging_major_versions = self.versions.len();
        self.counts.min_gtid_mode = self.modes.first().copied().unwrap_or_default().to_owned();
        self.counts.max_gtid_mode = self.modes.last().copied().unwrap_or_default().to_owned();
        if self.counts.replicas > 0 {
            self.modes.insert(self.own_mode);
        }
        // A server without the variable has no mode that could differ.
        self.counts.gtid_modes_differ = self.modes.iter().filter(|mode| !mode.is_empty()).count() > 1;
        self.counts
    }
}
