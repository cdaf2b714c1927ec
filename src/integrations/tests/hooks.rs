//! Hooks as real processes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use domain::instance::InstanceKey;
use integrations::hooks::{HookEnd, HookFacts, HookReport, HookSettings, Successor, run, run_after_take_master};

/// More than any of these hooks needs on a busy machine.
const LONG: Duration = Duration::from_secs(60);
/// From the end of the time of a hook to that of its last process.
const LIMIT: Duration = Duration::from_secs(10);

fn settings() -> HookSettings {
    HookSettings { shell: "bash".to_owned(), timeout: LONG, longest_output: 4_096, secrets: Vec::new() }
}

fn facts() -> HookFacts {
    HookFacts {
        failure_type: "DeadMaster".to_owned(),
        instance_type: "master".to_owned(),
        is_master: true,
        is_co_master: false,
        failure_description: "Master cannot be reached; all replicas (2) have lost it".to_owned(),
        command: "force-master-failover".to_owned(),
        failed: InstanceKey::new("db1", 3306),
        failure_cluster: "db1:3306".to_owned(),
        failure_cluster_alias: "main".to_owned(),
        failure_cluster_domain: "main.example.com".to_owned(),
        count_replicas: 2,
        is_downtimed: false,
        auto_master_recovery: true,
        auto_intermediate_master_recovery: false,
        orchestrator_host: "node1".to_owned(),
        recovery_uid: "1795000000:abcdef".to_owned(),
        lost_replicas: vec![InstanceKey::new("db4", 3307), InstanceKey::new("db5", 3308)],
        replica_hosts: vec![InstanceKey::new("db2", 3306), InstanceKey::new("db4", 3307)],
        successor: Some(Successor {
            key: InstanceKey::new("db2", 3306),
            binlog_coordinates: Some("binlog.000007:4711".to_owned()),
            alias: "second".to_owned(),
        }),
    }
}

async fn hook(command: &str) -> HookReport {
    run(command, &facts(), &settings()).await
}

/// The hook succeeds and prints this.
async fn check(command: &str, expected: &str) {
    let report = hook(command).await;
    assert_eq!((report.end, report.output.as_str()), (HookEnd::Succeeded, expected), "{command:.100}");
}

const PLACEHOLDERS: &[&str] = &[
    "failureType",
    "instanceType",
    "isMaster",
    "isCoMaster",
    "failureDescription",
    "command",
    "failedHost",
    "failedPort",
    "failureCluster",
    "failureClusterAlias",
    "failureClusterDomain",
    "countReplicas",
    "countSlaves",
    "isDowntimed",
    "autoMasterRecovery",
    "autoIntermediateMasterRecovery",
    "orchestratorHost",
    "recoveryUID",
    "isSuccessful",
    "lostReplicas",
    "lostSlaves",
    "countLostReplicas",
    "replicaHosts",
    "slaveHosts",
    "successorHost",
    "successorPort",
    "successorBinlogCoordinates",
    "successorAlias",
];

fn everything() -> String {
    let lines: Vec<String> = PLACEHOLDERS.iter().map(|name| format!("echo {name} = {{{name}}}")).collect();
    format!("{}\necho\nenv | grep ^ORC_ | sort", lines.join("\n"))
}

#[tokio::test]
async fn every_placeholder_and_variable() {
    insta::assert_snapshot!("with_successor", hook(&everything()).await.output);
    let facts = HookFacts { successor: None, recovery_uid: String::new(), command: String::new(), ..facts() };
    insta::assert_snapshot!("without_successor", run(&everything(), &facts, &settings()).await.output);
    let successor = Successor { key: InstanceKey::new("db2", 3306), binlog_coordinates: None, alias: String::new() };
    let facts = HookFacts { successor: Some(successor), ..facts };
    let report = run("echo {successorBinlogCoordinates} $ORC_SUCCESSOR_BINLOG_COORDINATES.", &facts, &settings()).await;
    assert_eq!(report.output, "{successorBinlogCoordinates} .\n");
}

