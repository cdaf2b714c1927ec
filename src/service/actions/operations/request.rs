//! From what people wrote to a [`Request`]: one table for the command line, the paths of the compatibility API and the
//! bodies of the REST API.

use domain::instance::InstanceKey;
use domain::plan::{Request, SemiSyncSide};

use crate::actions::{Error, Scope, instances};

/// Longest delay of a replica that servers accept: 2^31 - 1 s.
const MAX_DELAY_SECONDS: u32 = i32::MAX.unsigned_abs();
/// Names told to somebody whose text fits several.
const SHOWN_NAMES: usize = 5;

/// What was asked for, as it was written, but for names of instances: those are understood already.
#[derive(Debug, Clone, Default)]
pub struct Asked<'a> {
    /// The command word.
    pub word: &'a str,
    /// The instance it is about; for bulk operations the one whose replicas are meant.
    pub instance: InstanceKey,
    /// The destination.
    pub below: Option<InstanceKey>,
    /// Only replicas whose `host:port` matches.
    pub pattern: &'a str,
    /// For `delay-replication`.
    pub seconds: &'a str,
    /// Binary log, for `flush-binary-logs` and `purge-binary-logs`.
    pub until: &'a str,
    /// Connection, for `kill-query`.
    pub id: &'a str,
    /// Against the safety of the operation itself, where it has that.
    pub force: bool,
}

/// Which destination an operation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Below {
    /// None.
    No,
    /// One, or none.
    Optional,
    /// One.
    Required,
}

impl Below {
    /// Of the operation of this word; `None`: there is no such operation.
    pub fn of(word: &str) -> Option<Self> {
        WORDS.iter().find(|(known, _)| *known == word).map(|(_, below)| *below)
    }
}

/// The words of all operations.
pub fn words() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|(word, _)| *word)
}

const WORDS: &[(&str, Below)] = &[
    ("relocate", Below::Required),
    ("relocate-below", Below::Required),
    ("relocate-replicas", Below::Required),
    ("move-up", Below::No),
    ("move-up-replicas", Below::No),
    ("move-below", Below::Required),
    ("move-equivalent", Below::Required),
    ("move-gtid", Below::Required),
    ("move-replicas-gtid", Below::Required),
    ("repoint", Below::Optional),
    ("repoint-replicas", Below::Optional),
    ("take-master", Below::No),
    ("take-siblings", Below::No),
    ("make-co-master", Below::No),
    ("make-master", Below::No),
    ("make-local-master", Below::No),
    ("regroup-replicas", Below::No),
    ("regroup-replicas-gtid", Below::No),
    ("reset-replica", Below::No),
    ("detach-replica-master-host", Below::No),
    ("reattach-replica-master-host", Below::No),
    ("change-master-credentials", Below::No),
    ("skip-query", Below::No),
    ("start-replica", Below::No),
    ("stop-replica", Below::No),
    ("restart-replica", Below::No),
    ("stop-replica-nice", Below::No),
    ("start-replica-io-thread", Below::No),
    ("stop-replica-io-thread", Below::No),
    ("start-replica-sql-thread", Below::No),
    ("stop-replica-sql-thread", Below::No),
    ("delay-replication", Below::No),
    ("set-read-only", Below::No),
    ("set-writeable", Below::No),
    ("flush-binary-logs", Below::No),
    ("purge-binary-logs", Below::No),
    ("kill-query", Below::No),
    ("enable-gtid", Below::No),
    ("disable-gtid", Below::No),
    ("gtid-errant-reset-master", Below::No),
    ("gtid-errant-inject-empty", Below::No),
    ("enable-semi-sync-master", Below::No),
    ("disable-semi-sync-master", Below::No),
    ("enable-semi-sync-replica", Below::No),
    ("disable-semi-sync-replica", Below::No),
];

/// Operations of the original by Pseudo-GTID and with binlog servers.
const LATER: [&str; 8] = [
    "match",
    "match-below",
    "match-replicas",
    "match-up",
    "match-up-replicas",
    "rematch",
    "regroup-replicas-bls",
    "regroup-replicas-pgtid",
];

