//! A router or hypervisor that its agent cannot read: whoever waits is told why, and nothing is judged missing.

use std::sync::Arc;

use api::{Accepted, Network, State};
use jobs::Object;
use jobs::simulated::Simulated;
use serde_json::json;

use crate::installation::{Installation, named, succeeded, until};
use crate::lifecycle::{network, upload};
use crate::placement;

const WHY: &str = "login of \"rhyzome\" refused";

/// An agent that cannot read its target from its start on.
async fn blind(installation: &mut Installation, kind: &str, target: Simulated) -> Arc<Simulated> {
    let target = Arc::new(target);
    target.state().unreadable = Some(WHY.to_owned());
    installation.agent(kind, kind, &target).await;
    target
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_router_that_cannot_be_read_is_told_why() {
    let mut installation = Installation::start().await;
    let router = blind(&mut installation, "router", Simulated::router()).await;
    let client = installation.client("tester");
    let body = serde_json::from_value(json!({"name": "home"})).unwrap();
    let asked: Accepted<Network> = client.create(&body).await.unwrap();
    let told = until("the reason", async || client.operation(asked.operation).await.unwrap().reason).await;
    assert_eq!(told, format!("router router: {WHY}"));
    let waiting: Network = client.get(&named::<Network>("home")).await.unwrap();
    let reachable = waiting.conditions.iter().find(|condition| condition.name == "reachable").unwrap();
    assert_eq!((reachable.holds, reachable.reason.as_deref()), (false, Some(told.as_str())));
    let agent = client.agents().await.unwrap().items.remove(0);
    assert_eq!((agent.connected, agent.trouble.as_deref()), (true, Some(WHY)));
    let (well, printed) = installation.admin(&["doctor"]).await;
    assert!(!well && printed.contains(WHY), "{printed}");
    assert!(router.state().receipts.is_empty(), "what it holds is not known");

    router.state().unreadable = None;
    succeeded(&client, asked.operation).await;
    let home: Network = client.get(&named::<Network>("home")).await.unwrap();
    let reachable = home.conditions.iter().find(|condition| condition.name == "reachable").unwrap();
    assert!(reachable.holds, "{reachable:?}");
    assert_eq!(client.agents().await.unwrap().items[0].trouble, None);
    let (well, printed) = installation.admin(&["doctor"]).await;
    assert!(well, "{printed}");
}

/// Its networks would be made anew, its instances would have lost their disks, and orphans would be forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_not_missing() {
    let mut installation = Installation::start().await;
    let router = Arc::new(Simulated::router());
    installation.agent("router", "router", &router).await;
    let client = installation.client("tester");
    let home = network(&client, "home").await;
    installation.stop_agents().await;
    let received = router.state().receipts.len();
    let held = router.state().objects.clone();

    router.state().unreadable = Some(WHY.to_owned());
    installation.agent("router", "router", &router).await;
    until("the network to be out of reach", async || {
        let home: Network = client.get(&named::<Network>("home")).await.unwrap();
        home.conditions
            .iter()
            .any(|condition| condition.reason.as_deref().is_some_and(|said| said.ends_with(WHY)))
            .then_some(())
    })
    .await;
    // What is asked meanwhile waits.
    let asked = client.create::<Network>(&serde_json::from_value(json!({"name": "later"})).unwrap()).await.unwrap();
    let readings = router.state().readings;
    until("another look", async || (router.state().readings > readings).then_some(())).await;
    assert_eq!(router.state().receipts.len(), received);
    assert_eq!(router.state().objects, held);
    assert_eq!(client.get::<Network>(&named::<Network>("home")).await.unwrap().state, State::Ready);

    router.state().unreadable = None;
    succeeded(&client, asked.operation).await;
    let handed: Vec<Object> = router.state().receipts[received..].iter().map(|receipt| receipt.object).collect();
    assert!(!handed.contains(&Object::Network(home.id)), "it was there all the time");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_placed_on_a_hypervisor_that_cannot_be_read() {
    let mut installation = Installation::start().await;
    installation.agent("router", "router", &Arc::new(Simulated::router())).await;
    let client = installation.client("tester");
    network(&client, "home").await;
    upload(&client, "tiny").await;
    let asked = placement::create(&client, "hello", None).await;
    assert!(asked.resource.status.address.is_some(), "whoever waits keeps its address");
    placement::waits(&client, &asked, "no hypervisor is connected").await;
    let host = blind(&mut installation, "hypervisor", Simulated::hypervisor()).await;
    placement::waits(&client, &asked, &format!("no hypervisor can be worked: hypervisor hypervisor: {WHY}")).await;
    host.state().unreadable = None;
    succeeded(&client, asked.operation).await;
}
