//! Segments across hosts: the numbers that targets are told, and what becomes of targets that cannot.

use std::sync::Arc;

use api::OperationState;
use jobs::desired::{self, SegmentKind};
use jobs::observed::Capacity;
use jobs::simulated::Simulated;
use jobs::{Batching, Object};
use serde_json::json;
use types::NetworkId;

use crate::installation::{Installation, ended, succeeded};
use crate::lifecycle::{network, upload};
use crate::placement::{create, waits};

fn router(features: &'static [&'static str], underlay: &str) -> Arc<Simulated> {
    let capacity = Capacity { underlay: underlay.parse().ok(), ..Capacity::default() };
    Arc::new(Simulated::new(features, Batching::Together).with_capacity(capacity))
}

fn host(features: &'static [&'static str], underlay: &str) -> Arc<Simulated> {
    let capacity = Capacity {
        vcpus: Some(4),
        memory: 4096.try_into().ok(),
        disk_bytes: Some(1 << 40),
        underlay: underlay.parse().ok(),
        ..Capacity::default()
    };
    Arc::new(Simulated::new(features, Batching::Each(4)).with_capacity(capacity))
}

/// A core with that setting and that router, and somebody who may do everything.
async fn with_segments(setting: serde_json::Value, router: &Arc<Simulated>) -> (Installation, api::Client) {
    let mut installation = Installation::start_with(|config| config["segments"] = setting).await;
    installation.agent("router", "router", router).await;
    let client = installation.client("tester");
    (installation, client)
}

/// How a host has the segment of a network.
fn carried(host: &Simulated, network: NetworkId) -> Option<SegmentKind> {
    let state = host.state();
    let (_, state) = state.objects.get(&Object::Segment(network))?;
    Some(serde_json::from_str::<desired::SegmentLink>(state).unwrap().kind)
}

fn others(kind: Option<SegmentKind>) -> Vec<String> {
    match kind {
        Some(SegmentKind::Vxlan(vxlan)) => vxlan.remotes.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_on_a_vxlan_knows_all_others() {
    let router = router(&[SegmentKind::VXLAN], "192.0.2.1");
    let (mut installation, client) = with_segments(json!({"kind": "vxlan"}), &router).await;
    let hosts = [host(&[SegmentKind::VXLAN], "192.0.2.11"), host(&[SegmentKind::VXLAN], "192.0.2.12")];
    installation.agent("hypervisor", "first", &hosts[0]).await;
    installation.agent("hypervisor", "second", &hosts[1]).await;
    let home = network(&client, "home").await;
    assert_eq!(home.spec.mtu.get(), 1450, "there is room for what VXLAN adds");
    let routed = |all: &[&str]| {
        let state = router.state();
        let (_, state) = state.objects.get(&Object::Network(home.id)).unwrap();
        let network: desired::Network = serde_json::from_str(state).unwrap();
        let vxlan = network.vxlan.unwrap();
        assert_eq!(vxlan.vni, network.segment.get());
        others(Some(SegmentKind::Vxlan(vxlan))) == all
    };
    assert!(routed(&["192.0.2.1"]));
    upload(&client, "tiny").await;
    for name in ["one", "two"] {
        succeeded(&client, create(&client, name, Some("pair")).await.operation).await;
    }
    let all = ["192.0.2.1", "192.0.2.11", "192.0.2.12"];
    for host in &hosts {
        host.until(|state| state.objects.values().any(|(_, state)| all.iter().all(|one| state.contains(one)))).await;
        assert_eq!(others(carried(host, home.id)), all);
    }
    router
        .until(|state| state.objects.values().any(|(_, state)| state.contains(all[1]) && state.contains(all[2])))
        .await;
    assert!(routed(&all));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_without_the_feature_refuses_by_name() {
    let router = router(&[], "192.0.2.1");
    let (_installation, client) = with_segments(json!({"kind": "vxlan"}), &router).await;
    let body = json!({"name": "home", "spec": {}});
    let accepted = client.create::<api::Network>(&serde_json::from_value(body).unwrap()).await.unwrap();
    let operation = ended(&client, accepted.operation).await;
    assert_eq!(operation.state, OperationState::Failed);
    let reason = operation.reason.unwrap();
    assert!(reason.contains("this agent lacks the feature \"segment-vxlan\""), "{reason}");
    assert!(router.state().objects.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vlan_has_its_number_from_the_segment() {
    let router = router(&[], "192.0.2.1");
    let (mut installation, client) = with_segments(json!({"kind": "vlan", "first_vlan": 1000}), &router).await;
    let (plain, trunk) = (host(&[], "192.0.2.11"), host(&[SegmentKind::VLAN], "192.0.2.12"));
    installation.agent("hypervisor", "plain", &plain).await;
    let home = network(&client, "home").await;
    upload(&client, "tiny").await;
    let accepted = create(&client, "hello", None).await;
    waits(&client, &accepted, "segment-vlan").await;
    installation.agent("hypervisor", "trunk", &trunk).await;
    succeeded(&client, accepted.operation).await;
    assert_eq!(carried(&plain, home.id), None);
    assert_eq!(carried(&trunk, home.id), Some(SegmentKind::Vlan { id: 1000 }), "of the first segment");
}
