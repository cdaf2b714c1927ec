//! Certificates of the backend, and ours towards it, on real servers of both flavours.

use std::path::PathBuf;
use std::time::Duration;

use harness::{Account, Flavor, Options, Server};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use sqlx::ConnectOptions;
use sqlx::mysql::MySqlSslMode;
use store::{Backend, BackendOptions, BackendTls, Error, TlsMode};

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
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    /// Signs a certificate for a subject alternative name: `NAME.pem` and `NAME.key`.
    fn sign(&self, name: &str) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        // A certificate with the issuer's name is taken for a self-signed one.
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        std::fs::write(self.file(&format!("{name}.pem")), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A backend that shows the certificate for `name`.
    async fn server(&self, flavor: Flavor, name: &str) -> Server {
        self.sign(name);
        let file = |option: &str, name: &str| format!("--ssl-{option}={}", self.file(name).display());
        let extra_args =
            vec![file("ca", "ca.pem"), file("cert", &format!("{name}.pem")), file("key", &format!("{name}.key"))];
        let server = Server::start_with(flavor, Options { extra_args, ..Options::default() }).await.unwrap();
        for (account, demand) in [(ENCRYPTED, "SSL"), (CERTIFIED, "X509")] {
            let Account { user, password } = account;
            let make = format!("CREATE USER {user}@'%' IDENTIFIED BY '{password}' REQUIRE {demand}");
            server.execute(&format!("{make}; GRANT ALL ON *.* TO {user}@'%'")).await.unwrap();
        }
        server
    }
}

/// A verified connection; `of`: as whom we present ourselves.
fn verified(trusted: &Authority, of: Option<&Authority>) -> BackendTls {
    BackendTls {
        mode: TlsMode::Verified,
        ca_file: Some(trusted.file("ca.pem")),
        cert_file: of.map(|authority| authority.file("orchestrator.pem")),
        key_file: of.map(|authority| authority.file("orchestrator.key")),
    }
}

/// Connects and works; answers how the pool's own connection is encrypted.
async fn cipher(server: &Server, account: Account, tls: BackendTls) -> Result<String, Error> {
    let options = BackendOptions {
        addresses: vec![(server.host().to_owned(), server.port())],
        user: account.user.to_owned(),
        password: account.password.to_owned(),
        database: "backend".to_owned(),
        tls,
        connect_timeout: Duration::from_secs(20),
        ..BackendOptions::default()
    };
    let backend = Backend::connect(options).await?;
    store::schema::migrate(backend.pool()).await?;
    let row = sqlx::query("SHOW SESSION STATUS LIKE 'Ssl_cipher'").fetch_one(backend.pool()).await.unwrap();
    Ok(sqlx::Row::get_unchecked(&row, 1))
}

async fn connects(server: &Server, account: Account, tls: BackendTls) {
    let cipher = cipher(server, account, tls).await.map_err(|error| error.chain()).unwrap();
    assert!(!cipher.is_empty(), "it is encrypted");
}

async fn refused(server: &Server, account: Account, tls: BackendTls, texts: &[&str]) {
    let error = cipher(server, account, tls).await.expect_err("is refused");
    assert!(matches!(error, Error::Tls { .. }) && !error.is_retryable(), "{error:?}");
    for text in texts {
        assert!(error.chain().contains(text), "{text:?} is not in {:?}", error.chain());
    }
}

#[tokio::test]
async fn the_backend_is_trusted_by_its_authority_and_its_name() {
    for flavor in Flavor::ALL {
        println!("on {flavor}");
        let (ours, other) = (Authority::new("ours"), Authority::new("other"));
        let server = ours.server(flavor, "127.0.0.1").await;
        connects(&server, ENCRYPTED, verified(&ours, None)).await;

        let address = format!("{}:{}", server.host(), server.port());
        let key = "MySQLOrchestratorSSLCAFile";
        refused(&server, ENCRYPTED, verified(&other, None), &[&address, "UnknownIssuer", key]).await;
        // The authorities of the system have not signed it either.
        let system = BackendTls { ca_file: None, ..verified(&ours, None) };
        refused(&server, ENCRYPTED, system, &["UnknownIssuer", key]).await;
        let missing = BackendTls { ca_file: Some(ours.file("no-such-file.pem")), ..verified(&ours, None) };
        refused(&server, ENCRYPTED, missing, &["cannot be read"]).await;

        // Nobody asks who it is: with TLS demanded, and with TLS because it is offered.
        for mode in [TlsMode::Required, TlsMode::Preferred] {
            connects(&server, ENCRYPTED, BackendTls { mode, ..BackendTls::default() }).await;
        }
        let off = BackendTls { mode: TlsMode::Off, ..BackendTls::default() };
        let error = cipher(&server, ENCRYPTED, off).await.expect_err("the account demands TLS");
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_backend_with_a_certificate_for_another_name_is_refused() {
    for flavor in Flavor::ALL {
        println!("on {flavor}");
        let ours = Authority::new("ours");
        let server = ours.server(flavor, "db.example.com").await;
        let texts = ["not valid for name", "127.0.0.1", "subject alternative name", "MySQLOrchestratorSSLSkipVerify"];
        refused(&server, ENCRYPTED, verified(&ours, None), &texts).await;
        connects(&server, ENCRYPTED, BackendTls { mode: TlsMode::Required, ..BackendTls::default() }).await;
        // What the driver calls "verify the authority" is no middle way. If this fails, `TlsMode` may get one.
        let driver = server.connect_options(ENCRYPTED).ssl_mode(MySqlSslMode::VerifyCa).ssl_ca(ours.file("ca.pem"));
        let error = driver.connect().await.expect_err("the driver verifies the name, too").to_string();
        assert!(error.contains("not valid for name"), "{error}");
    }
}

#[tokio::test]
async fn a_backend_that_demands_our_certificate_gets_it() {
    for flavor in Flavor::ALL {
        println!("on {flavor}");
        let (ours, other) = (Authority::new("ours"), Authority::new("other"));
        let server = ours.server(flavor, "127.0.0.1").await;
        ours.sign("orchestrator");
        other.sign("orchestrator");
        connects(&server, CERTIFIED, verified(&ours, Some(&ours))).await;

        let error = cipher(&server, CERTIFIED, verified(&ours, None)).await.expect_err("no certificate");
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
        // Skipping the verification sends none.
        let waived = BackendTls { mode: TlsMode::Required, ..BackendTls::default() };
        let error = cipher(&server, CERTIFIED, waived).await.expect_err("no certificate");
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
        let error = cipher(&server, CERTIFIED, verified(&ours, Some(&other))).await.expect_err("a stranger's");
        println!("a certificate of another authority: {}", error.chain());
        let half = BackendTls { key_file: None, ..verified(&ours, Some(&ours)) };
        refused(&server, CERTIFIED, half, &["unusable", "together"]).await;
    }
}

#[tokio::test]
async fn a_backend_without_tls_is_used_only_when_nothing_was_promised() {
    for flavor in Flavor::ALL {
        println!("on {flavor}");
        let server = Server::start_with(flavor, Options { tls: false, ..Options::default() }).await.unwrap();
        let ours = Authority::new("ours");
        refused(&server, harness::ROOT, verified(&ours, None), &["does not support TLS"]).await;
        let required = BackendTls { mode: TlsMode::Required, ..BackendTls::default() };
        refused(&server, harness::ROOT, required, &["does not support TLS"]).await;
        let plain = cipher(&server, harness::ROOT, BackendTls::default()).await.map_err(|error| error.chain());
        assert_eq!(plain.as_deref(), Ok(""));
    }
}
