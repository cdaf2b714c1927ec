//! Where the harness keeps its files: one directory per user below the temporary directory.
//! `templates/` outlives test runs (it is a cache), `servers/` belong to living processes; both may be elsewhere. `ports/` belongs to
//! living processes, too, and stays.

use anyhow::{Context, Result};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Creates and returns a directory of the harness. `ORCHESTRATOR_HARNESS_DIR` moves it, say to a memory disk.
pub(crate) fn directory(name: &str) -> Result<PathBuf> {
    match std::env::var_os("ORCHESTRATOR_HARNESS_DIR") {
        Some(base) => create(PathBuf::from(base).join(name)),
        None => common_directory(name),
    }
}

/// One that all processes of this user share, wherever each keeps its servers: ports are the same for all.
pub(crate) fn common_directory(name: &str) -> Result<PathBuf> {
    create(std::env::temp_dir().join(format!("orchestrator-harness-{}", user_id()?)).join(name))
}

fn create(dir: PathBuf) -> Result<PathBuf> {
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
