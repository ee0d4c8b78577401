//! What goes to stdout: tables for people, JSON and YAML for programs. What is merely said goes to stderr.

use std::io::{self, Write};

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// JSON as the server says it.
    Json,
    /// The same as YAML.
    Yaml,
}

/// One thing as pairs of a label and a text, empty texts left out.
pub type Facts = Vec<(&'static str, String)>;

impl Format {
    /// Whether a person reads it.
    pub fn is_for_people(self) -> bool {
        self == Self::Table
    }

    /// Prints one thing.
    pub fn one<T: Serialize>(self, thing: &T, facts: impl FnOnce() -> Facts) -> anyhow::Result<()> {
        match self {
            Self::Table => print(&facts_text(&facts())),
            Self::Json | Self::Yaml => print(&self.structured(thing)?),
        }
    }

    /// Prints a list.
    pub fn list<T: Serialize>(
        self,
        things: &[T],
        columns: &[&str],
        row: impl Fn(&T) -> Vec<String>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Table => print(&table_text(columns, things.iter().map(row).collect())),
            Self::Json | Self::Yaml => print(&self.structured(&things)?),
        }
    }

    /// Prints one of a series that has no end in sight, each on a line or in a document of its own.
    pub fn next<T: Serialize>(self, thing: &T, line: impl FnOnce() -> String) -> anyhow::Result<()> {
        match self {
            Self::Table => print(&format!("{}\n", line())),
            Self::Json => print(&format!("{}\n", serde_json::to_string(thing)?)),
            Self::Yaml => print(&format!("---\n{}", serde_norway::to_string(thing)?)),
        }
    }

    fn structured<T: Serialize>(self, thing: &T) -> anyhow::Result<String> {
        Ok(match self {
            Self::Table | Self::Json => serde_json::to_string_pretty(thing)? + "\n",
            Self::Yaml => serde_norway::to_string(thing)?,
        })
    }
}

/// Whoever read the data has had enough.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub struct ClosedPipe;

/// Prints data.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ClosedPipe.into()),
        Err(error) => Err(error).context("cannot write the output"),
        Ok(()) => Ok(()),
    }
}

/// Says something to a person. Nobody may be listening, and that is fine.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn facts_text(facts: &Facts) -> String {
    let facts: Vec<_> = facts.iter().filter(|(_, text)| !text.is_empty()).collect();
    let width = facts.iter().map(|(label, _)| label.len()).max().unwrap_or(0) + 2;
    let fact = |(label, text): &&(&str, String)| {
        let text = text.replace('\n', &format!("\n{}", " ".repeat(width)));
        format!("{label:width$}{text}\n")
    };
    facts.iter().map(fact).collect()
}

fn table_text(columns: &[&str], rows: Vec<Vec<String>>) -> String {
    let header = columns.iter().map(|column| (*column).to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let width = |place: usize| lines.iter().map(|line| line[place].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let aligned = |line: &Vec<String>| {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    lines.iter().map(aligned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let rows = vec![vec!["hällo".to_owned(), String::new()], vec!["b".to_owned(), "10.0.0.1".to_owned()]];
        assert_eq!(table_text(&["NAME", "ADDRESS"], rows), "NAME   ADDRESS\nhällo\nb      10.0.0.1\n");
    }

    #[test]
    fn facts_leave_out_what_is_not_known() {
        let facts = vec![("name", "a".to_owned()), ("guest", String::new()), ("keys", "x\ny".to_owned())];
        assert_eq!(facts_text(&facts), "name  a\nkeys  x\n      y\n");
    }
}
