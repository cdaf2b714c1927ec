//! Receivers that have to connect anew, and what they heard before.

use std::time::{Duration, Instant};

use domain::instance::{ServerFacts, ThreadState};
use domain::plan::{Action, Threads};
use harness::{Flavor, Topology};
use mysql::heard::{Heard, heard};

use crate::orders::{LIMIT, obey, stop};
use crate::support::{BOTH, facts_of, key, prober, settings, until, value};

fn patience(flavor: Flavor) -> &'static str {
    if flavor == Flavor::MySql { "SELECT @@GLOBAL.replica_net_timeout" } else { "SELECT @@GLOBAL.slave_net_timeout" }
}

fn failed(facts: &ServerFacts) -> bool {
    facts.replica.as_ref().is_some_and(|replica| replica.io_thread == ThreadState::Other && replica.last_io_errno != 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_restarted_says_at_once_whether_its_source_is_there() {
    for flavor in BOTH {
        let tree = Topology::start(flavor, "a\n  b").await.expect("servers");
        let (a, b, prober) = (&tree["a"], &tree["b"], prober(settings()));
        let restart = || obey(&prober, b, Action::RestartReceiver { patience_seconds: 1 });
        restart().await;
        until(&prober, b, "both threads", ServerFacts::is_replica_running).await;
        assert_eq!(value(b, patience(flavor)).await, "4", "{flavor}");

        a.freeze().expect("it stands still");
        let begun = Instant::now();
        restart().await;
        until(&prober, b, "a failure to connect", failed).await;
        println!("{flavor}: failed after {:?}", begun.elapsed());
        assert_eq!(value(b, patience(flavor)).await, "4", "{flavor}");
        obey(&prober, b, stop(Threads::IO)).await;
        a.thaw().expect("it goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_hears_is_told() {
    for (flavor, text, tells) in [
        (Flavor::MySql, "a\n  b", false),
        (Flavor::MySql, "a\n  b --performance-schema=ON", true),
        (Flavor::MariaDb, "a\n  b", false),
    ] {
        let tree = Topology::start(flavor, text).await.expect("servers");
        let (a, b, prober) = (&tree["a"], &tree["b"], prober(settings()));
        let facts = facts_of(&prober, b).await;
        let ask = async || -> Heard {
            let answer = heard(&prober.connector(), &key(b), &facts, LIMIT).await;
            answer.expect("an answer").expect("a receiver")
        };
        let first = ask().await;
        assert_eq!(first.period, Some(Duration::from_secs(2)), "{flavor}");
        // Nobody writes: heartbeats come.
        let begun = Instant::now();
        let mut last = ask().await;
        while last.mark == first.mark || (tells && last.quiet.is_none()) {
            assert!(begun.elapsed() < LIMIT, "{flavor}: nothing comes: {last:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
            last = ask().await;
        }
        assert_eq!(last.quiet.is_some(), tells, "{flavor}: {last:?}");
        a.execute("CREATE DATABASE something").await.expect("a transaction");
        a.freeze().expect("it stands still");
        // What was on its way has come.
        let mut silent = ask().await;
        let mut begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(300) {
            let now = ask().await;
            if now.mark != silent.mark {
                begun = Instant::now();
            }
            silent = now;
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(1) {
            let now = ask().await;
            assert_eq!(now.mark, silent.mark, "{flavor}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let quiet = ask().await.quiet;
        assert!(!tells || quiet >= silent.quiet.map(|quiet| quiet + Duration::from_millis(900)), "{quiet:?}");
        a.thaw().expect("it goes on");
    }
}
