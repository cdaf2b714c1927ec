//! Real listeners: TCP, TLS with and without client certificates, unix sockets.

use std::path::Path;
use std::sync::Arc;

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

use crate::fleet::empty;

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
    let fleet = empty(Flavor::MySql).await.with(|settings| {
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
