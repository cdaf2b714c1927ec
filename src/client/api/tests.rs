//! Against listeners that answer as told, and remember what they were asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;
use crate::settings::tests::environment;

const OK: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\nConnection: close\r\n\r\n\"OK\"";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 18\r\nConnection: close\r\n\r\n404 page not found";
const NOT_LEADER: &str = "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 12\r\nConnection: close\r\n\r\n\"Not leader\"";
const BROKEN: &str = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbad";
/// Closes without a word.
const SILENCE: &str = "";

/// The reply to a request, and how many there were by then.
type Rule = fn(&str, usize) -> &'static str;

/// A listener with a rule for replies.
struct Fake {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn start(rule: Rule) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&asked);
        // Ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &record, rule);
            }
        });
        Self { port, asked }
    }

    /// Request lines, without the version; headers of interest after them.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn answer(stream: TcpStream, record: &Mutex<Vec<String>>, rule: Rule) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let line = lines.next().transpose()?.unwrap_or_default();
    let mut said = line.trim_end_matches(" HTTP/1.1").to_owned();
    for header in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if header.to_ascii_lowercase().starts_with("authorization:") || header.to_ascii_lowercase().starts_with("x-") {
            said = format!("{said} {header}");
        }
    }
    let place = {
        let mut record = record.lock().expect("no panic");
        record.push(said.clone());
        record.len()
    };
    (&stream).write_all(rule(&said, place).as_bytes())
}

fn api(addresses: &str, pairs: &[(&str, &str)]) -> Api {
    let words = ["-U".to_owned(), addresses.to_owned()];
    let arguments = crate::arguments::parse(&words).expect("arguments");
    Api::hasty(Settings::new(&arguments, &environment(pairs)).expect("settings"))
}

fn one(fake: &Fake) -> String {
    format!("http://127.0.0.1:{}", fake.port)
}

/// An address at which nothing listens.
fn nobody() -> String {
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").port();
    format!("http://127.0.0.1:{port}")
}

#[test]
fn one_address_is_asked_without_ado() {
    let fake = Fake::start(|_, _| OK);
    let pairs = [
        ("ORCHESTRATOR_AUTH_USER", "dba"),
        ("ORCHESTRATOR_AUTH_PASSWORD", "pw"),
        ("ORCHESTRATOR_AUTH_USER_HEADER", "X-User: ann"),
    ];
    let api = api(&one(&fake), &pairs);
    assert_eq!(api.read("clusters").expect("a reply").body, "\"OK\"");
    api.change("forget/a/1").expect("a reply");
    let asked: Vec<String> = fake.asked().iter().map(|line| line.to_ascii_lowercase()).collect();
    let headers = "authorization: basic zgjhonb3 x-user: ann";
    assert_eq!(asked, [format!("get /api/clusters {headers}"), format!("post /api/forget/a/1 {headers}")]);
}

#[test]
fn of_several_the_leader_is_asked() {
    let follower = Fake::start(|line, _| if line.contains("check") { NOT_LEADER } else { BROKEN });
    let leader = Fake::start(|_, _| OK);
    let api = api(&format!("{} {} {}", nobody(), one(&follower), one(&leader)), &[]);
    api.read("clusters").expect("a reply");
    api.read("masters").expect("a reply");
    assert_eq!(follower.asked(), ["GET /api/leader-check"]);
    assert_eq!(leader.asked(), ["GET /api/leader-check", "GET /api/clusters", "GET /api/masters"]);
}

#[test]
fn one_that_reaches_the_leader_will_do_and_so_will_any_at_last() {
    let routed = Fake::start(|line, _| if line.contains("/leader-check") { NOT_LEADER } else { OK });
    assert_eq!(
        api(&format!("{} {}", nobody(), one(&routed)), &[]).address().expect("one"),
        format!("{}/api", one(&routed))
    );
    let alive = Fake::start(|line, _| if line.contains("check") { NOT_LEADER } else { OK });
    assert_eq!(
        api(&format!("{} {}", nobody(), one(&alive)), &[]).address().expect("one"),
        format!("{}/api", one(&alive))
    );
    let said = api(&format!("{} {}", nobody(), nobody()), &[]).read("x").expect_err("nobody").to_string();
    assert!(said.starts_with("no service answers at any of http://127.0.0.1:"), "{said}");
}

