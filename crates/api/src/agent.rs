//! Agents and the targets that they work.

use serde::{Deserialize, Serialize};
use types::{AgentId, TargetId, TenantName};
use utoipa::ToSchema;

use crate::Timestamp;

/// A router or a hypervisor and the agent that works it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// The agent's id; absent before it has enrolled.
    pub id: Option<AgentId>,
    /// The router or hypervisor.
    pub target: TargetId,
    /// Whose target it is.
    pub tenant: TenantName,
    /// What the target is.
    pub kind: TargetKind,
    /// The target's name.
    pub name: String,
    /// Whether the agent is connected.
    pub connected: bool,
    /// Why the agent cannot read the target; absent where it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// What may be placed on the target.
    pub takes: Takes,
    /// When it was connected last.
    pub last_seen_at: Option<Timestamp>,
    /// The program's version.
    pub software: Option<String>,
    /// What the target can take.
    #[schema(value_type = Object)]
    pub capacity: serde_json::Value,
    /// Jobs that the target has not confirmed.
    pub pending_jobs: u64,
}

/// What may be placed on a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Takes {
    /// Whatever fits.
    All,
    /// Nothing more; what is there stays.
    Drained,
    /// Nothing: somebody declared that it does not come back with what it held.
    Lost,
}

impl Takes {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Drained => "drained",
            Self::Lost => "lost",
        }
    }
}

/// What a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// It serves networks.
    Router,
    /// It runs instances.
    Hypervisor,
}

impl TargetKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Hypervisor => "hypervisor",
        }
    }
}
