//! What a server remembers of one client, and its answers to that client's commands.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::facts::Facts;
use crate::fleet::Shared;
use crate::server::{Mode, Server};
use crate::sql::{Format, Kind, Plan, Query, Statement, Value};
use crate::wire::{self, Reply};

const COM_QUIT: u8 = 0x01;
const COM_INIT_DB: u8 = 0x02;
const COM_QUERY: u8 = 0x03;
const COM_PING: u8 = 0x0e;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;
const COM_STMT_CLOSE: u8 = 0x19;
const COM_STMT_RESET: u8 = 0x1a;
const COM_RESET_CONNECTION: u8 = 0x1f;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    New,
    Greeted,
    Ready,
    /// Half an answer was sent: nothing sensible can follow.
    Broken,
}

/// What the server remembers of a client.
pub(crate) struct Session {
    pub(crate) phase: Phase,
    /// The mode in which it was greeted: that mode does not end it.
    pub(crate) opened_in: Mode,
    pub(crate) done: bool,
    /// Computed before the server changed its mode; goes out if it ever speaks again.
    pub(crate) unsent: Option<Reply>,
    /// A command has been seen, so the reply at hand is not that to the login.
    pub(crate) asked: bool,
    deprecate_eof: bool,
    pub(crate) connection_id: u32,
    peer: Ipv4Addr,
    user: Box<str>,
    /// Prepared statements by their number less one, with the parameter types of the last execution.
    prepared: Vec<Option<Prepared>>,
}

struct Prepared {
    plan: Arc<Plan>,
    types: Box<[u8]>,
}

impl Session {
    pub(crate) fn new(peer: Ipv4Addr) -> Self {
        Self {
            phase: Phase::New,
            opened_in: Mode::Alive,
            done: false,
            unsent: None,
            asked: false,
            deprecate_eof: false,
            connection_id: 0,
            peer,
            user: Box::default(),
            prepared: Vec::new(),
        }
    }

    pub(crate) fn log_in(&mut self, payload: &[u8], server: &Server, reply: &mut Reply) {
        let Some(login) = wire::login(payload).filter(|login| login.capabilities & wire::SSL == 0) else {
            reply.error(1043, "08S01", "Bad handshake");
            self.done = true;
            return;
        };
        if server.mode() == Mode::WrongPassword {
            let text = format!("Access denied for user '{}'@'{}' (using password: YES)", login.user, self.peer);
            reply.error(1045, "28000", &text);
            self.done = true;
            return;
        }
        self.deprecate_eof = login.capabilities & wire::DEPRECATE_EOF != 0;
        self.user = login.user.into();
        self.phase = Phase::Ready;
        // Any proof of a password is good, at once: sqlx 0.8 takes the extra packet of a proof found in the cache of
        // caching_sha2_password for the last one, and would read the OK after it as the answer to its first statement.
        reply.ok(false);
    }

    pub(crate) fn command(&mut self, payload: &[u8], shared: &Shared, server: &Server, reply: &mut Reply) {
        let Some((&command, body)) = payload.split_first() else {
            reply.error(1047, "08S01", "Unknown command");
            return;
        };
        self.asked = true;
        match command {
            COM_QUIT => {
                self.done = true;
                return;
            }
            COM_STMT_CLOSE => {
                if let Some(slot) = statement_index(body).and_then(|at| self.prepared.get_mut(at)) {
                    *slot = None;
                }
                return;
            }
            COM_QUERY => {
                let plan = plan(body, shared, server);
                self.answer(&plan, &[], Format::Text, shared, server, reply);
            }
            COM_STMT_PREPARE => self.prepare(plan(body, shared, server), shared, reply),
            COM_STMT_EXECUTE => self.execute(body, shared, server, reply),
            COM_PING => {
                reply.ok(false);
                server.pings.fetch_add(1, Ordering::Relaxed);
                return;
            }
            COM_INIT_DB | COM_STMT_RESET | COM_RESET_CONNECTION => reply.ok(false),
            _ => {
                note(shared, "unknown command", &format!("0x{command:02x}"));
                reply.error(1047, "08S01", "Unknown command");
            }
        }
        server.round_trips.fetch_add(1, Ordering::Relaxed);
    }

    fn answer(
        &self,
        plan: &Plan,
        parameters: &[Value],
        format: Format,
        shared: &Shared,
        server: &Server,
        reply: &mut Reply,
    ) {
        let facts = Facts { shared, server, connection_id: self.connection_id, user: &self.user, peer: self.peer };
        let (count, failed) = plan.answer(reply, &facts, parameters, format, self.deprecate_eof);
        server.statements.fetch_add(count, Ordering::Relaxed);
        if let Some((error, text)) = failed {
            note(shared, &format!("{} {}", error.code, error.text), text);
        }
    }

