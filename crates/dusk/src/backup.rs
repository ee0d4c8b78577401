//! A master in a file: what it has that is not at every voter, and its journal. Its secret key is in it only where somebody
//! asks for it.
//!
//! The file is made of frames, as the files that only grow are: a first one that says what it is, then for each file its name, a
//! zero byte and what it holds; the journal has one for each of its own.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use fleet::authority::Genesis;
use fleet::node::Flash;
use fleet::{FleetId, Signed};
use zeroize::Zeroizing;

use crate::store::{RESTORED, Store, frames};

/// What the first frame says.
const MARK: &[u8] = b"dusk backup 1";
/// Files that are taken along, and folders with all that is in them.
const FILES: [&str; 2] = ["genesis", "address"];
const FOLDERS: [&str; 3] = ["keys", "requests", "rollouts"];
const KEY: &str = "node.key";
const JOURNAL: &str = "journal";

/// What a backup holds.
pub struct Backup {
    /// Files by name.
    pub files: Vec<(String, Zeroizing<Vec<u8>>)>,
    /// What the journal holds.
    pub journal: Vec<Vec<u8>>,
}

/// Whether a backup holds the secret key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// It does: whoever has the file is this node.
    Included,
    /// It does not.
    LeftOut,
}

impl Backup {
    /// Takes one.
    ///
    /// # Errors
    /// When a file cannot be read, or there is no master here.
    pub fn of(store: &Store, key: Key) -> anyhow::Result<Self> {
        ensure!(store.has(Flash::Journal), "this device does not vote: there is nothing here that its masters lack");
        let mut names: Vec<String> = FILES.iter().map(|name| (*name).to_owned()).collect();
        for folder in FOLDERS {
            names.extend(store.list(folder)?.into_iter().map(|name| format!("{folder}/{name}")));
        }
        if key == Key::Included {
            names.push(KEY.to_owned());
        }
        names.sort();
        let mut files = Vec::new();
        for name in names {
            if let Some(bytes) = store.read(&name)? {
                files.push((name, Zeroizing::new(bytes)));
            }
        }
        Ok(Self { files, journal: store.look_at(Flash::Journal)? })
    }

    /// The file.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let named = |name: &str, bytes: &[u8]| [name.as_bytes(), &[0], bytes].concat();
        let files = self.files.iter().map(|(name, bytes)| named(name, bytes));
        let journal = self.journal.iter().map(|frame| named(JOURNAL, frame));
        let all: Vec<_> = [MARK.to_vec()].into_iter().chain(files).chain(journal).chain([b"end\0".to_vec()]).collect();
        Zeroizing::new(frames::to_bytes(&all))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is none, or not all of it is there.
    pub fn from_bytes(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut all = frames::whole_alone(bytes).context("it is no backup, or damaged")?.into_iter();
        ensure!(all.next().as_deref() == Some(MARK), "it is no backup of a master");
        let mut backup = Self { files: Vec::new(), journal: Vec::new() };
        let mut is_whole = false;
        for frame in all {
            let at = frame.iter().position(|byte| *byte == 0).context("it is damaged: a name is expected")?;
            let (name, bytes) = (std::str::from_utf8(&frame[..at])?, frame[at + 1..].to_vec());
            match name {
                "end" => is_whole = true,
                JOURNAL => backup.journal.push(bytes),
                name if is_known(name) => backup.files.push((name.to_owned(), Zeroizing::new(bytes))),
                name => bail!("{name:?} does not belong into a backup"),
            }
        }
        ensure!(is_whole, "its end is missing");
        Ok(backup)
    }

    /// A file of it.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.iter().find(|(other, _)| other == name).map(|(_, bytes)| bytes.as_slice())
    }

    /// The fleet that it is of.
    ///
    /// # Errors
    /// When it has no genesis.
    pub fn fleet(&self) -> anyhow::Result<(Signed, FleetId)> {
        let genesis = Signed::from_bytes(self.file("genesis").context("it has no genesis")?)?;
        let fleet = Genesis::fleet(&genesis);
        Ok((genesis, fleet))
    }

    /// Puts everything in its place, in a directory that has no fleet. The master then follows before it votes.
    ///
    /// # Errors
    /// When a file cannot be written, or no secret key is there.
    pub fn restore(&self, store: &Store, key: Option<&Path>) -> anyhow::Result<()> {
        ensure!(store.genesis()?.is_none() && !store.has(Flash::Journal), "there is a fleet in this directory already");
        let given = key.map(|path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display())));
        let given = given.transpose()?.map(Zeroizing::new);
        match given.as_ref().map(|bytes| bytes.as_slice()).or_else(|| self.file(KEY)) {
            Some(seed) => {
                ensure!(seed.len() == 32, "a secret key of 32 bytes is expected");
                store.write(KEY, seed)?;
            }
            None if store.secret()?.is_some() => {}
            None => {
                bail!("the backup has no secret key: give the node's with --key FILE, or let this device join anew")
            }
        }
        let (genesis, _) = self.fleet()?;
        store.write(RESTORED, b"")?;
        store.begin(Flash::Journal, &self.journal)?;
        for (name, bytes) in self.files.iter().filter(|(name, _)| !matches!(name.as_str(), KEY | "genesis")) {
            store.write(name, bytes)?;
        }
        store.found(&genesis)
    }
}

fn is_known(name: &str) -> bool {
    let is_plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    let in_folder =
        |folder: &str| name.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')).is_some_and(is_plain);
    FILES.contains(&name) || name == KEY || FOLDERS.into_iter().any(in_folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_read_whole_or_not_at_all() {
        let files = vec![("keys/ada".to_owned(), Zeroizing::new(vec![1, 0, 2]))];
        let bytes = Backup { files, journal: vec![vec![3], Vec::new()] }.to_bytes();
        let read = Backup::from_bytes(&bytes).unwrap();
        assert_eq!((read.file("keys/ada"), read.journal.len()), (Some(&[1, 0, 2][..]), 2));
        for cut in 0..bytes.len() {
            assert!(Backup::from_bytes(&bytes[..cut]).is_err(), "{cut}");
        }
        for name in ["../x", "keys/../../x", "keys/", "shadow"] {
            let bytes = Backup { files: vec![(name.to_owned(), Zeroizing::default())], journal: Vec::new() }.to_bytes();
            assert!(Backup::from_bytes(&bytes).is_err(), "{name}");
        }
    }
}
