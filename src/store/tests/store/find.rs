//! Finding by what people type.

use store::instances::{self, Written};
use store::{Error, clusters};

use crate::{key, on_both, primary, replica_of, seen};

#[tokio::test]
async fn names_are_completed_only_when_one_fits() {
    on_both(async |db| {
        let hosts = ["db1", "db10", "web%prod", "webxprod", "10.0.0.12", "tail\\slash"];
        let batch: Vec<_> = hosts.iter().map(|host| seen(host, 1, primary("x"))).collect();
        instances::record(&db.pool, &Written::default(), &batch).await.unwrap();
        for (typed, found) in [
            ("db10", "db10"),
            ("b10", "db10"),
            ("db1", "db1"),
            ("web", "web"),
            ("b%p", "web%prod"),
            ("b_p", "b_p"),
            ("%", "web%prod"),
            ("l\\s", "tail\\slash"),
            ("10.0.0.1", "10.0.0.1"),
            ("unknown", "unknown"),
            ("", ""),
        ] {
            assert_eq!(instances::complete(&db.pool, &key(typed)).await.unwrap(), key(found), "{typed}");
        }
        let mut other_port = key("b10");
        other_port.port = 3307;
        assert_eq!(instances::complete(&db.pool, &other_port).await.unwrap(), other_port);
    })
    .await;
}

#[tokio::test]
async fn a_cluster_is_found_by_name_alias_instance_or_part_of_one() {
    on_both(async |db| {
        let batch =
            [seen("head-1", 1, primary("x")), seen("leaf-1", 1, replica_of("head-1")), seen("lone", 1, primary("x"))];
        instances::record(&db.pool, &Written::default(), &batch).await.unwrap();
        db.sql("UPDATE instance SET cluster_name = 'head-1:3306' WHERE hostname IN ('head-1', 'leaf-1')").await;
        let mut conn = db.conn().await;
        let pair = |name: &str, alias: &str| (name.to_owned(), alias.to_owned());
        clusters::register_aliases(&mut conn, &[pair("head-1:3306", "shop"), pair("lone:3306", "misc")]).await.unwrap();
        clusters::set_override(&mut conn, "lone:3306", "special").await.unwrap();
        for (hint, name) in [
            ("head-1:3306", "head-1:3306"),
            ("shop", "head-1:3306"),
            ("special", "lone:3306"),
            ("leaf-1", "head-1:3306"),
            (" leaf-1:3306 ", "head-1:3306"),
            ("eaf", "head-1:3306"),
        ] {
            assert_eq!(instances::find_cluster(&db.pool, hint, 3306).await.unwrap(), name, "{hint}");
        }
        for hint in ["", "1", "misc", "nothing", "leaf-1:3307", "a b", "<x>"] {
            let error = instances::find_cluster(&db.pool, hint, 3306).await.unwrap_err();
            assert!(matches!(error, Error::NotFound { .. }), "{hint}: {error}");
        }
        assert_eq!(instances::find_cluster_of(&db.pool, &key("lon")).await.unwrap(), "lone:3306");
        let minute = std::time::Duration::from_secs(60);
        assert_eq!(
            instances::forget_cluster(&mut conn, "head-1:3306", minute).await.unwrap(),
            [key("head-1"), key("leaf-1")]
        );
        let again = instances::forget_cluster(&mut conn, "head-1:3306", minute).await.unwrap_err();
        assert!(matches!(again, Error::NotFound { .. }));
        assert_eq!(instances::read_all(&db.pool).await.unwrap().instances.len(), 1, "others stay");
    })
    .await;
}

#[tokio::test]
async fn a_forgotten_cluster_leaves_no_name_behind() {
    on_both(async |db| {
        let batch = [seen("gone", 1, primary("x")), seen("stays", 1, primary("x")), seen("fades", 1, primary("x"))];
        instances::record(&db.pool, &Written::default(), &batch).await.unwrap();
        let mut conn = db.conn().await;
        let pair = |name: &str, text: &str| (format!("{name}:3306"), text.to_owned());
        let aliases = [pair("gone", "old"), pair("stays", "kept"), pair("fades", "faded")];
        clusters::register_aliases(&mut conn, &aliases).await.unwrap();
        clusters::register_domains(&mut conn, &[pair("gone", "old.test"), pair("stays", "kept.test")].into())
            .await
            .unwrap();
        clusters::set_override(&mut conn, "stays:3306", "chosen").await.unwrap();
        let means = async |hint: &str| instances::find_cluster(&db.pool, hint, 3306).await;
        let unknown = async |hint: &str| matches!(means(hint).await, Err(Error::NotFound { .. }));
        assert_eq!(means("old").await.unwrap(), "gone:3306");

        // With and without an alias that people set.
        let minute = std::time::Duration::from_secs(60);
        clusters::set_override(&mut conn, "gone:3306", "older").await.unwrap();
        assert_eq!(means("older").await.unwrap(), "gone:3306");
        instances::forget_cluster(&mut conn, "gone:3306", minute).await.unwrap();
        assert!(unknown("older").await && unknown("old").await && unknown("gone:3306").await);
        assert_eq!(clusters::domain(&db.pool, "gone:3306").await.unwrap(), None);
        assert_eq!(clusters::overrides(&db.pool).await.unwrap(), [pair("stays", "chosen")].into());
        assert_eq!(db.number("SELECT COUNT(*) FROM cluster_alias WHERE alias = 'old'").await, 0);
        assert_eq!(means("chosen").await.unwrap(), "stays:3306", "others keep theirs");
        assert_eq!(clusters::domain(&db.pool, "stays:3306").await.unwrap().as_deref(), Some("kept.test"));

        // A cluster may lose its last instance without being forgotten as a whole.
        instances::forget(&mut conn, &key("fades"), minute).await.unwrap();
        assert!(unknown("faded").await);
        clusters::set_override(&mut conn, "fades:3306", "phantom").await.unwrap();
        assert!(unknown("phantom").await);
    })
    .await;
}

#[tokio::test]
async fn search_candidates_are_a_superset_of_the_matches() {
    on_both(async |db| {
        let mut odd = primary("8.0-\"quoted\"");
        odd.server_id = 4711;
        odd.version_comment = "100%_sure".to_owned();
        let batch = [seen("alpha", 1, odd), seen("beta", 1, primary("10.11-MariaDB"))];
        instances::record(&db.pool, &Written::default(), &batch).await.unwrap();
        let all = instances::read_all(&db.pool).await.unwrap().instances;
        for text in
            ["", "alp", "4711", "3306", "alpha:33", "\"quoted", "100%_", "mariadb", "MariaDB", "%", "_", "nothing"]
        {
            let matching = |list: &[domain::instance::Instance]| {
                let found = list.iter().filter(|one| domain::search::matches(one, text));
                found.map(|one| one.key.clone()).collect::<Vec<_>>()
            };
            let found = instances::search_candidates(&db.pool, text).await.unwrap().instances;
            assert_eq!(matching(&found), matching(&all), "{text}");
        }
    })
    .await;
}
