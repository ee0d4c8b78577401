//! A database of its own for one test, and what most tests need in it.

use serde_json::json;
use store::{Caller, NewResource, SecretKey, Session, Store, Write};
use tempfile::TempDir;
use types::{InstanceId, NetworkId, ResourceId, Scopes, TargetId, TenantName, TokenId};

/// A database in a folder that goes with it.
pub struct Ground {
    pub dir: TempDir,
    pub store: Store,
}

impl Ground {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir, 1).await.unwrap();
        Self { dir, store }
    }
}

/// Opens the database with the key whose bytes are all `key`.
pub async fn open(dir: &TempDir, key: u8) -> store::Result<Store> {
    Store::open(&dir.path().join("db.sqlite"), SecretKey::new([key; 32])).await
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