#[tokio::test]
async fn after_take_master_there_are_two_arguments_and_no_placeholders() {
    let command = "echo $# $1 $2 $ORC_SUCCESSOR_HOST $ORC_FAILED_HOST {failedHost}";
    let (new, old) = (InstanceKey::new("db2", 3306), InstanceKey::new("db1", 3307));
    let report = run_after_take_master(command, &new, &old, &settings()).await;
    assert_eq!(report.output, "2 db2:3306 db1:3307 db2:3306 db1:3307 {failedHost}\n");
    assert_eq!(report.end, HookEnd::Succeeded);
}

#[tokio::test]
async fn the_report_says_what_was_configured() {
    let report = hook("  echo {failedHost} ").await;
    assert_eq!((report.command.as_str(), report.output.as_str()), ("  echo {failedHost} ", "db1\n"));
    assert!(report.succeeded() && report.took < LONG);
}

#[tokio::test]
async fn hooks_fail_in_many_ways() {
    for (command, end, output) in [
        ("echo no; exit 3", HookEnd::Failed { code: Some(3) }, "no\n"),
        ("echo no >&2; false", HookEnd::Failed { code: Some(1) }, "no\n"),
        ("kill -9 $$", HookEnd::Failed { code: None }, ""),
        ("cat", HookEnd::Succeeded, ""),
        ("", HookEnd::Succeeded, ""),
    ] {
        let report = hook(command).await;
        assert_eq!((&report.end, report.output.as_str()), (&end, output), "{command}");
        assert_eq!(report.succeeded(), end == HookEnd::Succeeded, "{command}");
    }
    assert!(matches!(hook("if").await.end, HookEnd::Failed { code: Some(_) }), "a syntax error");
}

#[tokio::test]
async fn a_missing_shell_is_told() {
    let settings = HookSettings { shell: "/nowhere/bash".to_owned(), ..settings() };
    for command in ["true", "true &"] {
        let report = run(command, &facts(), &settings).await;
        let HookEnd::NotStarted { reason } = &report.end else { panic!("{report:?}") };
        assert!(reason.contains("\"/nowhere/bash\"") && reason.contains("No such file"), "{reason}");
        assert!(!report.succeeded());
    }
}

#[tokio::test]
async fn another_shell_is_used_when_configured() {
    let settings = HookSettings { shell: "cat".to_owned(), ..settings() };
    assert_eq!(run("to {failedHost}: {failureType}", &facts(), &settings).await.output, "to db1: DeadMaster");
}

#[tokio::test]
async fn output_comes_in_order_and_may_be_no_utf8() {
    check("echo a; echo b >&2; echo c", "a\nb\nc\n").await;
    check("printf 'a\\377b'", "a\u{fffd}b").await;
}

#[tokio::test]
async fn megabytes_of_output_neither_block_nor_fill_memory() {
    let report = hook("echo first; yes 0123456789 | head -c 20000000; echo; echo last >&2").await;
    assert_eq!(report.end, HookEnd::Succeeded);
    let length = report.output.len();
    assert!((4_096..4_160).contains(&length), "{length} bytes");
    assert!(report.output.starts_with("first\n0123456789\n") && report.output.ends_with("\nlast\n"));
    assert!(report.output.contains("\n[19995916 bytes left out]\n"), "{}", report.output);
}

#[tokio::test]
async fn our_secrets_are_not_in_the_output() {
    let settings = HookSettings { secrets: vec!["hunter2hunter2".to_owned(), String::new()], ..settings() };
    let report = run("echo password=hunter2hunter2", &facts(), &settings).await;
    assert_eq!((report.output.as_str(), report.command.as_str()), ("password=***\n", "echo password=***"));
}

