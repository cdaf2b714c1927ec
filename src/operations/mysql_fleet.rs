//! The managed servers as they are: looks through the prober, orders through `mysql::apply`.

use std::collections::BTreeMap;

use domain::instance::{Answer, InstanceKey, ServerFacts};
use domain::plan::Action;
use futures::future::BoxFuture;
use mysql::Prober;
use mysql::apply::{ApplyError, IdleConnections, Order, apply};

use crate::fleet::{Change, Fleet, FleetError};
use crate::looks::Looks;

/// Turns the names that a server mentions into those by which we know the servers.
pub type Resolver = Box<dyn for<'a> Fn(&'a mut ServerFacts) -> BoxFuture<'a, ()> + Send + Sync>;

/// The managed servers.
pub struct MySqlFleet<'a> {
    prober: &'a Prober,
    resolver: Resolver,
    /// Names that replicas are to use for a server instead of the one we know it by.
    names_for_replicas: BTreeMap<InstanceKey, String>,
    /// `ReplicationCredentialsQuery`; empty if not configured.
    credentials_query: String,
    looks: Looks<Result<ServerFacts, FleetError>>,
    idle: IdleConnections,
}

impl<'a> MySqlFleet<'a> {
    /// A fleet for one operation. `names_for_replicas`: see `Instance::unresolved_hostname`.
    pub fn new(
        prober: &'a Prober,
        resolver: Resolver,
        names_for_replicas: BTreeMap<InstanceKey, String>,
        credentials_query: &str,
    ) -> Self {
        Self {
            prober,
            resolver,
            names_for_replicas,
            credentials_query: credentials_query.to_owned(),
            looks: Looks::default(),
            idle: IdleConnections::default(),
        }
    }

    /// Says goodbye to the servers that were changed.
    pub async fn close(self) {
        self.idle.close().await;
    }

    async fn read(&self, key: &InstanceKey) -> Result<ServerFacts, FleetError> {
        let fail = |reason: String| FleetError::Unreachable { key: key.clone(), reason };
        match self.prober.probe(key).await.answer {
            Answer::Facts { facts, .. } => {
                let mut facts = *facts;
                (self.resolver)(&mut facts).await;
                Ok(facts)
            }
            Answer::Filtered { filter } => Err(fail(format!("left out by {filter}"))),
            Answer::Failed(failure) => Err(fail(format!("{} ({})", failure.message, failure.kind.name()))),
        }
    }

    /// The action as the server is to hear it: a source goes by the name that replicas know.
    fn renamed(&self, action: &Action) -> Action {
        let mut action = action.clone();
        if let Action::ChangeSource { to, .. } = &mut action
            && let Some(name) = self.names_for_replicas.get(to)
        {
            to.hostname.clone_from(name);
        }
        action
    }
}

impl Fleet for MySqlFleet<'_> {
    async fn look(&self, key: &InstanceKey) -> Result<ServerFacts, FleetError> {
        self.looks.ask(key, || self.read(key)).await
    }

    async fn apply(&self, change: Change<'_>) -> Result<(), FleetError> {
        let key = change.on.clone();
        let Some(facts) = change.facts.get(change.on) else {
            return Err(FleetError::Unreachable { key, reason: "it was not read".to_owned() });
        };
        let action = self.renamed(change.action);
        let order = Order {
            on: change.on,
            action: &action,
            facts,
            until: change.until,
            credentials_query: &self.credentials_query,
        };
        apply(&self.prober.connector(), &self.idle, order).await.map_err(|error| match error {
            ApplyError::Unreachable { key, reason } => FleetError::Unreachable { key, reason },
            ApplyError::Unsuitable { key, reason } => FleetError::Unsuitable { key, reason },
            ApplyError::Refused { key, number, reason } => {
                FleetError::Refused { key, reason: format!("error {number}: {reason}") }
            }
            ApplyError::Unknown { key, reason } => FleetError::Unknown { key, reason },
        })
    }
}
