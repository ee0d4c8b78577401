//! A package: the sections of one configuration file.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::fmt;

use crate::parse::{ParseError, Parser};
use crate::scan::{Keyword, Scanner};
use crate::value::ValueError;
use crate::{NameError, OptionName, PackageName, Section, SectionName, SectionType};

/// One configuration file: an ordered list of sections.
///
/// A section is found by its name, by the id of an anonymous one (`cfg02af21`), or by its position among those of its
/// type (`@toy[1]`, and `@toy[-1]` for the last). Two packages are equal when their names and sections are; the text
/// does not count.
#[derive(Clone, Debug)]
pub struct Package {
    name: PackageName,
    /// What stands before everything: a comment for the whole file.
    pub(crate) head: String,
    slots: Vec<Slot>,
    /// How many of the slots are gone.
    gone: usize,
    /// What stands behind the last section.
    pub(crate) tail: String,
    /// The whole text, of a file in which the sections' texts cannot be told apart, until it is edited.
    pub(crate) tangled: Option<String>,
    index: HashMap<SectionName, usize>,
    /// How many sections were made since the file was read: libuci numbers anonymous ones by it.
    counter: usize,
}

#[derive(Clone, Debug)]
enum Slot {
    Section(Section),
    /// A comment whose section is gone.
    Comment(String),
    Gone,
}

/// An edit that cannot be done. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// A text that is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A value that UCI cannot hold.
    #[error("option {option}")]
    Value {
        /// The option that was to have the value.
        option: OptionName,
        /// What is wrong with the value.
        source: ValueError,
    },
    /// There is no such section.
    #[error("package {package} has no section {section:?}")]
    NoSection {
        /// The package.
        package: PackageName,
        /// What was looked for.
        section: String,
    },
    /// There is a section of that name.
    #[error("package {package} already has a section {section}")]
    SectionExists {
        /// The package.
        package: PackageName,
        /// The name that is taken.
        section: SectionName,
    },
    /// There is no such option.
    #[error("section {section} has no option {option:?}")]
    NoOption {
        /// The section.
        section: SectionName,
        /// What was looked for.
        option: String,
    },
    /// There is an option of that name.
    #[error("section {section} already has an option {option}")]
    OptionExists {
        /// The section.
        section: SectionName,
        /// The name that is taken.
        option: OptionName,
    },
}

impl From<Infallible> for EditError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl Package {
    /// A package without sections.
    #[must_use]
    pub fn new(name: PackageName) -> Self {
        Self { tail: "\n".to_owned(), ..Self::without_text(name) }
    }

    /// A package of sections that were made elsewhere, in this order.
    ///
    /// # Errors
    /// When two have the same name.
    pub fn from_sections(name: PackageName, sections: impl IntoIterator<Item = Section>) -> Result<Self, EditError> {
        let mut package = Self::new(name);
        for section in sections {
            if package.index.contains_key(&section.name) {
                return Err(EditError::SectionExists { package: package.name, section: section.name });
            }
            package.count();
            package.push(section);
        }
        Ok(package)
    }

    pub(crate) fn without_text(name: PackageName) -> Self {
        Self {
            name,
            head: String::new(),
            slots: Vec::new(),
            gone: 0,
            tail: String::new(),
            tangled: None,
            index: HashMap::new(),
            counter: 0,
        }
    }

