use rstest::rstest;

use super::*;
use crate::gtid::Problem;

const U: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const V: &str = "aaaaaaaa-71ca-11e1-9e33-c80aa9429562";

/// `U` and `V` stand for the two UUIDs.
fn expand(text: &str) -> String {
    text.replace('U', U).replace('V', V)
}

fn set(text: &str) -> GtidSet {
    expand(text).parse().unwrap()
}

/// Each expectation was printed by MySQL 9.7: `SELECT GTID_SUBTRACT(<input>, '')`.
#[rstest]
#[case("", "")]
#[case(" \n , ,, ", "")]
#[case("U:1-5", "U:1-5")]
#[case("U:5-5", "U:5")]
#[case("U:007-0010", "U:7-10")]
#[case("U:1-3:4-6", "U:1-6")]
#[case("U:7:1-2:5", "U:1-2:5:7")]
#[case("U:tag:1:5:3-4", "U:tag:1:3-5")]
#[case("U:tag:1:tag:5", "U:tag:1:5")]
#[case("U: tag : 1", "U:tag:1")]
#[case("U:_t1:1,V:1", "U:_t1:1,V:1")]
#[case("U:aaaaaaaabbbbbbbbccccccccdddddddd:1", "U:aaaaaaaabbbbbbbbccccccccdddddddd:1")]
#[case("U:9223372036854775806", "U:9223372036854775806")]
#[case("V:1,\nU:1-3", "U:1-3,V:1")]
fn reads_and_prints_as_the_server_does(#[case] text: &str, #[case] want: &str) {
    let set = set(text);
    assert_eq!(set.to_string(), expand(want));
    assert_eq!(set.to_server_text(), expand(want).replace(',', ",\n"));
    assert_eq!(set.to_string().parse::<GtidSet>().unwrap(), set);
}

#[test]
fn case_white_space_order_and_repetition_do_not_matter() {
    let text = format!(" {V} : 1 - 3 : 5-5:7:4 , , {}:TagB:1-3:taga:7:1-2,{U}:9", U.to_uppercase());
    let set: GtidSet = text.parse().unwrap();
    assert_eq!(set.to_server_text(), format!("{U}:9:taga:1-2:7:tagb:1-3,\n{V}:1-5:7"));
}

#[rstest]
#[case("U", Problem::NoInterval, 36)]
#[case("U-1", Problem::Uuid, 0)]
#[case("U:", Problem::Number, 37)]
#[case("U:+7", Problem::Number, 37)]
#[case("U:-7", Problem::Number, 37)]
#[case("U:1-", Problem::Number, 39)]
#[case("U:1:", Problem::Number, 39)]
#[case("U:0", Problem::TransactionRange, 37)]
#[case("U:0-5", Problem::TransactionRange, 37)]
#[case("U:1-9223372036854775807", Problem::TransactionRange, 39)]
#[case("U:99999999999999999999999999", Problem::TransactionRange, 37)]
#[case("U:3-2", Problem::ReversedInterval, 37)]
#[case("U:1 2", Problem::Separator, 39)]
#[case("U:1-2-3", Problem::Separator, 40)]
#[case("U:1;V:1", Problem::Separator, 38)]
#[case("U:1 V:1", Problem::Separator, 39)]
#[case("U:tag", Problem::TagWithoutInterval, 40)]
#[case("U:t:u:1", Problem::Number, 39)]
#[case("U:t:1:u:", Problem::Number, 43)]
#[case("U:a-1:3", Problem::TagWithoutInterval, 38)]
#[case("U:aaaaaaaabbbbbbbbccccccccdddddddde:1", Problem::Tag, 37)]
#[case("V:1,nonsense:1", Problem::Uuid, 39)]
#[case("0-1-100", Problem::Uuid, 0)]
#[case("\0", Problem::Uuid, 0)]
fn refuses_with_the_place(#[case] text: &str, #[case] problem: Problem, #[case] at: usize) {
    let error = expand(text).parse::<GtidSet>().unwrap_err();
    assert_eq!((error.problem, error.at), (problem, at), "{error}");
}

