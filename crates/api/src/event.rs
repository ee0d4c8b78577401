//! Events: what changed, in order, to follow or to resume from.

use serde::{Deserialize, Serialize};
use types::{OperationId, ResourceId, ResourceName, TenantName};
use utoipa::ToSchema;

use crate::{State, Timestamp};

/// One change of a resource. Sent over `GET /v1/events` with its sequence number as the event's id.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its place in the order; rises, with gaps.
    pub sequence: u64,
    /// When it happened.
    pub at: Timestamp,
    /// Whose resource it is about.
    pub tenant: TenantName,
    /// The noun of the resource's kind.
    pub kind: String,
    /// The resource.
    pub resource: ResourceId,
    /// The resource's name.
    pub name: ResourceName,
    /// What happened.
    pub change: Change,
    /// Where the resource is in its life after it.
    pub state: State,
    /// The operation that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub operation: Option<OperationId>,
    /// More, for a person.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
}

/// What happened to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It was asked for.
    Created,
    /// Its spec or its state changed.
    Updated,
    /// A target observed something else of it.
    Observed,
    /// A step of its operation moved.
    Progressed,
    /// It is gone.
    Deleted,
}
