//! Why an option is what it is.

use std::fmt;

use uci::Config;

use crate::address::OptionAddress;
use crate::document::Selector;
use crate::effective::{Effective, Setting};
use crate::mask;

/// What was said of an option of one section, the word that counts first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The option, its section by name.
    pub option: String,
    /// What the device has, as people are shown it.
    pub found: Option<String>,
    /// What the layers said, the one that counts first. Nothing where nobody manages it.
    pub said: Vec<Setting>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Some(value) => writeln!(out, "{} is {value} on the device", self.option)?,
            None => writeln!(out, "{} is not on the device", self.option)?,
        }
        let Some((counts, overruled)) = self.said.split_first() else {
            return write!(out, "  nobody manages it: it stays as it is");
        };
        write!(out, "  {} by {}", shown(counts), counts.origin)?;
        overruled.iter().try_for_each(|setting| write!(out, "\n  overruled: {} by {}", shown(setting), setting.origin))
    }
}

fn shown(setting: &Setting) -> String {
    match &setting.value {
        Some(value) => format!("set to {}", mask::shown(value, setting.is_secret)),
        None => "taken away".to_owned(),
    }
}

/// Says of an option, in every section that the path means, which section of the fleet set it and who signed that.
#[must_use]
pub fn explain(address: &OptionAddress, effective: &Effective, current: &Config) -> Vec<Explanation> {
    let package = &address.section.package;
    let there = current.get(package.as_str());
    let mut found = Vec::new();
    let is_kind = |kind: &uci::SectionType| address.section.kind.as_ref().is_none_or(|wanted| wanted == kind);
    for ((of, name), section) in &effective.sections {
        if of != package || !is_kind(&section.kind) {
            continue;
        }
        let id = section.found_as.as_ref().unwrap_or(name);
        let on_device = there.and_then(|package| package.section(id.as_str()));
        let holds = |option: &str, value: &String| {
            let is_on_device =
                on_device.and_then(|section| section.get(option)).is_some_and(|found| found.items().contains(value));
            let wanted = section.setting(option).and_then(|setting| setting.value.as_ref());
            is_on_device || wanted.is_some_and(|wanted| wanted.items().contains(value))
        };
        let is_meant = match &address.section.selector {
            Selector::Name(wanted) => wanted == name || wanted == id,
            Selector::Holding { criteria, .. } => criteria.iter().all(|(option, value)| holds(option.as_str(), value)),
        };
        if !is_meant {
            continue;
        }
        let mut said = section.settings.get(&address.option).cloned().unwrap_or_default();
        said.reverse();
        if let Some(origin) = &section.deleted_by {
            said.insert(0, Setting { value: None, origin: origin.clone(), is_secret: false });
        }
        let is_secret =
            said.iter().any(|setting| setting.is_secret) || mask::is_secret(package, &section.kind, &address.option);
        let value = on_device.and_then(|section| section.get(address.option.as_str()));
        let option = format!("{package}.{name}.{}", address.option);
        found.push(Explanation { option, found: value.map(|value| mask::shown(value, is_secret)), said });
    }
    if let (true, Selector::Name(name)) = (found.is_empty(), &address.section.selector) {
        let section = there.and_then(|package| package.section(name.as_str()));
        let value = section.and_then(|section| {
            let is_secret = mask::is_secret(package, section.kind(), &address.option);
            Some(mask::shown(section.get(address.option.as_str())?, is_secret))
        });
        found.push(Explanation { option: address.to_string(), found: value, said: Vec::new() });
    }
    found
}
