//! The directory of UCI files, `/etc/config` as the router's clients know it.

use std::io;
use std::path::{Path, PathBuf};

use config::FileError;

use crate::status::Status;
use crate::tree::Tree;

/// The directory that holds one file a package.
#[derive(Clone, Debug)]
pub struct Configs {
    dir: PathBuf,
}

impl Configs {
    /// The files in `dir`.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Configs { dir }
    }

    /// The names of the packages, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let is_file = entry.file_type().ok()?.is_file();
                let name = entry.file_name().into_string().ok()?;
                (is_file && uci::PackageName::new(&*name).is_ok()).then_some(name)
            })
            .collect();
        names.sort();
        names
    }

    /// A package.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that libuci refuses, `NotFound` for a file that is not there, `Unknown` for one that
    /// cannot be read or parsed.
    pub fn load(&self, name: &str) -> Result<Tree, Status> {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Status::InvalidArgument);
        }
        let package = uci::PackageName::new(name).map_err(|_| Status::NotFound)?;
        let text = self.read(name).map_err(|error| Status::of_io(&error))?;
        let package = uci::Package::parse(package, &text).map_err(|error| {
            tracing::warn!(config = name, %error, "a UCI file does not parse");
            Status::Unknown
        })?;
        Ok(Tree::of(&package))
    }

    /// A package, empty where it is missing or broken: how the daemons that follow it read it.
    #[must_use]
    pub fn load_or_empty(&self, name: &str) -> Tree {
        self.load(name).unwrap_or_default()
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// As the file system says.
    pub fn read(&self, name: &str) -> io::Result<String> {
        std::fs::read_to_string(self.path(name))
    }

    /// Replaces a file, durably and at once.
    ///
    /// # Errors
    /// As the file system says; the old file is untouched then.
    pub fn write(&self, name: &str, text: &str) -> Result<(), FileError> {
        config::file::write_private(&self.path(name), text.as_bytes())
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}
