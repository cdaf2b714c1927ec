//! Probes a simulated fleet and tells what that costs us, in memory per instance and in CPU per probe:
//! `simulator --servers 5000` prints its port; then `fleet PORT 5000 ROUNDS`.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use domain::instance::{Answer, InstanceKey};
use futures::StreamExt;
use mysql::{ConnectSettings, ProbeSettings, Prober, Secret};

/// As many as one shard.
const AT_ONCE: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let numbers: Vec<u32> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let [port, servers, rounds] = numbers[..] else {
        anyhow::bail!("usage: fleet port servers rounds");
    };
    let port = u16::try_from(port)?;
    let connect = ConnectSettings {
        user: "orchestrator".to_owned(),
        password: Secret::new("secret"),
        ..ConnectSettings::default()
    };
    let prober = Prober::new(ProbeSettings { connect, ..ProbeSettings::default() }, Arc::new(|| 0));
    // The simulator gives each of its servers an address of its own.
    let first = u32::from(Ipv4Addr::new(127, 10, 0, 1));
    let address = |n: u32| Ipv4Addr::from(first + n / 250 * 256 + n % 250);
    let keys: Vec<_> = (0..servers).map(|n| InstanceKey::new(address(n).to_string(), port)).collect();

    let before = resident_bytes()?;
    round(&prober, &keys).await?;
    let after = resident_bytes()?;
    let bytes = after.saturating_sub(before) / u64::from(servers);
    println!("after the first probe of each: {bytes} bytes resident per instance, connection included");
    let (wall, cpu) = (Instant::now(), cpu_micros()?);
    for _ in 0..rounds {
        round(&prober, &keys).await?;
    }
    let probes = u64::from(servers * rounds).max(1);
    println!("{} us of our CPU per probe", (cpu_micros()? - cpu) / probes);
    println!("{} probes/s", u128::from(probes) * 1_000_000 / wall.elapsed().as_micros().max(1));
    let bytes = resident_bytes()?.saturating_sub(before) / u64::from(servers);
    println!("at the end: {bytes} bytes per instance; {} MB in all", resident_bytes()? >> 20);
    println!("{:?}", prober.stats());
    Ok(())
}

async fn round(prober: &Prober, keys: &[InstanceKey]) -> Result<()> {
    let mut answers = futures::stream::iter(keys).map(|key| prober.probe(key)).buffer_unordered(AT_ONCE);
    while let Some(observation) = answers.next().await {
        anyhow::ensure!(matches!(observation.answer, Answer::Facts { .. }), "{observation:?}");
    }
    Ok(())
}

fn resident_bytes() -> Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    Ok(statm.split_whitespace().nth(1).context("no such field")?.parse::<u64>()? * 4096)
}

/// User and system time of this process, from the kernel's accounting in clock ticks of 10 ms.
fn cpu_micros() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| -> Result<u64> { Ok(fields.get(index).context("no such field")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) * 10_000)
}
