//! Whether a replica by file and position has received a whole transaction that it has not applied.
//!
//! What its source sent of a transaction before it fell silent stays in its relay logs, and its status tells bytes only:
//! more is read than applied, for ever. So the relay logs are asked, from the place applied on
//! (<https://dev.mysql.com/doc/refman/8.4/en/show-relaylog-events.html>). What is not known to be inside a transaction counts
//! as the end of one: then the rest is no mere part.

use domain::instance::{ReplicaFacts, ThreadState};

use crate::columns::Columns;

/// What the state of an applier ends with while it has nothing to read ("Replica has ..." or "Slave has ...").
pub(crate) const IDLE: &str = "has read all relay log; waiting for more updates";
/// `ER_ERROR_WHEN_EXECUTING_COMMAND`: for `SHOW RELAYLOG EVENTS`, that there is no such log.
pub(crate) const NO_SUCH_LOG: u16 = 1220;
/// Events asked for at once.
const PAGE: usize = 1_000;
/// Events looked at, at most: those of a transaction of a few gigabytes.
const MOST: usize = 500_000;

/// Nothing more comes, the applier has read all there is, and something is not applied: it may be part of a transaction.
pub(crate) fn may_hold_part(replica: &ReplicaFacts, status: &[impl Columns]) -> bool {
    // Of several channels it is not asked which log is whose.
    let [row] = status else { return false };
    let state = row.any(["Replica_SQL_Running_State", "Slave_SQL_Running_State"]);
    !replica.auto_position
        && replica.io_thread == ThreadState::Stopped
        && (replica.sql_thread == ThreadState::Stopped || state.ends_with(IDLE))
        && replica.read != replica.exec
}

/// A walk through relay logs that is to find the end of a transaction.
pub(crate) struct Walk {
    file: String,
    /// Where the next page begins, and how many events of it are known already.
    from: (u64, usize),
    is_first: bool,
    left: usize,
    inside: bool,
}

/// What a page of events says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// There is more to look at.
    Nothing,
    /// A transaction ends, or what there is cannot be read: it counts as whole.
    Whole,
}

impl Walk {
    /// From the place that is applied on. `None`: no file name that we would write into a statement.
    pub(crate) fn new(replica: &ReplicaFacts) -> Option<Self> {
        let file = replica.relay.file.clone();
        let is_plain = !file.is_empty() && file.chars().all(|c| c.is_ascii_alphanumeric() || "._-@".contains(c));
        let from = (replica.relay.position, 0);
        is_plain.then_some(Self { file, from, is_first: true, left: MOST, inside: false })
    }

    /// The statement for the next page.
    pub(crate) fn statement(&self) -> String {
        let (position, known) = self.from;
        format!("SHOW RELAYLOG EVENTS IN '{}' FROM {position} LIMIT {known}, {PAGE}", self.file)
    }

    /// Looks at the next page.
    pub(crate) fn see(&mut self, events: &[impl Columns]) -> Seen {
        for event in events {
            if self.ends(&event.any(["Event_type"; 2]), &event.any(["Info"; 2])) {
                return Seen::Whole;
            }
        }
        let last = events.last().and_then(|event| event.text("Pos")?.parse().ok());
        self.left = self.left.saturating_sub(events.len());
        let next = match last {
            _ if self.left == 0 => return Seen::Whole,
            Some(last) if events.len() >= PAGE => Some((self.file.clone(), (last, 1))),
            // A receiver that was started again went on in the next log, in the middle of a transaction if need be.
            _ => following(&self.file).map(|file| (file, (4, 0))),
        };
        let Some((file, from)) = next else { return Seen::Whole };
        self.is_first &= file == self.file;
        (self.file, self.from) = (file, from);
        Seen::Nothing
    }

    /// The server knows no log of this name: the one before was the last, unless it is the first of all.
    pub(crate) fn is_past_the_last(&self) -> bool {
        !self.is_first
    }

    fn ends(&mut self, kind: &str, info: &str) -> bool {
        match kind {
            "Gtid" | "Anonymous_Gtid" | "Gtid_tagged" => self.inside = false,
            "Query" if self.inside => return info.ends_with("COMMIT") || info.ends_with("ROLLBACK"),
            // The last is a CREATE TABLE ... SELECT: its rows follow.
            "Query" if info == "BEGIN" || info.starts_with("XA START") || info.ends_with(" START TRANSACTION") => {
                self.inside = true;
            }
            "Format_desc" | "Previous_gtids" | "Rotate" | "Stop" | "Heartbeat" | "Intvar" | "RAND" | "User_var"
            | "User var" | "Rows_query" | "Table_map" | "Begin_load_query" | "Append_block" | "Execute_load_query" => {}
            rows if ["Write_rows", "Update_rows", "Delete_rows"].iter().any(|name| rows.starts_with(name)) => {}
            _ => return true,
        }
        false
    }
}