    /// Reads a configuration file, as libuci does when it loads the package `name`: `package` lines change nothing.
    ///
    /// # Errors
    /// Tells line, column and what was expected.
    pub fn parse(name: PackageName, text: &str) -> Result<Self, ParseError> {
        Parser::new(text)?.package(name)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &PackageName {
        &self.name
    }

    /// How many sections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no section.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The sections in order; their position is what rpcd calls `.index`.
    pub fn sections(&self) -> impl DoubleEndedIterator<Item = &Section> {
        self.slots.iter().filter_map(Slot::section)
    }

    /// The sections of one type, in order.
    pub fn of_kind(&self, kind: &str) -> impl DoubleEndedIterator<Item = &Section> {
        self.sections().filter(move |section| section.kind.as_str() == kind)
    }

    /// A section by name, id, or position among its type.
    #[must_use]
    pub fn section(&self, key: &str) -> Option<&Section> {
        self.slots[self.find(key)?].section()
    }

    /// A section to edit, by name, id, or position among its type.
    pub fn section_mut(&mut self, key: &str) -> Option<&mut Section> {
        let slot = self.find(key)?;
        self.tangled = None;
        self.slots[slot].section_mut()
    }

    /// Adds a named section at the end.
    ///
    /// # Errors
    /// When the name or the type is none, or the name is taken.
    pub fn add<K, N>(&mut self, kind: K, name: N) -> Result<&mut Section, EditError>
    where
        K: TryInto<SectionType>,
        N: TryInto<SectionName>,
        EditError: From<K::Error> + From<N::Error>,
    {
        let (kind, name) = (kind.try_into()?, name.try_into()?);
        if self.index.contains_key(&name) {
            return Err(EditError::SectionExists { package: self.name.clone(), section: name });
        }
        self.counter += 1;
        Ok(self.push(Section::new(kind, name, false)))
    }

    /// Adds an anonymous section at the end, with the id that libuci gives to it.
    ///
    /// # Errors
    /// When the type is none.
    pub fn add_anonymous<K>(&mut self, kind: K) -> Result<&mut Section, EditError>
    where
        K: TryInto<SectionType>,
        EditError: From<K::Error>,
    {
        let kind = kind.try_into()?;
        let name = self.next_id(&kind);
        Ok(self.push(Section::new(kind, name, true)))
    }

    /// Removes a section. A comment before it stays.
    ///
    /// # Errors
    /// When there is no such section.
    pub fn delete(&mut self, key: &str) -> Result<Section, EditError> {
        let Some(slot) = self.find(key) else {
            return Err(self.no_section(key));
        };
        self.tangled = None;
        let Slot::Section(mut section) = std::mem::replace(&mut self.slots[slot], Slot::Gone) else {
            return Err(self.no_section(key));
        };
        self.index.remove(&section.name);
        if section.lead.trim().is_empty() {
            self.gone += 1;
        } else {
            self.slots[slot] = Slot::Comment(std::mem::take(&mut section.lead));
        }
        if self.gone > 64 && self.gone > self.slots.len() / 2 {
            self.compact();
        }
        Ok(section)
    }

    /// Gives a section another name; an anonymous one is named from then on.
    ///
    /// # Errors
    /// When there is no such section, the name is none, or it is taken.
    pub fn rename<N>(&mut self, key: &str, name: N) -> Result<(), EditError>
    where
        N: TryInto<SectionName>,
        EditError: From<N::Error>,
    {
        let name = name.try_into()?;
        let Some(slot) = self.find(key) else {
            return Err(self.no_section(key));
        };
        if self.index.get(&name).is_some_and(|taken| *taken != slot) {
            return Err(EditError::SectionExists { package: self.name.clone(), section: name });
        }
        let Some(section) = self.slots[slot].section_mut() else {
            return Err(self.no_section(key));
        };
        if section.name == name && !section.anonymous {
            return Ok(());
        }
        self.index.remove(&section.name);
        section.set_name(name.clone());
        self.index.insert(name, slot);
        self.tangled = None;
        Ok(())
    }

    /// Moves the sections to the front, in this order, the comments before them along with them.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn order<K: AsRef<str>>(&mut self, keys: &[K]) -> Result<(), EditError> {
        let mut moved = Vec::with_capacity(keys.len());
        for key in keys {
            moved.push(self.find(key.as_ref()).ok_or_else(|| self.no_section(key.as_ref()))?);
        }
        self.tangled = None;
        let mut slots: Vec<_> = self.slots.drain(..).map(Some).collect();
        // The places in order. rpcd moves one section after the other, each to the place of its turn.
        let mut places: Vec<usize> = Vec::with_capacity(slots.len());
        if moved.iter().collect::<HashSet<_>>().len() == moved.len() {
            let is_moved: HashSet<_> = moved.iter().copied().collect();
            places.extend(&moved);
            places.extend((0..slots.len()).filter(|slot| !is_moved.contains(slot)));
        } else {
            places.extend((0..slots.len()).filter(|slot| matches!(slots[*slot], Some(Slot::Section(_)))));
            for (place, slot) in moved.into_iter().enumerate() {
                places.retain(|other| *other != slot);
                places.insert(place.min(places.len()), slot);
            }
            places.extend((0..slots.len()).filter(|slot| matches!(slots[*slot], Some(Slot::Comment(_)))));
        }
        self.slots = places.into_iter().filter_map(|slot| slots[slot].take()).collect();
        self.compact();
        Ok(())
    }

    /// Numbers the anonymous sections anew by their position, as reading the written file would.
    pub fn renumber(&mut self) {
        self.compact();
        self.index.clear();
        self.counter = 0;
        for slot in 0..self.slots.len() {
            let Some(kind) = self.slots[slot].section().map(|section| section.kind.clone()) else { continue };
            let id = self.next_id(&kind);
            if let Some(section) = self.slots[slot].section_mut() {
                if section.anonymous {
                    section.name = id;
                }
                self.index.insert(section.name.clone(), slot);
            }
        }
    }

