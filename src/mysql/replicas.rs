//! Which replicas a server has.
//!
//! Replicas register with their source under `report_host` and `report_port`; that list is always read first, because it
//! alone tells ports. A replica without `report_host` registers too, with its port but without a name: only then is the
//! process list asked for the addresses of those who read the binary log (others than replicas read it too: backup and
//! change-capture tools, which do not register). With `DiscoverByShowSlaveHosts` the process list is asked only if no
//! replica registered a name. Whoever reads the binary log from the address of a named replica is taken to be that one.
//!
//! Left out: replicas of NDB Cluster (`ndbinfo.processes`).

use std::collections::BTreeSet;

use domain::instance::InstanceKey;

use crate::columns::Columns;
use crate::settings::Filters;

/// The replicas that registered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Registered {
    /// Host, port and, where the source shows it, user.
    named: Vec<(InstanceKey, String)>,
    /// Ports of those that gave no usable name.
    unnamed_ports: BTreeSet<u16>,
}

impl Registered {
    /// From the rows of `SHOW REPLICAS`.
    pub(crate) fn read<C: Columns>(rows: &[C]) -> Self {
        let mut registered = Self::default();
        for row in rows {
            let port = row.text("Port").and_then(|text| text.parse::<u16>().ok()).unwrap_or(0);
            let host = row.any(["Host"; 2]);
            match InstanceKey::reported(&host, port) {
                Ok(key) => registered.named.push((key, row.any(["User"; 2]))),
                Err(_) if host.trim().is_empty() => drop(registered.unnamed_ports.insert(port)),
                // A name that cannot be one: it is not ours to guess what was meant.
                Err(_) => {}
            }
        }
        registered
    }

    /// The process list may know more.
    pub(crate) fn needs_process_list(&self, prefers_registered: bool) -> bool {
        !self.unnamed_ports.is_empty() && (!prefers_registered || self.named.is_empty())
    }

    /// All replicas, those that no filter drops. `dump_threads` are rows of the process list; `own_port` is assumed for
    /// those of whom nothing better is known.
    pub(crate) fn replicas<C: Columns>(
        self,
        dump_threads: &[C],
        own_port: u16,
        filters: &Filters,
    ) -> BTreeSet<InstanceKey> {
        let found = self.by_address(dump_threads, own_port, filters);
        let named = self.named.into_iter().filter(|(_, user)| filters.replication_users.find(user).is_none());
        named.map(|(key, _)| key).chain(found).filter(|key| filters.replicas.find(key).is_none()).collect()
    }

    fn by_address<C: Columns>(&self, dump_threads: &[C], own_port: u16, filters: &Filters) -> Vec<InstanceKey> {
        let is_wanted = |row: &&C| filters.replication_users.find(&row.any(["USER"; 2])).is_none();
        let addresses: BTreeSet<String> =
            dump_threads.iter().filter(is_wanted).map(|row| address(&row.any(["HOST"; 2]))).collect();
        let known_ports: Vec<u16> = self.unnamed_ports.iter().copied().filter(|port| *port > 0).collect();
        // All on one address: each unnamed replica is there, with the port it registered.
        if let (1, Some(address), false) = (addresses.len(), addresses.first(), known_ports.is_empty()) {
            return known_ports.iter().filter_map(|port| InstanceKey::reported(address, *port).ok()).collect();
        }
        let port = if let [only] = known_ports[..] { only } else { own_port };
        let is_named = |address: &String| self.named.iter().any(|(key, _)| key.hostname == *address);
        let unknown = addresses.iter().filter(|address| !is_named(address));
        unknown.filter_map(|address| InstanceKey::reported(address, port).ok()).collect()
    }
}

/// The process list shows `address:port`, IPv6 addresses without brackets; sockets show a name alone.
fn address(host: &str) -> String {
    match host.rsplit_once(':') {
        Some((address, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => address.to_owned(),
        _ => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::written::{Written, row};
    use crate::filter::{KeyFilters, UserFilters};

    fn registered(rows: &[(&str, u16)]) -> Registered {
        Registered::read(&rows.iter().map(|(host, port)| row(&format!("Host={host}\nPort={port}"))).collect::<Vec<_>>())
    }

    fn threads(rows: &[&str]) -> Vec<Written> {
        rows.iter().map(|host| row(&format!("USER=repl\nHOST={host}"))).collect()
    }

    fn names(registered: Registered, threads: &[Written], filters: &Filters) -> String {
        let replicas = registered.replicas(threads, 3306, filters);
        replicas.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn registered_names_need_no_process_list() {
        let replicas = registered(&[("db2", 3307), ("db1", 3306)]);
        assert!(!replicas.needs_process_list(false) && !replicas.needs_process_list(true));
        assert_eq!(names(replicas, &[], &Filters::default()), "db1:3306 db2:3307");
        assert!(!registered(&[]).needs_process_list(false), "nobody registered: nobody replicates");
    }

    #[test]
    fn unnamed_replicas_are_found_by_address() {
        let filters = Filters::default();
        assert!(registered(&[("", 3310)]).needs_process_list(true));
        assert!(registered(&[("a", 1), ("", 3310)]).needs_process_list(false));
        assert!(!registered(&[("a", 1), ("", 3310)]).needs_process_list(true));
        // one address, several ports
        let all =
            names(registered(&[("", 3310), ("", 3311)]), &threads(&["127.0.0.1:50001", "127.0.0.1:50002"]), &filters);
        assert_eq!(all, "127.0.0.1:3310 127.0.0.1:3311");
        // several addresses, the same port
        let all =
            names(registered(&[("", 3310), ("", 3310)]), &threads(&["10.0.0.1:50001", "10.0.0.2:50002"]), &filters);
        assert_eq!(all, "10.0.0.1:3310 10.0.0.2:3310");
        // several of both: the server's own port is assumed
        let all =
            names(registered(&[("", 3310), ("", 3311)]), &threads(&["10.0.0.1:50001", "10.0.0.2:50002"]), &filters);
        assert_eq!(all, "10.0.0.1:3306 10.0.0.2:3306");
        // a named one is not found twice
        let all =
            names(registered(&[("10.0.0.1", 3320), ("", 3310)]), &threads(&["10.0.0.1:5", "10.0.0.2:6"]), &filters);
        assert_eq!(all, "10.0.0.1:3320 10.0.0.2:3310");
        // the list of registered replicas was refused
        assert_eq!(names(registered(&[]), &threads(&["::1:40000", "localhost"]), &filters), "::1:3306 localhost:3306");
    }

    #[test]
    fn filters_and_hostile_names_drop_replicas() {
        let filters = Filters {
            replicas: KeyFilters::compile(&["^bad"]).expect("compiles"),
            replication_users: UserFilters::compile(&["^repl$"]).expect("compiles"),
            ..Filters::default()
        };
        let replicas = registered(&[("bad1", 1), ("good", 1), ("<b>", 1), (&"x".repeat(10_000), 1)]);
        assert_eq!(names(replicas, &threads(&["10.0.0.9:1"]), &filters), "good:1");
    }
}
