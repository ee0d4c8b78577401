//! Agents and their targets, to look at.

use std::sync::Arc;

use api::agent::{Takes, TargetKind};
use api::{Agent, Page, Timestamp};
use axum::Json;
use axum::extract::State;
use store::{AgentRow, Availability};
use types::{ScopeKind, ScopeVerb};

use super::access::SignedIn;
use crate::core::Core;
use crate::refusal::Refusal;

/// All agents and the targets that they work.
#[utoipa::path(get, path = "/v1/agents", operation_id = "list_agents", tag = "agents", responses(
    (status = 200, body = Page<Agent>)
))]
pub async fn list(State(core): State<Arc<Core>>, who: SignedIn) -> Result<Json<Page<Agent>>, Refusal> {
    who.require(ScopeKind::Agent, ScopeVerb::Read)?;
    let rows = core.store.read().await?.targets(&who.caller, None).await?;
    Ok(Json(Page { items: rows.into_iter().map(present).collect(), next: None }))
}

fn present(row: AgentRow) -> Agent {
    Agent {
        id: row.agent,
        target: row.target.id,
        tenant: row.target.tenant,
        kind: match row.target.kind.as_str() {
            "router" => TargetKind::Router,
            _ => TargetKind::Hypervisor,
        },
        name: row.target.name,
        connected: row.target.connected,
        trouble: row.target.trouble,
        takes: match row.target.availability {
            Availability::Open => Takes::All,
            Availability::Drained => Takes::Drained,
            Availability::Lost => Takes::Lost,
        },
        last_seen_at: row.last_seen_at.map(Timestamp::from_unix_ms),
        software: row.software,
        capacity: row.capacity,
        pending_jobs: row.pending_jobs,
    }
}
