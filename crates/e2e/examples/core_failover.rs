//! Prints how soon a core goes on with the work of another that was killed. Both are over one PostgreSQL, behind a
//! balancer that knows who listens; routers and hypervisors are `rhyzome-sim`'s and reach whichever the balancer gives.

#[path = "measured/core.rs"]
mod core;
#[path = "measured/table.rs"]
mod table;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use api::{Network, OperationState};
use serde_json::json;
use testbed::{Engine, Ground};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::core::{Core, made, until};

/// Operations under way when the core is killed.
const OPERATIONS: usize = 50;
/// How long the router takes for what it is told, so that operations are under way at that moment; not the core's.
const ROUTER: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() -> Result<()> {
    pki::install_provider();
    let (dir, ground) = (tempfile::tempdir()?, Ground::new(Engine::Postgres).await);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let jobs = json!({ "listen": core::free_address()?, "url": format!("https://{}", listener.local_addr()?) });
    let mut first = Core::start(dir.path(), json!({ "database": ground.setting(), "jobs": jobs })).await?;
    let second = first.start_beside().await?;
    let mut balancer = JoinSet::new();
    balancer.spawn(balance(listener, [first.jobs, second.jobs]));
    let slow = json!({ "delay_ms": ROUTER.as_millis() as u64 });
    let scenario = json!({ "orders": [{ "targets": "router-*", "do": { "faults": slow } }] });
    let _simulation = first.simulate_with(3, 1, &scenario).await?;

    let mut operations = Vec::new();
    for number in 0..OPERATIONS {
        let body = serde_json::from_value(json!({ "name": format!("network-{number}"), "spec": {} }))?;
        operations.push(first.client.create::<Network>(&body).await?.operation);
    }
    until("an operation is done", async || {
        Ok(first.client.operation(operations[0]).await?.state == OperationState::Succeeded)
    })
    .await?;
    first.kill();
    let killed = Instant::now();
    for operation in operations {
        loop {
            let found = second.client.operation(operation).await?;
            if found.state.is_final() {
                ensure!(found.state == OperationState::Succeeded, "{:?}", found.reason);
                break;
            }
            sleep(LOOK).await;
        }
    }
    let gone_on = killed.elapsed();
    let asked = Instant::now();
    made::<Network>(&second.client, json!({ "name": "afterwards", "spec": {} })).await?;
    let figure = format!("one of two cores is killed, {OPERATIONS} operations under way: all done");
    table::row(&figure, "under 10 s", "", &format!("{:.1} s", gone_on.saturating_sub(ROUTER).as_secs_f64()));
    let accepted = format!("{:.0} ms", asked.elapsed().as_secs_f64() * 1e3);
    table::row("  accept of one more after that", "", "", &accepted);
    Ok(())
}

/// Passes connections on to the first that listens.
async fn balance(listener: TcpListener, cores: [SocketAddr; 2]) {
    let mut passed = JoinSet::new();
    while let Ok((mut agent, _)) = listener.accept().await {
        passed.spawn(async move {
            for core in cores {
                if let Ok(mut core) = TcpStream::connect(core).await {
                    let _ = tokio::io::copy_bidirectional(&mut agent, &mut core).await;
                    return;
                }
            }
        });
    }
}
