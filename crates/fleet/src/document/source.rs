//! A content on its way to a document: its text, and where what stands in it.

use std::fmt;
use std::str::FromStr;

use uci::{Lines, Package, PackageName, Section, Value};

use super::LONGEST;
use crate::SectionPath;

/// Where something stands in a content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: Option<usize>,
    /// The UCI section: its name, or its type where it has none.
    pub section: Option<String>,
    /// The option.
    pub option: Option<String>,
}

/// What is wrong with a content: where, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}{place}: {problem}")]
pub struct DocumentError {
    /// The section.
    pub path: SectionPath,
    /// Where in its content.
    pub place: Place,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl DocumentError {
    pub(crate) fn of(path: &SectionPath, place: Place, problem: impl Into<String>) -> Self {
        Self { path: path.clone(), place, problem: problem.into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(out, ", line {line}")?;
        }
        if let Some(section) = &self.section {
            write!(out, ", section {section}")?;
        }
        match &self.option {
            Some(option) => write!(out, ", option {option}"),
            None => Ok(()),
        }
    }
}

/// A content that is UCI.
pub(crate) struct Source<'a> {
    pub(crate) path: &'a SectionPath,
    pub(crate) package: Package,
    lines: Lines,
}

impl<'a> Source<'a> {
    pub(crate) fn read(path: &'a SectionPath, name: PackageName, content: &[u8]) -> Result<Self, DocumentError> {
        let wrong = |line, problem: String| DocumentError::of(path, Place { line, ..Place::default() }, problem);
        if content.len() > LONGEST {
            return Err(wrong(None, format!("{} bytes are too many: expected {LONGEST} at most", content.len())));
        }
        let text = str::from_utf8(content).map_err(|error| {
            let before = &content[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            wrong(Some(line), "these bytes are no text: expected UTF-8".to_owned())
        })?;
        let package = Package::parse(name, text)
            .map_err(|error| wrong(Some(error.line), format!("column {}: {}", error.column, error.kind)))?;
        let source = Self { path, package, lines: Lines::of(text) };
        for item in source.items() {
            for (option, value) in item.section.options() {
                value.check().map_err(|error| item.error(Some(option.as_str()), error.to_string()))?;
            }
            if !item.section.kind().is_portable() {
                return Err(item.error(None, "its type is no word: expected letters, digits, '_' and '-'"));
            }
        }
        Ok(source)
    }

    /// The UCI sections, each with the way to say what is wrong with it.
    pub(crate) fn items(&self) -> impl Iterator<Item = Item<'_>> {
        self.package.sections().enumerate().map(|(position, section)| Item { source: self, position, section })
    }

    /// What is wrong with the whole.
    pub(crate) fn error(&self, problem: impl Into<String>) -> DocumentError {
        DocumentError::of(self.path, Place::default(), problem)
    }
}

/// A UCI section of a content.
#[derive(Clone, Copy)]
pub(crate) struct Item<'a> {
    source: &'a Source<'a>,
    position: usize,
    pub(crate) section: &'a Section,
}

impl<'a> Item<'a> {
    /// Where an option stands, or the section.
    pub(crate) fn place(&self, option: Option<&str>) -> Place {
        let lines = &self.source.lines;
        let of_option = option.and_then(|option| lines.option(self.position, option));
        let name = match self.section.is_anonymous() {
            true => self.section.kind().to_string(),
            false => self.section.name().to_string(),
        };
        let line = of_option.or_else(|| lines.section(self.position));
        Place { line, section: Some(name), option: option.map(str::to_owned) }
    }

    pub(crate) fn error(&self, option: Option<&str>, problem: impl Into<String>) -> DocumentError {
        DocumentError::of(self.source.path, self.place(option), problem)
    }

    pub(crate) fn unknown_kind(&self, expected: &str) -> DocumentError {
        self.error(None, format!("{:?} is not known here: expected {expected}", self.section.kind().as_str()))
    }

    /// Refuses options that are none of these.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), DocumentError> {
        match self.section.options().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                Err(self.error(Some(name.as_str()), format!("is not known here: expected one of {}", known.join(", "))))
            }
        }
    }

    /// A text, if the option is there.
    pub(crate) fn text(&self, option: &str) -> Result<Option<&'a str>, DocumentError> {
        match self.section.get(option) {
            None => Ok(None),
            Some(Value::Scalar(text)) => Ok(Some(text)),
            Some(Value::List(_)) => {
                Err(self.error(Some(option), "is a list: expected one value, written with `option`"))
            }
        }
    }

    /// A text that must be there.
    pub(crate) fn needed(&self, option: &str, expected: &str) -> Result<&'a str, DocumentError> {
        self.text(option)?.ok_or_else(|| self.error(None, format!("has no option {option}: expected {expected}")))
    }

    /// Texts; none if the option is not there.
    pub(crate) fn texts(&self, option: &str) -> &'a [String] {
        self.section.get(option).map_or(&[], Value::items)
    }

    /// A value that reads from text.
    pub(crate) fn parsed<T: FromStr>(&self, option: &str, expected: &str) -> Result<Option<T>, DocumentError> {
        let Some(text) = self.text(option)? else { return Ok(None) };
        let parsed = text.parse().map(Some);
        parsed.map_err(|_| self.error(Some(option), format!("{text:?} does not do: expected {expected}")))
    }

    /// Yes or no, as UCI has it.
    pub(crate) fn flag(&self, option: &str) -> Result<bool, DocumentError> {
        match self.text(option)? {
            None | Some("0" | "no" | "off" | "false" | "disabled") => Ok(false),
            Some("1" | "yes" | "on" | "true" | "enabled") => Ok(true),
            Some(text) => Err(self.error(Some(option), format!("{text:?} does not do: expected 0 or 1"))),
        }
    }
}
