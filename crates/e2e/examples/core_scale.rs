//! Prints how the core fares when there is much of it: many changes at once, and many hosts and instances. The core is
//! the real one in a process of its own; routers and hypervisors are `rhyzome-sim`'s, one session each.

#[path = "measured/core.rs"]
mod core;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use api::{Client, Instance, Kind, Network, OperationState};
use clap::{Parser, ValueEnum};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use testbed::{Engine, Ground};
use tokio::task::JoinSet;
use tokio::time::sleep;

use core::{Core, made, quantile_ms, until};

/// Instances in one network.
const IN_ONE: usize = 100;
/// How often a caller looks at an operation.
const LOOK: Duration = Duration::from_millis(50);

/// How the core fares when there is much of it.
#[derive(Parser)]
struct Options {
    /// What lies behind the core. PostgreSQL is the tests' own: eval "$(scripts/postgres start)"
    #[arg(long, value_enum, default_value = "sqlite")]
    engine: Behind,
    /// Networks and instances in the first part; none leaves it out
    #[arg(long, default_value_t = 1_000)]
    changes: usize,
    /// Changes under way at a time
    #[arg(long, default_value_t = 100)]
    at_once: usize,
    /// Hypervisors in the second part; none leaves it out
    #[arg(long, default_value_t = 1_250)]
    hosts: u32,
    /// Routers in the second part
    #[arg(long, default_value_t = 4)]
    routers: u32,
    /// Instances in the second part
    #[arg(long, default_value_t = 20_000)]
    instances: usize,
    /// How long they may be asked for; what is there by then is what is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    load: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Behind {
    Sqlite,
    Postgres,
}

#[tokio::main]
async fn main() -> Result<()> {
    pki::install_provider();
    let options = Options::parse();
    if options.changes > 0 {
        many_changes(&options).await?;
    }
    if options.hosts > 0 {
        many_things(&options).await?;
    }
    Ok(())
}

impl Options {
    async fn ground(&self) -> Ground {
        let engine = match self.engine {
            Behind::Sqlite => Engine::Sqlite,
            Behind::Postgres => Engine::Postgres,
        };
        Ground::new(engine).await
    }
}

fn settings(ground: &Ground) -> Value {
    ground.setting().map_or(json!({}), |database| json!({ "database": database }))
}

async fn many_changes(options: &Options) -> Result<()> {
    let (dir, ground) = (tempfile::tempdir()?, options.ground().await);
    let core = Core::start(dir.path(), settings(&ground)).await?;
    let _simulation = core.simulate(10, 1).await?;
    core.image().await?;
    let network = |number| json!({ "name": format!("network-{number}"), "spec": {} });
    let instance = |number| {
        let spec = json!({ "network": format!("network-{number}"), "image": "tiny" });
        json!({ "name": format!("instance-{number}"), "spec": spec })
    };
    changes::<Network>("networks", options, &core.client, network).await?;
    changes::<Instance>("instances", options, &core.client, instance).await
}

/// Makes many of one kind, so many at a time, each until it is ready.
async fn changes<K: Kind>(
    what: &str,
    options: &Options,
    client: &Arc<Client>,
    body: impl Fn(usize) -> Value,
) -> Result<()>
where
    K::Create: DeserializeOwned + 'static,
{
    let Options { changes, at_once, .. } = *options;
    let began = Instant::now();
    let mut ready = Vec::with_capacity(changes);
    let mut under_way: JoinSet<Result<Instant>> = JoinSet::new();
    for number in 0..changes {
        if under_way.len() == at_once
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
    // As many as are under way at a time: the first of them find an empty core, the last a full one.
    let some = at_once.min(changes / 2).max(1);
    let first = ready[some - 1] - began;
    let last = ready[changes - 1] - ready[changes - 1 - some];
    println!(
        "{changes} {what}, {at_once} at a time, asked for until ready: {:.1} s; the first {some} took {:.2} s, the last {:.2} s: \
         {:.2} times (aim: at most 1.5)",
        (ready[changes - 1] - began).as_secs_f64(),
        first.as_secs_f64(),
        last.as_secs_f64(),
        last.as_secs_f64() / first.as_secs_f64(),
    );
    Ok(())
}

async fn many_things(options: &Options) -> Result<()> {
    let (dir, ground) = (tempfile::tempdir()?, options.ground().await);
    let core = Core::start(dir.path(), settings(&ground)).await?;
    let empty = core.memory_mb()?;
    let began = Instant::now();
    let simulation = core.simulate(options.hosts, options.routers).await?;
    println!("{} hosts enrolled and connected: {:.1} s", options.hosts, began.elapsed().as_secs_f64());
    core.image().await?;
    let count = load(&core, options).await?;
    println!(
        "memory with {} hosts and {count} instances: core {} MB ({empty} MB when empty), rhyzome-sim {} MB (aim: under 500)",
        options.hosts,
        core.memory_mb()?,
        simulation.memory_mb()?
    );
    pages(&core.client).await?;
    gets(&core.client, count).await?;
    accepts(&core.client).await
}

/// Makes instances through the API, in networks of a hundred, and waits until nothing is left to do. Gives how many.
async fn load(core: &Core<'_>, options: &Options) -> Result<usize> {
    let (wanted, next, began) = (options.instances, Arc::new(AtomicUsize::new(0)), Instant::now());
    let (networks, end) = (wanted.div_ceil(IN_ONE), began + Duration::from_secs(options.load));
    for number in 0..networks {
        made::<Network>(&core.client, json!({ "name": format!("network-{number}"), "spec": {} })).await?;
    }
    let mut workers: JoinSet<Result<usize>> = JoinSet::new();
    for _ in 0..options.at_once {
        let (client, next) = (core.client.clone(), next.clone());
        workers.spawn(async move {
            let mut own = 0;
            while Instant::now() < end {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= wanted {
                    break;
                }
                // Neighbours in time are in different networks.
                let network = format!("network-{}", number % networks);
                let spec = json!({ "network": network, "image": "tiny" });
                made::<Instance>(&client, json!({ "name": format!("instance-{number}"), "spec": spec })).await?;
                own += 1;
            }
            Ok(own)
        });
    }
    let mut count = 0;
    while let Some(worker) = workers.join_next().await {
        count += worker??;
    }
    let accepted = began.elapsed();
    while !is_idle(&core.client).await? {
        ensure!(began.elapsed() < Duration::from_secs(1800), "the instances do not become ready");
        sleep(Duration::from_secs(1)).await;
    }
    println!(
        "{count} of {wanted} instances in networks of {IN_ONE}: accepted after {:.0} s, ready after {:.0} s",
        accepted.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    Ok(count)
}

/// Whether nothing is under way any more.
async fn is_idle(client: &Client) -> Result<bool> {
    Ok(client.operations(1000).await?.items.iter().all(|operation| operation.state.is_final()))
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

async fn gets(client: &Arc<Client>, count: usize) -> Result<()> {
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
                client.get::<Instance>(&format!("instance-{}", number % count).parse()?).await?;
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
    until("the last are ready", async || is_idle(client).await).await
}
