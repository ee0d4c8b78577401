//! Several cores over one database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::{Network, OperationState};
use futures_util::StreamExt;
use jobs::simulated::Simulated;
use jobs::{CoreUrl, connection, session};
use serde_json::json;
use testbed::Engine;

use crate::certificate::{enrolled, hello};
use crate::installation::{Installation, engine, named, succeeded, until};

/// How soon another core should have gone on with a dead one's work; told, not asserted, for machines differ.
const FAILOVER: Duration = Duration::from_secs(10);

async fn accept(client: &api::Client, name: &str) -> api::Accepted<Network> {
    client.create::<Network>(&serde_json::from_value(json!({"name": name})).unwrap()).await.unwrap()
}

async fn is_connected(client: &api::Client, name: &str, connected: bool) {
    until(&format!("{name} to be connected: {connected}"), async || {
        let agents = client.agents().await.ok()?.items;
        agents.iter().any(|agent| agent.name == name && agent.connected == connected).then_some(())
    })
    .await;
}

/// The database alone tells this core of it; the agent is told none the less.
async fn a_session_there_ends_the_older_one_here(installation: &Installation, there: &str) {
    let known = enrolled(installation, "twice").await;
    let open = async |core: &CoreUrl| {
        let channel = connection::connect(core, &known.ca, Some(known.certificate.again())).await.unwrap();
        session::open(channel, hello(jobs::PROTOCOL)).await.unwrap()
    };
    let mut older = open(&known.core).await;
    let _newer = open(&there.parse().unwrap()).await;
    let ended = older.incoming.message().await.unwrap_err();
    assert!(ended.message().contains("a newer session"), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_core_goes_on_with_a_dead_ones_work_or_is_refused() {
    let mut installation = Installation::start().await;
    let mut other = installation.replica(None);
    if engine() == Engine::Sqlite {
        let status = other.process.wait().await.unwrap();
        assert_eq!(status.code(), Some(1));
        assert!(installation.log().contains("another rhyzome serve works on"), "SQLite is for one core");
        return;
    }
    let here = installation.client("tester");
    let there = installation.client_of(&other.http, "tester");
    until("the other core to answer", async || there.agents().await.ok()).await;
    a_session_there_ends_the_older_one_here(&installation, &other.jobs).await;
    let (router, hypervisor) = (Arc::new(Simulated::router()), Arc::new(Simulated::hypervisor()));
    installation.agent_of(Some(&other.jobs), "router", "router", &router).await;
    installation.agent("hypervisor", "host", &hypervisor).await;
    is_connected(&there, "host", true).await;
    is_connected(&here, "router", true).await;

    // Asked for here, brought about by an agent that is there, told on both.
    let mut told = Box::pin(there.events(None).await.unwrap());
    let accepted = accept(&here, "home").await;
    succeeded(&here, accepted.operation).await;
    router.close();
    let mut waiting = Vec::new();
    for number in 0..6 {
        waiting.push(accept(&here, &format!("field-{number}")).await.operation);
    }
    for operation in &waiting {
        until("the operation to be claimed", async || {
            let operation = here.operation(*operation).await.unwrap();
            (operation.state == OperationState::Running).then_some(())
        })
        .await;
    }

    installation.kill_core().await;
    let killed = Instant::now();
    router.open();
    for operation in waiting {
        succeeded(&there, operation).await;
    }
    is_connected(&there, "host", false).await;
    println!("the other core went on after {:?} (aim: {FAILOVER:?})", killed.elapsed());
    is_connected(&there, "router", true).await;
    let network: Network = there.get(&named::<Network>("field-5")).await.unwrap();
    assert!(router.state().objects.contains_key(&jobs::Object::Network(network.id)));
    let mut ready = Vec::new();
    while ready.len() < 7 {
        let event = told.next().await.unwrap().unwrap();
        if event.state == api::State::Ready && !ready.contains(&event.name) {
            ready.push(event.name);
        }
    }

    // One that ends in good order leaves nothing to wait for.
    installation.start_core().await;
    is_connected(&here, "host", true).await;
    let pid = nix::unistd::Pid::from_raw(other.process.id().unwrap().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(other.process.wait().await.unwrap().success());
    is_connected(&here, "router", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_can_be_split() {
    let mut installation = Installation::start().await;
    if engine() == Engine::Sqlite {
        installation.kill_core().await;
        assert_eq!(installation.replica(Some("jobs")).process.wait().await.unwrap().code(), Some(1));
        assert!(installation.log().contains("--only splits the core over PostgreSQL"));
        return;
    }
    let (api, agents) = (installation.replica(Some("http")), installation.replica(Some("jobs")));
    let client = installation.client_of(&api.http, "tester");
    until("the API to answer", async || client.agents().await.ok()).await;
    let router = Arc::new(Simulated::router());
    installation.agent_of(Some(&agents.jobs), "router", "router", &router).await;
    installation.kill_core().await;
    let accepted = accept(&client, "home").await;
    succeeded(&client, accepted.operation).await;
    let network: Network = client.get(&named::<Network>("home")).await.unwrap();
    assert!(router.state().objects.contains_key(&jobs::Object::Network(network.id)));
    assert!(installation.client_of(&agents.http, "tester").agents().await.is_err(), "it has no API");
}
