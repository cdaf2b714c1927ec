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
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
