//! Several hypervisors: where instances go, and what becomes of them when a hypervisor is drained or lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::agent::Takes;
use api::{Accepted, Instance, OperationState, State};
use jobs::observed::{Capacity, PowerState};
use jobs::simulated::Simulated;
use jobs::{Object, Outcome, observed};
use serde_json::json;
use types::{InstanceId, TargetId};

use crate::installation::{Installation, named, succeeded, until};
use crate::lifecycle::{network, upload, with_router};

/// A hypervisor with room for so many of the instances that these tests make.
fn host(instances: u32) -> Arc<Simulated> {
    let capacity = Capacity {
        vcpus: Some(instances),
        memory: (i64::from(instances) * 1024).try_into().ok(),
        disk_bytes: Some(1 << 40),
        ..Capacity::default()
    };
    Arc::new(Simulated::hypervisor().with_capacity(capacity))
}

/// A core with a router, a network `home` and an image `tiny`, and these hypervisors.
async fn with_hosts(hosts: &[(&str, &Arc<Simulated>)]) -> (Installation, api::Client) {
    let (mut installation, _router, client) = with_router().await;
    for (name, host) in hosts {
        installation.agent("hypervisor", name, host).await;
    }
    network(&client, "home").await;
    upload(&client, "tiny").await;
    (installation, client)
}

pub async fn create(client: &api::Client, name: &str, group: Option<&str>) -> Accepted<Instance> {
    let tags = group.map_or(json!({}), |group| json!({"group": group}));
    let body = json!({"name": name, "tags": tags, "spec": {"network": "home", "image": "tiny", "memory_mib": 1024}});
    client.create::<Instance>(&serde_json::from_value(body).unwrap()).await.unwrap()
}

async fn placed(client: &api::Client, name: &str) -> TargetId {
    client.get::<Instance>(&named::<Instance>(name)).await.unwrap().status.hypervisor.unwrap()
}

async fn target(client: &api::Client, name: &str) -> api::Agent {
    client.agents().await.unwrap().items.into_iter().find(|agent| agent.name == name).unwrap()
}

pub async fn waits(client: &api::Client, accepted: &Accepted<Instance>, reason: &str) {
    until(&format!("the operation to wait: {reason}"), async || {
        let operation = client.operation(accepted.operation).await.unwrap();
        operation.reason.is_some_and(|said| said.contains(reason)).then_some(())
    })
    .await;
}

