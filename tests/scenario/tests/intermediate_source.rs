//! An intermediate source is lost: its replicas go where the documents say, nothing of theirs is lost, and the primary is left
//! alone. Then the one that took them in is lost, too, when nobody near is left.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::Flavor;
use rstest::rstest;
use scenario::{Playground, wait};
use serde_json::{Value, json};
use sqlx::Row;

/// `a`, `b`, `c` and the orphans-to-be stand in `ny`; `g` and `f` stand in `sf`.
const TREE: &str = "
    a
      b
        d
        e
        f --lc-time-names=de_DE
      c
      g --lc-time-names=de_DE
";
const LIMIT: Duration = Duration::from_secs(30);
/// A setting of the servers that nothing here depends on tells where they stand.
const PLACES: &str = "SELECT IF(@@GLOBAL.lc_time_names = 'de_DE', 'sf', 'ny')";

async fn recovered(playground: &Playground, failed: &str) -> Result<Value> {
    let port = playground.server(failed)?.port();
    let sql = "SELECT outcome, CAST(lost AS CHAR), CAST(COALESCE(successor_port, 0) AS CHAR), kind FROM recovery \
               WHERE port = ? AND ended_at IS NOT NULL ORDER BY id DESC LIMIT 1";
    let row = wait::until(&format!("the loss of {failed} is recovered"), LIMIT, || async {
        Ok(sqlx::query(sql).bind(port).fetch_optional(playground.pool()).await?)
    })
    .await
    .with_context(|| playground.fleet.log_tail("service"))?;
    let text = |at: usize| row.try_get_unchecked::<String, _>(at);
    let successor = playground.topology.name_of(text(2)?.parse()?).unwrap_or("nobody");
    Ok(json!([text(3)?, text(0)?, text(1)?, successor]))
}

#[rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_replicas_find_another(#[case] flavor: Flavor) -> Result<()> {
    let settings = json!({
        "RecoverIntermediateMasterClusterFilters": ["*"],
        "DetectDataCenterQuery": PLACES,
        "RecoveryPeriodBlockSeconds": 1,
    });
    let mut playground = Playground::start_with(flavor, TREE, settings).await?;
    playground.settled("b<a c<a d<b e<b f<b g<a").await?;
    playground.rows_written(50).await?;

    // A sibling in the same data center takes all of them, also the one from elsewhere.
    playground.server("b")?.kill()?;
    let killed = std::time::Instant::now();
    playground.linked("c<a d<c e<c f<c g<a").await.with_context(|| playground.fleet.log_tail("service"))?;
    println!("{flavor}: below c {:?} after the kill", killed.elapsed());
    let said = recovered(&playground, "b").await?;
    ensure!(said == json!(["intermediate", "recovered", "[]", "c"]), "{said}");
    playground.settled("c<a d<c e<c f<c g<a").await?;

    // No sibling is near now: they gather below the best of them, which goes further up. g is far, but is a sibling; a is
    // the last resort.
    playground.server("c")?.kill()?;
    let killed = std::time::Instant::now();
    let said = recovered(&playground, "c").await?;
    let links = wait::until("all replicate again", LIMIT, || async {
        let links = playground.links().await?;
        Ok((!links.contains('(')).then_some(links))
    })
    .await?;
    println!("{flavor}: {links} {:?} after the kill: {said}", killed.elapsed());
    ensure!(said[1] == "recovered" && said[2] == "[]", "{said}");
    ensure!(links == "d<g e<d f<d g<a" || links == "d<e e<g f<e g<a", "{links}");
    playground.at_rest(&links).await?;

    // The primary was never in question.
    let open = playground.value("a", "@@GLOBAL.read_only").await?;
    ensure!(["0", "OFF"].contains(&open.as_str()), "{open}");
    let others: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM recovery WHERE kind <> 'intermediate'")
        .fetch_one(playground.pool())
        .await?;
    ensure!(others == 0, "{others} recoveries of other kinds");
    ensure!(playground.locks().await? == 0, "locks are left behind");
    Ok(())
}
