//! What a probe says against what the server says.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::instance::{FailureKind, PluginNaming, ReplicaFacts, ServerFacts, ThreadState};
use harness::{Flavor, Options, Server, Topology, catch_up};
use mysql::HostnameMethod;

use crate::support::{BOTH, facts_of, failure, key, prober, rows, settings, shown, text, until, value};

fn replica(facts: &ServerFacts) -> &ReplicaFacts {
    facts.replica.as_ref().expect("a replica")
}

#[tokio::test(flavor = "multi_thread")]
async fn all_facts_of_a_tree_are_what_the_servers_say() {
    for flavor in BOTH {
        let tree = Topology::start(flavor, "a\n  b\n    c\n  d delay=3600").await.expect("a tree");
        if flavor == Flavor::MySql {
            // 9.7 applies with four workers, in order unless told otherwise.
            let sql =
                "STOP REPLICA SQL_THREAD; SET GLOBAL replica_preserve_commit_order = OFF; START REPLICA SQL_THREAD";
            tree["c"].execute(sql).await.expect("out of order");
        }
        tree["a"]
            .execute("CREATE TABLE app.t (i INT PRIMARY KEY); INSERT INTO app.t VALUES (1)")
            .await
            .expect("writes");
        for (replica, source) in [("b", "a"), ("c", "b")] {
            catch_up(&tree[replica], &tree[source], Duration::from_secs(20)).await.expect("catches up");
        }
        let prober = prober(settings());
        let mut all = Vec::new();
        for (name, server) in &tree.servers {
            // The position an applier shows follows what it has applied a little later.
            let is_delayed = name == "d";
            let facts = until(&prober, server, "rest", |facts| {
                is_delayed || facts.replica.as_ref().is_none_or(|replica| replica.read == replica.exec)
            })
            .await;
            compare_variables(server, &facts).await;
            compare_replica(server, &facts).await;
            assert_eq!(facts.missing, Vec::<String>::new(), "{name}");
            all.push(facts);
        }
        let keys = |names: &[&str]| names.iter().map(|name| key(&tree[name])).collect::<BTreeSet<_>>();
        assert_eq!(all[0].replicas, keys(&["b", "d"]));
        assert_eq!(all[1].replicas, keys(&["c"]));
        assert_eq!(all[0].replica, None);
        assert_eq!(all[2].source(), Some(&key(&tree["b"])));
        assert!(all[1].is_replica_running() && all[1].read_only && !all[0].read_only);
        assert_eq!(replica(&all[3]).sql_delay, 3600);
        assert_eq!(replica(&all[1]).sql_delay, 0);
        assert_eq!(replica(&all[1]).applies_out_of_order, Some(false));
        assert_eq!(replica(&all[2]).applies_out_of_order, Some(flavor == Flavor::MySql));
        match flavor {
            Flavor::MySql => {
                assert!(
                    replica(&all[1]).auto_position && all[0].replication_credentials_available == all[0].is_replica()
                );
                assert!(all[1].replication_credentials_available && !replica(&all[1]).using_mariadb_gtid);
            }
            Flavor::MariaDb => {
                assert!(replica(&all[1]).using_mariadb_gtid && !replica(&all[1]).auto_position);
                assert!(!all[1].replication_credentials_available);
            }
        }
        // Nothing moves by itself.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        for ((_, server), before) in tree.servers.iter().zip(&all) {
            let mut now = facts_of(&prober, server).await;
            if let (Some(now), Some(before)) = (&mut now.replica, &before.replica) {
                now.seconds_behind = before.seconds_behind;
                now.lag_seconds = before.lag_seconds;
            }
            assert_eq!(&now, before);
        }
    }
}

