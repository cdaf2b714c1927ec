//! The fleet as sqlx sees it: batches of statements, prepared statements, many connections, all the ways to die.

use std::io::Read;
use std::net::{SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use futures::future::try_join_all;
use simulator::{Death, Dialect, Fleet, FleetSpec, Target};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow};
use sqlx::{ConnectOptions, Connection, Either, Row};
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

fn options(address: SocketAddrV4) -> MySqlConnectOptions {
    MySqlConnectOptions::new()
        .host(&address.ip().to_string())
        .port(address.port())
        .username("orchestrator")
        .password("secret")
}

async fn connect(address: SocketAddrV4) -> Result<MySqlConnection, sqlx::Error> {
    timeout(LONG, options(address).connect()).await.expect("the simulator is silent")
}

/// Every result set of a batch.
async fn batch(connection: &mut MySqlConnection, sql: &str) -> Result<Vec<Vec<MySqlRow>>, sqlx::Error> {
    let mut stream = sqlx::raw_sql(sql).fetch_many(connection);
    let mut sets = vec![Vec::new()];
    while let Some(item) = timeout(LONG, stream.try_next()).await.expect("no answer")? {
        match item {
            Either::Right(row) => sets.last_mut().unwrap().push(row),
            Either::Left(_) => sets.push(Vec::new()),
        }
    }
    sets.pop();
    Ok(sets)
}

fn text(row: &MySqlRow, column: &str) -> String {
    row.try_get_unchecked::<String, _>(column).unwrap()
}

fn code(error: &sqlx::Error) -> u16 {
    let error = error.as_database_error().expect("an error of the server");
    error.downcast_ref::<sqlx::mysql::MySqlDatabaseError>().number()
}

fn fleet(servers: usize, mariadb_share: f64) -> Fleet {
    Fleet::new(FleetSpec { servers, mariadb_share, semi_sync_share: 1.0, ..FleetSpec::default() }).unwrap()
}

const ALL: [Death; 8] = [
    Death::Refuse,
    Death::Blackhole,
    Death::Freeze,
    Death::MidAnswer,
    Death::Garbage,
    Death::WrongPassword,
    Death::TooManyConnections,
    Death::OldVersion(String::new()),
];

#[tokio::test]
async fn a_mysql_server_answers_a_probe_in_one_round_trip() {
    let fleet = fleet(4, 0.0);
    assert_eq!(fleet.dialect(1), Some(Dialect::MySql));
    let (primary, replica) = (fleet.address(0).unwrap(), fleet.address(1).unwrap());
    let mut connection = connect(replica).await.unwrap();
    let before = fleet.stats();
    let sets = batch(
        &mut connection,
        "SELECT @@global.hostname, @@server_id AS id, ifnull(@@report_host, '') AS host, @@read_only AS ro, \
         @@gtid_executed AS gtids, NOW(6) AS now, UNIX_TIMESTAMP(NOW(6)) AS unix; \
         SHOW REPLICA STATUS; SHOW BINARY LOG STATUS; SHOW REPLICAS; SHOW GLOBAL STATUS LIKE 'Uptime'",
    )
    .await
    .unwrap();
    let after = fleet.stats();
    assert_eq!((after.round_trips - before.round_trips, after.queries - before.queries), (1, 5));

    assert_eq!(sets.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1, 0, 1]);
    let base = &sets[0][0];
    assert_eq!(text(base, "@@global.hostname"), "127.10.0.2");
    assert_eq!(base.get::<u64, _>("id"), 2);
    assert_eq!(base.get::<i64, _>("ro"), 1);
    assert_eq!(text(base, "gtids"), "51b0f1ee-0000-4000-8000-000000000001:1-1000");
    assert!(text(base, "unix").parse::<f64>().unwrap() > 1.7e9);
    let status = &sets[1][0];
    assert_eq!(status.columns().len(), 60);
    assert_eq!(text(status, "Source_Host"), primary.ip().to_string());
    assert_eq!(status.get::<u32, _>("Source_Port"), u32::from(primary.port()));
    assert_eq!(status.get::<Option<u64>, _>("Seconds_Behind_Source"), Some(0));
    assert_eq!(text(status, "Replica_IO_Running"), "Yes");
    assert_eq!(text(&sets[2][0], "Executed_Gtid_Set"), text(base, "gtids"));
    assert!(text(&sets[4][0], "Value").parse::<u64>().unwrap() >= 86_400);

    let mut connection = connect(primary).await.unwrap();
    let sets =
        batch(&mut connection, "SHOW REPLICA STATUS; SHOW REPLICAS; SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync_%'")
            .await;
    let sets = sets.unwrap();
    assert!(sets[0].is_empty());
    assert_eq!(
        sets[1].iter().map(|row| text(row, "Host")).collect::<Vec<_>>(),
        ["127.10.0.2", "127.10.0.3", "127.10.0.4"]
    );
    let enabled = sets[2].iter().find(|row| text(row, "Variable_name") == "rpl_semi_sync_source_enabled").unwrap();
    assert_eq!(text(enabled, "Value"), "ON");
}

