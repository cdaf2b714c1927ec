//! A TCP proxy that fails on demand: the network between orchestrator and a server, or between two servers.
//!
//! It works above TCP, so it cannot lose packets: a client of [`Mode::Stall`] sees its bytes accepted and never
//! answered, which is what a frozen host or a firewall that drops packets looks like to a program with a read timeout.
//! When the server behind is gone, clients are accepted and closed at once; use [`Mode::Refuse`] for a refused port.

use crate::ports::{self, PortLease};
use crate::server::HOST;
use anyhow::{Context, Result};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

const CHUNK: usize = 16 * 1024;
const LISTEN_LIMIT: Duration = Duration::from_secs(5);

/// What the proxy does with connections, present and future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// The port is closed, present connections are cut.
    Refuse,
    /// Connections are accepted and kept, no byte gets through. Going back to `Pass` delivers what waited.
    Stall,
    /// The server's answer stops after that many bytes per connection, counted from now, and the connection stays.
    StallAfter(u64),
    /// The same, but the connection is closed: half an answer, then the end.
    CloseAfter(u64),
    /// Every piece is held up this long, in both directions.
    Delay(Duration),
}

/// Listens on a loopback port of its own until dropped. Needs a living tokio runtime.
#[derive(Debug)]
pub struct Proxy {
    lease: PortLease,
    target: Arc<AtomicU16>,
    state: watch::Sender<State>,
    applied: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    mode: Mode,
    /// Counts changes of mode.
    epoch: u64,
    /// Counts cuts: connections older than the last one end.
    cut: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl Proxy {
    /// Starts passing connections on to `port`. It may be set later, when a server must know its proxy's port first.
    pub async fn start(port: u16) -> Result<Proxy> {
        let lease = ports::lease_any()?;
        let listener = listen(lease.port).await?;
        let target = Arc::new(AtomicU16::new(port));
        let (state, changes) = watch::channel(State { mode: Mode::Pass, epoch: 0, cut: 0 });
        let (report, applied) = watch::channel(0);
        let task = tokio::spawn(run(lease.port, listener, Arc::clone(&target), changes, report));
        Ok(Proxy { lease, target, state, applied, task })
    }

    pub fn port(&self) -> u16 {
        self.lease.port
    }

    /// Where new connections go.
    pub fn set_target(&self, port: u16) {
        self.target.store(port, Ordering::Relaxed);
    }

    /// Changes the mode; in force for new connections when this returns.
    pub async fn set(&self, mode: Mode) -> Result<()> {
        self.change(|state| {
            state.mode = mode;
            if mode == Mode::Refuse {
                state.cut += 1;
            }
        })
        .await
    }

    /// Closes the present connections; new ones are treated as before.
    pub async fn cut(&self) -> Result<()> {
        self.change(|state| state.cut += 1).await
    }

    async fn change(&self, change: impl FnOnce(&mut State)) -> Result<()> {
        self.state.send_modify(|state| {
            change(state);
            state.epoch += 1;
        });
        let wanted = self.state.borrow().epoch;
        let mut applied = self.applied.clone();
        applied.wait_for(|epoch| *epoch >= wanted).await.context("the proxy has ended")?;
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A process that another thread is just starting holds a copy of every socket until it executes its program, so a port
/// closed a moment ago (by the lease, or by [`Mode::Refuse`]) may still look taken.
async fn listen(port: u16) -> Result<TcpListener> {
    let start = Instant::now();
    loop {
        match TcpListener::bind((HOST, port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == ErrorKind::AddrInUse && start.elapsed() < LISTEN_LIMIT => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => return Err(error).with_context(|| format!("the proxy cannot listen on port {port}")),
        }
    }
}

/// Accepts connections, closes and reopens the port. Ends when the proxy is dropped or its port is lost.
async fn run(
    port: u16,
    listener: TcpListener,
    target: Arc<AtomicU16>,
    mut changes: watch::Receiver<State>,
    report: watch::Sender<u64>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let state = *changes.borrow_and_update();
        if state.mode == Mode::Refuse {
            listener = None;
        } else if listener.is_none() {
            let Ok(reopened) = listen(port).await else { return };
            listener = Some(reopened);
        }
        report.send_replace(state.epoch);
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            Some(client) = accept(listener.as_ref()) => {
                connections.spawn(serve(client, target.load(Ordering::Relaxed), changes.clone(), state.cut));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(client, _)| client),
        None => std::future::pending().await,
    }
}

async fn serve(client: TcpStream, target: u16, changes: watch::Receiver<State>, cut: u64) {
    let Ok(server) = TcpStream::connect((HOST, target)).await else { return };
    // Small packets must not wait for each other: latencies measured through a proxy should be the server's.
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let to_server = pump(client_read, server_write, Gate::new(changes.clone(), cut, Direction::ToServer));
    let to_client = pump(server_read, client_write, Gate::new(changes, cut, Direction::ToClient));
    // One end gone is both ends gone: the protocol has no half-closed connections.
    tokio::select! {
        () = to_server => {}
        () = to_client => {}
    }
}

/// Copies one direction until it ends or is cut.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut gate: Gate) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = tokio::select! {
            read = from.read(&mut chunk) => read.unwrap_or(0),
            () = gate.until_cut() => return,
        };
        let mut rest = &chunk[..read];
        // The end of the stream (nothing read) has to pass the gate as well: a dead network hides it.
        loop {
            let Some(allowed) = gate.allow(rest.len()).await else { return };
            if to.write_all(&rest[..allowed]).await.is_err() {
                return;
            }
            rest = &rest[allowed..];
            if rest.is_empty() {
                break;
            }
        }
        if read == 0 {
            return;
        }
    }
}

/// Decides, for one direction of one connection, how many bytes may go on, and when.
struct Gate {
    changes: watch::Receiver<State>,
    cuts: watch::Receiver<State>,
    /// The cut this connection was born after.
    cut: u64,
    direction: Direction,
    epoch: u64,
    passed: u64,
}

impl Gate {
    fn new(changes: watch::Receiver<State>, cut: u64, direction: Direction) -> Gate {
        let epoch = changes.borrow().epoch;
        Gate { cuts: changes.clone(), changes, cut, direction, epoch, passed: 0 }
    }

    async fn until_cut(&mut self) {
        let born = self.cut;
        // An error means that the proxy is gone, which is a cut too.
        let _ = self.cuts.wait_for(|state| state.cut > born).await;
    }

    /// `None`: close the connection.
    async fn allow(&mut self, wanted: usize) -> Option<usize> {
        loop {
            let state = *self.changes.borrow_and_update();
            if state.cut > self.cut {
                return None;
            }
            if state.epoch != self.epoch {
                self.epoch = state.epoch;
                self.passed = 0;
            }
            match state.mode {
                Mode::Pass => return Some(wanted),
                Mode::Refuse => return None,
                Mode::Delay(time) => {
                    tokio::time::sleep(time).await;
                    return Some(wanted);
                }
                Mode::StallAfter(limit) | Mode::CloseAfter(limit) => {
                    let left = if self.direction == Direction::ToClient {
                        limit.saturating_sub(self.passed)
                    } else {
                        u64::MAX
                    };
                    let allowed = wanted.min(usize::try_from(left).unwrap_or(usize::MAX));
                    if allowed > 0 || (wanted == 0 && left > 0) {
                        self.passed += u64::try_from(allowed).unwrap_or(u64::MAX);
                        return Some(allowed);
                    }
                    if matches!(state.mode, Mode::CloseAfter(_)) {
                        return None;
                    }
                }
                Mode::Stall => {}
            }
            self.changes.changed().await.ok()?;
        }
    }
}
