//! Who calls, and what they may see.

use types::{ScopeKind, ScopeVerb, Scopes, TenantName, TokenId};

/// Who makes a call into the database.
#[derive(Clone, Debug)]
pub struct Caller {
    tenant: Option<TenantName>,
    scopes: Scopes,
    token: Option<TokenId>,
}

impl Caller {
    /// Somebody of a tenant, signed in with a token.
    pub fn person(tenant: TenantName, scopes: Scopes, token: TokenId) -> Self {
        Self { tenant: Some(tenant), scopes, token: Some(token) }
    }

    /// The core itself, which works for every tenant: its executor, its job server, its administrator.
    pub fn core() -> Self {
        Self { tenant: None, scopes: Scopes::all(), token: None }
    }

    /// The core itself on behalf of one tenant, of whom alone it sees anything.
    pub fn core_for(tenant: TenantName) -> Self {
        Self { tenant: Some(tenant), ..Self::core() }
    }

    /// Whether the caller's scopes allow it.
    pub fn may(&self, kind: ScopeKind, verb: ScopeVerb) -> bool {
        self.scopes.allow(kind, verb)
    }

    /// The caller's tenant; none for the core.
    pub fn tenant(&self) -> Option<&TenantName> {
        self.tenant.as_ref()
    }

    /// The token that the caller signed in with.
    pub fn token(&self) -> Option<TokenId> {
        self.token
    }

    /// What queries compare `tenant` with, as in `tenant LIKE $1 || ''`: a tenant has no wildcards in its name. A value by
    /// itself on the right of LIKE would have SQLite compile the statement again at every use, at ten times its cost.
    pub(crate) fn pattern(&self) -> &str {
        self.tenant.as_ref().map_or("%", TenantName::as_str)
    }
}