#[test]
fn reads_are_repeated() {
    let fake = Fake::start(|_, place| match place {
        1 => SILENCE,
        2 => BROKEN,
        _ => OK,
    });
    api(&one(&fake), &[]).read("clusters").expect("a reply at last");
    assert_eq!(fake.asked().len(), 3);
    let fake = Fake::start(|_, _| BROKEN);
    let said = api(&one(&fake), &[]).read("clusters").expect_err("never a reply").to_string();
    assert!(said.ends_with("/api: answered 502 without JSON: bad"), "{said}");
    assert_eq!(fake.asked().len(), 4);
}

#[test]
fn changes_are_not_repeated_once_they_may_have_arrived() {
    for rule in [|_: &str, _: usize| SILENCE, |_: &str, _: usize| BROKEN] {
        let fake = Fake::start(rule);
        let said = api(&one(&fake), &[]).change("take-master/a/1").expect_err("no reply").to_string();
        assert!(said.ends_with("it is not known whether it was done: look before you repeat it"), "{said}");
        assert_eq!(fake.asked(), ["POST /api/take-master/a/1"]);
    }
    let fake = Fake::start(|_, _| SILENCE);
    assert!(api(&one(&fake), &[]).call(Sends::Unknown, "take-master/a/1").is_err());
    assert_eq!(fake.asked().len(), 1, "what was typed may change something");
}

#[test]
fn changes_are_repeated_where_there_was_no_room() {
    const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy";
    let fake = Fake::start(|_, place| if place == 1 { BUSY } else { OK });
    api(&one(&fake), &[]).change("forget/a/1").expect("a reply at last");
    assert_eq!(fake.asked().len(), 2);
}

#[test]
fn changes_are_repeated_where_nobody_listened() {
    let begun = std::time::Instant::now();
    let said = api(&nobody(), &[]).change("forget/a/1").expect_err("nobody").to_string();
    assert!(!said.contains("not known whether"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    // The leader goes, another comes.
    let old = Fake::start(|line, place| if line.contains("check") && place == 1 { OK } else { NOT_LEADER });
    let new = Fake::start(|_, place| if place == 1 { NOT_LEADER } else { OK });
    let api = api(&format!("{} {}", one(&old), one(&new)), &[]);
    assert!(api.address().expect("one").contains(&old.port.to_string()));
    api.read("clusters").expect("still the old one");
    api.chosen.set(None);
    assert!(api.address().expect("one").contains(&new.port.to_string()));
}

#[test]
fn services_and_gateways_that_know_only_get_are_served() {
    let fake = Fake::start(|line, _| if line.starts_with("POST") { NOT_FOUND } else { OK });
    api(&one(&fake), &[]).change("forget/a/1").expect("a reply");
    assert_eq!(fake.asked(), ["POST /api/forget/a/1", "GET /api/forget/a/1"]);
}

#[test]
fn hopeless_cases_end_at_once_and_give_no_secret_away() {
    const DENIED: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 14\r\nConnection: close\r\n\r\nNot Authorized";
    const ELSEWHERE: &str =
        "HTTP/1.1 302 Found\r\nLocation: https://b/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let rules: [(Rule, &str); 3] = [
        (|_, _| DENIED, "not authorized: see ORCHESTRATOR_AUTH_USER"),
        (|_, _| ELSEWHERE, "redirected to https://b/;"),
        (|_, _| NOT_FOUND, "the service does not know the path clusters"),
    ];
    for (rule, expected) in rules {
        let fake = Fake::start(rule);
        let address = one(&fake).replace("http://", "http://dba:secret@");
        let api = api(&address, &[]);
        let said = api.read("clusters").expect_err("hopeless").to_string();
        assert!(said.contains(expected) && !said.contains("secret"), "{said}");
        assert_eq!(fake.asked().len(), 1);
        assert!(!format!("{api:?}").contains("secret"));
    }
}

#[test]
fn silence_has_an_end() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let begun = std::time::Instant::now();
    let said =
        api(&address, &[("ORCHESTRATOR_API_TIMEOUT", "1")]).change("forget/a/1").expect_err("silence").to_string();
    assert!(said.contains("no answer in time") && begun.elapsed() < Duration::from_secs(4), "{said}");
}

