//! What a server must hold before it is opened, told without naming those who hold it: they may be gone by then.

use super::Receivers;
use super::field::Field;
use crate::gtid::GtidSet;
use crate::gtid::mariadb::GtidPosition;
use crate::instance::{BinlogCoordinates, Instance, InstanceKey};
use crate::plan::{Condition, Refusal};
use crate::recovery::data::Received;
use crate::recovery::scene::Scene;

/// All that any reachable survivor has received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::recovery) enum Required {
    Set(GtidSet),
    Place(BinlogCoordinates),
    /// Nobody tells anything.
    Nothing,
}

/// What all survivors have received; by force, only what the successor has.
pub(in crate::recovery) fn required(scene: &Scene<'_>, successor: &InstanceKey) -> Result<Required, Refusal> {
    let field = Field::new(scene, scene.failed_record()?, Receivers::MayRun)?;
    let follows = |one: &Instance| one.facts.source() == Some(successor);
    let mut all = Required::Nothing;
    for holding in field.witnesses().filter(|one| !follows(one.instance)) {
        if scene.force && holding.instance.key != *successor {
            continue;
        }
        all = match (all, &holding.received) {
            (Required::Nothing, Received::Set(set)) => Required::Set(set.clone()),
            (Required::Nothing, Received::Place(place)) => Required::Place(place.clone()),
            (Required::Set(so_far), Received::Set(set)) => Required::Set(so_far.union(set).unwrap_or(so_far)),
            (Required::Place(so_far), Received::Place(place)) => {
                let further = place.compare_in_log(&so_far) == Some(std::cmp::Ordering::Greater);
                Required::Place(if further { place.clone() } else { so_far })
            }
            (other, _) => other,
        };
    }
    Ok(all)
}

impl Required {
    /// The condition to be seen on the server, once it has applied everything.
    pub(in crate::recovery) fn condition(&self) -> Option<Condition> {
        match self {
            // Nothing, too, is looked at: in a cluster that has executed nothing yet everybody holds everything.
            Self::Set(set) => Some(Condition::HasExecuted { gtids: set.to_string() }),
            Self::Place(at) => Some(Condition::AppliedTo { at: at.clone() }),
            Self::Nothing => None,
        }
    }

    /// What the server has not even received, as text; empty: nothing.
    pub(in crate::recovery) fn missing_in(&self, one: &Instance) -> String {
        match self {
            Self::Set(set) => set.subtract(&everything(one)).to_string(),
            Self::Place(at) => match &one.facts.replica {
                Some(replica) if replica.read.compare_in_log(at) == Some(std::cmp::Ordering::Less) => {
                    format!("from {} to {at}", replica.read)
                }
                _ => String::new(),
            },
            Self::Nothing => String::new(),
        }
    }
}

fn everything(one: &Instance) -> GtidSet {
    let reach = crate::operation::gtid::reach(one).unwrap_or_default();
    let applied = GtidPosition::parse(&one.facts.gtid.mariadb_slave_pos).unwrap_or_default();
    reach.union(&applied.into()).unwrap_or(reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_there_is_nothing_to_hold_is_seen_as_well() {
        for nothing in [GtidSet::MySql(crate::gtid::mysql::GtidSet::default()), GtidPosition::default().into()] {
            let condition = Required::Set(nothing).condition().expect("a condition");
            let facts = crate::instance::ServerFacts::default();
            assert_eq!(
                condition.holds(&InstanceKey::new("b", 3306), &facts, &std::collections::BTreeMap::new()),
                Ok(())
            );
        }
        assert_eq!(Required::Nothing.condition(), None);
    }
}
