//! Queues, and the lanes they are split into: `<queue>/<datacenter>`.

use std::fmt;

/// What a job is for, most urgent first: the derived order is the order of claiming.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Queue {
    /// Handling a dead primary.
    Recovery,
    /// Probes that decide whether a primary is dead.
    Urgent,
    /// What an operator waits for.
    Operations,
    /// Instances seen for the first time.
    Discovery,
    /// Routine probes.
    Probes,
    /// Probes of instances that are known to be dead or slow, so that they never delay the healthy.
    DeadProbes,
    /// Housekeeping.
    Cleanup,
}

impl Queue {
    /// All queues in the order of claiming.
    pub const ALL: [Queue; 7] = [
        Queue::Recovery,
        Queue::Urgent,
        Queue::Operations,
        Queue::Discovery,
        Queue::Probes,
        Queue::DeadProbes,
        Queue::Cleanup,
    ];

    /// The name stored in rows.
    pub const fn name(self) -> &'static str {
        match self {
            Queue::Recovery => "recovery",
            Queue::Urgent => "urgent",
            Queue::Operations => "operations",
            Queue::Discovery => "discovery",
            Queue::Probes => "probes",
            Queue::DeadProbes => "dead_probes",
            Queue::Cleanup => "cleanup",
        }
    }

    /// Holds work that comes on a timer, not in bursts.
    pub(crate) const fn is_routine(self) -> bool {
        match self {
            Queue::Probes | Queue::DeadProbes | Queue::Cleanup => true,
            Queue::Recovery | Queue::Urgent | Queue::Operations | Queue::Discovery => false,
        }
    }

    /// The queue of that stored name.
    pub fn parse(name: &str) -> Option<Queue> {
        Queue::ALL.into_iter().find(|queue| queue.name() == name)
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Longest datacenter part of a lane in bytes; leaves room for the queue's name in the 255 bytes of the column.
const MAX_DATACENTER_BYTES: usize = 200;

/// A queue in one datacenter. The empty datacenter is the default lane that every worker serves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    pub queue: Queue,
    /// As stored: see [`datacenter_name`].
    pub datacenter: String,
}

impl Lane {
    pub fn new(queue: Queue, datacenter: &str) -> Self {
        Self { queue, datacenter: datacenter_name(datacenter) }
    }

    /// Reads the stored form. `None` for a queue this program does not know (a newer release's).
    pub fn parse(text: &str) -> Option<Self> {
        let (queue, datacenter) = text.split_once('/')?;
        Some(Self { queue: Queue::parse(queue)?, datacenter: datacenter.to_owned() })
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.queue, self.datacenter)
    }
}

/// The stored form of a datacenter's name: printable ASCII as it is, anything else percent-encoded, cut to a length that fits.
/// Jobs and workers both pass through here, so equal names stay equal.
pub fn datacenter_name(name: &str) -> String {
    let mut stored = String::with_capacity(name.len());
    for byte in name.trim().bytes() {
        let piece =
            if byte.is_ascii_graphic() && byte != b'%' { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        if stored.len() + piece.len() > MAX_DATACENTER_BYTES {
            break;
        }
        stored.push_str(&piece);
    }
    stored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_survive_storage() {
        for lane in [
            Lane::new(Queue::Recovery, ""),
            Lane::new(Queue::DeadProbes, "dc1/rack 2"),
            Lane::new(Queue::Urgent, "Zürich"),
        ] {
            assert_eq!(Lane::parse(&lane.to_string()), Some(lane.clone()));
            assert!(lane.to_string().is_ascii());
        }
        assert_eq!(Lane::parse("brewing/dc1"), None);
        assert!(Lane::new(Queue::Probes, &"ü".repeat(500)).to_string().len() <= 255);
    }

    #[test]
    fn claiming_order_is_the_order_of_urgency() {
        assert!(Queue::ALL.is_sorted());
        assert!(Queue::ALL.into_iter().all(|queue| Queue::parse(queue.name()) == Some(queue)));
    }
}
