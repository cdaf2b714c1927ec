//! The MySQL wire format, as far as a server needs it: packets, greeting, OK, EOF, ERR, column definitions, rows.
//! Page "Client/Server Protocol" of the MySQL internals documentation has all of it.

use crate::server::Dialect;
use crate::sql::{Kind, Value};

pub(crate) const DEPRECATE_EOF: u32 = 1 << 24;
const LONG_PASSWORD: u32 = 1;
const CONNECT_WITH_DB: u32 = 1 << 3;
pub(crate) const SSL: u32 = 1 << 11;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;
const PLUGIN_AUTH_LENENC: u32 = 1 << 21;
/// found rows, long flag, connect with db, ignore space, protocol 4.1, transactions, secure connection, multi
/// statements, multi results, multi results of prepared statements, plugin auth, attributes, lenenc auth, deprecate EOF.
const CAPABILITIES: u32 = 1 << 1
    | 1 << 2
    | CONNECT_WITH_DB
    | 1 << 8
    | 1 << 9
    | 1 << 13
    | SECURE_CONNECTION
    | 1 << 16
    | 1 << 17
    | 1 << 18
    | PLUGIN_AUTH
    | 1 << 20
    | PLUGIN_AUTH_LENENC
    | DEPRECATE_EOF;

const AUTOCOMMIT: u16 = 2;
const MORE_RESULTS: u16 = 8;
/// The fixed part of a packet: three bytes of length, one of sequence.
pub(crate) const HEADER: usize = 4;
/// Nothing a prober sends comes near; more is a peer that does not speak our protocol.
pub(crate) const MOST_PAYLOAD: usize = 1 << 20;

/// Builds the packets of one answer, numbering them.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    sequence: u8,
}

impl Reply {
    pub(crate) fn after(sequence: u8) -> Self {
        Self { bytes: Vec::with_capacity(512), sequence: sequence.wrapping_add(1) }
    }

    pub(crate) fn packet(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0, 0, self.sequence]);
        self.sequence = self.sequence.wrapping_add(1);
        fill(&mut self.bytes);
        let length = (self.bytes.len() - start - HEADER).to_le_bytes();
        self.bytes[start..start + 3].copy_from_slice(&length[..3]);
    }

    /// Copies packets that were encoded before and renumbers them.
    pub(crate) fn packets(&mut self, encoded: &[u8]) {
        let mut at = self.bytes.len();
        self.bytes.extend_from_slice(encoded);
        while at + HEADER <= self.bytes.len() {
            let [a, b, c] = [self.bytes[at], self.bytes[at + 1], self.bytes[at + 2]];
            self.bytes[at + 3] = self.sequence;
            self.sequence = self.sequence.wrapping_add(1);
            at += HEADER + u32::from_le_bytes([a, b, c, 0]) as usize;
        }
    }

    pub(crate) fn ok(&mut self, more: bool) {
        self.packet(|out| {
            out.extend_from_slice(&[0, 0, 0]);
            out.extend_from_slice(&status(more));
            out.extend_from_slice(&[0, 0]);
        });
    }

    /// Ends a list of columns or rows: an OK packet in EOF's clothes when the client knows those.
    pub(crate) fn end(&mut self, deprecate_eof: bool, more: bool) {
        self.packet(|out| {
            if deprecate_eof {
                out.extend_from_slice(&[0xfe, 0, 0]);
                out.extend_from_slice(&status(more));
                out.extend_from_slice(&[0, 0]);
            } else {
                out.extend_from_slice(&[0xfe, 0, 0]);
                out.extend_from_slice(&status(more));
            }
        });
    }

    pub(crate) fn error(&mut self, code: u16, state: &str, text: &str) {
        self.packet(|out| {
            out.push(0xff);
            out.extend_from_slice(&code.to_le_bytes());
            out.push(b'#');
            out.extend_from_slice(state.as_bytes());
            out.extend_from_slice(text.as_bytes());
        });
    }

    pub(crate) fn text_row(&mut self, values: &[Value]) {
        self.packet(|out| values.iter().for_each(|value| value.write_text(out)));
    }

    pub(crate) fn binary_row(&mut self, values: &[Value], kinds: &[Kind]) {
        self.packet(|out| {
            out.push(0);
            // The bitmap of NULLs starts at bit 2.
            let bitmap = out.len();
            out.resize(bitmap + (values.len() + 9) / 8, 0);
            for (column, (value, kind)) in values.iter().zip(kinds).enumerate() {
                if matches!(value, Value::Null) || *kind == Kind::Null {
                    out[bitmap + (column + 2) / 8] |= 1 << ((column + 2) % 8);
                } else {
                    value.write_binary(*kind, out);
                }
            }
        });
    }
}

fn status(more: bool) -> [u8; 2] {
    (if more { AUTOCOMMIT | MORE_RESULTS } else { AUTOCOMMIT }).to_le_bytes()
}

/// One packet of the client: its sequence number and payload, and how many bytes it took.
pub(crate) struct Packet<'a> {
    pub(crate) sequence: u8,
    pub(crate) payload: &'a [u8],
    pub(crate) size: usize,
}

