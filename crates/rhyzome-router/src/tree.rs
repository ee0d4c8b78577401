//! A UCI package as libuci holds it in memory: sections with the ids they got when the file was read or they were
//! added, changed by the same steps that are staged in a session's delta.

use std::fmt;

use crate::json::Json;

/// A package: the sections of one file and what has been staged on top.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    sections: Vec<Section>,
    /// How many sections there ever were: the ids of anonymous ones count on from it, deleted ones included.
    allocated: usize,
}

/// A section.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Its type.
    pub kind: String,
    /// Its name, or the id of an anonymous one.
    pub name: String,
    /// Whether the name is only an id.
    pub anonymous: bool,
    options: Vec<(String, Item)>,
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `option`
    Scalar(String),
    /// `list`
    List(Vec<String>),
}

/// One staged step, as a line of a delta records it. Sections are named by name or id.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are what their names say")]
pub enum Change {
    /// A section without a name.
    Add { section: String, kind: String },
    /// A section with a name, or another type for one that is there.
    Type { section: String, kind: String },
    /// An option. The text is not empty: that is a [`Change::Remove`].
    Set { section: String, option: String, value: String },
    /// One more item of a list.
    ListAdd { section: String, option: String, value: String },
    /// One item less.
    ListRemove { section: String, option: String, value: String },
    /// No section, or no option, any more.
    Remove { section: String, option: Option<String> },
    /// Another name for a section or an option.
    Rename { section: String, option: Option<String>, name: String },
    /// Another place for a section, counted from 0.
    Order { section: String, position: usize },
}

/// What a step names is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing;

/// Whether a step changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It did, and a delta records it.
    Changed,
    /// All was so before.
    None,
}

impl Section {
    /// The options, in order.
    #[must_use]
    pub fn options(&self) -> &[(String, Item)] {
        &self.options
    }

    /// The value of an option.
    #[must_use]
    pub fn get(&self, option: &str) -> Option<&Item> {
        self.options.iter().find(|(name, _)| name == option).map(|(_, item)| item)
    }

    /// The text of an option; of a list, the last item, as `uci get` in a shell's loop would leave it.
    #[must_use]
    pub fn text(&self, option: &str) -> Option<&str> {
        match self.get(option)? {
            Item::Scalar(text) => Some(text),
            Item::List(items) => items.last().map(String::as_str),
        }
    }

    /// The items of a list; a scalar is split at white space, as OpenWrt's scripts do.
    #[must_use]
    pub fn list(&self, option: &str) -> Vec<&str> {
        match self.get(option) {
            Some(Item::Scalar(text)) => text.split_whitespace().collect(),
            Some(Item::List(items)) => items.iter().map(String::as_str).collect(),
            None => Vec::new(),
        }
    }

    /// A switch: `1 on true yes enabled` and their opposites; anything else, or nothing, is `default`.
    #[must_use]
    pub fn flag(&self, option: &str, default: bool) -> bool {
        match self.text(option) {
            Some("1" | "on" | "true" | "yes" | "enabled") => true,
            Some("0" | "off" | "false" | "no" | "disabled") => false,
            _ => default,
        }
    }

    fn position(&self, option: &str) -> Option<usize> {
        self.options.iter().position(|(name, _)| name == option)
    }

    fn set(&mut self, option: &str, value: &str) -> Effect {
        let item = Item::Scalar(value.to_owned());
        match self.position(option) {
            Some(at) if self.options[at].1 == item => return Effect::None,
            Some(at) => self.options[at].1 = item,
            None => self.options.push((option.to_owned(), item)),
        }
        Effect::Changed
    }

    fn list_add(&mut self, option: &str, value: &str) {
        let Some(at) = self.position(option) else {
            self.options.push((option.to_owned(), Item::List(vec![value.to_owned()])));
            return;
        };
        if let Item::List(items) = &mut self.options[at].1 {
            items.push(value.to_owned());
            return;
        }
        // A scalar becomes the first item of a list, which libuci allocates anew at the end.
        if let (name, Item::Scalar(first)) = self.options.remove(at) {
            self.options.push((name, Item::List(vec![first, value.to_owned()])));
        }
    }

    /// The options as a reply of `uci get` shows them.
    #[must_use]
    pub fn to_json(&self, index: Option<usize>) -> Json {
        let mut members = vec![
            (".anonymous".to_owned(), self.anonymous.into()),
            (".type".to_owned(), self.kind.as_str().into()),
            (".name".to_owned(), self.name.as_str().into()),
        ];
        if let Some(index) = index {
            members.push((".index".to_owned(), Json::from(index as u64)));
        }
        members.extend(self.options.iter().map(|(name, item)| (name.clone(), item.to_json())));
        Json::Object(members)
    }
}

