//! Scripted servers: what we make of what they say. Real servers are in `tests/servers`.

use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(20);
/// Protocol 4.1, secure connection, several statements, several results, login methods by name.
pub(crate) const CAPABILITIES: u32 = 1 << 9 | 1 << 15 | 1 << 16 | 1 << 17 | 1 << 19;
const DEPRECATE_EOF: u32 = 1 << 24;
const SSL: u32 = 1 << 11;
pub(crate) const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
const OK_AND_MORE: &[u8] = &[0, 3, 0, 10, 0, 0, 0];

pub(crate) fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len().to_le_bytes();
    [&length[..3], &[sequence], payload].concat()
}

/// Packets numbered from `first` on.
pub(crate) fn packets(first: u8, payloads: &[&[u8]]) -> Vec<u8> {
    payloads.iter().zip(first..).flat_map(|(payload, sequence)| packet(sequence, payload)).collect()
}

fn greeting(capabilities: u32, plugin: &str) -> Vec<u8> {
    let [a, b, c, d] = capabilities.to_le_bytes();
    let mut payload = b"\x0a9.7.4\0\x01\0\0\0nonce-1-\0".to_vec();
    payload.extend([a, b, 45, 2, 0, c, d, 21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    payload.extend(b"nonce-2-of-1\0");
    payload.extend(plugin.as_bytes());
    payload.push(0);
    packet(0, &payload)
}

pub(crate) fn native(capabilities: u32) -> Vec<u8> {
    greeting(capabilities, "mysql_native_password")
}

/// Says each of these, and listens once after each, that long at most. Then closes, and gives what it has heard.
async fn server(script: Vec<Vec<u8>>, patience: Duration) -> (TcpStream, JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connects");
    let (mut peer, _) = listener.accept().await.expect("a client");
    let speaking = tokio::spawn(async move {
        let mut heard = Vec::new();
        for bytes in script {
            let _ = peer.write_all(&bytes).await;
            let mut buffer = vec![0; 4096];
            let length = timeout(patience, peer.read(&mut buffer)).await;
            buffer.truncate(length.ok().and_then(Result::ok).unwrap_or(0));
            heard.push(buffer);
        }
        heard
    });
    (stream, speaking)
}

async fn log_in_to(script: Vec<Vec<u8>>) -> Result<Connection, Error> {
    let (stream, _) = server(script, PATIENCE).await;
    let login = Login { host: "db", user: "me", password: "secret", tls: None };
    timeout(LONG, Connection::login(stream, &login)).await.expect("ends")
}

/// Logs in and asks; the server answers these packets.
async fn ask(capabilities: u32, answer: Vec<u8>) -> (Connection, Vec<ResultSet>, Result<(), Error>) {
    let script = vec![native(capabilities), packet(2, OK), answer];
    // The first thing it says after our login is OK, and it listens for the question then.
    let mut connection = log_in_to(script).await.expect("logs in");
    let mut results = Vec::new();
    let ended = timeout(LONG, connection.query_into("SELECT 1", &mut results)).await.expect("ends");
    (connection, results, ended)
}

pub(crate) fn column(name: &str) -> Vec<u8> {
    let mut payload = b"\x03def\0\0\0".to_vec();
    payload.push(u8::try_from(name.len()).expect("short"));
    payload.extend(name.as_bytes());
    payload.extend(b"\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0");
    payload
}

#[tokio::test]
async fn rows_come_with_and_without_the_older_packets() {
    let (a, b) = (column("a"), column("b"));
    let old: &[&[u8]] = &[&[2], &a, &b, &[0xfe, 0, 0, 2, 0], &[1, b'7', 0xfb], &[0, 1, 0xff], &[0xfe, 0, 0, 10, 0], OK];
    let new: &[&[u8]] = &[&[2], &a, &b, &[1, b'7', 0xfb], &[0, 1, 0xff], &[0xfe, 0, 0, 10, 0, 0, 0], OK];
    for (capabilities, answer) in [(CAPABILITIES, old), (CAPABILITIES | DEPRECATE_EOF, new)] {
        let (connection, results, ended) = ask(capabilities, packets(1, answer)).await;
        ended.expect("answered");
        assert!(!connection.is_broken());
        assert_eq!(results.len(), 2);
        let [first, second] = &results[0].rows[..] else { panic!("two rows: {results:?}") };
        assert_eq!((first.text("a").as_deref(), first.text("b"), first.text("c")), (Some("7"), None, None));
        assert_eq!((second.at(0).as_deref(), second.at(1).as_deref()), (Some(""), Some("\u{fffd}")));
        assert_eq!((second.bytes_at(1), second.at(2)), (Some(&[0xff][..]), None));
        assert_eq!(second.names().collect::<Vec<_>>(), ["a", "b"]);
    }
}

#[tokio::test]
async fn an_error_ends_a_batch_and_not_the_connection() {
    let error = b"\xff\xcb\x04#42000Access denied; you need SUPER";
    let (connection, results, ended) = ask(CAPABILITIES, packets(1, &[OK_AND_MORE, error])).await;
    assert_eq!(results.iter().map(|result| result.affected_rows).collect::<Vec<_>>(), [3]);
    let Err(Error::Server(error)) = ended else { panic!("{ended:?}") };
    assert_eq!((error.number, error.sql_state.as_str()), (1227, "42000"));
    assert_eq!(error.message, "Access denied; you need SUPER");
    assert!(!connection.is_broken());
}

#[tokio::test]
async fn of_an_endless_error_the_beginning_is_kept() {
    let error = [&b"\xff\xcb\x04#42000no "[..], &vec![b'x'; 1 << 20]].concat();
    let (connection, _, ended) = ask(CAPABILITIES, packet(1, &error)).await;
    let Err(Error::Server(error)) = ended else { panic!("{ended:?}") };
    assert!(error.message.starts_with("no x") && error.message.len() < 5000, "{} bytes", error.message.len());
    assert_eq!((error.number, connection.is_broken()), (1227, false));
}

#[tokio::test]
async fn a_farewell_is_read_though_nobody_asked() {
    let farewell = packet(0, b"\xff\xbf\x0f#HY000The client was disconnected by the server because of inactivity.");
    let (_, _, ended) = ask(CAPABILITIES, farewell).await;
    assert_eq!(ended.expect_err("refused").number(), Some(4031));
    let (connection, _, ended) = ask(CAPABILITIES, packet(0, OK)).await;
    assert!(matches!(ended, Err(Error::Protocol(_))) && connection.is_broken());
}

#[tokio::test]
async fn what_no_server_says_is_refused_in_words() {
    let a = column("a");
    let many = b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f";
    let broken: [(&[&[u8]], &str); 8] = [
        (&[b"\xfb/etc/passwd"], "a file of this host"),
        (&[many], "number of columns"),
        (&[&[]], "number of columns"),
        (&[&[1], b"\x03def\xfc"], "column definition"),
        (&[&[1], &a, &[0xfe, 0, 0, 2, 0], &[5, 1]], "does not fit"),
        (&[&[1], &a, &[0xfe, 0, 0, 2, 0], &[1, 1, 1]], "does not fit"),
        (&[&[1], &a, &[0xfe, 0, 0, 2, 0], &[0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0]], "unknown packet"),
        (&[&[0xff, 1]], "error packet"),
    ];
    for (answer, words) in broken {
        let (mut connection, _, ended) = ask(CAPABILITIES, packets(1, answer)).await;
        let Err(Error::Protocol(message)) = ended else { panic!("{words}: {ended:?}") };
        assert!(message.contains(words), "{words}: {message}");
        assert!(matches!(connection.query("SELECT 1").await, Err(Error::Broken)));
    }
    let (_, _, ended) = ask(CAPABILITIES, packet(9, OK)).await;
    assert!(matches!(ended, Err(Error::Protocol(_))), "a packet out of turn");
    let (_, _, ended) = ask(CAPABILITIES, b"\x40\0\0\x01half".to_vec()).await;
    assert!(matches!(ended, Err(Error::Io(_))), "{ended:?}");
    // Whoever goes on talking is not asked again.
    let (connection, _, ended) = ask(CAPABILITIES, packets(1, &[OK, OK])).await;
    assert!(ended.is_ok() && connection.is_broken());
}

#[tokio::test]
async fn long_values_come_in_several_packets_and_too_long_answers_are_refused() {
    let value = vec![b'x'; 17 << 20];
    let row = [&[0xfe][..], &value.len().to_le_bytes(), &value].concat();
    let (head, tail) = row.split_at(0xff_ffff);
    let a = column("a");
    let mut answer = packets(1, &[&[1], &a, &[0xfe, 0, 0, 2, 0], head, tail]);
    answer.extend(packets(6, &[&[0xfe, 0, 0, 2, 0]]));
    let (_, results, ended) = ask(CAPABILITIES, answer).await;
    ended.expect("answered");
    assert_eq!(results[0].rows[0].bytes_at(0).map(<[u8]>::len), Some(value.len()));
    drop(results);

    // Many empty rows: what they cost us is not in their bytes.
    let mut answer = packets(1, &[&[1], &a, &[0xfe, 0, 0, 2, 0]]);
    answer.extend((0..600_000_u32).flat_map(|n| packet(n.wrapping_add(4).to_le_bytes()[0], &[0])));
    let (connection, _, ended) = ask(CAPABILITIES, answer).await;
    let Err(Error::Protocol(message)) = ended else { panic!("{ended:?}") };
    assert!(message.contains("too large") && connection.is_broken(), "{message}");
}

#[tokio::test]
async fn an_exchange_cut_short_breaks_the_connection() {
    let script = vec![native(CAPABILITIES), packet(2, OK), Vec::new(), packet(1, OK)];
    let mut connection = log_in_to(script).await.expect("logs in");
    assert!(timeout(Duration::from_millis(50), connection.query("SELECT 1")).await.is_err());
    assert!(connection.is_broken());
    assert!(matches!(connection.execute("SELECT 2").await, Err(Error::Broken)));
    connection.close().await.expect("without a word");
}

#[tokio::test]
async fn a_ping_is_answered_or_breaks_the_connection() {
    let pinged = async |answer: Vec<u8>| {
        let mut connection = log_in_to(vec![native(CAPABILITIES), packet(2, OK), answer]).await.expect("logs in");
        let ended = timeout(PATIENCE / 2, connection.ping()).await;
        (ended, connection.is_broken())
    };
    assert!(matches!(pinged(packet(1, OK)).await, (Ok(Ok(())), false)));
    // Error 1053: the server shuts down.
    assert!(matches!(pinged(packet(1, b"\xff\x1d\x04#08S01bye")).await, (Ok(Err(Error::Server(_))), true)));
    assert!(matches!(pinged(packets(1, &[OK, OK])).await, (Ok(Ok(())), true)), "more than was asked");
    assert!(matches!(pinged(Vec::new()).await, (Err(_), true)), "silence");
}

#[tokio::test]
async fn a_connection_at_rest_is_disturbed_by_its_server_only() {
    // After our login it says this, listens for a while, and ends the connection.
    let mut connection = log_in_to(vec![native(CAPABILITIES), packet(2, OK), Vec::new()]).await.expect("logs in");
    assert!(timeout(PATIENCE / 2, connection.disturbed()).await.is_err(), "it listens");
    assert!(timeout(LONG, connection.disturbed()).await.expect("an end"), "it has ended the connection");
    assert!(matches!(connection.ping().await, Err(Error::Io(_))));
    assert!(matches!(connection.ping().await, Err(Error::Broken)));
}

#[tokio::test]
async fn refusals_of_any_age_are_read() {
    for (payload, number) in [
        (&b"\xff\x10\x04Too many connections"[..], 1040),
        (b"\xff\x10\x04#08004Too many connections", 1040),
        (b"\xff\x69\x04Host '10.0.0.1' is blocked because of many connection errors", 1129),
        (b"\xff\x6a\x04Host '10.0.0.1' is not allowed to connect to this MySQL server", 1130),
    ] {
        let error = log_in_to(vec![packet(0, payload)]).await.expect_err("refused");
        assert_eq!(error.number(), Some(number), "{error}");
    }
    let denied = packet(2, b"\xff\x15\x04#28000Access denied for user 'me'@'x' (using password: YES)");
    let error = log_in_to(vec![native(CAPABILITIES), denied]).await.expect_err("refused");
    assert_eq!(error.number(), Some(1045));
}

#[tokio::test]
async fn no_server_talks_us_out_of_the_password() {
    let switch = |plugin: &str| [b"\xfe", plugin.as_bytes(), b"\0nonce-of-twenty-byte\0"].concat();
    let script = vec![native(CAPABILITIES), packet(2, &switch("mysql_clear_password"))];
    let (stream, heard) = server(script, PATIENCE).await;
    let login = Login { host: "db", user: "me", password: "secret", tls: None };
    let error = Connection::login(stream, &login).await.expect_err("refuses");
    assert!(matches!(error, Error::LoginNeedsTls(_)), "{error}");
    let heard = heard.await.expect("heard").concat();
    assert!(!heard.windows(6).any(|bytes| bytes == b"secret"), "{heard:?}");

    for payload in [&switch("mysql_old_password")[..], &switch("dialog"), b"\xfe"] {
        let error = log_in_to(vec![native(CAPABILITIES), packet(2, payload)]).await.expect_err("refuses");
        assert!(matches!(error, Error::Login(_)), "{error}");
    }
    // A key that is none, and a login without end.
    let sha2 = greeting(CAPABILITIES, "caching_sha2_password");
    let script = vec![sha2.clone(), packet(2, b"\x01\x04"), packet(4, b"\x01-----BEGIN PUBLIC KEY-----\nAA==")];
    let error = log_in_to(script).await.expect_err("refuses");
    assert!(matches!(&error, Error::Protocol(message) if message.contains("public key")), "{error}");
    let mut script = vec![native(CAPABILITIES)];
    script.extend((1..12).map(|n| packet(2 * n, &switch("mysql_native_password"))));
    let error = log_in_to(script).await.expect_err("refuses");
    assert!(matches!(&error, Error::Protocol(message) if message.contains("without end")), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_or_with_words_before_it_is_refused() {
    let config = TlsClient::new(crate::TlsSettings { skip_verify: true, ..crate::TlsSettings::default() });
    let config = config.config().await.expect("a configuration");
    for (script, expected) in [
        (native(CAPABILITIES), "does not support TLS"),
        ([native(CAPABILITIES | SSL), packet(1, OK)].concat(), "out of turn"),
    ] {
        let (stream, _) = server(vec![script], PATIENCE).await;
        let login = Login { host: "db", user: "me", password: "secret", tls: Some(config.clone()) };
        let error = Connection::login(stream, &login).await.expect_err("refuses").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn unreadable_greetings_are_refused() {
    let good = native(CAPABILITIES);
    let long_nonce = {
        let mut bytes = good.clone();
        bytes[4 + 7 + 20] = 0x80;
        bytes
    };
    for greeting in [
        long_nonce,
        packet(0, &good[4..20]),
        packet(0, b""),
        packet(0, b"\x09old"),
        native(1 << 9),
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
    ] {
        let error = log_in_to(vec![greeting]).await.expect_err("refused");
        assert!(matches!(error, Error::Protocol(_)), "{error}");
    }
}

/// A payload that begins as payloads do, and goes on anyhow.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![Just(0_u8), Just(1), Just(2), Just(0xfb), Just(0xfc), Just(0xfe), Just(0xff), any::<u8>()];
    (proptest::collection::vec(first, 0..4), proptest::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(head, tail)| [head, tail].concat())
}

/// Well-numbered packets with anything in them.
fn answer(first: u8) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(payload(), 0..12)
        .prop_map(move |payloads| packets(first, &payloads.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

/// A greeting with some bytes wrong.
fn bent_greeting() -> impl Strategy<Value = Vec<u8>> {
    const PLUGINS: [&str; 5] =
        ["mysql_native_password", "caching_sha2_password", "sha256_password", "client_ed25519", "parsec"];
    let bends = proptest::collection::vec((4_usize..60, any::<u8>()), 0..4);
    (proptest::sample::select(&PLUGINS[..]), any::<bool>(), bends).prop_map(|(plugin, is_new, bends)| {
        let mut bytes = greeting(CAPABILITIES | if is_new { DEPRECATE_EOF } else { 0 }, plugin);
        for (at, byte) in bends {
            bytes[at] = byte;
        }
        bytes
    })
}

/// Talks to a server that says each of these in its turn and closes.
fn talk(said: Vec<Vec<u8>>) {
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (stream, _) = server(said, Duration::from_millis(5)).await;
        let login = Login { host: "db", user: "me", password: "secret", tls: None };
        let talking = async {
            let mut connection = Connection::login(stream, &login).await?;
            let results = connection.query("SELECT 1").await?;
            Ok::<_, Error>(format!("{results:?}").len())
        };
        let _ = timeout(LONG, talking).await.expect("ends when the server closes");
    });
}

proptest! {
    #[test]
    fn random_bytes_never_panic(said in proptest::collection::vec(any::<u8>(), 0..200)) {
        talk(vec![said]);
    }

    #[test]
    fn random_logins_never_panic(greeting in bent_greeting(), rest in answer(2)) {
        talk(vec![greeting, rest.clone(), rest]);
    }

    #[test]
    fn random_answers_never_panic(is_new: bool, rest in answer(1)) {
        let capabilities = CAPABILITIES | if is_new { DEPRECATE_EOF } else { 0 };
        talk(vec![native(capabilities), packet(2, OK), rest]);
    }

    #[test]
    fn random_rows_never_panic(is_new: bool, count in 1_u8..4, rest in answer(3)) {
        let capabilities = CAPABILITIES | if is_new { DEPRECATE_EOF } else { 0 };
        let start = packets(1, &[&[count], &column("a")]);
        talk(vec![native(capabilities), packet(2, OK), [start, rest].concat()]);
    }
}
