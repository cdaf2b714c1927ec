//! Promotion rules that people register.

use api::legacy::CandidateDatabaseInstance;
use domain::instance::InstanceKey;
use domain::promotion::PromotionRule;

use super::{Error, Record, Scope};

/// Registers a rule; it expires after `CandidateInstanceExpireMinutes`.
pub async fn register(scope: &Scope, key: &InstanceKey, rule: &str) -> Result<PromotionRule, Error> {
    let rule = PromotionRule::parse_registrable(rule.trim()).map_err(Error::invalid)?;
    store::candidates::register(&scope.pool, key, rule).await?;
    let record = Record { kind: "register-candidate", key: Some(key), message: rule.name(), ..Record::default() };
    let mut conn = scope.connection().await?;
    scope.record(&mut conn, &record).await?;
    Ok(rule)
}

/// All registered rules, sorted by key.
pub async fn list(scope: &Scope) -> Result<Vec<CandidateDatabaseInstance>, Error> {
    let minutes = scope.config.settings.classification.candidate_instance_expire_minutes;
    let lifetime = i64::try_from(minutes.saturating_mul(60_000_000)).unwrap_or(i64::MAX);
    let candidates = store::candidates::read_all(&scope.pool).await?;
    let record = |one: &store::candidates::Candidate| {
        CandidateDatabaseInstance::new(&one.key, one.rule, one.suggested_at, one.suggested_at.saturating_add(lifetime))
    };
    Ok(candidates.iter().map(record).collect())
}
