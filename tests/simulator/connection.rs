//! One connection: greeting, login, commands; and the ways in which it goes wrong on command.
//!
//! An idle connection is a socket and a small task: buffers exist only while a packet is being read or answered.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::facts::Facts;
use crate::fleet::Shared;
use crate::server::{Mode, Server};
use crate::sql::{Format, Plan, Value};
use crate::wire::{self, MOST_PAYLOAD, Reply};

/// Probes are smaller than this; larger packets are read in pieces.
const READ_SIZE: usize = 4096;
/// Out of descriptors: wait for some to be closed instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const COM_QUIT: u8 = 0x01;
const COM_INIT_DB: u8 = 0x02;
const COM_QUERY: u8 = 0x03;
const COM_PING: u8 = 0x0e;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;
const COM_STMT_CLOSE: u8 = 0x19;
const COM_STMT_RESET: u8 = 0x1a;
const COM_RESET_CONNECTION: u8 = 0x1f;

/// Accepts until it is aborted; the connections end with it.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match known_server(&stream, peer, &shared) {
                    Some(index) => {
                        let shared = Arc::clone(&shared);
                        connections.spawn(run(stream, peer, shared, index));
                    }
                    None => {
                        shared.strays.fetch_add(1, Ordering::Relaxed);
                    }
                },
                Err(error) => {
                    shared.accept_errors.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The wildcard address hears other interfaces too: only loopback peers are served.
fn known_server(stream: &TcpStream, peer: SocketAddr, shared: &Shared) -> Option<usize> {
    let (SocketAddr::V4(local), SocketAddr::V4(peer)) = (stream.local_addr().ok()?, peer) else { return None };
    if !peer.ip().is_loopback() {
        return None;
    }
    shared.at(*local.ip()).map(|server| server.index)
}

/// Keeps the counts right however the connection ends.
struct Counted<'a> {
    shared: &'a Shared,
    server: &'a Server,
}

