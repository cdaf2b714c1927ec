//! Random sequences of operations on real servers under a steady write load, with a fixed seed. After each operation: it
//! did what its plan said when it was only asked for, nothing that was acknowledged is missing, no replica has silently
//! stopped, and the topology is one.
//!
//! `ORCHESTRATOR_SEQUENCES=200` runs that many instead of a few, `ORCHESTRATOR_SEQUENCES=17..18` one of them again.

mod arena;
mod planned;
mod requests;
mod states;

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Instant;

use anyhow::{Context, Result};
use harness::Flavor;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::arena::Arena;
use crate::requests::random_request;

const SEED: u64 = 20_261_123;
const OPERATIONS: usize = 10;
/// Sequences of one run, unless the environment says otherwise: what fits into half a minute.
const FEW: u64 = 4;

#[rstest::rstest]
#[case(Flavor::MySql)]
#[case(Flavor::MariaDb)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_asked_for_nothing_is_lost_and_nothing_stops(#[case] flavor: Flavor) -> Result<()> {
    let mut arena = Arena::start(flavor).await?;
    let (range, begun) = (sequences()?, Instant::now());
    for sequence in range.clone() {
        arena.reset().await.with_context(|| format!("before sequence {sequence}"))?;
        let mut random = StdRng::seed_from_u64(SEED + sequence);
        let mut story = String::new();
        for _ in 0..OPERATIONS {
            let request = random_request(&arena.topology, &mut random);
            let said = arena.named(&format!("{request:?}"));
            let ended = arena.step(&request).await;
            let end = ended.as_ref().map_or("WRONG", |end| end.as_str());
            writeln!(story, "  {said}: {end}; {}", arena.links().await?)?;
            ended.with_context(|| format!("{flavor}, ORCHESTRATOR_SEQUENCES={sequence}..{}\n{story}", sequence + 1))?;
        }
    }
    arena.reset().await.context("after the last sequence")?;
    let done: u64 = arena.ends.values().sum();
    // Times and kinds of endings are figures people ask for; without them "all refused" would pass unseen.
    println!(
        "{flavor}: {} sequences, {done} operations in {:.1} s, {:.2} s each: {:?}",
        range.end - range.start,
        begun.elapsed().as_secs_f64(),
        arena.operating.as_secs_f64() / done as f64,
        arena.ends
    );
    Ok(())
}

/// Which sequences to run: as many, or from one up to another.
fn sequences() -> Result<Range<u64>> {
    let Ok(text) = std::env::var("ORCHESTRATOR_SEQUENCES") else { return Ok(0..FEW) };
    let parsed = match text.split_once("..") {
        Some((first, end)) => first.parse().ok().zip(end.parse().ok()).map(|(first, end)| first..end),
        None => text.parse().ok().map(|count| 0..count),
    };
    parsed.with_context(|| format!("ORCHESTRATOR_SEQUENCES={text}: neither a number nor two"))
}