async fn compare_variables(server: &Server, facts: &ServerFacts) {
    let variable = async |name: &str| shown(server, "VARIABLES", name).await;
    assert_eq!(facts.server_id.to_string(), variable("server_id").await);
    assert_eq!(facts.server_uuid, variable("server_uuid").await);
    assert_eq!(facts.version, variable("version").await);
    assert_eq!(facts.version_comment, variable("version_comment").await);
    assert_eq!(facts.read_only, variable("read_only").await == "ON");
    assert_eq!(facts.super_read_only, variable("super_read_only").await == "ON");
    assert_eq!(facts.binlog_format, variable("binlog_format").await);
    assert_eq!(facts.binlog_row_image, variable("binlog_row_image").await);
    assert_eq!(facts.log_bin, variable("log_bin").await == "ON");
    assert_eq!(facts.log_replica_updates, variable("log_%_updates").await == "ON");
    assert_eq!(facts.gtid.mode, variable("gtid_mode").await);
    let gtid = |text: String| text.replace([' ', '\n'], "");
    assert_eq!(facts.gtid.executed, gtid(variable("gtid_executed").await));
    assert_eq!(facts.gtid.purged, gtid(variable("gtid_purged").await));
    assert_eq!(facts.gtid.mariadb_current_pos, variable("gtid_current_pos").await);
    assert_eq!(facts.gtid.mariadb_slave_pos, variable("gtid_slave_pos").await);
    assert_eq!(facts.gtid.mariadb_binlog_pos, variable("gtid_binlog_pos").await);
    let uptime: i64 = shown(server, "STATUS", "Uptime").await.parse().expect("a number");
    let now: i64 = value(server, "SELECT UNIX_TIMESTAMP()").await.parse().expect("a number");
    assert!((facts.started_at - (now - uptime)).abs() <= 2, "{} {now} {uptime}", facts.started_at);
    let sql = if server.flavor() == Flavor::MySql { "SHOW BINARY LOG STATUS" } else { "SHOW BINLOG STATUS" };
    let status = rows(server, sql).await;
    assert_eq!(facts.binlog.file, text(&status[0], "File"));
    assert_eq!(facts.binlog.position.to_string(), text(&status[0], "Position"));
}

