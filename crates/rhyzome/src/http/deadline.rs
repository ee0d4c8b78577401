//! How long a request may take.

use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

use crate::refusal::Refusal;

/// How long an answer may take to begin.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a body in JSON may take to arrive.
pub const BODY: Duration = Duration::from_secs(20);

/// Gives up on a request that takes too long; what it has not committed is undone.
pub async fn enforce(request: Request, next: Next) -> Result<Response, Refusal> {
    match tokio::time::timeout(ANSWER, next.run(request)).await {
        Ok(response) => Ok(response),
        Err(_) => Err(Refusal::Busy(format!("it could not be done within {} s", ANSWER.as_secs()))),
    }
}
