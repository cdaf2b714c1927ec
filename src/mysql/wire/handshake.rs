//! From an open socket to a logged-in connection (page "Connection Phase").
//!
//! ```text
//! server: greeting ── we: [request for TLS, TLS] ── we: who we are, first proof
//!                                        ┌──────────────────┴──────────────────┐
//!           server: OK | ERR | another method (we: proof by that one) | more data (we: answer) ──┘
//! ```

use std::sync::Arc;

use mysql_common::constants::CapabilityFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize;
use rustls::ClientConfig;
use tokio::net::TcpStream;

use super::auth::Proof;
use super::error::Error;
use super::packet::{EOF, Exchange, MORE_DATA, OK};
use super::tls;
use super::transport::Transport;

/// All that a server says during a login: the largest thing is an RSA key.
const MOST_LOGIN: usize = 64 * 1024;
/// A login takes four answers at most.
const MOST_STEPS: usize = 8;
/// What we tell the server about the largest packet we take; it is the protocol's own limit.
const MAX_PACKET: u32 = 1 << 24;
/// `utf8mb4_general_ci`: every server we know has it.
const COLLATION: u8 = 45;
/// With a version from this on, `mysql_common` asks for [`COLLATION`].
const MODERN: (u16, u16, u16) = (5, 5, 3);
/// In a greeting: from the NUL that ends the version to the length of the nonce (page "HandshakeV10").
const NONCE_LENGTH_AT: usize = 21;

/// Whom we want to be, where.
pub(crate) struct Login<'a> {
    /// The name on the server's certificate.
    pub(crate) host: &'a str,
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
    /// Encrypt, by this.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// What the server said first.
struct Greeting {
    capabilities: CapabilityFlags,
    nonce: Vec<u8>,
    plugin: Option<AuthPlugin<'static>>,
}

/// Logs in; tells too whether rows will end with an OK packet.
pub(super) async fn login(stream: TcpStream, login: &Login<'_>) -> Result<(Transport, bool), Error> {
    // Small packets both ways, each waiting for the other: delaying them gains nothing.
    stream.set_nodelay(true)?;
    let mut transport = Transport::Plain(stream);
    let mut exchange = Exchange::new(&mut transport, MOST_LOGIN);
    let greeting = greeting(exchange.receive().await?)?;
    let capabilities = capabilities(greeting.capabilities, login.tls.is_some())?;
    if login.tls.is_some() {
        let request = SslRequest::new(capabilities, MAX_PACKET, COLLATION);
        exchange.send(|out| request.serialize(out)).await?;
    }
    // What comes before TLS may be anybody's, and must not count as said inside it.
    let sequence = exchange.end()?;
    transport = encrypted(transport, login).await?;
    let is_encrypted = transport.is_encrypted();
    let mut proof = Proof::greeted(greeting.plugin, greeting.nonce, login.password.as_bytes(), is_encrypted)?;
    let answer = proof.first()?;
    let plugin = capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH).then(|| proof.plugin());
    let response = HandshakeResponse::new(
        Some(answer),
        MODERN,
        Some(login.user.as_bytes()),
        None::<&[u8]>,
        plugin,
        capabilities,
        None,
        MAX_PACKET,
    );
    let mut exchange = Exchange::going_on(&mut transport, sequence, MOST_LOGIN);
    exchange.send(|out| response.serialize(out)).await?;
    prove(&mut exchange, proof, login.password.as_bytes(), is_encrypted).await?;
    exchange.end()?;
    Ok((transport, capabilities.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF)))
}

async fn encrypted(transport: Transport, login: &Login<'_>) -> Result<Transport, Error> {
    match (transport, &login.tls) {
        (Transport::Plain(stream), Some(config)) => {
            let stream = tls::encrypt(stream, login.host, Arc::clone(config)).await?;
            Ok(Transport::Tls(Box::new(stream)))
        }
        (transport, _) => Ok(transport),
    }
}

/// Answers the server until it lets us in.
async fn prove<'p>(
    exchange: &mut Exchange<'_>,
    mut proof: Proof<'p>,
    password: &'p [u8],
    is_encrypted: bool,
) -> Result<(), Error> {
    for _ in 0..MOST_STEPS {
        let answer = match exchange.receive().await? {
            [OK, ..] => return Ok(()),
            [MORE_DATA, data @ ..] => proof.more(data)?,
            // Alone, this asks for the method of 4.0.
            [EOF] => return Err(Error::Login("the server wants a password of before MySQL 4.1".to_owned())),
            payload @ [EOF, ..] => {
                let demand: AuthSwitchRequest<'_> = ParseBuf(payload)
                    .parse(())
                    .map_err(|error| Error::protocol(format!("an unreadable demand for a login method: {error}")))?;
                let nonce = demand.plugin_data().to_vec();
                proof = Proof::demanded(&demand.auth_plugin(), nonce, password, is_encrypted)?;
                Some(proof.first()?)
            }
            _ => return Err(Error::protocol("an unknown packet during login")),
        };
        if let Some(answer) = answer {
            exchange.send(|out| out.extend_from_slice(&answer)).await?;
        }
    }
    Err(Error::protocol("a login without end"))
}

fn greeting(payload: &[u8]) -> Result<Greeting, Error> {
    match payload.first() {
        Some(10) => {}
        Some(version) => return Err(Error::protocol(format!("a greeting of version {version}"))),
        None => return Err(Error::protocol("an empty greeting")),
    }
    // `mysql_common` takes this length for a signed number, and then calculates with it.
    let version_end = payload.iter().position(|byte| *byte == 0).unwrap_or(payload.len());
    if payload.get(version_end + NONCE_LENGTH_AT).is_some_and(|length| *length > 127) {
        return Err(Error::protocol("an unreadable greeting: its nonce is too long"));
    }
    let packet: HandshakePacket<'_> =
        ParseBuf(payload).parse(()).map_err(|error| Error::protocol(format!("an unreadable greeting: {error}")))?;
    Ok(Greeting {
        capabilities: packet.capabilities(),
        nonce: packet.nonce(),
        plugin: packet.auth_plugin().map(AuthPlugin::into_owned),
    })
}

/// What both sides can do of what we want (page "Capabilities Flags").
fn capabilities(servers: CapabilityFlags, encrypts: bool) -> Result<CapabilityFlags, Error> {
    let needed = CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_MULTI_STATEMENTS
        | CapabilityFlags::CLIENT_MULTI_RESULTS;
    if !servers.contains(needed) {
        return Err(Error::protocol("the server is too old: it cannot answer several statements"));
    }
    if encrypts && !servers.contains(CapabilityFlags::CLIENT_SSL) {
        return Err(Error::Tls("the server does not support TLS".to_owned()));
    }
    let mut wanted = needed
        | CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
        | CapabilityFlags::CLIENT_DEPRECATE_EOF;
    if encrypts {
        wanted |= CapabilityFlags::CLIENT_SSL;
    }
    Ok(wanted & servers)
}
