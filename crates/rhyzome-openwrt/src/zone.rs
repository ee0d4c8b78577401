//! Names of firewall zones.

use std::fmt;

use serde::Deserialize;

/// The name of a zone, as fw4 and fw3 both take it: up to 11 letters, digits, `_`, `.` and `-`, the first no digit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ZoneName(String);

impl Default for ZoneName {
    fn default() -> Self {
        Self("wan".to_owned())
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl TryFrom<String> for ZoneName {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        match first && rest && name.len() <= 11 {
            true => Ok(Self(name)),
            false => {
                Err(format!("{name:?} is no zone; expected up to 11 letters, digits and _ . -, the first no digit"))
            }
        }
    }
}
