//! A scenario: orders and when they are given.

use std::path::Path;
use std::time::Duration;

use config::ConfigError;
use jobs::simulated::Pattern;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::fleet::Fleet;
use crate::order::{Action, Order};
use crate::ways::Ways;

/// What stands in a scenario's file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// The ways that the members have to each other.
    pub ways: Ways,
    /// The orders, each on a clock of its own.
    pub orders: Vec<TimedOrder>,
}

/// An order and its time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimedOrder {
    /// When it is given for the first time, in milliseconds after the start.
    #[serde(default)]
    pub after_ms: u64,
    /// How often it is given again; once, when left out.
    pub every_ms: Option<std::num::NonZeroU64>,
    /// The members' names.
    pub targets: Pattern,
    /// What they are to do.
    #[serde(rename = "do")]
    pub action: Action,
}

impl Scenario {
    /// Reads a scenario's file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Ok(config::load::<Self>(Some(path), "")?.value)
    }

    /// Gives the orders in their time, until the last is given; never ends where one is given again and again.
    pub async fn play(self, fleet: &Fleet) {
        let mut clocks = JoinSet::new();
        for timed in self.orders {
            let fleet = fleet.clone();
            clocks.spawn(timed.play(fleet));
        }
        while clocks.join_next().await.is_some() {}
    }
}

impl TimedOrder {
    async fn play(self, fleet: Fleet) {
        let first = Duration::from_millis(self.after_ms);
        let order = Order { targets: self.targets, action: self.action };
        let Some(every) = self.every_ms else {
            sleep(first).await;
            fleet.obey(&order);
            return;
        };
        let mut ticks = interval_at(Instant::now() + first, Duration::from_millis(every.get()));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            fleet.obey(&order);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Scenario, String> {
        config::parse(text, Path::new("scenario.json")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_scenario_says_what_happens_when() {
        let scenario = parse(
            r#"{ "ways": { "vlan": true }, "orders": [
                { "targets": "hypervisor-*", "do": { "faults": { "delay_ms": 200, "jitter_ms": 300 } } },
                { "after_ms": 500, "every_ms": 1000, "targets": "router-1", "do": { "away": { "for_ms": 50, "loses": "target" } } },
                { "targets": "*", "do": { "faults": {
                    "refuse": [ { "what": "peer-*" }, { "what": "image/*", "reason": "the disk is full" } ],
                    "hold": [ { "object": "network/net-0000000000001" } ] } } } ] }"#,
        );
        let scenario = scenario.unwrap();
        assert_eq!(scenario.ways, Ways { vlan: true, vxlan: false });
        assert_eq!(scenario.orders.len(), 3);
    }

    #[test]
    fn a_slip_of_the_pen_is_named() {
        let error =
            parse(r#"{ "orders": [ { "targets": "*", "do": { "faults": { "dealy_ms": 1 } } } ] }"#).unwrap_err();
        assert!(error.contains("unknown key \"dealy_ms\"") && error.contains("did you mean \"delay_ms\""), "{error}");
        let error = parse(r#"{ "orders": [ { "targets": "*", "do": { "fault": {} } } ] }"#).unwrap_err();
        assert!(error.contains("`faults`"), "{error}");
        let error = parse(r#"{ "orders": [ { "every_ms": 0, "targets": "*", "do": "show" } ] }"#).unwrap_err();
        assert!(error.contains("every_ms"), "{error}");
    }
}
