//! A call, and who makes it.

use async_trait::async_trait;
use serde_json::Value;
use types::SecretText;

use crate::UbusError;

/// The most bytes that uhttpd reads of a request.
pub const MAX_REQUEST: usize = 65_536;

/// A session's id: whoever has it may do what its user may.
pub struct SessionId(SecretText);

impl SessionId {
    /// The session that everybody is in: it may log in.
    #[must_use]
    pub fn nobody() -> Self {
        Self(SecretText::new("0".repeat(32)))
    }

    /// Takes the 32 hexadecimal digits of a session's id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_id = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        is_id.then(|| Self(SecretText::new(text.to_owned())))
    }

    /// The digits, for a request.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

/// A way to make calls on a router's ubus.
///
/// Every call has a deadline. A call that fails with a deadline or on the way may have been carried out.
#[async_trait]
pub trait Ubus: Send + Sync {
    /// Calls `method` of `object` with `args`, an object; gives what it answers beside success, if anything.
    async fn call(
        &self,
        session: &SessionId,
        object: &str,
        method: &str,
        args: Value,
    ) -> Result<Option<Value>, UbusError>;
}