#[test]
fn an_error_reads_well() {
    let error = expand("U:3-2\n").parse::<GtidSet>().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot read MySQL GTID set: the interval ends before it starts at byte 37, near \"{U}:3-2\\n\"")
    );
}

#[rstest]
#[case("U:1-10:t:1-10", "U:5:t:1", "U:1-4:6-10:t:2-10")]
#[case("U:1-10", "U:t:1-10", "U:1-10")]
#[case("U:1-10,V:1", "U:1-10", "V:1")]
#[case("U:1-10", "U:1-20", "")]
#[case("", "U:1", "")]
fn subtracts_as_the_server_does(#[case] a: &str, #[case] b: &str, #[case] want: &str) {
    assert_eq!(set(a).subtract(&set(b)), set(want));
}

#[rstest]
#[case("U:1-5", "U:1-3:4-5", Relation::Equal)]
#[case("", "", Relation::Equal)]
#[case("U:1-5,V:1", "U:1-5", Relation::Ahead)]
#[case("U:1-5", "U:1-5:t:1", Relation::Behind)]
#[case("U:1-5,V:1", "U:1-6", Relation::Diverged)]
#[case("U:1", "U:t:1", Relation::Diverged)]
fn compares(#[case] a: &str, #[case] b: &str, #[case] want: Relation) {
    assert_eq!(set(a).compare(&set(b)), want);
    assert_eq!(set(b).compare(&set(a)), want.reverse());
}

#[test]
fn selects_by_uuid_whatever_the_tag() {
    let all = set("U:1-3:t:4,V:9");
    assert_eq!(all.uuids().map(|u| u.to_string()).collect::<Vec<_>>(), [U, V]);
    assert_eq!(all.without_uuid(U.parse().unwrap()), set("V:9"));
    assert_eq!(all.retain_uuids(|u| u.to_string() == U), set("U:1-3:t:4"));
    assert_eq!(all.shared_uuids(&set("U:other:1")), [U.parse().unwrap()]);
    assert_eq!(all.shared_uuids(&set("")), []);
}

#[test]
fn single_transactions_are_listed_within_a_limit() {
    let all = set("U:1-2:t:4,V:9").transactions(4).unwrap();
    let texts: Vec<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["U:1", "U:2", "U:t:4", "V:9"].map(expand));
    assert!(all.iter().all(|gtid| set("U:1-2:t:4,V:9").contains_gtid(gtid)));
    assert!(!set("U:1-2").contains_gtid(&all[2]));
    let union = all.into_iter().map(GtidSet::from).fold(GtidSet::new(), |sum, one| sum.union(&one));
    assert_eq!(union, set("U:1-2:t:4,V:9"));

    assert_eq!(set("U:1-3").transactions(2), None);
    let huge = set("U:1-9223372036854775806,V:1-9223372036854775806:t:1-9223372036854775806");
    assert_eq!(huge.count(), u64::MAX);
    assert_eq!(huge.transactions(usize::MAX), None);
    assert_eq!(huge.intervals().count(), 3);
}

#[rstest]
#[case("U:1,V:1-6", Some("V:7"))]
#[case("U:1-3:t:4-5", Some("U:t:6"))]
#[case("", None)]
#[case("U:9223372036854775806", None)]
fn the_next_transaction_follows_the_last(#[case] text: &str, #[case] want: Option<&str>) {
    assert_eq!(set(text).next_gtid().map(|gtid| gtid.to_string()), want.map(expand));
}

#[test]
fn is_stored_as_text() {
    let json = format!("\"{U}:1-3\"");
    assert_eq!(serde_json::to_string(&set("U:1-3")).unwrap(), json);
    assert_eq!(serde_json::from_str::<GtidSet>(&json).unwrap(), set("U:1-3"));
    assert!(serde_json::from_str::<GtidSet>("\"x\"").is_err());
}
