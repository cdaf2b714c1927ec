//! The REST API.

use axum::http::{Method, StatusCode};

use crate::fleet::{Fleet, on_both, settled};

const JSON: (&str, &str) = ("content-type", "application/json");

async fn document(fleet: &Fleet, path: &str) -> serde_json::Value {
    serde_json::from_str(&fleet.ok(&format!("/api/v2{path}")).await).expect(path)
}

#[tokio::test]
async fn resources_read() {
    on_both(async |fleet| {
        let mut shown = Vec::new();
        for path in [
            "/clusters",
            "/clusters/shop",
            "/clusters/shop/topology",
            "/instances?cluster=shop&limit=2",
            "/tags",
            "/lanes",
        ] {
            shown.push(format!("{path} {}", settled(&fleet.ok(&format!("/api/v2{path}")).await)));
        }
        insta::assert_snapshot!("rest_resources", shown.join("\n"));
        let detail = document(&fleet, "/instances/db2/3306").await;
        assert_eq!((&detail["key"], &detail["role"]), (&"db2:3306".into(), &"intermediate_source".into()));
        let config = document(&fleet, "/config").await;
        let keys = config["keys"].as_array().expect("keys");
        assert!(
            keys.iter()
                .any(|key| key["name"] == "InstancePollSeconds" && key["value"] == 3600 && key["is_default"] == false)
        );
    })
    .await;
}

