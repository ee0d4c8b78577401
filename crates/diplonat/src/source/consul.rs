//! Consul's catalog: the services of one node, and their tags, as blocking queries tell them.
//!
//! An answer that is partial, old, broken or missing changes nothing: what was wanted stays wanted, and the status says
//! what is wrong.

mod client;
mod health;
mod pace;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::brake::{Brake, Verdict};
use super::{Reading, doubt, tell};
use crate::exposure::{PublicPort, Service, Wanted};
use crate::settings::ConsulSettings;
use crate::{chain, tag};
use client::{Client, Query};
use health::Health;
use pace::Pace;

pub use client::ConsulError;

/// How soon a reading that drops much is made again.
const SECOND_READING: Duration = Duration::from_secs(2);
/// Waits after failures: doubled from the first to the last.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(30);

/// What `/v1/catalog/node/<n>` answers; null for a node that it does not know.
type Catalog = Option<Node>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    services: BTreeMap<String, Entry>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "ServiceID", default)]
    service_id: String,
    #[serde(default)]
    status: String,
}

/// Reads the node's services once.
pub async fn read(settings: &ConsulSettings, node: &str, leave: &BTreeSet<PublicPort>) -> Result<Wanted, ConsulError> {
    let client = Client::of(settings)?;
    let mut query = Query::of(&["v1", "catalog", "node", node]);
    let services = services(client.ask(&mut query).await?, node)?;
    Ok(wanted(&services, &BTreeSet::new(), leave))
}

/// Follows the node's services for ever.
pub async fn follow(
    settings: ConsulSettings,
    node: String,
    leave: BTreeSet<PublicPort>,
    readings: watch::Sender<Reading>,
) {
    let client = match Client::of(&settings) {
        Ok(client) => client,
        Err(error) => {
            doubt(&readings, chain(&error));
            return std::future::pending().await;
        }
    };
    // The two wait for Consul side by side, and hand on whole states.
    let (catalog, mut services) = watch::channel(None::<Known>);
    let (checks, mut critical) = watch::channel(BTreeSet::new());
    let following = async {
        tokio::join!(follow_catalog(&client, &node, &catalog), follow_checks(&client, &node, &checks));
    };
    let judging = async {
        let (mut health, mut brake, began) = (Health::default(), Brake::default(), Instant::now());
        loop {
            let now = began.elapsed();
            let (known, critical_now) = (services.borrow_and_update().clone(), critical.borrow_and_update().clone());
            let mut wake = None;
            match known {
                None => {}
                Some(Err(trouble)) => doubt(&readings, trouble),
                Some(Ok(services)) => {
                    let (down, next) = health.judge(services.keys(), &critical_now, now);
                    wake = next.map(|next| Instant::now() + next);
                    let wanted = wanted(&services, &down, &leave);
                    match brake.judge(&wanted) {
                        Verdict::Take => tell(&readings, wanted),
                        Verdict::Doubt { dropped, of } => {
                            doubt(
                                &readings,
                                format!("Consul drops {dropped} of {of} ports at once; it is asked again to be sure"),
                            );
                            sleep(SECOND_READING).await;
                            let mut again = Query::of(&["v1", "catalog", "node", &node]);
                            if let Ok(answer) = client.ask(&mut again).await {
                                catalog
                                    .send_replace(Some(self::services(answer, &node).map_err(|error| chain(&error))));
                            }
                            continue;
                        }
                    }
                }
            }
            let alarm = async {
                match wake {
                    Some(wake) => sleep_until(wake).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Ok(()) = services.changed() => {}
                Ok(()) = critical.changed() => {}
                () = alarm => {}
            }
        }
    };
    tokio::select! {
        () = following => {}
        () = judging => {}
    }
}

/// The services of the node, or why they are not known.
type Known = Result<BTreeMap<String, Entry>, String>;

async fn follow_catalog(client: &Client, node: &str, known: &watch::Sender<Option<Known>>) {
    let (mut query, mut pace, mut wait) = (Query::of(&["v1", "catalog", "node", node]), Pace::default(), FIRST_WAIT);
    loop {
        sleep(pace.wait(Instant::now())).await;
        match client.ask(&mut query).await.and_then(|answer| services(answer, node)) {
            Ok(services) => {
                wait = FIRST_WAIT;
                known.send_replace(Some(Ok(services)));
            }
            Err(error) => {
                query.forget();
                known.send_replace(Some(Err(chain(&error))));
                sleep(wait).await;
                wait = (wait * 2).min(LAST_WAIT);
            }
        }
    }
}

/// Where the checks cannot be read, services count as they last did.
async fn follow_checks(client: &Client, node: &str, critical: &watch::Sender<BTreeSet<String>>) {
    let (mut query, mut pace, mut wait) = (Query::of(&["v1", "health", "node", node]), Pace::default(), FIRST_WAIT);
    loop {
        sleep(pace.wait(Instant::now())).await;
        match client.ask::<Vec<Check>>(&mut query).await {
            Ok(checks) => {
                wait = FIRST_WAIT;
                let is_critical = |check: &Check| check.status == "critical" && !check.service_id.is_empty();
                let now = checks.into_iter().filter(is_critical).map(|check| check.service_id).collect();
                critical.send_if_modified(|before| std::mem::replace(before, now) != *before);
            }
            Err(error) => {
                tracing::debug!(error = chain(&error), "Consul's checks cannot be read");
                query.forget();
                sleep(wait).await;
                wait = (wait * 2).min(LAST_WAIT);
            }
        }
    }
}

/// A node that Consul does not know is not one without services.
fn services(catalog: Catalog, node: &str) -> Result<BTreeMap<String, Entry>, ConsulError> {
    catalog.map(|node| node.services).ok_or_else(|| ConsulError::UnknownNode(node.to_owned()))
}

fn wanted(services: &BTreeMap<String, Entry>, down: &BTreeSet<String>, leave: &BTreeSet<PublicPort>) -> Wanted {
    let services = services.iter().map(|(id, entry)| {
        let service = tag::service(id, entry.tags.iter().flatten().map(String::as_str));
        match &service.ports {
            Ok(ports) if down.contains(id) && !ports.is_empty() => {
                Service { name: id.clone(), ports: Err("its check in Consul is critical".into()) }
            }
            _ => service,
        }
    });
    Wanted::of(services, leave)
}
