//! The kinds of resources: each a module with what is valid, what it refers to, what it takes, and its steps.

mod image;
mod instance;
mod network;
mod peer;

use api::{Condition, Fault, Kind, State, Timestamp};
use store::{Caller, ConditionRow, NewResource, ResourceRow, Session, StoreError, Write};
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
    /// What the suite of operations makes and changes.
    #[cfg(test)]
    const EXAMPLE: Example;

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

    /// Fills in what statuses show of other resources, for a whole page in a bounded number of queries.
    async fn complete<Mode: Send>(
        _session: &mut Session<'_, Mode>,
        _page: &mut [(ResourceRow, Self::Status)],
    ) -> Result<(), StoreError> {
        Ok(())
    }

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
    let missing = StoreError::NotFound { what: row.id.to_string() };
    present_all(session, vec![row]).await?.pop().ok_or(missing)
}

/// Resources as callers see them; the number of queries does not depend on how many there are.
pub async fn present_all<K: Managed, Mode: Send>(
    session: &mut Session<'_, Mode>,
    rows: Vec<ResourceRow>,
) -> Result<Vec<K>, StoreError> {
    let mut page = Vec::with_capacity(rows.len());
    for row in rows {
        let status: K::Status = crate::render::typed("status.body", &row.status)?;
        page.push((row, status));
    }
    K::complete(session, &mut page).await?;
    page.into_iter().map(|(row, status)| envelope(row, status)).collect()
}

fn envelope<K: Managed>(mut row: ResourceRow, status: K::Status) -> Result<K, StoreError> {
    let corrupt = |detail: String| StoreError::Corrupt { column: "resource", detail };
    let mut conditions = std::mem::take(&mut row.conditions);
    if let Some(idle) = row.holder.as_ref().and_then(|holder| holder.idle.as_ref()) {
        let since = idle.last_seen_at.unwrap_or(row.created_at);
        let reason = Some(idle.to_string());
        conditions.retain(|condition| condition.name != "reachable");
        conditions.push(ConditionRow { name: "reachable".to_owned(), holds: false, reason, since });
        conditions.sort_by(|one, other| one.name.cmp(&other.name));
    }
    let condition = |row: ConditionRow| Condition {
        name: row.name,
        holds: row.holds,
        reason: row.reason,
        since: Timestamp::from_unix_ms(row.since),
    };
    let parts = Parts {
        id: row.id.to_string().parse().map_err(|error: types::ParseError| corrupt(error.to_string()))?,
        spec: crate::render::typed("resource.spec", &row.spec)?,
        status,
        state: crate::render::typed("resource.state", &serde_json::Value::String(std::mem::take(&mut row.state)))?,
        conditions: conditions.into_iter().map(condition).collect(),
    };
    Ok(K::assemble(row, parts))
}

/// Does the same for every kind: `$kind` is the kind of the resource's id. This is the list of kinds.
macro_rules! every_kind {
    ($id:expr, $kind:ident => $then:expr) => {
        match $id {
            types::ResourceId::Network(_) => {
                type $kind = api::Network;
                $then
            }
            types::ResourceId::Instance(_) => {
                type $kind = api::Instance;
                $then
            }
            types::ResourceId::Image(_) => {
                type $kind = api::Image;
                $then
            }
            types::ResourceId::Peer(_) => {
                type $kind = api::Peer;
                $then
            }
        }
    };
}
pub(crate) use every_kind;

/// An id of every kind, in the order in which they can be made.
#[cfg(test)]
pub const EVERY: [ResourceId; 4] = [
    ResourceId::Network(types::NetworkId::from_bits(0)),
    ResourceId::Image(types::ImageId::from_bits(0)),
    ResourceId::Instance(types::InstanceId::from_bits(0)),
    ResourceId::Peer(types::PeerId::from_bits(0)),
];

/// What the suite of operations makes of a kind, and changes. In specs, `SHA256` stands for the digest of an image that
/// the suite has, `KEY` for a WireGuard key of its own.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// What must be there before, as kinds and names.
    pub ground: &'static [(&'static str, &'static str)],
    /// The spec.
    pub spec: &'static str,
    /// A merge patch on `tags` and `spec`.
    pub change: &'static str,
}

/// The references of a spec whose kind is known by the id.
pub fn references(resource: ResourceId, spec: &serde_json::Value) -> Result<Vec<ResourceId>, StoreError> {
    every_kind!(resource, K => Ok(K::references(&crate::render::read("resource.spec", spec.clone())?)))
}

/// What operations on a kind do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The noun of the kind.
    pub noun: &'static str,
    /// What a create does.
    #[cfg(test)]
    pub create: &'static [Step],
    /// What an update does.
    #[cfg(test)]
    pub update: &'static [Step],
    /// What a delete does.
    pub delete: &'static [Step],
}

impl Plan {
    fn of<K: Managed>() -> Self {
        Self {
            noun: K::NOUN,
            #[cfg(test)]
            create: K::CREATE,
            #[cfg(test)]
            update: K::UPDATE,
            delete: K::DELETE,
        }
    }
}

/// What operations on a resource do.
pub fn plan(resource: ResourceId) -> Plan {
    every_kind!(resource, K => Plan::of::<K>())
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
        Ok(row) if row.state == "failed" => {
            faults.push(Fault::new(field, format!("{} {} could not be made", K::NOUN, row.name)));
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
