//! What people are not shown.

use uci::{OptionName, PackageName, SectionType, Value};

/// What stands in the place of a secret.
pub const MASK: &str = "••••••";

/// Options that hold secrets whatever they belong to.
const OPTIONS: &[&str] = &[
    "key",
    "key1",
    "key2",
    "key3",
    "key4",
    "password",
    "passwd",
    "private_key",
    "preshared_key",
    "secret",
    "auth_secret",
    "acct_secret",
    "priv_key_pwd",
    "sae_password",
    "wpa_psk",
    "pincode",
    "token",
    "tsig",
    "hash",
];

/// Parts of names that give a secret away.
const PARTS: &[&str] = &["password", "passphrase", "secret", "private_key", "token", "_psk", "_key"];

/// Names that hold a part and are no secret.
const PUBLIC: &[&str] = &["public_key", "host_key", "ssh_key", "cert_key", "tls_key"];

/// Whether an option holds a secret.
#[must_use]
pub fn is_secret(_package: &PackageName, _kind: &SectionType, option: &OptionName) -> bool {
    let name = option.as_str().to_ascii_lowercase();
    !PUBLIC.contains(&name.as_str())
        && (OPTIONS.contains(&name.as_str()) || PARTS.iter().any(|part| name.contains(part)))
}

/// A value as people are shown it.
#[must_use]
pub fn shown(value: &Value, is_secret: bool) -> String {
    match value {
        _ if is_secret => MASK.to_owned(),
        Value::Scalar(text) => format!("{text:?}"),
        Value::List(items) => format!("{items:?}"),
    }
}
