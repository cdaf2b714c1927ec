//! The load of this process, as its row in the registry of nodes tells it.

use serde_json::json;

/// Ticks of `/proc/PID/stat` per second: fixed by Linux for user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory, CPU time and open files. Running jobs are known from the queue's own registry of workers.
pub(super) fn as_json() -> String {
    json!({ "memory_bytes": memory_bytes(), "cpu_seconds": cpu_seconds(), "open_files": open_files() }).to_string()
}

/// Resident memory.
fn memory_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// User and system time since the start.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in the second field may contain anything: count from its end. See proc(5), fields 14 and 15.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map_while(|field| field.parse::<f64>().ok());
    Some((times.next()? + times.next()?) / TICKS_PER_SECOND)
}

/// Descriptors in use: mostly connections.
fn open_files() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_load() {
        let load: serde_json::Value = serde_json::from_str(&as_json()).expect("JSON");
        assert!(load["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 100_000), "{load}");
        assert!(load["cpu_seconds"].as_f64().is_some(), "{load}");
        assert!(load["open_files"].as_u64().is_some_and(|files| files > 2), "{load}");
    }
}
