//! What a session may do, as its login tells.

use std::collections::BTreeMap;

use serde_json::Value;

/// The `acls` of a login: what its session may do.
#[derive(Debug, Default)]
pub struct Rights(BTreeMap<String, Vec<Grant>>);

/// A pattern of names, and what may be done with them.
#[derive(Debug)]
struct Grant {
    pattern: String,
    verbs: Vec<String>,
}

impl Rights {
    /// Reads `{"uci":{"pattern":["read","write"]},"ubus":{"pattern":["method"]}}`.
    pub(crate) fn from_acls(acls: &Value) -> Self {
        let scopes = acls.as_object().into_iter().flatten();
        Self(scopes.map(|(scope, granted)| (scope.clone(), grants(granted))).collect())
    }

    /// Whether the session may do `verb` with an object of a scope: call a method of an object in `ubus`, `read` or
    /// `write` a package in `uci`, `read`, `write` or `exec` a path in `file`.
    #[must_use]
    pub fn allow(&self, scope: &str, object: &str, verb: &str) -> bool {
        self.0.get(scope).is_some_and(|granted| granted.iter().any(|grant| grant.covers(object, verb)))
    }
}

fn grants(granted: &Value) -> Vec<Grant> {
    let grant = |(pattern, verbs): (&String, &Value)| {
        let verbs = verbs.as_array().into_iter().flatten();
        let verbs = verbs.filter_map(|verb| verb.as_str().map(str::to_owned)).collect();
        Grant { pattern: pattern.clone(), verbs }
    };
    granted.as_object().into_iter().flatten().map(grant).collect()
}

impl Grant {
    fn covers(&self, name: &str, verb: &str) -> bool {
        matches(&self.pattern, name) && self.verbs.iter().any(|granted| matches(granted, verb))
    }
}

/// The patterns of rpcd's access lists: `*` for any text, `?` for a character.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last star stands, and how far the text is that it takes.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b) if *b == b'?' || *b == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                t = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rights_follow_the_patterns() {
        let acls = json!({"uci": {"*": ["read"], "dhcp": ["read", "write"], "fire*": ["write"], "net?ork": ["write"]}, "ubus": {"uci": ["get", "set"], "session": ["*"]}});
        let rights = Rights::from_acls(&acls);
        assert!(rights.allow("uci", "anything", "read") && !rights.allow("uci", "anything", "write"));
        for package in ["dhcp", "firewall", "network"] {
            assert!(rights.allow("uci", package, "write"), "{package}");
        }
        assert!(!rights.allow("uci", "netwwork", "write"));
        assert!(rights.allow("ubus", "uci", "get") && !rights.allow("ubus", "uci", "apply"));
        assert!(rights.allow("ubus", "session", "destroy") && !rights.allow("ubus", "system", "board"));
        assert!(!Rights::from_acls(&json!({})).allow("uci", "dhcp", "read"));
        assert!(!Rights::from_acls(&json!({"uci": "all"})).allow("uci", "dhcp", "read"));
    }

    #[test]
    fn stars_take_any_text() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("*a", "baa", true),
            ("", "a", false),
            ("a", "", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
