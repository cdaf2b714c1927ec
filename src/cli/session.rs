//! What a command is given: flags, settings, who runs it, and for most commands the backend.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use config::{Loaded, Loader, Settings};
use domain::instance::InstanceKey;
use jobs::SharedSettings;
use service::actions::clusters::Choice;
use service::actions::{self, Scope, names};
use store::{Backend, BackendOptions, BackendTls, TlsMode};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::arguments::{Flags, parse_duration};
use crate::exit;

/// How long maintenance and downtime last unless told otherwise.
const DEFAULT_SPAN: Duration = Duration::from_secs(600);
/// A command runs one statement after the other: it needs one connection, and one for surprises.
const CONNECTIONS: u32 = 2;
/// One that carries out an operation by itself writes down the steps of several branches at once.
const LOCAL_CONNECTIONS: u32 = 12;
/// Lines of progress that wait for a slow reader; those beyond are lost, as no operation waits for one.
const TALK: usize = 1_024;

/// Who runs this process.
#[derive(Debug, Clone)]
pub(crate) struct Me {
    /// Name of the OS user.
    pub(crate) user: String,
    /// Name of this host.
    pub(crate) hostname: String,
}

/// What every command has.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) flags: Flags,
    /// Words after the command.
    pub(crate) words: Vec<String>,
    pub(crate) loader: Arc<Loader>,
    pub(crate) loaded: Loaded,
    pub(crate) me: Me,
    /// What interrupts this run.
    pub(crate) interrupt: Interrupt,
}

/// What interrupts a command.
#[derive(Debug, Clone)]
pub(crate) enum Interrupt {
    /// SIGINT and SIGTERM of this process.
    Signals,
    /// Whoever has the other half (tests).
    #[cfg(test)]
    By(std::sync::Arc<tokio::sync::Notify>),
}

impl Interrupt {
    /// Waits for an interruption; the exit status it stands for. From the first call on signals do not end the process by
    /// themselves: only commands that can say something useful then may call it.
    pub(crate) async fn wait(&self) -> u8 {
        match self {
            Self::Signals => {
                let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
                let (Ok(mut interrupt), Ok(mut terminate)) = signals else { return std::future::pending().await };
                tokio::select! {
                    _ = interrupt.recv() => exit::INTERRUPTED,
                    _ = terminate.recv() => exit::TERMINATED,
                }
            }
            #[cfg(test)]
            Self::By(notify) => {
                notify.notified().await;
                exit::INTERRUPTED
            }
        }
    }
}

/// A command was interrupted, and says what becomes of its work.
#[derive(Debug)]
pub(crate) struct Interrupted {
    /// Exit status.
    pub(crate) code: u8,
    pub(crate) text: String,
}

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Interrupted {}

/// Something said while a command works.
#[derive(Debug)]
pub(crate) enum Said {
    /// How it goes; not with `--quiet`.
    Progress(String),
    /// What went wrong without ending the command.
    Complaint(String),
}

/// Where a command says it.
#[derive(Debug)]
pub(crate) struct Talk {
    to: Option<mpsc::Sender<Said>>,
    quiet: bool,
}

impl Talk {
    pub(crate) fn new(quiet: bool) -> (Self, mpsc::Receiver<Said>) {
        let (to, said) = mpsc::channel(TALK);
        (Self { to: Some(to), quiet }, said)
    }

    pub(crate) const fn nowhere() -> Self {
        Self { to: None, quiet: true }
    }

    fn send(&self, said: Said) {
        if let Some(to) = &self.to {
            let _ = to.try_send(said);
        }
    }
}

/// What a command about the fleet has besides.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub(crate) base: &'a Base,
    pub(crate) scope: Scope,
    /// The instance of `-i` that this run is about; the undivided text for commands that take a list.
    pub(crate) given: Option<String>,
    talk: Talk,
}

impl Base {
    pub(crate) fn settings(&self) -> &Settings {
        &self.loaded.settings
    }

    /// Who is recorded as having done it.
    pub(crate) fn owner(&self) -> String {
        self.flags.get("owner").filter(|owner| !owner.is_empty()).map_or_else(|| self.me.user.clone(), str::to_owned)
    }

    /// The reason, which some commands insist on.
    pub(crate) fn reason(&self) -> anyhow::Result<&str> {
        self.required("reason")
    }

