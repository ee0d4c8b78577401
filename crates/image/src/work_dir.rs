//! A folder that lasts as long as one build.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::fcntl::{Flock, FlockArg};

/// What the name of every such folder begins with.
const PREFIX: &str = "build-";

/// Removed with all that is in it when the build ends. What a killed build left goes with the next one.
pub struct WorkDir {
    path: PathBuf,
    /// Tells others that the folder is in use; the kernel lets go of it however the process ends.
    _lock: Flock<File>,
}

impl WorkDir {
    /// Makes the folder in `parent`, which is made where it is missing.
    pub fn make(parent: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(parent).with_context(|| format!("cannot make the folder {}", parent.display()))?;
        let parent = parent.canonicalize().with_context(|| format!("cannot resolve {}", parent.display()))?;
        // Held until the new folder is locked, so that nobody takes it for a leftover before that.
        let _turn =
            lock(&parent, FlockArg::LockExclusive).with_context(|| format!("cannot lock {}", parent.display()))?;
        sweep(&parent)?;
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        let lock =
            lock(&path, FlockArg::LockExclusiveNonblock).with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is, from the root on.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders whose builds have ended.
fn sweep(parent: &Path) -> anyhow::Result<()> {
    let entries = fs::read_dir(parent).with_context(|| format!("cannot list {}", parent.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        if !ours || !path.is_dir() {
            continue;
        }
        // Another build is at work in it where the lock is taken.
        let Ok(_lock) = lock(&path, FlockArg::LockExclusiveNonblock) else { continue };
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}, which a build left", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn lock(folder: &Path, how: FlockArg) -> std::io::Result<Flock<File>> {
    Flock::lock(File::open(folder)?, how).map_err(|(_, error)| error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_build_left_goes_and_what_is_in_use_stays() {
        let parent = tempfile::tempdir().unwrap();
        let (left, used) = (parent.path().join("build-left"), parent.path().join("build-used"));
        for folder in [&left, &used] {
            fs::create_dir_all(folder.join("tree")).unwrap();
        }
        let user = lock(&used, FlockArg::LockExclusive).unwrap();
        fs::write(parent.path().join("build-notes"), "a file").unwrap();
        let own = WorkDir::make(parent.path()).unwrap();
        assert!(!left.exists() && used.exists() && own.path().is_dir());
        drop((user, own));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 2, "its own folder went with it");
    }
}
