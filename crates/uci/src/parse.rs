//! The parser: from statements to sections, with libuci's rules for what repeats.
//!
//! A named section that comes again goes on where it left off, and must have the same type. An option that comes again
//! replaces, a list appends, an option with an empty value removes.

use std::collections::HashMap;
use std::ops::Range;

use crate::name::{NameError, OptionName, PackageName, SectionName, SectionType};
use crate::package::{Package, push_piece};
use crate::scan::{Keyword, ScanError, ScanFault, Scanner, Statement};
use crate::section::{Layout, Section};
use crate::value::Value;

/// A text that is not UCI: where, and what was expected there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {kind}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub kind: ParseErrorKind,
}

/// What can be wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// A statement that begins with no known word.
    #[error("{found:?} begins no statement: expected package, config, option or list")]
    UnknownKeyword {
        /// The word.
        found: String,
    },
    /// A statement that ends too early.
    #[error("{keyword} stands alone: expected a {expected} behind it")]
    MissingArgument {
        /// The statement.
        keyword: &'static str,
        /// What it lacks.
        expected: &'static str,
    },
    /// A statement that goes on too long.
    #[error("{found:?} is too much: expected the end of the line, ';' or a comment")]
    TooManyArguments {
        /// The argument nobody expected.
        found: String,
    },
    /// A quote without its end.
    #[error("a text begins here and does not end: expected another {quote}")]
    UnterminatedQuote {
        /// The quote.
        quote: char,
    },
    /// A text that is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An option or list before the first section.
    #[error("{keyword} stands before the first section: expected config")]
    OutsideSection {
        /// The statement.
        keyword: &'static str,
    },
    /// A section that comes again with another type.
    #[error("section {section} comes again as {found}: expected its type to stay {expected}")]
    TypeConflict {
        /// The section.
        section: SectionName,
        /// Its type before.
        expected: SectionType,
        /// Its type here.
        found: SectionType,
    },
    /// A NUL character, which libuci cannot read past.
    #[error("a NUL character stands here: expected text")]
    Nul,
    /// Anything before the first `package` line of an export.
    #[error("this stands before the first package: expected package")]
    OutsidePackage,
    /// A package that comes again in an export.
    #[error("package {package} comes again: expected each package once")]
    DuplicatePackage {
        /// The package.
        package: PackageName,
    },
}

/// Reads one text.
pub(crate) struct Parser<'a> {
    text: &'a str,
    scanner: Scanner<'a>,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(text: &'a str) -> Result<Self, ParseError> {
        let parser = Self { text, scanner: Scanner::new(text) };
        match text.find('\0') {
            Some(at) => Err(parser.error(at, ParseErrorKind::Nul)),
            None => Ok(parser),
        }
    }

    /// Reads the text as the file of one package.
    pub(crate) fn package(mut self, name: PackageName) -> Result<Package, ParseError> {
        let mut reading = Reading::new(self.text, 0, Package::without_text(name));
        while let Some(statement) = self.statement()? {
            reading.take(&self, statement)?;
        }
        Ok(reading.finish(self.text.len()))
    }

    /// Reads the text as an export: each `package` line begins another package.
    pub(crate) fn packages(mut self) -> Result<Vec<Package>, ParseError> {
        let mut packages: Vec<Package> = Vec::new();
        let mut reading: Option<Reading<'a>> = None;
        while let Some(statement) = self.statement()? {
            if statement.keyword == Keyword::Package {
                let name = PackageName::new(&*statement.first.text);
                let name = name.map_err(|error| self.error(statement.first.at, error.into()))?;
                packages.extend(reading.take().map(|reading| reading.finish(statement.span.start)));
                if packages.iter().any(|package| *package.name() == name) {
                    let again = ParseErrorKind::DuplicatePackage { package: name };
                    return Err(self.error(statement.first.at, again));
                }
                let start = if packages.is_empty() { 0 } else { statement.span.start };
                reading = Some(Reading::new(self.text, start, Package::without_text(name)));
            }
            match &mut reading {
                Some(reading) => reading.take(&self, statement)?,
                None => return Err(self.error(statement.at, ParseErrorKind::OutsidePackage)),
            }
        }
        packages.extend(reading.map(|reading| reading.finish(self.text.len())));
        Ok(packages)
    }

    fn statement(&mut self) -> Result<Option<Statement<'a>>, ParseError> {
        self.scanner.statement().map_err(|ScanError { at, fault }| {
            let kind = match fault {
                ScanFault::UnknownKeyword(found) => ParseErrorKind::UnknownKeyword { found },
                ScanFault::UnterminatedQuote(quote) => ParseErrorKind::UnterminatedQuote { quote },
                ScanFault::TooManyArguments(found) => ParseErrorKind::TooManyArguments { found },
            };
            self.error(at, kind)
        })
    }

    fn error(&self, at: usize, kind: ParseErrorKind) -> ParseError {
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        ParseError { line, column: before[line_start..].chars().count() + 1, kind }
    }
}

