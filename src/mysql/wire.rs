//! Our side of the MySQL client protocol: one connection to a managed server that costs next to nothing while it rests.
//!
//! What this is: login, statements in plain text (several in one packet), rows. What it is deliberately not: a general
//! driver. There are no prepared statements, no compression, no pool, no types: every value is the text the server sent.
//! The words of the protocol (packets, capability flags, login methods) come from crate `mysql_common`; what is ours is
//! when they are sent, and how much memory a conversation may take.
//!
//! Invariants:
//! - a connection at rest holds a socket (and TLS state), no buffer: an [`packet::Exchange`] brings its own and takes it away;
//! - nothing a server sends makes us panic, or keep more than a fixed amount per answer;
//! - an exchange that was not ended (an error, a deadline of the caller) leaves the connection broken for good: an answer
//!   may still be under way on it;
//! - a password leaves us only scrambled, encrypted by the server's key, or inside TLS.
//!
//! Manual: "Client/Server Protocol" in the MySQL source documentation
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html>), and "Client/Server Protocol" in the MariaDB
//! documentation (<https://mariadb.com/docs/server/reference/clientserver-protocol>).

mod auth;
mod error;
mod handshake;
mod packet;
mod result;
#[cfg(test)]
pub(crate) mod tests;
mod tls;
mod transport;

use tokio::net::TcpStream;

pub use error::{Error, ServerError};
pub(crate) use handshake::Login;
use packet::Exchange;
pub use result::{ResultSet, Row};
pub(crate) use tls::TlsClient;
use transport::Transport;

/// Command bytes (page "Command Phase").
const COM_QUIT: u8 = 0x01;
const COM_QUERY: u8 = 0x03;
const COM_PING: u8 = 0x0e;

/// All results of one packet of statements, as they lie in our memory. A probe's answer is some kilobytes; this is for
/// the largest process list one may meet, and for servers that mean harm.
const MOST_ANSWER: usize = 64 << 20;
/// The answer to a ping is an OK packet, or an error of a few hundred bytes.
const MOST_PONG: usize = 64 << 10;

/// A logged-in connection. No method has a deadline of its own: wrap calls in [`tokio::time::timeout`]. A call that is cut
/// short leaves the connection broken.
#[derive(Debug)]
pub struct Connection {
    transport: Transport,
    /// Rows end with an OK packet (`CLIENT_DEPRECATE_EOF`).
    deprecates_eof: bool,
    is_broken: bool,
}

impl Connection {
    /// Logs in over a fresh socket.
    pub(crate) async fn login(stream: TcpStream, login: &Login<'_>) -> Result<Self, Error> {
        let (transport, deprecates_eof) = handshake::login(stream, login).await?;
        Ok(Self { transport, deprecates_eof, is_broken: false })
    }

    /// Sends one packet with one or several statements; gives the result of each. When the server refuses one, the error
    /// is its answer, the results before it are lost, and the connection stays usable.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<ResultSet>, Error> {
        let mut results = Vec::new();
        self.query_into(sql, &mut results).await?;
        Ok(results)
    }

    /// Runs statements whose rows nobody wants; gives the number of rows the last one changed.
    pub async fn execute(&mut self, sql: &str) -> Result<u64, Error> {
        Ok(self.query(sql).await?.last().map_or(0, |result| result.affected_rows))
    }

    /// As [`Self::query`], but what has come is in `results` even when this fails or is cut short.
    pub async fn query_into(&mut self, sql: &str, results: &mut Vec<ResultSet>) -> Result<(), Error> {
        if self.is_broken {
            return Err(Error::Broken);
        }
        self.is_broken = true;
        let mut exchange = Exchange::new(&mut self.transport, MOST_ANSWER);
        exchange
            .send(|out| {
                out.push(COM_QUERY);
                out.extend_from_slice(sql.as_bytes());
            })
            .await?;
        let ended = result::receive(&mut exchange, self.deprecates_eof, results).await;
        // Whoever says more than was asked does not wait for the next question.
        let is_in_step = matches!(ended, Ok(()) | Err(Error::Server(_))) && exchange.is_drained();
        self.is_broken = !is_in_step;
        ended
    }

    /// Asks whether the server still answers, the cheapest question there is.
    pub async fn ping(&mut self) -> Result<(), Error> {
        if self.is_broken {
            return Err(Error::Broken);
        }
        self.is_broken = true;
        let mut exchange = Exchange::new(&mut self.transport, MOST_PONG);
        exchange.send(|out| out.push(COM_PING)).await?;
        exchange.receive().await?;
        self.is_broken = !exchange.is_drained();
        Ok(())
    }

    /// Waits until the server does something of its own accord on this connection at rest: closes it, or says why it
    /// will. Nothing is read: the next exchange finds what there is. Tells whether the connection has ended.
    pub async fn disturbed(&self) -> bool {
        let mut first = [0; 1];
        // Nobody else reads meanwhile, so what can be peeked at is no answer under way.
        !matches!(self.transport.socket().peek(&mut first).await, Ok(1..))
    }

    /// An exchange was not ended: the connection is good for nothing but being dropped.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// What is said travels inside TLS.
    pub fn is_encrypted(&self) -> bool {
        self.transport.is_encrypted()
    }

    /// Says goodbye, so that the server does not count an aborted connection.
    pub async fn close(mut self) -> Result<(), Error> {
        if self.is_broken {
            return Ok(());
        }
        Exchange::new(&mut self.transport, 0).send(|out| out.push(COM_QUIT)).await?;
        self.transport.shutdown().await?;
        Ok(())
    }
}
