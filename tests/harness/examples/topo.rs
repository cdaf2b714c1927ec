//! Starts a topology and prints how to reach it: `cargo run -p harness --example topo [mysql|mariadb] [TEXT]`.
//! It ends with this process: press Ctrl-C.

use harness::{Flavor, TOPOLOGY, Topology};
use std::io::Write;

const DEFAULT: &str = "
a
  b
    c
  d delay=3600
";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let flavor: Flavor = arguments.next().as_deref().unwrap_or("mysql").parse()?;
    let text = arguments.next().unwrap_or_else(|| DEFAULT.to_owned());
    let topology = Topology::start(flavor, &text).await?;
    let mut out = std::io::stdout();
    for (name, server) in &topology.servers {
        let pid = server.pid().unwrap_or_default();
        writeln!(out, "{name}\t{}\t{}\tpid {pid}\t{}", server.address(), server.version(), server.dir().display())?;
    }
    writeln!(out, "log in as {} with password {}; Ctrl-C ends them all", TOPOLOGY.user, TOPOLOGY.password)?;
    tokio::signal::ctrl_c().await?;
    Ok(())
}
