//! A killed primary is replaced and comes back: closed to writes on first contact; clean: a replica again where that is
//! wanted, left alone elsewhere; with transactions of its own: shown with the exact set, and left alone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use harness::{Flavor, Server, replica_status, table_checksum};
use scenario::incident::{Blow, Durability, Incident};
use scenario::{credentials_query, key, wait};
use serde_json::json;
use store::former_primaries::{Former, FormerState};

const LIMIT: Duration = Duration::from_secs(30);
/// From the first answer of the old primary to its being closed. Dead servers are looked for every five seconds at least.
const CLOSED: Duration = Duration::from_secs(10);
/// It stays as it is for so long, at least: settled primaries are not asked for more often.
const LEFT_ALONE: Duration = Duration::from_secs(3);

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_returning_primary_is_closed_and_judged(#[case] flavor: Flavor) -> Result<()> {
    let settings = json!({ "RejoinFormerPrimary": ["*"], "ReplicationCredentialsQuery": credentials_query() });
    let mut incident = Incident::start(flavor, Durability::Asynchronous, "a\n  b\n  c", settings).await?;
    for (what, scene) in [("clean", Scene::Clean), ("errant", Scene::Errant), ("left alone", Scene::Unwanted)] {
        let settled = scene.play(&mut incident).await.with_context(|| format!("{flavor}, {what}"));
        if let Err(error) = settled {
            bail!("{error:#}\n{}", incident.diagnosis().await);
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Scene {
    /// It has nothing of its own, and is to be a replica again.
    Clean,
    /// It took rows before the fleet saw it.
    Errant,
    /// It has nothing of its own, and is to be left alone.
    Unwanted,
}

impl Scene {
    async fn play(self, incident: &mut Incident) -> Result<()> {
        if matches!(self, Self::Unwanted) {
            incident.fleet.reload("service", json!({ "RejoinFormerPrimary": [] })).await?;
        }
        let blow = replaced(incident).await?;
        let old = incident.server(&blow.victim)?;
        let own = match self {
            Self::Clean | Self::Unwanted => {
                old.start_again().await?;
                String::new()
            }
            Self::Errant => {
                incident.fleet.signal("service", "STOP")?;
                old.start_again().await?;
                let own = rows_of_its_own(old).await?;
                incident.fleet.signal("service", "CONT")?;
                own
            }
        };
        let begun = Instant::now();
        wait::until("the old primary is closed", CLOSED, || async { Ok(is_closed(old).await?.then_some(())) }).await?;
        println!("{} {self:?}: closed {:.1} s after it was back", old.flavor(), begun.elapsed().as_secs_f64());
        match self {
            Self::Clean => self.rejoined(incident, &blow).await?,
            Self::Errant => self.apart(incident, &blow, FormerState::Errant, &own).await?,
            Self::Unwanted => self.apart(incident, &blow, FormerState::Fenced, "").await?,
        }
        // The others come back as replicas, or are the last.
        if matches!(self, Self::Errant) {
            incident.replace(&blow.victim).await?;
        }
        Ok(())
    }

    /// It replicates from its successor, closed.
    async fn rejoined(self, incident: &Incident, blow: &Blow) -> Result<()> {
        let (old, new) = (incident.server(&blow.victim)?, incident.server(&incident.primary)?);
        former(incident, old, FormerState::Rejoined).await?;
        wait::until("the old primary replicates", LIMIT, || async {
            let status = replica_status(old.flavor(), &mut old.connect_root().await?).await?;
            let follows = |one: &harness::ReplicaStatus| one.source_port == new.port() && one.is_running();
            Ok(status.as_ref().is_some_and(follows).then_some(()))
        })
        .await?;
        new.execute("INSERT INTO app.ledger VALUES (900000001, 'test', 'for the replica')").await?;
        wait::until("the old primary has the rows", LIMIT, || async {
            Ok((table_checksum(old).await? == table_checksum(new).await?).then_some(()))
        })
        .await?;
        ensure!(is_closed(old).await?, "it was opened");
        Ok(())
    }

    /// It stays closed and alone, and everybody can see why.
    async fn apart(self, incident: &Incident, blow: &Blow, state: FormerState, own: &str) -> Result<()> {
        let old = incident.server(&blow.victim)?;
        let before = former(incident, old, state).await?;
        ensure!(before.errant_gtid == own, "marked with {:?}, it has {own:?}", before.errant_gtid);
        let id = before.recovery_id;
        let shown = incident.fleet.ok(&["recovery", &id.to_string()]).await?;
        ensure!(shown.contains(own), "{shown}");
        let (status, told) = incident.fleet.get("service", &format!("/api/v2/recoveries/{id}")).await?;
        ensure!(status == 200 && told.contains(own), "{status}: {told}");
        let downtimed = incident.fleet.ok(&["-c", "downtimed"]).await?;
        ensure!(downtimed.contains(&old.address()), "{downtimed}");
        tokio::time::sleep(LEFT_ALONE).await;
        ensure!(former(incident, old, state).await? == before && is_closed(old).await?, "it was touched");
        let source = replica_status(old.flavor(), &mut old.connect_root().await?).await?;
        ensure!(source.is_none(), "it was made a replica: {source:?}");
        Ok(())
    }
}

/// The primary is killed when all have all of its rows, and replaced.
async fn replaced(incident: &mut Incident) -> Result<Blow> {
    let mut writer = incident.write().await?;
    writer.stop().await;
    let primary = incident.server(&incident.primary)?;
    for (name, server) in incident.topology.servers.iter().filter(|(name, _)| *name != incident.primary) {
        harness::catch_up(server, primary, LIMIT).await.with_context(|| name.clone())?;
    }
    let blow = incident.strike(Server::kill).await?;
    let victim = incident.server(&blow.victim)?.port();
    let sql = "SELECT successor_port FROM recovery WHERE port = ? AND is_successful = 1 AND ended_at IS NOT NULL";
    let successor = wait::until("the primary is replaced", LIMIT, || async {
        Ok(sqlx::query_scalar::<_, u16>(sql).bind(victim).fetch_optional(incident.pool()).await?)
    })
    .await?;
    let name = incident.topology.name_of(successor).context("an unknown successor")?.to_owned();
    incident.primary = name;
    incident.followed(&blow).await?;
    incident.recorded(&blow).await?;
    Ok(blow)
}

/// Writes rows to a server that nobody follows; gives their transactions, as they are to be shown.
async fn rows_of_its_own(server: &Server) -> Result<String> {
    let place = match server.flavor() {
        Flavor::MySql => "@@GLOBAL.gtid_executed",
        Flavor::MariaDb => "@@GLOBAL.gtid_binlog_pos",
    };
    let before = server.value(place).await?;
    for row in [900_000_002_u32, 900_000_003] {
        server.execute(&format!("INSERT INTO app.ledger VALUES ({row}, 'test', 'of its own')")).await?;
    }
    let after = server.value(place).await?;
    match server.flavor() {
        Flavor::MySql => server.value(&format!("GTID_SUBTRACT('{after}', '{before}')")).await,
        Flavor::MariaDb => {
            let (origin, last) = after.rsplit_once('-').context("no position")?;
            let last: u64 = last.parse()?;
            Ok(format!("{origin}-{}..{last}", last - 1))
        }
    }
}

async fn is_closed(server: &Server) -> Result<bool> {
    let word = match server.flavor() {
        Flavor::MySql => "@@GLOBAL.super_read_only",
        Flavor::MariaDb => "@@GLOBAL.read_only",
    };
    Ok(["1", "ON"].contains(&server.value(word).await?.as_str()))
}

/// What the fleet knows about it, once that is settled.
async fn former(incident: &Incident, server: &Server, state: FormerState) -> Result<Former> {
    let key = key(server);
    wait::until(&format!("{key} is {}", state.name()), LIMIT, || async {
        let all = store::former_primaries::of(incident.pool()).await?;
        Ok(all.into_iter().find(|one| one.key == key && one.state == state))
    })
    .await
}