/// A package in the making.
struct Reading<'a> {
    text: &'a str,
    package: Package,
    open: Option<Open>,
    /// Where the package's text begins.
    start: usize,
    /// Where the text begins that belongs to nothing yet.
    loose: usize,
    /// Where the last `package` line before the first section ends.
    package_line: usize,
    is_tangled: bool,
}

/// The section that options go to.
struct Open {
    section: Section,
    /// Where each of its options stands, once there are many.
    positions: Option<HashMap<OptionName, usize>>,
    span: Range<usize>,
    /// Whether it was read before and goes on here.
    is_again: bool,
    shares_line: bool,
}

/// From so many options on, a section's options are looked up in a map.
const MANY_OPTIONS: usize = 32;

impl<'a> Reading<'a> {
    fn new(text: &'a str, start: usize, package: Package) -> Self {
        let (loose, package_line) = (start, start);
        Self { text, package, open: None, start, loose, package_line, is_tangled: false }
    }

    fn take(&mut self, parser: &Parser<'a>, statement: Statement<'a>) -> Result<(), ParseError> {
        let missing = |expected| ParseErrorKind::MissingArgument { keyword: statement.keyword.as_str(), expected };
        let expected = match statement.keyword {
            Keyword::Package => "package name",
            Keyword::Config => "section type",
            Keyword::Option | Keyword::List => "name",
        };
        if statement.first.text.is_empty() {
            return Err(parser.error(statement.first.at, missing(expected)));
        }
        match statement.keyword {
            Keyword::Package => self.take_package(parser, &statement),
            Keyword::Config => self.take_section(parser, &statement),
            Keyword::Option | Keyword::List => self.take_option(parser, statement),
        }
    }

    fn take_package(&mut self, parser: &Parser<'a>, statement: &Statement<'a>) -> Result<(), ParseError> {
        let name = &statement.first;
        PackageName::new(&*name.text).map_err(|error| parser.error(name.at, error.into()))?;
        let extra = &statement.second;
        if !extra.text.is_empty() {
            let found = extra.text.clone().into_owned();
            return Err(parser.error(extra.at, ParseErrorKind::TooManyArguments { found }));
        }
        self.is_tangled |= statement.shares_line;
        if self.open.is_none() {
            self.package_line = statement.span.end;
        }
        Ok(())
    }

    fn take_section(&mut self, parser: &Parser<'a>, statement: &Statement<'a>) -> Result<(), ParseError> {
        let (kind, name) = (&statement.first, &statement.second);
        let kind = SectionType::as_read(&*kind.text).map_err(|error| parser.error(kind.at, error.into()))?;
        let name = match &*name.text {
            "" => None,
            text => Some(SectionName::new(text).map_err(|error| parser.error(name.at, error.into()))?),
        };
        self.close();
        let lead = self.take_lead(statement.span.start);
        let (mut section, is_again) = match name {
            None => (Section::new(kind.clone(), self.package.next_id(&kind), true), false),
            Some(name) => match self.package.reopen(&name) {
                Some(earlier) => (earlier, true),
                None => {
                    self.package.count();
                    (Section::new(kind.clone(), name, false), false)
                }
            },
        };
        if section.kind != kind {
            let conflict = ParseErrorKind::TypeConflict { section: section.name, expected: section.kind, found: kind };
            return Err(parser.error(statement.first.at, conflict));
        }
        if !is_again {
            section.lead = lead;
        } else if !lead.trim().is_empty() {
            push_piece(&mut section.lead, &lead);
        }
        self.open = Some(Open {
            section,
            positions: None,
            span: statement.span.clone(),
            is_again,
            shares_line: statement.shares_line,
        });
        Ok(())
    }

    fn take_option(&mut self, parser: &Parser<'a>, statement: Statement<'a>) -> Result<(), ParseError> {
        let Some(open) = &mut self.open else {
            let keyword = statement.keyword.as_str();
            return Err(parser.error(statement.at, ParseErrorKind::OutsideSection { keyword }));
        };
        let name = &statement.first;
        let name = OptionName::new(&*name.text).map_err(|error| parser.error(name.at, error.into()))?;
        open.span.end = statement.span.end;
        open.shares_line |= statement.shares_line;
        let item = statement.second.text.into_owned();
        match statement.keyword {
            Keyword::List => open.append(name, item),
            _ => open.set(name, item),
        }
        Ok(())
    }

