//! What goes where, and with which exit status: what needs no fleet.

use std::io::{self, Write};

use config::Environment;
use harness::Flavor;
use rstest::rstest;
use time::UtcOffset;

use super::fixture::{Site, run_with};
use crate::run::{Surroundings, run};
use crate::session::{Interrupt, Me};

#[tokio::test]
async fn nothing_asked_gives_the_cheat_sheet() {
    let ran = run_with(None, &[]).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("orchestrator topology -i"), "{}", ran.out);
}

#[rstest]
#[case::help_flag(&["--help"], 0, "", "orchestrator [flags]")]
#[case::unknown_flag(&["-nonsense", "clusters"], 2, "", "orchestrator [flags]")]
#[case::missing_value(&["-i"], 2, "", "orchestrator [flags]")]
#[case::listing(&["help"], 0, "", "Available commands")]
#[case::listing_by_c(&["-c", "help"], 0, "", "\ttopology                                Draw a cluster as a tree\n")]
#[case::topic(&["help", "topology"], 0, "topology:\n", "")]
#[case::topic_by_c(&["-c", "relocate", "help"], 0, "relocate:\n", "")]
#[case::no_such_topic(&["help", "nonsense"], 0, "nonsense:\n\n", "")]
#[case::version(&["-version", "-c", "nonsense"], 0, env!("CARGO_PKG_VERSION"), "")]
#[case::unknown(&["-c", "topolgy"], 1, "", "FATAL Unknown command: \"topolgy\"; did you mean topology?\n")]
#[case::unknown_lists_all(&["nonsense"], 1, "", "Information:\n")]
#[case::later(&["match", "-i", "a", "-d", "b"], 1, "", "FATAL not built yet: match\n")]
#[case::later_by_its_old_name(&["-c", "match-slaves"], 1, "", "FATAL not built yet: match-replicas\n")]
#[case::foreign_mode(&["clusters", "--async"], 1, "", "it belongs to operations on servers")]
#[case::foreign_number(&["stop-replica", "--seconds", "5"], 1, "", "it belongs to delay-replication")]
#[case::both_destinations(&["relocate", "-d", "a", "-s", "b"], 1, "", "-d and -s are synonyms")]
#[case::bad_rule(&["clusters", "-promotion-rule", "must"], 1, "", "must cannot be registered")]
#[case::stray_word(&["clusters", "please"], 1, "", "takes no argument")]
#[case::foreign_flag(&["clusters", "--no-worker"], 1, "", "it belongs to http")]
#[case::no_backend(&["clusters"], 1, "", "MySQLOrchestratorHost")]
#[case::no_such_config(&["--config=/nonexistent/file", "clusters"], 1, "", "cannot read /nonexistent/file")]
#[case::no_config_even_for_the_sheet(&["--config=/nonexistent/file"], 1, "", "cannot read /nonexistent/file")]
#[case::dump(&["dump-config"], 0, "\"MySQLTopologyPassword\":", "")]
#[case::keys(&["config", "keys"], 0, "InstancePollSeconds (", "")]
#[case::config_what(&["config"], 1, "", "config check|dump|keys")]
#[case::no_sandbox(&["sandbox", "status", "--dir", "/nonexistent/sandbox"], 1, "", "no sandbox in /nonexistent/sandbox")]
#[case::bad_flavor(&["sandbox", "up", "--flavor", "sqlite"], 1, "", "unknown server flavor")]
#[tokio::test]
async fn streams_and_status(#[case] line: &[&str], #[case] code: u8, #[case] out: &str, #[case] err: &str) {
    // Not the files of the search path: whoever runs the tests may have some.
    let empty = tempfile::NamedTempFile::new().expect("temporary file");
    std::fs::write(empty.path(), "{}").expect("write");
    let named = line.iter().any(|word| word.starts_with("--config"));
    let ran = run_with(empty.path().to_str().filter(|_| !named), line).await;
    assert_eq!(ran.code, code, "{ran:?}");
    for (stream, expected) in [(&ran.out, out), (&ran.err, err)] {
        assert!(stream.contains(expected), "{expected:?} is not in {stream:?}");
        assert_eq!(stream.is_empty(), expected.is_empty(), "{stream:?}");
    }
}

#[tokio::test]
async fn a_fatal_line_has_time_and_level_and_no_secret() {
    let config = tempfile::NamedTempFile::new().expect("temporary file");
    let text = r#"{"MySQLOrchestratorPassword": "hunter2", "InstancePollSeconds": "often"}"#;
    std::fs::write(config.path(), text).expect("write");
    let ran = run_with(config.path().to_str(), &["clusters"]).await;
    assert_eq!(ran.code, 1);
    let (stamp, rest) = ran.err.split_at(19);
    assert!(stamp.starts_with("20") && stamp.ends_with(|c: char| c.is_ascii_digit()), "{stamp}");
    assert!(rest.starts_with(" FATAL configuration: ") && rest.contains("InstancePollSeconds"), "{rest}");
    assert!(!ran.err.contains("hunter2"), "{}", ran.err);
}

#[tokio::test]
async fn dumped_passwords_are_masked() {
    let config = tempfile::NamedTempFile::new().expect("temporary file");
    std::fs::write(config.path(), r#"{"MySQLTopologyPassword": "hunter2"}"#).expect("write");
    for line in [&["dump-config"][..], &["config", "dump"], &["dump-config", "--json"]] {
        let ran = run_with(config.path().to_str(), line).await;
        assert_eq!(ran.out.lines().count(), 1);
        assert!(
            serde_json::from_str::<serde_json::Value>(&ran.out).is_ok() && !ran.out.contains("hunter2"),
            "{}",
            ran.out
        );
    }
}

/// A reader that has gone, as behind `| head`.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_closed_pipe_is_no_error() {
    let surroundings = Surroundings {
        environment: Environment::empty(),
        me: Me { user: "dba".to_owned(), hostname: "db1".to_owned() },
        offset: UtcOffset::UTC,
        logging: None,
        interrupt: Interrupt::Signals,
    };
    let mut err = Vec::new();
    let code = run(&["-version".to_owned()], surroundings, &mut Gone, &mut err).await;
    assert_eq!((code, err.as_slice()), (0, &b""[..]));
}

#[tokio::test]
async fn a_schema_that_does_not_fit_is_told_before_anything_is_done() {
    let site = Site::bare(Flavor::MySql).await;
    assert!(site.fails("clusters").await.contains("run `orchestrator migrate`"));
    assert!(site.ok("migrate").await.starts_with("Applied "));
    assert!(site.ok("migrate").await.starts_with("The schema is current"));
    assert_eq!(site.ok("redeploy-internal-db").await, "Redeployed internal db\n");
    assert_eq!(site.ok("clusters").await, "\n");
    assert_eq!(site.ok("all-instances").await, "");
    assert_eq!(site.ok("all-instances --json").await, "[]\n");
    assert_eq!(site.ok("bulk-instances").await, "\n");
}
