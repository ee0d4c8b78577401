//! The journal: what files hold before a change and after it, in one file that a plain shell can read.
//!
//! ```text
//! dusk-journal 1 SHA256                       of all that follows the line
//! payload BYTES                               where the contents begin, ten digits, counted from the first byte
//! change NAME
//! file PATH UID GID MODE OLD OLDSHA NEW NEWSHA NAMES SECTIONS
//! end
//! contents
//! ```
//!
//! OLD, NEW and SECTIONS are `OFFSET:LENGTH` of contents, or `-` where there is no file. NAMES are the UCI sections that
//! the change is about, parted by commas, or `-` for a file that is no UCI: where somebody else wrote since, these alone
//! are taken back, and SECTIONS holds what they were.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Files before a change and after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// What the change is called: one word.
    pub change: String,
    /// The files.
    pub files: Vec<FileEntry>,
}

/// A file before a change and after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its path, absolute and without blanks.
    pub path: String,
    /// Its owner, by number, before and after.
    pub owner: u32,
    /// Its group, by number.
    pub group: u32,
    /// Its permissions.
    pub mode: u32,
    /// What it held; nothing where it was not there.
    pub old: Option<Vec<u8>>,
    /// What it is to hold; nothing where it is not to be there.
    pub new: Option<Vec<u8>>,
    /// The UCI sections that the change is about; nothing where the file is no UCI.
    pub sections: Option<Sections>,
}

/// The UCI sections of a file that a change is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sections {
    /// Their names.
    pub names: Vec<String>,
    /// Those that were there, as UCI.
    pub old: Vec<u8>,
}

/// Why bytes are no journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal cannot be read: {0}")]
pub struct JournalError(pub &'static str);

const MAGIC: &str = "dusk-journal 1 ";

impl Journal {
    /// The journal as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        let mut lines = format!("change {}\n", self.change);
        for file in &self.files {
            let mut put = |content: Option<&[u8]>| match content {
                None => ("-".to_owned(), "-".to_owned()),
                Some(content) => {
                    let place = format!("{}:{}", payload.len(), content.len());
                    payload.extend_from_slice(content);
                    (place, sha256(content))
                }
            };
            let (old, old_sum) = put(file.old.as_deref());
            let (new, new_sum) = put(file.new.as_deref());
            let (names, sections) = match &file.sections {
                Some(sections) => (sections.names.join(","), put(Some(&sections.old)).0),
                None => ("-".to_owned(), "-".to_owned()),
            };
            let FileEntry { path, owner, group, mode, .. } = file;
            // Writing to a string cannot fail.
            let _ = writeln!(
                lines,
                "file {path} {owner} {group} {mode:o} {old} {old_sum} {new} {new_sum} {names} {sections}"
            );
        }
        lines.push_str("end\n");
        // The first line has a fixed length: the magic, 64 digits, a newline; so has the second.
        let start = MAGIC.len() + 65 + "payload 0000000000\n".len() + lines.len();
        let mut rest = format!("payload {start:010}\n{lines}").into_bytes();
        rest.extend(payload);
        let mut bytes = format!("{MAGIC}{}\n", sha256(&rest)).into_bytes();
        bytes.extend(rest);
        bytes
    }

    /// Reads what [`Journal::encode`] wrote.
    ///
    /// # Errors
    /// Bytes that are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, JournalError> {
        let wrong = JournalError;
        let head = bytes.iter().position(|byte| *byte == b'\n').ok_or(wrong("it ends in its first line"))?;
        let (first, rest) = (&bytes[..head], &bytes[head + 1..]);
        let sum = first.strip_prefix(MAGIC.as_bytes()).ok_or(wrong("it does not begin as a journal of version 1"))?;
        if sum != sha256(rest).as_bytes() {
            return Err(wrong("its checksum is another"));
        }
        let mut journal = Self::default();
        let mut lines = rest.split(|byte| *byte == b'\n').map(|line| str::from_utf8(line).unwrap_or(""));
        let start = lines.next().and_then(|line| line.strip_prefix("payload ")?.parse::<usize>().ok());
        let payload =
            start.and_then(|start| bytes.get(start..)).ok_or(wrong("it does not say where contents begin"))?;
        let change = lines.next().and_then(|line| line.strip_prefix("change "));
        change.ok_or(wrong("it does not name its change"))?.clone_into(&mut journal.change);
        for line in lines {
            if line == "end" {
                return Ok(journal);
            }
            let words: Vec<&str> = line.split(' ').collect();
            let ["file", path, owner, group, mode, old, _, new, _, names, sections] = words[..] else {
                return Err(wrong("a line of it is none of a file"));
            };
            let number = |text: &str| text.parse::<u32>().map_err(|_| wrong("a number of it is none"));
            let sections = match names {
                "-" => None,
                names => {
                    let names = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
                    let old = content(payload, sections)?.ok_or(wrong("it lacks the sections of a file"))?;
                    Some(Sections { names, old })
                }
            };
            journal.files.push(FileEntry {
                path: path.to_owned(),
                owner: number(owner)?,
                group: number(group)?,
                mode: u32::from_str_radix(mode, 8).map_err(|_| wrong("permissions in it are none"))?,
                old: content(payload, old)?,
                new: content(payload, new)?,
                sections,
            });
        }
        Err(wrong("it does not end"))
    }

    /// How many bytes restoring may need at once.
    #[must_use]
    pub fn reserve(&self) -> usize {
        self.files.iter().map(|file| file.old.as_ref().map_or(0, Vec::len)).sum()
    }

    /// The checksum in its first line, which the mark names that makes the change stay.
    #[must_use]
    pub fn checksum(bytes: &[u8]) -> Option<&str> {
        str::from_utf8(bytes.get(MAGIC.len()..MAGIC.len() + 64)?).ok()
    }
}

