//! What a conversion needs besides the instance itself, and facts both APIs derive alike.

use domain::health::Judgement;
use domain::instance::{DbMicros, Instance, ServerFacts};
use domain::version::ServerVersion;

/// The moment and the settings under which instances are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Now and the thresholds (`InstancePollSeconds`, `ReasonableReplicationLagSeconds`, ...).
    pub judgement: Judgement,
    /// `ReplicationCredentialsQuery` is configured: credentials can be had for every instance.
    pub credentials_query_configured: bool,
}

impl View {
    /// Now, on the database's clock.
    pub fn now(&self) -> DbMicros {
        self.judgement.now
    }
}

/// Product name of a server, from its own version texts.
pub fn flavor(facts: &ServerFacts) -> &'static str {
    ServerVersion::parse(&facts.version, &facts.version_comment).flavor.name()
}

/// Seconds the server had been up when last seen; 0 for one that never answered.
pub(crate) fn uptime_seconds(instance: &Instance) -> u64 {
    match (instance.check.last_seen_at, instance.facts.started_at) {
        (Some(seen), started) if started > 0 => {
            u64::try_from(seen.div_euclid(1_000_000).saturating_sub(started)).unwrap_or(0)
        }
        _ => 0,
    }
}

/// The lag as people know it: by the configured query, else what the server says.
pub(crate) fn lag_seconds(instance: &Instance) -> Option<i64> {
    instance.facts.replica.as_ref().and_then(|replica| replica.lag_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn tells_products_apart() {
        for (version, comment, name) in [
            ("9.7.4", "MySQL Community Server", "MySQL"),
            ("10.11.19-MariaDB-log", "Debian 12", "MariaDB"),
            ("8.0.40-31", "Percona Server (GPL), Release 31", "Percona"),
            ("2.5.1-maxscale", "", "MaxScale"),
            ("", "", "unknown"),
        ] {
            let facts =
                ServerFacts { version: version.into(), version_comment: comment.into(), ..ServerFacts::default() };
            assert_eq!(flavor(&facts), name, "{version}");
        }
    }

    #[test]
    fn uptime_is_that_of_the_last_sight() {
        let mut instance = fixtures::mysql_primary();
        assert_eq!(uptime_seconds(&instance), 101);
        instance.facts.started_at += 10_000;
        assert_eq!(uptime_seconds(&instance), 0, "a server whose clock is ahead");
        instance.check.last_seen_at = None;
        assert_eq!(uptime_seconds(&instance), 0);
    }
}
