//! What rpcd does with the calls, and what it writes down about them.

use crate::{
    Change, Edit, EditError, OptionName, Package, PackageName, SectionName, SectionType, Value, ValueError, Values,
};

/// What rpcd writes down about a call, and `uci changes` tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Record {
    /// `["set", section, type]`: a section made, or its type replaced.
    Section {
        /// The section.
        section: SectionName,
        /// The type.
        kind: SectionType,
    },
    /// `["set", section, option, text]`.
    Option {
        /// The section.
        section: SectionName,
        /// The option.
        option: OptionName,
        /// The text.
        text: String,
    },
    /// `["list-add", section, option, item]`.
    Item {
        /// The section.
        section: SectionName,
        /// The list.
        option: OptionName,
        /// The item.
        item: String,
    },
    /// `["remove", section]`.
    RemovedSection {
        /// The section.
        section: SectionName,
    },
    /// `["remove", section, option]`.
    RemovedOption {
        /// The section.
        section: SectionName,
        /// The option.
        option: OptionName,
    },
    /// `["rename", section, name]`.
    RenamedSection {
        /// The section.
        section: SectionName,
        /// Its other name.
        name: SectionName,
    },
    /// `["rename", section, option, name]`.
    RenamedOption {
        /// The section.
        section: SectionName,
        /// The option.
        option: OptionName,
        /// Its other name.
        name: OptionName,
    },
    /// `["order", section, place]`: the place counts from 0.
    Order {
        /// The section.
        section: SectionName,
        /// Its place.
        place: usize,
    },
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

/// Does to a package what rpcd does with the calls, and gives what it writes down about them.
///
/// # Errors
/// At the first call that rpcd refuses, or that would leave two sections or options of one name.
pub fn apply(package: &mut Package, changes: &[Change]) -> Result<Vec<Record>, ApplyError> {
    let mut records = Vec::new();
    for change in changes {
        if change.config != *package.name() {
            let (package, found) = (package.name().clone(), change.config.clone());
            return Err(ApplyError::OtherPackage { package, found });
        }
        let call = Call { package, method: change.edit.method(), records: &mut records };
        call.make(&change.edit)?;
    }
    Ok(records)
}

/// One call at work.
struct Call<'a> {
    package: &'a mut Package,
    method: &'static str,
    records: &'a mut Vec<Record>,
}

