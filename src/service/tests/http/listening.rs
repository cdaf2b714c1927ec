//! Real listeners: TCP, TLS with and without client certificates, unix sockets.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use config::Settings;
use harness::Flavor;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use service::http::{Bound, Error, Options, serve};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::fleet::{Fleet, empty, on_both};

struct Running {
    bound: String,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

impl Running {
    async fn end(self) {
        self.stop.cancel();
        self.task.await.expect("joined").expect("served");
    }
}

async fn start(change: impl FnOnce(&mut Settings)) -> Running {
    start_on(&empty(Flavor::MySql).await, change)
}

fn start_on(fleet: &Fleet, change: impl FnOnce(&mut Settings)) -> Running {
    let fleet = fleet.with(|settings| {
        "127.0.0.1:0".clone_into(&mut settings.http.listen_address);
        change(settings);
    });
    let listener = Bound::new(&fleet.handles.config.get().settings).expect("bound");
    let bound = listener.at().to_owned();
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, Arc::clone(&fleet.handles), Options::default(), stop.clone()));
    Running { bound, stop, task }
}

/// One request on a connection of its own: status and the whole reply.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> (u16, String) {
    let text = format!("{request} HTTP/1.1\r\nHost: orc\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.expect("sent");
    let mut reply = Vec::new();
    // A server that closes TLS without saying goodbye is no error here.
    let _ = stream.read_to_end(&mut reply).await;
    let reply = String::from_utf8_lossy(&reply).into_owned();
    let status = reply.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (status, reply)
}

#[tokio::test]
async fn tcp_head_and_compression() {
    let running = start(|_| {}).await;
    let connect = async || TcpStream::connect(&running.bound).await.expect("connected");
    let (status, reply) = ask(connect().await, "GET /api/lb-check").await;
    assert!(status == 200 && reply.ends_with("\"OK\""), "{reply}");
    let (status, reply) = ask(connect().await, "HEAD /api/lb-check").await;
    assert!(status == 200 && reply.ends_with("\r\n\r\n"), "{reply}");
    let (status, _) = ask(connect().await, "HEAD /api/reelect").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED.as_u16());
    let (_, reply) = ask(connect().await, "GET /web/app.js HTTP/1.1\r\nAccept-Encoding: gzip\r\nX-Rest:").await;
    assert!(reply.to_lowercase().contains("content-encoding: gzip"), "{}", &reply[..reply.len().min(400)]);
    assert!(reply.to_lowercase().contains("vary: accept-encoding"));
    running.end().await;
}

