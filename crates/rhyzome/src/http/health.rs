//! Whether the server lives and can work.

use std::sync::Arc;

use axum::extract::State;

use crate::core::Core;
use crate::refusal::Refusal;

/// The process answers.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The database answers too.
pub async fn readyz(State(core): State<Arc<Core>>) -> Result<&'static str, Refusal> {
    core.store.read().await?;
    Ok("ready\n")
}
