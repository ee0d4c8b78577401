//! The scanner: from text to statements, with libuci's rules for quotes, escapes and comments.
//!
//! The rules are those of `file.c` in libuci. A backslash outside single quotes takes the next character as it is, or
//! joins two lines; quotes may begin and end inside an argument; a quoted newline belongs to the value; `#` outside
//! quotes ends the line, `;` the statement. Older versions of libuci skip a joined line's indentation and newer ones do
//! not; here it is skipped.

use std::borrow::Cow;
use std::ops::Range;

/// The word that begins a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Package,
    Config,
    Option,
    List,
}

impl Keyword {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Package => "package",
            Self::Config => "config",
            Self::Option => "option",
            Self::List => "list",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "package" | "p" => Some(Self::Package),
            "config" | "c" => Some(Self::Config),
            "option" | "o" => Some(Self::Option),
            "list" | "l" => Some(Self::List),
            _ => None,
        }
    }
}

/// An argument as the quotes and escapes leave it.
#[derive(Debug)]
pub(crate) struct Argument<'a> {
    /// Where it begins.
    pub(crate) at: usize,
    pub(crate) text: Cow<'a, str>,
}

/// One statement and where it stands in the text.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    /// From the beginning of the line, or the semicolon before it, to the end of the line or its own semicolon.
    pub(crate) span: Range<usize>,
    pub(crate) keyword: Keyword,
    /// Where the keyword stands.
    pub(crate) at: usize,
    /// The name, or the type of a section. Empty and missing are the same to libuci.
    pub(crate) first: Argument<'a>,
    /// The value, or the name of a section.
    pub(crate) second: Argument<'a>,
    /// The comment behind it, with its `#`.
    pub(crate) comment: Option<&'a str>,
    /// Whether a semicolon stands before or after it.
    pub(crate) shares_line: bool,
}

/// What the scanner could not read, and where.
#[derive(Debug)]
pub(crate) struct ScanError {
    pub(crate) at: usize,
    pub(crate) fault: ScanFault,
}

#[derive(Debug)]
pub(crate) enum ScanFault {
    UnknownKeyword(String),
    UnterminatedQuote(char),
    TooManyArguments(String),
}

