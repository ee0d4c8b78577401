//! The configuration that a device has, as contents of sections for the fleet.
//!
//! Radios are addressed by band where a band has one, ports by what they are for, and sections without a name by what is
//! in them, so that what was imported from one device fits another.

use std::collections::BTreeMap;

use uci::{Config, OptionName, Package, PackageName, Section, Value};

use crate::document::{Selector, Variable};
use crate::facts::{Facts, Radio};
use crate::{Scope, SectionPath, mask, stable_name};

/// What was made of a device's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// Contents by section. Secrets stand in them as `${variables}`.
    pub contents: BTreeMap<SectionPath, String>,
    /// The secrets, for a section `variables` that is sealed.
    pub secrets: BTreeMap<OptionName, Variable>,
    /// What was left out, and why.
    pub left_out: Vec<String>,
}

/// Packages that belong to the device itself, or to dusk.
const OWN: &[&str] = &["dusk", "ucitrack", "rpcd", "uhttpd", "luci", "ubootenv", "fstab", "rhyzome"];

/// Makes contents of a device's configuration, for a device or a group. `is_picked` says which packages.
#[must_use]
pub fn import(scope: &Scope, config: &Config, facts: &Facts, is_picked: impl Fn(&PackageName) -> bool) -> Import {
    let mut import = Import::default();
    let radios = facts.radios(config);
    for package in config.packages().filter(|package| is_picked(package.name())) {
        let name = package.name();
        if OWN.contains(&name.as_str()) {
            import.left_out.push(format!("package {name}: it belongs to the device"));
            continue;
        }
        let Ok(path) = scope.section(&format!("config/{name}")) else {
            import.left_out.push(format!("package {name}: its name is no part of a section's path"));
            continue;
        };
        let mut content = Package::new(name.clone());
        for section in package.sections() {
            import.section(&mut content, section, package, &radios, facts);
        }
        if !content.is_empty() {
            import.contents.insert(path, content.canonical());
        }
    }
    if !import.secrets.is_empty()
        && let Ok(path) = scope.section("variables")
    {
        let mut variables = Package::new(PackageName::new("dusk").expect("invariant: a name"));
        let section = variables.add_anonymous("secrets").expect("invariant: a type");
        for (name, variable) in &import.secrets {
            let kept = section.set(name.clone(), variable.value.clone());
            kept.expect("invariant: the value came from UCI");
        }
        import.contents.insert(path, variables.canonical());
    }
    import
}

impl Import {
    fn section(
        &mut self,
        content: &mut Package,
        section: &Section,
        package: &Package,
        radios: &[Radio],
        facts: &Facts,
    ) {
        let name = section.name();
        if !section.kind().is_portable() {
            self.left_out.push(format!("{}.{name}: rpcd does not take its type {}", package.name(), section.kind()));
            return;
        }
        let radio = radios.iter().find(|radio| radio.section == *name && section.kind().as_str() == "wifi-device");
        let band =
            radio.map(|radio| radio.band).filter(|band| radios.iter().filter(|radio| radio.band == *band).count() == 1);
        let made = if let Some(band) = band {
            let made = content.add_anonymous(section.kind().clone());
            made.and_then(|made| made.set("dusk_select", format!("band={band}")).map(|()| made))
        } else if section.is_anonymous() {
            match stable_name::selector(package.name(), section) {
                Selector::Holding { criteria, index } => {
                    let is_alone = package
                        .sections()
                        .filter(|other| {
                            stable_name::selector(package.name(), other)
                                == stable_name::selector(package.name(), section)
                        })
                        .count()
                        == 1;
                    if !is_alone {
                        self.left_out.push(format!(
                            "{}.@{}: another section holds the same {}",
                            package.name(),
                            section.kind(),
                            criteria.keys().map(OptionName::as_str).collect::<Vec<_>>().join(" and "),
                        ));
                        return;
                    }
                    let selector = Selector::Holding { criteria, index }.to_string();
                    if let Err(error) = Value::from(selector.as_str()).check() {
                        self.left_out.push(format!("{}.@{}: {error}", package.name(), section.kind()));
                        return;
                    }
                    let made = content.add_anonymous(section.kind().clone());
                    made.and_then(|made| made.set("dusk_select", selector).map(|()| made))
                }
                Selector::Name(_) => self.by_place(content, section, package),
            }
        } else {
            content.add(section.kind().clone(), name.clone())
        };
        let made = made.expect("invariant: names and types came from UCI");
        for (option, value) in section.options() {
            // What the hardware is called is no wish.
            let is_hardware = radio.is_some() && matches!(option.as_str(), "path" | "phy" | "macaddr" | "type");
            if is_hardware {
                continue;
            }
            // Files hold what cannot be set.
            if let Err(error) = value.check() {
                self.left_out.push(format!("{}.{name}.{option}: {error}", package.name()));
                continue;
            }
            let value = match mask::is_secret(package.name(), section.kind(), option) {
                true => self.covered(package.name(), name.as_str(), option, value),
                false => addressed(escaped(value), option, package.name(), radios, facts),
            };
            made.set(option.clone(), value).expect("invariant: the value was checked");
        }
    }

    /// A section that nothing but its place tells apart.
    fn by_place<'a>(
        &mut self,
        content: &'a mut Package,
        section: &Section,
        package: &Package,
    ) -> Result<&'a mut Section, uci::EditError> {
        let place = package.of_kind(section.kind().as_str()).position(|other| other.name() == section.name());
        let made = content.add_anonymous(section.kind().clone())?;
        made.set("dusk_select", place.unwrap_or_default().to_string())?;
        Ok(made)
    }

    fn covered(&mut self, package: &PackageName, section: &str, option: &OptionName, value: &Value) -> Value {
        let name = format!("{package}_{section}_{option}").replace('-', "_");
        let name = OptionName::new(name).expect("invariant: made of letters, digits and '_'");
        self.secrets.insert(name.clone(), Variable { value: value.clone(), is_secret: true });
        match value {
            Value::Scalar(_) => Value::Scalar(format!("${{{name}}}")),
            Value::List(_) => Value::List(vec![format!("${{{name}}}")]),
        }
    }
}

/// A value in which nothing is taken for a variable.
fn escaped(value: &Value) -> Value {
    let escape = |text: &String| text.replace("${", "$${");
    match value {
        Value::Scalar(text) => Value::Scalar(escape(text)),
        Value::List(items) => Value::List(items.iter().map(escape).collect()),
    }
}

/// A value with hardware by its role.
fn addressed(value: Value, option: &OptionName, package: &PackageName, radios: &[Radio], facts: &Facts) -> Value {
    match (package.as_str(), option.as_str(), &value) {
        ("wireless", "device", Value::Scalar(text)) => {
            let radio = radios.iter().find(|radio| radio.section.as_str() == text);
            let is_first = |radio: &&Radio| radios.iter().find(|other| other.band == radio.band) == Some(radio);
            match radio.filter(is_first) {
                Some(radio) => Value::Scalar(format!("@radio[band={}]", radio.band)),
                None => value,
            }
        }
        ("network", "ports", Value::List(items)) => {
            let whole = facts.ports.iter().find(|(_, ports)| !ports.is_empty() && *ports == items);
            match whole {
                Some((role, _)) => Value::List(vec![format!("@port[role={role}]")]),
                None => value,
            }
        }
        ("network", "device", Value::Scalar(text)) => {
            let role = facts.ports.iter().find(|(_, ports)| ports.len() == 1 && ports[0] == *text);
            match role {
                Some((role, _)) => Value::Scalar(format!("@port[role={role}]")),
                None => value,
            }
        }
        _ => value,
    }
}
