//! Where things stand in a text: the lines of sections and options, for whoever has to say what is wrong there.

use std::collections::HashMap;

use crate::scan::{Keyword, Scanner};

/// The lines of a configuration file's sections and options, counted from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    sections: Vec<SectionLines>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct SectionLines {
    line: usize,
    options: Vec<(String, usize)>,
}

impl Lines {
    /// Reads a text as far as it is UCI.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut scanner = Scanner::new(text);
        let mut sections: Vec<SectionLines> = Vec::new();
        let mut named: HashMap<String, usize> = HashMap::new();
        let mut open = None;
        let (mut counted, mut line) = (0, 1);
        while let Ok(Some(statement)) = scanner.statement() {
            line += text[counted..statement.at].bytes().filter(|byte| *byte == b'\n').count();
            counted = statement.at;
            match statement.keyword {
                Keyword::Package => {}
                Keyword::Config => {
                    let name = statement.second.text;
                    let known = named.get(&*name).copied();
                    let place = known.unwrap_or(sections.len());
                    if known.is_none() {
                        sections.push(SectionLines { line, options: Vec::new() });
                    }
                    if !name.is_empty() {
                        named.insert(name.into_owned(), place);
                    }
                    open = Some(place);
                }
                Keyword::Option | Keyword::List => {
                    if let Some(place) = open {
                        sections[place].options.push((statement.first.text.into_owned(), line));
                    }
                }
            }
        }
        Self { sections }
    }

    /// The line on which the section at this position begins.
    #[must_use]
    pub fn section(&self, position: usize) -> Option<usize> {
        self.sections.get(position).map(|section| section.line)
    }

    /// The line of the last statement about an option of the section at this position.
    #[must_use]
    pub fn option(&self, position: usize, option: &str) -> Option<usize> {
        let options = &self.sections.get(position)?.options;
        options.iter().rev().find(|(name, _)| name == option).map(|(_, line)| *line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_behind_values_of_many_lines_and_in_sections_that_go_on() {
        let text = "# head\nconfig a 'x'\n\toption one 'first\nsecond'\n\toption two '2'\n\nconfig a\n\toption one 1\nconfig a x\n list l 1\n";
        let lines = Lines::of(text);
        assert_eq!(lines.section(0), Some(2));
        assert_eq!((lines.option(0, "one"), lines.option(0, "two")), (Some(3), Some(5)));
        assert_eq!((lines.section(1), lines.option(1, "one")), (Some(7), Some(8)));
        assert_eq!(lines.option(0, "l"), Some(10));
        assert_eq!((lines.section(2), lines.option(1, "two")), (None, None));
    }
}
