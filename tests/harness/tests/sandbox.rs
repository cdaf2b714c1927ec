//! The sandbox, and what happens to servers when their test is killed.

use harness::{Flavor, Server, sandbox};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_sandbox_goes_up_answers_and_goes_down() {
    for flavor in Flavor::ALL {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("a sandbox");
        let made = sandbox::up(flavor, 1, &dir).await.unwrap();
        assert_eq!(sandbox::load(&dir).unwrap(), made);
        let again = sandbox::up(flavor, 1, &dir).await.unwrap_err().to_string();
        assert!(again.contains("sandbox down"), "{again}");

        let status = sandbox::status(&dir).await.unwrap();
        assert_eq!(status.iter().map(|server| server.pid.is_some()).collect::<Vec<_>>(), [true, true]);
        assert_eq!(status.iter().map(|server| server.read_only).collect::<Vec<_>>(), [Some(false), Some(true)]);
        assert!(status[0].replication.is_none());
        assert!(status[1].replication.as_ref().unwrap().is_running());

        let killed = Command::new("kill").args(["-KILL", &made.servers[1].pid.to_string()]).status().unwrap();
        assert!(killed.success());
        wait_until(|| !is_alive(made.servers[1].pid)).await;
        let status = sandbox::status(&dir).await.unwrap();
        assert_eq!(status[1].pid, None);

        assert_eq!(sandbox::down(&dir).await.unwrap(), ["primary"]);
        assert!(!is_alive(made.servers[0].pid));
        assert!(!dir.exists());
        assert!(sandbox::down(&dir).await.unwrap_err().to_string().contains("no sandbox in"));
    }
}

#[tokio::test]
async fn down_leaves_alone_a_process_that_only_has_the_pid() {
    let base = tempfile::tempdir().unwrap();
    let bystander = Server::start(Flavor::MariaDb).await.unwrap();
    let pid = bystander.pid().unwrap();
    let state =
        format!(r#"{{"flavor":"mariadb","servers":[{{"name":"primary","port":1,"pid":{pid},"started_ticks":0}}]}}"#);
    std::fs::write(base.path().join("sandbox.json"), state).unwrap();
    std::fs::create_dir(base.path().join("primary")).unwrap();
    std::fs::write(base.path().join("primary/pid"), pid.to_string()).unwrap();
    assert!(sandbox::down(base.path()).await.unwrap().is_empty());
    assert!(bystander.is_running());
    bystander.execute("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_directory_with_other_things_in_it_is_refused() {
    let base = tempfile::tempdir().unwrap();
    std::fs::write(base.path().join("thesis.txt"), "mine").unwrap();
    let error = sandbox::up(Flavor::MySql, 1, base.path()).await.unwrap_err().to_string();
    assert!(error.contains("is not empty"), "{error}");
    assert!(base.path().join("thesis.txt").exists());
}

#[tokio::test]
async fn a_sandbox_that_was_killed_while_starting_can_be_taken_down() {
    let base = tempfile::tempdir().unwrap();
    let made = sandbox::up(Flavor::MariaDb, 0, base.path()).await.unwrap();
    let half = r#"{"flavor":"mariadb","servers":[{"name":"primary","port":0,"pid":0,"started_ticks":0},
                   {"name":"replica-1","port":0,"pid":0,"started_ticks":0}]}"#;
    std::fs::write(base.path().join("sandbox.json"), half).unwrap();
    assert_eq!(sandbox::down(base.path()).await.unwrap(), ["primary"]);
    assert!(!is_alive(made.servers[0].pid));
}

/// Runs this test binary again as a child that starts a server, and kills that child.
#[tokio::test]
async fn killing_the_test_process_ends_its_servers_and_removes_their_files() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "start_a_server_and_wait_for_the_end", "--nocapture"])
        .env("HARNESS_TEST_VICTIM", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let found = lines.find_map(|line| line.split_once("victim: ").map(|(_, rest)| rest.to_owned())).unwrap();
    let (pid, dir) = found.split_once(' ').unwrap();
    let pid: u32 = pid.parse().unwrap();
    assert!(is_alive(pid));
    assert!(Path::new(dir).exists());
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until(|| !is_alive(pid) && !Path::new(dir).exists()).await;
}

/// Does something only when the test above asks for it.
#[tokio::test]
async fn start_a_server_and_wait_for_the_end() {
    if std::env::var_os("HARNESS_TEST_VICTIM").is_none() {
        return;
    }
    let server = Server::start(Flavor::MariaDb).await.unwrap();
    println!("victim: {} {}", server.pid().unwrap(), server.dir().display());
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

fn is_alive(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

async fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited too long");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
