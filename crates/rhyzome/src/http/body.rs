//! Bodies in JSON, read so that every fault is found and not the first alone.

use std::cell::RefCell;
use std::fmt;

use api::Fault;
use serde::Deserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::refusal::Refusal;

/// Faults that one body is told at most.
const FAULTS: usize = 32;

/// Reads JSON from bytes. A field that stands twice in one object is a fault: which of the two is meant, nobody knows.
pub fn json(bytes: &[u8]) -> Result<Value, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Refusal::Malformed(format!("the body is not UTF-8: byte {} cannot stand there", error.valid_up_to()))
    })?;
    let refuse = |error| Refusal::Malformed(format!("the body is not JSON: {error}"));
    let doubled = RefCell::new(Vec::new());
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { place: String::new(), doubled: &doubled }.deserialize(&mut reader).map_err(refuse)?;
    reader.end().map_err(refuse)?;
    match doubled.into_inner() {
        faults if faults.is_empty() => Ok(value),
        faults => Err(Refusal::Invalid(faults)),
    }
}

/// Reads JSON and notes the fields that stand twice.
struct Strict<'a> {
    /// Where this value stands, as a JSON pointer.
    place: String,
    doubled: &'a RefCell<Vec<Fault>>,
}

impl Strict<'_> {
    fn below(&self, step: &str) -> Self {
        Self { place: format!("{}/{}", self.place, step.replace('~', "~0").replace('/', "~1")), doubled: self.doubled }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(self.below(&all.len().to_string()))? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut all = serde_json::Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let below = self.below(&name);
            let field = below.place.clone();
            let value = fields.next_value_seed(below)?;
            let mut doubled = self.doubled.borrow_mut();
            if all.insert(name, value).is_some() && doubled.len() < FAULTS {
                doubled.push(Fault::new(field, "this field stands twice in its object"));
            }
        }
        Ok(Value::Object(all))
    }
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

/// serde's words without the position in a text that nobody sent; of an unknown field, the one that may have been meant.
pub fn told(message: &str) -> String {
    if message.starts_with("missing field `") {
        return "this field is required".to_owned();
    }
    let message = message.split(" at line ").next().unwrap_or(message);
    let Some((name, known)) = config::unknown_key(message) else { return message.to_owned() };
    match config::nearest(&name, &known) {
        Some(nearest) => format!("there is no such field; did you mean {nearest:?}?"),
        None => format!("there is no such field (known here: {})", known.join(", ")),
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
    fn a_field_that_stands_twice_is_named() {
        let Err(Refusal::Invalid(faults)) = json(br#"{"a": 1, "b": [{"c/d": 1, "c/d": 2}], "a": 3}"#) else { panic!() };
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["/b/0/c~1d", "/a"]);
        let whole = r#"{"a": [null, true, -1, 18446744073709551615, 1.5, "\u00e9"], "b": {}}"#;
        assert_eq!(json(whole.as_bytes()).unwrap(), serde_json::from_str::<Value>(whole).unwrap());
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let deep = "[".repeat(100_000);
        let cases: [&[u8]; 6] = [b"", b"{\"name\":", b"{} {}", b"\"\xff\"", b"NaN", deep.as_bytes()];
        for text in cases {
            assert!(matches!(json(text), Err(Refusal::Malformed(_))), "{:?}", text.get(..9));
        }
    }

    #[test]
    fn the_field_that_may_have_been_meant_is_named() {
        let Err(Refusal::Invalid(faults)) = typed::<NetworkCreate>(&json!({"name": "a", "spec": {"subnett": 1}}))
        else {
            panic!()
        };
        assert_eq!(faults[0].field, "/spec/subnett");
        assert!(faults[0].detail.contains("did you mean \"subnet\""), "{}", faults[0].detail);
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
