//! The line protocol of the binary: one command per line, one line of JSON back. Meant for scripts and `nc`.
//!
//! ```text
//! kill SERVER DEATH          kill 127.10.0.5 blackhole        kill all freeze
//! kill-share SHARE DEATH     kill-share 0.2 blackhole
//! revive SERVER|all          latency SERVER|all DURATION      commit SERVER COUNT
//! stats   reset   seeds   servers   quit
//! ```

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::fleet::{Fleet, Target, parse_duration};
use crate::server::{Death, Dialect};

/// Listens for commands; `quit` is signalled by [`Control::stopped`].
#[derive(Debug)]
pub struct Control {
    listener: TcpListener,
    stop: Arc<Notify>,
}

impl Control {
    pub async fn bind(port: u16) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?, stop: Arc::default() })
    }

    pub fn port(&self) -> std::io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// Serves clients until one says `quit`.
    pub async fn serve(self, fleet: Arc<Fleet>) {
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        clients.spawn(converse(stream, Arc::clone(&fleet), Arc::clone(&self.stop)));
                    }
                }
                () = self.stop.notified() => return,
                Some(_) = clients.join_next() => {}
            }
        }
    }
}

async fn converse(stream: TcpStream, fleet: Arc<Fleet>, stop: Arc<Notify>) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let reply = execute(&fleet, line);
        if writer.write_all(format!("{reply}\n").as_bytes()).await.is_err() {
            return;
        }
        if line == "quit" {
            stop.notify_one();
            return;
        }
    }
}

/// Executes one command line.
pub fn execute(fleet: &Fleet, line: &str) -> Value {
    run(fleet, line).unwrap_or_else(|error| json!({ "error": error }))
}

fn run(fleet: &Fleet, line: &str) -> Result<Value, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let text = |error: crate::fleet::Error| error.to_string();
    match words.as_slice() {
        ["kill", who, death] => {
            let changed = fleet.kill(target(who)?, &death.parse::<Death>()?).map_err(text)?;
            Ok(json!({ "ok": true, "servers": changed }))
        }
        ["kill-share", share, death] => {
            let share: f64 = share.parse().map_err(|_| format!("{share:?} is not a number"))?;
            let killed = fleet.kill_share(share, &death.parse::<Death>()?).map_err(text)?;
            Ok(json!({ "ok": true, "servers": killed.len(), "killed": killed }))
        }
        ["revive", who] => Ok(json!({ "ok": true, "servers": fleet.revive(target(who)?).map_err(text)? })),
        ["latency", who, latency] => {
            let changed = fleet.set_latency(target(who)?, parse_duration(latency)?).map_err(text)?;
            Ok(json!({ "ok": true, "servers": changed }))
        }
        ["commit", who, count] => {
            let Target::Server(address) = target(who)? else { return Err("commit needs one server".to_owned()) };
            let count = count.parse().map_err(|_| format!("{count:?} is not a number"))?;
            fleet.commit(address, count).map_err(text)?;
            Ok(json!({ "ok": true }))
        }
        ["stats"] => serde_json::to_value(fleet.stats()).map_err(|error| error.to_string()),
        ["reset"] => {
            fleet.reset_stats();
            Ok(json!({ "ok": true }))
        }
        ["seeds"] => Ok(json!(fleet.seeds())),
        ["servers"] => Ok((0..fleet.server_count()).map(|index| describe(fleet, index)).collect()),
        ["quit"] => Ok(json!({ "ok": true })),
        _ => Err(format!(
            "unknown command {line:?}; known: kill, kill-share, revive, latency, commit, stats, reset, seeds, servers, quit"
        )),
    }
}

fn describe(fleet: &Fleet, index: usize) -> Value {
    let dialect = match fleet.dialect(index) {
        Some(Dialect::MariaDb) => "mariadb",
        _ => "mysql",
    };
    let address = fleet.address(index);
    let writable = fleet.cluster(index).map(|cluster| fleet.writable(cluster)).unwrap_or_default();
    let takes_writes = writable.iter().any(|(writable, _)| Some(*writable) == address);
    json!({ "address": address, "dialect": dialect, "datacenter": fleet.datacenter(index), "takes_writes": takes_writes })
}

fn target(word: &str) -> Result<Target, String> {
    if word == "all" {
        return Ok(Target::All);
    }
    let host = word.split_once(':').map_or(word, |(host, _)| host);
    host.parse().map(Target::Server).map_err(|_| format!("{word:?} is neither a server address nor \"all\""))
}
