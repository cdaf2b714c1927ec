//! Who gets in, and who may change things.

use axum::http::{Method, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::{AuthMethod, Secret, Settings};
use harness::Flavor;
use service::actions::{Scope, tokens};

use crate::fleet::{Fleet, empty, on_empty};

/// What a request meets.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Met {
    /// 401.
    Shut,
    /// 500 `Unauthorized`.
    Refused,
    /// Done.
    Done,
}

async fn meets(fleet: &Fleet, path: &str, headers: &[(&str, &str)]) -> Met {
    let reply = fleet.ask(Method::GET, path, headers).await;
    match (reply.status.as_u16(), reply.body.as_str()) {
        (401, "Not Authorized\n") => {
            assert_eq!(reply.header("www-authenticate"), "Basic realm=\"Authorization Required\"");
            Met::Shut
        }
        (500, r#"{"Code":"ERROR","Message":"Unauthorized","Details":null}"#) => Met::Refused,
        (200, _) => Met::Done,
        other => panic!("{path}: {other:?}"),
    }
}

fn method(method: AuthMethod) -> impl FnOnce(&mut Settings) {
    move |settings| {
        settings.auth.authentication_method = method;
        "dba".clone_into(&mut settings.auth.http_auth_user);
        settings.auth.http_auth_password = Secret::from("s3cret");
        settings.auth.power_auth_users = vec!["ann".to_owned()];
        settings.auth.power_auth_groups = vec!["root".to_owned()];
    }
}

/// One line: method, header, what reading meets, what changing meets.
type Line = (AuthMethod, (&'static str, &'static str), Met, Met);

#[tokio::test]
async fn the_matrix() {
    use Met::{Done, Refused, Shut};
    let right = format!("Basic {}", STANDARD.encode("dba:s3cret")).leak();
    let wrong = format!("Basic {}", STANDARD.encode("dba:other")).leak();
    let looker = format!("Basic {}", STANDARD.encode("readonly:any")).leak();
    let nothing = ("x-nothing", "");
    let lines: [Line; 17] = [
        (AuthMethod::None, nothing, Done, Done),
        (AuthMethod::Basic, nothing, Shut, Shut),
        (AuthMethod::Basic, ("authorization", wrong), Shut, Shut),
        (AuthMethod::Basic, ("authorization", looker), Shut, Shut),
        (AuthMethod::Basic, ("authorization", right), Done, Done),
        (AuthMethod::Multi, nothing, Shut, Shut),
        (AuthMethod::Multi, ("authorization", wrong), Shut, Shut),
        (AuthMethod::Multi, ("authorization", looker), Done, Refused),
        (AuthMethod::Multi, ("authorization", right), Done, Done),
        (AuthMethod::Proxy, nothing, Done, Refused),
        (AuthMethod::Proxy, ("x-forwarded-user", "ann"), Done, Done),
        (AuthMethod::Proxy, ("x-forwarded-user", "bob"), Done, Refused),
        // root's own group is root, on every system.
        (AuthMethod::Proxy, ("x-forwarded-user", "root"), Done, Done),
        (AuthMethod::Token, nothing, Done, Refused),
        (AuthMethod::Token, ("cookie", "access-token=a:b"), Done, Refused),
        (AuthMethod::Token, ("cookie", "access-token=nocolon"), Done, Refused),
        (AuthMethod::Token, ("cookie", ""), Done, Refused),
    ];
    let base = empty(Flavor::MySql).await;
    for (auth, header, reading, changing) in lines {
        let fleet = base.with(method(auth));
        assert_eq!(meets(&fleet, "/api/all-instances", &[header]).await, reading, "{auth:?} {header:?}");
        // Also what the original forgot to protect.
        for path in ["/api/reset-hostname-resolve-cache", "/api/snapshot-topologies", "/api/untag-all?tag=a%3Db"] {
            assert_eq!(meets(&fleet, path, &[header]).await, changing, "{auth:?} {header:?} {path}");
        }
        let expected = if changing == Done { Done } else { changing };
        assert_eq!(meets(&fleet, "/api/bulk-instances", &[header]).await, expected, "guarded: {auth:?} {header:?}");
        let live = fleet.ask(Method::GET, "/health/live", &[header]).await;
        assert_eq!(live.status, StatusCode::OK, "{auth:?}");
        if reading == Shut {
            for path in ["/", "/metrics", "/api/lb-check", "/api/v2/nodes", "/web/app.js", "/health/ready"] {
                let reply = fleet.ask(Method::GET, path, &[header]).await;
                assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{auth:?} {path}");
            }
        }
    }
}

#[tokio::test]
async fn nobody_changes_anything_read_only() {
    on_empty(async |fleet| {
        let fleet = fleet.with(|settings| settings.auth.read_only = true);
        assert_eq!(meets(&fleet, "/api/all-instances", &[]).await, Met::Done);
        assert_eq!(meets(&fleet, "/api/tag/db1/3306?tag=a", &[]).await, Met::Refused);
        assert_eq!(meets(&fleet, "/api/relocate/a/1/b/2", &[]).await, Met::Refused, "not even what is not built");
        let rest = fleet.send(Method::POST, "/api/v2/discoveries", &[("content-type", "application/json")], "{}").await;
        assert_eq!(rest.status, StatusCode::FORBIDDEN);
        assert_eq!(fleet.number("SELECT COUNT(*) FROM audit").await, 0);
        assert_eq!(fleet.number("SELECT COUNT(*) FROM instance_tag").await, 0);
    })
    .await;
}

#[tokio::test]
async fn other_sites_pages_change_nothing() {
    on_empty(async |fleet| {
        let foreign = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example.com"), ("origin", "null")];
        for header in foreign {
            for method in [Method::GET, Method::POST] {
                let reply = fleet.ask(method, "/api/tag/db1/3306?tag=a", &[header]).await;
                let expected = r#"{"Code":"ERROR","Message":"Refused: the request comes from a page of another site","Details":null}"#;
                assert_eq!((reply.status.as_u16(), reply.body.as_str()), (500, expected), "{header:?}");
            }
            let headers = [header, ("content-type", "application/json")];
            let reply = fleet.send(Method::POST, "/api/v2/discoveries", &headers, r#"{"instance":"db1"}"#).await;
            assert_eq!(reply.status, StatusCode::FORBIDDEN, "{header:?}");
            assert_eq!(reply.header("content-type"), "application/problem+json");
            // Reading is left to the browser's own rules.
            assert_eq!(fleet.ask(Method::GET, "/api/clusters", &[header]).await.status, StatusCode::OK);
        }
        assert_eq!(fleet.number("SELECT COUNT(*) FROM instance_tag").await, 0);
        let own = [("origin", "http://orc.example.com"), ("sec-fetch-site", "same-origin")];
        assert_eq!(fleet.ask(Method::GET, "/api/tag/db1/3306?tag=a", &own).await.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn a_token_is_exchanged_once_and_lets_change_things() {
    on_empty(async |fleet| {
        let fleet = fleet.with(method(AuthMethod::Token));
        let scope = Scope::new(fleet.handles.pool.clone(), fleet.handles.config.get(), "ann@host");
        let public = tokens::issue(&scope, "ann").await.expect("token");
        let path = format!("/web/access-token?publicToken={public}");
        let reply = fleet.get(&path).await;
        assert_eq!((reply.status, reply.header("location")), (StatusCode::FOUND, "/"));
        let cookie = reply.header("set-cookie").to_owned();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        let pair = cookie.split(';').next().expect("pair");
        assert_eq!(meets(&fleet, "/api/tag/db1/3306?tag=a", &[("cookie", pair)]).await, Met::Done);
        assert_eq!(fleet.get(&path).await.status, StatusCode::FORBIDDEN, "once only");
        assert_eq!(fleet.get("/web/access-token?publicToken=unknown").await.status, StatusCode::FORBIDDEN);
        let forged = format!("access-token={public}:{public}");
        assert_eq!(meets(&fleet, "/api/tag/db1/3306?tag=a", &[("cookie", &forged)]).await, Met::Refused);
    })
    .await;
}

#[tokio::test]
async fn the_user_is_recorded() {
    on_empty(async |fleet| {
        let fleet = fleet.with(method(AuthMethod::Proxy));
        let header = ("x-forwarded-user", "ann");
        assert_eq!(meets(&fleet, "/api/snapshot-topologies", &[header]).await, Met::Done);
        assert_eq!(fleet.number("SELECT COUNT(*) FROM audit WHERE actor = 'ann'").await, 1);
    })
    .await;
}

#[tokio::test]
async fn prefix_identity_and_status_endpoint() {
    let fleet = empty(Flavor::MariaDb).await.with(|settings| {
        settings.http.url_prefix = "/orc".to_owned();
        settings.http.status_endpoint = "/up".to_owned();
        settings.general.prepend_messages_with_orc_identity = config::OrcIdentity::Custom;
        settings.general.custom_orc_identity = "east".to_owned();
    });
    assert_eq!(fleet.get("/api/clusters").await.status, StatusCode::NOT_FOUND);
    assert_eq!(fleet.ok("/orc/api/clusters/").await, "null");
    assert_eq!(fleet.refusal("/orc/api/instance/a/1").await, "Orchestrator east says: Cannot read instance: a:1");
    assert!(fleet.ok("/up").await.contains("Orchestrator east says: Application node is healthy"));
    assert_eq!(fleet.get("/orc/api/status").await.status, StatusCode::NOT_FOUND);
    for path in ["/orc", "/orc/"] {
        let page = fleet.ok(path).await;
        assert!(page.contains(r#"src="/orc/web/app.js""#), "{page}");
    }
    assert!(fleet.ok("/orc/web/app.js").await.contains("textContent"));
    assert_eq!(fleet.ok("/orc/health/live").await, "ok\n");
}

#[tokio::test]
async fn the_page_allows_no_foreign_code() {
    let fleet = empty(Flavor::MySql).await;
    let page = fleet.get("/").await;
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert!(!page.body.contains("{{"), "{}", page.body);
    let script = fleet.ok("/web/app.js").await;
    assert!(!script.contains("innerHTML") && !script.contains("insertAdjacentHTML") && !script.contains("eval("));
}