/// Waits for something that must come.
async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(Instant::now() < end, "{what} did not come true");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_change_is_made_though_its_client_hangs_up() {
    on_both(async |fleet| {
        let running = start_on(&fleet, |_| {});
        let pool = &fleet.handles.pool;
        // Somebody else holds what the request needs: it waits in the middle.
        let mut other = pool.begin().await.expect("transaction");
        let mine = "INSERT INTO downtime (hostname, port, owner, reason, begins_at, ends_at) \
                    VALUES ('db2', 3306, 'other', 'other', NOW(6), NOW(6))";
        sqlx::query(mine).execute(&mut *other).await.expect("a row");
        let mut client = TcpStream::connect(&running.bound).await.expect("connected");
        let request = "GET /api/begin-downtime/db2/3306/ann/upgrade HTTP/1.1\r\nHost: orc\r\n\r\n";
        client.write_all(request.as_bytes()).await.expect("sent");
        let waiting = "SELECT COUNT(*) FROM information_schema.processlist \
                        WHERE db = DATABASE() AND info LIKE '%downtime%' AND info NOT LIKE '%processlist%'";
        until("the request waits for the row", async || fleet.number(waiting).await > 0).await;
        client.shutdown().await.expect("hung up");
        let mut reply = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(20), client.read_to_end(&mut reply)).await;
        assert!(end.is_ok() && reply.is_empty(), "the service saw that: {end:?} {reply:?}");
        other.rollback().await.expect("released");
        let made = "SELECT COUNT(*) FROM downtime WHERE hostname = 'db2' AND owner = 'ann'";
        until("the change is made", async || fleet.number(made).await == 1).await;
        let recorded = "SELECT COUNT(*) FROM audit WHERE audit_type = 'begin-downtime'";
        assert_eq!(fleet.number(recorded).await, 1, "with its record");
        running.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_stopping_service_finishes_what_clients_did_not_wait_for() {
    let fleet = empty(Flavor::MySql).await;
    let running = start_on(&fleet, |_| {});
    let mut other = fleet.handles.pool.begin().await.expect("transaction");
    let mine = "INSERT INTO downtime (hostname, port, owner, reason, begins_at, ends_at) \
                VALUES ('db2', 3306, 'other', 'other', NOW(6), NOW(6))";
    sqlx::query(mine).execute(&mut *other).await.expect("a row");
    let mut client = TcpStream::connect(&running.bound).await.expect("connected");
    let request = "GET /api/begin-downtime/db2/3306/ann/upgrade HTTP/1.1\r\nHost: orc\r\n\r\n";
    client.write_all(request.as_bytes()).await.expect("sent");
    let waiting = "SELECT COUNT(*) FROM information_schema.processlist \
                    WHERE db = DATABASE() AND info LIKE '%downtime%' AND info NOT LIKE '%processlist%'";
    until("the request waits for the row", async || fleet.number(waiting).await > 0).await;
    drop(client);
    running.stop.cancel();
    let pool = fleet.handles.pool.clone();
    let ended = tokio::spawn(async move {
        running.end().await;
        let made = "SELECT COUNT(*) FROM downtime WHERE hostname = 'db2' AND owner = 'ann'";
        sqlx::query_scalar::<_, i64>(made).fetch_one(&pool).await.expect("count")
    });
    other.rollback().await.expect("released");
    assert_eq!(ended.await.expect("joined"), 1, "made before the service ended");
}

#[tokio::test]
async fn beyond_the_most_connections_only_health_is_answered() {
    let running = start(|settings| settings.http.http_max_connections = 2).await;
    let connect = async || TcpStream::connect(&running.bound).await.expect("connected");
    // Two clients that keep their connections.
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut client = connect().await;
        client.write_all(b"GET /api/lb-check HTTP/1.1\r\nHost: orc\r\n\r\n").await.expect("sent");
        let mut reply = [0; 12];
        client.read_exact(&mut reply).await.expect("answered");
        assert_eq!(&reply, b"HTTP/1.1 200");
        kept.push(client);
    }
    let (status, reply) = ask(connect().await, "GET /api/lb-check").await;
    assert!(status == 503 && reply.to_lowercase().contains("retry-after: 1"), "{reply}");
    for path in ["/health/live", "/health/ready", "/api/status"] {
        assert_eq!(ask(connect().await, &format!("GET {path}")).await.0, 200, "{path}");
    }
    // Clients that come and say nothing cannot keep the health checks out.
    for _ in 0..200 {
        kept.push(connect().await);
    }
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(ask(connect().await, &format!("GET {path}")).await.0, 200, "{path}");
    }
    kept.remove(0);
    until("there is room again", async || ask(connect().await, "GET /api/lb-check").await.0 == 200).await;
    running.end().await;
}

#[tokio::test]
async fn a_unix_socket_replaces_a_stale_one_and_not_a_living_one() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("orc.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("stale"));
    assert!(path.exists());
    let socket = path.display().to_string();
    let running = start(|settings| settings.http.listen_socket.clone_from(&socket)).await;
    let (status, _) = ask(UnixStream::connect(&path).await.expect("connected"), "GET /api/lb-check").await;
    assert_eq!(status, 200);
    let mut settings = Settings::default();
    settings.http.listen_socket = socket;
    assert!(matches!(Bound::new(&settings), Err(Error::Listen { .. })), "somebody answers there");
    running.end().await;
    assert!(!path.exists(), "the file goes with the service");
}

/// A certificate authority with a server and clients of two units, as files.
struct Papers {
    folder: tempfile::TempDir,
}

