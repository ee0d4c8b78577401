//! Whether the server lives and can work.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;

use crate::core::Core;
use crate::refusal::Refusal;

/// How long the database may take to answer.
const DATABASE: Duration = Duration::from_secs(5);

/// The process answers.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The database answers too, and the server is not about to end.
pub async fn readyz(State(core): State<Arc<Core>>) -> Result<&'static str, Refusal> {
    if core.draining.is_cancelled() {
        return Err(Refusal::Busy("the server is about to end: ask another".to_owned()));
    }
    match tokio::time::timeout(DATABASE, core.store.read()).await {
        Ok(Ok(_)) => Ok("ready\n"),
        Ok(Err(error)) => {
            tracing::warn!(error = format!("{:#}", anyhow::Error::new(error)), "the database does not answer");
            Err(Refusal::Busy("the database does not answer".to_owned()))
        }
        Err(_) => Err(Refusal::Busy(format!("the database does not answer within {} s", DATABASE.as_secs()))),
    }
}
