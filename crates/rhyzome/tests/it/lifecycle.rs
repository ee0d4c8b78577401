//! Resources from their first request to their end.

use std::sync::Arc;

use api::{Image, ImageCreate, Instance, Network, OperationState, Peer, State};
use jobs::simulated::Simulated;
use jobs::{Object, Outcome};
use serde_json::json;
use sha2::{Digest, Sha256};
use types::Sha256Digest;

use crate::installation::{Installation, ended, named, qcow2, succeeded, until};

/// A core with a simulated router, and somebody who may do everything.
pub async fn with_router() -> (Installation, Arc<Simulated>, api::Client) {
    let mut installation = Installation::start().await;
    let router = Arc::new(Simulated::router());
    installation.agent("router", "router", &router).await;
    let client = installation.client("tester");
    (installation, router, client)
}

/// A simulated hypervisor joins.
async fn join_hypervisor(installation: &mut Installation) -> Arc<Simulated> {
    let hypervisor = Arc::new(Simulated::hypervisor());
    installation.agent("hypervisor", "host", &hypervisor).await;
    hypervisor
}

pub async fn upload(client: &api::Client, name: &str) {
    let bytes = qcow2();
    let sha256 = Sha256Digest::from_bytes(Sha256::digest(&bytes).into());
    let body: ImageCreate = serde_json::from_value(json!({"name": name, "spec": {"sha256": sha256}})).unwrap();
    let accepted = client.create::<Image>(&body).await.unwrap();
    let length = bytes.len() as u64;
    client.upload(accepted.resource.id, length, futures_util::stream::iter([Ok(bytes)])).await.unwrap();
    succeeded(client, accepted.operation).await;
}

