//! Changes: the calls of rpcd's `uci` object, and what they do to a package.

use std::collections::BTreeMap;

use crate::{EditError, OptionName, Package, PackageName, SectionName, SectionType, Value, ValueError};

/// The values of a section, by option.
pub type Values = BTreeMap<OptionName, Value>;

/// One call of rpcd's `uci` object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The package it goes to, `config` in the call.
    pub config: PackageName,
    /// What it does there.
    pub edit: Edit,
}

/// What a call does to its package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// `add {type, name, values}`: makes a section at the end. One that is there takes on the type and the values.
    Add {
        /// The type.
        kind: SectionType,
        /// The name.
        name: SectionName,
        /// The options; rpcd drops empty texts here.
        values: Values,
    },
    /// `set {section, values}`: sets options. An empty text removes one; a list replaces.
    Set {
        /// The section.
        section: SectionName,
        /// The options.
        values: Values,
    },
    /// `delete {section}`.
    DeleteSection {
        /// The section.
        section: SectionName,
    },
    /// `delete {section, options}`: at least one of the options must be there.
    DeleteOptions {
        /// The section.
        section: SectionName,
        /// The options.
        options: Vec<OptionName>,
    },
    /// `rename {section, name}`: does nothing where there is no such section.
    RenameSection {
        /// The section.
        section: SectionName,
        /// Its other name.
        name: SectionName,
    },
    /// `rename {section, option, name}`: does nothing where there is no such option.
    RenameOption {
        /// The section.
        section: SectionName,
        /// The option.
        option: OptionName,
        /// Its other name.
        name: OptionName,
    },
    /// `order {sections}`: moves sections to the front, in this order.
    Order {
        /// The sections.
        sections: Vec<SectionName>,
    },
}

impl Edit {
    /// The method of rpcd's `uci` object.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::Add { .. } => "add",
            Self::Set { .. } => "set",
            Self::DeleteSection { .. } | Self::DeleteOptions { .. } => "delete",
            Self::RenameSection { .. } | Self::RenameOption { .. } => "rename",
            Self::Order { .. } => "order",
        }
    }
}

/// A change that rpcd would refuse. Nothing of it is done; the changes before it are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The change is for another package.
    #[error("a change of {found} comes to package {package}")]
    OtherPackage {
        /// The package.
        package: PackageName,
        /// The one the change names.
        found: PackageName,
    },
    /// What it changes is not there: rpcd answers 4, not found.
    #[error("{method} in package {package} finds nothing to change")]
    NotFound {
        /// The package.
        package: PackageName,
        /// The method.
        method: &'static str,
        /// What is missing, where it is one thing.
        source: Option<Box<EditError>>,
    },
    /// A value that UCI cannot hold: rpcd answers 2, invalid argument.
    #[error("{method} in package {package}, option {option}")]
    Value {
        /// The package.
        package: PackageName,
        /// The method.
        method: &'static str,
        /// The option.
        option: OptionName,
        /// What is wrong with the value.
        source: ValueError,
    },
    /// An edit that would leave two things of one name.
    #[error("{method} in package {package}")]
    Edit {
        /// The package.
        package: PackageName,
        /// The method.
        method: &'static str,
        /// What stands in the way.
        source: Box<EditError>,
    },
}

/// Does to a package what rpcd does with the calls.
///
/// # Errors
/// At the first call that rpcd refuses, or that would leave two sections or options of one name.
pub fn apply(package: &mut Package, changes: &[Change]) -> Result<(), ApplyError> {
    for change in changes {
        if change.config != *package.name() {
            let (package, found) = (package.name().clone(), change.config.clone());
            return Err(ApplyError::OtherPackage { package, found });
        }
        Applying { package, method: change.edit.method() }.apply(&change.edit)?;
    }
    Ok(())
}

struct Applying<'a> {
    package: &'a mut Package,
    method: &'static str,
}

impl Applying<'_> {
    fn apply(&mut self, edit: &Edit) -> Result<(), ApplyError> {
        match edit {
            Edit::Add { kind, name, values } => self.add(kind, name, values),
            Edit::Set { section, values } => self.set(section, values),
            Edit::DeleteSection { section } => match self.package.delete(section.as_str()) {
                Ok(_) => Ok(()),
                Err(missing) => Err(self.not_found(Some(missing))),
            },
            Edit::DeleteOptions { section, options } => self.delete_options(section, options),
            Edit::RenameSection { section, name } => {
                let renamed = self.package.rename(section.as_str(), name);
                self.rename(renamed)
            }
            Edit::RenameOption { section, option, name } => {
                let section = self.package.section_mut(section.as_str());
                let renamed = section.map_or(Ok(()), |section| section.rename(option.as_str(), name));
                self.rename(renamed)
            }
            Edit::Order { sections } => self.package.order(sections).map_err(|missing| self.not_found(Some(missing))),
        }
    }

    fn add(&mut self, kind: &SectionType, name: &SectionName, values: &Values) -> Result<(), ApplyError> {
        let values = values.iter().filter(|(_, value)| !value.is_empty_text() && !value.items().is_empty());
        let values: Values = values.map(|(name, value)| (name.clone(), value.clone())).collect();
        self.check(&values)?;
        if self.package.section(name.as_str()).is_none() {
            let added = self.package.add(kind, name).map(|_| ());
            added.map_err(|error| self.refused(error))?;
        }
        if let Some(section) = self.package.section_mut(name.as_str()) {
            section.set_kind(kind.clone());
        }
        self.put(name, &values)
    }

    fn set(&mut self, section: &SectionName, values: &Values) -> Result<(), ApplyError> {
        if values.is_empty() {
            return Err(self.not_found(None));
        }
        self.check(values)?;
        self.put(section, values)
    }

    fn put(&mut self, name: &SectionName, values: &Values) -> Result<(), ApplyError> {
        let missing = EditError::NoSection { package: self.package.name().clone(), section: name.to_string() };
        let Some(section) = self.package.section_mut(name.as_str()) else {
            return Err(self.not_found(Some(missing)));
        };
        let set = values.iter().try_for_each(|(option, value)| section.set(option, value.clone()));
        set.map_err(|error| self.refused(error))
    }

    fn delete_options(&mut self, section: &SectionName, options: &[OptionName]) -> Result<(), ApplyError> {
        let found = self.package.section_mut(section.as_str());
        let deleted =
            found.map_or(0, |section| options.iter().filter(|name| section.delete(name.as_str()).is_ok()).count());
        if deleted == 0 { Err(self.not_found(None)) } else { Ok(()) }
    }

    fn check(&self, values: &Values) -> Result<(), ApplyError> {
        for (option, value) in values {
            value.check().map_err(|source| ApplyError::Value {
                package: self.package.name().clone(),
                method: self.method,
                option: option.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// rpcd says nothing when it finds nothing to rename.
    fn rename(&self, renamed: Result<(), EditError>) -> Result<(), ApplyError> {
        match renamed {
            Ok(()) | Err(EditError::NoSection { .. } | EditError::NoOption { .. }) => Ok(()),
            Err(error) => Err(self.refused(error)),
        }
    }

    fn not_found(&self, source: Option<EditError>) -> ApplyError {
        let source = source.map(Box::new);
        ApplyError::NotFound { package: self.package.name().clone(), method: self.method, source }
    }

    fn refused(&self, source: EditError) -> ApplyError {
        ApplyError::Edit { package: self.package.name().clone(), method: self.method, source: Box::new(source) }
    }
}
