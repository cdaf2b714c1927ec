//! "Do not act on this": maintenance and downtime.

use service::actions::{downtime, maintenance};

use super::each;
use crate::answer::Answer;
use crate::catalogue::Command;
use crate::session::Session;

const SECTION: &str = "Instance management";

pub(crate) const COMMANDS: &[Command] = &[
    each!(
        SECTION,
        "begin-maintenance",
        begin_maintenance,
        "Lock an instance against operations",
        "begin-maintenance -i INSTANCE --reason TEXT [--owner NAME] [--duration 10m]\n\n\
         Fails when the instance is in maintenance already. Ends by itself after the duration."
    ),
    each!(
        SECTION,
        "end-maintenance",
        end_maintenance,
        "Unlock an instance",
        "Ends the maintenance of the instance in -i. Succeeds also when there was none."
    ),
    each!(
        SECTION,
        "in-maintenance",
        in_maintenance,
        "Is an instance in maintenance?",
        "Prints host:port of the instance in -i when it is, else nothing."
    ),
    each!(
        SECTION,
        "begin-downtime",
        begin_downtime,
        "Silence an instance: no recovery, no problems shown",
        "begin-downtime -i INSTANCE --reason TEXT [--owner NAME] [--duration 10m]\n\n\
         Replaces a downtime that is there. Ends by itself after the duration."
    ),
    each!(
        SECTION,
        "end-downtime",
        end_downtime,
        "End the downtime of an instance",
        "Succeeds also when there was none."
    ),
];

async fn begin_maintenance(session: &Session<'_>) -> anyhow::Result<Answer> {
    let (base, key) = (session.base, session.instance().await?);
    maintenance::begin(&session.scope, &key, &base.owner(), base.reason()?, Some(base.duration()?)).await?;
    Ok(Answer::key(&key))
}

async fn end_maintenance(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = session.instance().await?;
    maintenance::end(&session.scope, &key).await?;
    Ok(Answer::key(&key))
}

async fn in_maintenance(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = session.instance().await?;
    let yes = maintenance::is_active(&session.scope, &key).await?;
    Ok(Answer::maybe_key(yes.then_some(&key)))
}

async fn begin_downtime(session: &Session<'_>) -> anyhow::Result<Answer> {
    let (base, key) = (session.base, session.instance().await?);
    downtime::begin(&session.scope, &key, &base.owner(), base.reason()?, Some(base.duration()?)).await?;
    Ok(Answer::key(&key))
}

async fn end_downtime(session: &Session<'_>) -> anyhow::Result<Answer> {
    let key = session.instance().await?;
    downtime::end(&session.scope, &key).await?;
    Ok(Answer::key(&key))
}