/// The first whole packet of what has been read. `Err` when the peer cannot be a client of ours.
pub(crate) fn first_packet(bytes: &[u8]) -> Result<Option<Packet<'_>>, ()> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
    let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
    if length > MOST_PAYLOAD {
        return Err(());
    }
    Ok(rest.get(..length).map(|payload| Packet { sequence: header[3], payload, size: HEADER + length }))
}

/// The name of the login method each dialect greets with.
fn plugin(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => "caching_sha2_password",
        Dialect::MariaDb => "mysql_native_password",
    }
}

pub(crate) fn greeting(reply: &mut Reply, dialect: Dialect, version: &str, connection_id: u32) {
    let capabilities = match dialect {
        Dialect::MySql => CAPABILITIES | LONG_PASSWORD,
        // Without this bit a client takes the server for MariaDB.
        Dialect::MariaDb => CAPABILITIES,
    };
    let [low_a, low_b, high_a, high_b] = capabilities.to_le_bytes();
    reply.packet(|out| {
        out.push(10);
        // MariaDB up to 10.11 hides behind this prefix, or old replicas would refuse it.
        if dialect == Dialect::MariaDb && version.contains("MariaDB") {
            out.extend_from_slice(b"5.5.5-");
        }
        out.extend_from_slice(version.as_bytes());
        out.push(0);
        out.extend_from_slice(&connection_id.to_le_bytes());
        // Any password is right, so the nonce need not be secret.
        out.extend_from_slice(b"simulate\0");
        out.extend_from_slice(&[low_a, low_b, 45]);
        out.extend_from_slice(&status(false));
        out.extend_from_slice(&[high_a, high_b, 21]);
        out.extend_from_slice(&[0; 10]);
        out.extend_from_slice(b"d-fleet-nonc\0");
        out.extend_from_slice(plugin(dialect).as_bytes());
        out.push(0);
    });
}

/// What the client said in its answer to the greeting.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) capabilities: u32,
    pub(crate) user: String,
}

pub(crate) fn login(payload: &[u8]) -> Option<Login> {
    let capabilities = u32::from_le_bytes(*payload.first_chunk()?);
    let mut rest = payload.get(32..)?;
    let user = until_nul(&mut rest)?;
    // The proof of the password follows; it is not looked at.
    Some(Login { capabilities, user })
}

fn until_nul(rest: &mut &[u8]) -> Option<String> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    let text = String::from_utf8_lossy(&rest[..end]).into_owned();
    *rest = &rest[end + 1..];
    Some(text)
}

/// A column definition, without its packet header.
pub(crate) fn column_definition(out: &mut Vec<u8>, table: &str, name: &str, kind: Kind, not_null: bool, charset: u16) {
    let facts = kind.wire();
    lenenc_text(out, b"def");
    lenenc_text(out, b"");
    lenenc_text(out, table.as_bytes());
    lenenc_text(out, table.as_bytes());
    lenenc_text(out, name.as_bytes());
    lenenc_text(out, name.as_bytes());
    out.push(0x0c);
    let charset = if facts.text { charset } else { 63 };
    out.extend_from_slice(&charset.to_le_bytes());
    out.extend_from_slice(&facts.length.to_le_bytes());
    out.push(facts.code);
    out.extend_from_slice(&(facts.flags | u16::from(not_null)).to_le_bytes());
    out.push(facts.decimals);
    out.extend_from_slice(&[0, 0]);
}

pub(crate) fn lenenc(out: &mut Vec<u8>, number: usize) {
    let bytes = (number as u64).to_le_bytes();
    match number {
        0..=250 => out.push(bytes[0]),
        251..=0xffff => {
            out.push(0xfc);
            out.extend_from_slice(&bytes[..2]);
        }
        0x1_0000..=0xff_ffff => {
            out.push(0xfd);
            out.extend_from_slice(&bytes[..3]);
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&bytes);
        }
    }
}

pub(crate) fn lenenc_text(out: &mut Vec<u8>, text: &[u8]) {
    lenenc(out, text.len());
    out.extend_from_slice(text);
}

/// Reads a length-encoded integer and takes it off the front.
pub(crate) fn read_lenenc(rest: &mut &[u8]) -> Option<usize> {
    let (&first, after) = rest.split_first()?;
    let width = match first {
        0..=250 => {
            *rest = after;
            return Some(usize::from(first));
        }
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        _ => return None,
    };
    let mut bytes = [0; 8];
    bytes[..width].copy_from_slice(after.get(..width)?);
    *rest = &after[width..];
    usize::try_from(u64::from_le_bytes(bytes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_packets_are_renumbered() {
        let mut first = Reply::after(0);
        first.ok(true);
        first.ok(false);
        let mut second = Reply::after(6);
        second.packets(&first.bytes);
        assert_eq!((second.bytes[3], second.bytes[14]), (7, 8));
        assert_eq!(second.sequence, 9);
    }

    #[test]
    fn lengths_survive_the_wire() {
        for number in [0, 250, 251, 65_535, 65_536, 0x00ff_ffff, 0x0100_0000] {
            let mut bytes = Vec::new();
            lenenc(&mut bytes, number);
            assert_eq!(read_lenenc(&mut bytes.as_slice()), Some(number));
        }
    }

    #[test]
    fn hostile_logins_are_refused_without_harm() {
        for length in 0..80 {
            assert!(login(&vec![0xff; length]).is_none());
        }
        assert!(first_packet(b"GET / HTTP/1.1\r\n").is_err());
    }
}
