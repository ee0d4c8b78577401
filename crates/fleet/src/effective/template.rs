//! Templates: options that sections take over.

use std::collections::BTreeMap;

use uci::{OptionName, PackageName, SectionName, SectionType};

use crate::document::{Document, Selector, Wanted};
use crate::layer::{Origin, Placed};

/// The templates of a device by package and name. Where several layers have one, the later wins each option.
pub(super) struct Templates<'a>(BTreeMap<(&'a PackageName, &'a SectionName), Template<'a>>);

struct Template<'a> {
    kind: &'a SectionType,
    options: BTreeMap<&'a OptionName, (&'a Wanted, &'a Origin)>,
}

impl<'a> Templates<'a> {
    pub(super) fn of(layers: &[&'a Placed]) -> Self {
        let mut templates = BTreeMap::new();
        for placed in layers {
            let Document::Template(document) = &placed.document else { continue };
            for section in &document.sections {
                let Selector::Name(name) = &section.selector else { continue };
                let template = templates.entry((&document.package, name));
                let template = template.or_insert_with(|| Template { kind: &section.kind, options: BTreeMap::new() });
                template.kind = &section.kind;
                template.options.extend(section.options.iter().map(|(name, wanted)| (name, (wanted, &placed.origin))));
            }
        }
        Self(templates)
    }

    /// What a template says of its options.
    pub(super) fn find(
        &self,
        package: &PackageName,
        kind: &SectionType,
        name: &SectionName,
    ) -> Result<Vec<(&'a OptionName, &'a Wanted, &'a Origin)>, String> {
        let template = self.0.get(&(package, name));
        let template = template.ok_or_else(|| {
            format!("no section template/{package} has the template {name}: expected one that has it")
        })?;
        if template.kind != kind {
            return Err(format!("the template {name} is of type {}: expected one of type {kind}", template.kind));
        }
        Ok(template.options.iter().map(|(name, (wanted, origin))| (*name, *wanted, *origin)).collect())
    }
}