#[test]
fn errors_of_the_service_are_answers() {
    const REFUSAL: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 50\r\nConnection: close\r\n\r\n{\"Code\":\"ERROR\",\"Message\":\"Unauthorized\",\"D\":null}";
    let fake = Fake::start(|_, _| REFUSAL);
    let refused = api(&one(&fake), &[]).read("clusters").expect_err("an error");
    assert!(matches!(refused, Problem::Refused { .. }), "{refused}");
    assert_eq!((refused.to_string().as_str(), fake.asked().len()), ("Unauthorized", 1));
}

/// A body that lives as long as the process, with its headers.
fn json(body: &str) -> &'static str {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ";
    Box::leak(format!("{head}{}\r\n\r\n{body}", body.len()).into_boxed_str())
}

fn operation(state: &str, rest: &str) -> String {
    format!(
        r#"{{"id":7,"operation":"relocate","instance":"c:1","cluster_name":"a:1","request":"relocate c:1 below b:1",
            "plan_only":false,"actor":"ann","state":"{state}","runs":1,"done":[{{"instance":"c:1","new_source":"b:1"}}],
            "failed":[],"left_out":[],"warnings":[],"created_at":"2026-11-23T00:00:00Z"{rest}}}"#
    )
}

/// Follows operation 7 of a service, asked for by a relocation; what is printed or said to be wrong, and what was said meanwhile.
fn followed(rule: Rule, wait: Option<Duration>) -> (Result<String, String>, Vec<String>) {
    let fake = Fake::start(rule);
    let asked = Problem::Refused {
        message: "node1 says: operation 7 has not ended within 25 s and goes on: look later".to_owned(),
        details: None,
        body: String::new(),
    };
    assert_eq!(crate::follow::pending(&asked), Some(7));
    let mut said = Vec::new();
    let request = (Sends::Change, "relocate/c/1/b/1");
    let ended =
        crate::follow::follow(&api(&one(&fake), &[]), 7, request, wait, asked, &mut |text| said.push(text.to_owned()));
    let printed = ended.and_then(|reply| crate::print::moved(&reply));
    (printed.map_err(|problem| problem.to_string()), said)
}

#[test]
fn an_operation_that_goes_on_is_followed_to_its_end() {
    let rule: Rule = |line, place| {
        let step = |state: &str| {
            format!(
                r#","steps":[{{"run":1,"part":"branch","branch":0,"sequence":0,"instance":"c:1","text":"c:1: stop receiver",
                    "state":"{state}","token":1,"worker":"w","begun_at":"2026-11-23T00:00:00Z"}}]"#
            )
        };
        match (line, place) {
            ("GET /api/v2/operations/7", 1) => json(&operation("running", &step("begun"))),
            ("GET /api/v2/operations/7", _) => json(&operation("done", &step("done"))),
            ("GET /api/relocate/c/1/b/1?operation=7", _) => json(
                r#"{"Code":"OK","Message":"","Details":{"Key":{"Hostname":"c","Port":1},"MasterKey":{"Hostname":"b","Port":1}}}"#,
            ),
            _ => NOT_FOUND,
        }
    };
    let steps = ["operation 7: begun: c:1: stop receiver", "operation 7: done: c:1: stop receiver"];
    let (one, said) = followed(rule, None);
    assert_eq!((one.as_deref(), said), (Ok("c:1<b:1\n"), steps.map(str::to_owned).to_vec()));
}

#[test]
fn an_operation_that_fails_is_told_and_patience_ends() {
    const HANGS: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 47\r\nConnection: close\r\n\r\n{\"Code\":\"ERROR\",\"Message\":\"c:1 hangs\",\"D\":null}";
    let rule: Rule = |line, _| match line {
        "GET /api/v2/operations/7" => json(&operation("failed", r#","error":"c:1 hangs""#)),
        _ => HANGS,
    };
    let (failed, _) = followed(rule, None);
    assert_eq!(failed, Err("c:1 hangs".to_owned()));
    let (late, _) = followed(|_, _| json(&operation("running", "")), Some(Duration::from_millis(300)));
    assert!(late.expect_err("no end").contains("operation 7 has not ended"));
    let other = Problem::Refused { message: "operation 7 is unknown".to_owned(), details: None, body: String::new() };
    assert_eq!(crate::follow::pending(&other), None);
}
