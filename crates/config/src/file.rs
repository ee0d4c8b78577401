//! Files that others must not read, or must never see half written.
//!
//! A file has one writer at a time. It is written beside its place and moved there, so that a crash leaves the old
//! content or the new.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};
use types::SecretText;

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("cannot {action} {}{}", .path.display(), noted(.access.as_ref()))]
    Io {
        /// What was tried, as in "read".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Who may do what with it, where it is there.
        access: Option<Access>,
        /// The system's reason.
        source: io::Error,
    },
    /// The file holds a secret and others can read it.
    #[error(
        "{} holds secrets and others can read it ({access}): only its owner may, as after chmod {}",
        .path.display(),
        if .access.is_directory { "0700" } else { "0600" }
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Who may do what with it.
        access: Access,
    },
    /// The file is not text.
    #[error("{} is not text in UTF-8", .path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

impl FileError {
    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == ErrorKind::NotFound)
    }

    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let access = fs::metadata(path).ok().map(|metadata| Access::of(&metadata));
        Self::Io { action, path: path.to_owned(), access, source }
    }
}

/// Who may do what with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The permission bits.
    pub mode: u32,
    /// The owner's name, or number where it has none.
    pub owner: String,
    /// The group's name, or number where it has none.
    pub group: String,
    /// Whether it is a directory.
    pub is_directory: bool,
}

impl Access {
    fn of(metadata: &fs::Metadata) -> Self {
        let user = User::from_uid(Uid::from_raw(metadata.uid())).ok().flatten();
        let group = Group::from_gid(Gid::from_raw(metadata.gid())).ok().flatten();
        Self {
            mode: metadata.mode() & 0o7777,
            owner: user.map_or_else(|| metadata.uid().to_string(), |user| user.name),
            group: group.map_or_else(|| metadata.gid().to_string(), |group| group.name),
            is_directory: metadata.is_dir(),
        }
    }

    fn is_private(&self) -> bool {
        self.mode & 0o077 == 0
    }
}

impl fmt::Display for Access {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "mode {:04o}, owner {}:{}", self.mode, self.owner, self.group)
    }
}

fn noted(access: Option<&Access>) -> String {
    access.map_or_else(String::new, |access| format!(" ({access})"))
}

/// Reads a text file.
pub fn read(path: &Path) -> Result<String, FileError> {
    let file = File::open(path).map_err(|error| FileError::io("read", path, error))?;
    read_text(file, path)
}

/// Reads a text file that holds a secret: refused where anybody but its owner can read it. One line break at the end
/// does not count, so that a password may be written by an editor.
pub fn read_secret(path: &Path) -> Result<SecretText, FileError> {
    let file = File::open(path).map_err(|error| FileError::io("read", path, error))?;
    let metadata = file.metadata().map_err(|error| FileError::io("read", path, error))?;
    refuse_exposed(path, &metadata)?;
    let mut text = read_text(file, path)?;
    if text.ends_with('\n') {
        text.pop();
    }
    if text.ends_with('\r') {
        text.pop();
    }
    Ok(SecretText::new(text))
}

/// Writes a file that only its owner can read (mode 0600), whole or not at all, and durably.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write(path, bytes, 0o600)
}

/// Writes a file that everybody may read (mode 0644), whole or not at all, and durably.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write(path, bytes, 0o644)
}

/// Moves a file to another place in the same directory, durably; what was there is gone.
pub fn put_in_place(path: &Path, of: &Path) -> Result<(), FileError> {
    fs::rename(path, of).map_err(|error| FileError::io("move", path, error))?;
    sync_directory(of)
}

/// Removes a file durably; one that is not there is fine.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FileError::io("remove", path, error)),
        Ok(()) => sync_directory(path),
    }
}

/// Makes a directory that only its owner can enter (mode 0700), with its parents; one that is there is refused where
/// others can.
pub fn make_private_directory(path: &Path) -> Result<(), FileError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| FileError::io("make directory", parent, error))?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(FileError::io("make directory", path, error)),
        _ => {
            let metadata = fs::metadata(path).map_err(|error| FileError::io("look at", path, error))?;
            refuse_exposed(path, &metadata)
        }
    }
}

fn read_text(mut file: File, path: &Path) -> Result<String, FileError> {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == ErrorKind::InvalidData => Err(FileError::NotText { path: path.to_owned() }),
        Err(error) => Err(FileError::io("read", path, error)),
    }
}

fn refuse_exposed(path: &Path, metadata: &fs::Metadata) -> Result<(), FileError> {
    let access = Access::of(metadata);
    match access.is_private() {
        true => Ok(()),
        false => Err(FileError::Exposed { path: path.to_owned(), access }),
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let beside = beside(path);
    let written = write_beside(&beside, bytes, mode).and_then(|()| fs::rename(&beside, path));
    if let Err(error) = written {
        // What was half written is of no use; the reason that is told is why the writing failed.
        let _ = fs::remove_file(&beside);
        return Err(FileError::io("write", path, error));
    }
    sync_directory(path)
}

fn write_beside(beside: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // A crash may have left one. Its mode or owner must not be inherited.
    match fs::remove_file(beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(beside)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// `.name.new` in the same directory.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

fn sync_directory(path: &Path) -> Result<(), FileError> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    File::open(directory).and_then(|file| file.sync_all()).map_err(|error| FileError::io("sync", directory, error))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn private_files_are_written_whole_and_for_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(dir.path().join(".token.new"), "left by a crash").unwrap();
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two\n").unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(read_secret(&path).unwrap().reveal(), "two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn secrets_that_others_can_read_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "x").unwrap();
        for exposed in [0o640, 0o604, 0o644] {
            fs::set_permissions(&path, Permissions::from_mode(exposed)).unwrap();
            let Err(error) = read_secret(&path) else { panic!("mode {exposed:o} was read") };
            let text = error.to_string();
            assert!(text.contains(&format!("mode {exposed:04o}, owner ")) && text.contains("chmod 0600"), "{text}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(read_secret(&path).is_ok());
    }

    #[test]
    fn a_private_directory_that_is_open_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/state");
        make_private_directory(&state).unwrap();
        make_private_directory(&state).unwrap();
        assert_eq!(mode(&state), 0o700);
        fs::set_permissions(&state, Permissions::from_mode(0o755)).unwrap();
        let text = make_private_directory(&state).unwrap_err().to_string();
        assert!(text.contains("mode 0755") && text.contains("chmod 0700"), "{text}");
    }

    #[test]
    fn what_fails_is_named_with_mode_and_owner() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o750)).unwrap();
        let error = read(dir.path()).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("cannot read /") && text.contains("(mode 0750, owner "), "{text}");
        assert!(!error.is_missing());
        assert!(read(&dir.path().join("none")).unwrap_err().is_missing());
        assert!(write_private(&dir.path().join("none/token"), b"x").is_err());
    }

    #[test]
    fn removing_is_done_when_nothing_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        write_public(&path, b"x").unwrap();
        assert_eq!(mode(&path), 0o644);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
    }
}
