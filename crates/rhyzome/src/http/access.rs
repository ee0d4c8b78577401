//! Who calls: a bearer token, known by its SHA-256.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use sha2::{Digest, Sha256};
use store::Caller;
use types::{Scope, ScopeKind, ScopeVerb, Sha256Digest, TenantName, TokenId};

use super::rate::ClientAddr;
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
    /// The token that the caller signed in with.
    pub token: TokenId,
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
        let refuse = |why| match core.limits.address(ClientAddr::of(&parts.extensions)) {
            Ok(()) => Refusal::Unauthenticated(why),
            Err(too_many) => too_many,
        };
        let header = parts
            .headers
            .get(AUTHORIZATION)
            .ok_or_else(|| refuse("send a token in the header Authorization: Bearer …"))?;
        let token = header
            .to_str()
            .ok()
            .and_then(|text| text.strip_prefix("Bearer "))
            .ok_or_else(|| refuse("the header Authorization must be \"Bearer\", a space and a token"))?;
        let mut session = core.store.glance().await?;
        let caller = session.caller_of_token(digest(token.trim())).await?;
        let caller = caller.ok_or_else(|| refuse("the token is not known, or was revoked"))?;
        let (Some(tenant), Some(token)) = (caller.tenant().cloned(), caller.token()) else {
            return Err(Refusal::Unauthenticated("the token has no tenant"));
        };
        core.limits.token(token)?;
        if !parts.method.is_safe()
            && let Some(reason) = session.paused().await?
        {
            return Err(Refusal::Unavailable(format!(
                "the installation is paused ({reason}): nothing can be changed until an administrator runs rhyzome admin resume"
            )));
        }
        Ok(Self { caller, tenant, token })
    }
}
