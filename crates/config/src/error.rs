//! What can be wrong with a configuration, in sentences that name the file, the place and what was expected.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::FileError;

/// Why a configuration could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file in any of the places.
    #[error("there is no configuration: looked for {}", places(.looked_for))]
    Missing {
        /// The places, in the order they were looked at.
        looked_for: Vec<PathBuf>,
    },
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key that the program does not know.
    #[error("{}:{}:{}: unknown key {key:?}{}", .place.file.display(), .place.line, .place.column, advice(.place, .nearest.as_deref(), .known))]
    UnknownKey {
        /// Where; `at` is the object that the key stands in.
        place: Box<Place>,
        /// The key.
        key: String,
        /// The known key that is written most like it, where one is close.
        nearest: Option<String>,
        /// All keys that may stand there.
        known: Vec<String>,
    },
    /// A value that is not what it should be, or text that is not JSON.
    #[error("{}:{}:{}: {}{reason}", .place.file.display(), .place.line, .place.column, about(&.place.at))]
    Value {
        /// Where; `at` is the value.
        place: Box<Place>,
        /// What is wrong.
        reason: String,
    },
}

/// A place in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Line, counted from 1.
    pub line: usize,
    /// Column, counted from 1.
    pub column: usize,
    /// Where in the document, as in `agents[0].state_dir`; empty at the top.
    pub at: String,
}

impl ConfigError {
    /// The error that serde reported of `file` at the path `at` (as serde_path_to_error writes it).
    pub(crate) fn of_json(file: &Path, at: &str, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string();
        let reason = message.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&message);
        // serde_path_to_error writes `.` for the top and `?` for a place that has no name.
        let at = at.trim_end_matches('?').trim_end_matches('.');
        let place = |at: &str| Box::new(Place { file: file.to_owned(), line, column, at: at.to_owned() });
        match unknown_key(reason) {
            Some((key, known)) => {
                Self::UnknownKey { place: place(without_last(at, &key)), nearest: nearest(&key, &known), key, known }
            }
            None => Self::Value { place: place(at), reason: reason.to_owned() },
        }
    }
}

/// An unknown field and the known ones, out of serde's "unknown field `a`, expected one of `b`, `c`" apart. serde has no typed form of it.
pub fn unknown_key(reason: &str) -> Option<(String, Vec<String>)> {
    let rest = reason.strip_prefix("unknown field `")?;
    let (key, rest) = rest.split_once("`, ").unwrap_or((rest.trim_end_matches('`'), ""));
    let known = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((key.to_owned(), known))
}

/// The known key that is written most like `key`, if no more than a third of it would have to change.
pub fn nearest(key: &str, known: &[String]) -> Option<String> {
    let distance = |candidate: &&String| strsim::osa_distance(&key.to_lowercase(), &candidate.to_lowercase());
    let best = known.iter().min_by_key(distance)?;
    let longest = key.chars().count().max(best.chars().count());
    (distance(&best) * 3 <= longest + 1).then(|| best.clone())
}

/// The path without its last segment where that is the unknown key itself.
fn without_last<'a>(at: &'a str, key: &str) -> &'a str {
    match at.strip_suffix(key) {
        Some("") => "",
        Some(parent) => parent.strip_suffix('.').unwrap_or(at),
        None => at,
    }
}

fn places(places: &[PathBuf]) -> String {
    places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(" and ")
}

fn about(at: &str) -> String {
    if at.is_empty() { String::new() } else { format!("{at}: ") }
}

fn advice(place: &Place, nearest: Option<&str>, known: &[String]) -> String {
    let mut text = String::new();
    if !place.at.is_empty() {
        let _ = write!(text, " in {}", place.at);
    }
    if let Some(nearest) = nearest {
        let _ = write!(text, "; did you mean {nearest:?}?");
    }
    match known {
        [] => text.push_str(" (no keys may stand here)"),
        known => {
            let _ = write!(text, " (known here: {})", known.join(", "));
        }
    }
    text
}
