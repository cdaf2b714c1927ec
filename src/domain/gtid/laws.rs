//! The laws of the algebra, checked on random sets and against a naive model that is too simple to be wrong.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::Relation;
use super::mariadb::{BinlogState, GtidPosition};
use super::mysql::GtidSet;

/// (index of a UUID, index of a tag, number): one transaction of the model.
type Model = BTreeSet<(u8, u8, u64)>;

/// Few origins and small numbers, so that sets overlap, touch and contain one another often.
fn runs() -> impl Strategy<Value = Vec<(u8, u8, u64, u64)>> {
    vec((0..3u8, 0..3u8, 1..40u64, 0..8u64), 0..12)
}

fn uuid(index: u8) -> String {
    format!("{index:08x}-0000-0000-0000-0000000000ff")
}

fn entry(uuid_index: u8, tag: u8, interval: &str) -> String {
    let tag = ["", "a:", "b_1:"][usize::from(tag)];
    format!("{}:{tag}{interval}", uuid(uuid_index))
}

fn set_of(runs: &[(u8, u8, u64, u64)]) -> GtidSet {
    let text: Vec<_> = runs.iter().map(|(u, t, n, len)| entry(*u, *t, &format!("{n}-{}", n + len))).collect();
    text.join(",").parse().unwrap()
}

fn model_of(runs: &[(u8, u8, u64, u64)]) -> Model {
    runs.iter().flat_map(|(u, t, n, len)| (*n..=n + len).map(|number| (*u, *t, number))).collect()
}

fn set_of_model(model: &Model) -> GtidSet {
    let text: Vec<_> = model.iter().map(|(u, t, n)| entry(*u, *t, &n.to_string())).collect();
    text.join(",").parse().unwrap()
}