#[tokio::test]
async fn pages_and_tags_of_documents() {
    on_both(async |fleet| {
        let mut keys = Vec::new();
        let mut path = "/instances?limit=2".to_owned();
        loop {
            let page = document(&fleet, &path).await;
            let items = page["items"].as_array().expect("items");
            keys.extend(items.iter().map(|one| one["key"].as_str().expect("text").to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/instances?limit=2&after={next}");
        }
        assert_eq!(keys, ["db1:3306", "db2:3306", "db3:3306", "db4:3306", "solo:3306"]);
        let first = fleet.get("/api/v2/clusters").await;
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with("W/\""), "{tag}");
        let again = fleet.ask(Method::GET, "/api/v2/clusters", &[("if-none-match", &tag)]).await;
        assert_eq!((again.status, again.body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    })
    .await;
}

#[tokio::test]
async fn errors_are_problems() {
    on_both(async |fleet| {
        for (method, path, body, status, kind) in [
            (Method::GET, "/nothing", "", 404, "unknown-path"),
            (Method::PUT, "/clusters", "", 405, "wrong-method"),
            (Method::GET, "/instances/nowhere/3306", "", 404, "not-found"),
            (Method::GET, "/instances/db1/x", "", 400, "invalid"),
            (Method::GET, "/instances?limit=x", "", 400, "invalid"),
            (Method::GET, "/clusters/nowhere", "", 404, "not-found"),
            (Method::GET, "/clusters/shop/topology?style=x", "", 400, "invalid"),
            (Method::GET, "/jobs/7", "", 404, "not-found"),
            (Method::GET, "/jobs/x", "", 400, "invalid"),
            (Method::GET, "/jobs?state=done", "", 400, "invalid"),
            (Method::POST, "/jobs/7/retry", "", 409, "not-possible"),
            (Method::DELETE, "/jobs/7", "", 409, "not-possible"),
            (Method::POST, "/discoveries", "{", 400, "invalid"),
            (Method::POST, "/discoveries", r#"{"instance":"<x>"}"#, 400, "invalid"),
            (
                Method::POST,
                "/instances/db1/3306/downtime",
                r#"{"owner":"","reason":"x","duration_seconds":null}"#,
                400,
                "invalid",
            ),
            (Method::DELETE, "/instances/db1/3306/downtime", "", 404, "not-found"),
            (Method::DELETE, "/maintenance/99", "", 404, "not-found"),
        ] {
            let reply = fleet.send(method.clone(), &format!("/api/v2{path}"), &[JSON], body).await;
            assert_eq!(reply.status.as_u16(), status, "{method} {path}: {}", reply.body);
            assert_eq!(reply.header("content-type"), "application/problem+json", "{method} {path}");
            let problem: serde_json::Value = serde_json::from_str(&reply.body).expect("problem");
            assert_eq!(problem["type"], format!("urn:orchestrator:problem:{kind}"), "{method} {path}");
            assert_eq!(problem["status"], status, "{method} {path}");
        }
    })
    .await;
}

#[tokio::test]
async fn changes() {
    on_both(async |fleet| {
        let send = async |method: Method, path: &str, body: &str| {
            fleet.send(method, &format!("/api/v2{path}"), &[JSON], body).await
        };
        let begun =
            send(Method::POST, "/instances/db2/3306/downtime", r#"{"owner":"ann","reason":"x","duration_seconds":60}"#)
                .await;
        assert_eq!(begun.status, StatusCode::CREATED, "{}", begun.body);
        assert_eq!(document(&fleet, "/downtimes").await["items"][0]["owner"], "ann");
        assert_eq!(send(Method::DELETE, "/instances/db2/3306/downtime", "").await.status, StatusCode::NO_CONTENT);
        let maintenance =
            send(Method::POST, "/instances/db2/3306/maintenance", r#"{"owner":"ann","reason":"x"}"#).await;
        assert_eq!(maintenance.status, StatusCode::CREATED, "{}", maintenance.body);
        let again = send(Method::POST, "/instances/db2/3306/maintenance", r#"{"owner":"bob","reason":"y"}"#).await;
        assert_eq!(again.status, StatusCode::CONFLICT, "{}", again.body);
        let id = document(&fleet, "/maintenance").await["items"][0]["id"].to_string();
        assert_eq!(send(Method::DELETE, &format!("/maintenance/{id}"), "").await.status, StatusCode::NO_CONTENT);
        let tag = r#"{"instance":"db2:3306","name":"role","value":"backup"}"#;
        assert_eq!(send(Method::POST, "/tags", tag).await.status, StatusCode::CREATED);
        assert_eq!(document(&fleet, "/tags?expression=role").await["items"][0]["value"], "backup");
        assert_eq!(send(Method::DELETE, "/tags?instance=db2:3306&name=role", "").await.status, StatusCode::NO_CONTENT);
        assert_eq!(send(Method::DELETE, "/instances/db4/3306", "").await.status, StatusCode::NO_CONTENT);
        let audit = document(&fleet, "/audit").await;
        assert_eq!(audit["items"].as_array().map(Vec::len), Some(7), "{audit}");
        assert_eq!(audit["items"][0]["audit_type"], "forget");
    })
    .await;
}

#[tokio::test]
async fn jobs() {
    on_both(async |fleet| {
        let submit =
            async || fleet.send(Method::POST, "/api/v2/discoveries", &[JSON], r#"{"instance":"db9:3306"}"#).await;
        let first = submit().await;
        assert_eq!(first.status, StatusCode::ACCEPTED, "{}", first.body);
        let accepted: serde_json::Value = serde_json::from_str(&first.body).expect("accepted");
        assert_eq!(
            (accepted["merged"].as_bool(), first.header("location")),
            (Some(false), accepted["location"].as_str().expect("path"))
        );
        let second: serde_json::Value = serde_json::from_str(&submit().await.body).expect("accepted");
        assert_eq!((&second["id"], second["merged"].as_bool()), (&accepted["id"], Some(true)));
        let job = document(&fleet, &format!("/jobs/{}", accepted["id"])).await;
        assert_eq!((job["kind"].as_str(), job["state"].as_str()), (Some("discover"), Some("ready")));
        assert_eq!(job["payload"]["hostname"], "db9");
        assert_eq!(
            document(&fleet, "/jobs?state=ready&kind=discover").await["items"].as_array().map(Vec::len),
            Some(1)
        );
        assert_eq!(document(&fleet, "/jobs?state=failed").await["items"].as_array().map(Vec::len), Some(0));
        assert_eq!(document(&fleet, "/lanes").await["items"][0]["depth"], 1);
        let path = format!("/api/v2/jobs/{}", accepted["id"]);
        assert_eq!(fleet.ask(Method::DELETE, &path, &[]).await.status, StatusCode::NO_CONTENT);
        let ended = fleet.ask(Method::GET, &path, &[]).await;
        assert_eq!(ended.status, StatusCode::NOT_FOUND);
        assert!(ended.body.contains("was cancelled"), "{}", ended.body);
    })
    .await;
}

#[tokio::test]
async fn the_document_describes_every_route_and_refers_to_nothing_undefined() {
    on_both(async |fleet| {
        let text = fleet.ok("/api/v2/openapi.json").await;
        let document: serde_json::Value = serde_json::from_str(&text).expect("document");
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().expect("quote");
            assert!(schemas.contains_key(name), "{name} is referred to and not defined");
        }
        let mut lines = Vec::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for method in methods.as_object().expect("methods").keys() {
                lines.push(format!("{method} {path}"));
            }
        }
        lines.sort();
        insta::assert_snapshot!("rest_paths", lines.join("\n"));
    })
    .await;
}

#[tokio::test]
async fn leadership_and_nodes() {
    on_both(async |fleet| {
        fleet.ok("/api/grab-election").await;
        let leader = document(&fleet, "/leadership").await;
        assert_eq!(leader["token"].as_str(), Some(fleet.handles.identity.token.as_str()));
        let terms = document(&fleet, "/leadership/terms").await;
        assert_eq!(terms["items"][0]["term"], leader["term"], "{terms}");
        assert_eq!(document(&fleet, "/nodes").await["items"].as_array().map(Vec::len), Some(0));
    })
    .await;
}
