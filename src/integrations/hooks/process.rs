//! One script as a process group: started, listened to, ended.

use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tempfile::TempPath;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::capture::Capture;
use super::facts::VARIABLES;
use super::{HookEnd, HookSettings};

/// Begins the name of every script: people look for it in lists of processes.
const PREFIX: &str = "orchestrator-process-cmd-";
/// Owner and group: an alias or a description is not for everybody's eyes.
const MODE: u32 = 0o640;
/// From SIGTERM to SIGKILL: enough to remove a lock file, and short beside the timeout that has passed already.
const KILL_AFTER: Duration = Duration::from_secs(2);
/// From SIGKILL to the end. Only a process stuck in the kernel takes longer; nothing can be done about it.
const END_LIMIT: Duration = Duration::from_secs(5);
/// The last output is there when the process has ended; something in the background may hold its pipe open for ever.
const LAST_WORDS: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_millis(10);
const CHUNK: usize = 16 * 1024;

/// What is to be run.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) text: String,
    pub(super) arguments: Vec<String>,
    pub(super) variables: Vec<(&'static str, String)>,
    pub(super) detached: bool,
}

pub(super) async fn run(command: &str, script: Script, settings: &HookSettings) -> (HookEnd, String) {
    let not_started =
        |what: &str, error: io::Error| (HookEnd::NotStarted { reason: format!("{what}: {error}") }, String::new());
    let Script { text, arguments, variables, detached } = script;
    let file = match write(text).await {
        Ok(file) => file,
        Err(error) => return not_started("cannot write its script to a temporary file", error),
    };
    let mut process = Command::new(&settings.shell);
    process.arg(&file).args(arguments).stdin(Stdio::null()).process_group(0);
    for name in VARIABLES {
        process.env_remove(name);
    }
    for name in secret_variables(&settings.secrets) {
        process.env_remove(name);
    }
    process.envs(variables);
    let outcome = if detached {
        detach(process, file, settings.without_secrets(command))
    } else {
        attend(process, settings).await
    };
    outcome.unwrap_or_else(|error| not_started(&format!("cannot run {:?}", settings.shell), error))
}

/// Variables of ours that hold one of these values: configurations read passwords through `${NAME}`, and a hook has no
/// business with them.
fn secret_variables(secrets: &[String]) -> Vec<OsString> {
    let is_secret = |value: &OsStr| secrets.iter().any(|secret| !secret.is_empty() && value == OsStr::new(secret));
    std::env::vars_os().filter(|(_, value)| is_secret(value)).map(|(name, _)| name).collect()
}

async fn write(text: String) -> io::Result<TempPath> {
    let write = move || {
        let mut file = tempfile::Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(MODE)).tempfile()?;
        file.write_all(text.as_bytes())?;
        Ok(file.into_temp_path())
    };
    tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
}

/// Nobody owns what this starts, and nothing limits it: that is what the `&` asks for. It goes on when this process ends. Its
/// output goes where our own messages go: a pipe would end with us, and the next word that the hook says would end it.
fn detach(mut process: Command, file: TempPath, command: String) -> io::Result<(HookEnd, String)> {
    process.stdout(our_stderr()?).stderr(our_stderr()?);
    let mut child = process.spawn()?;
    tokio::spawn(async move {
        // Somebody has to wait for it, or it stays behind as a zombie; and its script has to be there until then.
        let end = child.wait().await;
        drop(file);
        match end {
            Ok(status) if status.success() => tracing::info!(hook.command = command, "detached hook has ended"),
            Ok(status) => tracing::warn!(hook.command = command, %status, "detached hook has failed"),
            Err(error) => tracing::warn!(hook.command = command, %error, "cannot tell how a detached hook has ended"),
        }
    });
    Ok((HookEnd::Detached, String::new()))
}

fn our_stderr() -> io::Result<Stdio> {
    Ok(Stdio::from(io::stderr().as_fd().try_clone_to_owned()?))
}

/// Starts it and stays with it until it has ended or is killed.
async fn attend(mut process: Command, settings: &HookSettings) -> io::Result<(HookEnd, String)> {
    let (reader, writer) = io::pipe()?;
    process.stdout(writer.try_clone()?).stderr(writer);
    let mut group = Group::start(process)?;
    let mut listener = Listener {
        pipe: Some(Receiver::from_owned_fd(OwnedFd::from(reader))?),
        capture: Capture::new(settings.longest_output, &settings.secrets),
    };
    let end = match timeout(settings.timeout, listener.listen_until(group.child.wait())).await {
        Ok(Ok(status)) => ended(status),
        Ok(Err(error)) => return Err(error),
        Err(_) => {
            group.end(&mut listener).await;
            HookEnd::TimedOut
        }
    };
    Ok((end, listener.finish().await))
}

fn ended(status: ExitStatus) -> HookEnd {
    if status.success() { HookEnd::Succeeded } else { HookEnd::Failed { code: status.code() } }
}

/// The process and all it starts. Dropping it kills them, unless the process has ended before.
struct Group {
    child: Child,
    leader: Pid,
}

impl Group {
    /// Takes the command: it holds the writing end of the pipe, which would never end.
    fn start(mut process: Command) -> io::Result<Self> {
        let child = process.spawn()?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { leader: leader.ok_or_else(|| io::Error::other("a process without an id"))?, child })
    }

    /// Asks all of them to end, then makes them.
    async fn end(&mut self, listener: &mut Listener) {
        self.signal(Signal::TERM);
        // All have ended when the first one has and nobody holds the pipe. It is not reaped before the last signal: as long
        // as it is there, nobody else gets its number.
        let all_ended = async {
            listener.listen().await;
            while !self.leader_has_ended() {
                sleep(LOOK_EVERY).await;
            }
        };
        // Not in time: then SIGKILL, which is due in any case.
        let _ = timeout(KILL_AFTER, all_ended).await;
        self.signal(Signal::KILL);
        if timeout(END_LIMIT, self.child.wait()).await.is_err() {
            tracing::warn!(process.id = self.leader.as_raw_nonzero().get(), "a hook does not end, even killed");
        }
    }

    fn leader_has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        // An error would mean that it is gone.
        !matches!(waitid(WaitId::Pid(self.leader), options), Ok(None))
    }

    /// Only while it is not reaped. It fails if all of them have ended, which is what is wanted.
    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.leader, signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.child.id().is_some() {
            self.signal(Signal::KILL);
        }
    }
}

/// The reading end of what it prints.
struct Listener {
    /// None: nobody holds the other end any more.
    pipe: Option<Receiver>,
    capture: Capture,
}

impl Listener {
    /// Listens until something else has happened.
    async fn listen_until<T>(&mut self, other: impl Future<Output = T>) -> T {
        tokio::pin!(other);
        tokio::select! {
            happened = &mut other => return happened,
            () = self.listen() => {}
        }
        other.await
    }

    /// Listens until there is nobody left to say anything.
    async fn listen(&mut self) {
        let mut buffer = vec![0; CHUNK];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut buffer).await {
                Ok(0) | Err(_) => self.pipe = None,
                Ok(read) => self.capture.push(buffer.get(..read).unwrap_or_default()),
            }
        }
    }

    async fn finish(mut self) -> String {
        // Whatever it has left in the background may go on; only nobody listens to it.
        let _ = timeout(LAST_WORDS, self.listen()).await;
        if let Some(pipe) = self.pipe.take() {
            tokio::spawn(discard(pipe));
        }
        self.capture.finish()
    }
}

/// A pipe that nobody reads ends who writes to it.
async fn discard(mut pipe: Receiver) {
    let mut buffer = vec![0; CHUNK];
    while pipe.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}
