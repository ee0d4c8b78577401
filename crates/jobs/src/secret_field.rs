//! Secrets inside desired states: a reference in the database, the value only on its way to the target.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use types::{SecretId, SecretText};

/// A secret in a desired state.
pub enum SecretField {
    /// Where the secret lies: `{"secret": "sec-…"}`, as the database has it.
    Reference(SecretId),
    /// The secret itself: `{"value": "…"}`, as the target gets it. It cannot be written back.
    Value(SecretText),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Wire {
    Secret(SecretId),
    Value(String),
}

impl Serialize for SecretField {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Reference(id) => Wire::Secret(*id).serialize(serializer),
            Self::Value(_) => Err(serde::ser::Error::custom("a secret's value is never written")),
        }
    }
}

impl<'de> Deserialize<'de> for SecretField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Wire::deserialize(deserializer)? {
            Wire::Secret(id) => Self::Reference(id),
            Wire::Value(text) => Self::Value(SecretText::new(text)),
        })
    }
}

impl SecretField {
    /// The secret itself, where the target has it.
    pub fn value(&self) -> Option<&SecretText> {
        match self {
            Self::Reference(_) => None,
            Self::Value(text) => Some(text),
        }
    }
}

/// The ids of all secrets that `state` refers to.
pub fn references(state: &serde_json::Value) -> Vec<SecretId> {
    let mut found = Vec::new();
    walk(state, &mut found);
    found
}

fn walk(state: &serde_json::Value, found: &mut Vec<SecretId>) {
    match state {
        serde_json::Value::Object(fields) => match as_reference(fields) {
            Some(id) => found.push(id),
            None => fields.values().for_each(|field| walk(field, found)),
        },
        serde_json::Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
        _ => {}
    }
}

fn as_reference(fields: &serde_json::Map<String, serde_json::Value>) -> Option<SecretId> {
    match fields.len() {
        1 => fields.get("secret")?.as_str()?.parse().ok(),
        _ => None,
    }
}

/// Puts the values of secrets in the place of their references. `lookup` answers `None` for a secret that is not there,
/// which is given back as the error.
pub fn resolve(state: &mut serde_json::Value, lookup: &impl Fn(SecretId) -> Option<String>) -> Result<(), SecretId> {
    match state {
        serde_json::Value::Object(fields) => {
            if let Some(id) = as_reference(fields) {
                let value = lookup(id).ok_or(id)?;
                fields.clear();
                fields.insert("value".to_owned(), serde_json::Value::String(value));
                return Ok(());
            }
            fields.values_mut().try_for_each(|field| resolve(field, lookup))
        }
        serde_json::Value::Array(items) => items.iter_mut().try_for_each(|item| resolve(item, lookup)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_become_values_and_values_are_never_written() {
        let id = SecretId::from_bits(9);
        let mut state = serde_json::json!({"key": {"secret": id.to_string()}, "list": [{"secret": id.to_string()}]});
        assert_eq!(references(&state), vec![id, id]);
        resolve(&mut state, &|asked| (asked == id).then(|| "hush".to_owned())).unwrap();
        let field: SecretField = serde_json::from_value(state["key"].clone()).unwrap();
        assert_eq!(field.value().unwrap().reveal(), "hush");
        assert!(serde_json::to_string(&field).is_err());
    }

    #[test]
    fn a_missing_secret_is_named() {
        let id = SecretId::from_bits(9);
        let mut state = serde_json::json!({"secret": id.to_string()});
        assert_eq!(resolve(&mut state, &|_| None), Err(id));
    }
}
