//! The header Idempotency-Key.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::idempotency::Keyed;
use crate::refusal::Refusal;

/// The header.
const HEADER: &str = "idempotency-key";
/// The longest key.
const LENGTH: usize = 255;

/// The key of a request, if it has one, before its body is known.
pub struct Key {
    key: Option<String>,
    method: String,
    path: String,
}

impl Key {
    /// The key, bound to the route and to what the request brings.
    pub fn bind(self, brings: &[u8]) -> Option<Keyed> {
        Some(Keyed::new(self.key?, &[self.method.as_bytes(), self.path.as_bytes(), brings]))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let mut values = parts.headers.get_all(HEADER).iter();
        let key = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => Some(value.to_str().ok().filter(|key| is_key(key)).ok_or_else(refusal)?.to_owned()),
            (Some(_), Some(_)) => return Err(refusal()),
        };
        Ok(Self { key, method: parts.method.to_string(), path: parts.uri.path().to_owned() })
    }
}

fn is_key(text: &str) -> bool {
    (1..=LENGTH).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

fn refusal() -> Refusal {
    Refusal::fault("Idempotency-Key", format!("expected one key of 1 to {LENGTH} visible ASCII characters"))
}