impl Item {
    /// The value as a reply shows it: a string or an array of strings.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Item::Scalar(text) => text.as_str().into(),
            Item::List(items) => items.clone().into(),
        }
    }

    /// Whether this is `text`, or a list that holds it.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        match self {
            Item::Scalar(scalar) => scalar == text,
            Item::List(items) => items.iter().any(|item| item == text),
        }
    }
}

impl Tree {
    /// The tree of a file's package.
    #[must_use]
    pub fn of(package: &uci::Package) -> Self {
        let sections: Vec<Section> = package
            .sections()
            .map(|section| Section {
                kind: section.kind().to_string(),
                name: section.name().to_string(),
                anonymous: section.is_anonymous(),
                options: section.options().map(|(name, value)| (name.to_string(), Item::of(value))).collect(),
            })
            .collect();
        Tree { allocated: sections.len(), sections }
    }

    /// The sections, in order.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The sections of one type, in order.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(move |section| section.kind == kind)
    }

    /// A section by its name or id.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// A section by its name, its id, or its position among its type (`@type[n]`, negative from the end).
    #[must_use]
    pub fn lookup<'a>(&'a self, name: &str) -> Option<&'a Section> {
        let Some(position) = name.strip_prefix('@') else { return self.section(name) };
        let (kind, index) = position.strip_suffix(']')?.split_once('[')?;
        let index: isize = index.parse().ok()?;
        let of_kind: Vec<&Section> = self.of_kind(kind).collect();
        let at = if index < 0 { of_kind.len().checked_add_signed(index)? } else { index.unsigned_abs() };
        of_kind.get(at).copied()
    }

    /// The id that the next anonymous section of this type gets: its position from 1, and djb2 of its type.
    #[must_use]
    pub fn next_id(&self, kind: &str) -> String {
        let hash = kind.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(byte.into()));
        format!("cfg{:02x}{:04x}", self.allocated + 1, hash & 0xffff)
    }

    /// Takes a step.
    ///
    /// # Errors
    /// When the section (or the option to remove or rename) is not there.
    pub fn apply(&mut self, change: &Change) -> Result<Effect, Missing> {
        match change {
            Change::Add { section, kind } => {
                let effect = self.set_type(section, kind);
                self.find(section)?.anonymous = true;
                Ok(effect)
            }
            Change::Type { section, kind } => Ok(self.set_type(section, kind)),
            Change::Set { section, option, value } => Ok(self.find(section)?.set(option, value)),
            Change::ListAdd { section, option, value } => {
                self.find(section)?.list_add(option, value);
                Ok(Effect::Changed)
            }
            Change::ListRemove { section, option, value } => {
                let section = self.find(section)?;
                let at = section.position(option).ok_or(Missing)?;
                if let Item::List(items) = &mut section.options[at].1 {
                    items.retain(|item| item != value);
                    if items.is_empty() {
                        section.options.remove(at);
                    }
                }
                Ok(Effect::Changed)
            }
            Change::Remove { section, option: None } => {
                let at = self.position(section).ok_or(Missing)?;
                self.sections.remove(at);
                Ok(Effect::Changed)
            }
            Change::Remove { section, option: Some(option) } => {
                let section = self.find(section)?;
                let at = section.position(option).ok_or(Missing)?;
                section.options.remove(at);
                Ok(Effect::Changed)
            }
            Change::Rename { section, option: None, name } => {
                let section = self.find(section)?;
                section.name.clone_from(name);
                section.anonymous = false;
                Ok(Effect::Changed)
            }
            Change::Rename { section, option: Some(option), name } => {
                let section = self.find(section)?;
                let at = section.position(option).ok_or(Missing)?;
                section.options[at].0.clone_from(name);
                Ok(Effect::Changed)
            }
            Change::Order { section, position } => {
                let from = self.position(section).ok_or(Missing)?;
                let moved = self.sections.remove(from);
                let to = (*position).min(self.sections.len());
                self.sections.insert(to, moved);
                Ok(if to == from { Effect::None } else { Effect::Changed })
            }
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.sections.iter().position(|section| section.name == name)
    }

    fn find(&mut self, name: &str) -> Result<&mut Section, Missing> {
        self.sections.iter_mut().find(|section| section.name == name).ok_or(Missing)
    }

    fn set_type(&mut self, name: &str, kind: &str) -> Effect {
        if let Ok(section) = self.find(name) {
            let effect = if section.kind == kind { Effect::None } else { Effect::Changed };
            kind.clone_into(&mut section.kind);
            return effect;
        }
        self.allocated += 1;
        self.sections.push(Section {
            kind: kind.to_owned(),
            name: name.to_owned(),
            anonymous: false,
            options: Vec::new(),
        });
        Effect::Changed
    }
}

