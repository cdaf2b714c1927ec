//! Every command against a real service, compared with what `orchestrator` prints for the same word.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Flavor, Topology};
use scenario::{Fleet, Output, wait};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(60);

/// Words that read, with flags that both programs understand, `A`, `B` and `C` for the servers. Both print the same.
const SAME: &[&str] = &[
    "clusters",
    "topology -i A",
    "topology -alias shop",
    "topology-tabulated -i B",
    "topology-tags -i A",
    "search -pattern 127",
    "find -pattern :[0-9]+$",
    "instance -i A",
    "which-instance -i B",
    "which-master -i B",
    "which-replicas -i A",
    "which-replicas -i C",
    "which-broken-replicas -i A",
    "which-cluster-instances -i A",
    "which-cluster -i B",
    "which-cluster-alias -i B",
    "which-cluster-domain -i B",
    "which-cluster-master -i B",
    "all-clusters-masters",
    "all-instances",
    "bulk-instances",
    "bulk-promotion-rules",
    "problems",
    "which-cluster-osc-replicas -i A",
    "which-cluster-osc-running-replicas -i A",
    "downtimed",
    "downtimed -i A",
    "which-downtimed-instances",
    "which-lost-in-recovery",
    "dominant-dc",
    "tags -i B",
    "tag-value -i B -tag role",
    "tagged -tag role",
    "tagged -tag ~role=x",
    "which-heuristic-cluster-pool-instances -i A",
    "which-heuristic-cluster-pool-instances -i A -pool ro",
    "in-maintenance -i A",
    "in-maintenance -i B",
    "can-replicate-from -i B -d C",
    "is-replicating -i A",
    "is-replicating -i B",
    "is-replication-stopped -i B",
    "active-nodes",
    "show-resolve-hosts",
    "resolve -i A",
];

/// The program under test; another build of it, such as the static one, where the environment names it.
fn client() -> std::ffi::OsString {
    std::env::var_os("ORCHESTRATOR_CLIENT_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_orchestrator-client").into())
}

struct Site {
    fleet: Fleet,
    topology: Topology,
    api: String,
}

impl Site {
    async fn start() -> Result<Self> {
        let topology = Topology::start(Flavor::MySql, "a\n  b\n    c").await?;
        let mut fleet = Fleet::new(Flavor::MariaDb, json!({ "DiscoverByShowSlaveHosts": true })).await?;
        let mut api = String::new();
        // Nothing listens at the first; the others are told apart by who leads.
        for name in ["one", "two"] {
            fleet.service(name, &[]).await?;
            api = format!("{api} http://127.0.0.1:{}", fleet.port(name)?);
        }
        Ok(Self { fleet, topology, api })
    }

    /// A line with the names of servers put in.
    fn words(&self, line: &str) -> Vec<String> {
        let address = |word: &str| match word {
            "A" | "B" | "C" => self.topology[word.to_lowercase().as_str()].address(),
            other => other.to_owned(),
        };
        line.split_whitespace().map(address).collect()
    }

