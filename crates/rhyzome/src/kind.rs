//! The kinds of resources: each a module with what is valid, what it refers to, what it takes, and its steps.

mod image;
mod instance;
mod network;
mod peer;

use api::{Condition, Fault, Kind, State, Timestamp};
use store::{Caller, NewResource, ResourceRow, Session, StoreError, Write};
use types::{ResourceId, ResourceName, Tags, TenantName};

use crate::core::Core;
use crate::executor::Step;
use crate::refusal::Refusal;

/// The form that this release writes specs in.
pub const SPEC_VERSION: u32 = 1;

/// What a caller asks for, taken apart.
pub struct Asked<K: Kind> {
    /// The name.
    pub name: ResourceName,
    /// Tags.
    pub tags: Tags,
    /// The spec.
    pub spec: K::Spec,
    /// What is neither: a secret that no spec holds.
    pub secret: Option<types::SecretText>,
}

/// Where a kind's rules look things up and take things from.
pub struct Ground<'a, 'store> {
    /// The core.
    pub core: &'a Core,
    /// The transaction of the request.
    pub session: &'a mut Session<'store, Write>,
    /// Who asks.
    pub caller: &'a Caller,
    /// For which tenant.
    pub tenant: &'a TenantName,
}

/// What the core has to know of a kind.
pub trait Managed: Kind + utoipa::ToSchema {
    /// What a create does.
    const CREATE: &'static [Step];
    /// What an update does.
    const UPDATE: &'static [Step];
    /// What a delete does.
    const DELETE: &'static [Step];

    /// A fresh id.
    fn make_id(unix_ms: u64) -> Result<Self::Id, types::IdError>;

    /// Takes a create's body apart.
    fn asked(body: Self::Create) -> Asked<Self>;

    /// Finds what the spec refers to by name, fills in what has a fixed default, and collects every fault.
    async fn check(
        ground: &mut Ground<'_, '_>,
        asked: &mut Asked<Self>,
        faults: &mut Vec<Fault>,
    ) -> Result<(), Refusal>;

    /// Collects what an update may not change.
    fn compare(before: &Self::Spec, after: &mut Self::Spec, faults: &mut Vec<Fault>);

    /// Takes what a new resource needs out of the pools, and gives its first status. The row is there already.
    async fn allot(ground: &mut Ground<'_, '_>, id: Self::Id, asked: &mut Asked<Self>)
    -> Result<Self::Status, Refusal>;

    /// What the spec refers to.
    fn references(spec: &Self::Spec) -> Vec<ResourceId>;

    /// The status as callers see it.
    async fn complete_status<Mode: Send>(
        session: &mut Session<'_, Mode>,
        row: &ResourceRow,
        status: Self::Status,
    ) -> Result<Self::Status, StoreError>;

    /// Puts the envelope together.
    fn assemble(row: ResourceRow, parts: Parts<Self>) -> Self;
}

/// The typed parts of a resource's row.
pub struct Parts<K: Kind> {
    /// The id.
    pub id: K::Id,
    /// What was asked.
    pub spec: K::Spec,
    /// What was observed.
    pub status: K::Status,
    /// Where it is in its life.
    pub state: State,
    /// What is true of it.
    pub conditions: Vec<Condition>,
}

/// A resource as callers see it.
pub async fn present<K: Managed, Mode: Send>(
    session: &mut Session<'_, Mode>,
    row: ResourceRow,
) -> Result<K, StoreError> {
    let corrupt = |detail: String| StoreError::Corrupt { column: "resource", detail };
    let status = crate::render::read("status.body", row.status.clone())?;
    let status = K::complete_status(session, &row, status).await?;
    let parts = Parts {
        id: row.id.to_string().parse().map_err(|error: types::ParseError| corrupt(error.to_string()))?,
        spec: crate::render::read("resource.spec", row.spec.clone())?,
        status,
        state: serde_json::from_value(serde_json::Value::String(row.state.clone()))
            .map_err(|error| corrupt(error.to_string()))?,
        conditions: row
            .conditions
            .iter()
            .map(|condition| Condition {
                name: condition.name.clone(),
                holds: condition.holds,
                reason: condition.reason.clone(),
                since: Timestamp::from_unix_ms(condition.since),
            })
            .collect(),
    };
    Ok(K::assemble(row, parts))
}

/// The references of a spec whose kind is known by the id.
pub fn references(resource: ResourceId, spec: &serde_json::Value) -> Result<Vec<ResourceId>, StoreError> {
    fn of<K: Managed>(spec: &serde_json::Value) -> Result<Vec<ResourceId>, StoreError> {
        Ok(K::references(&crate::render::read("operation.previous_spec", spec.clone())?))
    }
    match resource {
        ResourceId::Network(_) => of::<api::Network>(spec),
        ResourceId::Instance(_) => of::<api::Instance>(spec),
        ResourceId::Image(_) => of::<api::Image>(spec),
        ResourceId::Peer(_) => of::<api::Peer>(spec),
    }
}

/// A row to be added.
pub fn new_row<'a, K: Managed>(
    id: K::Id,
    tenant: &'a TenantName,
    asked: &'a Asked<K>,
    spec: &'a serde_json::Value,
    status: &'a serde_json::Value,
) -> NewResource<'a> {
    NewResource {
        id: id.into(),
        tenant,
        kind: K::NOUN,
        name: &asked.name,
        tags: &asked.tags,
        spec_version: SPEC_VERSION,
        spec,
        status,
    }
}

/// Puts an id in the place of a name; a fault where there is no such resource.
async fn resolve<K: Managed>(
    ground: &mut Ground<'_, '_>,
    reference: &mut api::Reference<K::Id>,
    field: &str,
    faults: &mut Vec<Fault>,
) -> Result<Option<(K::Id, ResourceRow)>, Refusal> {
    let found = match &*reference {
        api::Reference::Id(id) => Ok((*id).into()),
        api::Reference::Name(name) => ground.session.resource_named(ground.caller, ground.tenant, K::NOUN, name).await,
    };
    let row = match found {
        Ok(id) => ground.session.resource(ground.caller, id).await,
        Err(error) => Err(error),
    };
    match row {
        Ok(row) if row.state == "deleting" => {
            faults.push(Fault::new(field, format!("{} {} is being deleted", K::NOUN, row.name)));
            Ok(None)
        }
        Ok(row) => {
            let id: K::Id = row.id.to_string().parse().map_err(|error: types::ParseError| StoreError::Corrupt {
                column: "resource.id",
                detail: error.to_string(),
            })?;
            *reference = api::Reference::Id(id);
            Ok(Some((id, row)))
        }
        Err(StoreError::NotFound { .. }) => {
            faults.push(Fault::new(field, format!("there is no {} {reference}", K::NOUN)));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The envelope's fields, for [`Managed::assemble`].
macro_rules! assemble {
    () => {
        fn assemble(row: store::ResourceRow, parts: super::Parts<Self>) -> Self {
            Self {
                id: parts.id,
                tenant: row.tenant,
                name: row.name,
                tags: row.tags,
                generation: row.generation,
                spec: parts.spec,
                status: parts.status,
                state: parts.state,
                conditions: parts.conditions,
                created_at: api::Timestamp::from_unix_ms(row.created_at),
                updated_at: api::Timestamp::from_unix_ms(row.updated_at),
            }
        }
    };
}
use assemble;
