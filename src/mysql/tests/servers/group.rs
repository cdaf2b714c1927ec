//! Group Replication: membership as a probe tells it, against what the members themselves say.

use std::collections::BTreeSet;

use domain::instance::{GroupFacts, InstanceKey};
use harness::{Flavor, Group, Link, Options, Server, replicate};

use crate::support::{facts_of, key, prober, rows, settings, text, until, value};

const MEMBERS: &str = "SELECT MEMBER_ID, MEMBER_HOST, CAST(MEMBER_PORT AS CHAR) AS MEMBER_PORT, MEMBER_STATE, MEMBER_ROLE \
                       FROM performance_schema.replication_group_members";

/// What the member says of its group, by other means than the probe's.
async fn said(member: &Server) -> GroupFacts {
    let own = value(member, "SELECT @@server_uuid").await;
    let mut said = GroupFacts {
        name: value(member, "SELECT @@group_replication_group_name").await,
        single_primary: value(member, "SELECT CAST(@@group_replication_single_primary_mode AS CHAR)").await == "1",
        ..GroupFacts::default()
    };
    for row in rows(member, MEMBERS).await {
        let port = text(&row, "MEMBER_PORT").parse().expect("a port");
        let key = InstanceKey::new(text(&row, "MEMBER_HOST"), port);
        if text(&row, "MEMBER_ROLE") == "PRIMARY" {
            said.primary = Some(key.clone());
        }
        if text(&row, "MEMBER_ID") == own {
            (said.state, said.role) = (text(&row, "MEMBER_STATE"), text(&row, "MEMBER_ROLE"));
        } else {
            said.members.insert(key);
        }
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn members_their_roles_and_a_change_of_primary() {
    let group = Group::start(3).await.expect("a group");
    let [first, second, third] = &group.members[..] else { panic!("three members") };
    let below = Options { read_only: true, ..Options::default() };
    let replica = Server::start_with(Flavor::MySql, below).await.expect("a server");
    replicate(&replica, second, Link::default()).await.expect("replicates");
    let prober = prober(settings());

    for member in &group.members {
        let facts = facts_of(&prober, member).await;
        let seen = facts.group.clone().expect("a member");
        assert_eq!(seen, said(member).await);
        // ... and the servers agree with how they were set up.
        let others = group.members.iter().filter(|other| other.port() != member.port()).map(key);
        assert_eq!(seen.members, others.collect::<BTreeSet<_>>());
        assert_eq!((seen.name.as_str(), seen.single_primary), (group.name.as_str(), true));
        assert_eq!((seen.state.as_str(), seen.primary.as_ref()), ("ONLINE", Some(&key(first))));
        assert_eq!(seen.role, if member.port() == first.port() { "PRIMARY" } else { "SECONDARY" });
        assert_eq!(facts.is_group_primary(&key(member)), member.port() == first.port());
        assert_eq!(facts.super_read_only, member.port() != first.port());
        // The channels of the group are no replication from a source.
        assert_eq!(facts.replica, None);
        assert_eq!(facts.missing, Vec::<String>::new());
    }
    let facts = facts_of(&prober, &replica).await;
    assert_eq!((facts.group.as_ref(), facts.source()), (None, Some(&key(second))));
    assert!(facts.is_replica_running());
    assert_eq!(facts_of(&prober, second).await.replicas, BTreeSet::from([key(&replica)]));

    // A change of roles is seen with the next probe of each.
    let uuid = value(third, "SELECT @@server_uuid").await;
    first.execute(&format!("DO group_replication_set_as_primary('{uuid}')")).await.expect("changes the primary");
    for member in &group.members {
        let is_primary = member.port() == third.port();
        let facts =
            until(&prober, member, "the new primary", |facts| facts.is_group_primary(&key(member)) == is_primary).await;
        assert_eq!(facts.group, Some(said(member).await));
    }

    // Who leaves is no member any more, in its own eyes and in those of the others.
    first.execute("STOP GROUP_REPLICATION").await.expect("leaves");
    assert_eq!(facts_of(&prober, first).await.group, None);
    for (member, other) in [(second, third), (third, second)] {
        let left = facts_of(&prober, member).await.group.expect("a member");
        assert_eq!(left, said(member).await);
        assert_eq!((left.members, left.primary), (BTreeSet::from([key(other)]), Some(key(third))));
    }
}
