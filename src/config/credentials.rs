//! Credential files in the style of `my.cnf`: user and password from section `[client]`. Other sections and variables
//! are skipped, so that one file can serve other programs too. Messages name lines, never their content.

use crate::secret::Secret;

/// What a credential file gives; a missing variable is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: Secret,
}

/// Reads the text of a credential file.
pub fn parse_credentials(text: &str) -> Result<Credentials, String> {
    let mut credentials = Credentials::default();
    let mut in_client = false;
    let mut seen_client = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let name = header.split(']').next().unwrap_or_default().trim();
            in_client = name.eq_ignore_ascii_case("client");
            seen_client |= in_client;
            continue;
        }
        if !in_client || line.starts_with(['#', ';', '!']) {
            continue;
        }
        let (name, raw) = line.split_once('=').unwrap_or((line, ""));
        let name = name.trim().to_lowercase();
        if name == "user" {
            credentials.user = value(raw).map_err(|reason| format!("line {}: {reason}", index + 1))?;
        } else if name == "password" {
            credentials.password = value(raw).map_err(|reason| format!("line {}: {reason}", index + 1))?.into();
        }
    }
    if seen_client { Ok(credentials) } else { Err("there is no section [client]".to_string()) }
}

/// A value: parts in double quotes are taken as they are, with escapes; outside of them `#` and `;` begin a comment and
/// blanks at the end do not count.
fn value(raw: &str) -> Result<String, &'static str> {
    let mut text = String::new();
    let mut quoted = false;
    // Up to here blanks count: they were inside quotes or are followed by more text.
    let mut kept = 0;
    let mut chars = raw.trim().chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                kept = text.len();
            }
            '\\' => {
                text.push(match chars.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some(c @ ('\\' | '"')) => c,
                    _ => return Err("unknown escape after a backslash: only \\\\, \\\", \\n and \\t are known"),
                });
                kept = text.len();
            }
            '#' | ';' if !quoted => break,
            c => {
                text.push(c);
                if quoted || !c.is_whitespace() {
                    kept = text.len();
                }
            }
        }
    }
    if quoted {
        return Err("a double quote is not closed");
    }
    text.truncate(kept);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("[client]\nuser=a\npassword=b", "a", "b")]
    #[case("[CLIENT]\nUser = a \nPASSWORD =  b # why\n", "a", "b")]
    #[case("[client]\nuser=\"a b \" ; note\npassword=\"x#;\\\"\\\\\\n\\t\"", "a b ", "x#;\"\\\n\t")]
    #[case(
        "[mysqld]\nuser=no\n[client]\nuser=yes\nssl-mode=REQUIRED\nskip-name\n!include /x\n[mysqldump]\npassword=no",
        "yes",
        ""
    )]
    #[case("[client]\npassword=a;b", "", "a")]
    #[case("[client]\npassword=a b", "", "a b")]
    #[case("# only\n[client]\r\nuser=u\r\npassword=p\r\n", "u", "p")]
    fn reads(#[case] text: &str, #[case] user: &str, #[case] password: &str) {
        assert_eq!(parse_credentials(text), Ok(Credentials { user: user.into(), password: password.into() }));
    }

    #[rstest]
    #[case("user=a", "there is no section [client]")]
    #[case("", "there is no section [client]")]
    #[case("[client]\npassword=\"hunter2", "line 2: a double quote is not closed")]
    #[case("[client]\n\npassword=hunter\\2", "line 3: unknown escape")]
    fn refuses_without_showing_the_value(#[case] text: &str, #[case] reason: &str) {
        let error = parse_credentials(text).unwrap_err();
        assert!(error.starts_with(reason), "{error}");
        assert!(!error.contains("hunter"), "{error}");
    }
}
