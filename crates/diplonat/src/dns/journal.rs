//! The journal of our names: what is, or may be, in the zone because of us. It is written before anything is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use config::FileError;
use serde::{Deserialize, Serialize};
use types::DomainName;

use super::Target;
use crate::exposure::PublicPort;

/// The journal's name in the directory for state.
pub const FILE_NAME: &str = "names.json";

/// A name of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it leads; nothing where that is not sure.
    pub targets: BTreeSet<Target>,
    /// The ports that it leads to.
    pub ports: BTreeSet<PublicPort>,
}

/// The journal. Every change is on the disk before the call returns.
#[derive(Debug, Default)]
pub struct Journal {
    path: PathBuf,
    entries: BTreeMap<DomainName, Entry>,
}

impl Journal {
    /// Opens the journal in a directory, or begins one.
    pub fn open(directory: &Path) -> Result<Self, config::ConfigError> {
        let path = directory.join(FILE_NAME);
        let entries: Vec<(DomainName, Entry)> = match config::file::read(&path) {
            Ok(text) => config::parse(&text, &path)?,
            Err(error) if error.is_missing() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path, entries: entries.into_iter().collect() })
    }

    /// All names.
    pub fn entries(&self) -> &BTreeMap<DomainName, Entry> {
        &self.entries
    }

    /// Writes a name down.
    pub fn put(&mut self, name: &DomainName, entry: Entry) -> Result<(), FileError> {
        if self.entries.get(name) == Some(&entry) {
            return Ok(());
        }
        self.entries.insert(name.clone(), entry);
        self.write()
    }

    /// Strikes a name out.
    pub fn strike(&mut self, name: &DomainName) -> Result<(), FileError> {
        match self.entries.remove(name) {
            Some(_) => self.write(),
            None => Ok(()),
        }
    }

    fn write(&self) -> Result<(), FileError> {
        let entries: Vec<_> = self.entries.iter().collect();
        let json = serde_json::to_vec_pretty(&entries).expect("invariant: entries are plain data");
        config::file::write_private(&self.path, &json)
    }
}