    /// `--duration`, ten minutes without one.
    pub(crate) fn duration(&self) -> anyhow::Result<Duration> {
        match self.flags.get("duration").filter(|text| !text.is_empty()) {
            Some(text) => parse_duration(text).map_err(anyhow::Error::msg),
            None => Ok(DEFAULT_SPAN),
        }
    }

    /// The value of a flag that a command cannot do without.
    pub(crate) fn required(&self, flag: &'static str) -> anyhow::Result<&str> {
        match self.flags.text(flag) {
            "" => bail!("--{flag} is required"),
            value => Ok(value),
        }
    }

    /// Where the backend is, for a process that opens at most `connections`.
    pub(crate) fn backend_options(&self, connections: u32) -> BackendOptions {
        backend_options(self.settings(), connections)
    }

    /// Settings without which no backend can be reached.
    pub(crate) fn refuse_incomplete(&self) -> anyhow::Result<()> {
        let problems: Vec<String> = self.settings().check_backend().iter().map(ToString::to_string).collect();
        if problems.is_empty() { Ok(()) } else { bail!("configuration: {}", problems.join("; ")) }
    }

    /// The backend for one command, with the schema this program needs.
    pub(crate) async fn connect(&self) -> anyhow::Result<Backend> {
        self.refuse_incomplete()?;
        let connections = if self.flags.is_on("local") { LOCAL_CONNECTIONS } else { CONNECTIONS };
        let backend = Backend::connect(self.backend_options(connections)).await?;
        if self.flags.is_on("enable-database-update") {
            store::schema::migrate(backend.pool()).await?;
        } else {
            refuse_other_schema(&backend).await?;
        }
        Ok(backend)
    }
}

/// A command on a schema of another release would fail half-way, or worse, not fail.
async fn refuse_other_schema(backend: &Backend) -> anyhow::Result<()> {
    match store::schema::check(backend.pool()).await? {
        store::schema::SchemaState::Current => Ok(()),
        other => bail!("{other}"),
    }
}

impl<'a> Session<'a> {
    pub(crate) fn new(base: &'a Base, backend: &Backend, given: Option<String>, talk: Talk) -> Self {
        let config = SharedSettings::new(base.settings().clone()).get();
        let actor = format!("{}@{}", base.owner(), base.me.hostname);
        let scope = Scope::new(backend.pool().clone(), config, actor);
        Self { base, scope, given, talk }
    }

    /// Says how it goes.
    pub(crate) fn say(&self, text: String) {
        if !self.talk.quiet {
            self.talk.send(Said::Progress(text));
        }
    }

    /// Says what went wrong without ending the command.
    pub(crate) fn complain(&self, text: String) {
        self.talk.send(Said::Complaint(text));
    }

    pub(crate) fn flags(&self) -> &Flags {
        &self.base.flags
    }

    /// The key typed with `-i`, or this host's; neither resolved nor completed. A mistyped one is an error: the original
    /// silently took this host for it.
    pub(crate) fn typed(&self) -> anyhow::Result<InstanceKey> {
        match &self.given {
            Some(text) if text.is_empty() => bail!("-i is empty; leave it out to mean this host"),
            Some(text) => names::parse(&self.scope, text).context("-i"),
            None => Ok(self.here()),
        }
    }

    /// What was typed with `-i`; `None` also when that is empty.
    pub(crate) fn named(&self) -> Option<&str> {
        self.given.as_deref().filter(|text| !text.is_empty())
    }

    /// This host, on the default port.
    pub(crate) fn here(&self) -> InstanceKey {
        InstanceKey::new(self.base.me.hostname.clone(), self.base.settings().topology.default_instance_port)
    }

    /// The instance meant by `-i`: resolved and completed. This host without `-i`.
    pub(crate) async fn instance(&self) -> anyhow::Result<InstanceKey> {
        Ok(names::understand(&self.scope, self.typed()?).await?)
    }

    /// The instance meant by `-i`, completed but not resolved.
    pub(crate) async fn raw_instance(&self) -> anyhow::Result<InstanceKey> {
        Ok(names::complete(&self.scope, self.typed()?).await?)
    }

    /// The instance meant by `-d`.
    pub(crate) async fn destination(&self) -> anyhow::Result<InstanceKey> {
        let text = [self.flags().text("d"), self.flags().text("s")].into_iter().find(|text| !text.is_empty());
        let Some(text) = text else { bail!("-d is required: the destination instance") };
        let key = names::parse(&self.scope, text).context("-d")?;
        Ok(names::understand(&self.scope, key).await?)
    }

