//! Addresses as they are written in the file.

/// `host`, `host:port`, `[v6]:port` or a bare IPv6 address, with `default_port` where none is given.
pub fn parse_host_port(text: &str, default_port: u16) -> Option<(String, u16)> {
    let text = text.trim();
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else if text.matches(':').count() > 1 {
        text.parse::<std::net::Ipv6Addr>().ok()?;
        (text, None)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = match port {
        Some(port) => parse_port(port)?,
        None => default_port,
    };
    let well_formed =
        !host.is_empty() && port != 0 && !host.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/');
    well_formed.then(|| (host.to_string(), port))
}

/// An address to listen on: like `host:port`, but the port is required (0 = any free one) and the host may be empty,
/// which means all addresses.
pub fn parse_listen_address(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.trim().rsplit_once(':')?;
    let port = parse_port(port)?;
    if host.is_empty() {
        return Some((String::new(), port));
    }
    let (host, _) = parse_host_port(host, 1)?;
    // A bare IPv6 address leaves it open where the port begins.
    let bare_v6 = text.matches(':').count() > 1 && !text.trim().starts_with('[');
    (!bare_v6).then_some((host, port))
}

/// Digits only: `u16::from_str` also takes a plus sign.
fn parse_port(text: &str) -> Option<u16> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("db1", Some(("db1", 3306)))]
    #[case("db1:3307", Some(("db1", 3307)))]
    #[case(" db1:3307 ", Some(("db1", 3307)))]
    #[case("[::1]:3307", Some(("::1", 3307)))]
    #[case("[::1]", Some(("::1", 3306)))]
    #[case("::1", Some(("::1", 3306)))]
    #[case("", None)]
    #[case(":3306", None)]
    #[case("db1:", None)]
    #[case("db1:0", None)]
    #[case("db1:+1", None)]
    #[case("db1:65536", None)]
    #[case("a b", None)]
    #[case("a:b:c", None)]
    #[case("[::1", None)]
    #[case("http://db1", None)]
    fn host_and_port(#[case] text: &str, #[case] expected: Option<(&str, u16)>) {
        assert_eq!(parse_host_port(text, 3306), expected.map(|(host, port)| (host.to_string(), port)));
    }

    #[rstest]
    #[case(":3000", Some(("", 3000)))]
    #[case("127.0.0.1:0", Some(("127.0.0.1", 0)))]
    #[case("[::]:3000", Some(("::", 3000)))]
    #[case("localhost:3000", Some(("localhost", 3000)))]
    #[case("3000", None)]
    #[case(":", None)]
    #[case("::1:3000", None)]
    #[case("host", None)]
    #[case("host:http", None)]
    fn listen_address(#[case] text: &str, #[case] expected: Option<(&str, u16)>) {
        assert_eq!(parse_listen_address(text), expected.map(|(host, port)| (host.to_string(), port)));
    }
}
