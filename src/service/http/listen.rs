//! The listener: TCP, TCP with TLS, or a unix socket.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum_server::accept::DefaultAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use config::Settings;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::connections::{Door, Places};
use super::{Error, tls};

/// What is under way at shutdown may take this long: the longest answer waits for a discovery.
const FINISH_WITHIN: Duration = Duration::from_secs(25);
/// Who connects and says nothing is cut off.
const FIRST_REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// So is who lets the next request wait, or sends its head byte by byte. Load balancers keep connections for a while.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Requests at once on one connection of HTTP/2: more than a page asks for.
const MAX_STREAMS: u32 = 64;

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
    pub(super) async fn serve(self, router: Router, places: Places, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { at, socket } = self;
        tracing::info!(address = %at, "serving HTTP");
        let served = match socket {
            Socket::Tcp(listener) => {
                let service = router.into_make_service_with_connect_info::<SocketAddr>();
                match axum_server::from_tcp(listener) {
                    Ok(server) => {
                        let (server, _end) = limited(server, DefaultAcceptor::new(), places, shutdown);
                        server.serve(service).await
                    }
                    Err(error) => Err(error),
                }
            }
            Socket::Tls(listener, tls) => {
                let service = router.into_make_service_with_connect_info::<SocketAddr>();
                match axum_server::from_tcp(listener) {
                    Ok(server) => {
                        let (server, _end) = limited(server, RustlsAcceptor::new(tls), places, shutdown);
                        server.serve(service).await
                    }
                    Err(error) => Err(error),
                }
            }
            Socket::Unix(listener, path) => {
                let service = router.into_make_service();
                let served = match axum_server::from_unix(listener) {
                    Ok(server) => {
                        let (server, _end) = limited(server, DefaultAcceptor::new(), places, shutdown);
                        server.serve(service).await
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

/// Cancelled when what was under way at `shutdown` has had its time. Dropping the guard ends the wait.
pub(super) fn too_late(shutdown: &CancellationToken) -> (CancellationToken, AbortOnDropHandle<()>) {
    let (shutdown, late) = (shutdown.clone(), CancellationToken::new());
    let told = late.clone();
    let wait = tokio::spawn(async move {
        shutdown.cancelled().await;
        tokio::time::sleep(FINISH_WITHIN).await;
        told.cancel();
    });
    (late, AbortOnDropHandle::new(wait))
}

/// A server with all its limits, which ends when the process is to stop. Dropping the guard ends the wait for that.
fn limited<S: axum_server::Address + Send + Sync + 'static, A>(
    server: Server<S>,
    acceptor: A,
    places: Places,
    shutdown: CancellationToken,
) -> (Server<S, Door<A>>, AbortOnDropHandle<()>) {
    let handle = Handle::new();
    let door = Door::new(places, acceptor);
    let mut server = server.acceptor(door).handle(handle.clone()).first_request_timeout(FIRST_REQUEST_WITHIN);
    server.http_builder().http1().header_read_timeout(HEAD_WITHIN);
    server.http_builder().http2().max_concurrent_streams(MAX_STREAMS);
    let end = tokio::spawn(async move {
        shutdown.cancelled().await;
        handle.graceful_shutdown(Some(FINISH_WITHIN));
    });
    (server, AbortOnDropHandle::new(end))
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::Instant;

    use super::*;

    /// What comes until the other side hangs up.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut reply = Vec::new();
        // A reset is as good as an end here.
        let _ = stream.read_to_end(&mut reply).await;
        String::from_utf8_lossy(&reply).into_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn who_connects_and_dawdles_is_cut_off() {
        let mut settings = Settings::default();
        "127.0.0.1:0".clone_into(&mut settings.http.listen_address);
        let bound = Bound::new(&settings).expect("bound");
        let (at, stop) = (bound.local_addr().expect("an address"), CancellationToken::new());
        let router = Router::new().route("/", axum::routing::get(|| async { "served" }));
        let serving = tokio::spawn(bound.serve(router, Places::new(8), stop.clone()));
        let request = "GET / HTTP/1.1\r\nHost: here\r\n\r\n";
        for (said, answers, within) in [
            ("", 0, FIRST_REQUEST_WITHIN),
            ("GET / HTTP/1.1\r\nHost: he", 0, FIRST_REQUEST_WITHIN),
            // Kept alive, and then nothing, or half a head.
            (request, 1, HEAD_WITHIN),
            (&format!("{request}GET / HT"), 1, HEAD_WITHIN),
        ] {
            let mut stream = TcpStream::connect(at).await.expect("connected");
            let began = Instant::now();
            stream.write_all(said.as_bytes()).await.expect("sent");
            let reply = rest(&mut stream).await;
            assert_eq!(reply.matches("served").count(), answers, "{said:?}: {reply}");
            assert!(began.elapsed() <= within + Duration::from_secs(1), "{said:?}: {:?}", began.elapsed());
        }
        stop.cancel();
        serving.await.expect("joined").expect("served");
    }
}