/// The request that these words mean.
pub fn request(asked: &Asked<'_>) -> Result<Request, Error> {
    let instance = asked.instance.clone();
    let of = asked.instance.clone();
    let below = || {
        let missing = || Error::Invalid(format!("{} needs a destination: below which instance?", asked.word));
        asked.below.clone().ok_or_else(missing)
    };
    let until = asked.until.trim().to_owned();
    let semi_sync = |side, enabled| Request::SetSemiSync { instance: instance.clone(), side, enabled };
    Ok(match asked.word {
        "relocate" | "relocate-below" => Request::Relocate { instance, below: below()? },
        "relocate-replicas" => Request::RelocateReplicas { of, below: below()?, pattern: pattern(asked)? },
        "move-up" => Request::MoveUp { instance },
        "move-up-replicas" => Request::MoveUpReplicas { of, pattern: pattern(asked)? },
        "move-below" => Request::MoveBelow { instance, below: below()? },
        "move-equivalent" => Request::MoveEquivalent { instance, below: below()? },
        "move-gtid" => Request::MoveGtid { instance, below: below()? },
        "move-replicas-gtid" => Request::MoveReplicasGtid { of, below: below()?, pattern: pattern(asked)? },
        "repoint" => Request::Repoint { instance, below: asked.below.clone() },
        "repoint-replicas" => Request::RepointReplicas { of, below: asked.below.clone(), pattern: pattern(asked)? },
        "take-master" => Request::TakeMaster { instance },
        "take-siblings" => Request::TakeSiblings { instance },
        "make-co-master" => Request::MakeCoMaster { instance },
        "make-master" => Request::MakeMaster { instance },
        "make-local-master" => Request::MakeLocalMaster { instance },
        "regroup-replicas" => Request::RegroupReplicas { of, gtid_only: false },
        "regroup-replicas-gtid" => Request::RegroupReplicas { of, gtid_only: true },
        "reset-replica" => Request::ResetReplica { instance },
        "detach-replica-master-host" => Request::DetachReplica { instance },
        "reattach-replica-master-host" => Request::ReattachReplica { instance },
        "change-master-credentials" => Request::ChangeCredentials { instance },
        "skip-query" => Request::SkipQuery { instance },
        "start-replica" => Request::StartReplica { instance },
        "stop-replica" => Request::StopReplica { instance },
        "restart-replica" => Request::RestartReplica { instance },
        "stop-replica-nice" => Request::StopReplicaNice { instance },
        "start-replica-io-thread" => Request::StartReplicaIo { instance },
        "stop-replica-io-thread" => Request::StopReplicaIo { instance },
        "start-replica-sql-thread" => Request::StartReplicaSql { instance },
        "stop-replica-sql-thread" => Request::StopReplicaSql { instance },
        "delay-replication" => Request::DelayReplication { instance, seconds: seconds(asked.seconds)? },
        "set-read-only" => Request::SetReadOnly { instance },
        "set-writeable" => Request::SetWriteable { instance },
        "flush-binary-logs" => Request::FlushBinaryLogs { instance, until },
        "purge-binary-logs" if until.is_empty() => {
            let text = "purge-binary-logs needs the first binary log to be kept (--binlog), or `latest`";
            return Err(Error::Invalid(text.to_owned()));
        }
        "purge-binary-logs" => Request::PurgeBinaryLogs { instance, until, force: asked.force },
        "kill-query" => Request::KillQuery { instance, id: connection(asked.id)? },
        "enable-gtid" => Request::EnableGtid { instance },
        "disable-gtid" => Request::DisableGtid { instance },
        "gtid-errant-reset-master" => Request::GtidErrantResetMaster { instance },
        "gtid-errant-inject-empty" => Request::GtidErrantInjectEmpty { instance },
        "enable-semi-sync-master" => semi_sync(SemiSyncSide::Source, true),
        "disable-semi-sync-master" => semi_sync(SemiSyncSide::Source, false),
        "enable-semi-sync-replica" => semi_sync(SemiSyncSide::Replica, true),
        "disable-semi-sync-replica" => semi_sync(SemiSyncSide::Replica, false),
        later if LATER.contains(&later) => return Err(Error::Invalid(format!("not built yet: {later}"))),
        other => {
            let shown: String = other.chars().take(80).collect();
            return Err(Error::Invalid(format!("there is no operation {shown:?}")));
        }
    })
}

