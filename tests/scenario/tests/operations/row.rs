//! One operation and what is expected of it.

use anyhow::{Context, Result, ensure};
use scenario::Playground;

/// One operation and what is expected of it.
pub(crate) struct Row {
    /// The command; `@name` is an address.
    command: &'static str,
    /// Who replicates from whom afterwards.
    links: &'static str,
    /// What it prints, with names for addresses.
    stdout: &'static str,
    /// What else is so afterwards, when no link tells: server, expression, value.
    value: Option<(&'static str, &'static str, &'static str)>,
}

impl Row {
    pub(crate) const fn with(self, server: &'static str, expression: &'static str, value: &'static str) -> Row {
        Row { value: Some((server, expression, value)), ..self }
    }
}

pub(crate) const fn row(command: &'static str, links: &'static str, stdout: &'static str) -> Row {
    Row { command, links, stdout, value: None }
}

/// Runs them one after the other; after each everything is settled and the audit has one entry more.
pub(crate) async fn run_all(playground: &mut Playground, rows: &[Row]) -> Result<()> {
    for row in rows {
        run(playground, row).await.with_context(|| format!("{} -> {}", row.command, row.links))?;
    }
    Ok(())
}

async fn run(playground: &mut Playground, row: &Row) -> Result<()> {
    let word = audit_type(row.command);
    let before = playground.audited(word, "").await?;
    let begun = std::time::Instant::now();
    let stdout = playground.ok(row.command).await?;
    let took = begun.elapsed();
    playground.settled(row.links).await?;
    // Tells where a slow run has lost its time.
    eprintln!("{:5} ms, settled after {:5} ms: {}", took.as_millis(), begun.elapsed().as_millis(), row.command);
    if let Some((server, expression, wanted)) = row.value {
        let value = playground.value(server, expression).await?;
        ensure!(value == wanted, "{expression} of {server} is {value:?}, expected {wanted:?}");
    }
    // The order is that of ports, which is not ours to choose.
    ensure!(sorted(&stdout) == sorted(row.stdout), "it printed {stdout:?}, expected {:?}", row.stdout);
    ensure!(playground.audited(word, "").await? == before + 1, "no entry {word} in the audit");
    ensure!(playground.locks().await? == 0, "a lock is left");
    Ok(())
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// The type of the audit entry is the command's own word, whatever synonym it was called by.
fn audit_type(command: &str) -> &str {
    let word = command.split(' ').next().unwrap_or_default();
    match word {
        "detach-replica" => "detach-replica-master-host",
        "reattach-replica" => "reattach-replica-master-host",
        word => word,
    }
}