    /// Prints the file: what was read and not edited as it was, the rest as libuci writes it.
    #[must_use]
    pub fn print(&self) -> String {
        if let Some(text) = &self.tangled {
            return text.clone();
        }
        let mut out = self.head.clone();
        for slot in &self.slots {
            match slot {
                Slot::Section(section) => section.print(&mut out),
                Slot::Comment(comment) => push_piece(&mut out, comment),
                Slot::Gone => {}
            }
        }
        if !self.tail.is_empty() {
            push_piece(&mut out, &self.tail);
        }
        out
    }

    /// The file as libuci writes it: canonical, without comments.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut out = String::new();
        for section in self.sections() {
            section.print_canonical(&mut out);
        }
        out.push('\n');
        out
    }

    /// Takes a section that was read; what it is called is counted and known from here on.
    pub(crate) fn push(&mut self, section: Section) -> &mut Section {
        self.tangled = None;
        let slot = self.slots.len();
        self.index.insert(section.name.clone(), slot);
        self.slots.push(Slot::Section(section));
        match self.slots.last_mut() {
            Some(Slot::Section(section)) => section,
            _ => unreachable!("a section was pushed"),
        }
    }

    /// Counts one more section and gives the id it has if it is anonymous. An id that is a name already is passed over.
    pub(crate) fn next_id(&mut self, kind: &SectionType) -> SectionName {
        loop {
            self.counter += 1;
            let id = SectionName::anonymous(self.counter, kind);
            if !self.index.contains_key(&id) {
                return id;
            }
        }
    }

    /// Takes a section out that goes on later in the file, until it comes back by [`Package::restore`].
    pub(crate) fn reopen(&mut self, name: &SectionName) -> Option<Section> {
        let slot = *self.index.get(name)?;
        match std::mem::replace(&mut self.slots[slot], Slot::Gone) {
            Slot::Section(section) => Some(section),
            Slot::Comment(_) | Slot::Gone => None,
        }
    }

    pub(crate) fn restore(&mut self, section: Section) {
        if let Some(slot) = self.index.get(&section.name) {
            self.slots[*slot] = Slot::Section(section);
        }
    }

    /// Counts a named section.
    pub(crate) fn count(&mut self) {
        self.counter += 1;
    }

    /// Whether the text has a `package` line for this package before everything else.
    pub(crate) fn begins_with_its_line(&self) -> bool {
        let text = self.tangled.as_ref().unwrap_or(&self.head);
        Scanner::new(text).statement().ok().flatten().is_some_and(|statement| {
            statement.keyword == Keyword::Package && statement.first.text == self.name.as_str()
        })
    }

    fn find(&self, key: &str) -> Option<usize> {
        let Some(position) = key.strip_prefix('@') else {
            return self.index.get(key).copied();
        };
        let (kind, number) = position.strip_suffix(']')?.split_once('[')?;
        let number: isize = number.parse().ok()?;
        let section = if number < 0 {
            self.of_kind(kind).nth_back(number.unsigned_abs() - 1)
        } else {
            self.of_kind(kind).nth(number.unsigned_abs())
        };
        self.index.get(&section?.name).copied()
    }

    fn no_section(&self, key: &str) -> EditError {
        EditError::NoSection { package: self.name.clone(), section: key.to_owned() }
    }

    fn compact(&mut self) {
        self.slots.retain(|slot| !matches!(slot, Slot::Gone));
        self.gone = 0;
        for (slot, section) in self.slots.iter().enumerate() {
            if let Slot::Section(section) = section
                && let Some(position) = self.index.get_mut(&section.name)
            {
                *position = slot;
            }
        }
    }
}

impl Slot {
    fn section(&self) -> Option<&Section> {
        match self {
            Self::Section(section) => Some(section),
            Self::Comment(_) | Self::Gone => None,
        }
    }

    fn section_mut(&mut self) -> Option<&mut Section> {
        match self {
            Self::Section(section) => Some(section),
            Self::Comment(_) | Self::Gone => None,
        }
    }
}

/// Appends a piece of the file, on a line of its own.
pub(crate) fn push_piece(out: &mut String, piece: &str) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out.push_str(piece);
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.print())
    }
}

impl PartialEq for Package {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.sections().eq(other.sections())
    }
}

impl Eq for Package {}
