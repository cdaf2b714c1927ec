//! What a failed connection or statement says about the server.

use std::io;
use std::time::Duration;

use domain::instance::{FailureKind, ProbeFailure};

use crate::wire::Error;

/// What the system answers when it is this process or this machine that lacks something: memory, file descriptors (of the
/// machine, of the process), free ports, buffers.
const OUT_OF_MEANS: [i32; 5] = [12, 23, 24, 99, 105];

/// Where in a conversation something failed: the same error means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Up to and including login.
    Connect,
    /// Asking over an open connection.
    Read,
}

/// A failure of `kind` with a text for people.
pub(crate) fn failure(kind: FailureKind, message: impl Into<String>) -> ProbeFailure {
    ProbeFailure { kind, message: shorten(message.into()) }
}

/// A deadline that passed.
pub(crate) fn timed_out(stage: Stage, limit: Duration) -> ProbeFailure {
    let ms = limit.as_millis();
    match stage {
        Stage::Connect => failure(FailureKind::ConnectTimeout, format!("no login within {ms} ms")),
        Stage::Read => failure(FailureKind::ReadTimeout, format!("no complete answer within {ms} ms")),
    }
}

/// What an error says about the server.
pub(crate) fn classify(error: &Error, stage: Stage) -> ProbeFailure {
    match error {
        Error::Server(said) => failure(kind_of_number(said.number, stage), said.to_string()),
        Error::Io(error) => classify_io(error, stage),
        // The server has greeted us: it is up, and will not let us in this way.
        Error::Tls(_) | Error::Login(_) | Error::LoginNeedsTls(_) => {
            failure(FailureKind::AccessDenied, error.to_string())
        }
        Error::File { cause, .. } => {
            lack_of_means(cause).unwrap_or_else(|| failure(FailureKind::Statement, format!("{error}: {cause}")))
        }
        Error::Settings(_) => failure(FailureKind::Statement, error.to_string()),
        Error::Protocol(_) => failure(FailureKind::Protocol, error.to_string()),
        Error::Broken => failure(FailureKind::Broken, error.to_string()),
    }
}

/// The failure that this machine's own lack of means is, if it is one.
pub(crate) fn lack_of_means(error: &io::Error) -> Option<ProbeFailure> {
    let is_local = error.raw_os_error().is_some_and(|number| OUT_OF_MEANS.contains(&number));
    is_local.then(|| failure(FailureKind::Local, format!("this process cannot ask: {error}")))
}

fn classify_io(error: &io::Error, stage: Stage) -> ProbeFailure {
    if let Some(local) = lack_of_means(error) {
        return local;
    }
    let text = error.to_string();
    match (error.kind(), stage) {
        // rustls reports a certificate it does not accept as invalid data.
        (io::ErrorKind::InvalidData, Stage::Connect) => {
            failure(FailureKind::AccessDenied, format!("TLS failed: {text}{}", tls_hint(&text)))
        }
        (io::ErrorKind::InvalidData, Stage::Read) => {
            failure(FailureKind::Broken, format!("the connection broke: {text}"))
        }
        (io::ErrorKind::TimedOut, Stage::Connect) => failure(FailureKind::ConnectTimeout, text),
        (io::ErrorKind::TimedOut, Stage::Read) => failure(FailureKind::ReadTimeout, text),
        (_, Stage::Connect) => failure(FailureKind::Refused, format!("no connection: {text}")),
        (_, Stage::Read) => failure(FailureKind::Broken, format!("the connection broke: {text}")),
    }
}

/// What an operator should look at. The words are rustls's: without a match the message is merely less helpful.
const TLS_HINTS: &[(&str, &str)] = &[
    ("UnknownIssuer", "the certificate is signed neither by MySQLTopologySSLCAFile nor by an authority of the system"),
    (
        "not valid for",
        "the certificate must have the host as a subject alternative name, which those that MySQL makes for itself \
         have not; or set MySQLTopologySSLSkipVerify",
    ),
    ("received fatal alert", "the server does not accept our certificate or our version of TLS"),
];

fn tls_hint(text: &str) -> String {
    let hint = TLS_HINTS.iter().find(|(word, _)| text.contains(word));
    hint.map_or_else(String::new, |(_, hint)| format!(" ({hint})"))
}

/// Numbers from the servers' error references.
fn kind_of_number(number: u16, stage: Stage) -> FailureKind {
    match (number, stage) {
        // Shutting down, session killed, idle session ended, network errors of the server's side.
        (1053 | 1077 | 1079 | 1152 | 1158..=1161 | 1184 | 1927 | 3168 | 3169 | 4031, _) => FailureKind::Broken,
        // Too many connections: of the server, of the user, of the user's hourly limit.
        (1040 | 1203 | 1226, _) => FailureKind::TooManyConnections,
        (1043 | 1047 | 1156, _) => FailureKind::Protocol,
        // Login refused: password, host not allowed or blocked, plugin, locked or expired account, TLS demanded,
        // offline mode.
        (1045 | 1129 | 1130 | 1251 | 1275 | 1524 | 1698 | 1820 | 1862 | 3032 | 3118 | 3159, _)
        | (1044, Stage::Connect) => FailureKind::AccessDenied,
        _ => FailureKind::Statement,
    }
}

/// True when a server that refused us without TLS may accept us with it.
pub(crate) fn may_demand_tls(error: &Error) -> bool {
    matches!(error, Error::LoginNeedsTls(_)) || matches!(error.number(), Some(1045 | 3159))
}

/// True when other certificates than those we have read might have helped.
pub(crate) fn is_about_certificates(error: &Error) -> bool {
    matches!(error, Error::Tls(_)) || matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::InvalidData)
}

/// Servers choose the text of their errors: keep it to one line of sensible length.
pub(crate) fn shorten(text: String) -> String {
    const SHOWN: usize = 500;
    if text.len() <= SHOWN && !text.chars().any(char::is_control) {
        return text;
    }
    let mut shown: String = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_tell_alive_from_gone() {
        for (number, kind) in [
            (1045, FailureKind::AccessDenied),
            (1130, FailureKind::AccessDenied),
            (3159, FailureKind::AccessDenied),
            (1040, FailureKind::TooManyConnections),
            (1203, FailureKind::TooManyConnections),
            (1053, FailureKind::Broken),
            (4031, FailureKind::Broken),
            (1227, FailureKind::Statement),
            (1193, FailureKind::Statement),
        ] {
            assert_eq!(kind_of_number(number, Stage::Read), kind, "{number}");
        }
    }

    #[test]
    fn io_errors_mean_what_the_stage_says() {
        let refused = || Error::Io(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(classify(&refused(), Stage::Connect).kind, FailureKind::Refused);
        let reset = || Error::Io(io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!(classify(&reset(), Stage::Read).kind, FailureKind::Broken);
    }

    #[test]
    fn our_own_lack_of_descriptors_is_not_the_servers_failure() {
        let out_of_files = Error::Io(io::Error::from_raw_os_error(24));
        assert_eq!(classify(&out_of_files, Stage::Connect).kind, FailureKind::Local);
        assert_eq!(lack_of_means(&io::Error::from_raw_os_error(111)), None);
    }

    #[test]
    fn long_and_hostile_texts_are_tamed() {
        let text = shorten(format!("a\u{1b}[2J\n{}", "x".repeat(10_000)));
        assert!(text.len() < 520 && !text.chars().any(char::is_control));
    }
}
