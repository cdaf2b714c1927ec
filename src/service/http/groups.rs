//! Groups of the operating system that a user belongs to, from `/etc/group` and `/etc/passwd`.

/// Does `user` belong to one of `wanted`? Read anew each time: people are added without restarts.
pub(super) async fn is_member(user: &str, wanted: &[String]) -> bool {
    if user.is_empty() || wanted.is_empty() {
        return false;
    }
    let (groups, users) = (read("/etc/group").await, read("/etc/passwd").await);
    belongs(user, wanted, &groups, &users)
}

async fn read(file: &str) -> String {
    match tokio::fs::read(file).await {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            tracing::warn!(file, error = %error, "cannot read a file of groups: PowerAuthGroups lets nobody in");
            String::new()
        }
    }
}

/// Named as a member, or the user's own group.
fn belongs(user: &str, wanted: &[String], groups: &str, users: &str) -> bool {
    let field = |line: &str, index: usize| line.split(':').nth(index).unwrap_or_default().to_owned();
    let own_gid = users.lines().find(|line| field(line, 0) == user).map(|line| field(line, 3));
    groups.lines().filter(|line| wanted.contains(&field(line, 0))).any(|line| {
        let gid = field(line, 2);
        field(line, 3).split(',').any(|member| member == user)
            || (!gid.is_empty() && own_gid.as_deref() == Some(gid.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_by_name_and_by_own_group() {
        let groups = "root:x:0:\ndba:x:1001:ann,bob\nops:x:1002:\n";
        let users = "root:x:0:0:root:/root:/bin/sh\ncarl:x:7:1002::/home/carl:/bin/sh\n";
        let belongs = |user: &str, group: &str| belongs(user, &[group.to_owned()], groups, users);
        assert!(belongs("ann", "dba"));
        assert!(belongs("bob", "dba"));
        assert!(belongs("carl", "ops"));
        assert!(!belongs("carl", "dba"));
        assert!(!belongs("an", "dba"));
        assert!(!belongs("ann", "none"));
        assert!(!belongs("stranger", "ops"));
    }
}
