//! API tokens, kept as digests.

use types::{Scopes, Sha256Digest, TenantName, TokenId};

use crate::column::{json, parse};
use crate::statement::sql;
use crate::{Caller, Result, Session, StoreError, Write};

/// An API token without the token itself.
#[derive(Clone, Debug)]
pub struct TokenRow {
    /// The id.
    pub id: TokenId,
    /// Whose it is.
    pub tenant: TenantName,
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub scopes: Scopes,
}

impl<Mode> Session<'_, Mode> {
    /// Who comes with the token of this digest; `None` for an unknown or revoked one.
    pub async fn caller_of_token(&mut self, sha256: Sha256Digest) -> Result<Option<Caller>> {
        let row: Option<(String, String, String)> = self
            .fetch_optional(
                sql("SELECT id, tenant, scopes FROM token WHERE sha256 = $1 AND revoked_at IS NULL")
                    .bind(sha256.to_string()),
            )
            .await?;
        let Some((id, tenant, scopes)) = row else { return Ok(None) };
        let (id, tenant) = (parse("token.id", &id)?, parse("token.tenant", &tenant)?);
        Ok(Some(Caller::person(tenant, json("token.scopes", &scopes)?, id)))
    }
}

impl Session<'_, Write> {
    /// Keeps a token by its digest.
    pub async fn add_token(&mut self, _caller: &Caller, row: &TokenRow, sha256: Sha256Digest) -> Result<()> {
        let scopes = serde_json::to_string(&row.scopes).map_err(|error| StoreError::Unusable(error.to_string()))?;
        self.execute(
            sql("INSERT INTO token (id, tenant, name, sha256, scopes, created_at) VALUES ($1, $2, $3, $4, $5, $6)")
                .bind(row.id.to_string())
                .bind(row.tenant.as_str())
                .bind(&row.name)
                .bind(sha256.to_string())
                .bind(scopes)
                .bind(self.now()),
        )
        .await?;
        Ok(())
    }
}
