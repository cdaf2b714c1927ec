//! One simulated server: who it is, whether it is alive, and its counters. About 200 bytes, so that ten thousand fit.

use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::role::Role;

/// Which words a server understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// MySQL 9.7: replica and source words only, GTID sets of UUIDs.
    MySql,
    /// MariaDB 10.11: master and slave words in results, `domain-server-sequence` GTIDs.
    MariaDb,
}

/// How a server is dead, or odd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Death {
    /// Connections are closed at once with a reset, old ones too. (A real refusal is impossible: the listener is shared.)
    Refuse,
    /// Old connections are reset; new ones are accepted and never answered.
    Blackhole,
    /// Like a stopped process: old connections stay open and stall, new ones are accepted and never greeted.
    Freeze,
    /// Logs clients in, then stops in the middle of the answer to each statement and keeps the connection open.
    MidAnswer,
    /// Another protocol listens there: HTTP text instead of a greeting, then the end of the connection.
    Garbage,
    /// Refuses every login with error 1045.
    WrongPassword,
    /// Refuses every connection with error 1040.
    TooManyConnections,
    /// Alive, but says it is this version.
    OldVersion(String),
}

/// The part of a [`Death`] that fits an atomic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    Alive,
    Refuse,
    Blackhole,
    Freeze,
    MidAnswer,
    Garbage,
    WrongPassword,
    TooManyConnections,
    OldVersion,
}

impl Mode {
    const ALL: [Self; 9] = [
        Self::Alive,
        Self::Refuse,
        Self::Blackhole,
        Self::Freeze,
        Self::MidAnswer,
        Self::Garbage,
        Self::WrongPassword,
        Self::TooManyConnections,
        Self::OldVersion,
    ];

    /// Do connections opened before the change survive it?
    pub(crate) fn keeps_connections(self) -> bool {
        matches!(self, Self::Alive | Self::Freeze | Self::MidAnswer)
    }

    /// Is nothing said at all?
    pub(crate) fn silent(self) -> bool {
        matches!(self, Self::Blackhole | Self::Freeze)
    }

    /// Does replication from and to this server go on? Refused logins do not stop streams that are open already.
    pub(crate) fn replicates(self) -> bool {
        !matches!(self, Self::Refuse | Self::Blackhole | Self::Freeze | Self::Garbage)
    }
}

/// The words of the control protocol: `refuse`, `blackhole`, `freeze`, `mid-answer`, `garbage`, `wrong-password`,
/// `too-many-connections`, `old-version=TEXT`.
impl FromStr for Death {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "refuse" => Self::Refuse,
            "blackhole" => Self::Blackhole,
            "freeze" => Self::Freeze,
            "mid-answer" => Self::MidAnswer,
            "garbage" => Self::Garbage,
            "wrong-password" => Self::WrongPassword,
            "too-many-connections" => Self::TooManyConnections,
            other => match other.strip_prefix("old-version=") {
                Some(version) if !version.is_empty() => Self::OldVersion(version.to_owned()),
                _ => {
                    return Err(format!(
                        "unknown death {other:?}; known: refuse, blackhole, freeze, mid-answer, garbage, \
                         wrong-password, too-many-connections, old-version=TEXT"
                    ));
                }
            },
        })
    }
}

/// One server of the fleet.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) index: usize,
    pub(crate) address: Ipv4Addr,
    pub(crate) dialect: Dialect,
    pub(crate) cluster: usize,
    pub(crate) role: Role,
    pub(crate) datacenter: usize,
    mode: AtomicU8,
    /// Milliseconds after the start of the fleet at which the mode last changed.
    changed_at_ms: AtomicU64,
    latency_us: AtomicU32,
    version: Mutex<Option<String>>,
    /// Wakes the open connections when the mode changes.
    pub(crate) changed: Notify,
    pub(crate) statements: AtomicU64,
    pub(crate) round_trips: AtomicU64,
    pub(crate) pings: AtomicU64,
    pub(crate) connects: AtomicU64,
    pub(crate) open: AtomicU32,
}

impl Server {
    pub(crate) fn new(index: usize, address: Ipv4Addr, dialect: Dialect, cluster: usize, role: Role) -> Self {
        Self {
            index,
            address,
            dialect,
            cluster,
            role,
            datacenter: 0,
            mode: AtomicU8::new(Mode::Alive as u8),
            changed_at_ms: AtomicU64::new(0),
            latency_us: AtomicU32::new(0),
            version: Mutex::new(None),
            changed: Notify::new(),
            statements: AtomicU64::new(0),
            round_trips: AtomicU64::new(0),
            pings: AtomicU64::new(0),
            connects: AtomicU64::new(0),
            open: AtomicU32::new(0),
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        Mode::ALL[usize::from(self.mode.load(Ordering::Acquire)) % Mode::ALL.len()]
    }

    pub(crate) fn changed_at_ms(&self) -> u64 {
        self.changed_at_ms.load(Ordering::Relaxed)
    }

    /// Takes the new state and wakes every open connection, which then looks at it.
    pub(crate) fn set_death(&self, death: Option<&Death>, now_ms: u64) {
        let (mode, version) = match death {
            None => (Mode::Alive, None),
            Some(Death::Refuse) => (Mode::Refuse, None),
            Some(Death::Blackhole) => (Mode::Blackhole, None),
            Some(Death::Freeze) => (Mode::Freeze, None),
            Some(Death::MidAnswer) => (Mode::MidAnswer, None),
            Some(Death::Garbage) => (Mode::Garbage, None),
            Some(Death::WrongPassword) => (Mode::WrongPassword, None),
            Some(Death::TooManyConnections) => (Mode::TooManyConnections, None),
            Some(Death::OldVersion(text)) => (Mode::OldVersion, Some(text.clone())),
        };
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = version;
        self.changed_at_ms.store(now_ms, Ordering::Relaxed);
        self.mode.store(mode as u8, Ordering::Release);
        self.changed.notify_waiters();
    }

    pub(crate) fn latency(&self) -> Duration {
        Duration::from_micros(u64::from(self.latency_us.load(Ordering::Relaxed)))
    }

    pub(crate) fn set_latency(&self, latency: Duration) {
        self.latency_us.store(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    pub(crate) fn version(&self) -> String {
        if self.mode() == Mode::OldVersion
            && let Some(version) = self.version.lock().unwrap_or_else(PoisonError::into_inner).clone()
        {
            return version;
        }
        match self.dialect {
            Dialect::MySql => "9.7.4".to_owned(),
            Dialect::MariaDb => "10.11.14-MariaDB-log".to_owned(),
        }
    }
}
