//! What the agent's login must be allowed, as the file says that goes onto a router as
//! `/usr/share/rpcd/acl.d/rhyzome.json`.

use std::fmt;

use serde_json::Value;
use ubus::Rights;

/// The file.
pub const FILE: &str = include_str!("../acl/rhyzome.json");
/// The group in it.
pub const GROUP: &str = "rhyzome";

/// One thing that a login may do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    scope: String,
    object: String,
    verb: String,
}

impl Right {
    /// Whether a session has it.
    pub fn is_in(&self, rights: &Rights) -> bool {
        rights.allow(&self.scope, &self.object, &self.verb)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, object, verb } = self;
        match scope.as_str() {
            "ubus" => write!(out, "call {object} {verb}"),
            "uci" => write!(out, "{verb} package {object}"),
            _ => write!(out, "{verb} {object}"),
        }
    }
}

/// All that the file grants.
pub fn wanted() -> Vec<Right> {
    granted(FILE)
}

/// What of that a session lacks.
pub fn lacking(rights: &Rights) -> Vec<Right> {
    wanted().into_iter().filter(|right| !right.is_in(rights)).collect()
}

/// What a file of groups grants.
pub fn granted(file: &str) -> Vec<Right> {
    let groups: Value = serde_json::from_str(file).unwrap_or_default();
    let mut rights = Vec::new();
    for (verb, scopes) in groups.as_object().into_iter().flat_map(|groups| groups.values()).flat_map(members) {
        for (scope, objects) in members(scopes) {
            let right =
                |object: &str, verb: &str| Right { scope: scope.into(), object: object.into(), verb: verb.into() };
            match objects {
                // In `uci`, the side on which a package stands is what may be done with it.
                Value::Array(names) => rights.extend(names.iter().filter_map(Value::as_str).map(|n| right(n, verb))),
                objects => {
                    for (object, verbs) in members(objects) {
                        let verbs = verbs.as_array().into_iter().flatten().filter_map(Value::as_str);
                        rights.extend(verbs.map(|verb| right(object, verb)));
                    }
                }
            }
        }
    }
    rights.sort();
    rights
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_right_in_the_file_is_told_by_name() {
        let told: Vec<String> = wanted().iter().map(ToString::to_string).collect();
        for right in ["call uci apply", "read package network", "write package dhcp", "call session destroy"] {
            assert!(told.iter().any(|told| told == right), "{right}: {told:?}");
        }
        assert!(told.contains(&"exec /usr/bin/wg show rz* allowed-ips".to_owned()), "{told:?}");
        // A slip in the file would take rights away without a word.
        assert_eq!(told.len(), 28, "{told:#?}");
    }
}