/// A pattern that cannot be read is an error here, not a pattern that fits nothing.
fn pattern(asked: &Asked<'_>) -> Result<String, Error> {
    let text = asked.pattern.trim();
    regex::Regex::new(text).map_err(|error| Error::Invalid(format!("cannot read the pattern: {error}")))?;
    Ok(text.to_owned())
}

fn seconds(text: &str) -> Result<u32, Error> {
    let number = text.trim().parse::<u32>().ok().filter(|seconds| *seconds <= MAX_DELAY_SECONDS);
    number.ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        Error::Invalid(format!(
            "a delay (--seconds) is a whole number of seconds from 0 to {MAX_DELAY_SECONDS}, not {shown:?}"
        ))
    })
}

fn connection(text: &str) -> Result<u64, Error> {
    text.trim().parse::<u64>().ok().filter(|id| *id > 0).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        Error::Invalid(format!("a connection (--process) is a number, as in SHOW PROCESSLIST, not {shown:?}"))
    })
}

/// The record of an instance that an operation names. When the text fits several names, those are told: nothing is ever
/// done to a server that was not meant for certain.
pub async fn known(scope: &Scope, key: &InstanceKey) -> Result<domain::instance::Instance, Error> {
    let unknown = match instances::read(scope, key).await {
        Err(Error::NotFound(text)) => text,
        other => return other,
    };
    let alike = instances::search(scope, &key.hostname).await?;
    let mut names: Vec<String> = alike
        .iter()
        .filter(|one| one.key.port == key.port && one.key.hostname.contains(&key.hostname))
        .map(|one| one.key.to_string())
        .collect();
    names.sort();
    Err(Error::NotFound(match names.len() {
        0 => format!("{unknown}; it is not known: discover it first"),
        1 => format!("{unknown}; is {} meant?", names[0]),
        count => {
            let shown = names.iter().take(SHOWN_NAMES).cloned().collect::<Vec<_>>().join(", ");
            let more = if count > SHOWN_NAMES { ", ..." } else { "" };
            format!("{unknown}; the name fits {count} instances: {shown}{more}")
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(word: &str) -> Asked<'_> {
        Asked {
            word,
            instance: InstanceKey::new("db3", 3306),
            below: Some(InstanceKey::new("db2", 3306)),
            seconds: "5",
            until: "bin.000009",
            id: "7",
            ..Asked::default()
        }
    }

    #[test]
    fn every_word_is_a_request_of_that_word() {
        for word in words() {
            let request = request(&asked(word)).unwrap_or_else(|error| panic!("{word}: {error}"));
            let expected = if word == "relocate-below" { "relocate" } else { word };
            assert_eq!(request.word(), expected);
            assert_eq!(request.instance(), &InstanceKey::new("db3", 3306));
            assert_eq!(request.destination().is_some(), Below::of(word) != Some(Below::No), "{word}");
        }
        assert_eq!(Below::of("nonsense"), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        let refusal = |asked: &Asked<'_>| request(asked).expect_err(asked.word).to_string();
        assert!(refusal(&Asked { below: None, ..asked("relocate") }).contains("below which instance"));
        for seconds in ["", "-5", "1.5", "4294967295", "soon"] {
            assert!(refusal(&Asked { seconds, ..asked("delay-replication") }).contains("from 0 to"), "{seconds}");
        }
        for id in ["", "0", "-1", "x"] {
            assert!(refusal(&Asked { id, ..asked("kill-query") }).contains("SHOW PROCESSLIST"), "{id}");
        }
        assert!(refusal(&Asked { until: " ", ..asked("purge-binary-logs") }).contains("to be kept"));
        assert!(refusal(&Asked { pattern: "[", ..asked("repoint-replicas") }).contains("cannot read the pattern"));
        assert_eq!(refusal(&asked("match-up")), "not built yet: match-up");
        assert!(refusal(&asked("drop-database")).contains("there is no operation \"drop-database\""));
    }
}
