//! The envelope that every kind of resource shares.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use types::{ResourceId, ResourceName, ScopeKind};
use utoipa::ToSchema;

use crate::Timestamp;

/// Where a resource is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Being made.
    Creating,
    /// As asked.
    Ready,
    /// Being changed.
    Updating,
    /// Being taken away.
    Deleting,
    /// Could not be made, or is lost.
    Failed,
}

impl State {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Ready => "ready",
            Self::Updating => "updating",
            Self::Deleting => "deleting",
            Self::Failed => "failed",
        }
    }
}

/// Something that is true or not of a resource, with a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Condition {
    /// What it says: `applied`, `reachable`, `stuck`.
    #[serde(rename = "type")]
    pub name: String,
    /// Whether it is so.
    pub holds: bool,
    /// Why, as a sentence.
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// One page of a list, in the order of ids.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to give as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
}

/// The answer to a change: the resource as it is from this moment on, and the operation that brings it about.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Accepted<T> {
    /// The resource.
    pub resource: T,
    /// The operation to watch.
    pub operation: types::OperationId,
}

/// A kind of resource: its names in the interface, and its types.
pub trait Kind: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The kind's noun, as in scopes and events.
    const NOUN: &'static str;
    /// The path of the collection below `/v1`.
    const PATH: &'static str;
    /// The kind in scopes.
    const SCOPE: ScopeKind;
    /// The typed id.
    type Id: Copy + std::fmt::Display + std::str::FromStr<Err = types::ParseError> + Into<ResourceId> + Send + Sync;
    /// What was asked.
    type Spec: Clone + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What was observed.
    type Status: Clone + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// The body of a create.
    type Create: Serialize + DeserializeOwned + Send + Sync;

    /// The resource's id.
    fn id(&self) -> Self::Id;
    /// The resource's name.
    fn name(&self) -> &ResourceName;
    /// Where it is in its life.
    fn state(&self) -> State;
    /// What is true of it.
    fn conditions(&self) -> &[Condition];
}

/// The envelope of a kind, and its place in the interface.
macro_rules! resource {
    ($(#[$doc:meta])* $name:ident, $noun:literal, $path:literal, $scope:ident, $id:ty, $spec:ty, $status:ty, $create:ty) => {
        $(#[$doc])*
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        pub struct $name {
            /// The id, made by the server.
            pub id: $id,
            /// Whose it is.
            pub tenant: types::TenantName,
            /// The name, unique in tenant and kind.
            pub name: types::ResourceName,
            /// Tags.
            #[schema(value_type = std::collections::BTreeMap<String, String>)]
            pub tags: types::Tags,
            /// How often the spec was set; the ETag.
            pub generation: types::Generation,
            /// What was asked, with what the server chose filled in.
            pub spec: $spec,
            /// What was observed.
            pub status: $status,
            /// Where it is in its life.
            pub state: crate::State,
            /// What is true of it.
            pub conditions: Vec<crate::Condition>,
            /// When it was asked for.
            pub created_at: crate::Timestamp,
            /// When its spec or state changed last.
            pub updated_at: crate::Timestamp,
        }

        impl crate::Kind for $name {
            const NOUN: &'static str = $noun;
            const PATH: &'static str = $path;
            const SCOPE: types::ScopeKind = types::ScopeKind::$scope;
            type Id = $id;
            type Spec = $spec;
            type Status = $status;
            type Create = $create;

            fn id(&self) -> $id {
                self.id
            }

            fn name(&self) -> &types::ResourceName {
                &self.name
            }

            fn state(&self) -> crate::State {
                self.state
            }

            fn conditions(&self) -> &[crate::Condition] {
                &self.conditions
            }
        }
    };
}

pub(crate) use resource;
