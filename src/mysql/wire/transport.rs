//! The bytes below the packets: TCP, or TLS over it.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Room for one reading. Most answers to a probe fit.
const CHUNK: usize = 8 * 1024;

/// A socket, encrypted or not.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    /// Boxed: a fleet has few of these, and they are large.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The socket below. Bytes taken from it here would be missing there.
    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Appends what comes next. The buffer grows with what has come, never with what was announced.
    pub(super) async fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        if buffer.capacity() == 0 {
            // Hundreds of probes wait for their answers at once: memory is taken when there is something to put into it.
            if let Self::Plain(stream) = self {
                stream.readable().await?;
            }
            buffer.reserve(CHUNK);
        }
        let length = match self {
            Self::Plain(stream) => stream.read_buf(buffer).await?,
            Self::Tls(stream) => stream.read_buf(buffer).await?,
        };
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        Ok(())
    }

    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
        }
    }
}
