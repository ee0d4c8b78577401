//! Who calls: a bearer token, known by its SHA-256.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use sha2::{Digest, Sha256};
use store::Caller;
use types::{Scope, ScopeKind, ScopeVerb, Sha256Digest, TenantName};

use crate::core::Core;
use crate::refusal::Refusal;

/// What every API token begins with, so that people and scanners know one when they see it.
pub const TOKEN_PREFIX: &str = "rzt_";

/// A caller who is signed in.
pub struct SignedIn {
    /// The caller, for the database.
    pub caller: Caller,
    /// The caller's tenant.
    pub tenant: TenantName,
}

impl SignedIn {
    /// Refuses a caller whose token lacks the scope.
    pub fn require(&self, kind: ScopeKind, verb: ScopeVerb) -> Result<(), Refusal> {
        match self.caller.may(kind, verb) {
            true => Ok(()),
            false => Err(Refusal::Forbidden(Scope { kind, verb }.to_string())),
        }
    }
}

/// The digest that a token is kept by.
pub fn digest(token: &str) -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(token.as_bytes()).into())
}

impl FromRequestParts<Arc<Core>> for SignedIn {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, core: &Arc<Core>) -> Result<Self, Refusal> {
        let header = parts
            .headers
            .get(AUTHORIZATION)
            .ok_or(Refusal::Unauthenticated("send a token in the header Authorization: Bearer …"))?;
        let token = header
            .to_str()
            .ok()
            .and_then(|text| text.strip_prefix("Bearer "))
            .ok_or(Refusal::Unauthenticated("the header Authorization must be \"Bearer\", a space and a token"))?;
        let mut session = core.store.read().await?;
        let caller = session
            .caller_of_token(digest(token.trim()))
            .await?
            .ok_or(Refusal::Unauthenticated("the token is not known, or was revoked"))?;
        let tenant = caller.tenant().cloned().ok_or(Refusal::Unauthenticated("the token has no tenant"))?;
        Ok(Self { caller, tenant })
    }
}
