//! Where things lie on the host's disk.
//!
//! ```text
//! <storage_dir>/images/<sha256>.qcow2     an image in the cache, read-only
//! <storage_dir>/images/img-….json         which digest an image has, and its version
//! <storage_dir>/instances/ins-…/disk.qcow2, seed.iso, console.log, report.log, record.json
//! ```

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use types::{ImageId, InstanceId, Sha256Digest};

/// The directories of one agent. Every path is built from ids and digests.
#[derive(Clone, Debug)]
pub struct Storage {
    root: PathBuf,
}

impl Storage {
    /// Makes the directories where they are missing. QEMU may run as another user, who has to pass through them.
    pub fn open(root: &Path) -> anyhow::Result<Self> {
        let storage = Self { root: root.to_owned() };
        for path in [storage.root.clone(), storage.images(), storage.instances()] {
            make_directory(&path)?;
        }
        Ok(storage)
    }

    /// The same without making anything.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The cache of images.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The file of an image.
    pub fn image(&self, digest: Sha256Digest) -> PathBuf {
        self.images().join(format!("{digest}.qcow2"))
    }

    /// What is known of an image.
    pub fn image_record(&self, id: ImageId) -> PathBuf {
        self.images().join(format!("{id}.json"))
    }

    /// All instances' directories.
    pub fn instances(&self) -> PathBuf {
        self.root.join("instances")
    }

    /// The files of an instance.
    pub fn instance(&self, id: InstanceId) -> InstanceFiles {
        InstanceFiles { dir: self.instances().join(id.to_string()) }
    }

    /// The images that have a record.
    pub fn image_ids(&self) -> anyhow::Result<Vec<ImageId>> {
        names_in(&self.images(), ".json")
    }

    /// The instances that have a directory.
    pub fn instance_ids(&self) -> anyhow::Result<Vec<InstanceId>> {
        names_in(&self.instances(), "")
    }
}

/// The files of one instance.
#[derive(Clone, Debug)]
pub struct InstanceFiles {
    dir: PathBuf,
}

impl InstanceFiles {
    /// The directory that they lie in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the directory.
    pub fn make_dir(&self) -> anyhow::Result<()> {
        make_directory(&self.dir)
    }

    /// The disk, a clone of an image.
    pub fn disk(&self) -> PathBuf {
        self.dir.join("disk.qcow2")
    }

    /// The NoCloud seed.
    pub fn seed(&self) -> PathBuf {
        self.dir.join("seed.iso")
    }

    /// What the guest prints on its first serial port.
    pub fn console(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    /// What the guest reports on its second serial port.
    pub fn report(&self) -> PathBuf {
        self.dir.join("report.log")
    }

    /// What has been done for the instance.
    pub fn record(&self) -> PathBuf {
        self.dir.join("record.json")
    }

    /// A name for a file that is not finished yet.
    pub fn unfinished(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.part"))
    }
}

/// Whether a file of ours is there. Whatever else has its name, a link above all, is not used for it.
pub fn is_file(path: &Path) -> anyhow::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(true),
        Ok(_) => bail!("{} is no plain file: remove it", path.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}

/// Reads a JSON file of ours; none is no error.
pub fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> anyhow::Result<Option<T>> {
    match config::file::read(path) {
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
        Ok(text) => config::parse(&text, path).map(Some).map_err(Into::into),
    }
}

/// Writes a JSON file of ours, whole or not at all.
pub fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_vec(value).context("what we keep can be written as JSON")?;
    config::file::write_private(path, &text)?;
    Ok(())
}

fn make_directory(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(path)
        .with_context(|| format!("cannot make the directory {}", path.display()))
}

fn names_in<T: FromStr>(dir: &Path, suffix: &str) -> anyhow::Result<Vec<T>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("cannot list {}", dir.display()))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", dir.display()))?;
        let name = entry.file_name();
        found.extend(name.to_str().and_then(|name| name.strip_suffix(suffix)).and_then(|name| name.parse().ok()));
    }
    Ok(found)
}
