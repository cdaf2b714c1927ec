//! Where the harness keeps its files: one directory per user below the temporary directory.
//! `templates/` outlives test runs (it is a cache), `servers/` and `ports/` belong to living processes.

use anyhow::{Context, Result};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Creates and returns a directory of the harness. `ORCHESTRATOR_HARNESS_DIR` moves it, say to a memory disk.
pub(crate) fn directory(name: &str) -> Result<PathBuf> {
    let base = match std::env::var_os("ORCHESTRATOR_HARNESS_DIR") {
        Some(base) => PathBuf::from(base),
        None => std::env::temp_dir().join(format!("orchestrator-harness-{}", user_id()?)),
    };
    let dir = base.join(name);
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// A name no other server of any living process has.
pub(crate) fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The user we run as; the owner of our own process directory.
pub(crate) fn user_id() -> Result<u32> {
    Ok(std::fs::metadata("/proc/self").context("cannot read /proc/self")?.uid())
}
