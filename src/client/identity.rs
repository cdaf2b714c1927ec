//! Who runs this process: the default owner of downtimes and the like.

/// Name of the effective user. Where its number has no name, as in some containers, the environment has to do.
pub(crate) fn user() -> String {
    let named = whoami::fallible::username().ok().filter(|name| !name.is_empty());
    named
        .or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| format!("uid-{}", rustix::process::geteuid().as_raw()))
}
