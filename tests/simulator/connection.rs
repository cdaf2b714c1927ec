//! One connection: greeting, login, commands; and the ways in which it goes wrong on command.
//!
//! An idle connection is a socket and a small task: buffers exist only while a packet is being read or answered.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::fleet::Shared;
use crate::server::{Mode, Server};
use crate::session::{Phase, Session};
use crate::wire::{self, MOST_PAYLOAD, Reply};

/// Probes are smaller than this; larger packets are read in pieces.
const READ_SIZE: usize = 4096;
/// Out of descriptors: wait for some to be closed instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