#[tokio::test]
async fn variables_that_hold_a_secret_are_not_inherited() {
    // A value that cargo puts into our environment plays the password.
    let secret = env!("CARGO_MANIFEST_DIR").to_owned();
    let settings = HookSettings { secrets: vec![secret, String::new(), "8".to_owned()], ..settings() };
    for command in
        ["echo \"<$CARGO_MANIFEST_DIR>$CARGO_PKG_NAME\"", "env | grep -c '^CARGO_MANIFEST_DIR=' && exit 3; true"]
    {
        let report = run(command, &facts(), &settings).await;
        assert_eq!(report.end, HookEnd::Succeeded);
        assert!(["<>integrations\n", "0\n"].contains(&report.output.as_str()), "{}", report.output);
    }
}

#[tokio::test]
async fn a_hook_has_our_environment() {
    check("test -n \"$PATH\" && echo \"$CARGO_PKG_NAME\"", "integrations\n").await;
}

#[tokio::test]
async fn scripts_are_files_of_owner_and_group_and_removed() {
    let report = hook("umask; stat -c %a \"$0\"; basename \"$0\"; echo \"$0\"").await;
    let lines: Vec<&str> = report.output.lines().collect();
    let umask = u32::from_str_radix(lines[0], 8).unwrap();
    assert_eq!(u32::from_str_radix(lines[1], 8).unwrap(), 0o640 & !umask);
    assert!(lines[2].starts_with("orchestrator-process-cmd-"), "{}", lines[2]);
    assert!(Path::new(lines[3]).is_absolute() && !Path::new(lines[3]).exists());
}

#[tokio::test]
async fn commands_may_be_very_long() {
    let command = format!(": '{}'\necho end {{failedHost}}", "x{failedHost}{".repeat(300_000));
    check(&command, "end db1\n").await;
    let replicas: Vec<InstanceKey> = (0..20_000).map(|n| InstanceKey::new(format!("replica{n}"), 3306)).collect();
    let facts = HookFacts { replica_hosts: replicas, ..facts() };
    let report = run("for host in {replicaHosts}; do echo ${#host}; done", &facts, &settings()).await;
    assert_eq!((report.end, report.output.as_str()), (HookEnd::Succeeded, "348889\n"));
}

/// Processes that have this word in their environment.
fn marked(mark: &str) -> Vec<u32> {
    let mark = format!("MARK={mark}\0");
    let has = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        [environment.as_slice(), b"\0"].concat().windows(mark.len()).any(|window| window == mark.as_bytes())
    };
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    all.filter(has).collect()
}