    async fn client_with(&self, pairs: &[(&str, &str)], words: &[String]) -> Result<Output> {
        let output = tokio::process::Command::new(client())
            .env_clear()
            .envs(pairs.iter().copied())
            .args(words)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Output {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }

    async fn client(&self, line: &str) -> Result<Output> {
        self.client_with(&[("ORCHESTRATOR_API", &self.api)], &self.words(line)).await
    }

    /// stdout of a line that must succeed in silence.
    async fn ok(&self, line: &str) -> Result<String> {
        let output = self.client(line).await?;
        ensure!(output.code == 0 && output.stderr.is_empty(), "{line}: {output:?}");
        Ok(output.stdout)
    }

    /// stderr of a line that must fail with nothing on stdout.
    async fn fails(&self, line: &str) -> Result<String> {
        let output = self.client(line).await?;
        ensure!(output.code == 1 && output.stdout.is_empty() && !output.stderr.is_empty(), "{line}: {output:?}");
        Ok(output.stderr)
    }

    async fn cli(&self, line: &str) -> Result<String> {
        let words = self.words(line);
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.insert(0, "-c");
        self.fleet.ok(&words).await
    }

    fn address(&self, name: &str) -> String {
        self.topology[name].address()
    }

    /// Discovers the topology through the client.
    async fn discover(&self) -> Result<()> {
        let (seed, line) = (self.address("c"), "discover -i C");
        ensure!(self.ok(line).await? == format!("{seed}\n"), "discover prints the instance");
        wait::until("three servers are placed in one cluster", LIMIT, || async {
            let text = self.client("topology -i C").await?.stdout;
            Ok((text.lines().count() == 3 && text.contains("      ") || text.matches("[0s,ok").count() == 3)
                .then_some(()))
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command() -> Result<()> {
    let mut site = Site::start().await?;
    site.discover().await?;
    changes_show(&site).await?;
    same_as_the_command_line(&site).await?;
    differs_on_purpose(&site).await?;
    recoveries(&site).await?;
    later_stages_say_so(&site).await?;
    mistakes(&site).await?;
    behind_tls_and_a_password(&mut site).await?;
    endings(&site).await?;
    the_leader_may_go(&mut site).await
}

/// What the client changes, is changed.
async fn changes_show(site: &Site) -> Result<()> {
    let (b, c) = (format!("{}\n", site.address("b")), format!("{}\n", site.address("c")));
    for line in [
        "tag -i B -t role=backup/standby",
        "register-candidate -i B -R prefer_not",
        "begin-maintenance -i B -r upgrade",
        "register-hostname-unresolve -i B -H vip",
        "deregister-hostname-unresolve -i B",
    ] {
        ensure!(site.ok(line).await? == b, "{line}");
    }
    let words =
        ["-c", "begin-downtime", "-i", &site.address("c"), "--reason", "disk 1/2 is full", "-o", "ann", "-u", "2h"];
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let output = site.client_with(&[("ORCHESTRATOR_API", &site.api)], &words).await?;
    ensure!(output.stdout == c && output.code == 0, "{output:?}");
    let record = site.ok("instance -i C --json").await?;
    ensure!(record.contains("\"DowntimeReason\":\"disk 1/2 is full\",\"DowntimeOwner\":\"ann\""), "{record}");
    ensure!(site.ok(&format!("submit-pool-instances -l ro -i {},{}", b.trim(), c.trim())).await? == "ro\n", "pool");
    ensure!(site.ok("set-cluster-alias -i C -a shop").await? == format!("{}\n", site.address("a")), "alias");
    ensure!(site.ok("async-discover -i B").await? == b, "async-discover prints the instance");
    wait::until("the alias is known everywhere", LIMIT, || async {
        Ok((site.client("which-cluster-alias -i C").await?.stdout == "shop\n").then_some(()))
    })
    .await
}

async fn same_as_the_command_line(site: &Site) -> Result<()> {
    for line in SAME {
        // Between the two a second may pass, and with it a lag.
        wait::until(&format!("both print the same for {line}"), Duration::from_secs(20), || async {
            let (here, there) = (site.ok(line).await?, site.cli(line).await?);
            Ok((here == there).then_some(()))
        })
        .await
        .with_context(|| line.to_string())?;
        let json = site.ok(&format!("{line} --json")).await?;
        ensure!(
            json.lines().count() == 1 && serde_json::from_str::<serde_json::Value>(&json).is_ok(),
            "{line}: {json}"
        );
    }
    Ok(())
}

async fn differs_on_purpose(site: &Site) -> Result<()> {
    let (a, b, c) = (site.address("a"), site.address("b"), site.address("c"));
    // As the original client has it, unlike the command line.
    ensure!(site.ok("which-master -i A").await? == ":0\n", "no source");
    ensure!(site.ok("clusters-alias").await? == format!("{a},shop\n"), "alias");
    ensure!(site.ok("which-gtid-errant -i B").await? == "\n", "nothing errant");
    ensure!(site.ok("snapshot-topologies").await?.starts_with("Took "), "snapshot");
    ensure!(site.ok("cluster-pool-instances -a").await.is_err(), "a flag without its value");
    ensure!(site.ok("reset-hostname-resolve-cache").await? == "hostname resolve cache cleared\n", "cache");
    // The reason is worth more than silence.
    ensure!(site.fails("can-replicate-from -i B -d B").await?.contains("from itself"), "a refusal");
    ensure!(site.ok("can-replicate-from-gtid -i C -d A").await? == format!("{a}\n"), "by GTID");
    let pools = site.ok(&format!("cluster-pool-instances -a {a}")).await?;
    ensure!(pools.lines().count() == 2 && pools.contains(&format!("ro\t{b}\n")), "{pools}");
    ensure!(site.ok("api -P clusters").await? == format!("[\"{a}\"]\n"), "raw");
    let raw = site.ok("api -P /api/search?s=shop").await?;
    ensure!(raw.starts_with('[') && raw.lines().count() == 1, "{raw}");
    let refused = site.client("api -P instance/nowhere/1").await?;
    ensure!(
        refused.code == 1 && refused.stdout.starts_with("{\"Code\":\"ERROR\"") && refused.stderr.is_empty(),
        "{refused:?}"
    );
    ensure!(site.fails("api -P no-such-path").await?.contains("does not know the path"), "unknown path");
    ensure!(site.fails("api -P v2/jobs/999999").await.is_err(), "a problem is shown as it came");
    let leader = site.ok("which-api").await?;
    ensure!(site.api.split_whitespace().any(|one| leader == format!("{one}/api\n")), "{leader}");
    ensure!(site.ok("search -i 127.0").await?.contains(&c), "search by -i, as of old");
    Ok(())
}

async fn recoveries(site: &Site) -> Result<()> {
    let refused = site.client("recover -i A").await?;
    ensure!(refused.code == 1 && refused.stderr.contains("nothing is wrong with it"), "{refused:?}");
    ensure!(refused.stdout.starts_with("{\"Hostname\":"), "the failed instance: {refused:?}");
    for (line, printed) in [
        ("check-global-recoveries", "enabled\n"),
        ("disable-global-recoveries", "disabled\n"),
        ("check-global-recoveries", "disabled\n"),
        ("enable-global-recoveries", "enabled\n"),
        ("ack-all-recoveries -r seen", "seen\n"),
    ] {
        ensure!(site.ok(line).await? == printed, "{line}");
    }
    ensure!(site.ok("api -P audit-recovery").await? == "[]\n", "none yet");
    for word in ["recoveries", "audit-recovery", "detections", "blocked-recoveries"] {
        ensure!(site.ok(word).await?.is_empty(), "{word}: none yet");
    }
    ensure!(site.ok("audit").await?.contains("tag"), "what was done");
    ensure!(site.fails("explain").await?.contains("v2/clusters/CLUSTER/explain"), "how to get it");
    ensure!(site.fails("recovery").await?.contains("not offered over HTTP"), "recovery");
    Ok(())
}

async fn later_stages_say_so(site: &Site) -> Result<()> {
    ensure!(site.fails("match -i B -d A").await?.contains("not built yet"), "Pseudo-GTID");
    ensure!(site.fails("raft-leader").await?.contains("not running with raft setup"), "raft");
    ensure!(site.fails("jobs").await?.contains("not offered over HTTP"), "jobs");
    Ok(())
}

async fn mistakes(site: &Site) -> Result<()> {
    ensure!(site.fails("instance -i nowhere:1").await?.contains("nowhere:1"), "an unknown instance");
    ensure!(site.fails("topology -a nosuch").await?.contains("nosuch"), "an unknown cluster");
    ensure!(site.fails("tag-value -i B -t nothing").await?.starts_with("tag nothing not found for "), "an unknown tag");
    ensure!(site.fails("instance").await?.ends_with("instance must be provided\n"), "no instance");
    ensure!(site.fails("begin-downtime -i B -r x -u 2y").await?.contains("2y"), "a malformed duration");
    Ok(())
}

/// What ends or removes something, last.
async fn endings(site: &Site) -> Result<()> {
    let (b, c) = (format!("{}\n", site.address("b")), format!("{}\n", site.address("c")));
    ensure!(site.ok("untag -i B -t role").await? == b, "untag");
    ensure!(site.ok("tag -i C -t role=x").await? == c, "tag");
    ensure!(site.ok("untag-all -t role=x").await? == c, "untag-all");
    ensure!(site.ok("tags -i B").await?.is_empty(), "no tag is left");
    ensure!(site.ok("end-downtime -i C").await? == c && site.ok("downtimed").await?.is_empty(), "downtime");
    ensure!(
        site.ok("end-maintenance -i B").await? == b && site.ok("in-maintenance -i B").await?.is_empty(),
        "maintenance"
    );
    ensure!(site.ok("forget -i C").await?.is_empty(), "forget");
    ensure!(!site.ok("all-instances").await?.contains(c.trim()), "forgotten");
    ensure!(site.ok("forget-cluster -a shop").await?.is_empty(), "forget-cluster");
    ensure!(site.ok("all-instances").await?.is_empty(), "all forgotten");
    Ok(())
}

/// One service is killed, the one that is asked: the next command asks the other.
async fn the_leader_may_go(site: &mut Site) -> Result<()> {
    let leader = site.ok("which-api").await?;
    let (gone, left) =
        if leader.contains(&site.fleet.port("one")?.to_string()) { ("one", "two") } else { ("two", "one") };
    site.fleet.kill(gone)?;
    ensure!(site.ok("clusters").await?.is_empty(), "answered by the one that is left");
    let expected = format!("http://127.0.0.1:{}/api\n", site.fleet.port(left)?);
    ensure!(site.ok("which-api").await? == expected, "the one that is left");
    Ok(())
}

/// A service of its own that encrypts, and asks who one is.
async fn behind_tls_and_a_password(site: &mut Site) -> Result<()> {
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let dir = tempfile::tempdir()?;
    let file = |name: &str, text: String| -> Result<String> {
        let path = dir.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let (cert, key) = (file("cert", certificate.cert.pem())?, file("key", certificate.signing_key.serialize_pem())?);
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let settings = json!({
        "ListenAddress": format!("127.0.0.1:{port}"),
        "UseSSL": true, "SSLCertFile": cert, "SSLPrivateKeyFile": key,
        "AuthenticationMethod": "basic", "HTTPAuthUser": "dba", "HTTPAuthPassword": "pass:word",
    });
    site.fleet.start("guarded", settings, &[], &["http"])?;
    let (plain, api) = (format!("http://localhost:{port}"), format!("https://localhost:{port}"));
    let (trust, user) = (("ORCHESTRATOR_API_CA_FILE", cert.as_str()), ("ORCHESTRATOR_AUTH_USER", "dba"));
    let (address, password) = (("ORCHESTRATOR_API", api.as_str()), ("ORCHESTRATOR_AUTH_PASSWORD", "pass:word"));
    let words = site.words("api -P lb-check");
    wait::until("the guarded service answers", LIMIT, || async {
        let output = site.client_with(&[address, trust, user, password], &words).await?;
        ensure!(output.code == 0, "{output:?}");
        Ok((output.stdout == "\"OK\"\n").then_some(()))
    })
    .await
    .with_context(|| site.fleet.log_tail("guarded"))?;
    let flag = site.words("-b dba:pass:word");
    let in_address = api.replace("https://", "https://dba:pass%3Aword@");
    let skip = ("ORCHESTRATOR_API_SKIP_VERIFY", "true");
    let (elsewhere, no_words): (_, &[String]) = (("ORCHESTRATOR_API", in_address.as_str()), &[]);
    let by_flag = [address, trust];
    let right =
        [(&by_flag[..], &flag[..]), (&[elsewhere, trust], no_words), (&[address, skip, user, password], no_words)];
    for (pairs, more) in right {
        let output = site.client_with(pairs, &[&words, more].concat()).await?;
        ensure!(output.code == 0, "{output:?}");
    }
    let wrong: [(&[(&str, &str)], &str); 4] = [
        (&[address, trust], "not authorized"),
        (&[address, trust, user, ("ORCHESTRATOR_AUTH_PASSWORD", "wrong")], "not authorized"),
        (&[address, user, password], "certificate"),
        (&[("ORCHESTRATOR_API", &plain), user, password], "localhost"),
    ];
    for (pairs, expected) in wrong {
        let output = site.client_with(pairs, &words).await?;
        ensure!(output.code == 1 && output.stderr.contains(expected), "{expected}: {output:?}");
        ensure!(!output.stderr.contains("pass:word") && !output.stderr.contains("=wrong"), "{output:?}");
    }
    site.fleet.kill("guarded")
}