    /// The cluster meant by `--alias`, else that of `-i`, else that of this host. Not finding one is an error; the
    /// original went on with an empty name.
    pub(crate) async fn cluster(&self) -> anyhow::Result<String> {
        let fallback = self.here().to_string();
        let choice =
            Choice { alias: self.flags().text("alias"), instance: self.named().unwrap_or(""), fallback: &fallback };
        let found = actions::clusters::choose(&self.scope, choice).await;
        let nothing_given = choice.alias.is_empty() && choice.instance.is_empty();
        found.map_err(|error| match error {
            actions::Error::NotFound(_) if nothing_given => anyhow::Error::from(error)
                .context("no cluster given with --alias or -i, and this host is in none that is known"),
            other => other.into(),
        })
    }

    /// The same, but `None`, meaning all clusters, when neither `--alias` nor `-i` was given.
    pub(crate) async fn cluster_or_all(&self) -> anyhow::Result<Option<String>> {
        if self.flags().text("alias").is_empty() && self.named().is_none() {
            return Ok(None);
        }
        self.cluster().await.map(Some)
    }
}

fn backend_options(settings: &Settings, connections: u32) -> BackendOptions {
    let backend = &settings.backend;
    BackendOptions {
        addresses: backend.addresses(),
        user: backend.user.clone(),
        password: backend.password.expose().to_owned(),
        database: backend.database.clone(),
        tls: backend_tls(backend),
        max_connections: connections,
        connect_timeout: Duration::from_secs(backend.connect_timeout_seconds.max(1)),
        read_timeout: Duration::from_secs(backend.read_timeout_seconds.max(1)),
        reject_read_only: backend.reject_read_only,
        max_lifetime: (backend.connection_lifetime_seconds > 0)
            .then(|| Duration::from_secs(backend.connection_lifetime_seconds)),
    }
}

/// Without `MySQLOrchestratorUseMutualTLS` TLS is used where the server offers it, and nothing is promised: no file of the
/// settings is read. With it, the server must prove who it is unless that is waived, and only then learns who we are.
fn backend_tls(backend: &config::Backend) -> BackendTls {
    let file = |path: &str| (!path.is_empty()).then(|| PathBuf::from(path));
    match (backend.use_mutual_tls, backend.ssl_skip_verify) {
        (false, _) => BackendTls { mode: TlsMode::Preferred, ..BackendTls::default() },
        (true, true) => BackendTls { mode: TlsMode::Required, ..BackendTls::default() },
        (true, false) => BackendTls {
            mode: TlsMode::Verified,
            ca_file: file(&backend.ssl_ca_file),
            cert_file: file(&backend.ssl_cert_file),
            key_file: file(&backend.ssl_private_key_file),
        },
    }
}

/// Settings that a running process shares and reloads.
pub(crate) fn shared(settings: &Arc<Settings>) -> SharedSettings {
    SharedSettings::new(Settings::clone(settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_used_only_where_the_backend_proves_who_it_is() {
        let files = r#""MySQLOrchestratorSSLCAFile": "/ca", "MySQLOrchestratorSSLCertFile": "/cert",
                       "MySQLOrchestratorSSLPrivateKeyFile": "/key""#;
        let tls = |more: &str| {
            let settings = Settings::from_json(&format!("{{ {files} {more} }}")).expect("settings").settings;
            let tls = backend_options(&settings, 1).tls;
            let shown = |file: Option<PathBuf>| file.map(|path| path.display().to_string()).unwrap_or_default();
            (tls.mode, [shown(tls.ca_file), shown(tls.cert_file), shown(tls.key_file)].join(" "))
        };
        let mutual = r#", "MySQLOrchestratorUseMutualTLS": true"#;
        let skip = r#", "MySQLOrchestratorSSLSkipVerify": true"#;
        assert_eq!(tls(""), (TlsMode::Preferred, "  ".to_owned()));
        assert_eq!(tls(skip), (TlsMode::Preferred, "  ".to_owned()));
        assert_eq!(tls(mutual), (TlsMode::Verified, "/ca /cert /key".to_owned()));
        assert_eq!(tls(&format!("{mutual}{skip}")), (TlsMode::Required, "  ".to_owned()));
    }
}
