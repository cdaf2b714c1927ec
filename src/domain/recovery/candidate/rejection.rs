//! Who cannot be promoted: one row per reason, the first that applies is told.

use super::field::{Field, Standing, can_apply};
use crate::instance::Instance;
use crate::operation::compatibility;
use crate::operation::movability;
use crate::plan::{Rule, received_is_applied};
use crate::version::Flavor;

/// One reason: the fact, if it applies.
struct Rejection {
    rule: Rule,
    when: fn(&Field<'_>, &Instance) -> Option<String>,
}

/// In this order. How a server ranks among those that pass is not told here.
const REJECTIONS: &[Rejection] = &[
    Rejection { rule: Rule::CoPrimary, when: not_the_other_of_the_pair },
    Rejection { rule: Rule::Forbidden, when: registered_as_must_not },
    Rejection { rule: Rule::Forbidden, when: ignored_for_promotion },
    Rejection { rule: Rule::Forbidden, when: in_another_data_center },
    Rejection { rule: Rule::Forbidden, when: in_another_region },
    Rejection { rule: Rule::OtherFlavor, when: of_another_flavor },
    Rejection { rule: Rule::NotBuilt, when: a_binlog_server },
    Rejection { rule: Rule::GroupSecondary, when: in_a_group },
    Rejection { rule: Rule::SeveralChannels, when: of_several_sources },
    Rejection { rule: Rule::BinaryLogOff, when: without_binary_log },
    Rejection { rule: Rule::Lagging, when: lags },
    Rejection { rule: Rule::UnappliedRelayLog, when: sql_thread_not_up_to_date },
    Rejection { rule: Rule::UnappliedRelayLog, when: cannot_apply },
];

/// The first that applies.
pub(super) fn of(field: &Field<'_>, standing: &Standing<'_>) -> Option<(Rule, String)> {
    let one = standing.holding.instance;
    REJECTIONS.iter().find_map(|row| (row.when)(field, one).map(|reason| (row.rule, reason)))
}

fn not_the_other_of_the_pair(field: &Field<'_>, one: &Instance) -> Option<String> {
    let other = field.only.filter(|other| **other != one.key)?;
    Some(if field.scene.policy.co_must_promote_other {
        format!(
            "{other} replicates with {0} as a pair and takes over (CoMasterRecoveryMustPromoteOtherCoMaster)",
            field.failed.key
        )
    } else {
        format!("{other} replicates with {} as a pair and takes writes already", field.failed.key)
    })
}

fn registered_as_must_not(_: &Field<'_>, one: &Instance) -> Option<String> {
    one.promotion_rule.is_banned().then(|| format!("{} is registered as must_not", one.key))
}

fn ignored_for_promotion(field: &Field<'_>, one: &Instance) -> Option<String> {
    field.scene.banned.contains(&one.key).then(|| format!("{} matches PromotionIgnoreHostnameFilters", one.key))
}

fn in_another_data_center(field: &Field<'_>, one: &Instance) -> Option<String> {
    let (theirs, home) = (&one.facts.data_center, &field.failed.facts.data_center);
    let forbidden = field.scene.policy.prevent_cross_data_center && theirs != home;
    forbidden.then(|| {
        format!("{} is in data center {theirs:?}, not {home:?} (PreventCrossDataCenterMasterFailover)", one.key)
    })
}

fn in_another_region(field: &Field<'_>, one: &Instance) -> Option<String> {
    let (theirs, home) = (&one.facts.region, &field.failed.facts.region);
    let forbidden = field.scene.policy.prevent_cross_region && theirs != home;
    forbidden.then(|| format!("{} is in region {theirs:?}, not {home:?} (PreventCrossRegionMasterFailover)", one.key))
}

fn of_another_flavor(field: &Field<'_>, one: &Instance) -> Option<String> {
    let (theirs, lost) = (compatibility::version(one), compatibility::version(field.failed));
    // A failed server that was never read is of no flavor.
    let known = !field.failed.facts.version.is_empty();
    let same = theirs.flavor == lost.flavor || (theirs.flavor.is_mysql_family() && lost.flavor.is_mysql_family());
    (known && !same).then(|| format!("{} is {} and {} is {}", one.key, theirs.flavor, field.failed.key, lost.flavor))
}

fn a_binlog_server(_: &Field<'_>, one: &Instance) -> Option<String> {
    one.facts.is_binlog_server().then(|| format!("{} is a binlog server: it takes no writes", one.key))
}

fn in_a_group(_: &Field<'_>, one: &Instance) -> Option<String> {
    movability::group_lets_it_move(one).err().map(|refusal| refusal.reason)
}

fn of_several_sources(_: &Field<'_>, one: &Instance) -> Option<String> {
    let replica = one.facts.replica.as_ref()?;
    movability::one_channel(one, replica).err().map(|refusal| refusal.reason)
}

fn without_binary_log(_: &Field<'_>, one: &Instance) -> Option<String> {
    (!one.facts.log_bin).then(|| format!("{} writes no binary log", one.key))
}

fn lags(field: &Field<'_>, one: &Instance) -> Option<String> {
    let limit = field.scene.policy.fail_on_lag_seconds;
    let lag = one.facts.replica.as_ref()?.lag_seconds.and_then(|lag| u64::try_from(lag).ok())?;
    (limit > 0 && lag >= limit)
        .then(|| format!("{} lags {lag} s, the limit is {limit} s (FailMasterPromotionOnLagMinutes)", one.key))
}

fn sql_thread_not_up_to_date(field: &Field<'_>, one: &Instance) -> Option<String> {
    let fails = field.scene.policy.fail_if_sql_thread_not_up_to_date && !received_is_applied(&one.facts);
    fails.then(|| format!("{} has not applied all it received (FailMasterPromotionIfSQLThreadNotUpToDate)", one.key))
}

/// A delay is ended before (by MySQL without the loss of relay logs; by MariaDB not).
fn cannot_apply(_: &Field<'_>, one: &Instance) -> Option<String> {
    let delayed = one.facts.replica.as_ref().is_some_and(|replica| replica.sql_delay > 0);
    let broken = one.facts.replica.as_ref().is_some_and(|replica| !replica.last_sql_error.is_empty());
    if delayed && !broken && compatibility::version(one).flavor != Flavor::MariaDb {
        return None;
    }
    can_apply(one).err()
}
