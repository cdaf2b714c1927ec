//! MySQL GTIDs: empty transactions under given numbers, and a history without them.

use domain::gtid::mysql::GtidSet;

use super::Context;
use super::error::ApplyError;
use super::quote::quote;
use super::session::Session;
use super::sql::Sql;
use crate::wire::ResultSet;

/// GTIDs whose statements share a packet: few enough that a server that lost us soon notices.
const PER_PACKET: usize = 20;
/// Statements for each of them.
const PER_GTID: usize = 3;

/// Commits an empty transaction under each GTID, all over one connection. Those that the server has already are passed over
/// by the server itself (tried on 9.7), so this may be done twice. Works under `super_read_only`, too.
pub(super) async fn inject_empty(context: &Context<'_>, gtids: &[String]) -> Result<(), ApplyError> {
    context.mysql_only("transactions cannot be skipped by number")?;
    let literals: Vec<String> = gtids
        .iter()
        .map(|gtid| literal(gtid))
        .collect::<Result<_, _>>()
        .map_err(|reason| context.unsuitable(reason))?;
    let mut session = context.open().await?;
    let mut done = 0;
    for packet in literals.chunks(PER_PACKET) {
        let mut results: Vec<ResultSet> = Vec::new();
        let sent = session.query_into(&inject(packet), &mut results).await;
        done += results.len() / PER_GTID;
        if let Err(error) = sent {
            restore(session).await;
            let at = gtids.get(done).map_or("the end", String::as_str);
            return Err(error.with(&format!("at {at}, after {done} of {} empty transactions", gtids.len())));
        }
    }
    restore(session).await;
    Ok(())
}

fn inject(literals: &[String]) -> Sql {
    let each: Vec<String> = literals.iter().map(|gtid| format!("SET gtid_next = {gtid}; BEGIN; COMMIT")).collect();
    let shown = match each.as_slice() {
        [first, .., last] => format!("{first}; ... {last}"),
        few => few.join("; "),
    };
    Sql::in_short(each.join("; "), shown)
}

/// The session ends anyway, and with it what it holds; this keeps even its last moments ordinary.
async fn restore(mut session: Session<'_>) {
    if session.is_usable() {
        let _ = session.run(&"ROLLBACK; SET gtid_next = 'AUTOMATIC'".into()).await;
    }
    session.close().await;
}

/// The literal of exactly one GTID.
fn literal(text: &str) -> Result<String, String> {
    let set = GtidSet::parse(text).map_err(|error| error.to_string())?;
    let gtids = set.transactions(1).filter(|gtids| gtids.len() == 1);
    let Some([gtid]) = gtids.as_deref() else { return Err(format!("{text:?} is not one GTID")) };
    quote("GTID", &gtid.to_string()).map_err(|error| error.to_string())
}

/// Removes all binary logs and GTIDs, then declares as executed what was executed a moment before, without `errant`.
///
/// Between the two the server has no history: every error from there on says how to give it back by hand. Page "RESET BINARY
/// LOGS AND GTIDS".
pub(super) async fn reset_binary_logs(context: &Context<'_>, errant: &str) -> Result<(), ApplyError> {
    context.mysql_only("this gives MySQL a history without some GTIDs")?;
    let errant = GtidSet::parse(errant).map_err(|error| context.unsuitable(error.to_string()))?;
    let mut session = context.open().await?;
    let reset = async {
        let executed = executed(context, &mut session).await?;
        if executed.intersect(&errant).is_empty() {
            return Err(context.unsuitable(format!("it has executed nothing of {errant}: its logs are left alone")));
        }
        let literal = quote("GTID set", &executed.subtract(&errant).to_string());
        let literal = literal.map_err(|error| context.unsuitable(error.to_string()))?;
        let declare = Sql::from(format!("SET GLOBAL gtid_purged = {literal}"));
        match session.run(&context.dialect.reset_binary_logs()).await {
            Err(refused @ ApplyError::Refused { .. }) => Err(refused),
            Err(unknown) => Err(unknown.with(&by_hand(&declare))),
            Ok(()) => {
                declare_again(context, &mut session, &declare).await.map_err(|error| error.with(&by_hand(&declare)))
            }
        }
    }
    .await;
    session.close().await;
    reset
}

fn by_hand(declare: &Sql) -> String {
    format!("if its executed GTIDs are gone, restore them: {}", declare.text())
}

/// A lost connection is no reason to leave a server without its history while there is time.
async fn declare_again<'c>(
    context: &'c Context<'_>,
    session: &mut Session<'c>,
    declare: &Sql,
) -> Result<(), ApplyError> {
    let declared = declare_over(context, session, declare).await;
    if declared.is_ok() || session.is_usable() {
        return declared;
    }
    tracing::warn!(instance.key = %context.order.on, "lost the connection after the reset; connecting again");
    *session = context.open().await?;
    declare_over(context, session, declare).await
}

/// A transaction that was committed right after the reset would be hidden among those declared.
async fn declare_over(context: &Context<'_>, session: &mut Session<'_>, declare: &Sql) -> Result<(), ApplyError> {
    let since = executed(context, session).await?;
    if since.is_empty() {
        return session.run(declare).await;
    }
    let reason = format!("it has executed {since} since its GTIDs were removed, so they were not declared");
    Err(ApplyError::Unknown { key: context.order.on.clone(), reason })
}

async fn executed(context: &Context<'_>, session: &mut Session<'_>) -> Result<GtidSet, ApplyError> {
    let rows = session.rows(&"SELECT @@GLOBAL.gtid_executed".into()).await?;
    let text = rows.first().and_then(|row| row.at(0));
    let set = text.ok_or_else(|| "it does not tell its executed GTIDs".to_owned());
    let set = set.and_then(|text| GtidSet::parse(&text).map_err(|error| error.to_string()));
    set.map_err(|reason| ApplyError::Unknown { key: context.order.on.clone(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn one_gtid_is_one_gtid() {
        assert_eq!(literal(&format!("{UUID}:7")), Ok(format!("'{UUID}:7'")));
        assert_eq!(literal(&format!("{}:nightly:7", UUID.to_uppercase())), Ok(format!("'{UUID}:nightly:7'")));
        for text in ["", "AUTOMATIC", &format!("{UUID}:1-2"), &format!("{UUID}:1,{UUID}:3"), &format!("{UUID}:1'")] {
            assert!(literal(text).is_err(), "{text}");
        }
    }

    #[test]
    fn each_is_one_transaction_of_its_own() {
        let sql = inject(&["'a:1'".to_owned(), "'a:2'".to_owned()]);
        assert_eq!(sql.text(), "SET gtid_next = 'a:1'; BEGIN; COMMIT; SET gtid_next = 'a:2'; BEGIN; COMMIT");
        assert_eq!(sql.text().split(';').count(), 2 * PER_GTID);
    }
}
