//! Probes of the simulated fleet: what each costs, and each way it can die.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use domain::instance::{Answer, FailureKind, InstanceKey};
use mysql::{ConnectSettings, ProbeSettings, Prober, Secret};
use simulator::{Death, Fleet, FleetSpec, Target};

fn prober() -> Prober {
    let connect = ConnectSettings {
        user: "orchestrator".to_owned(),
        password: Secret::new("secret"),
        connect_timeout: Duration::from_millis(400),
        read_timeout: Duration::from_millis(400),
        ..ConnectSettings::default()
    };
    Prober::new(ProbeSettings { connect, ..ProbeSettings::default() }, Arc::new(|| 0))
}

fn key(address: SocketAddrV4) -> InstanceKey {
    InstanceKey::new(address.ip().to_string(), address.port())
}

#[tokio::test]
async fn a_probe_of_either_dialect_is_one_round_trip() {
    let spec = FleetSpec { servers: 40, mariadb_share: 0.5, semi_sync_share: 0.5, ..FleetSpec::default() };
    let fleet = Fleet::new(spec).expect("a fleet");
    let prober = prober();
    for round in 0..3 {
        fleet.reset_stats();
        for address in fleet.addresses() {
            let observation = prober.probe(&key(address)).await;
            let Answer::Facts { facts, .. } = observation.answer else { panic!("{observation:?}") };
            assert_eq!(facts.missing, Vec::<String>::new(), "{address}");
            assert_eq!(facts.replica.is_none(), fleet.seeds().contains(&address));
        }
        let stats = fleet.stats();
        // The first probe reads the slow facts, and finds out where semi-sync is worth asking for.
        let expected = if round == 0 { 80..=120 } else { 40..=40 };
        assert!(expected.contains(&stats.round_trips), "{stats:?}");
        assert_eq!(
            (stats.new_connections, stats.unknown_statements),
            (if round == 0 { 40 } else { 0 }, 0),
            "{stats:?}"
        );
    }
    assert_eq!(prober.stats().open_connections, 40);
}

#[tokio::test]
async fn each_death_is_told_by_its_kind() {
    let fleet = Fleet::new(FleetSpec { servers: 8, mariadb_share: 0.5, ..FleetSpec::default() }).expect("a fleet");
    let prober = prober();
    let old = Death::OldVersion("5.5.62".to_owned());
    for address in [fleet.address(0), fleet.address(7)].into_iter().flatten() {
        for (death, kind) in [
            (Death::Refuse, FailureKind::Refused),
            (Death::Blackhole, FailureKind::ConnectTimeout),
            (Death::MidAnswer, FailureKind::ReadTimeout),
            (Death::Garbage, FailureKind::Protocol),
            (Death::WrongPassword, FailureKind::AccessDenied),
            (Death::TooManyConnections, FailureKind::TooManyConnections),
            (old.clone(), FailureKind::UnsupportedVersion),
        ] {
            prober.forget(&key(address));
            fleet.kill(Target::Server(*address.ip()), &death).expect("killed");
            let observation = prober.probe(&key(address)).await;
            let Answer::Failed(failure) = observation.answer else { panic!("{death:?}: {observation:?}") };
            assert_eq!(failure.kind, kind, "{death:?}: {}", failure.message);
            fleet.revive(Target::Server(*address.ip())).expect("revived");
            let observation = prober.probe(&key(address)).await;
            assert!(matches!(observation.answer, Answer::Facts { .. }), "{observation:?}");
        }
    }
}
