//! Makes sure that no server outlives the process that started it, not even after `kill -9` of a test.
//!
//! A shell waits for the end of its standard input. The only other end of that pipe is in our process, so the kernel
//! closes it whatever ends us. Then the shell kills the server named in the pid file, after checking that the pid still
//! is that server, and removes the directory.

use anyhow::{Context, Result};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SCRIPT: &str = r#"
trap '' INT HUP TERM
while read -r _; do :; done
pid=$(cat "$1/pid" 2>/dev/null)
if [ -n "$pid" ] && tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF -- "--datadir=$1/data"; then
    kill -KILL "$pid"
    while kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.*Z' "/proc/$pid/status" 2>/dev/null; do sleep 0.02; done
fi
rm -rf "$1"
"#;

/// Guards one server directory. Dropping it ends the server and removes the directory, and waits until that is done.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    pub(crate) fn start(dir: &Path) -> Result<Watchdog> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "harness-watchdog"])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in the terminal must reach the test only: the watchdog has to live longer.
            .process_group(0)
            .spawn()
            .context("cannot start the watchdog shell")?;
        Ok(Watchdog { shell })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // An error means that it is gone already; nothing to do about it here.
        let _ = self.shell.wait();
    }
}