#[tokio::test]
async fn a_mariadb_server_has_its_own_words() {
    let fleet = fleet(4, 1.0);
    let mut connection = connect(fleet.address(2).unwrap()).await.unwrap();
    let sets = batch(
        &mut connection,
        "SELECT @@version, @@gtid_slave_pos AS pos, @@log_slave_updates AS l; SHOW REPLICA STATUS; SHOW ALL SLAVES STATUS; \
         SHOW MASTER STATUS; SHOW SLAVE HOSTS; SELECT VARIABLE_VALUE v FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'uptime'",
    )
    .await
    .unwrap();
    assert_eq!(sets.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1, 1, 0, 1]);
    assert!(text(&sets[0][0], "@@version").contains("MariaDB"));
    assert_eq!(text(&sets[0][0], "pos"), "0-1-1000");
    assert_eq!((sets[1][0].columns().len(), sets[2][0].columns().len()), (54, 62));
    assert_eq!(text(&sets[1][0], "Master_Host"), "127.10.0.1");
    assert_eq!(text(&sets[1][0], "Using_Gtid"), "Slave_Pos");
    assert_eq!(sets[1][0].get::<Option<u64>, _>("Seconds_Behind_Master"), Some(0));
    let error = batch(&mut connection, "SELECT @@server_uuid").await.unwrap_err();
    assert_eq!(code(&error), 1193);
}

#[tokio::test]
async fn an_unknown_statement_ends_the_batch_and_is_counted() {
    let fleet = fleet(1, 0.0);
    let mut connection = connect(fleet.address(0).unwrap()).await.unwrap();
    let error = batch(&mut connection, "SELECT 1; FROBNICATE ALL; SELECT 2").await.unwrap_err();
    assert_eq!(code(&error), 1064);
    assert!(error.to_string().contains("FROBNICATE ALL"));
    let stats = fleet.stats();
    assert_eq!(stats.unknown_statements, 1);
    assert!(stats.unknown[0].text.ends_with(": FROBNICATE ALL"), "{:?}", stats.unknown);
    assert_eq!(batch(&mut connection, "SELECT 3 AS n").await.unwrap()[0][0].get::<i64, _>("n"), 3);
}

#[tokio::test]
async fn what_a_prober_asks_now_and_then_is_known() {
    let fleet = fleet(8, 0.5);
    for index in 0..8 {
        let mut connection = connect(fleet.address(index).unwrap()).await.unwrap();
        let common = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version','server_id','nonsense'); SELECT UNIX_TIMESTAMP(); \
                      SHOW VARIABLES LIKE 'maxscale%'; SELECT USER, HOST FROM information_schema.processlist WHERE COMMAND \
                      IN ('Binlog Dump', 'Binlog Dump GTID'); SELECT datacenter FROM meta.instance -- one\n";
        let sets = batch(&mut connection, common).await.unwrap();
        let streams = if index % 4 == 0 { 3 } else { 0 };
        assert_eq!(sets.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 0, streams, 1]);
        assert_eq!(Some(text(&sets[4][0], "datacenter").as_str()), fleet.datacenter(index));
        if fleet.dialect(index) == Some(Dialect::MySql) {
            let sql = "SELECT COUNT(*) > 0 AND MAX(User_name) <> '' AS saved FROM mysql.slave_master_info; \
                       SELECT VARIABLE_VALUE FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Uptime'; \
                       SELECT MEMBER_ID FROM performance_schema.replication_group_members WHERE MEMBER_STATE <> 'OFFLINE'";
            let sets = batch(&mut connection, sql).await.unwrap();
            assert_eq!(sets[0][0].get::<i64, _>("saved"), i64::from(index % 4 != 0));
            assert_eq!((sets[1].len(), sets[2].len()), (1, 0));
        }
    }
    assert_eq!(fleet.stats().unknown_statements, 0);
}

