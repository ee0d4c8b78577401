//! Secrets, sealed with a key that is neither in the database nor in its backups.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use types::{ResourceId, SecretId, SecretText};
use zeroize::Zeroizing;

use crate::column::parse;
use crate::statement::sql;
use crate::{Caller, Result, Session, StoreError, Write};

/// Bytes of a nonce, which stands before each sealed secret.
const NONCE: usize = 24;

/// The key that seals the table of secrets: 32 bytes.
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl SecretKey {
    /// Takes the key over.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.0.as_slice().into())
    }

    /// Seals `plain` to its place in the database, so that one secret cannot be put in another's.
    fn seal(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|error| StoreError::Unusable(format!("no randomness: {error}")))?;
        let payload = Payload { msg: plain, aad: place.as_bytes() };
        let sealed = self
            .cipher()
            .encrypt(XNonce::from_slice(&nonce), payload)
            .map_err(|_| StoreError::Unusable("a secret could not be sealed".to_owned()))?;
        Ok([&nonce[..], &sealed].concat())
    }

    fn open(&self, place: &str, sealed: &[u8]) -> Result<SecretText> {
        let refuse = || StoreError::Unusable(format!("secret {place} cannot be opened with this key file"));
        let (nonce, rest) = sealed.split_at_checked(NONCE).ok_or_else(refuse)?;
        let payload = Payload { msg: rest, aad: place.as_bytes() };
        let plain = self.cipher().decrypt(XNonce::from_slice(nonce), payload).map_err(|_| refuse())?;
        String::from_utf8(plain).map(SecretText::new).map_err(|_| refuse())
    }

    pub(crate) fn seal_text(&self, place: &str, plain: &str) -> Result<String> {
        serde_json::to_string(&self.seal(place, plain.as_bytes())?)
            .map_err(|error| StoreError::Unusable(error.to_string()))
    }

    pub(crate) fn open_text(&self, sealed: &str, place: &str) -> Result<SecretText> {
        let bytes: Vec<u8> = crate::column::json("installation.key_check", sealed)?;
        self.open(place, &bytes)
    }
}

impl<Mode> Session<'_, Mode> {
    /// The id of a resource's secret for a purpose.
    pub async fn secret_id(
        &mut self,
        caller: &Caller,
        resource: ResourceId,
        purpose: &str,
    ) -> Result<Option<SecretId>> {
        let found: Option<String> = self
            .fetch_optional_scalar(
                sql("SELECT id FROM secret WHERE resource = $1 AND purpose = $2 AND tenant LIKE $3 || ''")
                    .bind(resource.to_string())
                    .bind(purpose)
                    .bind(caller.pattern()),
            )
            .await?;
        found.map(|id| parse("secret.id", &id)).transpose()
    }

    /// Opens a secret.
    pub async fn secret(&mut self, caller: &Caller, id: SecretId) -> Result<SecretText> {
        let sealed: Option<Vec<u8>> = self
            .fetch_optional_scalar(
                sql("SELECT sealed FROM secret WHERE id = $1 AND tenant LIKE $2 || ''")
                    .bind(id.to_string())
                    .bind(caller.pattern()),
            )
            .await?;
        let sealed = sealed.ok_or_else(|| StoreError::not_found(format!("secret {id}")))?;
        self.store.key.open(&id.to_string(), &sealed)
    }
}

impl Session<'_, Write> {
    /// Seals a resource's secret; one a purpose.
    pub async fn add_secret(
        &mut self,
        caller: &Caller,
        resource: ResourceId,
        purpose: &str,
        plain: &SecretText,
    ) -> Result<SecretId> {
        let tenant = self.tenant_of(caller, resource).await?;
        // Tried again where chance gave the id of another, as it does when many are sealed in one transaction.
        loop {
            let id = SecretId::make(self.now_unsigned()).map_err(|error| StoreError::Unusable(error.to_string()))?;
            let sealed = self.store.key.seal(&id.to_string(), plain.reveal().as_bytes())?;
            let kept = sql("INSERT INTO secret (id, tenant, resource, purpose, sealed) VALUES ($1, $2, $3, $4, $5) \
                            ON CONFLICT (id) DO NOTHING")
            .bind(id.to_string())
            .bind(tenant.as_str())
            .bind(resource.to_string())
            .bind(purpose)
            .bind(sealed);
            if self.execute(kept).await? > 0 {
                return Ok(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_only_with_its_key_and_in_its_place() {
        let key = SecretKey::new([7; 32]);
        let sealed = key.seal("sec-a", b"hush").unwrap();
        assert_eq!(key.open("sec-a", &sealed).unwrap().reveal(), "hush");
        assert!(key.open("sec-b", &sealed).is_err());
        assert!(SecretKey::new([8; 32]).open("sec-a", &sealed).is_err());
        assert!(key.open("sec-a", &sealed[..20]).is_err());
    }
}
