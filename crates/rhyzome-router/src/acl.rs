//! Rights: the groups in `acl.d/*.json`, which of them a login names, and the table of grants that a session carries.

use std::collections::BTreeMap;
use std::path::Path;

use crate::glob::matches;
use crate::json::Json;

/// What a session may do: scope → object pattern → functions, in the order in which they were granted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grants(BTreeMap<String, BTreeMap<String, Vec<String>>>);

impl Grants {
    /// Grants `function` on `object` in `scope`.
    pub fn grant(&mut self, scope: &str, object: &str, function: &str) {
        let functions = self.0.entry(scope.to_owned()).or_default().entry(object.to_owned()).or_default();
        if !functions.iter().any(|known| known == function) {
            functions.push(function.to_owned());
        }
    }

    /// Takes back `function` on `object` in `scope`.
    pub fn revoke(&mut self, scope: &str, object: &str, function: &str) {
        let Some(objects) = self.0.get_mut(scope) else { return };
        if let Some(functions) = objects.get_mut(object) {
            functions.retain(|known| known != function);
            if functions.is_empty() {
                objects.remove(object);
            }
        }
        if objects.is_empty() {
            self.0.remove(scope);
        }
    }

    /// Takes back a whole scope.
    pub fn revoke_scope(&mut self, scope: &str) {
        self.0.remove(scope);
    }

    /// Whether `function` on `object` is granted in `scope`; objects and functions are patterns.
    #[must_use]
    pub fn allow(&self, scope: &str, object: &str, function: &str) -> bool {
        self.0.get(scope).is_some_and(|objects| {
            objects.iter().any(|(pattern, functions)| {
                matches(pattern, object) && functions.iter().any(|known| matches(known, function))
            })
        })
    }

    /// The table as a login reply shows it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let scopes = self.0.iter().map(|(scope, objects)| {
            let objects = objects.iter().map(|(object, functions)| (object.clone(), Json::from(functions.clone())));
            (scope.clone(), Json::Object(objects.collect()))
        });
        Json::Object(scopes.collect())
    }
}

/// Which groups a login section names: `list read` and `list write`, where writing includes reading.
#[derive(Clone, Debug, Default)]
pub struct Membership {
    /// Group patterns of `list read`.
    pub read: Vec<String>,
    /// Group patterns of `list write`.
    pub write: Vec<String>,
}

impl Membership {
    /// The membership of callers without a login.
    #[must_use]
    pub fn unauthenticated() -> Self {
        Membership { read: vec!["unauthenticated".to_owned()], write: Vec::new() }
    }

    fn may_read(&self, group: &str) -> bool {
        names(&self.read, group) || self.may_write(group)
    }

    fn may_write(&self, group: &str) -> bool {
        names(&self.write, group)
    }
}

/// Whether a list of patterns names `group`; `!name` takes a group out again.
fn names(patterns: &[String], group: &str) -> bool {
    let excluded = patterns.iter().any(|pattern| pattern.strip_prefix('!').is_some_and(|name| name.trim() == group));
    !excluded && patterns.iter().any(|pattern| !pattern.starts_with('!') && matches(pattern, group))
}

/// rpcd's own group for callers that have not logged in.
const UNAUTHENTICATED: &str =
    r#"{"unauthenticated":{"description":"Without a login","read":{"ubus":{"session":["access","login"]}}}}"#;

/// The grants that `membership` gives by the groups in the files of `dir`, read anew. A file that cannot be read or
/// parsed gives none and is named in the log.
#[must_use]
pub fn grants(dir: &Path, membership: &Membership) -> Grants {
    let mut grants = Grants::default();
    let mut texts = vec![UNAUTHENTICATED.to_owned()];
    for path in files(dir) {
        match std::fs::read_to_string(&path) {
            Ok(text) => texts.push(text),
            Err(error) => tracing::warn!(file = %path.display(), %error, "cannot read an ACL file"),
        }
    }
    for text in texts {
        match serde_json::from_str::<Json>(&text) {
            Ok(Json::Object(groups)) => {
                groups.iter().for_each(|(name, group)| add(&mut grants, membership, name, group))
            }
            Ok(_) => tracing::warn!("an ACL file holds no object of groups"),
            Err(error) => tracing::warn!(%error, "an ACL file is not JSON"),
        }
    }
    grants
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    paths
}

fn add(grants: &mut Grants, membership: &Membership, name: &str, group: &Json) {
    for (right, allowed) in [("read", membership.may_read(name)), ("write", membership.may_write(name))] {
        let (true, Some(Json::Object(scopes))) = (allowed, group.get(right)) else { continue };
        for (scope, objects) in scopes {
            match objects {
                Json::Object(objects) => {
                    for (object, functions) in objects {
                        let Json::Array(functions) = functions else { continue };
                        for function in functions.iter().filter_map(Json::as_text) {
                            grants.grant(scope, object, function);
                        }
                    }
                }
                Json::Array(objects) => {
                    objects.iter().filter_map(Json::as_text).for_each(|object| grants.grant(scope, object, right));
                }
                _ => {}
            }
        }
        grants.grant("access-group", name, right);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_includes_reading_and_a_group_can_be_taken_out() {
        let membership = Membership { read: vec!["*".into(), "!secret".into()], write: vec!["net*".into()] };
        assert!(membership.may_read("network") && membership.may_write("network"));
        assert!(membership.may_read("other") && !membership.may_write("other"));
        assert!(!membership.may_read("secret"));
    }

    #[test]
    fn a_right_can_be_taken_back() {
        let mut grants = Grants::default();
        grants.grant("ubus", "uci", "get");
        grants.grant("ubus", "uci", "get");
        assert!(grants.allow("ubus", "uci", "get"));
        grants.revoke("ubus", "uci", "get");
        assert_eq!(grants, Grants::default());
    }
}
