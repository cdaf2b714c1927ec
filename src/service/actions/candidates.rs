//! Promotion rules that people register.

use api::legacy::CandidateDatabaseInstance;
use domain::instance::InstanceKey;
use domain::promotion::PromotionRule;
use store::candidates::Lasting;

use super::{Error, Record, Scope};

/// Registers a rule. It expires after `CandidateInstanceExpireMinutes`, unless it is to last: then it stays until another is
/// registered, and what the server itself says does not overrule it. A rule that the configuration contradicts is refused.
pub async fn register(scope: &Scope, key: &InstanceKey, rule: &str, lasting: Lasting) -> Result<PromotionRule, Error> {
    let rule = PromotionRule::parse_registrable(rule.trim()).map_err(Error::invalid)?;
    if rule == PromotionRule::Prefer
        && let Some(entry) = scope.config.patterns.promotion_ignore.matching(&key.hostname, key.port)
    {
        return Err(Error::NotPossible(format!(
            "{key} cannot be preferred: PromotionIgnoreHostnameFilters has `{entry}`, so that it is never promoted; register              another rule, or change the filter"
        )));
    }
    let message = match lasting {
        Lasting::Expiring => rule.name().to_owned(),
        Lasting::Durable => format!("{}, durable", rule.name()),
    };
    let mut tx = scope.begin().await?;
    store::candidates::give(&mut tx, key, rule, lasting).await?;
    let record = Record { kind: "register-candidate", key: Some(key), message: &message, ..Record::default() };
    scope.commit_as(tx, &record).await?;
    Ok(rule)
}

/// All registered rules, sorted by key.
pub async fn list(scope: &Scope) -> Result<Vec<CandidateDatabaseInstance>, Error> {
    let minutes = scope.config.settings.classification.candidate_instance_expire_minutes;
    let lifetime = i64::try_from(minutes.saturating_mul(60_000_000)).unwrap_or(i64::MAX);
    let candidates = store::candidates::read_all(&scope.pool).await?;
    let record = |one: &store::candidates::Candidate| {
        let expires_at = (!one.is_durable).then_some(one.suggested_at.saturating_add(lifetime));
        CandidateDatabaseInstance::new(&one.key, one.rule, one.suggested_at, expires_at)
    };
    Ok(candidates.iter().map(record).collect())
}
