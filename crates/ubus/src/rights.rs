//! What a session may do, as its login tells.

use serde_json::Value;

/// The `acls` of a login, as far as a transaction needs them.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    packages: Vec<Grant>,
    objects: Vec<Grant>,
}

/// A pattern of names, and what may be done with them.
#[derive(Debug)]
struct Grant {
    pattern: String,
    verbs: Vec<String>,
}

impl Rights {
    /// Reads `{"uci":{"pattern":["read","write"]},"ubus":{"pattern":["method"]}}`.
    pub(crate) fn from_acls(acls: &Value) -> Self {
        Self { packages: grants(acls, "uci"), objects: grants(acls, "ubus") }
    }

    /// Whether the session may `read` or `write` a package.
    pub(crate) fn allow_package(&self, package: &str, verb: &str) -> bool {
        self.packages.iter().any(|grant| grant.covers(package, verb))
    }

    /// Whether the session may call a method of an object.
    pub(crate) fn allow_call(&self, object: &str, method: &str) -> bool {
        self.objects.iter().any(|grant| grant.covers(object, method))
    }
}

fn grants(acls: &Value, scope: &str) -> Vec<Grant> {
    let granted = acls.get(scope).and_then(Value::as_object).into_iter().flatten();
    let grant = |(pattern, verbs): (&String, &Value)| {
        let verbs = verbs.as_array().into_iter().flatten();
        let verbs = verbs.filter_map(|verb| verb.as_str().map(str::to_owned)).collect();
        Grant { pattern: pattern.clone(), verbs }
    };
    granted.map(grant).collect()
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
        assert!(rights.allow_package("anything", "read") && !rights.allow_package("anything", "write"));
        for package in ["dhcp", "firewall", "network"] {
            assert!(rights.allow_package(package, "write"), "{package}");
        }
        assert!(!rights.allow_package("netwwork", "write"));
        assert!(rights.allow_call("uci", "get") && !rights.allow_call("uci", "apply"));
        assert!(rights.allow_call("session", "destroy") && !rights.allow_call("system", "board"));
        assert!(!Rights::from_acls(&json!({})).allow_package("dhcp", "read"));
        assert!(!Rights::from_acls(&json!({"uci": "all"})).allow_package("dhcp", "read"));
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
