//! Results of statements (page "Text Resultset"): column names, rows as the bytes that came.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use mysql_common::constants::{CapabilityFlags, StatusFlags};
use mysql_common::io::ParseBuf;
use mysql_common::packets::{CommonOkPacket, OkPacketDeserializer, OkPacketKind, OldEofPacket, ResultSetTerminator};

use super::error::Error;
use super::packet::{EOF, Exchange, LOCAL_INFILE, OK};

/// The most columns a table or a result can have ("Limits on Table Column Count").
const MOST_COLUMNS: usize = 4096;
/// What a row costs us besides its bytes and its cells.
const PER_ROW: usize = 64;
/// Where a NULL begins.
const NULL: u32 = u32::MAX;
/// In a row: instead of a value, NULL.
const NULL_VALUE: u8 = 0xfb;
/// A packet that ends rows and is no longer than this is an EOF packet of the older form.
const LONGEST_EOF: usize = 9;
/// Rows may begin like the packet that ends them, but then they are at least this long.
const LONGEST_END: usize = 0xff_ffff;

/// The answer to one statement.
#[derive(Debug, Default, Clone)]
pub struct ResultSet {
    /// Rows; none for a statement that gives none.
    pub rows: Vec<Row>,
    /// Rows that the statement changed.
    pub affected_rows: u64,
}

/// A row. Values are what the server sent as text, whatever their type.
#[derive(Clone)]
pub struct Row {
    /// Shared by all rows of a result.
    columns: Arc<Columns>,
    bytes: Box<[u8]>,
    /// Where each value begins and ends in `bytes`.
    cells: Box<[(u32, u32)]>,
}

/// Column names, one after the other.
struct Columns {
    names: String,
    ends: Vec<u32>,
}

impl Row {
    /// The text of the column at a place; `None` when there is none, or it is NULL. Bytes that are not UTF-8 are shown as
    /// best they can be.
    pub fn at(&self, index: usize) -> Option<Cow<'_, str>> {
        self.bytes_at(index).map(String::from_utf8_lossy)
    }

    /// The text of a column; `None` when there is no such column, or it is NULL. Names are compared exactly.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.at(self.columns.iter().position(|known| known == name)?)
    }

    /// The bytes of the column at a place.
    pub fn bytes_at(&self, index: usize) -> Option<&[u8]> {
        let (start, end) = *self.cells.get(index)?;
        if start == NULL {
            return None;
        }
        self.bytes.get(start as usize..end as usize)
    }

    /// The names of the columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter()
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.names().enumerate().map(|(index, name)| (name, self.at(index)))).finish()
    }
}

impl Columns {
    fn iter(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let name = self.names.get(start..*end as usize).unwrap_or_default();
            start = *end as usize;
            name
        })
    }
}

/// Reads results until the server says that there are no more. Those that came whole are in `results`.
pub(super) async fn receive(
    exchange: &mut Exchange<'_>,
    deprecates_eof: bool,
    results: &mut Vec<ResultSet>,
) -> Result<(), Error> {
    loop {
        let payload = exchange.receive().await?;
        let (result, status) = match payload.first() {
            Some(&OK) => {
                let (status, affected_rows) = end::<CommonOkPacket>(payload)?;
                (ResultSet { rows: Vec::new(), affected_rows }, status)
            }
            // A server that asks for a file of ours gets none: we have not offered any (CLIENT_LOCAL_FILES).
            Some(&LOCAL_INFILE) => return Err(Error::protocol("the server asks for a file of this host")),
            _ => {
                let count = column_count(payload)?;
                rows(exchange, count, deprecates_eof).await?
            }
        };
        results.push(result);
        if !status.contains(StatusFlags::SERVER_MORE_RESULTS_EXISTS) {
            return Ok(());
        }
    }
}

fn column_count(payload: &[u8]) -> Result<usize, Error> {
    let count = ParseBuf(payload).checked_eat_lenenc_int().and_then(|count| usize::try_from(count).ok());
    match count {
        Some(count @ 1..=MOST_COLUMNS) => Ok(count),
        _ => Err(Error::protocol("a result with no sensible number of columns")),
    }
}

async fn rows(
    exchange: &mut Exchange<'_>,
    count: usize,
    deprecates_eof: bool,
) -> Result<(ResultSet, StatusFlags), Error> {
    let columns = Arc::new(columns(exchange, count, deprecates_eof).await?);
    let mut rows = Vec::new();
    loop {
        exchange.charge(PER_ROW + count * size_of::<(u32, u32)>())?;
        let payload = exchange.receive().await?;
        if payload.first() == Some(&EOF) && payload.len() < LONGEST_END {
            let (status, _) = if deprecates_eof {
                end::<ResultSetTerminator>(payload)?
            } else if payload.len() < LONGEST_EOF {
                end::<OldEofPacket>(payload)?
            } else {
                return Err(Error::protocol("rows end with an unknown packet"));
            };
            return Ok((ResultSet { rows, affected_rows: 0 }, status));
        }
        let cells = cells(payload, count).ok_or_else(|| Error::protocol("a row that does not fit its columns"))?;
        rows.push(Row { columns: Arc::clone(&columns), bytes: payload.into(), cells });
    }
}

/// Reads the definitions of the columns; of each we keep the name.
async fn columns(exchange: &mut Exchange<'_>, count: usize, deprecates_eof: bool) -> Result<Columns, Error> {
    let mut columns = Columns { names: String::with_capacity(count * 16), ends: Vec::with_capacity(count) };
    for _ in 0..count {
        let payload = exchange.receive().await?;
        let name = column_name(payload).ok_or_else(|| Error::protocol("an unreadable column definition"))?;
        columns.names.push_str(&String::from_utf8_lossy(name));
        columns.ends.push(u32::try_from(columns.names.len()).unwrap_or(u32::MAX));
    }
    if !deprecates_eof {
        end::<OldEofPacket>(exchange.receive().await?)?;
    }
    Ok(columns)
}

/// Page "Column Definition": catalog, schema, table, original table, name, and more.
fn column_name(payload: &[u8]) -> Option<&[u8]> {
    let mut rest = ParseBuf(payload);
    for _ in 0..4 {
        rest.checked_eat_lenenc_str()?;
    }
    rest.checked_eat_lenenc_str()
}

/// Page "Text Resultset Row": one string per column, or the byte that means NULL.
fn cells(payload: &[u8], count: usize) -> Option<Box<[(u32, u32)]>> {
    let mut cells = Vec::with_capacity(count);
    let mut rest = ParseBuf(payload);
    let length = u32::try_from(payload.len()).ok()?;
    for _ in 0..count {
        if rest.0.first() == Some(&NULL_VALUE) {
            rest.skip(1);
            cells.push((NULL, NULL));
            continue;
        }
        let value = u32::try_from(rest.checked_eat_lenenc_str()?.len()).ok()?;
        let end = length - u32::try_from(rest.len()).ok()?;
        cells.push((end - value, end));
    }
    rest.is_empty().then(|| cells.into_boxed_slice())
}

/// Status and affected rows of a packet that ends something.
fn end<K: OkPacketKind>(payload: &[u8]) -> Result<(StatusFlags, u64), Error> {
    let ok: OkPacketDeserializer<'_, K> = ParseBuf(payload)
        .parse(CapabilityFlags::empty())
        .map_err(|error| Error::protocol(format!("an unreadable end of a result: {error}")))?;
    let ok = ok.into_inner();
    Ok((ok.status_flags(), ok.affected_rows()))
}