impl<'a> Counted<'a> {
    fn new(shared: &'a Shared, server: &'a Server) -> Self {
        server.connects.fetch_add(1, Ordering::Relaxed);
        server.open.fetch_add(1, Ordering::Relaxed);
        shared.open_connections.fetch_add(1, Ordering::Relaxed);
        Self { shared, server }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.server.open.fetch_sub(1, Ordering::Relaxed);
        self.shared.open_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn run(mut stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, index: usize) {
    let server = &shared.servers[index];
    let _counted = Counted::new(&shared, server);
    let peer = match peer {
        SocketAddr::V4(peer) => *peer.ip(),
        SocketAddr::V6(_) => Ipv4Addr::LOCALHOST,
    };
    let mut session = Session::new(peer);
    // A lost peer or a killed server is how connections end here; there is nobody to tell.
    if let Err(error) = serve(&mut stream, &shared, server, &mut session).await {
        tracing::debug!(%error, server = %server.address, "connection ended");
    }
    if server.mode() == Mode::Refuse {
        let _ = stream.set_zero_linger();
    }
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Greeted,
    Ready,
    /// Half an answer was sent: nothing sensible can follow.
    Broken,
}

async fn serve(stream: &mut TcpStream, shared: &Shared, server: &Server, session: &mut Session) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut read = Vec::new();
    let changed = server.changed.notified();
    tokio::pin!(changed);
    loop {
        // Registered before the mode is looked at, so that no change is missed.
        changed.as_mut().enable();
        let mode = server.mode();
        if session.phase != Phase::New && mode != session.opened_in && !mode.keeps_connections() {
            return Ok(());
        }
        if !mode.silent() {
            if session.phase == Phase::New {
                pause(server).await;
                if !greet(stream, shared, server, session, mode).await? {
                    return Ok(());
                }
                continue;
            }
            while let Some(reply) = next_reply(&mut read, shared, server, session)? {
                pause(server).await;
                if server.mode() != mode {
                    session.unsent = Some(reply);
                    break;
                }
                send(stream, &reply, mode, session).await?;
                if session.phase == Phase::Broken {
                    break;
                }
            }
            if session.done {
                return Ok(());
            }
            if session.phase == Phase::Broken && mode == Mode::Alive {
                return Ok(());
            }
        }
        if read.is_empty() {
            read = Vec::new();
        }
        tokio::select! {
            ready = stream.readable() => {
                ready?;
                if !receive(stream, &mut read)? {
                    return Ok(());
                }
            }
            () = &mut changed => changed.set(server.changed.notified()),
        }
    }
}

/// Reads what there is; false at the end of the stream.
fn receive(stream: &TcpStream, read: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; READ_SIZE];
    match stream.try_read(&mut buffer) {
        Ok(0) => Ok(false),
        Ok(count) => {
            if read.len() > MOST_PAYLOAD + READ_SIZE {
                return Err(io::Error::other("the peer sends more than a client would"));
            }
            read.extend_from_slice(&buffer[..count]);
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

async fn pause(server: &Server) {
    let latency = server.latency();
    if latency > Duration::ZERO {
        // Boxed: the timer would otherwise be part of every idle connection.
        Box::pin(tokio::time::sleep(latency)).await;
    }
}

/// Says who is here. False when that was all.
async fn greet(
    stream: &mut TcpStream,
    shared: &Shared,
    server: &Server,
    session: &mut Session,
    mode: Mode,
) -> io::Result<bool> {
    let mut reply = Reply::after(u8::MAX);
    match mode {
        Mode::Refuse => return Ok(false),
        Mode::Garbage => {
            let body = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nBad Request\n";
            stream.write_all(body.as_bytes()).await?;
            stream.shutdown().await?;
            return Ok(false);
        }
        Mode::TooManyConnections => reply.error(1040, "08004", "Too many connections"),
        Mode::Alive | Mode::Blackhole | Mode::Freeze | Mode::MidAnswer | Mode::WrongPassword | Mode::OldVersion => {
            session.connection_id = shared.next_connection_id.fetch_add(1, Ordering::Relaxed);
            session.phase = Phase::Greeted;
            session.opened_in = mode;
            wire::greeting(&mut reply, server.dialect, &server.version(), session.connection_id);
        }
    }
    stream.write_all(&reply.bytes).await?;
    Ok(mode != Mode::TooManyConnections)
}

async fn send(stream: &mut TcpStream, reply: &Reply, mode: Mode, session: &mut Session) -> io::Result<()> {
    let bytes = &reply.bytes;
    if mode == Mode::MidAnswer && session.phase == Phase::Ready && session.asked {
        session.phase = Phase::Broken;
        return stream.write_all(&bytes[..bytes.len() / 2]).await;
    }
    match stream.try_write(bytes) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(count) => stream.write_all(&bytes[count..]).await,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.write_all(bytes).await,
        Err(error) => Err(error),
    }
}

/// Answers the first whole packet that was read and takes it away. `None`: more must be read first.
fn next_reply(
    read: &mut Vec<u8>,
    shared: &Shared,
    server: &Server,
    session: &mut Session,
) -> io::Result<Option<Reply>> {
    if let Some(reply) = session.unsent.take() {
        return Ok(Some(reply));
    }
    loop {
        if session.phase == Phase::Broken || session.done {
            return Ok(None);
        }
        let Some(packet) = wire::first_packet(read).map_err(|()| io::Error::other("a packet beyond any use"))? else {
            return Ok(None);
        };
        let size = packet.size;
        let mut reply = Reply::after(packet.sequence);
        match session.phase {
            Phase::Greeted => session.log_in(packet.payload, server, &mut reply),
            Phase::Ready | Phase::New | Phase::Broken => session.command(packet.payload, shared, server, &mut reply),
        }
        if size == read.len() {
            *read = Vec::new();
        } else {
            read.drain(..size);
        }
        if !reply.bytes.is_empty() {
            return Ok(Some(reply));
        }
    }
}

/// What the server remembers of a client.
struct Session {
    phase: Phase,
    /// The mode in which it was greeted: that mode does not end it.
    opened_in: Mode,
    done: bool,
    /// Computed before the server changed its mode; goes out if it ever speaks again.
    unsent: Option<Reply>,
    /// A command has been seen, so the reply at hand is not that to the login.
    asked: bool,
    deprecate_eof: bool,
    connection_id: u32,
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
    fn new(peer: Ipv4Addr) -> Self {
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

    fn log_in(&mut self, payload: &[u8], server: &Server, reply: &mut Reply) {
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
        reply.ok(false);
    }

    fn command(&mut self, payload: &[u8], shared: &Shared, server: &Server, reply: &mut Reply) {
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
            COM_PING | COM_INIT_DB | COM_STMT_RESET | COM_RESET_CONNECTION => reply.ok(false),
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
        if let Some(crate::sql::Statement::Failed { error, text }) = plan.statements.first() {
            note(shared, &format!("{} {}", error.code, error.text), text);
            reply.error(error.code, error.state, &error.text);
            return;
        }
        let at = self.prepared.iter().position(Option::is_none).unwrap_or(self.prepared.len());
        let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
        let columns = plan.first_columns();
        let column_count = columns.map_or(0, crate::sql::Query::column_count);
        reply.packet(|out| {
            out.push(0);
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&u16::try_from(column_count).unwrap_or(u16::MAX).to_le_bytes());
            out.extend_from_slice(&u16::try_from(plan.parameters).unwrap_or(u16::MAX).to_le_bytes());
            out.extend_from_slice(&[0, 0, 0]);
        });
        for _ in 0..plan.parameters {
            reply.packet(|out| wire::column_definition(out, "", "?", crate::sql::Kind::Text(1024), false, 255));
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

fn note(shared: &Shared, error: &str, statement: &str) {
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
