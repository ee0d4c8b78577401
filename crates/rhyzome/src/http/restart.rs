//! Restarting an instance.

use std::sync::Arc;

use api::{Accepted, Instance};
use axum::extract::{Path, State};
use axum::response::Response;
use types::{ScopeKind, ScopeVerb};

use super::access::SignedIn;
use super::idempotency::Key;
use super::{body, resource};
use crate::acceptance;
use crate::core::Core;
use crate::refusal::Refusal;

/// Restarts an instance: raises `spec.restarts` by one.
#[utoipa::path(post, path = "/v1/instances/{instance}/restart", operation_id = "restart_instance", tag = "instances",
    params(("instance" = String, Path, description = "Id or name."),
        ("idempotency-key" = Option<String>, Header, description = "A key of this request: sent again within a day, it gets the same answer.")),
    responses(
    (status = 202, body = Accepted<Instance>)
))]
pub async fn restart(
    State(core): State<Arc<Core>>,
    who: SignedIn,
    key: Key,
    Path(instance): Path<String>,
) -> Result<Response, Refusal> {
    who.require(ScopeKind::Instance, ScopeVerb::Update)?;
    let keyed = key.bind(&[]);
    let answer = acceptance::update::<Instance, _>(&core, &who, keyed.as_ref(), &instance, None, |row| {
        let restarts = row.spec.get("restarts").and_then(serde_json::Value::as_u64).unwrap_or(0);
        let mut whole = serde_json::json!({"tags": row.tags, "spec": row.spec});
        body::merge(&mut whole, &serde_json::json!({"spec": {"restarts": restarts + 1}}));
        body::typed(&whole)
    })
    .await?;
    Ok(resource::accepted(answer))
}
