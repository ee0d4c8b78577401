//! Files on flash: whole or not at all, also when the power goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use fleet::ground::FileBefore;

/// A root folder, which is `/` on a device.
#[derive(Clone, Debug)]
pub struct Flash {
    root: PathBuf,
}

/// Who owns a file, and who may do what with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The owner.
    pub owner: u32,
    /// The group.
    pub group: u32,
    /// The permissions.
    pub mode: u32,
}

impl Flash {
    /// The files under a root.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where a path lies.
    #[must_use]
    pub fn place(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What a file holds; nothing where there is none.
    ///
    /// # Errors
    /// Names the file.
    pub fn read(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        match fs::read(self.place(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {path}")),
        }
    }

    /// A file with all there is to know of it; nothing where there is none.
    ///
    /// # Errors
    /// Names the file.
    pub fn look(&self, path: &str) -> anyhow::Result<Option<FileBefore>> {
        let Some(content) = self.read(path)? else { return Ok(None) };
        let data = fs::metadata(self.place(path)).with_context(|| format!("cannot look at {path}"))?;
        Ok(Some(FileBefore { owner: data.uid(), group: data.gid(), mode: data.mode() & 0o7777, content }))
    }

    /// Writes a file: to another name, flushed, renamed, its folder flushed. Its folder is made where it is not there.
    ///
    /// # Errors
    /// Names the file, which is as it was then.
    pub fn write(&self, path: &str, content: &[u8], ownership: Ownership) -> anyhow::Result<()> {
        self.replace(&self.place(path), content, ownership).with_context(|| format!("cannot write {path}"))
    }

    fn replace(&self, place: &Path, content: &[u8], ownership: Ownership) -> io::Result<()> {
        let folder = place.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder)?;
        let mut name = place.as_os_str().to_owned();
        name.push(".dusk");
        let other = PathBuf::from(name);
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&other)?;
            file.write_all(content)?;
            // The owner first: to change it takes bits away.
            std::os::unix::fs::fchown(&file, Some(ownership.owner), Some(ownership.group))?;
            file.set_permissions(fs::Permissions::from_mode(ownership.mode))?;
            file.sync_all()?;
            fs::rename(&other, place)?;
            File::open(folder)?.sync_all()
        })();
        if written.is_err() {
            let _ = fs::remove_file(&other);
        }
        written
    }

    /// Removes a file; one that is not there is fine.
    ///
    /// # Errors
    /// Names the file.
    pub fn remove(&self, path: &str) -> anyhow::Result<()> {
        let place = self.place(path);
        match fs::remove_file(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            done => done.with_context(|| format!("cannot remove {path}"))?,
        }
        let folder = place.parent().unwrap_or(&self.root);
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(|| format!("cannot flush {path}"))
    }

    /// Keeps so much space taken that nothing else takes it. The bytes do not compress, as flash file systems do that.
    ///
    /// # Errors
    /// When there is not so much space.
    pub fn reserve(&self, path: &str, length: usize) -> anyhow::Result<()> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .take(length.div_ceil(8))
        .flatten()
        .collect();
        let ownership = Ownership { owner: own_user(), group: own_group(), mode: 0o600 };
        self.write(path, &bytes, ownership)
            .with_context(|| format!("flash has no room to keep {length} bytes free for restoring"))
    }
}

/// This process' user.
#[must_use]
pub fn own_user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// This process' group.
#[must_use]
pub fn own_group() -> u32 {
    nix::unistd::getegid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_whole_with_owner_and_mode_or_as_they_were() {
        let root = tempfile::tempdir().unwrap();
        let flash = Flash::new(root.path());
        let ownership = Ownership { owner: own_user(), group: own_group(), mode: 0o4750 };
        flash.write("/etc/a/b", b"x", ownership).unwrap();
        let found = flash.look("/etc/a/b").unwrap().unwrap();
        assert_eq!((found.mode, found.content.as_slice()), (0o4750, b"x".as_slice()));
        fs::create_dir_all(flash.place("/etc/a/c.dusk")).unwrap();
        assert!(flash.write("/etc/a/c", b"y", ownership).unwrap_err().to_string().contains("/etc/a/c"));
        assert_eq!(flash.read("/etc/a/c").unwrap(), None);
        flash.remove("/etc/a/b").unwrap();
        flash.remove("/etc/a/b").unwrap();
        assert_eq!(flash.look("/etc/a/b").unwrap(), None);
    }
}