    /// The text before a section, and before the first one the head of the file.
    fn take_lead(&mut self, start: usize) -> String {
        let loose = std::mem::replace(&mut self.loose, start);
        let mut lead = &self.text[loose..start];
        if self.package.is_empty() {
            let head = end_of_head(lead, self.package_line - loose);
            self.package.head = lead[..head].to_owned();
            lead = &lead[head..];
        }
        lead.to_owned()
    }

    /// Hands the open section over to the package.
    fn close(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        let mut span = open.span;
        span.end += indented_comments(&self.text[span.end..]);
        self.loose = span.end;
        let text = &self.text[span];
        if open.is_again {
            // What is taken up again loses its own text, but not the comments in it.
            if let Layout::Raw(earlier) = &open.section.layout {
                push_comments(&mut open.section.lead, earlier);
            }
        }
        if open.shares_line || open.is_again {
            // Its text cannot be told from another's: if anything is edited, it is written anew, below its comments.
            self.is_tangled = true;
            open.section.layout = Layout::Canonical;
            push_comments(&mut open.section.lead, text);
        } else {
            open.section.layout = Layout::Raw(text.to_owned());
        }
        if open.is_again {
            self.package.restore(open.section);
        } else {
            self.package.push(open.section);
        }
    }

    fn finish(mut self, end: usize) -> Package {
        self.close();
        let rest = &self.text[self.loose..end];
        if self.package.is_empty() {
            self.package.head = rest.to_owned();
        } else {
            self.package.tail = rest.to_owned();
        }
        if self.is_tangled {
            self.package.tangled = Some(self.text[self.start..end].to_owned());
        }
        self.package
    }
}

impl Open {
    fn set(&mut self, name: OptionName, text: String) {
        let position = self.position(&name);
        if text.is_empty() {
            if let Some(position) = position {
                self.section.options.remove(position);
                self.positions = None;
            }
            return;
        }
        match position {
            Some(position) => self.section.options[position].1 = Value::Scalar(text),
            None => self.push(name, Value::Scalar(text)),
        }
    }

    fn append(&mut self, name: OptionName, item: String) {
        let Some(position) = self.position(&name) else {
            return self.push(name, Value::List(vec![item]));
        };
        match &mut self.section.options[position].1 {
            Value::List(items) => items.push(item),
            value @ Value::Scalar(_) => {
                let mut items = value.items().to_vec();
                items.push(item);
                *value = Value::List(items);
            }
        }
    }

    fn push(&mut self, name: OptionName, value: Value) {
        if let Some(positions) = &mut self.positions {
            positions.insert(name.clone(), self.section.options.len());
        }
        self.section.options.push((name, value));
    }

    fn position(&mut self, name: &OptionName) -> Option<usize> {
        let options = &self.section.options;
        if options.len() < MANY_OPTIONS {
            return options.iter().position(|(other, _)| other == name);
        }
        let positions = self
            .positions
            .get_or_insert_with(|| options.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect());
        positions.get(name).copied()
    }
}

/// Where the head of a file ends that is followed by its first section: after the `package` lines, and after a comment
/// with an empty line behind it.
fn end_of_head(lead: &str, package_line: usize) -> usize {
    let mut end = package_line;
    let mut at = 0;
    let mut has_comment = false;
    for line in lead.split_inclusive('\n') {
        if line.trim().is_empty() && has_comment && at > end {
            end = at;
        }
        has_comment |= line.trim_start().starts_with('#');
        at += line.len();
    }
    end
}

/// How much of the text is comments that stand directly below an option, indented like one.
fn indented_comments(text: &str) -> usize {
    let is_indented = |line: &&str| line.starts_with([' ', '\t']) && line.trim_start().starts_with('#');
    text.split_inclusive('\n').take_while(is_indented).map(str::len).sum()
}

/// Appends the comments in a section's text, each on its line.
fn push_comments(lead: &mut String, text: &str) {
    let mut scanner = Scanner::new(text);
    let mut end = 0;
    let mut push = |comment: &str| {
        push_piece(lead, comment.trim());
        lead.push('\n');
    };
    while let Ok(Some(statement)) = scanner.statement() {
        text[end..statement.span.start].lines().filter(|line| line.contains('#')).for_each(&mut push);
        statement.comment.into_iter().for_each(&mut push);
        end = statement.span.end;
    }
    text[end..].lines().filter(|line| line.contains('#')).for_each(&mut push);
}