async fn compare_replica(server: &Server, facts: &ServerFacts) {
    let is_mysql = server.flavor() == Flavor::MySql;
    let status = rows(server, if is_mysql { "SHOW REPLICA STATUS" } else { "SHOW SLAVE STATUS" }).await;
    let Some(row) = status.first() else {
        assert_eq!(facts.replica, None);
        return;
    };
    let facts = replica(facts);
    let column = |name: &str| {
        let old = name.replace("Source", "Master").replace("Replica_", "Slave_");
        text(row, if is_mysql { name } else { &old })
    };
    assert_eq!(facts.source.to_string(), format!("{}:{}", column("Source_Host"), column("Source_Port")));
    assert_eq!(facts.user, column("Source_User"));
    assert_eq!(facts.io_thread, ThreadState::from_status(&column("Replica_IO_Running")));
    assert_eq!(facts.sql_thread, ThreadState::from_status(&column("Replica_SQL_Running")));
    assert_eq!(facts.read.to_string(), format!("{}:{}", column("Source_Log_File"), column("Read_Source_Log_Pos")));
    assert_eq!(
        facts.exec.to_string(),
        format!("{}:{}", column("Relay_Source_Log_File"), column("Exec_Source_Log_Pos"))
    );
    assert_eq!(facts.relay.to_string(), format!("{}:{}", column("Relay_Log_File"), column("Relay_Log_Pos")));
    assert_eq!(facts.tls.allowed, column("Source_SSL_Allowed") == "Yes");
    assert_eq!(facts.tls.verify_server_cert, Some(column("Source_SSL_Verify_Server_Cert") == "Yes"));
    assert_eq!(facts.lag_seconds, facts.seconds_behind);
    if is_mysql {
        assert_eq!(facts.source_uuid, column("Source_UUID"));
        assert_eq!(facts.retrieved_gtid_set, column("Retrieved_Gtid_Set").replace('\n', ""));
        assert_eq!(facts.tls.get_public_key, Some(true), "it was set");
    } else {
        assert_eq!(facts.source_uuid, "No");
        assert_eq!(facts.mariadb_io_pos, text(row, "Gtid_IO_Pos"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn semi_sync_is_seen_as_it_is_and_as_it_changes() {
    for flavor in BOTH {
        let pair = Topology::start(flavor, "a semisync=source\n  b semisync=replica\nlone").await.expect("servers");
        let prober = prober(settings());
        let (naming, variable) = match flavor {
            Flavor::MySql => (PluginNaming::SourceReplica, "rpl_semi_sync_source"),
            Flavor::MariaDb => (PluginNaming::MasterSlave, "rpl_semi_sync_master"),
        };
        let source =
            until(&prober, &pair["a"], "a client", |facts| facts.semi_sync.source_clients == 1).await.semi_sync;
        assert!(source.source_enabled && source.source_status && !source.replica_enabled, "{source:?}");
        assert_eq!(source.source_plugin, Some(naming));
        assert_eq!(source.source_timeout_ms, 10_000);
        assert_eq!(source.wait_for_replica_count, u64::from(flavor == Flavor::MySql));
        let replica = facts_of(&prober, &pair["b"]).await.semi_sync;
        assert!(replica.replica_enabled && replica.replica_status && !replica.source_enabled, "{replica:?}");
        let lone = facts_of(&prober, &pair["lone"]).await.semi_sync;
        assert_eq!(lone.source_plugin.is_some(), flavor == Flavor::MariaDb, "{lone:?}");
        // Switched at run time: seen by the very next probe.
        pair["a"]
            .execute(&format!("SET GLOBAL {variable}_enabled = OFF; SET GLOBAL {variable}_timeout = 77"))
            .await
            .expect("set");
        let off = facts_of(&prober, &pair["a"]).await.semi_sync;
        assert!(!off.source_enabled && !off.source_status && off.source_timeout_ms == 77, "{off:?}");
        pair["a"].execute(&format!("SET GLOBAL {variable}_enabled = ON")).await.expect("set");
        let on = facts_of(&prober, &pair["a"]).await.semi_sync;
        assert!(on.source_enabled && on.source_status, "{on:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_errors_and_read_only_are_seen_at_once() {
    for flavor in BOTH {
        let pair = Topology::start(flavor, "a\n  b").await.expect("servers");
        let (a, b) = (&pair["a"], &pair["b"]);
        let prober = prober(settings());
        let set = async |sql: &str| b.execute(sql).await.expect("executes");
        assert!(facts_of(&prober, b).await.is_replica_running());
        a.execute("CREATE TABLE app.t (i INT PRIMARY KEY)").await.expect("creates");
        catch_up(b, a, Duration::from_secs(20)).await.expect("catches up");
        set("STOP REPLICA IO_THREAD").await;
        assert_eq!(facts_of(&prober, b).await.threads(), (ThreadState::Stopped, ThreadState::Running));
        set("START REPLICA IO_THREAD; STOP REPLICA SQL_THREAD; SET GLOBAL read_only = OFF").await;
        let facts = until(&prober, b, "threads", |f| f.threads() == (ThreadState::Running, ThreadState::Stopped)).await;
        assert!(!facts.read_only);
        set("SET GLOBAL read_only = ON").await;
        assert!(facts_of(&prober, b).await.read_only);
        if flavor == Flavor::MySql {
            set("SET GLOBAL super_read_only = ON").await;
            assert!(facts_of(&prober, b).await.super_read_only);
            set("SET GLOBAL super_read_only = OFF").await;
        }
        // A row that only the replica has makes the applier fail.
        set("SET SESSION sql_log_bin = 0; SET GLOBAL read_only = OFF; INSERT INTO app.t VALUES (1); START REPLICA")
            .await;
        a.execute("INSERT INTO app.t VALUES (1)").await.expect("inserts");
        let stopped_by_error =
            |f: &ServerFacts| f.threads().1 == ThreadState::Stopped && !replica(f).last_sql_error.is_empty();
        let broken = until(&prober, b, "an applier error", stopped_by_error).await;
        let sql = if flavor == Flavor::MySql { "SHOW REPLICA STATUS" } else { "SHOW SLAVE STATUS" };
        assert_eq!(replica(&broken).last_sql_error, text(&rows(b, sql).await[0], "Last_SQL_Error"));
        // A source that is gone makes the receiver fail.
        a.kill().expect("killed");
        let orphan = until(&prober, b, "a receiver error", |f| f.threads().0 == ThreadState::Other).await;
        let orphan =
            until(&prober, b, "its text", |f| !replica(f).last_io_error.is_empty()).await.replica.or(orphan.replica);
        assert!(orphan.expect("a replica").last_io_error.contains("connect"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn co_primaries_see_each_other() {
    for flavor in BOTH {
        let pair = Topology::start(flavor, "a source=b writable\nb source=a").await.expect("servers");
        let prober = prober(settings());
        for (one, other) in [("a", "b"), ("b", "a")] {
            let facts = until(&prober, &pair[one], "its peer", |f| !f.replicas.is_empty()).await;
            assert_eq!(facts.source(), Some(&key(&pair[other])));
            assert_eq!(facts.replicas, BTreeSet::from([key(&pair[other])]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tagged_gtids_are_kept_as_written() {
    let server = Server::start(Flavor::MySql).await.expect("a server");
    server
        .execute("SET gtid_next = 'AUTOMATIC:nightly'; CREATE TABLE app.tagged (i INT)")
        .await
        .expect("a tagged write");
    server.execute("CREATE TABLE app.plain (i INT)").await.expect("a write");
    let facts = facts_of(&prober(settings()), &server).await;
    assert!(facts.gtid.executed.contains(":nightly:1"), "{}", facts.gtid.executed);
    assert_eq!(facts.gtid.executed, value(&server, "SELECT @@global.gtid_executed").await.replace('\n', ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_goes_by_the_name_the_setting_chooses() {
    for flavor in BOTH {
        let server = Server::start(flavor).await.expect("a server");
        let hostname = value(&server, "SELECT @@hostname").await;
        for (method, expected) in [
            (HostnameMethod::Given, "127.0.0.1"),
            (HostnameMethod::Hostname, hostname.as_str()),
            (HostnameMethod::ReportHost, "127.0.0.1"),
        ] {
            let mut settings = settings();
            settings.hostname_method = method;
            let observation = prober(settings).probe(&key(&server)).await;
            let domain::instance::Answer::Facts { key: named, .. } = observation.answer else { panic!("no facts") };
            assert_eq!((named.hostname.as_str(), named.port), (expected, server.port()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_without_a_name_are_found_in_the_process_list() {
    for flavor in BOTH {
        let tree = Topology::start(flavor, "a\n  b --report-host=\n  c").await.expect("servers");
        let prober = prober(settings());
        let both = BTreeSet::from([key(&tree["b"]), key(&tree["c"])]);
        until(&prober, &tree["a"], "both replicas", |facts| facts.replicas == both).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_sources_the_default_channel_counts() {
    for flavor in BOTH {
        let trio = Topology::start(flavor, "a\nx\nm").await.expect("servers");
        let (source, channel) = match flavor {
            Flavor::MySql => {
                ("CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=", " FOR CHANNEL 'other'")
            }
            Flavor::MariaDb => ("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=", ""),
        };
        let named = if flavor == Flavor::MariaDb {
            source.replace("MASTER TO", "MASTER 'other' TO")
        } else {
            source.to_owned()
        };
        let m = &trio["m"];
        m.execute(&format!("{named}{}{channel}", trio["x"].port())).await.expect("a named channel");
        let prober = prober(settings());
        let only = facts_of(&prober, m).await.replica.expect("a replica");
        assert_eq!((only.source, only.other_channels.len()), (key(&trio["x"]), 0));
        let channel = channel.replace("other", "");
        m.execute(&format!("{source}{}{channel}", trio["a"].port())).await.expect("the default channel");
        let both = facts_of(&prober, m).await.replica.expect("a replica");
        assert_eq!((both.source, both.other_channels), (key(&trio["a"]), vec!["other".to_owned()]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_cannot_be_are_refused_or_dropped() {
    for flavor in BOTH {
        let tree = Topology::start(flavor, "a\n  b --report-host=<script>\n  c").await.expect("servers");
        let change = match flavor {
            Flavor::MySql => "CHANGE REPLICATION SOURCE TO SOURCE_HOST='a b<i>'",
            Flavor::MariaDb => "CHANGE MASTER TO MASTER_HOST='a b<i>'",
        };
        let mut by_report_host = settings();
        by_report_host.hostname_method = HostnameMethod::ReportHost;
        let by_report_host = prober(by_report_host);
        let prober = prober(settings());
        let a = until(&prober, &tree["a"], "the honest replica", |facts| !facts.replicas.is_empty()).await;
        assert_eq!(a.replicas, BTreeSet::from([key(&tree["c"])]));
        let (kind, message) = failure(by_report_host.probe(&key(&tree["b"])).await);
        assert_eq!(kind, FailureKind::Statement, "{message}");
        assert!(message.contains("report_host") && message.contains("MySQLHostnameResolveMethod"), "{message}");
        // It must not look like a primary only because its source has no usable name.
        tree["c"].execute(&format!("STOP REPLICA; {change}")).await.expect("changed");
        let (kind, message) = failure(prober.probe(&key(&tree["c"])).await);
        assert_eq!(kind, FailureKind::Statement, "{message}");
        assert!(message.contains("source"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_group_is_seen() {
    let ports = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let group = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
    let extra_args = [
        "--plugin-load-add=group_replication.so".to_owned(),
        format!("--loose-group-replication-group-name={group}"),
        format!("--loose-group-replication-local-address={ports}"),
        format!("--loose-group-replication-group-seeds={ports}"),
        "--loose-group-replication-start-on-boot=OFF".to_owned(),
        "--loose-group-replication-communication-stack=XCOM".to_owned(),
    ];
    let options = Options { extra_args: extra_args.to_vec(), performance_schema: true, ..Options::default() };
    let server = Server::start_with(Flavor::MySql, options).await.expect("a server");
    let prober = prober(settings());
    assert_eq!(facts_of(&prober, &server).await.group, None, "configured, not started");
    server
        .execute("SET GLOBAL group_replication_bootstrap_group = ON; START GROUP_REPLICATION")
        .await
        .expect("a group");
    let facts = until(&prober, &server, "a primary", |f| f.group.as_ref().is_some_and(|g| g.primary.is_some())).await;
    let group_facts = facts.group.clone().expect("a member");
    assert_eq!((group_facts.name.as_str(), group_facts.role.as_str()), (group, "PRIMARY"));
    assert_eq!(group_facts.primary, Some(key(&server)));
    assert!(facts.is_group_primary(&key(&server)) && facts.replica.is_none(), "{facts:#?}");
    assert_eq!(
        group_facts.state,
        value(&server, "SELECT MEMBER_STATE FROM performance_schema.replication_group_members").await
    );
}
