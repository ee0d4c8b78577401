//! Texts that must not leak.

use zeroize::Zeroizing;

/// A secret text: no `Debug`, no `Clone`, no `Serialize`, wiped from memory when dropped.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}
