//! A section: its type, its options, and the text it was read from.

mod layout;

use std::collections::BTreeMap;

use crate::package::{EditError, push_piece};
use crate::{OptionName, SectionName, SectionType, Value, print};

pub(crate) use layout::Layout;

/// A section of a package.
///
/// Two sections are equal when name, type and options are; the order of options and the text do not count.
#[derive(Clone, Debug)]
pub struct Section {
    pub(crate) name: SectionName,
    pub(crate) anonymous: bool,
    pub(crate) kind: SectionType,
    pub(crate) options: Vec<(OptionName, Value)>,
    /// Empty lines and comments that stand before the section.
    pub(crate) lead: String,
    pub(crate) layout: Layout,
}

/// What a section is called, for those that are made elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// By the name in the file.
    Named(SectionName),
    /// By the id that libuci computed.
    Anonymous(SectionName),
}

impl Section {
    /// A section as another program tells it, rpcd for one. Values are taken as they are; an empty text or list is none.
    pub fn from_parts(
        kind: SectionType,
        identity: Identity,
        options: impl IntoIterator<Item = (OptionName, Value)>,
    ) -> Self {
        let mut section = match identity {
            Identity::Named(name) => Self::new(kind, name, false),
            Identity::Anonymous(id) => Self::new(kind, id, true),
        };
        let is_something = |value: &Value| !value.is_empty_text() && !value.items().is_empty();
        for (option, value) in options.into_iter().filter(|(_, value)| is_something(value)) {
            section.put(option, value);
        }
        section
    }

    pub(crate) fn new(kind: SectionType, name: SectionName, anonymous: bool) -> Self {
        let lead = "\n".to_owned();
        Self { name, anonymous, kind, options: Vec::new(), lead, layout: Layout::Canonical }
    }

    /// The name; of an anonymous section, the id that libuci computes for it.
    #[must_use]
    pub fn name(&self) -> &SectionName {
        &self.name
    }

    /// Whether the section has no name in the file.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.anonymous
    }

    /// The type.
    #[must_use]
    pub fn kind(&self) -> &SectionType {
        &self.kind
    }

    /// The value of an option or list.
    #[must_use]
    pub fn get(&self, option: &str) -> Option<&Value> {
        self.options.iter().find(|(name, _)| name.as_str() == option).map(|(_, value)| value)
    }

    /// The text of an option; nothing for a list.
    #[must_use]
    pub fn text(&self, option: &str) -> Option<&str> {
        self.get(option).and_then(Value::as_str)
    }

    /// The options and lists, in the order of the file.
    pub fn options(&self) -> impl ExactSizeIterator<Item = (&OptionName, &Value)> {
        self.options.iter().map(|(name, value)| (name, value))
    }

    /// Sets an option or list. The empty text removes it, as in libuci and rpcd.
    ///
    /// # Errors
    /// A name or a value that UCI cannot hold; nothing has changed then.
    pub fn set<N>(&mut self, option: N, value: impl Into<Value>) -> Result<(), EditError>
    where
        N: TryInto<OptionName>,
        EditError: From<N::Error>,
    {
        let option = option.try_into()?;
        let value = value.into();
        if value.is_empty_text() {
            let _was_there = self.take(option.as_str());
            return Ok(());
        }
        value.check().map_err(|source| EditError::Value { option: option.clone(), source })?;
        self.put(option, value);
        Ok(())
    }

    /// Removes an option or list.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn delete(&mut self, option: &str) -> Result<Value, EditError> {
        self.take(option).ok_or_else(|| self.no_option(option))
    }

    /// Gives an option or list another name.
    ///
    /// # Errors
    /// When there is none of the old name, one of the new, or the new is no name.
    pub fn rename<N>(&mut self, option: &str, name: N) -> Result<(), EditError>
    where
        N: TryInto<OptionName>,
        EditError: From<N::Error>,
    {
        let name = name.try_into()?;
        let Some(position) = self.position(option) else {
            return Err(self.no_option(option));
        };
        if name.as_str() == option {
            return Ok(());
        }
        if self.position(name.as_str()).is_some() {
            return Err(EditError::OptionExists { section: self.name.clone(), option: name });
        }
        let (old, value) = &mut self.options[position];
        self.layout.replace(old, Some((&name, value)));
        *old = name;
        Ok(())
    }

    /// Gives the section another type.
    pub fn set_kind(&mut self, kind: SectionType) {
        if self.kind != kind {
            self.kind = kind;
            self.rewrite_header();
        }
    }

    pub(crate) fn set_name(&mut self, name: SectionName) {
        self.name = name;
        self.anonymous = false;
        self.rewrite_header();
    }

    /// Appends the section as it stands.
    pub(crate) fn print(&self, out: &mut String) {
        push_piece(out, &self.lead);
        match &self.layout {
            Layout::Canonical => {
                push_piece(out, "");
                self.print_body(out);
            }
            Layout::Raw(text) => push_piece(out, text),
            Layout::Lines(lines) => {
                push_piece(out, "");
                lines.print(out);
            }
        }
    }

    /// Appends the section as libuci writes it.
    pub(crate) fn print_canonical(&self, out: &mut String) {
        out.push('\n');
        self.print_body(out);
    }

    fn print_body(&self, out: &mut String) {
        print::header(out, &self.kind, self.written_name());
        out.push('\n');
        for (name, value) in &self.options {
            print::option(out, name, value);
        }
    }

    fn written_name(&self) -> Option<&SectionName> {
        (!self.anonymous).then_some(&self.name)
    }

    fn rewrite_header(&mut self) {
        let mut header = String::new();
        print::header(&mut header, &self.kind, self.written_name());
        self.layout.replace_header(header);
    }

    fn position(&self, option: &str) -> Option<usize> {
        self.options.iter().position(|(name, _)| name.as_str() == option)
    }

    fn put(&mut self, option: OptionName, value: Value) {
        match self.position(option.as_str()) {
            Some(position) if self.options[position].1 == value => {}
            Some(position) => {
                self.layout.replace(&option, Some((&option, &value)));
                self.options[position].1 = value;
            }
            None => {
                self.layout.replace(&option, Some((&option, &value)));
                self.options.push((option, value));
            }
        }
    }

    fn take(&mut self, option: &str) -> Option<Value> {
        let (name, value) = self.options.remove(self.position(option)?);
        self.layout.replace(&name, None);
        Some(value)
    }

    fn no_option(&self, option: &str) -> EditError {
        EditError::NoOption { section: self.name.clone(), option: option.to_owned() }
    }
}

impl PartialEq for Section {
    fn eq(&self, other: &Self) -> bool {
        let same_head = self.name == other.name && self.anonymous == other.anonymous && self.kind == other.kind;
        same_head && (self.options == other.options || by_name(self) == by_name(other))
    }
}

impl Eq for Section {}

fn by_name(section: &Section) -> BTreeMap<&OptionName, &Value> {
    section.options().collect()
}
