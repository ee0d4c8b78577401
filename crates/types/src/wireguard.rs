//! WireGuard keys (Curve25519, base64 as wg(8) writes them).

use std::fmt;
use std::str::FromStr;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::ParseError;

/// A WireGuard public key: 32 bytes, written as 44 characters of base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WgPublicKey([u8; 32]);

const PUBLIC: &str = "a WireGuard public key (44 characters of base64)";
const PRIVATE: &str = "a WireGuard private key (44 characters of base64)";

fn decode(text: &str) -> Option<[u8; 32]> {
    data_encoding::BASE64.decode(text.as_bytes()).ok()?.try_into().ok()
}

impl WgPublicKey {
    /// The 32 bytes.
    pub const fn bytes(self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Display for WgPublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&data_encoding::BASE64.encode(&self.0))
    }
}

impl fmt::Debug for WgPublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for WgPublicKey {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        decode(text).filter(|bytes| *bytes != [0; 32]).map(Self).ok_or_else(|| ParseError::new(text, PUBLIC))
    }
}

text_type!(
    WgPublicKey,
    "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=",
    "A WireGuard public key: 44 characters of base64."
);

/// A WireGuard private key; wiped from memory when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct WgPrivateKey([u8; 32]);

impl WgPrivateKey {
    /// A fresh key from the system's randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        bytes[0] &= 248;
        bytes[31] = bytes[31] & 127 | 64;
        Ok(Self(bytes))
    }

    /// Reads the base64 form; the error does not repeat the text.
    pub fn from_base64(text: &str) -> Result<Self, ParseError> {
        decode(text).map(Self).ok_or_else(|| ParseError::new("(hidden)", PRIVATE))
    }

    /// The base64 form, for the one place that needs it.
    pub fn reveal(&self) -> crate::SecretText {
        crate::SecretText::new(data_encoding::BASE64.encode(&self.0))
    }

    /// The 32 bytes, for the one place that needs them.
    pub const fn reveal_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public half.
    pub fn public(&self) -> WgPublicKey {
        let secret = x25519_dalek::StaticSecret::from(self.0);
        WgPublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_half_follows_from_the_private() {
        // Made with wg genkey and wg pubkey.
        let private = WgPrivateKey::from_base64("yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=").unwrap();
        assert_eq!(private.public().to_string(), "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=");
    }

    #[test]
    fn short_keys_are_refused_and_private_ones_not_repeated() {
        assert!("AAAA".parse::<WgPublicKey>().is_err());
        let Err(error) = WgPrivateKey::from_base64("c2VjcmV0") else { panic!("a short key was read") };
        assert!(!error.to_string().contains("c2VjcmV0"));
    }
}
