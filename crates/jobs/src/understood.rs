//! What agents of version 1 understand of a desired state.
//!
//! They refuse fields that they do not know. A field that came later and says nothing is left out for them; one that
//! says something makes the state more than such an agent can bring about, and the core refuses in its place.

use serde_json::Value;

use crate::Object;

/// The fields of version 1, by their paths; `*` stands for any key or place, and what ends a path is understood whole.
fn of_version_one(object: Object) -> &'static [&'static str] {
    match object {
        Object::Network(_) => &[
            "id",
            "slot",
            "segment",
            "subnet",
            "router_address",
            "mtu",
            "dhcp.range",
            "lease_seconds",
            "dns.domain",
            "dns.servers",
            "isolation",
            "leases.*.name",
            "leases.*.mac",
            "leases.*.address",
            "wireguard.port",
            "wireguard.private_key",
            "wireguard.public_key",
            "peers.*.name",
            "peers.*.public_key",
            "peers.*.address",
        ],
        Object::Segment(_) => &["network", "segment", "mtu", "kind"],
        Object::Image(_) => &["id", "content.sha256", "content.file_size", "content.virtual_size"],
        Object::Instance(_) => &[
            "id",
            "hostname",
            "domain",
            "power",
            "restarts",
            "vcpus",
            "memory",
            "disk",
            "image.sha256",
            "image.file_size",
            "image.virtual_size",
            "nic.network",
            "nic.segment",
            "nic.mac",
            "nic.address",
            "nic.mtu",
            "ssh_keys",
            "host_key",
            "user_data",
        ],
    }
}

/// A field that an agent of version 1 would have to know and does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its agent speaks version 1 of the job protocol, which has no {field}: upgrade the agent")]
pub struct NotUnderstood {
    /// The field, as in `nic.vlan`.
    pub field: String,
}

/// Leaves out of a desired state what an agent of version 1 need not know.
pub fn for_version_one(object: Object, state: &mut Value) -> Result<(), NotUnderstood> {
    let paths: Vec<Vec<&str>> = of_version_one(object).iter().map(|path| path.split('.').collect()).collect();
    let paths: Vec<&[&str]> = paths.iter().map(Vec::as_slice).collect();
    reduce(state, &paths, "")
}

fn reduce(state: &mut Value, paths: &[&[&str]], at: &str) -> Result<(), NotUnderstood> {
    let Value::Object(fields) = state else { return Ok(()) };
    let mut left_out = Vec::new();
    for (name, value) in fields.iter_mut() {
        let below: Vec<&[&str]> = paths
            .iter()
            .filter_map(|path| path.split_first())
            .filter(|(first, _)| **first == "*" || **first == name.as_str())
            .map(|(_, rest)| rest)
            .collect();
        let field = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        if below.is_empty() {
            if !says_nothing(value) {
                return Err(NotUnderstood { field });
            }
            left_out.push(name.clone());
        } else if !below.iter().any(|rest| rest.is_empty()) {
            reduce(value, &below, &field)?;
        }
    }
    left_out.iter().for_each(|name| drop(fields.remove(name)));
    Ok(())
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use types::{InstanceId, NetworkId};

    use super::*;

    #[test]
    fn a_state_of_version_one_stays_as_it_is() {
        let mut state = json!({
            "id": "net-1", "dhcp": {"range": "a-b"}, "dns": {"domain": "d", "servers": []},
            "peers": {"per-1": {"name": "n", "public_key": "k", "address": "a"}},
            "wireguard": {"private_key": {"value": "x"}},
        });
        let before = state.clone();
        for_version_one(Object::Network(NetworkId::from_bits(1)), &mut state).unwrap();
        assert_eq!(state, before);
    }

    #[test]
    fn later_fields_that_say_nothing_are_left_out_at_every_depth() {
        let mut state = json!({
            "id": "net-1", "forwards": {}, "dhcp": null, "shared": false,
            "peers": {"per-1": {"name": "n", "routes": []}},
        });
        for_version_one(Object::Network(NetworkId::from_bits(1)), &mut state).unwrap();
        assert_eq!(state, json!({"id": "net-1", "dhcp": null, "peers": {"per-1": {"name": "n"}}}));
    }

    #[test]
    fn a_later_field_that_says_something_is_named() {
        let mut state = json!({"id": "ins-1", "nic": {"mac": "m", "vlan": 7}});
        let error = for_version_one(Object::Instance(InstanceId::from_bits(1)), &mut state).unwrap_err();
        assert_eq!(error.field, "nic.vlan");
    }
}
