//! A folder that lasts as long as one build.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Removed with all that is in it when the build ends, however it ends.
pub struct WorkDir(PathBuf);

impl WorkDir {
    /// Makes the folder in `parent`.
    pub fn make(parent: &Path) -> anyhow::Result<Self> {
        let path = parent.join(format!("build-{}", std::process::id()));
        // What a killed build of the same process id left behind must not get into this one.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("cannot resolve {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is, from the root on.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
