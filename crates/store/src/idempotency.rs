//! Answers that are given again when the same request comes again.

use types::{OperationId, Sha256Digest};

use crate::column::parse;
use crate::statement::sql;
use crate::{Caller, Result, Session, StoreError, Write};

/// How long an answer is kept, in milliseconds.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;

/// The answer to a change that a caller gave a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerRow {
    /// The digest of the request: its route and its body.
    pub request: Sha256Digest,
    /// The operation that it began, if it began one.
    pub operation: Option<OperationId>,
    /// The body of the answer.
    pub body: String,
}

impl<Mode> Session<'_, Mode> {
    /// What the caller's request of that key was answered; `None` where there was none, or too long ago.
    pub async fn answer(&mut self, caller: &Caller, key: &str) -> Result<Option<AnswerRow>> {
        let Some(token) = caller.token() else { return Ok(None) };
        let oldest = self.now() - KEPT_MS;
        let row: Option<(String, Option<String>, String)> = self
            .fetch_optional(
                sql("SELECT request, operation, body FROM answer \
                    WHERE token = $1 AND key = $2 AND tenant LIKE $3 || '' AND created_at > $4")
                .bind(token.to_string())
                .bind(key)
                .bind(caller.pattern())
                .bind(oldest),
            )
            .await?;
        let Some((request, operation, body)) = row else { return Ok(None) };
        let operation = operation.map(|id| parse("answer.operation", &id)).transpose()?;
        Ok(Some(AnswerRow { request: parse("answer.request", &request)?, operation, body }))
    }
}

impl Session<'_, Write> {
    /// Takes a key before the change is made, so that a second request with it waits for the first, and forgets
    /// answers that are too old.
    pub async fn claim_answer(&mut self, caller: &Caller, key: &str, request: Sha256Digest) -> Result<()> {
        let oldest = self.now() - KEPT_MS;
        self.execute(sql("DELETE FROM answer WHERE created_at <= $1").bind(oldest)).await?;
        self.keep_answer(caller, key, &AnswerRow { request, operation: None, body: String::new() }).await
    }

    /// Keeps an answer with the change that it tells of.
    pub async fn keep_answer(&mut self, caller: &Caller, key: &str, answer: &AnswerRow) -> Result<()> {
        let (Some(token), Some(tenant)) = (caller.token(), caller.tenant()) else {
            return Err(StoreError::Unusable("answers are kept for people alone".to_owned()));
        };
        let now = self.now();
        self.execute(
            sql("INSERT INTO answer (token, key, tenant, request, operation, body, created_at) \
                VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (token, key) DO UPDATE SET \
                request = excluded.request, operation = excluded.operation, body = excluded.body, \
                created_at = excluded.created_at")
            .bind(token.to_string())
            .bind(key)
            .bind(tenant.as_str())
            .bind(answer.request.to_string())
            .bind(answer.operation.map(|id| id.to_string()))
            .bind(&answer.body)
            .bind(now),
        )
        .await?;
        Ok(())
    }
}
