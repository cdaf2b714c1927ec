//! What the kernel says of processes: processor time and memory.

use std::fs;

/// Milliseconds per tick of the times in /proc: USER_HZ is 100 on every Linux this runs on.
const TICK_MS: f64 = 10.0;

/// Processor time of a process so far, user and system, in milliseconds; 0 when it is gone.
pub fn cpu_ms(pid: u32) -> f64 {
    stat_ms(&format!("/proc/{pid}/stat"))
}

/// utime and stime are fields 14 and 15; the second field, the name, may hold spaces, so count from its bracket.
fn stat_ms(path: &str) -> f64 {
    let stat = fs::read_to_string(path).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() * TICK_MS
}

/// Resident memory in megabytes; 0 when the process is gone.
pub fn resident_mb(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// The threads of a process with their processor time in milliseconds.
pub fn threads(pid: u32) -> Vec<(u32, f64)> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
        .map(|thread| (thread, thread_ms(pid, thread)))
        .collect()
}

/// Processor time of one thread, to the nanosecond where the kernel keeps it.
pub fn thread_ms(pid: u32, thread: u32) -> f64 {
    let task = format!("/proc/{pid}/task/{thread}");
    let fine = fs::read_to_string(format!("{task}/schedstat")).ok();
    match fine.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok()) {
        Some(nanos) => nanos / 1e6,
        None => stat_ms(&format!("{task}/stat")),
    }
}

/// Processor time of the whole machine: (busy, possible), in milliseconds.
pub fn machine_ms() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    // user nice system idle iowait irq softirq steal; guest times are part of user.
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<f64> = line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    let possible: f64 = fields.iter().sum();
    let idle: f64 = fields.iter().skip(3).take(2).sum();
    ((possible - idle) * TICK_MS, possible * TICK_MS)
}

/// `Max open files` of this process: children inherit it.
pub fn descriptor_limit() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    line.split_whitespace().nth(3).and_then(|limit| limit.parse().ok()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_has_threads() {
        let pid = std::process::id();
        assert!(resident_mb(pid) > 0.5);
        assert!(threads(pid).iter().any(|(thread, _)| *thread == pid));
        let (busy, possible) = machine_ms();
        assert!(busy > 0.0 && busy < possible);
        assert!(descriptor_limit() > 16);
    }
}
