//! Who runs this process, and where.

use crate::session::Me;

/// Effective user and host of this process. Where the user's number has no name, as in some containers, the environment
/// has to do.
pub(crate) fn of_this_process() -> Me {
    let named = whoami::fallible::username().ok().filter(|name| !name.is_empty());
    let user = named
        .or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| format!("uid-{}", rustix::process::geteuid().as_raw()));
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Me { user, hostname: if hostname.is_empty() { "localhost".to_owned() } else { hostname } }
}
