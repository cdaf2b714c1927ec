//! How an operation ended, for people: which endings are failures, and what is said of those.

use domain::instance::InstanceKey;
use domain::plan::{Request, Rule};
use operations::{InstanceError, OperationOutcome};
use store::operations::{Operation, State};

use crate::actions::Error;

/// How an operation ended, as its worker wrote it down.
pub fn outcome(operation: &Operation) -> OperationOutcome {
    let written = operation.outcome.clone().map(serde_json::from_value::<OperationOutcome>);
    match written {
        Some(Ok(outcome)) => outcome,
        Some(Err(_)) | None => OperationOutcome {
            operation: operation.id,
            word: operation.word.clone(),
            state: operation.state.name().to_owned(),
            instance: operation.instance.clone(),
            error: operation.error.clone(),
            ..OperationOutcome::default()
        },
    }
}

/// The error of an outcome that is a failure for the one who asked. Not one: that everything is as asked already, and that
/// some of many servers could not be moved ([`troubles`] tells those).
pub fn check(request: &Request, outcome: &OperationOutcome) -> Result<(), Error> {
    if outcome.state == State::Done.name() {
        return match request {
            // As in the original: this one wants all of them.
            Request::MoveReplicasGtid { .. } if !troubles(outcome).is_empty() => {
                let all: Vec<String> =
                    troubles(outcome).iter().map(|one| format!("{}: {}", one.instance, one.error)).collect();
                let moved: Vec<String> = changed(outcome).iter().map(InstanceKey::to_string).collect();
                let moved = if moved.is_empty() { "none".to_owned() } else { moved.join(" ") };
                let of = request.instance();
                Err(Error::NotPossible(format!(
                    "not all replicas of {of} were moved: moved {moved}; {} errors: [{}]",
                    all.len(),
                    all.join(" ")
                )))
            }
            _ => Ok(()),
        };
    }
    let key = request.instance();
    match &outcome.refusal {
        Some(refusal) if refusal.rule == Rule::AlreadySo && outcome.plan.is_none() => match request {
            // Asked for by mistake, it seems: so it is in the original, whose texts scripts match.
            Request::MakeCoMaster { .. } | Request::EnableGtid { .. } | Request::DisableGtid { .. } => {
                Err(Error::NotPossible(refusal.to_string()))
            }
            _ => Ok(()),
        },
        Some(refusal) => Err(Error::NotPossible(match request {
            Request::GtidErrantResetMaster { .. } | Request::GtidErrantInjectEmpty { .. } => {
                format!("{} will not operate on {key}: {refusal}", request.word())
            }
            _ => refusal.to_string(),
        })),
        None if outcome.error.is_empty() => {
            Err(Error::NotPossible(format!("{} of {} is {}", outcome.word, outcome.instance, outcome.state)))
        }
        None => Err(Error::NotPossible(outcome.error.clone())),
    }
}

/// The servers an operation moved or changed, sorted.
pub fn changed(outcome: &OperationOutcome) -> Vec<InstanceKey> {
    let mut keys: Vec<InstanceKey> = outcome.done.iter().map(|moved| moved.instance.clone()).collect();
    keys.sort();
    keys
}

/// Servers that were asked for and are not as asked, each with its reason.
pub fn troubles(outcome: &OperationOutcome) -> Vec<InstanceError> {
    let left_out = outcome
        .left_out
        .iter()
        .filter(|refusal| refusal.rule != Rule::AlreadySo)
        .map(|refusal| InstanceError { instance: refusal.instance.clone(), error: refusal.to_string() });
    outcome.errors.iter().cloned().chain(left_out).collect()
}

#[cfg(test)]
mod tests {
    use domain::plan::Refusal;

    use super::*;

    fn key(name: &str) -> InstanceKey {
        InstanceKey::new(name, 3306)
    }

    fn refused(rule: Rule) -> OperationOutcome {
        OperationOutcome {
            state: "refused".to_owned(),
            instance: key("a"),
            refusal: Some(Refusal::new(rule, &key("a"), "a is so", "do that")),
            ..OperationOutcome::default()
        }
    }

    #[test]
    fn what_is_so_already_is_no_failure_but_for_words_whose_scripts_expect_one() {
        let already = refused(Rule::AlreadySo);
        assert!(check(&Request::SetReadOnly { instance: key("a") }, &already).is_ok());
        assert!(check(&Request::StopReplica { instance: key("a") }, &already).is_ok());
        assert!(check(&Request::MakeCoMaster { instance: key("a") }, &already).is_err());
        assert!(check(&Request::EnableGtid { instance: key("a") }, &already).is_err());
    }

    #[test]
    fn refusals_say_rule_and_remedy() {
        let text = |request: Request| check(&request, &refused(Rule::NoErrantGtid)).expect_err("refused").to_string();
        assert_eq!(text(Request::MoveUp { instance: key("a") }), "a is so (no-errant-gtid); do that");
        let errant = text(Request::GtidErrantResetMaster { instance: key("a") });
        assert!(errant.starts_with("gtid-errant-reset-master will not operate on a:3306: a is so"), "{errant}");
    }

    #[test]
    fn some_of_many_is_success_but_where_all_were_asked_for() {
        let outcome = OperationOutcome {
            state: "done".to_owned(),
            done: vec![operations::Moved { instance: key("b"), new_source: None }],
            left_out: vec![Refusal::new(Rule::Lagging, &key("c"), "c lags", "wait")],
            ..OperationOutcome::default()
        };
        let all = Request::MoveReplicasGtid { of: key("a"), below: key("d"), pattern: String::new() };
        let any = Request::RelocateReplicas { of: key("a"), below: key("d"), pattern: String::new() };
        assert!(check(&any, &outcome).is_ok() && check(&all, &outcome).is_err());
        assert_eq!(troubles(&outcome).len(), 1);
        assert_eq!(changed(&outcome), [key("b")]);
    }
}
