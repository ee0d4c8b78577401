//! Changes that are asked for twice and made once: the answer is kept with the change, and given again.

use api::{Accepted, Kind};
use serde::Serialize;
use sha2::{Digest, Sha256};
use store::{AnswerRow, Session, Write};
use types::{OperationId, Sha256Digest};

use crate::http::SignedIn;
use crate::refusal::Refusal;

/// A key that a caller gave a request, bound to what is asked.
#[derive(Clone, Debug)]
pub struct Keyed {
    /// The key.
    pub key: String,
    /// The digest of the route and of the body.
    pub request: Sha256Digest,
}

impl Keyed {
    /// Binds a key to a request; `parts` are its method, its path and what it brings.
    pub fn new(key: String, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        Self { key, request: Sha256Digest::from_bytes(hash.finalize().into()) }
    }
}

/// The answer to a change.
#[derive(Debug)]
pub struct Answer {
    /// The operation that brings it about, if one does.
    pub operation: Option<OperationId>,
    /// The body, in JSON.
    pub body: String,
    /// Whether it was given before.
    pub replayed: bool,
}

impl Answer {
    /// The answer that a change was accepted with.
    pub fn accepted<K: Kind>(accepted: &Accepted<K>) -> Result<Self, Refusal> {
        Ok(Self { operation: Some(accepted.operation), ..Self::done(accepted)? })
    }

    /// The answer that a change is made with.
    pub fn done(body: &impl Serialize) -> Result<Self, Refusal> {
        Ok(Self { operation: None, body: serde_json::to_string(body)?, replayed: false })
    }
}

/// What the same request was answered before, if it came before.
pub async fn replay<Mode>(
    session: &mut Session<'_, Mode>,
    who: &SignedIn,
    keyed: Option<&Keyed>,
) -> Result<Option<Answer>, Refusal> {
    let Some(keyed) = keyed else { return Ok(None) };
    match session.answer(&who.caller, &keyed.key).await? {
        Some(row) if row.request != keyed.request => Err(Refusal::KeyReused(
            "the header Idempotency-Key has the key of another request: each request needs a key of its own".to_owned(),
        )),
        Some(AnswerRow { operation, body, .. }) => Ok(Some(Answer { operation, body, replayed: true })),
        None => Ok(None),
    }
}

/// What the same request was answered before; where it was not, the key is its own from here on.
pub async fn claim(
    session: &mut Session<'_, Write>,
    who: &SignedIn,
    keyed: Option<&Keyed>,
) -> Result<Option<Answer>, Refusal> {
    let answer = replay(session, who, keyed).await?;
    if let (Some(keyed), None) = (keyed, &answer) {
        session.claim_answer(&who.caller, &keyed.key, keyed.request).await?;
    }
    Ok(answer)
}

/// Keeps the answer that a change was accepted with.
pub async fn keep_accepted<K: Kind>(
    session: &mut Session<'_, Write>,
    who: &SignedIn,
    keyed: Option<&Keyed>,
    accepted: &Accepted<K>,
) -> Result<Answer, Refusal> {
    let answer = Answer::accepted(accepted)?;
    keep(session, who, keyed, &answer).await?;
    Ok(answer)
}

/// Keeps an answer in the transaction of the change.
pub async fn keep(
    session: &mut Session<'_, Write>,
    who: &SignedIn,
    keyed: Option<&Keyed>,
    answer: &Answer,
) -> Result<(), Refusal> {
    let Some(keyed) = keyed else { return Ok(()) };
    let row = AnswerRow { request: keyed.request, operation: answer.operation, body: answer.body.clone() };
    Ok(session.keep_answer(&who.caller, &keyed.key, &row).await?)
}