#[tokio::test]
async fn prepared_statements_work_in_both_dialects() {
    let fleet = fleet(8, 0.5);
    for index in 0..8 {
        let mut connection = connect(fleet.address(index).unwrap()).await.unwrap();
        let sql = "SELECT ? AS given, @@server_id, @@hostname, NOW(6), NULL, @@read_only + 1 AS n, COUNT(*) AS c FROM \
                   information_schema.processlist WHERE COMMAND LIKE 'Binlog Dump%'";
        for round in 0..2_i64 {
            let row = sqlx::query(sql).bind(format!("it's {round}")).fetch_one(&mut connection).await.unwrap();
            assert_eq!(row.get::<String, _>("given"), format!("it's {round}"));
            assert_eq!(row.get::<u64, _>(1), index as u64 + 1);
            assert_eq!(row.get::<String, _>(2), fleet.address(index).unwrap().ip().to_string());
            assert!(row.get::<Option<String>, _>(4).is_none());
            assert_eq!(row.get::<i64, _>("n"), if index % 4 == 0 { 1 } else { 2 });
            assert_eq!(row.get::<i64, _>("c"), if index % 4 == 0 { 3 } else { 0 });
        }
        connection.ping().await.unwrap();
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn each_death_looks_as_it_should() {
    let fleet = fleet(9, 0.5);
    for (index, death) in ALL.iter().enumerate() {
        let address = fleet.address(index).unwrap();
        let target = Target::Server(*address.ip());
        let death = if let Death::OldVersion(_) = death { Death::OldVersion("5.1.73".into()) } else { death.clone() };
        let mut old = connect(address).await.unwrap();
        fleet.kill(target, &death).unwrap();

        let old_answer = timeout(SHORT, sqlx::raw_sql("SELECT @@version").fetch_one(&mut old)).await;
        match death {
            Death::Freeze | Death::MidAnswer => assert!(old_answer.is_err(), "{death:?}: {old_answer:?}"),
            _ => assert!(matches!(old_answer, Ok(Err(_))), "{death:?}: {old_answer:?}"),
        }
        let new = timeout(SHORT, options(address).connect()).await;
        match &death {
            Death::Refuse | Death::Garbage => assert!(matches!(new, Ok(Err(_))), "{death:?}"),
            // Half-dead: sqlx gets in, and the first statement, which it sends to set its session up, stalls.
            Death::Blackhole | Death::Freeze | Death::MidAnswer => assert!(new.is_err(), "{death:?}"),
            Death::WrongPassword => assert_eq!(code(&new.unwrap().unwrap_err()), 1045),
            Death::TooManyConnections => assert_eq!(code(&new.unwrap().unwrap_err()), 1040),
            Death::OldVersion(version) => {
                let sets = batch(&mut new.unwrap().unwrap(), "SELECT @@version AS v").await.unwrap();
                assert_eq!(&text(&sets[0][0], "v"), version);
            }
        }
        fleet.revive(target).unwrap();
        let mut connection = connect(address).await.unwrap();
        assert_eq!(batch(&mut connection, "SELECT 1").await.unwrap().len(), 1, "{death:?}");
    }
    let mut bystander = connect(fleet.address(8).unwrap()).await.unwrap();
    assert_eq!(batch(&mut bystander, "SELECT 1").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_frozen_server_answers_when_it_thaws() {
    let fleet = fleet(1, 0.0);
    let target = Target::Server(*fleet.address(0).unwrap().ip());
    let mut connection = connect(fleet.address(0).unwrap()).await.unwrap();
    fleet.kill(target, &Death::Freeze).unwrap();
    let (answer, ()) = tokio::join!(timeout(LONG, sqlx::raw_sql("SELECT 1").fetch_one(&mut connection)), async {
        // The thaw must come after the question: wait until that has had the time to be read.
        tokio::time::sleep(SHORT).await;
        fleet.revive(target).unwrap();
    });
    assert!(answer.unwrap().is_ok());
}

#[tokio::test]
async fn garbage_is_http() {
    let fleet = fleet(1, 0.0);
    let address = fleet.address(0).unwrap();
    fleet.kill(Target::All, &Death::Garbage).unwrap();
    let greeting = tokio::task::spawn_blocking(move || {
        let mut greeting = String::new();
        TcpStream::connect(address).unwrap().read_to_string(&mut greeting).map(|_| greeting)
    });
    assert!(greeting.await.unwrap().unwrap().starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn replicas_and_sources_notice_deaths() {
    let spec = FleetSpec { servers: 4, replica_net_timeout: Duration::ZERO, ..FleetSpec::default() };
    let fleet = Fleet::new(spec).unwrap();
    let mut replica = connect(fleet.address(1).unwrap()).await.unwrap();
    for death in [Death::Refuse, Death::Blackhole, Death::Freeze] {
        fleet.kill(Target::Server(*fleet.address(0).unwrap().ip()), &death).unwrap();
        let sets = batch(&mut replica, "SHOW REPLICA STATUS").await.unwrap();
        assert_eq!(text(&sets[0][0], "Replica_IO_Running"), "Connecting", "{death:?}");
        assert_eq!(sets[0][0].get::<Option<u64>, _>("Seconds_Behind_Source"), None);
        assert_eq!(sets[0][0].get::<u32, _>("Last_IO_Errno"), 2003);
        fleet.revive(Target::All).unwrap();
    }
    fleet.kill(Target::Server(*fleet.address(3).unwrap().ip()), &Death::Refuse).unwrap();
    let mut primary = connect(fleet.address(0).unwrap()).await.unwrap();
    assert_eq!(batch(&mut primary, "SHOW REPLICAS").await.unwrap()[0].len(), 2);
}

#[tokio::test]
async fn commits_move_a_whole_cluster_and_no_other() {
    let fleet = fleet(8, 0.0);
    fleet.commit(*fleet.address(0).unwrap().ip(), 5).unwrap();
    for (index, last) in [(0, 1005), (3, 1005), (4, 1001)] {
        let mut connection = connect(fleet.address(index).unwrap()).await.unwrap();
        let sets = batch(&mut connection, "SELECT @@gtid_executed AS g").await.unwrap();
        assert!(text(&sets[0][0], "g").ends_with(&format!(":1-{last}")));
    }
}

#[tokio::test]
async fn latency_delays_every_answer() {
    let fleet = fleet(2, 0.0);
    let slow = fleet.address(0).unwrap();
    let mut connection = connect(slow).await.unwrap();
    fleet.set_latency(Target::Server(*slow.ip()), Duration::from_millis(40)).unwrap();
    let started = Instant::now();
    batch(&mut connection, "SELECT 1; SELECT 2").await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(40));
}

#[tokio::test]
async fn two_thousand_connections_are_open_at_once_and_counted() {
    let fleet = fleet(1000, 0.3);
    let addresses = fleet.addresses();
    let mut open = Vec::new();
    // Not all at the same instant: the kernel's queue of new connections is finite.
    for chunk in addresses.repeat(2).chunks(500) {
        open.extend(try_join_all(chunk.iter().map(|address| connect(*address))).await.unwrap());
    }
    fleet.reset_stats();
    try_join_all(open.iter_mut().map(|connection| batch(connection, "SELECT @@server_id; SHOW REPLICA STATUS")))
        .await
        .unwrap();
    let stats = fleet.stats();
    assert_eq!((stats.open_connections, stats.new_connections), (2000, 0));
    assert_eq!((stats.round_trips, stats.queries), (2000, 4000));
    assert_eq!((stats.max_round_trips, stats.max_open_connections), (2, 2));
    assert_eq!((stats.unknown_statements, stats.accept_errors, stats.stray_connections), (0, 0, 0));

    let killed = fleet.kill_share(0.2, &Death::Refuse).unwrap();
    assert_eq!((killed.len(), fleet.stats().killed), (200, 200));
    drop(open);
    let deadline = Instant::now() + LONG;
    while fleet.stats().open_connections > 0 {
        assert!(Instant::now() < deadline, "connections stay counted");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_address_without_a_server_is_a_stray() {
    let fleet = fleet(1, 0.0);
    assert!(options(SocketAddrV4::new([127, 10, 0, 2].into(), fleet.port())).connect().await.is_err());
    assert_eq!(fleet.stats().stray_connections, 1);
}

#[tokio::test]
async fn the_line_protocol_commands_the_fleet() {
    let fleet = fleet(8, 0.5);
    let run = |line: &str| simulator::execute_command(&fleet, line);
    assert_eq!(run("kill 127.10.0.5 blackhole")["servers"], 1);
    assert_eq!(run("kill-share 0.25 refuse")["servers"], 2);
    assert_eq!(run("stats")["killed"], 3);
    assert_eq!(run("revive all")["servers"], 8);
    assert_eq!(run("stats")["killed"], 0);
    assert_eq!(run("latency all 5ms")["ok"], true);
    assert_eq!(run("seeds").as_array().unwrap().len(), 2);
    assert_eq!(run("servers").as_array().unwrap().len(), 8);
    for bad in ["kill 127.10.9.9 refuse", "kill all softly", "latency all fast", "kill-share 2 refuse", "dance", "kill"]
    {
        assert!(run(bad)["error"].is_string(), "{bad}");
    }
}

/// What a failover does, in the words of either dialect.
#[tokio::test]
async fn a_replica_takes_the_place_of_a_dead_primary() {
    for (share, stop, reset, point, start, status) in [
        (
            0.0,
            "STOP REPLICA IO_THREAD",
            "STOP REPLICA; RESET REPLICA ALL",
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST",
            "START REPLICA",
            "SHOW REPLICA STATUS",
        ),
        (
            1.0,
            "STOP SLAVE IO_THREAD",
            "STOP SLAVE; RESET SLAVE ALL",
            "CHANGE MASTER TO MASTER_HOST",
            "START SLAVE",
            "SHOW ALL SLAVES STATUS",
        ),
    ] {
        let fleet = fleet(4, share);
        let address = |index| fleet.address(index).unwrap();
        let first = fleet.writable(0);
        assert_eq!((first.len(), first[0]), (1, (address(0), Duration::ZERO)));
        fleet.kill(Target::Server(*address(0).ip()), &Death::Refuse).unwrap();
        assert_eq!(fleet.writable(0), []);
        assert!(fleet.commit(*address(1).ip(), 1).is_err(), "nobody takes writes");

        let mut one = connect(address(1)).await.unwrap();
        let running = batch(&mut one, "CHANGE MASTER TO MASTER_HOST = 'x'; SELECT 1").await.err();
        assert!(running.is_some(), "not while it runs, or not in these words");
        batch(&mut one, &format!("{stop}; {reset}; SET GLOBAL read_only = OFF")).await.unwrap();
        let sets = batch(&mut one, &format!("{status}; SELECT @@read_only AS closed")).await.unwrap();
        assert_eq!((sets[0].len(), text(&sets[1][0], "closed").as_str()), (0, "0"));
        let opened = fleet.writable(0);
        assert_eq!((opened.len(), opened[0].0), (1, address(1)));
        assert!(opened[0].1 > Duration::ZERO && !fleet.follows(0, address(1)));

        for index in [2, 3] {
            let mut replica = connect(address(index)).await.unwrap();
            let (host, port) = (address(1).ip().to_string(), fleet.port());
            let prefix = point.trim_end_matches("HOST").rsplit(' ').next().unwrap().to_owned();
            let change = format!("{point} = '{host}', {prefix}PORT = {port}");
            assert!(batch(&mut replica, &change).await.is_err(), "not while it runs");
            batch(&mut replica, &format!("{stop}; {}; {change}; {start}", stop.replace("IO_", "SQL_"))).await.unwrap();
        }
        assert!(fleet.follows(0, address(1)));
        fleet.commit(*address(3).ip(), 7).unwrap();
        let mut replica = connect(address(3)).await.unwrap();
        let gtids = if share == 0.0 { "@@gtid_executed" } else { "@@gtid_current_pos" };
        let sets = batch(&mut replica, &format!("SELECT {gtids} AS gtids; {status}")).await.unwrap();
        let gtids = text(&sets[0][0], "gtids");
        assert!(gtids == "0-2-1007" || gtids.contains("1-1000,") && gtids.ends_with("2:1-7"), "{gtids}");
        let column = if share == 0.0 { "Source_Host" } else { "Master_Host" };
        assert_eq!(text(&sets[1][0], column), address(1).ip().to_string());
        assert_eq!(fleet.stats().unknown_statements, u64::from(share == 0.0), "{:?}", fleet.stats().unknown);
    }
}
