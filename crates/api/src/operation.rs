//! Operations: what brings a change about, step by step.

use serde::{Deserialize, Serialize};
use types::{OperationId, ResourceId, TenantName};
use utoipa::ToSchema;

use crate::Timestamp;

/// What brings one change about.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Operation {
    /// The id.
    pub id: OperationId,
    /// Whose it is.
    pub tenant: TenantName,
    /// Kind and verb, as in `instance.create`.
    pub action: String,
    /// The resource that changes.
    pub resource: ResourceId,
    /// How far it is.
    pub state: OperationState,
    /// Its steps in order.
    pub steps: Vec<Step>,
    /// Why it failed, or what it waits for: a sentence.
    pub reason: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OperationState {
    /// Not begun.
    Pending,
    /// Under way, or waiting for a target.
    Running,
    /// Done.
    Succeeded,
    /// Not done, and undone.
    Failed,
    /// Given up in favour of a delete.
    Cancelled,
}

impl OperationState {
    /// Whether nothing more will come of it.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One step of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// What it does, as in `router` or `instance`.
    pub name: String,
    /// How far it is.
    pub state: StepState,
    /// Why it waits or failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Begun.
    Running,
    /// Done.
    Done,
    /// Could not be done.
    Failed,
    /// Taken back.
    Undone,
}
