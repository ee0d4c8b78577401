//! Restarting an instance.

use std::sync::Arc;

use api::{Accepted, Instance, Problem};
use axum::extract::{Path, State};
use axum::response::Response;
use types::{ScopeKind, ScopeVerb};

use super::access::SignedIn;
use super::{body, resource};
use crate::acceptance;
use crate::core::Core;
use crate::refusal::Refusal;

/// Restarts an instance: raises `spec.restarts` by one.
#[utoipa::path(post, path = "/v1/instances/{instance}/restart", operation_id = "restart_instance", tag = "instances",
    params(("instance" = String, Path, description = "Id or name.")), responses(
    (status = 202, body = Accepted<Instance>),
    (status = "4XX", body = Problem, content_type = "application/problem+json")
))]
pub async fn restart(
    State(core): State<Arc<Core>>,
    who: SignedIn,
    Path(instance): Path<String>,
) -> Result<Response, Refusal> {
    who.require(ScopeKind::Instance, ScopeVerb::Update)?;
    let accepted = acceptance::update::<Instance, _>(&core, &who, &instance, None, |row| {
        let restarts = row.spec.get("restarts").and_then(serde_json::Value::as_u64).unwrap_or(0);
        let mut whole = serde_json::json!({"tags": row.tags, "spec": row.spec});
        body::merge(&mut whole, &serde_json::json!({"spec": {"restarts": restarts + 1}}));
        body::typed(&whole)
    })
    .await?;
    Ok(resource::answer(accepted))
}
