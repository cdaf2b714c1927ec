//! What can go wrong between us and a managed server, by what it says about that server.

use std::fmt;
use std::io;
use std::path::PathBuf;

use mysql_common::constants::CapabilityFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::ErrPacket;

/// A connection attempt or an exchange that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server said no: to a login or to a statement. The connection is as good as before.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The connection could not be made, or broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server does not offer TLS, or not to us.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The server wants a proof of who we are that we do not give, on any connection.
    #[error("cannot log in: {0}")]
    Login(String),
    /// The server wants a proof that we give inside TLS only.
    #[error("cannot log in without TLS: {0}")]
    LoginNeedsTls(String),
    /// A file named in our settings cannot be read.
    #[error("a file named in the TLS settings cannot be read: {path}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Our settings contradict themselves.
    #[error("the connection settings are unusable: {0}")]
    Settings(String),
    /// The other side does not speak as a MySQL server does, or too much.
    #[error("not the MySQL protocol: {0}")]
    Protocol(String),
    /// An earlier exchange was given up; this one was not begun.
    #[error("the connection was given up in the middle of an earlier exchange")]
    Broken,
}

impl Error {
    pub(super) fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol(what.into())
    }

    /// The server's error number, if it was the server who said no.
    pub fn number(&self) -> Option<u16> {
        match self {
            Self::Server(error) => Some(error.number),
            _ => None,
        }
    }
}

/// An error in the server's words (page "ERR_Packet").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// What the servers' error references list.
    pub number: u16,
    /// Five characters; empty when the server did not tell.
    pub sql_state: String,
    /// For people, in the server's language.
    pub message: String,
}

impl std::error::Error for ServerError {}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}: {}", self.number, self.message)
    }
}

/// What we keep of an error: servers cut their messages at 512 bytes, and everything that handles one reads it whole.
const LONGEST_ERROR: usize = 4096;

/// The error that an ERR packet is.
pub(super) fn read(payload: &[u8]) -> Error {
    let payload = payload.get(..LONGEST_ERROR).unwrap_or(payload);
    // Before login a server leaves the state out.
    let has_state = payload.get(3) == Some(&b'#');
    let shape = if has_state { CapabilityFlags::CLIENT_PROTOCOL_41 } else { CapabilityFlags::empty() };
    match ParseBuf(payload).parse::<ErrPacket<'_>>(shape) {
        Ok(ErrPacket::Error(error)) => Error::Server(ServerError {
            number: error.error_code(),
            sql_state: error.sql_state_ref().map_or_else(String::new, |state| state.as_str().into_owned()),
            message: error.message_str().into_owned(),
        }),
        Ok(ErrPacket::Progress(_)) => Error::protocol("a progress report that nobody asked for"),
        Err(error) => Error::protocol(format!("an unreadable error packet: {error}")),
    }
}
