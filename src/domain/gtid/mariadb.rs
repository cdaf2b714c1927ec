//! GTIDs of MariaDB: `domain-server-sequence`, see <https://mariadb.com/kb/en/gtid/>.
//!
//! MariaDB does not report *sets*. Within one replication domain it keeps one totally ordered stream and names a place in it
//! by the last transaction; a [`GtidPosition`] is one such place per domain, and "contains" means "is not behind, in any
//! domain". That reading is only as true as its premise, which the server enforces with `gtid_strict_mode` alone: sequence
//! numbers grow along the stream. Two servers that wrote to one domain independently may carry different transactions under
//! smaller numbers, and no position shows it; what a position can show (the same number from two servers) is kept and
//! reported as a conflict, never resolved by guessing.
//!
//! A [`BinlogState`] (`@@gtid_binlog_state`) has one entry per domain *and* server, so it does show independent writes; the
//! search for errant transactions uses it.

mod binlog_state;
mod position;

use super::cursor::Cursor;
use super::error::{ParseError, Problem};
pub use binlog_state::{BinlogState, errant};
pub use position::{GtidPosition, errant_position};

/// One transaction, or one place in the stream of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gtid {
    /// `gtid_domain_id` of the stream.
    pub domain: u32,
    /// `server_id` of the server that wrote the transaction.
    pub server: u32,
    pub sequence: u64,
}

impl std::fmt::Display for Gtid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}-{}", self.domain, self.server, self.sequence)
    }
}

impl std::str::FromStr for Gtid {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new("MariaDB GTID", text);
        cursor.skip_space();
        let gtid = parse_gtid(&mut cursor)?;
        cursor.skip_space();
        if cursor.peek().is_some() { Err(cursor.error(Problem::Separator)) } else { Ok(gtid) }
    }
}

fn parse_gtid(cursor: &mut Cursor<'_>) -> Result<Gtid, ParseError> {
    let domain = parse_id(cursor)?;
    parse_dash(cursor)?;
    let server = parse_id(cursor)?;
    parse_dash(cursor)?;
    let sequence = cursor.number(u64::MAX, Problem::SequenceRange)?;
    Ok(Gtid { domain, server, sequence })
}

fn parse_id(cursor: &mut Cursor<'_>) -> Result<u32, ParseError> {
    let at = cursor.at();
    let id = cursor.number(u64::from(u32::MAX), Problem::IdRange)?;
    u32::try_from(id).map_err(|_| cursor.error_at(Problem::IdRange, at))
}

fn parse_dash(cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
    if cursor.eat(b'-') { Ok(()) } else { Err(cursor.error(Problem::Dash)) }
}

/// Calls `each` for every GTID of a comma-separated list. White space is allowed around GTIDs, empty entries are skipped.
/// `each` may refuse, and the refusal points at the GTID in question.
fn parse_list(
    kind: &'static str,
    text: &str,
    mut each: impl FnMut(Gtid) -> Result<(), Problem>,
) -> Result<(), ParseError> {
    let mut cursor = Cursor::new(kind, text);
    loop {
        cursor.skip_space();
        if cursor.eat(b',') {
            continue;
        }
        if cursor.peek().is_none() {
            return Ok(());
        }
        let at = cursor.at();
        let gtid = parse_gtid(&mut cursor)?;
        each(gtid).map_err(|problem| cursor.error_at(problem, at))?;
        cursor.skip_space();
        if !matches!(cursor.peek(), None | Some(b',')) {
            return Err(cursor.error(Problem::Separator));
        }
    }
}

fn write_list(f: &mut std::fmt::Formatter<'_>, gtids: impl Iterator<Item = Gtid>) -> std::fmt::Result {
    for (i, gtid) in gtids.enumerate() {
        if i > 0 {
            f.write_str(",")?;
        }
        write!(f, "{gtid}")?;
    }
    Ok(())
}