fn content(payload: &[u8], place: &str) -> Result<Option<Vec<u8>>, JournalError> {
    if place == "-" {
        return Ok(None);
    }
    let place = place.split_once(':').and_then(|(at, length)| {
        let (at, length): (usize, usize) = (at.parse().ok()?, length.parse().ok()?);
        payload.get(at..at.checked_add(length)?)
    });
    place.map(|content| Some(content.to_vec())).ok_or(JournalError("a content of it is not there"))
}

fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn journal() -> Journal {
        let file = FileEntry {
            path: "/etc/config/network".to_owned(),
            owner: 0,
            group: 0,
            mode: 0o600,
            old: Some(b"config interface 'lan'\n".to_vec()),
            new: Some(b"config interface 'lan'\n\toption mtu '1400'\n".to_vec()),
            sections: Some(Sections { names: vec!["lan".to_owned()], old: b"config interface 'lan'\n".to_vec() }),
        };
        let other = FileEntry { path: "/etc/x".to_owned(), old: None, sections: None, mode: 0o4755, ..file.clone() };
        let gone = FileEntry { path: "/etc/y".to_owned(), new: None, sections: None, ..file.clone() };
        Journal { change: "17".to_owned(), files: vec![file, other, gone] }
    }

    #[test]
    fn journals_are_read_as_they_are_written() {
        for journal in [journal(), Journal::default()] {
            assert_eq!(Journal::decode(&journal.encode()), Ok(journal));
        }
    }

    #[test]
    fn every_bit_counts() {
        let bytes = journal().encode();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(Journal::decode(&flipped).is_err(), "byte {at}");
            assert!(Journal::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn hostile_bytes_are_refused() {
        let corpus = fuzz::Corpus::of([journal().encode()]);
        corpus.run(|bytes| {
            // With its checksum put right, so that the rest is reached.
            let mut bytes = bytes.to_vec();
            if let Some(at) = bytes.iter().position(|byte| *byte == b'\n') {
                let rest = bytes.split_off(at + 1);
                bytes = format!("{MAGIC}{}\n", sha256(&rest)).into_bytes();
                bytes.extend(rest);
            }
            let _ = Journal::decode(&bytes);
        });
    }
}
