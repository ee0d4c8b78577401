//! Keeps the firewall open for what is wanted, and for what the gateway still leads here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::nft::{Place, Standing, droppers};
use super::rules::Rules;
use super::{ToolError, conntrack};
use crate::chain;
use crate::exposure::{Exposure, PublicPort};
use crate::gateway::actor::GatewayReport;
use crate::source::Reading;

/// How soon is tried again what failed.
const RETRY: Duration = Duration::from_secs(5);

/// What the firewall lets through for us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FirewallReport {
    /// Whether the firewall is ours to open; where it is not, nothing waits for it.
    pub is_enabled: bool,
    /// The ports that are open, by their numbers outside.
    pub open: BTreeSet<PublicPort>,
    /// Why it is not as it is wanted.
    pub trouble: Option<String>,
    /// What others do that may keep packets from us.
    pub warnings: Vec<String>,
}

impl FirewallReport {
    /// Whether packets to a port pass, as far as it is ours to say.
    pub fn is_open(&self, port: PublicPort) -> bool {
        !self.is_enabled || self.open.contains(&port)
    }
}

/// Everything that the actor needs.
pub struct Actor {
    /// Where our rules stand.
    pub place: Place,
    /// How often they are read back.
    pub refresh: Duration,
    /// What is wanted.
    pub readings: watch::Receiver<Reading>,
    /// What the gateway leads here.
    pub gateway: watch::Receiver<GatewayReport>,
    /// Where it says how it stands.
    pub report: watch::Sender<FirewallReport>,
    /// What is open, with all that there is to know of it.
    pub open: BTreeMap<PublicPort, Exposure>,
}

impl Actor {
    /// Does so for ever.
    pub async fn run(&mut self) {
        self.warn().await;
        loop {
            let wait = match self.round().await {
                true => self.refresh,
                false => RETRY.min(self.refresh),
            };
            tokio::select! {
                Ok(()) = self.readings.changed() => {}
                Ok(()) = self.gateway.changed() => {}
                () = sleep_until(Instant::now() + wait) => {}
            }
        }
    }

    /// Brings the rules to what is wanted, if they are not; answers whether they are.
    pub async fn round(&mut self) -> bool {
        let Some(wanted) = self.readings.borrow_and_update().wanted.clone() else { return true };
        let mut open = wanted.ports.clone();
        let held = self.gateway.borrow_and_update().held.clone();
        // What the gateway still leads here closes after it does so no longer.
        open.extend(
            self.open
                .iter()
                .filter(|(port, _)| held.contains(port))
                .map(|(port, is)| (*port, is.clone()))
                .filter(|(port, _)| !wanted.ports.contains_key(port)),
        );
        let outcome = self.bring(&Rules::of(open.values())).await;
        if outcome.is_ok() {
            self.open = open;
        }
        self.tell(outcome)
    }

    /// Removes all rules of ours.
    pub async fn withdraw(&mut self) {
        let outcome = self.place.remove().await;
        if outcome.is_ok() {
            self.open.clear();
        }
        self.tell(outcome);
    }

    async fn bring(&self, rules: &Rules) -> Result<(), ToolError> {
        let standing = self.place.read().await?;
        if standing == Standing::Ours(rules.clone()) {
            return Ok(());
        }
        self.place.replace(rules).await?;
        tracing::info!(open = rules.open.len(), limited = rules.limited.len(), "the firewall is as it is wanted");
        if let Standing::Ours(before) = standing
            && let Err(error) = conntrack::forget(&before.beyond(rules)).await
        {
            tracing::warn!(error = chain(&error), "connections to ports that have closed may live on");
        }
        Ok(())
    }

    fn tell(&self, outcome: Result<(), ToolError>) -> bool {
        let trouble = outcome.err().map(|error| chain(&error));
        let is_good = trouble.is_none();
        self.report.send_if_modified(|report| {
            if report.trouble != trouble
                && let Some(trouble) = &trouble
            {
                tracing::error!(cause = trouble, "the firewall is not as it is wanted");
            }
            let open = self.open.keys().copied().collect();
            let told = FirewallReport { is_enabled: true, open, trouble, warnings: report.warnings.clone() };
            let is_news = *report != told;
            *report = told;
            is_news
        });
        is_good
    }

    /// Says at the start what may come between packets and us.
    async fn warn(&self) {
        if self.place != Place::OwnTable {
            return;
        }
        let chains = droppers().await.unwrap_or_default();
        let warnings: Vec<_> = chains
            .iter()
            .map(|chain| {
                format!("the chain {chain} drops what it does not accept itself; set firewall.jump to it, so that it asks us first")
            })
            .collect();
        for warning in &warnings {
            tracing::warn!(cause = warning, "packets may not reach us");
        }
        self.report.send_modify(|report| report.warnings = warnings);
    }
}
