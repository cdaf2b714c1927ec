//! The cut-able network, first in front of a plain listener, then in front of a database.

use harness::{Flavor, HOST, Link, Mode, Proxy, Server, replica_status, replicate, wait_running};
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Long enough for anything that is going to happen on loopback.
const SOON: Duration = Duration::from_secs(5);
/// Long enough to believe that nothing is coming.
const SILENCE: Duration = Duration::from_millis(150);

/// Answers every byte with ten.
async fn tenfold_server() -> u16 {
    let listener = TcpListener::bind((HOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(byte) = client.read_u8().await {
                    if client.write_all(&[byte; 10]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect((HOST, proxy.port())).await.unwrap()
}

/// Sends one byte and returns how many come back, and whether the connection is still open.
async fn ask(client: &mut TcpStream) -> (usize, bool) {
    client.write_all(b"x").await.unwrap();
    let mut answer = [0; 10];
    let mut got = 0;
    loop {
        match timeout(SILENCE, client.read(&mut answer[got..])).await {
            Err(_) => return (got, true),
            Ok(Ok(0) | Err(_)) => return (got, got == answer.len()),
            Ok(Ok(n)) => got += n,
        }
    }
}

#[tokio::test]
async fn each_mode_fails_in_its_own_way() {
    let proxy = Proxy::start(tenfold_server().await).await.unwrap();
    let mut old = connect(&proxy).await;
    assert_eq!(ask(&mut old).await, (10, true));

    proxy.set(Mode::Stall).await.unwrap();
    assert_eq!(ask(&mut old).await, (0, true));
    assert_eq!(ask(&mut connect(&proxy).await).await, (0, true));
    proxy.set(Mode::Pass).await.unwrap();
    let mut late = [0; 10];
    timeout(SOON, old.read_exact(&mut late)).await.unwrap().unwrap();

    proxy.set(Mode::StallAfter(4)).await.unwrap();
    assert_eq!(ask(&mut old).await, (4, true));
    proxy.set(Mode::Pass).await.unwrap();
    timeout(SOON, old.read_exact(&mut late[..6])).await.unwrap().unwrap();

    proxy.set(Mode::CloseAfter(14)).await.unwrap();
    let mut new = connect(&proxy).await;
    assert_eq!(ask(&mut new).await, (10, true));
    assert_eq!(ask(&mut new).await, (4, false));

    proxy.set(Mode::Delay(Duration::from_millis(50))).await.unwrap();
    let start = Instant::now();
    let mut slow = connect(&proxy).await;
    slow.write_all(b"x").await.unwrap();
    timeout(SOON, slow.read_exact(&mut late)).await.unwrap().unwrap();
    assert!(start.elapsed() >= Duration::from_millis(100), "both directions are delayed");
}

#[tokio::test]
async fn refusing_cuts_what_is_there_and_closes_the_port_until_it_passes_again() {
    let proxy = Proxy::start(tenfold_server().await).await.unwrap();
    let mut old = connect(&proxy).await;
    assert_eq!(ask(&mut old).await, (10, true));

    proxy.set(Mode::Refuse).await.unwrap();
    // A process that another test is just starting holds a copy of the listening socket for another moment: who gets into its
    // queue is not served, and cut off with it.
    timeout(SOON, async {
        while TcpStream::connect((HOST, proxy.port())).await.map_err(|error| error.kind()).err()
            != Some(ErrorKind::ConnectionRefused)
        {}
    })
    .await
    .expect("refused");
    let mut buffer = [0; 1];
    assert!(matches!(timeout(SOON, old.read(&mut buffer)).await.unwrap(), Ok(0) | Err(_)));

    proxy.set(Mode::Pass).await.unwrap();
    let mut new = connect(&proxy).await;
    assert_eq!(ask(&mut new).await, (10, true));
    proxy.cut().await.unwrap();
    assert!(matches!(timeout(SOON, new.read(&mut buffer)).await.unwrap(), Ok(0) | Err(_)));
    assert_eq!(ask(&mut connect(&proxy).await).await, (10, true));
}

#[tokio::test]
async fn a_stalled_proxy_also_hides_the_end_of_a_connection() {
    let listener = TcpListener::bind((HOST, 0)).await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap().port()).await.unwrap();
    let mut client = connect(&proxy).await;
    let (server, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    proxy.set(Mode::Stall).await.unwrap();
    drop(server);
    let mut buffer = [0; 1];
    assert!(timeout(SILENCE, client.read(&mut buffer)).await.is_err());
    proxy.set(Mode::Pass).await.unwrap();
    assert_eq!(timeout(SOON, client.read(&mut buffer)).await.unwrap().unwrap(), 0);
}

async fn wait_until_receiver_is(replica: &Server, wanted: &str) {
    let mut connection = replica.connect_root().await.unwrap();
    let start = Instant::now();
    loop {
        let status = replica_status(replica.flavor(), &mut connection).await.unwrap().unwrap();
        if status.io_running == wanted {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_replica_can_follow_through_a_proxy() {
    for flavor in Flavor::ALL {
        let source = Server::start(flavor).await.unwrap();
        let replica = Server::start(flavor).await.unwrap();
        let proxy = Proxy::start(source.port()).await.unwrap();
        replicate(&replica, &source, Link { via_port: Some(proxy.port()), ..Link::default() }).await.unwrap();
        proxy.set(Mode::Refuse).await.unwrap();
        wait_until_receiver_is(&replica, "Connecting").await;
        proxy.set(Mode::Pass).await.unwrap();
        wait_running(&replica, Duration::from_secs(30)).await.unwrap();
    }
}