impl Call<'_> {
    fn make(mut self, edit: &Edit) -> Result<(), ApplyError> {
        match edit {
            Edit::Add { kind, name, values } => self.add(kind, name, values),
            Edit::Set { section, values } => self.set(section, values),
            Edit::DeleteSection { section } => self.delete(section),
            Edit::DeleteOptions { section, options } => self.delete_options(section, options),
            Edit::RenameSection { section, name } => {
                let renamed = self.package.rename(section.as_str(), name);
                let (section, name) = (section.clone(), name.clone());
                self.rename(renamed, Record::RenamedSection { section, name })
            }
            Edit::RenameOption { section, option, name } => {
                let Some(found) = self.package.section_mut(section.as_str()) else {
                    return Ok(());
                };
                let renamed = found.rename(option.as_str(), name);
                let (section, option, name) = (section.clone(), option.clone(), name.clone());
                self.rename(renamed, Record::RenamedOption { section, option, name })
            }
            Edit::Order { sections } => self.order(sections),
        }
    }

    fn add(&mut self, kind: &SectionType, name: &SectionName, values: &Values) -> Result<(), ApplyError> {
        let values: Vec<_> = values.iter().filter(|(_, value)| !value.items().is_empty()).collect();
        for (option, value) in &values {
            self.check(option, value)?;
        }
        let set = Record::Section { section: name.clone(), kind: kind.clone() };
        match self.package.section_mut(name.as_str()) {
            Some(section) if section.kind() == kind => {}
            Some(section) => {
                section.set_kind(kind.clone());
                self.records.push(set);
            }
            None => {
                let added = self.package.add(kind, name).map(|_| ());
                added.map_err(|error| self.refused(error))?;
                self.records.push(set);
            }
        }
        for (option, value) in values {
            match value {
                Value::Scalar(_) => self.put(name, option, value)?,
                Value::List(items) => self.append(name, option, items)?,
            }
        }
        Ok(())
    }

    fn set(&mut self, section: &SectionName, values: &Values) -> Result<(), ApplyError> {
        if values.is_empty() {
            return Err(self.not_found(None));
        }
        for (option, value) in values {
            self.check(option, value)?;
        }
        for (option, value) in values {
            let old = self.package.section(section.as_str()).and_then(|found| found.get(option.as_str()));
            let is_list = |value: &Value| matches!(value, Value::List(_));
            // A list is taken away before it is written, even when it stays the same.
            if old.is_some_and(|old| is_list(old) || is_list(value)) {
                self.remove(section, option)?;
            }
            match value {
                Value::Scalar(_) => self.put(section, option, value)?,
                Value::List(items) => self.append(section, option, items)?,
            }
        }
        Ok(())
    }

    /// Sets a text where it differs; the empty one removes.
    fn put(&mut self, name: &SectionName, option: &OptionName, value: &Value) -> Result<(), ApplyError> {
        let section = self.section(name)?;
        let old = section.get(option.as_str());
        let record = match value.as_str() {
            Some("") if old.is_none() => return Ok(()),
            Some("") => Record::RemovedOption { section: name.clone(), option: option.clone() },
            _ if old == Some(value) => return Ok(()),
            text => Record::Option {
                section: name.clone(),
                option: option.clone(),
                text: text.unwrap_or_default().to_owned(),
            },
        };
        let put = section.set(option, value.clone());
        put.map_err(|error| self.refused(error))?;
        self.records.push(record);
        Ok(())
    }

    fn append(&mut self, name: &SectionName, option: &OptionName, items: &[String]) -> Result<(), ApplyError> {
        let section = self.section(name)?;
        let old = section.get(option.as_str()).map(Value::items).unwrap_or_default();
        let all: Value = old.iter().chain(items).cloned().collect();
        let put = section.set(option, all);
        put.map_err(|error| self.refused(error))?;
        let record = |item: &String| Record::Item { section: name.clone(), option: option.clone(), item: item.clone() };
        self.records.extend(items.iter().map(record));
        Ok(())
    }

    fn remove(&mut self, name: &SectionName, option: &OptionName) -> Result<(), ApplyError> {
        let removed = self.section(name)?.delete(option.as_str());
        removed.map_err(|error| self.not_found(Some(error)))?;
        self.records.push(Record::RemovedOption { section: name.clone(), option: option.clone() });
        Ok(())
    }

    fn delete(&mut self, section: &SectionName) -> Result<(), ApplyError> {
        let deleted = self.package.delete(section.as_str());
        deleted.map_err(|error| self.not_found(Some(error)))?;
        self.records.push(Record::RemovedSection { section: section.clone() });
        Ok(())
    }

    fn delete_options(&mut self, section: &SectionName, options: &[OptionName]) -> Result<(), ApplyError> {
        let before = self.records.len();
        for option in options {
            if self.section(section)?.get(option.as_str()).is_some() {
                self.remove(section, option)?;
            }
        }
        if self.records.len() == before { Err(self.not_found(None)) } else { Ok(()) }
    }

    /// rpcd says nothing when it finds nothing to rename.
    fn rename(&mut self, renamed: Result<(), EditError>, record: Record) -> Result<(), ApplyError> {
        match renamed {
            Ok(()) => self.records.push(record),
            Err(EditError::NoSection { .. } | EditError::NoOption { .. }) => {}
            Err(error) => return Err(self.refused(error)),
        }
        Ok(())
    }

    fn order(&mut self, sections: &[SectionName]) -> Result<(), ApplyError> {
        self.package.order(sections).map_err(|error| self.not_found(Some(error)))?;
        let record = |(place, section): (usize, &SectionName)| Record::Order { section: section.clone(), place };
        self.records.extend(sections.iter().enumerate().map(record));
        Ok(())
    }

    fn section(&mut self, name: &SectionName) -> Result<&mut crate::Section, ApplyError> {
        let package = self.package.name().clone();
        let method = self.method;
        self.package.section_mut(name.as_str()).ok_or_else(|| {
            let missing = EditError::NoSection { package: package.clone(), section: name.to_string() };
            ApplyError::NotFound { package, method, source: Some(Box::new(missing)) }
        })
    }

    fn check(&self, option: &OptionName, value: &Value) -> Result<(), ApplyError> {
        value.check().map_err(|source| ApplyError::Value {
            package: self.package.name().clone(),
            method: self.method,
            option: option.clone(),
            source,
        })
    }

    fn not_found(&self, source: Option<EditError>) -> ApplyError {
        let source = source.map(Box::new);
        ApplyError::NotFound { package: self.package.name().clone(), method: self.method, source }
    }

    fn refused(&self, source: EditError) -> ApplyError {
        let source = Box::new(source);
        ApplyError::Edit { package: self.package.name().clone(), method: self.method, source }
    }
}
