//! A server that answers as no real one can be made to, and keeps what it was told.

use std::sync::{Arc, Mutex};

use domain::instance::{BinlogCoordinates, ReplicaFacts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::wire::tests::{CAPABILITIES, OK, column, native, packet, packets};

/// What it says to one packet of statements.
enum Reply {
    Done,
    Text(&'static str),
    Error(u16),
    Nothing,
}

/// Statements, with the number of the connection they came over.
type Told = Arc<Mutex<Vec<(usize, String)>>>;

/// Answers every connection; the first question of each is about its settings and its number.
async fn server(reply: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> (InstanceKey, Told) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let key = InstanceKey::new("127.0.0.1", listener.local_addr().expect("an address").port());
    let (told, reply) = (Told::default(), Arc::new(reply));
    let kept = Arc::clone(&told);
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((peer, _)) = listener.accept().await else { return };
            let (told, reply) = (Arc::clone(&kept), Arc::clone(&reply));
            tokio::spawn(async move { converse(peer, number, &told, &*reply).await });
        }
    });
    (key, told)
}

async fn converse(mut peer: TcpStream, number: usize, told: &Told, reply: &impl Fn(&str, usize) -> Reply) {
    peer.write_all(&native(CAPABILITIES)).await.expect("greeted");
    hear(&mut peer).await.expect("a login");
    peer.write_all(&packet(2, OK)).await.expect("let in");
    // The first byte is the command; a goodbye has nothing more.
    while let Some(sql) = hear(&mut peer).await.filter(|command| command.len() > 1) {
        let sql = String::from_utf8_lossy(&sql[1..]).into_owned();
        let times = {
            let mut told = told.lock().expect("sound");
            told.push((number, sql.clone()));
            told.iter().filter(|(_, before)| *before == sql).count()
        };
        let answer = match reply(&sql, times) {
            Reply::Done => packet(1, OK),
            Reply::Text(text) => {
                let row = [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
                packets(1, &[&[1], &column("a"), &[0xfe, 0, 0, 2, 0], &row, &[0xfe, 0, 0, 2, 0]])
            }
            Reply::Error(number) => packet(1, &[&[0xff], &number.to_le_bytes()[..], b"#HY000no"].concat()),
            Reply::Nothing => continue,
        };
        peer.write_all(&answer).await.expect("answered");
    }
}

/// The payload of one packet; `None` when the client has gone.
async fn hear(peer: &mut TcpStream) -> Option<Vec<u8>> {
    let header = peer.read_u32_le().await.ok()?;
    let mut payload = vec![0; usize::try_from(header & 0xff_ffff).ok()?];
    peer.read_exact(&mut payload).await.ok()?;
    Some(payload)
}

async fn order(on: &InstanceKey, facts: &ServerFacts, action: &Action, limit: Duration) -> Result<(), ApplyError> {
    let connector = Connector::new(ConnectSettings::default());
    apply(
        &connector,
        &IdleConnections::default(),
        Order { on, action, facts, until: Instant::now() + limit, credentials_query: "" },
    )
    .await
}

/// What came over one connection after its settings.
fn over(told: &Told, number: usize) -> Vec<String> {
    let told = told.lock().expect("sound");
    told.iter()
        .filter(|(over, sql)| *over == number && !sql.starts_with("SET NAMES"))
        .map(|(_, sql)| sql.clone())
        .collect()
}

/// A server's number for our connection.
fn settled(sql: &str) -> Option<Reply> {
    sql.starts_with("SET NAMES").then_some(Reply::Text("7"))
}

#[tokio::test]
async fn relay_logs_out_of_step_are_removed_twice_with_a_receiver_in_between() {
    const LONG: Duration = Duration::from_secs(20);
    let reset = "RESET REPLICA ALL";
    for (auto_position, obeys_at, expected) in [
        (
            true,
            2,
            &[reset, "RESET REPLICA", "START REPLICA IO_THREAD", "STOP REPLICA IO_THREAD", "RESET REPLICA", reset][..],
        ),
        // Not a third time, and not where the logs are where the position is.
        (
            true,
            3,
            &[reset, "RESET REPLICA", "START REPLICA IO_THREAD", "STOP REPLICA IO_THREAD", "RESET REPLICA", reset],
        ),
        (false, 2, &[reset]),
    ] {
        let (on, told) = server(move |sql, times| {
            settled(sql).unwrap_or(match (sql, times) {
                ("RESET REPLICA ALL", times) if times < obeys_at => Reply::Error(1201),
                // Whatever it says to the steps in between, they are tried.
                ("START REPLICA IO_THREAD", _) => Reply::Error(1872),
                _ => Reply::Done,
            })
        })
        .await;
        let replica = ReplicaFacts { auto_position, ..ReplicaFacts::default() };
        let facts = ServerFacts { replica: Some(replica), ..facts("9.7.4") };
        let answer = order(&on, &facts, &Action::ResetReplica, LONG).await;
        assert_eq!(over(&told, 0), expected, "{auto_position} {obeys_at}");
        if auto_position && obeys_at == 2 {
            assert_eq!(answer, Ok(()));
        } else {
            assert!(matches!(answer, Err(ApplyError::Refused { number: 1201, .. })), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_answered_is_ended_by_its_own_number_and_nothing_follows() {
    for (id, kills) in [("7", vec!["KILL 7".to_owned()]), ("7 OR 1", Vec::new()), ("-1", Vec::new())] {
        let (on, told) = server(move |sql, _| match sql {
            "SET GLOBAL read_only = ON" => Reply::Nothing,
            sql if sql.starts_with("SET NAMES") => Reply::Text(id),
            _ => Reply::Done,
        })
        .await;
        let action = Action::SetReadOnly { read_only: true, with_super: true };
        let answer = order(&on, &facts("9.7.4"), &action, Duration::from_millis(500)).await;
        assert!(matches!(answer, Err(ApplyError::Unknown { .. })), "{answer:?}");
        assert_eq!(over(&told, 0), ["SET GLOBAL read_only = ON"], "super_read_only is not sent any more");
        assert_eq!(over(&told, 1), kills, "{id}");
    }
}

/// Of several channels it is not told whose coordinator idles.
#[tokio::test]
async fn with_another_channel_no_coordinator_is_looked_for() {
    let stop = Action::Stop { threads: Threads::SQL };
    for (other_channels, expected) in [
        (vec!["other".to_owned()], vec!["STOP REPLICA SQL_THREAD FOR CHANNEL ''"]),
        (Vec::new(), vec!["SHOW REPLICA STATUS", "STOP REPLICA SQL_THREAD"]),
    ] {
        let (on, told) = server(|sql, _| settled(sql).unwrap_or(Reply::Done)).await;
        let read = BinlogCoordinates { position: 4_000, ..BinlogCoordinates::default() };
        let replica = ReplicaFacts {
            auto_position: true,
            io_thread: ThreadState::Stopped,
            sql_thread: ThreadState::Running,
            read,
            other_channels,
            ..ReplicaFacts::default()
        };
        let facts = ServerFacts { replica: Some(replica), ..facts("9.7.4") };
        order(&on, &facts, &stop, Duration::from_secs(3)).await.expect("stopped");
        assert_eq!(over(&told, 0), expected);
    }
}