impl Papers {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let key = KeyPair::generate().expect("key");
        let authority = params.self_signed(&key).expect("certificate");
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).expect("written");
        let issuer = Issuer::new(params, key);
        for (name, unit) in [("localhost", ""), ("dba", "Database"), ("guest", "Guests")] {
            let mut params = CertificateParams::new(vec![name.to_owned()]).expect("params");
            if !unit.is_empty() {
                params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
            }
            let key = KeyPair::generate().expect("key");
            let certificate = params.signed_by(&key, &issuer).expect("certificate");
            std::fs::write(folder.path().join(format!("{name}.pem")), certificate.pem()).expect("written");
            std::fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).expect("written");
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Asks over TLS, as `client` if one is named.
    async fn ask(&self, at: &str, client: Option<&str>, request: &str) -> Result<u16, String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.file("ca.pem")).expect("pem")).expect("root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match client {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let chain = vec![CertificateDer::from_pem_file(self.file(&format!("{name}.pem"))).expect("pem")];
                let key = PrivateKeyDer::from_pem_file(self.file(&format!("{name}.key"))).expect("pem");
                builder.with_client_auth_cert(chain, key).expect("client certificate")
            }
        };
        let tcp = TcpStream::connect(at).await.map_err(|error| error.to_string())?;
        let name = ServerName::try_from("localhost").expect("name");
        let stream =
            TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|error| error.to_string())?;
        Ok(ask(stream, request).await.0)
    }

    fn serve(&self, settings: &mut Settings) {
        settings.http.use_ssl = true;
        settings.http.ssl_cert_file = self.file("localhost.pem");
        settings.http.ssl_private_key_file = self.file("localhost.key");
        settings.http.ssl_ca_file = self.file("ca.pem");
    }
}

#[tokio::test]
async fn tls() {
    let papers = Papers::new();
    let running = start(|settings| papers.serve(settings)).await;
    assert_eq!(papers.ask(&running.bound, None, "GET /api/lb-check").await, Ok(200));
    let (status, _) = ask(TcpStream::connect(&running.bound).await.expect("connected"), "GET /api/lb-check").await;
    assert_eq!(status, 0, "plain text is not answered");
    running.end().await;
}

#[tokio::test]
async fn client_certificates_must_be_of_a_valid_unit() {
    let papers = Papers::new();
    for verify_status in [false, true] {
        let running = start(|settings| {
            papers.serve(settings);
            settings.http.use_mutual_tls = true;
            settings.http.ssl_valid_ous = vec!["Database".to_owned()];
            settings.http.status_ou_verify = verify_status;
        })
        .await;
        assert_eq!(papers.ask(&running.bound, Some("dba"), "GET /api/lb-check").await, Ok(200));
        assert_eq!(papers.ask(&running.bound, Some("guest"), "GET /api/lb-check").await, Ok(401));
        assert_eq!(papers.ask(&running.bound, None, "GET /api/lb-check").await, Ok(401));
        let expected = if verify_status { 401 } else { 200 };
        assert_eq!(papers.ask(&running.bound, None, "GET /api/status").await, Ok(expected));
        // The whole path counts: neither its end nor what stands behind a question mark.
        for request in ["GET /api/clusters?x=/api/status", "GET /api/tag/db1/3306/api/status", "GET /x/api/status"] {
            assert_eq!(papers.ask(&running.bound, None, request).await, Ok(401), "{request}");
        }
        running.end().await;
    }
}

#[tokio::test]
async fn bad_files_and_addresses_are_said_by_name() {
    let papers = Papers::new();
    let broken = |change: &dyn Fn(&mut Settings)| {
        let mut settings = Settings::default();
        settings.http.listen_address = "127.0.0.1:0".to_owned();
        papers.serve(&mut settings);
        change(&mut settings);
        Bound::new(&settings).expect_err("refused").to_string()
    };
    let missing = Path::new("/nowhere/cert.pem").display().to_string();
    assert!(
        broken(&|settings| settings.http.ssl_cert_file.clone_from(&missing)).contains("SSLCertFile /nowhere/cert.pem")
    );
    let error = broken(&|settings| settings.http.ssl_private_key_file = papers.file("localhost.pem"));
    assert!(error.contains("SSLPrivateKeyFile"), "{error}");
    assert!(broken(&|settings| settings.http.listen_address = "nonsense".to_owned()).contains("ListenAddress"));
    let error = broken(&|settings| settings.http.ssl_private_key_file = papers.file("dba.key"));
    assert!(error.contains("SSLCertFile"), "a key of another certificate: {error}");
}
