//! Who runs this process: the default owner of downtimes and the like.

use std::path::Path;

/// Name of the effective user, as `whoami` prints it.
pub(crate) fn user() -> String {
    let uid = rustix::process::geteuid().as_raw();
    user_of(uid, Path::new("/etc/passwd"))
        .or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| format!("uid-{uid}"))
}

/// Users of directory services are not in the file; for them the environment has to do.
fn user_of(uid: u32, passwd: &Path) -> Option<String> {
    let text = std::fs::read_to_string(passwd).ok()?;
    let uid = uid.to_string();
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid && !name.is_empty()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), "root:x:0:0:root:/root:/bin/sh\nbad line\norc:x:1000:1000::/:/bin/sh\n")
            .expect("write");
        assert_eq!(user_of(1000, file.path()).as_deref(), Some("orc"));
        assert_eq!(user_of(1, file.path()), None);
        assert_eq!(user_of(1, Path::new("/nonexistent")), None);
    }
}
