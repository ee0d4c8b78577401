//! Variables: what stands for `${name}` in the values of a configuration.

use std::collections::BTreeMap;

use uci::{OptionName, Value};

use crate::document::{Document, Variable};
use crate::layer::{Member, Placed};
use crate::sealed::{self, Opener};

/// The variables of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, Result<Variable, String>>);

/// A value with its variables in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// The value.
    pub value: Value,
    /// Whether a secret is in it.
    pub is_secret: bool,
}

impl Variables {
    /// The variables that these sections set, the later winning, beside those that every device has: `${device_name}`,
    /// `${device_id}`, `${device_mac}` and `${board}`.
    #[must_use]
    pub fn of(member: &Member, sections: &[&Placed], opener: &dyn Opener) -> Self {
        let plain = |text: String| Ok(Variable { value: Value::Scalar(text), is_secret: false });
        let mut variables = BTreeMap::from([
            ("device_name".to_owned(), plain(member.name.to_string())),
            ("device_id".to_owned(), plain(member.id.to_string())),
            ("board".to_owned(), plain(member.facts.board.clone())),
        ]);
        variables.extend(member.facts.mac.map(|mac| ("device_mac".to_owned(), plain(mac.to_string()))));
        for placed in sections {
            let Document::Variables(set) = &placed.document else { continue };
            for (name, variable) in set {
                // Secret once is secret for good: a later section must not uncover what a template takes for covered.
                let was_secret = variables.get(name.as_str()).is_some_and(|earlier: &Result<Variable, String>| {
                    earlier.as_ref().map_or(true, |earlier| earlier.is_secret)
                });
                let opened = sealed::open_in(&variable.value, opener).map(|opened| {
                    let is_secret = variable.is_secret || was_secret || opened.is_some();
                    Variable { value: opened.unwrap_or_else(|| variable.value.clone()), is_secret }
                });
                variables.insert(name.to_string(), opened);
            }
        }
        Self(variables)
    }

    /// A value with its variables in place. `$${` stands for `${`. An item that is a variable and nothing else takes over
    /// all items of that variable's list.
    ///
    /// # Errors
    /// Says which variable is missing or does not fit.
    pub fn fill(&self, value: &Value) -> Result<Filled, String> {
        let mut is_secret = false;
        let value = match value {
            Value::Scalar(text) => match self.alone(text)? {
                Some(variable) => {
                    is_secret |= variable.is_secret;
                    variable.value.clone()
                }
                None => Value::Scalar(self.text(text, &mut is_secret)?),
            },
            Value::List(items) => {
                let mut filled = Vec::with_capacity(items.len());
                for item in items {
                    match self.alone(item)? {
                        Some(variable) => {
                            is_secret |= variable.is_secret;
                            filled.extend(variable.value.items().iter().cloned());
                        }
                        None => filled.push(self.text(item, &mut is_secret)?),
                    }
                }
                Value::List(filled)
            }
        };
        Ok(Filled { value, is_secret })
    }

    fn get(&self, name: &str) -> Result<&Variable, String> {
        let variable = self.0.get(name).ok_or_else(|| match OptionName::new(name) {
            Ok(_) => format!("no section sets the variable {name}: expected one of {}", self.names()),
            Err(_) => format!("{name:?} is no variable: expected letters, digits and '_' in ${{ }}"),
        })?;
        variable.as_ref().map_err(|problem| format!("the variable {name}: {problem}"))
    }

    fn names(&self) -> String {
        self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// The variable that a text is and nothing else.
    fn alone(&self, text: &str) -> Result<Option<&Variable>, String> {
        let inside = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        inside.filter(|name| !name.contains('}')).map(|name| self.get(name)).transpose()
    }

    fn text(&self, text: &str, is_secret: &mut bool) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let before = &rest[..at];
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            out.push_str(before);
            let inside = &rest[at + 2..];
            let end = inside.find('}').ok_or_else(|| format!("{text:?} has ${{ without }}: expected ${{name}}"))?;
            let variable = self.get(&inside[..end])?;
            *is_secret |= variable.is_secret;
            match variable.value.as_str() {
                Some(value) => out.push_str(value),
                None => return Err(format!("the variable {} is a list: expected one value here", &inside[..end])),
            }
            rest = &inside[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// Whether a value names variables.
#[must_use]
pub fn has_variables(value: &Value) -> bool {
    value.items().iter().any(|item| item.contains("${"))
}
