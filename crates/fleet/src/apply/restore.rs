//! What a start does that finds a journal. The script `restore` does the same in plain shell.

use uci::{Package, PackageName};

use super::{FileEntry, Journal};

/// A file to write, or to remove where there is no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its path.
    pub path: String,
    /// What it is to hold.
    pub content: Option<Vec<u8>>,
}

/// What to write so that a device has what it had before the change, or, where the change is to stay, what it has after
/// it. Where others wrote since, only the change's own sections go back; a file that is no UCI stays as they wrote it.
#[must_use]
pub fn restore(journal: &Journal, is_kept: bool, read: impl Fn(&str) -> Option<Vec<u8>>) -> Vec<Write> {
    let mut writes = Vec::new();
    for file in &journal.files {
        let found = read(&file.path);
        let (wanted, other) = match is_kept {
            true => (&file.new, &file.old),
            false => (&file.old, &file.new),
        };
        if found == *wanted {
            continue;
        }
        let content = if found == *other {
            wanted.clone()
        } else if let (Some(found), false) = (found, is_kept)
            && let Some(content) = only_sections(file, &found)
        {
            Some(content)
        } else {
            continue;
        };
        writes.push(Write { path: file.path.clone(), content });
    }
    writes
}

/// What others wrote, with the change's own sections as they were.
fn only_sections(file: &FileEntry, found: &[u8]) -> Option<Vec<u8>> {
    let sections = file.sections.as_ref()?;
    let name = || PackageName::new("restored").expect("invariant: a name");
    let mut package = Package::parse(name(), str::from_utf8(found).ok()?).ok()?;
    let old = Package::parse(name(), str::from_utf8(&sections.old).ok()?).ok()?;
    for name in &sections.names {
        if package.section(name).is_some_and(|section| !section.is_anonymous()) {
            package.delete(name).ok()?;
        }
    }
    for section in old.sections() {
        let made = package.add(section.kind().clone(), section.name().clone()).ok()?;
        for (option, value) in section.options() {
            made.set(option.clone(), value.clone()).ok()?;
        }
    }
    Some(package.print().into_bytes())
}