/// `relay.000009` is followed by `relay.000010`.
fn following(file: &str) -> Option<String> {
    let (base, number) = file.rsplit_once('.')?;
    let next = number.parse::<u64>().ok()?.checked_add(1)?;
    Some(format!("{base}.{next:0width$}", width = number.len()))
}

#[cfg(test)]
mod tests {
    use domain::instance::BinlogCoordinates;

    use super::*;
    use crate::columns::written::{Written, row};

    fn walk() -> Walk {
        let relay = BinlogCoordinates { file: "relay.000009".to_owned(), position: 369 };
        Walk::new(&ReplicaFacts { relay, ..ReplicaFacts::default() }).expect("a plain name")
    }

    fn page(text: &str) -> Vec<Written> {
        let event = |(index, line): (usize, &str)| {
            let (kind, info) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            row(&format!("Pos={}\nEvent_type={kind}\nInfo={info}", 400 + index))
        };
        text.split(';').enumerate().map(event).collect()
    }

    #[test]
    fn a_part_has_no_end() {
        for (events, expected) in [
            ("Anonymous_Gtid;Query BEGIN;Table_map;Write_rows", Seen::Nothing),
            ("Anonymous_Gtid;Query BEGIN;Query use `app`, INSERT INTO t VALUES (1)", Seen::Nothing),
            ("Rotate;Format_desc;Rotate;Write_rows", Seen::Nothing),
            ("Gtid;Query XA START X'61',X'',1;Table_map", Seen::Nothing),
            ("Gtid;Query use `a`, CREATE TABLE `t` (`i` int) START TRANSACTION;Table_map;Write_rows", Seen::Nothing),
            ("Anonymous_Gtid;Query BEGIN;Table_map;Write_rows;Xid COMMIT", Seen::Whole),
            ("Anonymous_Gtid;Query BEGIN;Query COMMIT", Seen::Whole),
            ("Anonymous_Gtid;Query use `app`, CREATE TABLE t (i INT)", Seen::Whole),
            // The first was given up, the second is whole.
            ("Gtid;Query BEGIN;Table_map;Gtid;Query DROP TABLE t", Seen::Whole),
            ("Gtid;Transaction_payload", Seen::Whole),
            ("Incident #1", Seen::Whole),
        ] {
            assert_eq!(walk().see(&page(events)), expected, "{events}");
        }
    }

    #[test]
    fn the_walk_goes_from_page_to_page_and_from_log_to_log() {
        let mut walk = walk();
        assert_eq!(walk.statement(), "SHOW RELAYLOG EVENTS IN 'relay.000009' FROM 369 LIMIT 0, 1000");
        let mut many = vec!["Anonymous_Gtid", "Query BEGIN"];
        many.resize(PAGE, "Write_rows");
        assert_eq!(walk.see(&page(&many.join(";"))), Seen::Nothing);
        assert!(!walk.is_past_the_last());
        assert_eq!(walk.statement(), "SHOW RELAYLOG EVENTS IN 'relay.000009' FROM 1399 LIMIT 1, 1000");
        assert_eq!(walk.see(&page("Write_rows")), Seen::Nothing);
        assert!(walk.is_past_the_last());
        assert_eq!(walk.statement(), "SHOW RELAYLOG EVENTS IN 'relay.000010' FROM 4 LIMIT 0, 1000");
        assert_eq!(walk.see(&page("Rotate;Write_rows;Xid")), Seen::Whole);
        for name in ["", "a'b.000001", "a b"] {
            let relay = BinlogCoordinates { file: name.to_owned(), position: 4 };
            assert!(Walk::new(&ReplicaFacts { relay, ..ReplicaFacts::default() }).is_none(), "{name}");
        }
    }

    #[test]
    fn it_is_asked_for_only_when_nothing_moves_any_more() {
        let status = |state: &str| vec![row(&format!("Replica_SQL_Running_State={state}"))];
        let idle = status("Replica has read all relay log; waiting for more updates");
        let (io_thread, sql_thread) = (ThreadState::Stopped, ThreadState::Running);
        let mut replica = ReplicaFacts { io_thread, sql_thread, ..ReplicaFacts::default() };
        replica.read.position = 7;
        assert!(may_hold_part(&replica, &idle));
        assert!(!may_hold_part(&replica, &status("Waiting for dependent transaction to commit")));
        assert!(!may_hold_part(&replica, &[row("a"), row("b")]));
        for change in [
            (|one| one.io_thread = ThreadState::Running) as fn(&mut ReplicaFacts),
            |one| one.auto_position = true,
            |one| one.exec.position = 7,
        ] {
            let mut other = replica.clone();
            change(&mut other);
            assert!(!may_hold_part(&other, &idle));
        }
    }
}