fn relation_of(a: &Model, b: &Model) -> Relation {
    Relation::from_containment(a.is_superset(b), b.is_superset(a))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_algebra_agrees_with_a_naive_model(ra in runs(), rb in runs()) {
        let (a, b) = (set_of(&ra), set_of(&rb));
        let (ma, mb) = (model_of(&ra), model_of(&rb));
        prop_assert_eq!(&a, &set_of_model(&ma), "however a set was written, equal sets are equal");
        prop_assert_eq!(a.count(), ma.len() as u64);
        prop_assert_eq!(a.is_empty(), ma.is_empty());
        prop_assert_eq!(a.union(&b), set_of_model(&ma.union(&mb).copied().collect()));
        prop_assert_eq!(a.intersect(&b), set_of_model(&ma.intersection(&mb).copied().collect()));
        prop_assert_eq!(a.subtract(&b), set_of_model(&ma.difference(&mb).copied().collect()));
        prop_assert_eq!(a.contains(&b), ma.is_superset(&mb));
        prop_assert_eq!(a.compare(&b), relation_of(&ma, &mb));
        let kept: Model = ma.iter().filter(|gtid| gtid.0 != 1).copied().collect();
        prop_assert_eq!(a.without_uuid(uuid(1).parse().unwrap()), set_of_model(&kept));
        let shared: Vec<String> = (0..3).filter(|u| ma.iter().any(|g| g.0 == *u) && mb.iter().any(|g| g.0 == *u)).map(uuid).collect();
        prop_assert_eq!(a.shared_uuids(&b).iter().map(ToString::to_string).collect::<Vec<_>>(), shared);
        let single = a.transactions(ma.len()).expect("the limit is the count");
        prop_assert_eq!(single.len(), ma.len());
        prop_assert!(single.iter().all(|gtid| a.contains_gtid(gtid)));
        prop_assert!(single.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(b.transactions(mb.len()).unwrap().iter().all(|gtid| a.contains_gtid(gtid) == a.contains(&gtid.clone().into())));
    }

    #[test]
    fn mysql_sets_obey_the_laws_of_sets(ra in runs(), rb in runs(), rc in runs()) {
        let (a, b, c) = (set_of(&ra), set_of(&rb), set_of(&rc));
        let none = GtidSet::new();
        prop_assert_eq!(a.union(&a), a.clone());
        prop_assert_eq!(a.intersect(&a), a.clone());
        prop_assert_eq!(a.union(&none), a.clone());
        prop_assert_eq!(a.subtract(&none), a.clone());
        prop_assert!(a.subtract(&a).is_empty() && a.intersect(&none).is_empty());
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.intersect(&b), b.intersect(&a));
        prop_assert_eq!(a.union(&b).union(&c), a.union(&b.union(&c)));
        prop_assert_eq!(a.intersect(&b).intersect(&c), a.intersect(&b.intersect(&c)));
        prop_assert_eq!(a.intersect(&b.union(&c)), a.intersect(&b).union(&a.intersect(&c)));
        prop_assert_eq!(a.subtract(&b.union(&c)), a.subtract(&b).subtract(&c));
        prop_assert!(a.subtract(&b).intersect(&b).is_empty());
        prop_assert_eq!(a.subtract(&b).union(&a.intersect(&b)), a.clone());
        prop_assert_eq!(a.subtract(&b).count() + a.intersect(&b).count(), a.count());
        prop_assert!(a.union(&b).contains(&a) && a.union(&b).contains(&b) && a.contains(&a.intersect(&b)));
        prop_assert_eq!(a.contains(&b), b.subtract(&a).is_empty());
        prop_assert_eq!(a.compare(&b), b.compare(&a).reverse());
        prop_assert_eq!(a.compare(&b) == Relation::Equal, a == b);
        if a.contains(&b) && b.contains(&c) {
            prop_assert!(a.contains(&c));
        }
    }

    #[test]
    fn mysql_sets_survive_printing(ra in runs()) {
        let a = set_of(&ra);
        prop_assert_eq!(&a.to_string().parse::<GtidSet>().unwrap(), &a);
        prop_assert_eq!(&a.to_server_text().parse::<GtidSet>().unwrap(), &a);
        prop_assert_eq!(&a.to_string().to_uppercase().parse::<GtidSet>().unwrap(), &a);
        prop_assert!(!a.to_string().contains(['\n', ' ']));
        let next = a.next_gtid();
        prop_assert_eq!(next.is_none(), a.is_empty());
        prop_assert!(next.is_none_or(|gtid| !a.contains_gtid(&gtid)));
    }

    #[test]
    fn positions_form_a_lattice(a in position(), b in position(), c in position()) {
        prop_assert_eq!(a.union(&a), a.clone());
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.union(&b).union(&c), a.union(&b.union(&c)));
        prop_assert_eq!(a.intersect(&b), b.intersect(&a));
        prop_assert!(a.union(&b).contains(&a) && a.union(&b).contains(&b));
        prop_assert!(a.contains(&a.intersect(&b)) && b.contains(&a.intersect(&b)));
        prop_assert_eq!(a.subtract(&b).union(&a.intersect(&b)), a.clone());
        prop_assert_eq!(a.contains(&b), b.subtract(&a).is_empty());
        prop_assert_eq!(a.contains(&b), b.transactions_ahead_of(&a) == 0);
        prop_assert_eq!(a.contains(&b), a.union(&b) == a);
        prop_assert_eq!(a.compare(&b), b.compare(&a).reverse());
        prop_assert_eq!(a.compare(&b) == Relation::Equal, a == b);
        prop_assert_eq!(&a.to_string().parse::<GtidPosition>().unwrap(), &a);
        if a.contains(&b) && b.contains(&c) {
            prop_assert!(a.contains(&c));
        }
        if c.contains(&a) && c.contains(&b) {
            prop_assert!(c.contains(&a.union(&b)), "the union is the least position that contains both");
        }
    }

    #[test]
    fn binlog_states_obey_the_laws_of_sets(a in state(), b in state(), c in state()) {
        prop_assert_eq!(a.union(&a), a.clone());
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.union(&b).union(&c), a.union(&b.union(&c)));
        prop_assert!(a.union(&b).contains(&a) && a.union(&b).contains(&b));
        prop_assert_eq!(a.contains(&b), b.subtract(&a).is_empty());
        prop_assert_eq!(a.subtract(&b).union(&b), a.union(&b));
        prop_assert_eq!(a.compare(&b) == Relation::Equal, a == b);
        prop_assert_eq!(&a.to_string().parse::<BinlogState>().unwrap(), &a);
    }
}

/// Positions with conflicts now and then, built by unions as they arise in practice.
fn position() -> impl Strategy<Value = GtidPosition> {
    vec((0..3u32, 1..4u32, 0..6u64), 0..5).prop_map(|gtids| {
        let single = |(d, s, n): (u32, u32, u64)| format!("{d}-{s}-{n}").parse::<GtidPosition>().unwrap();
        gtids.into_iter().map(single).fold(GtidPosition::new(), |sum, one| sum.union(&one))
    })
}

fn state() -> impl Strategy<Value = BinlogState> {
    vec((0..3u32, 1..4u32, 0..6u64), 0..6).prop_map(|gtids| {
        let single = |(d, s, n): (u32, u32, u64)| format!("{d}-{s}-{n}").parse::<BinlogState>().unwrap();
        gtids.into_iter().map(single).fold(BinlogState::new(), |sum, one| sum.union(&one))
    })
}