impl Item {
    fn of(value: &uci::Value) -> Self {
        match value {
            uci::Value::Scalar(text) => Item::Scalar(text.clone()),
            uci::Value::List(items) => Item::List(items.clone()),
        }
    }
}

/// Prints the package as libuci's `uci_export` writes it: comments are gone, quotes are single.
impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for section in &self.sections {
            write!(f, "\nconfig {}", section.kind)?;
            if !section.anonymous {
                write!(f, " '{}'", section.name)?;
            }
            writeln!(f)?;
            for (name, item) in &section.options {
                match item {
                    Item::Scalar(text) => writeln!(f, "\toption {name} '{}'", escaped(text))?,
                    Item::List(items) => {
                        for text in items {
                            writeln!(f, "\tlist {name} '{}'", escaped(text))?;
                        }
                    }
                }
            }
        }
        writeln!(f)
    }
}

fn escaped(text: &str) -> String {
    text.replace('\'', r"'\''")
}

impl Change {
    /// The step as a reply of `uci changes` shows it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let words: Vec<&str> = match self {
            Change::Add { section, kind } => vec!["add", section, kind],
            Change::Type { section, kind } => vec!["set", section, kind],
            Change::Set { section, option, value } => vec!["set", section, option, value],
            Change::ListAdd { section, option, value } => vec!["list-add", section, option, value],
            Change::ListRemove { section, option, value } => vec!["list-del", section, option, value],
            Change::Remove { section, option: None } => vec!["remove", section],
            Change::Remove { section, option: Some(option) } => vec!["remove", section, option],
            Change::Rename { section, option: None, name } => vec!["rename", section, name],
            Change::Rename { section, option: Some(option), name } => vec!["rename", section, option, name],
            Change::Order { section, position } => {
                return Json::Array(vec!["order".into(), section.as_str().into(), (*position as u64).into()]);
            }
        };
        words.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(section: &str, option: &str, value: &str) -> Change {
        Change::Set { section: section.into(), option: option.into(), value: value.into() }
    }

    #[test]
    fn ids_count_on_from_sections_that_are_gone() {
        let mut tree = Tree::default();
        for name in ["a", "b"] {
            tree.apply(&Change::Type { section: name.into(), kind: "toy".into() }).unwrap();
        }
        tree.apply(&Change::Remove { section: "a".into(), option: None }).unwrap();
        assert_eq!(tree.next_id("toy"), "cfg03af21");
    }

    #[test]
    fn prints_what_libuci_prints() {
        let mut tree = Tree::default();
        tree.apply(&Change::Add { section: tree.next_id("toy"), kind: "toy".into() }).unwrap();
        tree.apply(&set("cfg01af21", "say", "it's")).unwrap();
        tree.apply(&Change::ListAdd { section: "cfg01af21".into(), option: "say".into(), value: "b".into() }).unwrap();
        assert_eq!(tree.to_string(), "\nconfig toy\n\tlist say 'it'\\''s'\n\tlist say 'b'\n\n");
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_reads_back(values in proptest::collection::vec("[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f]{1,20}", 1..6)) {
            let mut tree = Tree::default();
            tree.apply(&Change::Type { section: "a".into(), kind: "toy".into() }).unwrap();
            for (i, value) in values.iter().enumerate() {
                tree.apply(&set("a", &format!("o{i}"), value)).unwrap();
                tree.apply(&Change::ListAdd { section: "a".into(), option: "l".into(), value: value.clone() }).unwrap();
            }
            let package = uci::Package::parse(uci::PackageName::new("toys").unwrap(), &tree.to_string()).unwrap();
            proptest::prop_assert_eq!(Tree::of(&package), tree);
        }
    }

    #[test]
    fn a_step_on_what_is_gone_changes_nothing() {
        let mut tree = Tree::default();
        assert_eq!(tree.apply(&set("gone", "a", "1")), Err(Missing));
        assert_eq!(tree, Tree::default());
    }
}
