//! S-expressions: words and lists of them, each with the place where it stands.

use std::iter::Peekable;
use std::str::CharIndices;

/// Lists within lists within lists that are read; no tag has use for more.
const DEPTH: usize = 16;

/// A word or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression<'t> {
    /// A word: anything without spaces and parentheses.
    Word(Word<'t>),
    /// A list, and the column of its opening parenthesis.
    List(usize, Vec<Expression<'t>>),
}

/// A word and its column, counted in characters from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<'t> {
    /// Where it begins.
    pub column: usize,
    /// What it is.
    pub text: &'t str,
}

/// What is wrong, and the column where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub struct TagError {
    /// The place, counted in characters from 1.
    pub column: usize,
    /// The problem, and what was expected.
    pub problem: String,
}

impl TagError {
    /// This problem at this place.
    pub fn at(column: usize, problem: impl Into<String>) -> Self {
        Self { column, problem: problem.into() }
    }
}

impl Expression<'_> {
    /// Where it begins.
    pub fn column(&self) -> usize {
        match self {
            Self::Word(word) => word.column,
            Self::List(column, _) => *column,
        }
    }
}

/// Reads the one list that a text is.
pub fn parse(text: &str) -> Result<Vec<Expression<'_>>, TagError> {
    let mut reader = Reader { text, rest: text.char_indices().peekable(), column: 1 };
    reader.skip_space();
    let opened = reader.column;
    let Some('(') = reader.peek() else { return Err(TagError::at(opened, "expected \"(\"")) };
    reader.next();
    let list = reader.list(opened, 1)?;
    reader.skip_space();
    match reader.peek() {
        None => Ok(list),
        Some(_) => Err(TagError::at(reader.column, "expected the end after the closing parenthesis")),
    }
}

struct Reader<'t> {
    text: &'t str,
    rest: Peekable<CharIndices<'t>>,
    column: usize,
}

impl<'t> Reader<'t> {
    fn peek(&mut self) -> Option<char> {
        self.rest.peek().map(|(_, character)| *character)
    }

    fn next(&mut self) {
        self.rest.next();
        self.column += 1;
    }

    fn offset(&mut self) -> usize {
        self.rest.peek().map_or(self.text.len(), |(offset, _)| *offset)
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.next();
        }
    }

    /// What follows an opening parenthesis, up to the closing one.
    fn list(&mut self, opened: usize, depth: usize) -> Result<Vec<Expression<'t>>, TagError> {
        let mut list = Vec::new();
        loop {
            self.skip_space();
            let column = self.column;
            match self.peek() {
                None => return Err(TagError::at(column, format!("expected \")\" for the \"(\" in column {opened}"))),
                Some(')') => {
                    self.next();
                    return Ok(list);
                }
                Some('(') if depth == DEPTH => return Err(TagError::at(column, "too many lists within lists")),
                Some('(') => {
                    self.next();
                    list.push(Expression::List(column, self.list(column, depth + 1)?));
                }
                Some(_) => list.push(Expression::Word(self.word())),
            }
        }
    }

    fn word(&mut self) -> Word<'t> {
        let (column, begin) = (self.column, self.offset());
        while self.peek().is_some_and(|character| !character.is_whitespace() && !"()".contains(character)) {
            self.next();
        }
        let end = self.offset();
        Word { column, text: &self.text[begin..end] }
    }
}