async fn none_is_left(mark: &str) {
    let begun = Instant::now();
    while !marked(mark).is_empty() {
        assert!(begun.elapsed() < LIMIT, "{mark}: {:?} are left", marked(mark));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until_there(file: &Path) {
    let begun = Instant::now();
    while !file.exists() {
        assert!(begun.elapsed() < LIMIT, "{} is not there", file.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A word that no other test has, and a directory.
fn mark(name: &str) -> (String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (format!("{name}{}", std::process::id()), folder)
}

#[tokio::test]
async fn a_hanging_hook_is_killed_with_all_it_has_started() {
    let timeout = Duration::from_secs(1);
    for (name, hang) in [
        ("waits", "sleep 1000 & (sleep 1000; true) & echo waiting; wait"),
        ("ignores", "trap '' TERM; (trap '' TERM; sleep 1000; true) & echo waiting; while true; do sleep 1000; done"),
        ("orphans", "(trap '' TERM; sleep 1000; true) & echo waiting; sleep 1000"),
        ("talks", "echo waiting; (trap '' TERM; while true; do echo waiting; done)"),
        ("stops", "sleep 1000 & echo waiting; kill -STOP $$"),
    ] {
        let (mark, _folder) = mark(name);
        let settings = HookSettings { timeout, ..settings() };
        let report = run(&format!("export MARK={mark}\n{hang}"), &facts(), &settings).await;
        assert_eq!(report.end, HookEnd::TimedOut, "{name}");
        assert!(report.output.starts_with("waiting\n") && !report.succeeded(), "{name}: {report:?}");
        assert!(report.took >= timeout && report.took < timeout + LIMIT, "{name}: {:?}", report.took);
        none_is_left(&mark).await;
    }
}

#[tokio::test]
async fn a_hook_that_is_asked_to_end_may_clean_up() {
    let settings = HookSettings { timeout: Duration::from_millis(500), ..settings() };
    let report = run("trap 'echo bye; exit' TERM; sleep 1000 & wait", &facts(), &settings).await;
    assert_eq!((report.end, report.output.as_str()), (HookEnd::TimedOut, "bye\n"));
}

#[tokio::test]
async fn what_a_hook_leaves_in_the_background_goes_on() {
    let (mark, folder) = mark("background");
    let (go, done) = (folder.path().join("go"), folder.path().join("done"));
    let wait = format!("while ! [ -e {} ]; do sleep 0.01; done", go.display());
    // It holds our pipe, and says something long after the hook has ended.
    let command = format!("export MARK={mark}; ({wait}; echo late; echo late && touch {}) & echo hook", done.display());
    let report = hook(&command).await;
    assert_eq!((report.end, report.output.as_str()), (HookEnd::Succeeded, "hook\n"));
    fs::write(&go, "").unwrap();
    until_there(&done).await;
    none_is_left(&mark).await;
}

#[tokio::test]
async fn a_hook_with_an_ampersand_is_not_waited_for() {
    let (mark, folder) = mark("detached");
    let (go, done) = (folder.path().join("go"), folder.path().join("done"));
    let command = format!(
        "export MARK={mark}; while ! [ -e {} ]; do sleep 0.01; done\nbasename $0 > {}.new\nmv {1}.new {1} &&& ",
        go.display(),
        done.display()
    );
    // Its time is over before it has begun: there is none for it.
    let settings = HookSettings { timeout: Duration::ZERO, ..settings() };
    let report = run(&command, &facts(), &settings).await;
    assert_eq!((&report.end, report.output.as_str(), report.succeeded()), (&HookEnd::Detached, "", true));
    assert!(!done.exists() && report.command == command);
    fs::write(&go, "").unwrap();
    until_there(&done).await;
    let script = std::env::temp_dir().join(fs::read_to_string(&done).unwrap().trim_end());
    none_is_left(&mark).await;
    let begun = Instant::now();
    while script.exists() {
        assert!(begun.elapsed() < LIMIT, "{} is left", script.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_hook_that_nobody_waits_for_any_more_is_killed() {
    let (mark, folder) = mark("dropped");
    let begun = folder.path().join("begun");
    let command = format!("export MARK={mark}; (touch {}; sleep 1000; true) & sleep 1000", begun.display());
    let running = tokio::spawn(async move { hook(&command).await });
    until_there(&begun).await;
    assert!(!marked(&mark).is_empty());
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    none_is_left(&mark).await;
}

/// Every text that somebody outside may choose.
fn poisoned(text: &str) -> HookFacts {
    let key = || InstanceKey::new(text, 3306);
    HookFacts {
        failure_type: text.to_owned(),
        instance_type: text.to_owned(),
        failure_description: text.to_owned(),
        command: text.to_owned(),
        failed: key(),
        failure_cluster: text.to_owned(),
        failure_cluster_alias: text.to_owned(),
        failure_cluster_domain: text.to_owned(),
        orchestrator_host: text.to_owned(),
        recovery_uid: text.to_owned(),
        lost_replicas: vec![key(), key()],
        replica_hosts: vec![key()],
        successor: Some(Successor { key: key(), binlog_coordinates: Some(text.to_owned()), alias: text.to_owned() }),
        ..facts()
    }
}

const POISON: &[&str] = &[
    "x; touch PWNED; y",
    "$(touch PWNED)",
    "`touch PWNED`",
    "'; touch PWNED; '",
    "\"; touch PWNED; \"",
    "'\"; touch PWNED; \"'",
    "x\ntouch PWNED\n",
    "x\nE\ntouch PWNED\ncat <<E\n",
    "a[$(touch PWNED)]",
    "\\\"$(touch PWNED)\\'`touch PWNED`",
    "| touch PWNED & touch PWNED || touch PWNED > PWNED",
    "${x:=$(touch PWNED)}",
    "\u{0}$(touch PWNED)\u{0}",
];

#[tokio::test]
async fn no_value_is_ever_a_piece_of_the_program() {
    let places = [
        ("nothing", "printf '%s\\n' {v}"),
        ("a word", "printf '%s\\n' a{v}b{v}"),
        ("double", "printf '%s\\n' \"a {v} 'b' {v}\""),
        ("single", "printf '%s\\n' 'a {v} \"b\" {v}'"),
        ("escaped", "printf '%s\\n' $'a \\'{v}\\' b'"),
        ("substitution", "printf '%s\\n' \"$(printf %s {v} \"{v}\" '{v}')\""),
        ("backticks", "printf '%s\\n' \"`printf %s {v}` {v}\""),
        ("expansion", "printf '%s\\n' ${x:-{v}} \"${x:-{v}}\""),
        ("document", "cat <<E\n{v} '{v}' \"{v}\"\nE"),
        ("verbatim", "cat <<'E'\n{v} '{v}' \"{v}\"\nE"),
        ("comment", "echo a # it's {v}\necho b"),
        ("arithmetic", "echo $(( {v} )); (( y = {v} )); echo"),
        ("assignment", "x={v}; y=\"{v}\"; z='{v}'; export a={v}"),
        ("tests", "[ \"{v}\" = '{v}' ] && [[ {v} == {v} ]]; case {v} in \"{v}\") echo;; esac"),
        ("mistakes", "echo \"{v}' {v}"),
        ("more mistakes", "echo 'it's {v}' \"{v}"),
    ];
    for poison in POISON {
        let folder = tempfile::tempdir().unwrap();
        let pwned = folder.path().join("PWNED");
        let facts = poisoned(&poison.replace("PWNED", &pwned.display().to_string()));
        let settings = HookSettings { longest_output: 1_000_000, ..settings() };
        for (name, place) in places {
            // Each in a shell of its own, so that a mistake in one leaves the others as they are.
            let scripts = PLACEHOLDERS.iter().map(|placeholder| place.replace("{v}", &format!("{{{placeholder}}}")));
            let scripts: Vec<String> = scripts.map(|script| format!("(\n{script}\n)")).collect();
            // Only where the shell can read all of it.
            let reports = if name.ends_with("mistakes") {
                let mut reports = Vec::new();
                for script in scripts.iter().take(6) {
                    reports.push(run(script, &facts, &settings).await);
                }
                reports
            } else {
                vec![run(&scripts.join("\n"), &facts, &settings).await]
            };
            assert!(!pwned.exists(), "{poison:?} in {name}: {reports:#?}");
        }
    }
}

#[tokio::test]
async fn values_arrive_as_they_are() {
    for poison in POISON {
        let facts = poisoned(poison);
        let clean = poison.replace('\0', "");
        for place in ["{failureDescription}", "\"{failureDescription}\"", "'{failureDescription}'"] {
            let report = run(&format!("printf '<%s>' {place} \"$ORC_FAILURE_DESCRIPTION\""), &facts, &settings()).await;
            assert_eq!(report.output, format!("<{clean}><{clean}>"), "{place}");
        }
    }
    check(
        "echo \"dead {failureType} on {failureCluster}: {failureDescription}\"",
        "dead DeadMaster on db1:3306: Master cannot be reached; all replicas (2) have lost it\n",
    )
    .await;
    // Where the original's shell would have seen a syntax error.
    check("echo {failureDescription}", "Master cannot be reached; all replicas (2) have lost it\n").await;
    check(
        "bash -c 'echo $0 $1' {failureDescription} {failedHost}",
        "Master cannot be reached; all replicas (2) have lost it db1\n",
    )
    .await;
}
