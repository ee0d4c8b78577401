//! Members of what ubus answers, absent or of another type read as nothing.

use serde_json::Value;

pub(super) fn text(told: &Value, name: &str) -> String {
    told.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

pub(super) fn number(told: &Value, name: &str) -> u64 {
    told.get(name).and_then(Value::as_u64).unwrap_or(0)
}

pub(super) fn flag(told: &Value, name: &str) -> bool {
    told.get(name).and_then(Value::as_bool).unwrap_or(false)
}

pub(super) fn list<'a>(told: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    told.get(name).and_then(Value::as_array).into_iter().flatten()
}

pub(super) fn texts(told: &Value, name: &str) -> Vec<String> {
    list(told, name).filter_map(Value::as_str).map(str::to_owned).collect()
}
