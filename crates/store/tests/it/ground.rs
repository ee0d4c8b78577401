//! A database of its own for one test, and what most tests need in it.

use serde_json::json;
use store::{Caller, NewResource, Session, Store, Write};
use testbed::Engine;
use types::{InstanceId, NetworkId, ReplicaId, ResourceId, Scopes, TargetId, TenantName, TokenId};

/// A database and the store on it.
pub struct Ground {
    pub store: Store,
    pub place: testbed::Ground,
}

impl Ground {
    pub async fn new() -> Self {
        let place = place().await;
        Self { store: place.open(1).await.unwrap(), place }
    }
}

/// An empty database.
pub async fn place() -> testbed::Ground {
    testbed::Ground::new(Engine::of(env!("CARGO_CRATE_NAME"))).await
}

pub fn tenant(name: &str) -> TenantName {
    name.parse().unwrap()
}

/// Somebody of a tenant with all scopes.
pub fn person(name: &str) -> Caller {
    Caller::person(tenant(name), Scopes::all(), TokenId::from_bits(1))
}

/// A resource of `garden` with an empty spec, named after its id.
pub async fn add(session: &mut Session<'_, Write>, id: impl Into<ResourceId>) -> store::Result<()> {
    let id = id.into();
    let (kind, number) = match id {
        ResourceId::Network(id) => ("network", id.bits()),
        ResourceId::Instance(id) => ("instance", id.bits()),
        ResourceId::Image(id) => ("image", id.bits()),
        ResourceId::Peer(id) => ("peer", id.bits()),
    };
    let (owner, name) = (tenant("garden"), format!("{kind}-{number}").parse().unwrap());
    let resource = NewResource {
        id,
        tenant: &owner,
        kind,
        name: &name,
        tags: &Default::default(),
        spec_version: 1,
        spec: &json!({}),
        status: &json!({}),
    };
    session.add_resource(&person("garden"), &resource).await
}

pub async fn network(session: &mut Session<'_, Write>, number: u64) -> NetworkId {
    let id = NetworkId::from_bits(number);
    add(session, id).await.unwrap();
    id
}

pub async fn instance(session: &mut Session<'_, Write>, number: u64) -> InstanceId {
    let id = InstanceId::from_bits(number);
    add(session, id).await.unwrap();
    id
}

pub async fn router(session: &mut Session<'_, Write>) -> TargetId {
    session.ensure_target(&Caller::core(), &tenant("garden"), "router", "router").await.unwrap()
}

pub async fn replica(session: &mut Session<'_, Write>) -> ReplicaId {
    session.add_replica(&Caller::core(), 60_000).await.unwrap()
}
