//! Changes: the calls of rpcd's `uci` object.

use std::collections::BTreeMap;

use crate::{OptionName, PackageName, SectionName, SectionType, Value};

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
    /// `add {type, name, values}`: makes a section at the end. One that is there takes on the type and the values,
    /// but items of a list are appended to those it has.
    Add {
        /// The type.
        kind: SectionType,
        /// The name.
        name: SectionName,
        /// The options; empty lists are dropped.
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