    /// Number of the statement, of columns and parameters, then their definitions.
    fn prepare(&mut self, plan: Arc<Plan>, shared: &Shared, reply: &mut Reply) {
        if let Some(Statement::Failed { error, text }) = plan.statements.first() {
            note(shared, &format!("{} {}", error.code, error.text), text);
            reply.error(error.code, error.state, &error.text);
            return;
        }
        let at = self.prepared.iter().position(Option::is_none).unwrap_or(self.prepared.len());
        let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
        let columns = plan.first_columns();
        let column_count = columns.map_or(0, Query::column_count);
        reply.packet(|out| {
            out.push(0);
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&u16::try_from(column_count).unwrap_or(u16::MAX).to_le_bytes());
            out.extend_from_slice(&u16::try_from(plan.parameters).unwrap_or(u16::MAX).to_le_bytes());
            out.extend_from_slice(&[0, 0, 0]);
        });
        for _ in 0..plan.parameters {
            reply.packet(|out| wire::column_definition(out, "", "?", Kind::Text(1024), false, 255));
        }
        if plan.parameters > 0 && !self.deprecate_eof {
            reply.end(false, false);
        }
        if let Some(query) = columns {
            reply.packets(query.definitions());
            if !self.deprecate_eof {
                reply.end(false, false);
            }
        }
        let prepared = Some(Prepared { plan, types: Box::default() });
        match self.prepared.get_mut(at) {
            Some(slot) => *slot = prepared,
            None => self.prepared.push(prepared),
        }
    }

    fn execute(&mut self, body: &[u8], shared: &Shared, server: &Server, reply: &mut Reply) {
        let Some(prepared) = statement_index(body).and_then(|at| self.prepared.get_mut(at)).and_then(Option::as_mut)
        else {
            reply.error(1243, "HY000", "Unknown prepared statement handler");
            return;
        };
        let plan = Arc::clone(&prepared.plan);
        match body.get(9..).and_then(|rest| parameters(rest, plan.parameters, &mut prepared.types)) {
            Some(values) => self.answer(&plan, &values, Format::Binary, shared, server, reply),
            None => reply.error(1210, "HY000", "Incorrect arguments to EXECUTE"),
        }
    }
}

fn statement_index(body: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*body.first_chunk()?)).ok()?.checked_sub(1)
}

fn plan(body: &[u8], shared: &Shared, server: &Server) -> Arc<Plan> {
    let text = String::from_utf8_lossy(body);
    shared.plans.lock().unwrap_or_else(PoisonError::into_inner).get(&text, server.dialect)
}

/// What real servers answer so as well (MariaDB has no such table): right, hence not "unknown".
const RIGHTLY_REFUSED: &str = "Table 'mysql.slave_master_info' doesn't exist";

fn note(shared: &Shared, error: &str, statement: &str) {
    if error.contains(RIGHTLY_REFUSED) {
        return;
    }
    shared.unknown.lock().unwrap_or_else(PoisonError::into_inner).note(error, statement);
}

/// The bound values: a bitmap of NULLs, types (only when they are new), values.
fn parameters(mut rest: &[u8], count: usize, types: &mut Box<[u8]>) -> Option<Vec<Value>> {
    if count == 0 {
        return Some(Vec::new());
    }
    let (nulls, after) = rest.split_at_checked(count.div_ceil(8))?;
    let (&new_types, after) = after.split_first()?;
    rest = after;
    if new_types == 1 {
        let (sent, after) = rest.split_at_checked(count * 2)?;
        *types = sent.into();
        rest = after;
    }
    (0..count)
        .map(|at| {
            if nulls[at / 8] & (1 << (at % 8)) != 0 {
                return Some(Value::Null);
            }
            let unsigned = *types.get(at * 2 + 1)? & 0x80 != 0;
            parameter(*types.get(at * 2)?, unsigned, &mut rest)
        })
        .collect()
}

fn parameter(code: u8, unsigned: bool, rest: &mut &[u8]) -> Option<Value> {
    let width = match code {
        0x01 => 1,
        0x02 | 0x0d => 2,
        0x03 | 0x09 | 0x04 => 4,
        0x08 | 0x05 => 8,
        0x06 => return Some(Value::Null),
        // Dates and times have a length byte, text a length-encoded one; short ones look the same.
        _ => {
            let length = wire::read_lenenc(rest)?;
            let (text, after) = rest.split_at_checked(length)?;
            *rest = after;
            return Some(Value::text(String::from_utf8_lossy(text).into_owned()));
        }
    };
    let (bytes, after) = rest.split_at_checked(width)?;
    *rest = after;
    let mut wide = [0; 8];
    wide[..width].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(wide);
    Some(match code {
        0x04 => Value::Real(f64::from(f32::from_le_bytes(*bytes.first_chunk()?))),
        0x05 => Value::Real(f64::from_bits(bits)),
        _ if unsigned => Value::UInt(bits),
        _ => {
            let shift = 64 - 8 * u32::try_from(width).ok()?;
            Value::Int((bits << shift).cast_signed() >> shift)
        }
    })
}
