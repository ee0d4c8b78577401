//! Bodies in JSON, read so that every fault is found and not the first alone.

use api::Fault;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::refusal::Refusal;

/// Faults that one body is told at most.
const FAULTS: usize = 32;

/// Reads JSON from bytes.
pub fn json(bytes: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| Refusal::Malformed(format!("the body is not JSON: {error}")))
}

/// Reads `T` from JSON. What is wrong is taken out and noted, then the rest is read again, until nothing more is found.
pub fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, Refusal> {
    let mut rest = value.clone();
    let mut faults: Vec<Fault> = Vec::new();
    let mut removed: Vec<(String, usize)> = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize::<_, T>(&rest) {
            Ok(read) if faults.is_empty() => return Ok(read),
            Ok(_) => break,
            Err(error) => error,
        };
        let steps: Vec<Step> = error.path().iter().filter_map(Step::from).collect();
        let message = error.inner().to_string();
        let missing = missing_field(&message);
        let field = pointer(&steps, &removed) + &missing.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
        let known = faults.iter().any(|fault| fault.field == field);
        if !known {
            faults.push(Fault::new(field, told(&message)));
        }
        // A required field that is missing, perhaps because it was taken out, ends the search.
        if missing.is_some() || faults.len() >= FAULTS || !remove(&mut rest, &steps, &mut removed) {
            break;
        }
    }
    Err(Refusal::Invalid(faults))
}

/// Lays a merge patch over a target (RFC 7396).
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, change) in changes {
        match change {
            Value::Null => {
                fields.remove(name);
            }
            _ => merge(fields.entry(name.clone()).or_insert(Value::Null), change),
        }
    }
}

/// One step of a path into JSON.
enum Step {
    Field(String),
    Item(usize),
}

impl Step {
    fn from(segment: &Segment) -> Option<Self> {
        match segment {
            Segment::Map { key } => Some(Self::Field(key.clone())),
            Segment::Seq { index } => Some(Self::Item(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        }
    }
}

fn missing_field(message: &str) -> Option<String> {
    message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()).map(str::to_owned)
}

/// serde's words without the position in a text that nobody sent.
fn told(message: &str) -> String {
    match message.strip_prefix("missing field `") {
        Some(_) => "this field is required".to_owned(),
        None => message.split(" at line ").next().unwrap_or(message).to_owned(),
    }
}

/// The path as a JSON pointer (RFC 6901) into what was sent: items taken out before count along.
fn pointer(steps: &[Step], removed: &[(String, usize)]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Field(name) => text = format!("{text}/{}", name.replace('~', "~0").replace('/', "~1")),
            Step::Item(index) => {
                let mut place = *index;
                for (_, gone) in removed.iter().filter(|(list, _)| *list == text) {
                    place += usize::from(*gone <= place);
                }
                text = format!("{text}/{place}");
            }
        }
    }
    text
}

/// Takes the value at the end of the path out; says whether there was one.
fn remove(value: &mut Value, steps: &[Step], removed: &mut Vec<(String, usize)>) -> bool {
    let Some((last, before)) = steps.split_last() else { return false };
    let list = pointer(before, removed);
    let mut place = value;
    for step in before {
        let next = match (step, place) {
            (Step::Field(name), Value::Object(fields)) => fields.get_mut(name),
            (Step::Item(index), Value::Array(items)) => items.get_mut(*index),
            _ => None,
        };
        let Some(next) = next else { return false };
        place = next;
    }
    match (last, place) {
        (Step::Field(name), Value::Object(fields)) => fields.remove(name).is_some(),
        (Step::Item(index), Value::Array(items)) if *index < items.len() => {
            let Step::Item(original) = Step::Item(*index) else { return false };
            let mut sent = original;
            for (_, gone) in removed.iter().filter(|(other, _)| *other == list) {
                sent += usize::from(*gone <= sent);
            }
            removed.push((list, sent));
            removed.sort();
            items.remove(original);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use api::{InstanceCreate, NetworkCreate};
    use serde_json::json;

    use super::*;

    fn faults<T: DeserializeOwned>(value: &Value) -> Vec<String> {
        match typed::<T>(value) {
            Err(Refusal::Invalid(faults)) => faults.into_iter().map(|fault| fault.field).collect(),
            Err(other) => panic!("{other:?}"),
            Ok(_) => Vec::new(),
        }
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let body = json!({
            "name": "Home", "colour": "red",
            "spec": {"subnet": "10.0.0.1/24", "mtu": 5, "dhcp": {"lease_seconds": "long"}, "dns": {"servers": ["x", "10.0.0.1", "y"]}}
        });
        let mut found = faults::<NetworkCreate>(&body);
        found.sort();
        assert_eq!(
            found,
            [
                "/colour",
                "/name",
                "/spec/dhcp/lease_seconds",
                "/spec/dns/servers/0",
                "/spec/dns/servers/2",
                "/spec/mtu",
                "/spec/subnet"
            ]
        );
    }

    #[test]
    fn a_missing_field_is_named() {
        assert_eq!(faults::<InstanceCreate>(&json!({"name": "web", "spec": {"network": "home"}})), ["/spec/image"]);
        assert_eq!(faults::<InstanceCreate>(&json!([])), [""]);
    }

    #[test]
    fn patches_merge_as_the_standard_says() {
        let mut target = json!({"a": "b", "c": {"d": "e", "f": "g"}});
        merge(&mut target, &json!({"a": "z", "c": {"f": null}, "n": {"m": null, "o": 1}}));
        assert_eq!(target, json!({"a": "z", "c": {"d": "e"}, "n": {"o": 1}}));
    }
}
