//! Recoveries that lose what carries them out: their worker, the leader, both, or the backend, killed or frozen in every
//! phase and within hooks. Whatever is lost, others finish: one successor, each hook once, nothing left open.
//!
//! A few losses in CI; `ORCHESTRATOR_RECOVERY_LOSSES=all` for all of them, `=freeze` for those of one kind.

mod evidence;
mod losses;
mod night;

use anyhow::{Context, Result, ensure};
use harness::Flavor;
use losses::{Loss, Moment, Who};
use night::Night;

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_finish_a_recovery(#[case] flavor: Flavor) -> Result<()> {
    let losses = chosen(flavor)?;
    let mut night = Night::start(flavor).await?;
    let (mut missed, mut failed) = (Vec::new(), Vec::new());
    for (loss, moment) in losses {
        match night.round(loss, moment).await.with_context(|| format!("{flavor}, {loss} {moment:?}")) {
            Ok(true) => {}
            Ok(false) => missed.push(format!("{loss} {moment:?}")),
            Err(error) => {
                println!("FAILED {error:#}");
                failed.push(format!("{error:#}"));
                // Whatever is left behind is not for the next one.
                let figures = std::mem::take(&mut night.figures);
                night = Night::start(flavor).await?;
                night.figures = figures;
            }
        }
    }
    night.figures.report(flavor);
    println!("{flavor}: over before the moment came: {missed:?}");
    ensure!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    Ok(())
}

/// What is lost, and when.
fn chosen(flavor: Flavor) -> Result<Vec<(Loss, Moment)>> {
    let all = || {
        let mut all = Vec::new();
        for loss in Loss::ALL {
            all.extend(Moment::ALL.into_iter().filter(|moment| moment.is_for(loss)).map(|moment| (loss, moment)));
        }
        all
    };
    match std::env::var("ORCHESTRATOR_RECOVERY_LOSSES") {
        Ok(text) if text == "all" => Ok(all()),
        Ok(text) => {
            let some: Vec<_> = all()
                .into_iter()
                .filter(|(loss, moment)| format!("{loss} {moment:?}").contains(text.as_str()))
                .collect();
            ensure!(!some.is_empty(), "ORCHESTRATOR_RECOVERY_LOSSES={text}: neither all nor a part of a loss's name");
            Ok(some)
        }
        Err(_) => Ok(match flavor {
            Flavor::MySql => vec![
                (Loss::Kill(Who::Both), Moment::Promoting),
                (Loss::Freeze, Moment::Repointing),
                (Loss::BackendKill, Moment::Fencing),
            ],
            Flavor::MariaDb => vec![
                (Loss::Kill(Who::Worker), Moment::DetectionHook),
                (Loss::Freeze, Moment::Promoting),
                (Loss::BackendRestart, Moment::Repointing),
            ],
        }),
    }
}
