//! Certificates of managed servers, and ours towards them.

use std::path::{Path, PathBuf};

use domain::instance::{Answer, FailureKind};
use harness::{Account, Flavor, Options, Server};
use mysql::{TlsMode, TlsSettings};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::support::{failure, key, prober, settings_for};

/// Logs in with TLS only.
const ENCRYPTED: Account = Account { user: "encrypted", password: "encrypted_password" };
/// Logs in with a client certificate only.
const CERTIFIED: Account = Account { user: "certified", password: "certified_password" };

/// A certificate authority in a directory of its own, and what it has signed.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("written");
        Self { folder, issuer: Issuer::new(params, key) }
    }

    /// Signs a certificate for a subject alternative name: `NAME.pem` and `NAME.key`.
    fn sign(&self, name: &str) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("params");
        // MySQL takes a certificate with the issuer's name for a self-signed one.
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::write(self.file(&format!("{name}.pem")), certificate.pem()).expect("written");
        std::fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).expect("written");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A server that shows the certificate for `name`.
    async fn server(&self, name: &str) -> Server {
        self.sign(name);
        let file = |option: &str, name: &str| format!("--ssl-{option}={}", self.file(name).display());
        let extra_args =
            vec![file("ca", "ca.pem"), file("cert", &format!("{name}.pem")), file("key", &format!("{name}.key"))];
        let options = Options { extra_args, ..Options::default() };
        with_accounts(Server::start_with(Flavor::MySql, options).await.expect("a server")).await
    }
}

async fn with_accounts(server: Server) -> Server {
    for (account, demand) in [(ENCRYPTED, "SSL"), (CERTIFIED, "X509")] {
        let Account { user, password } = account;
        let make = format!("CREATE USER {user}@'%' IDENTIFIED BY '{password}' REQUIRE {demand}");
        server.execute(&format!("{make}; GRANT ALL ON *.* TO {user}@'%'")).await.expect("an account");
    }
    server
}

fn always(ca_file: impl AsRef<Path>) -> TlsSettings {
    TlsSettings { mode: TlsMode::Always, ca_file: Some(ca_file.as_ref().to_owned()), ..TlsSettings::default() }
}

/// Why we did not get in; `None` if we did.
async fn refusal(server: &Server, account: Account, tls: &TlsSettings) -> Option<(FailureKind, String)> {
    let mut settings = settings_for(account);
    settings.connect.tls = tls.clone();
    let observation = prober(settings).probe(&key(server)).await;
    match observation.answer {
        Answer::Facts { .. } => None,
        _ => Some(failure(observation)),
    }
}

async fn refused(server: &Server, account: Account, tls: &TlsSettings, texts: &[&str]) {
    let (kind, message) = refusal(server, account, tls).await.expect("is refused");
    assert_eq!(kind, FailureKind::AccessDenied, "a server that shows a certificate is alive: {message}");
    for text in texts {
        assert!(message.contains(text), "{text:?} is not in {message:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_trusted_by_its_authority_and_its_name() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let server = ours.server("127.0.0.1").await;
    let right = always(ours.file("ca.pem"));
    assert_eq!(refusal(&server, ENCRYPTED, &right).await, None);
    // Mixed mode verifies too, once the server demands TLS.
    assert_eq!(refusal(&server, ENCRYPTED, &TlsSettings { mode: TlsMode::Mixed, ..right.clone() }).await, None);
    refused(&server, ENCRYPTED, &TlsSettings { mode: TlsMode::Off, ..right.clone() }, &["Access denied"]).await;

    let address = server.address();
    let wrong = always(other.file("ca.pem"));
    refused(&server, ENCRYPTED, &wrong, &["TLS failed", &address, "UnknownIssuer", "MySQLTopologySSLCAFile"]).await;
    // The system's authorities have not signed it either.
    let system = TlsSettings { ca_file: None, ..right.clone() };
    refused(&server, ENCRYPTED, &system, &["TLS failed", "UnknownIssuer", "MySQLTopologySSLCAFile"]).await;
    assert_eq!(refusal(&server, ENCRYPTED, &TlsSettings { skip_verify: true, ..wrong }).await, None);

    let missing = always(ours.file("no-such-file.pem"));
    let (kind, message) = refusal(&server, ENCRYPTED, &missing).await.expect("is refused");
    assert_eq!(kind, FailureKind::Statement, "our mistake, not the server's: {message}");
    assert!(message.contains("TLS settings cannot be read"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_or_for_none_is_refused() {
    let ours = Authority::new("ours");
    let elsewhere = ours.server("db.example.com").await;
    let texts = ["TLS failed", "not valid for name", "127.0.0.1", "db.example.com", "subject alternative name"];
    refused(&elsewhere, ENCRYPTED, &always(ours.file("ca.pem")), &texts).await;

    // What a server makes for itself at its first start has a common name only, which nobody looks at any more.
    let automatic = with_accounts(Server::start(Flavor::MySql).await.expect("a server")).await;
    let own_authority = always(automatic.dir().join("data/ca.pem"));
    refused(&automatic, ENCRYPTED, &own_authority, &["TLS failed", "subject alternative name"]).await;
    assert_eq!(refusal(&automatic, ENCRYPTED, &TlsSettings { skip_verify: true, ..own_authority }).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_demands_our_certificate_gets_it() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let server = ours.server("127.0.0.1").await;
    let certified = |authority: &Authority| {
        authority.sign("orchestrator");
        TlsSettings {
            cert_file: Some(authority.file("orchestrator.pem")),
            key_file: Some(authority.file("orchestrator.key")),
            ..always(ours.file("ca.pem"))
        }
    };
    let with_certificate = certified(&ours);
    assert_eq!(refusal(&server, CERTIFIED, &with_certificate).await, None);
    refused(&server, CERTIFIED, &always(ours.file("ca.pem")), &["Access denied"]).await;
    // No more than that: TLS 1.3 tells a client of it only after the handshake, when a write may already have failed.
    assert!(refusal(&server, CERTIFIED, &certified(&other)).await.is_some());
    // As the manual says: it is sent only with MySQLTopologyUseMutualTLS, and only to who has shown a good one.
    for tls in [
        TlsSettings { skip_verify: true, ..with_certificate.clone() },
        TlsSettings { mode: TlsMode::Mixed, ..with_certificate.clone() },
    ] {
        refused(&server, CERTIFIED, &tls, &["Access denied"]).await;
    }
    let keyless = TlsSettings { key_file: Some(ours.file("no-such-file.key")), ..with_certificate };
    let (kind, message) = refusal(&server, CERTIFIED, &keyless).await.expect("is refused");
    assert_eq!((kind, message.contains("TLS settings cannot be read")), (FailureKind::Statement, true), "{message}");
}
