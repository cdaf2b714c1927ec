//! Group Replication, single-primary mode. Multi-primary groups are not supported: such a member shows as a plain server.

use std::collections::BTreeSet;

use domain::instance::{GroupFacts, InstanceKey};

use crate::columns::{Columns, is_on};

/// Membership of the server with this UUID, from the rows of `replication_group_members`; `None` if it is no member.
pub(crate) fn read<C: Columns>(rows: &[C], own_uuid: &str) -> Option<GroupFacts> {
    let first = rows.first()?;
    let single_primary = is_on(&first.any(["SINGLE_PRIMARY"; 2]));
    if !single_primary {
        return None;
    }
    let mut facts = GroupFacts { name: first.any(["GROUP_NAME"; 2]), single_primary, ..GroupFacts::default() };
    let mut is_member = false;
    let mut members = BTreeSet::new();
    for row in rows {
        let role = row.any(["MEMBER_ROLE"; 2]);
        let port = row.text("MEMBER_PORT").and_then(|port| port.parse().ok()).unwrap_or(0);
        let key = InstanceKey::reported(&row.any(["MEMBER_HOST"; 2]), port).ok();
        if role == "PRIMARY" {
            facts.primary.clone_from(&key);
        }
        if row.any(["MEMBER_ID"; 2]).eq_ignore_ascii_case(own_uuid) {
            is_member = true;
            facts.role = role;
            facts.state = row.any(["MEMBER_STATE"; 2]);
        } else {
            members.extend(key);
        }
    }
    facts.members = members;
    (is_member && !facts.name.is_empty()).then_some(facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::written::{Written, row};

    fn member(id: &str, port: u16, role: &str, single: &str) -> Written {
        row(&format!(
            "MEMBER_ID={id}\nMEMBER_HOST=db\nMEMBER_PORT={port}\nMEMBER_STATE=ONLINE\nMEMBER_ROLE={role}
             GROUP_NAME=g-uuid\nSINGLE_PRIMARY={single}"
        ))
    }

    #[test]
    fn members_and_the_primary_are_read() {
        let facts = read(&[member("a", 1, "PRIMARY", "1"), member("b", 2, "SECONDARY", "1")], "B").expect("a member");
        assert_eq!(facts.primary, Some(InstanceKey::new("db", 1)));
        assert_eq!((facts.role.as_str(), facts.state.as_str(), facts.name.as_str()), ("SECONDARY", "ONLINE", "g-uuid"));
        assert_eq!(facts.members, BTreeSet::from([InstanceKey::new("db", 1)]));
    }

    #[test]
    fn what_is_no_single_primary_group_is_none() {
        assert_eq!(read(&[member("a", 1, "PRIMARY", "0")], "a"), None, "multi-primary");
        assert_eq!(read(&[member("a", 1, "PRIMARY", "1")], "c"), None, "not a member");
        assert_eq!(read::<Written>(&[], "a"), None);
        let headless = read(&[member("a", 1, "SECONDARY", "1")], "a").expect("a member");
        assert_eq!(headless.primary, None);
    }
}