pub async fn network(client: &api::Client, name: &str) -> Network {
    let body = serde_json::from_value(json!({"name": name})).unwrap();
    let accepted = client.create::<Network>(&body).await.unwrap();
    assert_eq!(accepted.resource.state, State::Creating);
    succeeded(client, accepted.operation).await;
    client.get(&named::<Network>(name)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_life() {
    let (mut installation, router, client) = with_router().await;
    let hypervisor = join_hypervisor(&mut installation).await;

    let home = network(&client, "home").await;
    assert_eq!(home.state, State::Ready);
    assert_eq!(home.spec.subnet.unwrap().to_string(), "10.64.0.0/24");
    assert!(router.state().objects.contains_key(&Object::Network(home.id)));

    upload(&client, "tiny").await;
    let body = json!({"name": "hello", "spec": {"network": "home", "image": "tiny"}, "user_data": "#!/bin/sh\ntrue\n"});
    let accepted = client.create::<Instance>(&serde_json::from_value(body).unwrap()).await.unwrap();
    assert_eq!(accepted.resource.status.address.unwrap().to_string(), "10.64.0.101", "known before it boots");
    let operation = succeeded(&client, accepted.operation).await;
    let steps: Vec<&str> = operation.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(steps, ["place", "segment", "image", "lease", "machine"]);
    let hello = until("the guest to report", async || {
        let hello: Instance = client.get(&named::<Instance>("hello")).await.unwrap();
        hello.status.guest.is_some().then_some(hello)
    })
    .await;
    assert_eq!(hello.state, State::Ready);
    let lease_desired = router.state().objects[&Object::Network(home.id)].1.clone();
    assert!(lease_desired.contains("10.64.0.101"), "{lease_desired}");
    let machine = hypervisor.state().objects[&Object::Instance(hello.id)].1.clone();
    assert!(machine.contains("#!/bin/sh"), "the secret is resolved on its way: {machine}");

    let peer = json!({"name": "phone", "spec": {
        "public_key": "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=", "networks": ["home"]}});
    let accepted = client.create::<Peer>(&serde_json::from_value(peer).unwrap()).await.unwrap();
    succeeded(&client, accepted.operation).await;
    let phone: Peer = client.get(&named::<Peer>("phone")).await.unwrap();
    assert_eq!(phone.status.networks.len(), 1);
    assert_eq!(phone.status.networks[0].public_key, home.status.wireguard_public_key.unwrap());

    let refused = client.delete::<Network>(&named::<Network>("home")).await.unwrap_err().to_string();
    assert!(refused.contains("hello") && refused.contains("phone"), "{refused}");

    let stopped = client.update::<Instance>(&named::<Instance>("hello"), &json!({"spec": {"power": "stopped"}})).await;
    succeeded(&client, stopped.unwrap().operation).await;
    let restarted = client.restart(&named::<Instance>("hello")).await.unwrap();
    assert_eq!(restarted.resource.spec.restarts, 1);
    succeeded(&client, restarted.operation).await;

    for operation in [
        client.delete::<Peer>(&named::<Peer>("phone")).await.unwrap().operation,
        client.delete::<Instance>(&named::<Instance>("hello")).await.unwrap().operation,
    ] {
        succeeded(&client, operation).await;
    }
    for operation in [
        client.delete::<Network>(&named::<Network>("home")).await.unwrap().operation,
        client.delete::<Image>(&named::<Image>("tiny")).await.unwrap().operation,
    ] {
        succeeded(&client, operation).await;
    }
    assert_eq!(router.state().objects.len(), 0);
    assert_eq!(hypervisor.state().objects.len(), 0);
    assert!(client.list::<Network>().await.unwrap().is_empty());
    assert!(!installation.log().contains("#!/bin/sh"), "no user-data in the log");
    let left = std::fs::read_dir(installation.file("data/images")).unwrap().count();
    assert_eq!(left, 0, "the image's file goes with the last image that has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_takes_everything_back() {
    let (mut installation, router, client) = with_router().await;
    let hypervisor = join_hypervisor(&mut installation).await;
    let home = network(&client, "home").await;
    upload(&client, "tiny").await;

    let body = json!({"name": "hello", "spec": {"network": "home", "image": "tiny"}});
    router.close();
    let accepted = client.create::<Instance>(&serde_json::from_value(body).unwrap()).await.unwrap();
    hypervisor.answer(Object::Instance(accepted.resource.id), &[Outcome::Refused]);
    router.open();
    let operation = ended(&client, accepted.operation).await;
    assert_eq!(operation.state, OperationState::Failed);
    let hello: Instance = client.get(&named::<Instance>("hello")).await.unwrap();
    assert_eq!(hello.state, State::Failed);
    router.until(|state| !state.objects[&Object::Network(home.id)].1.contains("10.64.0.101")).await;
    hypervisor.until(|state| !state.objects.contains_key(&Object::Segment(home.id))).await;

    let gone = client.delete::<Instance>(&named::<Instance>("hello")).await.unwrap();
    succeeded(&client, gone.operation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_update_returns_to_the_old_spec() {
    let (_installation, router, client) = with_router().await;
    let home = network(&client, "home").await;

    router.answer(Object::Network(home.id), &[Outcome::Refused]);
    let accepted = client.update::<Network>(&named::<Network>("home"), &json!({"spec": {"mtu": 1400}})).await.unwrap();
    let operation = ended(&client, accepted.operation).await;
    assert_eq!(operation.state, OperationState::Failed);
    let home: Network = client.get(&named::<Network>("home")).await.unwrap();
    assert_eq!((home.state, home.spec.mtu.get()), (State::Ready, 1500));
    router.until(|state| state.objects[&Object::Network(home.id)].1.contains("\"mtu\":1500")).await;

    let accepted = client.update::<Network>(&named::<Network>("home"), &json!({"spec": {"mtu": 1400}})).await.unwrap();
    succeeded(&client, accepted.operation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_yet_waits_and_says_so() {
    let (mut installation, _router, client) = with_router().await;
    network(&client, "home").await;
    upload(&client, "tiny").await;

    let body = json!({"name": "hello", "spec": {"network": "home", "image": "tiny"}});
    let accepted = client.create::<Instance>(&serde_json::from_value(body).unwrap()).await.unwrap();
    until("the operation to say what it waits for", async || {
        let operation = client.operation(accepted.operation).await.unwrap();
        (operation.reason.as_deref() == Some("no hypervisor is connected")).then_some(())
    })
    .await;
    join_hypervisor(&mut installation).await;
    succeeded(&client, accepted.operation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_core_goes_on_where_it_stood() {
    let (mut installation, router, client) = with_router().await;
    router.close();
    let body = serde_json::from_value(json!({"name": "home"})).unwrap();
    let accepted = client.create::<Network>(&body).await.unwrap();
    until("the step to begin", async || {
        let operation = client.operation(accepted.operation).await.unwrap();
        (operation.state == OperationState::Running).then_some(())
    })
    .await;
    installation.kill_core().await;
    router.open();
    installation.start_core().await;
    let client = installation.client("tester");
    succeeded(&client, accepted.operation).await;
    assert_eq!(client.list::<Network>().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_comes_before_everything_else() {
    let (_installation, router, client) = with_router().await;
    router.close();
    let body = serde_json::from_value(json!({"name": "home"})).unwrap();
    let created = client.create::<Network>(&body).await.unwrap();
    let deleted = client.delete::<Network>(&named::<Network>("home")).await.unwrap();
    router.open();
    succeeded(&client, deleted.operation).await;
    let created = client.operation(created.operation).await.unwrap();
    assert_eq!(created.state, OperationState::Cancelled);
    assert_eq!(router.state().objects.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_everything_and_resume() {
    use futures_util::StreamExt;

    let (_installation, _router, client) = with_router().await;
    let mut live = Box::pin(client.events(None).await.unwrap());
    network(&client, "home").await;
    let first = live.next().await.unwrap().unwrap();
    assert_eq!((first.kind.as_str(), first.name.as_str()), ("network", "home"));
    let mut last = first.clone();
    while last.state != State::Ready {
        last = live.next().await.unwrap().unwrap();
    }
    let mut resumed = Box::pin(client.events(Some(first.sequence)).await.unwrap());
    let second = resumed.next().await.unwrap().unwrap();
    assert!(second.sequence > first.sequence && second.sequence <= last.sequence);
}
