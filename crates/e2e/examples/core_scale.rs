//! Prints how the core fares when there is much of it: many changes at once, and many hosts and instances. The core is
//! the real one in a process of its own; routers and hypervisors are `rhyzome-sim`'s, one session each.

#[path = "measured/core.rs"]
mod core;
#[path = "measured/stock.rs"]
mod stock;
#[path = "measured/table.rs"]
mod table;

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::{Client, Instance, Kind, Network, OperationState};
use clap::{Parser, ValueEnum};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use testbed::{Engine, Ground};
use tokio::task::JoinSet;
use tokio::time::sleep;

use core::{Core, made, quantile_ms, until};
use stock::{IN_ONE, instance_name, network_name, team};
use table::Figures;

/// How often a caller looks at an operation.
const LOOK: Duration = Duration::from_millis(50);

/// Callers that ask for single instances at the same time.
const CALLERS: usize = 16;
/// How long callers ask.
const CALLING: Duration = Duration::from_secs(5);
/// Instances that are asked for one after the other.
const LATE: usize = 300;
/// Instances that are asked for when no host is there any more, and for how long the core is watched then.
const WAITING: usize = 1_000;
const IDLE: Duration = Duration::from_secs(10);

/// How the core fares when there is much of it.
#[derive(Parser)]
struct Options {
    /// What lies behind the core; both, when left out. PostgreSQL is the tests' own: eval "$(scripts/postgres start)"
    #[arg(long, value_enum)]
    engine: Option<Behind>,
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
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Behind {
    Sqlite,
    Postgres,
}

#[tokio::main]
async fn main() -> Result<()> {
    pki::install_provider();
    let options = Options::parse();
    let (mut sqlite, mut postgres) = (Figures::default(), Figures::default());
    for (behind, figures) in [(Behind::Sqlite, &mut sqlite), (Behind::Postgres, &mut postgres)] {
        if options.engine.is_some_and(|only| only != behind) {
            continue;
        }
        if options.changes > 0 {
            many_changes(&options, behind, figures).await?;
        }
        if options.hosts > 0 {
            many_things(&options, behind, figures).await?;
        }
    }
    Figures::print(&sqlite, &postgres);
    Ok(())
}

impl Behind {
    async fn ground(self) -> Ground {
        let engine = match self {
            Self::Sqlite => Engine::Sqlite,
            Self::Postgres => Engine::Postgres,
        };
        Ground::new(engine).await
    }
}

fn settings(ground: &Ground) -> Value {
    ground.setting().map_or(json!({}), |database| json!({ "database": database }))
}

async fn many_changes(options: &Options, behind: Behind, figures: &mut Figures) -> Result<()> {
    let (dir, ground) = (tempfile::tempdir()?, behind.ground().await);
    let core = Core::start(dir.path(), settings(&ground)).await?;
    let _simulation = core.simulate(10, 1).await?;
    core.image().await?;
    let network = |number| json!({ "name": format!("network-{number}"), "spec": {} });
    let instance = |number| {
        let spec = json!({ "network": format!("network-{number}"), "image": "tiny" });
        json!({ "name": format!("instance-{number}"), "spec": spec })
    };
    changes::<Network>("networks", options, &core.client, network, figures).await?;
    changes::<Instance>("instances", options, &core.client, instance, figures).await
}

/// Makes many of one kind, so many at a time, each until it is ready.
async fn changes<K: Kind>(
    what: &str,
    options: &Options,
    client: &Arc<Client>,
    body: impl Fn(usize) -> Value,
    figures: &mut Figures,
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
    let all = (ready[changes - 1] - began).as_secs_f64();
    figures.note(format!("{changes} {what}, {at_once} at a time, until ready"), "", format!("{all:.1} s"));
    let ratio = last.as_secs_f64() / first.as_secs_f64();
    figures.note(format!("  the last {some} beside the first {some}"), "at most 1.5", format!("{ratio:.2} times"));
    Ok(())
}

async fn many_things(options: &Options, behind: Behind, figures: &mut Figures) -> Result<()> {
    let (dir, ground) = (tempfile::tempdir()?, behind.ground().await);
    let mut core = Core::start(dir.path(), settings(&ground)).await?;
    figures.note("memory of an empty core", "under 40 MB", format!("{} MB", core.memory_mb()?));
    let began = Instant::now();
    let mut simulation = core.simulate(options.hosts, options.routers).await?;
    let Options { hosts, instances, .. } = *options;
    let took = began.elapsed().as_secs_f64();
    figures.note(format!("{hosts} hosts enrol and connect"), "", format!("{took:.1} s"));
    core.image().await?;
    made::<Network>(&core.client, json!({ "name": stock::PATTERN, "spec": { "subnet": "10.0.0.0/24" } })).await?;
    made::<Instance>(&core.client, instance(stock::PATTERN, stock::PATTERN)).await?;
    until("the pattern is ready", async || is_idle(&core.client).await).await?;
    simulation.stop();
    core.stop().await?;

    let began = Instant::now();
    stock::lay(&dir.path().join("core"), &ground, &simulation.members(), instances).await?;
    // What the server does by itself before long, so that it knows how much there is of what.
    if behind == Behind::Postgres {
        ground.run("ANALYZE").await;
    }
    eprintln!("{instances} instances were laid in {:.0} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    core.start_again().await?;
    simulation.start()?;
    core.until_connected(&simulation).await?;
    until("nothing is left to do", async || is_idle(&core.client).await).await?;
    let took = began.elapsed().as_secs_f64();
    figures.note(format!("all come back, with {instances} instances"), "", format!("{took:.1} s"));
    figures.note("memory of the core with all of them", "", format!("{} MB", core.memory_mb()?));
    figures.note("memory of rhyzome-sim", "under 500 MB", format!("{} MB", simulation.memory_mb()?));
    pages(&core, instances, figures).await?;
    gets(&core, instances, figures).await?;
    accepts(&core.client, figures).await?;
    simulation.stop();
    waits(&mut core, figures).await
}

/// What a core does whose hosts are all gone while much is asked for, and how it ends.
async fn waits(core: &mut Core<'_>, figures: &mut Figures) -> Result<()> {
    for number in 0..WAITING {
        made::<Instance>(&core.client, instance(&format!("waiting-{number}"), "room")).await?;
    }
    let before = core.processor_time()?;
    sleep(IDLE).await;
    let share = (core.processor_time()? - before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    let what = format!("{WAITING} creates wait for hosts that are gone: processor time");
    figures.note(what, "", format!("{share:.0} %"));
    let ended = core.stop().await?.as_secs_f64();
    figures.note("  and the core ends after SIGTERM", "under 10 s", format!("{ended:.1} s"));
    Ok(())
}

fn instance(name: &str, network: &str) -> Value {
    json!({ "name": name, "spec": { "network": network, "image": "tiny" } })
}

/// Whether nothing is under way any more.
async fn is_idle(client: &Client) -> Result<bool> {
    Ok(client.operations(1000).await?.items.iter().all(|operation| operation.state.is_final()))
}

/// What callers measured.
#[derive(Deserialize)]
struct Measured {
    requests: u64,
    p50_us: u64,
    p99_us: u64,
    own_us: u64,
}

/// Has callers in a process of their own ask for these paths again and again; gives what they measured, and the
/// processor time that the core took.
async fn call(core: &Core<'_>, paths: Vec<String>, connections: usize) -> Result<(Measured, Duration)> {
    let (access, before) = (core.access(), core.processor_time()?);
    let mut command = Command::new(std::env::current_exe()?.with_file_name("callers"));
    command.args(["--address", &access.address.to_string(), "--seconds", &CALLING.as_secs().to_string()]);
    command.arg("--ca").arg(access.ca).arg("--token").arg(access.token);
    command.args(["--connections", &connections.to_string()]);
    let mut callers = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    callers.stdin.take().context("callers read paths")?.write_all(paths.join("\n").as_bytes())?;
    let output = tokio::task::spawn_blocking(move || callers.wait_with_output()).await??;
    ensure!(output.status.success(), "the callers failed");
    Ok((serde_json::from_slice(&output.stdout)?, core.processor_time()? - before))
}

async fn pages(core: &Core<'_>, instances: usize, figures: &mut Figures) -> Result<()> {
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let from = after.iter().map(|after| format!("&after={after}"));
        all.push(from.fold("/v1/instances?limit=100".to_owned(), |path, from| path + &from));
        after = core.client.page::<Instance>(after.as_deref(), &[("limit", "100")]).await?.next;
        if after.is_none() {
            break;
        }
    }
    let of_networks = (0..instances / IN_ONE).map(network_name);
    let of_networks = of_networks.map(|network| format!("/v1/instances?limit=100&network={network}")).collect();
    let of_teams = (0..instances).step_by(stock::OF_ONE_TEAM).map(team);
    let of_teams = of_teams.map(|team| format!("/v1/instances?limit=100&tag=team:{team}")).collect();
    for (which, paths) in [("", all), (", of one network", of_networks), (", of one tag", of_teams)] {
        let (Measured { p50_us, p99_us, .. }, _) = call(core, paths, 1).await?;
        let times = format!("{}, {}", ms(p50_us), ms(p99_us));
        figures.note(format!("a page of 100 instances{which}: p50, p99"), "p99 under 10 ms", times);
    }
    Ok(())
}

async fn gets(core: &Core<'_>, instances: usize, figures: &mut Figures) -> Result<()> {
    let paths = (0..instances).map(|number| format!("/v1/instances/{}", instance_name(number))).collect();
    let (measured, core_took) = call(core, paths, CALLERS).await?;
    let rate = measured.requests / CALLING.as_secs();
    figures.note(format!("get of one instance, {CALLERS} callers"), "5000 /s", format!("{rate} /s"));
    let each = core_took.as_micros() as u64 / measured.requests.max(1);
    figures.note("  processor time of the core for each", "200 µs", format!("{each} µs"));
    let own = measured.own_us / measured.requests.max(1);
    figures.note("  processor time of the caller for each", "", format!("{own} µs"));
    Ok(())
}

async fn accepts(client: &Arc<Client>, figures: &mut Figures) -> Result<()> {
    made::<Network>(client, json!({ "name": "room", "spec": { "subnet": "10.64.0.0/20" } })).await?;
    let mut times = Vec::new();
    for number in 0..LATE {
        let body = instance(&format!("late-{number}"), "room");
        let began = Instant::now();
        made::<Instance>(client, body).await?;
        times.push(began.elapsed());
    }
    let [middle, most] = [0.5, 0.99].map(|share| quantile_ms(&mut times, share));
    figures.note("accept of one more: p50, p99", "p99 under 50 ms", format!("{middle:.1}, {most:.1} ms"));
    until("the last are ready", async || is_idle(client).await).await
}

fn ms(microseconds: u64) -> String {
    format!("{:.1} ms", microseconds as f64 / 1e3)
}
