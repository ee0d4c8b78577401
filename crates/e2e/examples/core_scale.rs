//! Prints how the core fares when there is much of it: many changes at once, and many hosts and instances. The core is
//! the real one in a process of its own; routers and hypervisors are `rhyzome-sim`'s, one session each.

#[path = "measured/core.rs"]
mod core;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use api::{Client, Instance, Kind, Network, OperationState};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use core::{Core, made, quantile_ms, until};

/// Changes of each kind in the first part, and how many are under way at a time.
const CHANGES: usize = 1_000;
const AT_ONCE: usize = 100;
/// What is compared in the first part: the first so many, and the last.
const SOME: usize = 100;
/// Members of the second part.
const HOSTS: u32 = 1_250;
const ROUTERS: u32 = 4;
const LOOK: Duration = Duration::from_millis(50);

/// How much there is in the second part; all of it unless the environment's RHYZOME_BENCH_INSTANCES says less.
fn instances() -> usize {
    std::env::var("RHYZOME_BENCH_INSTANCES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

#[tokio::main]
async fn main() -> Result<()> {
    pki::install_provider();
    many_changes().await?;
    many_things().await
}

async fn many_changes() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let core = Core::start(dir.path(), json!({})).await?;
    let _simulation = core.simulate(10, 1).await?;
    core.image().await?;
    let network = |number| json!({ "name": format!("network-{number}"), "spec": {} });
    let instance = |number| {
        let spec = json!({ "network": format!("network-{number}"), "image": "tiny" });
        json!({ "name": format!("instance-{number}"), "spec": spec })
    };
    changes::<Network>("networks", &core.client, network).await?;
    changes::<Instance>("instances", &core.client, instance).await
}

/// Makes many of one kind, so many at a time, each until it is ready.
async fn changes<K: Kind>(what: &str, client: &Arc<Client>, body: impl Fn(usize) -> Value) -> Result<()>
where
    K::Create: DeserializeOwned + 'static,
{
    let began = Instant::now();
    let mut ready = Vec::with_capacity(CHANGES);
    let mut under_way: JoinSet<Result<Instant>> = JoinSet::new();
    for number in 0..CHANGES {
        if under_way.len() == AT_ONCE
            && let Some(done) = under_way.join_next().await
        {
            ready.push(done??);
        }
        let (client, body) = (client.clone(), serde_json::from_value::<K::Create>(body(number))?);
        under_way.spawn(async move {
            let operation = client.create::<K>(&body).await?.operation;
            loop {
                let operation = client.operation(operation).await?;
                if operation.state.is_final() {
                    ensure!(operation.state == OperationState::Succeeded, "{:?}", operation.reason);
                    return Ok(Instant::now());
                }
                sleep(LOOK).await;
            }
        });
    }
    while let Some(done) = under_way.join_next().await {
        ready.push(done??);
    }
    ready.sort();
    let first = ready[SOME - 1] - began;
    let last = ready[CHANGES - 1] - ready[CHANGES - 1 - SOME];
    println!(
        "{CHANGES} {what}, {AT_ONCE} at a time, asked for until ready: {:.1} s; the first {SOME} took {:.2} s, the last {:.2} s: \
         {:.2} times (aim: at most 1.5)",
        (ready[CHANGES - 1] - began).as_secs_f64(),
        first.as_secs_f64(),
        last.as_secs_f64(),
        last.as_secs_f64() / first.as_secs_f64(),
    );
    Ok(())
}

async fn many_things() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let core = Core::start(dir.path(), json!({})).await?;
    let empty = core.memory_mb()?;
    let began = Instant::now();
    let simulation = core.simulate(HOSTS, ROUTERS).await?;
    println!("{HOSTS} hosts enrolled and connected: {:.1} s", began.elapsed().as_secs_f64());
    core.image().await?;
    load(&core).await?;
    let count = instances();
    println!(
        "memory with {HOSTS} hosts and {count} instances: core {} MB ({empty} MB when empty), rhyzome-sim {} MB (aim: under 500)",
        core.memory_mb()?,
        simulation.memory_mb()?
    );
    pages(&core.client).await?;
    gets(&core.client).await?;
    accepts(&core.client).await
}

/// Makes all instances through the API, in networks of a hundred, and waits until nothing is left to do.
async fn load(core: &Core<'_>) -> Result<()> {
    const IN_ONE: usize = 100;
    let (count, next, began) = (instances(), Arc::new(AtomicUsize::new(0)), Instant::now());
    for number in 0..count.div_ceil(IN_ONE) {
        made::<Network>(&core.client, json!({ "name": format!("network-{number}"), "spec": {} })).await?;
    }
    let mut workers: JoinSet<Result<()>> = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, next) = (core.client.clone(), next.clone());
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                // Neighbours in time are in different networks.
                let network = format!("network-{}", number % count.div_ceil(IN_ONE));
                let spec = json!({ "network": network, "image": "tiny" });
                made::<Instance>(&client, json!({ "name": format!("instance-{number}"), "spec": spec })).await?;
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    let accepted = began.elapsed();
    loop {
        let newest = core.client.operations(1000).await?.items;
        if newest.iter().all(|operation| operation.state.is_final()) {
            break;
        }
        ensure!(began.elapsed() < Duration::from_secs(1800), "the instances do not become ready");
        sleep(Duration::from_secs(1)).await;
    }
    println!(
        "{count} instances in networks of {IN_ONE}: accepted after {:.0} s, ready after {:.0} s",
        accepted.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

async fn pages(client: &Arc<Client>) -> Result<()> {
    let mut times = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..500 {
        let began = Instant::now();
        let page = client.page::<Instance>(after.as_deref(), &[("limit", "100")]).await?;
        times.push(began.elapsed());
        after = page.next;
    }
    let [middle, most] = [0.5, 0.99].map(|share| quantile_ms(&mut times, share));
    println!("a page of 100 instances: p50 {middle:.2} ms, p99 {most:.2} ms (aim: p99 under 10 ms)");
    Ok(())
}

async fn gets(client: &Arc<Client>) -> Result<()> {
    const CONNECTIONS: usize = 16;
    let (done, end) = (Arc::new(AtomicU64::new(0)), Instant::now() + Duration::from_secs(5));
    let mut callers: JoinSet<Result<()>> = JoinSet::new();
    for caller in 0..CONNECTIONS {
        let (client, done) = (client.clone(), done.clone());
        callers.spawn(async move {
            for number in (caller..).step_by(CONNECTIONS).cycle() {
                if Instant::now() >= end {
                    return Ok(());
                }
                client.get::<Instance>(&format!("instance-{}", number % instances()).parse()?).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    let rate = done.load(Ordering::Relaxed) / 5;
    println!("get of one instance, {CONNECTIONS} callers: {rate} a second (aim: 5000; the callers share the machine)");
    Ok(())
}

async fn accepts(client: &Arc<Client>) -> Result<()> {
    let mut times = Vec::new();
    for number in 0..300 {
        let body = json!({ "name": format!("late-{number}"), "spec": { "network": "network-0", "image": "tiny" } });
        let began = Instant::now();
        made::<Instance>(client, body).await?;
        times.push(began.elapsed());
    }
    let [middle, most] = [0.5, 0.99].map(|share| quantile_ms(&mut times, share));
    println!("accept of one more: p50 {middle:.2} ms, p99 {most:.2} ms (aim: p99 under 50 ms)");
    until("the last are ready", async || {
        Ok(client.operations(1000).await?.items.iter().all(|one| one.state.is_final()))
    })
    .await
}