async fn admin(installation: &Installation, arguments: &[&str]) -> String {
    let config = installation.file("rhyzome.json").display().to_string();
    installation.command(&[&["admin", "target"], arguments, &["--config", &config]].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_spread() {
    let (big, small) = (host(8), host(2));
    let (_installation, client) = with_hosts(&[("big", &big), ("small", &small)]).await;
    let mut hosts = BTreeSet::new();
    for name in ["one", "two"] {
        succeeded(&client, create(&client, name, Some("pair")).await.operation).await;
        hosts.insert(placed(&client, name).await);
    }
    assert_eq!(hosts.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_at_once_does_not_share_one_place() {
    let small = host(2);
    let (mut installation, client) = with_hosts(&[("small", &small)]).await;
    let names = ["a", "b", "c", "d", "e"];
    let accepted = futures_util::future::join_all(names.map(|name| create(&client, name, None))).await;
    let reason = "no hypervisor has room: needs 1 processor, 1024 MiB of memory";
    until("all but two to wait", async || {
        let mut waiting = 0;
        for accepted in &accepted {
            let operation = client.operation(accepted.operation).await.unwrap();
            waiting += usize::from(operation.reason.is_some_and(|said| said.starts_with(reason)));
        }
        (waiting == 3).then_some(())
    })
    .await;
    let machines =
        |host: &Simulated| host.state().objects.keys().filter(|object| matches!(object, Object::Instance(_))).count();
    until("two to be there", async || (machines(&small) == 2).then_some(())).await;
    let addresses: BTreeSet<_> = accepted.iter().map(|accepted| accepted.resource.status.address.unwrap()).collect();
    assert_eq!(addresses.len(), 5, "whoever waits keeps its address");

    let other = host(8);
    installation.agent("hypervisor", "other", &other).await;
    for accepted in &accepted {
        succeeded(&client, accepted.operation).await;
    }
    assert_eq!((machines(&small), machines(&other)), (2, 3));
    // More memory than there is left is refused, and the instance stays as it was.
    let name = named::<Instance>("a");
    let grown = client.update::<Instance>(&name, &json!({"spec": {"memory_mib": 16384}})).await.unwrap();
    let operation = crate::installation::ended(&client, grown.operation).await;
    assert_eq!(operation.state, OperationState::Failed);
    assert!(operation.reason.unwrap().contains("no room"));
    let kept: Instance = client.get(&name).await.unwrap();
    assert_eq!((kept.state, i64::from(kept.spec.memory_mib)), (State::Ready, 1024));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_hypervisor_takes_nothing_more() {
    let only = host(8);
    let (installation, client) = with_hosts(&[("only", &only)]).await;
    succeeded(&client, create(&client, "stays", None).await.operation).await;
    let said = admin(&installation, &["drain", "only"]).await;
    assert!(said.contains("local/stays"), "{said}");
    assert_eq!(target(&client, "only").await.takes, Takes::Drained);
    let accepted = create(&client, "waits", None).await;
    waits(&client, &accepted, "every hypervisor that is connected is drained").await;
    let listed = admin(&installation, &["list"]).await;
    assert!(listed.contains("drained") && listed.contains("1024/8192 MiB"), "{listed}");
    admin(&installation, &["undrain", "only"]).await;
    succeeded(&client, accepted.operation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_was_declared_lost_is_replaced() {
    let (first, second) = (host(8), host(8));
    let (mut installation, client) = with_hosts(&[("first", &first)]).await;
    let created = create(&client, "hello", None).await;
    let id: InstanceId = created.resource.id;
    succeeded(&client, created.operation).await;
    installation.stop_agent("first").await;
    installation.agent("hypervisor", "second", &second).await;
    let old = target(&client, "first").await.target;

    // A hypervisor that is merely away keeps what it has: a change waits for it.
    let stopped = client.update::<Instance>(&named::<Instance>("hello"), &json!({"spec": {"vcpus": 2}})).await.unwrap();
    until("the change to wait for its hypervisor", async || {
        let operation = client.operation(stopped.operation).await.unwrap();
        operation.reason.is_some_and(|said| said.contains("not connected")).then_some(())
    })
    .await;
    let away: Instance = client.get(&named::<Instance>("hello")).await.unwrap();
    let reachable = away.conditions.iter().find(|condition| condition.name == "reachable").unwrap();
    assert!(!reachable.holds, "{reachable:?}");
    assert_eq!(reachable.reason.as_deref(), Some("the agent of hypervisor first is not connected"));
    assert_eq!(placed(&client, "hello").await, old);
    assert!(!second.state().objects.contains_key(&Object::Instance(id)));

    let said = admin(&installation, &["lost", "first", "--yes"]).await;
    assert!(said.contains("1 instances start elsewhere"), "{said}");
    second.until(|state| state.objects.contains_key(&Object::Instance(id))).await;
    let moved = until("the instance to be ready elsewhere", async || {
        let hello: Instance = client.get(&named::<Instance>("hello")).await.unwrap();
        (hello.state == State::Ready && hello.status.guest.is_some()).then_some(hello)
    })
    .await;
    assert_eq!(moved.status.hypervisor, Some(target(&client, "second").await.target));
    assert_eq!(moved.status.address, created.resource.status.address);
    assert!(moved.conditions.iter().all(|condition| condition.name != "reachable"), "who has it is connected");
    assert_eq!(client.operation(stopped.operation).await.unwrap().state, OperationState::Cancelled);

    // It comes back: what it held is gone, and nobody believes what it says of it.
    assert!(first.state().objects.contains_key(&Object::Instance(id)));
    first.answer(Object::Instance(id), &[Outcome::Retrying]);
    installation.agent("hypervisor", "first", &first).await;
    first.until(|state| state.receipts.iter().any(|receipt| receipt.gone)).await;
    let failed = observed::Instance { power: PowerState::Failed, accelerator: None, guest: None, lost: None };
    first.observe(Object::Instance(id), &failed).await;
    first.until(|state| state.objects.is_empty()).await;
    let hello: Instance = client.get(&named::<Instance>("hello")).await.unwrap();
    assert_eq!(hello.status.power, Some(api::instance::PowerState::Running));
    assert_eq!(target(&client, "first").await.takes, Takes::Lost);
    until("its tombstones to be confirmed", async || (target(&client, "first").await.pending_jobs == 0).then_some(()))
        .await;
    admin(&installation, &["undrain", "first"]).await;
    assert_eq!(target(&client, "first").await.takes, Takes::All);
    succeeded(&client, client.delete::<Instance>(&named::<Instance>("hello")).await.unwrap().operation).await;
    second.until(|state| !state.objects.contains_key(&Object::Instance(id))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_does_not_wait_for_who_is_lost() {
    let (first, second) = (host(8), host(8));
    let (mut installation, client) = with_hosts(&[("first", &first)]).await;
    let created = create(&client, "hello", None).await;
    succeeded(&client, created.operation).await;
    installation.stop_agent("first").await;
    installation.agent("hypervisor", "second", &second).await;
    let deleted = client.delete::<Instance>(&named::<Instance>("hello")).await.unwrap();
    until("the delete to wait for its hypervisor", async || {
        let operation = client.operation(deleted.operation).await.unwrap();
        operation.reason.is_some_and(|said| said.contains("not connected")).then_some(())
    })
    .await;
    admin(&installation, &["lost", "first", "--yes"]).await;
    succeeded(&client, deleted.operation).await;
    installation.agent("hypervisor", "first", &first).await;
    first.until(|state| state.objects.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_whose_disk_is_missing_has_failed_and_is_not_made_anew() {
    let only = host(8);
    let (_installation, client) = with_hosts(&[("only", &only)]).await;
    let created = create(&client, "hello", None).await;
    succeeded(&client, created.operation).await;
    let (object, name) = (Object::Instance(created.resource.id), named::<Instance>("hello"));
    let made = only.state().objects[&object].clone();
    let reason = "its disk is missing; it is never made anew";
    let seen = |lost: Option<&str>| observed::Instance {
        power: PowerState::Failed,
        accelerator: None,
        guest: None,
        lost: lost.map(str::to_owned),
    };
    only.observe(object, &seen(Some(reason))).await;
    let failed = until("the instance to be failed", async || {
        let hello: Instance = client.get(&name).await.unwrap();
        (hello.state == State::Failed).then_some(hello)
    })
    .await;
    let intact = failed.conditions.iter().find(|condition| condition.name == "intact").unwrap();
    assert_eq!(intact.reason.as_deref(), Some(reason));
    assert_eq!(failed.status.address, created.resource.status.address, "it keeps what it has");
    let update = client.update::<Instance>(&name, &json!({"spec": {"vcpus": 2}})).await;
    assert!(update.err().unwrap().to_string().contains("it has failed"));
    assert_eq!(only.state().objects[&object], made);
    assert_eq!(only.state().receipts.iter().filter(|receipt| receipt.object == object).count(), 1);

    // Somebody puts the disk back.
    only.observe(object, &seen(None)).await;
    until("the instance to be ready", async || {
        let hello: Instance = client.get(&name).await.unwrap();
        (hello.state == State::Ready).then_some(())
    })
    .await;
    only.observe(object, &seen(Some(reason))).await;
    succeeded(&client, client.delete::<Instance>(&name).await.unwrap().operation).await;
    only.until(|state| !state.objects.contains_key(&object)).await;
}
