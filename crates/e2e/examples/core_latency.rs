//! Prints how quickly the core accepts instances, and how quickly a job reaches its agent. The core is the real one in
//! a process of its own; router and hypervisor are simulated, so that nothing but the core is measured.

#[path = "measured/core.rs"]
mod core;
#[path = "measured/table.rs"]
mod table;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use api::{Instance, Network, State};
use jobs::simulated::Simulated;
use jobs::{AgentConfig, Object, Target};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use core::{Core, made, quantile_ms, until};

/// As many as the simulated hypervisor has processors for.
const INSTANCES: usize = 400;
const NETWORKS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    pki::install_provider();
    let dir = tempfile::tempdir()?;
    let core = Core::start(dir.path(), json!({})).await?;
    let (router, hypervisor) = (Arc::new(Simulated::router()), Arc::new(Simulated::hypervisor()));
    let end = CancellationToken::new();
    for (kind, target) in [("router", router.clone()), ("hypervisor", hypervisor.clone())] {
        join(&core, dir.path(), kind, target, end.clone())?;
    }
    until("the agents are connected", async || {
        Ok(core.client.agents().await?.items.iter().filter(|agent| agent.connected).count() == 2)
    })
    .await?;
    let client = &core.client;
    core.image().await?;
    let lab: Network = made(client, json!({ "name": "lab", "spec": { "subnet": "10.64.0.0/20" } })).await?;
    until("the network is ready", async || Ok(client.get::<Network>(&"lab".parse()?).await?.state == State::Ready))
        .await?;

    let mut accepted = Vec::new();
    for number in 0..INSTANCES {
        let spec = json!({ "network": lab.id.to_string(), "image": "tiny" });
        let body = serde_json::from_value(json!({ "name": format!("instance-{number}"), "spec": spec }))?;
        let began = Instant::now();
        client.create::<Instance>(&body).await?;
        accepted.push(began.elapsed());
    }
    print("accept of an instance", "p99 under 20 ms", &mut accepted);
    until("all instances are ready", async || {
        Ok(client.list::<Instance>().await?.iter().all(|instance| instance.state == State::Ready))
    })
    .await?;

    let mut reached = Vec::new();
    for number in 0..NETWORKS {
        let network: Network = made(client, json!({ "name": format!("network-{number}") })).await?;
        let answered = Instant::now();
        let object = Object::Network(network.id);
        let arrived = timeout(PATIENCE, arrival(&router, object)).await.context("a job never arrived")?;
        reached.push(arrived.saturating_duration_since(answered));
    }
    print("from there to the job at its agent", "p99 under 10 ms", &mut reached);
    end.cancel();
    Ok(())
}

/// When the first job for an object was handed to the target.
async fn arrival(target: &Simulated, object: Object) -> Instant {
    let first =
        |state: &jobs::simulated::State| state.receipts.iter().find(|receipt| receipt.object == object).copied();
    target.until(|state| first(state).is_some()).await;
    first(&target.state()).expect("invariant: it was waited for").at
}

/// Runs an agent for a simulated target in this process, where it can be seen what reaches it when.
fn join(core: &Core, dir: &Path, kind: &str, target: Arc<dyn Target>, end: CancellationToken) -> Result<()> {
    let config =
        AgentConfig { core: None, invitation_file: Some(core.invite(kind)?), tls: None, state_dir: dir.join(kind) };
    tokio::spawn(async move {
        if let Err(error) = jobs::run(&config, "bench", target, end).await {
            eprintln!("an agent ended: {error}");
        }
    });
    Ok(())
}

fn print(what: &str, aim: &str, times: &mut [Duration]) {
    let [middle, most] = [0.5, 0.99].map(|share| quantile_ms(times, share));
    table::row(&format!("{what}: p50, p99"), aim, &format!("{middle:.1}, {most:.1} ms"), "");
}
