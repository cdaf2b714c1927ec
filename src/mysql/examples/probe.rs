//! Probes one server again and again and tells what that costs us: `probe host:port user password n`.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use domain::instance::{Answer, InstanceKey};
use mysql::{ConnectSettings, ProbeSettings, Prober, Secret};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, user, password, count] = &arguments[..] else {
        anyhow::bail!("usage: probe host:port user password count");
    };
    let key = InstanceKey::parse(address, 3306)?;
    let count: u32 = count.parse().context("the count must be a number")?;
    let connect = ConnectSettings { user: user.clone(), password: Secret::new(password), ..ConnectSettings::default() };
    let prober = Prober::new(ProbeSettings { connect, ..ProbeSettings::default() }, Arc::new(|| 0));

    let first = prober.probe(&key).await;
    match &first.answer {
        Answer::Facts { key, facts } => println!("{key}: {facts:#?}"),
        other => anyhow::bail!("{other:?}"),
    }
    let (wall, cpu) = (Instant::now(), cpu_micros()?);
    for _ in 0..count {
        let observation = prober.probe(&key).await;
        anyhow::ensure!(matches!(observation.answer, Answer::Facts { .. }), "{:?}", observation.answer);
    }
    let (wall, cpu) = (wall.elapsed().as_micros(), cpu_micros()? - cpu);
    println!("{} us of our CPU, {} us elapsed per probe", cpu / u64::from(count), wall / u128::from(count));
    println!("{:?}", prober.stats());
    Ok(())
}

/// User and system time of this process, from the kernel's accounting in clock ticks of 10 ms.
fn cpu_micros() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| -> Result<u64> { Ok(fields.get(index).context("no such field")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) * 10_000)
}