/// Reads statements one after the other.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    pos: usize,
    after_semicolon: bool,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, pos: 0, after_semicolon: false }
    }

    /// The next statement, past empty lines and comments.
    pub(crate) fn statement(&mut self) -> Result<Option<Statement<'a>>, ScanError> {
        let Some(start) = self.find_statement() else {
            return Ok(None);
        };
        let shares_before = self.after_semicolon;
        let at = self.pos;
        let keyword = self.keyword()?;
        let first = self.argument()?;
        let second = self.argument()?;
        let comment = self.finish()?;
        Ok(Some(Statement {
            span: start..self.pos,
            keyword,
            at,
            first,
            second,
            comment,
            shares_line: shares_before || self.after_semicolon,
        }))
    }

    /// Goes to the next keyword and tells where its line begins.
    fn find_statement(&mut self) -> Option<usize> {
        if self.after_semicolon {
            let start = self.pos;
            self.skip(|b| b == b' ' || b == b'\t');
            if self.peek().is_some_and(|b| b != b'#') {
                return Some(start);
            }
        }
        loop {
            let start = self.pos;
            self.skip(is_blank);
            match self.peek() {
                None => return None,
                Some(b'\n') => self.pos += 1,
                Some(b'#') => {
                    self.comment();
                    self.newline();
                }
                Some(_) => return Some(start),
            }
        }
    }

    fn keyword(&mut self) -> Result<Keyword, ScanError> {
        let at = self.pos;
        self.skip(|b| !b.is_ascii_whitespace() && !matches!(b, b'#' | b';' | b'\'' | b'"' | b'\\'));
        let word = &self.text[at..self.pos];
        let unknown = || ScanError { at, fault: ScanFault::UnknownKeyword(word.to_owned()) };
        let keyword = Keyword::from_word(word).ok_or_else(unknown)?;
        match self.peek() {
            // A line that ends here lacks an argument, which says more than an unknown word.
            None | Some(b' ' | b'\t' | b'\r' | b'\n') => Ok(keyword),
            Some(_) => {
                self.skip(|b| !b.is_ascii_whitespace());
                Err(ScanError { at, fault: ScanFault::UnknownKeyword(self.text[at..self.pos].to_owned()) })
            }
        }
    }

    /// One argument; empty where there is none.
    fn argument(&mut self) -> Result<Argument<'a>, ScanError> {
        self.skip_gap();
        let at = self.pos;
        let mut text = Cow::Borrowed("");
        loop {
            match self.peek() {
                None | Some(b'#' | b';') => break,
                Some(b) if b == b'\n' || is_blank(b) => break,
                Some(b'\'') => self.single_quoted(&mut text)?,
                Some(b'"') => self.double_quoted(&mut text)?,
                Some(b'\\') => self.escaped(&mut text),
                Some(_) => {
                    let start = self.pos;
                    self.skip(|b| !is_blank(b) && !matches!(b, b'\n' | b'#' | b';' | b'\'' | b'"' | b'\\'));
                    append(&mut text, &self.text[start..self.pos]);
                }
            }
        }
        Ok(Argument { at, text })
    }

    fn single_quoted(&mut self, text: &mut Cow<'a, str>) -> Result<(), ScanError> {
        let start = self.pos + 1;
        let Some(length) = self.text[start..].find('\'') else {
            return Err(ScanError { at: self.pos, fault: ScanFault::UnterminatedQuote('\'') });
        };
        append(text, &self.text[start..start + length]);
        self.pos = start + length + 1;
        Ok(())
    }

    fn double_quoted(&mut self, text: &mut Cow<'a, str>) -> Result<(), ScanError> {
        let opening = self.pos;
        self.pos += 1;
        loop {
            let start = self.pos;
            self.skip(|b| b != b'"' && b != b'\\');
            append(text, &self.text[start..self.pos]);
            match self.peek() {
                None => return Err(ScanError { at: opening, fault: ScanFault::UnterminatedQuote('"') }),
                Some(b'"') => {
                    self.pos += 1;
                    return Ok(());
                }
                Some(_) => self.escaped(text),
            }
        }
    }

    /// A backslash: the end of the line behind it vanishes, any other character stands for itself.
    fn escaped(&mut self, text: &mut Cow<'a, str>) {
        self.pos += 1;
        if self.newline() {
            return;
        }
        if let Some(c) = self.text[self.pos..].chars().next() {
            append(text, &self.text[self.pos..self.pos + c.len_utf8()]);
            self.pos += c.len_utf8();
        }
    }

    /// Goes to the end of the statement; gives the comment there.
    fn finish(&mut self) -> Result<Option<&'a str>, ScanError> {
        loop {
            // An empty argument too many is none to libuci.
            let extra = self.argument()?;
            if !extra.text.is_empty() {
                return Err(ScanError { at: extra.at, fault: ScanFault::TooManyArguments(extra.text.into_owned()) });
            }
            if self.pos == extra.at {
                break;
            }
        }
        self.after_semicolon = self.peek() == Some(b';');
        if self.after_semicolon {
            self.pos += 1;
            return Ok(None);
        }
        let comment = (self.peek() == Some(b'#')).then(|| self.comment());
        self.newline();
        Ok(comment)
    }

    fn comment(&mut self) -> &'a str {
        let start = self.pos;
        self.pos += self.text[start..].find('\n').unwrap_or(self.text.len() - start);
        self.after_semicolon = false;
        self.text[start..self.pos].trim_end_matches('\r')
    }

    /// Skips what separates arguments: blanks and joined lines.
    fn skip_gap(&mut self) {
        loop {
            self.skip(is_blank);
            let before = self.pos;
            if self.peek() == Some(b'\\') {
                self.pos += 1;
                if self.newline() {
                    continue;
                }
            }
            self.pos = before;
            return;
        }
    }

    /// Skips the end of a line, if one stands here.
    fn newline(&mut self) -> bool {
        let rest = &self.text.as_bytes()[self.pos..];
        let length = match rest {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => 0,
        };
        self.pos += length;
        length > 0
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    fn skip(&mut self, accepts: impl Fn(u8) -> bool) {
        let rest = &self.text.as_bytes()[self.pos..];
        self.pos += rest.iter().position(|b| !accepts(*b)).unwrap_or(rest.len());
    }
}

/// What C's `isspace` takes for white space, but for the newline.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

fn append<'a>(text: &mut Cow<'a, str>, part: &'a str) {
    if text.is_empty() {
        *text = Cow::Borrowed(part);
    } else if !part.is_empty() {
        text.to_mut().push_str(part);
    }
}
