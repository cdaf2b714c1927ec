//! A network of its own for some processes: they reach everything on the loopback of the host, over one wire on which packets to
//! a port can be lost. A proxy can be silent; only a network loses what is sent on connections that are there.
//!
//! ```text
//!  test, servers, service ── 127.0.0.1 ── host end  10.77.0.1 ══ wire ══ 10.77.0.2  inner end ── 127.0.0.1 ── workers
//! ```
//! Both ends translate addresses, so that everybody knows the servers by the same names.
//!
//! It changes addresses and packet filters: only within a namespace that is ours ([`run_inside`]), never on the host itself. Needs
//! the packages `iproute2` and `iptables`, and that users may make namespaces (or root).

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

const HOST_END: &str = "10.77.0.1";
const INNER_END: &str = "10.77.0.2";
/// Set for a test that runs within a namespace of ours.
const INSIDE: &str = "ORCHESTRATOR_INSIDE_NAMESPACE";
const REMEDY: &str = "run: sudo apt-get install iproute2 iptables; and let users make namespaces \
                      (sysctl kernel.unprivileged_userns_clone=1), or be root";

/// Runs the ignored test of this executable in a user and network namespace of its own, with these variables; tells what it
/// printed. An error if it fails.
pub async fn run_inside(test: &str, variables: &[(&str, &str)]) -> Result<String> {
    let output = tokio::process::Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--user", "--map-root-user", "--net", "--fork", "--kill-child"])
        .arg(std::env::current_exe()?)
        .args([test, "--exact", "--ignored", "--nocapture"])
        .envs(variables.iter().copied())
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run unshare; {REMEDY}"))?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success() && said.contains("1 passed"), "inside the namespace ({REMEDY}):\n{said}");
    Ok(said)
}

/// The network of some processes. It ends with this value.
#[derive(Debug)]
pub struct Namespace {
    /// Does nothing but be in it.
    holder: Child,
    pid: String,
}

impl Namespace {
    /// Makes one, and the wire. An error outside of a namespace of ours.
    pub fn start() -> Result<Self> {
        ensure!(std::env::var_os(INSIDE).is_some(), "only within a namespace of ours: see run_inside");
        // `exec`: the process that is in the namespace is the one we know.
        let mut holder = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", "echo; exec sleep infinity"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut ready = [0];
        std::io::Read::read_exact(holder.stdout.as_mut().context("no output")?, &mut ready)?;
        let pid = holder.id().to_string();
        let namespace = Self { holder, pid };
        namespace.wire()?;
        Ok(namespace)
    }

    /// The command in front of a command that is to run in it.
    pub fn wrapper(&self) -> [&str; 4] {
        ["nsenter", "--target", &self.pid, "--net"]
    }

    /// From now on what is sent to this port is lost on the wire, and what comes from there, or no more.
    pub fn lose(&self, port: u16, lost: bool) -> Result<()> {
        let (change, port) = (if lost { "-I" } else { "-D" }, port.to_string());
        for (chain, end) in [("OUTPUT", "--dport"), ("INPUT", "--sport")] {
            self.inside(&["iptables", "-w", change, chain, "-p", "tcp", end, &port, "-j", "DROP"])?;
        }
        Ok(())
    }

    fn wire(&self) -> Result<()> {
        outside(&["ip", "link", "set", "lo", "up"])?;
        outside(&["ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", &self.pid])?;
        outside(&["ip", "address", "add", &format!("{HOST_END}/24"), "dev", "wire"])?;
        outside(&["ip", "link", "set", "wire", "up"])?;
        self.inside(&["ip", "link", "set", "lo", "up"])?;
        self.inside(&["ip", "address", "add", &format!("{INNER_END}/24"), "dev", "wire"])?;
        self.inside(&["ip", "link", "set", "wire", "up"])?;
        // Packets from and to the loopback network may use the wire, and everything to 127.0.0.1 does, under other addresses.
        const LOOPBACK: &str = "echo 1 >/proc/sys/net/ipv4/conf/wire/route_localnet";
        outside(&["sh", "-c", LOOPBACK])?;
        self.inside(&["sh", "-c", LOOPBACK])?;
        let translate = ["iptables", "-w", "-t", "nat", "-A"];
        let to_host = ["OUTPUT", "-p", "tcp", "-d", "127.0.0.1", "-j", "DNAT", "--to-destination", HOST_END];
        let from_inner = ["POSTROUTING", "-o", "wire", "-j", "SNAT", "--to-source", INNER_END];
        let arrives = ["PREROUTING", "-i", "wire", "-p", "tcp", "-j", "DNAT", "--to-destination", "127.0.0.1"];
        self.inside(&[&translate[..], &to_host].concat())?;
        self.inside(&[&translate[..], &from_inner].concat())?;
        outside(&[&translate[..], &arrives].concat())
    }

    fn inside(&self, command: &[&str]) -> Result<()> {
        outside(&[&self.wrapper()[..], command].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}

fn outside(command: &[&str]) -> Result<()> {
    let shown = command.join(" ");
    // Users other than root may not have these directories in their path.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(command[0])
        .args(&command[1..])
        .env("PATH", path)
        .output()
        .with_context(|| format!("{shown}; {REMEDY}"))?;
    ensure!(output.status.success(), "{shown}: {}; {REMEDY}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
