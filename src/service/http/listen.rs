//! The listener: TCP, TCP with TLS, or a unix socket.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use config::Settings;
use tokio_util::sync::CancellationToken;

use super::{Error, tls};

/// What is under way at shutdown may take this long: the longest answer waits for a discovery.
const FINISH_WITHIN: Duration = Duration::from_secs(25);
/// Who connects and says nothing is cut off.
const FIRST_REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// A bound listener.
#[derive(Debug)]
pub struct Bound {
    at: String,
    socket: Socket,
}

enum Socket {
    Tcp(TcpListener),
    Tls(TcpListener, RustlsConfig),
    Unix(UnixListener, PathBuf),
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            Self::Tls(..) => "Tls",
            Self::Unix(..) => "Unix",
        })
    }
}

impl Bound {
    /// Binds as the settings say.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let http = &settings.http;
        if !http.listen_socket.is_empty() {
            return Self::unix(Path::new(&http.listen_socket));
        }
        let tls = if http.use_ssl { Some(tls::settings(http)?) } else { None };
        let listener = tcp(&http.listen_address)?;
        let at = listener.local_addr().map_or_else(|_| http.listen_address.clone(), |address| address.to_string());
        let socket = match tls {
            Some(tls) => Socket::Tls(listener, tls),
            None => Socket::Tcp(listener),
        };
        Ok(Self { at, socket })
    }

    /// Address and port, or path, for people and for the registry of nodes.
    pub fn at(&self) -> &str {
        &self.at
    }

    /// The TCP address, unless it is a unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) | Socket::Tls(listener, _) => listener.local_addr().ok(),
            Socket::Unix(..) => None,
        }
    }

    /// A socket file that a dead process left behind is replaced; one that somebody answers on is not.
    fn unix(path: &Path) -> Result<Self, Error> {
        let at = path.display().to_string();
        let fail = |cause: io::Error| Error::Listen { at: at.clone(), cause };
        if path.exists() {
            match UnixStream::connect(path) {
                Ok(_) => return Err(fail(io::Error::from(io::ErrorKind::AddrInUse))),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path).map_err(fail)?;
                }
                Err(error) => return Err(fail(error)),
            }
        }
        let listener = UnixListener::bind(path).map_err(fail)?;
        Ok(Self { at, socket: Socket::Unix(listener, path.to_owned()) })
    }

    /// Serves until `shutdown`, then lets what is under way finish.
    pub(super) async fn serve(self, router: Router, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { at, socket } = self;
        tracing::info!(address = %at, "serving HTTP");
        let served = match socket {
            Socket::Tcp(listener) => {
                let handle = Handle::new();
                let _end = end(handle.clone(), shutdown);
                let service = router.into_make_service_with_connect_info::<SocketAddr>();
                match axum_server::from_tcp(listener) {
                    Ok(server) => {
                        server.handle(handle).first_request_timeout(FIRST_REQUEST_WITHIN).serve(service).await
                    }
                    Err(error) => Err(error),
                }
            }
            Socket::Tls(listener, tls) => {
                let handle = Handle::new();
                let _end = end(handle.clone(), shutdown);
                let service = router.into_make_service_with_connect_info::<SocketAddr>();
                match axum_server::from_tcp(listener) {
                    Ok(server) => {
                        let server = server.acceptor(RustlsAcceptor::new(tls)).handle(handle);
                        server.first_request_timeout(FIRST_REQUEST_WITHIN).serve(service).await
                    }
                    Err(error) => Err(error),
                }
            }
            Socket::Unix(listener, path) => {
                let handle = Handle::new();
                let _end = end(handle.clone(), shutdown);
                let service = router.into_make_service();
                let served = match axum_server::from_unix(listener) {
                    Ok(server) => {
                        server.handle(handle).first_request_timeout(FIRST_REQUEST_WITHIN).serve(service).await
                    }
                    Err(error) => Err(error),
                };
                if let Err(error) = std::fs::remove_file(&path) {
                    tracing::debug!(error = %error, "the socket file was gone already");
                }
                served
            }
        };
        served.map_err(|cause| Error::Serve { at, cause })
    }
}

/// Ends the server when the process is to stop. Dropping the guard ends the wait.
fn end<A: axum_server::Address + Send + Sync + 'static>(
    handle: Handle<A>,
    shutdown: CancellationToken,
) -> tokio_util::task::AbortOnDropHandle<()> {
    tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        shutdown.cancelled().await;
        handle.graceful_shutdown(Some(FINISH_WITHIN));
    }))
}

/// Without a host: all addresses, of both families where the system has both.
fn tcp(address: &str) -> Result<TcpListener, Error> {
    let (host, port) = parse(address).ok_or_else(|| Error::Address(address.to_owned()))?;
    let bound = if host.is_empty() {
        TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)))
    } else {
        TcpListener::bind((host.as_str(), port))
    };
    bound.map_err(|cause| Error::Listen { at: address.to_owned(), cause })
}

/// As [`config::parse_listen_address`]; port 0 (any free one) besides.
fn parse(address: &str) -> Option<(String, u16)> {
    config::parse_listen_address(address).or_else(|| {
        let socket: SocketAddr = address.parse().ok()?;
        Some((socket.ip().to_string(), socket.port()))
    })
}
