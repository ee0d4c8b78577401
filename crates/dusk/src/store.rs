//! What a node keeps on flash: its secret, its fleet's genesis, files that only grow, and, on voters, users' locked keys.
//!
//! Whatever is said to be written survives a power cut: files that are replaced are written beside, synchronised and
//! renamed; files that grow are synchronised, and what a cut left half written at their end is dropped at the next start.

pub(crate) mod frames;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use fleet::node::Flash;
use fleet::password::LockedKey;
use fleet::{NodeSecret, Random, Signed, UserName};
use nix::fcntl::{Flock, FlockArg};
use zeroize::Zeroizing;

use crate::agent::control;
pub use frames::{Frames, FramesError};

/// Where the files lie if nobody says.
pub const DIRECTORY: &str = "/etc/dusk";
/// The file that is there while a voter was restored and has not followed the others yet.
pub const RESTORED: &str = "restored";

/// Another process holds the files.
#[derive(Debug, thiserror::Error)]
#[error("{} is in use by another dusk", dir.display())]
pub struct InUse {
    dir: PathBuf,
}

/// How long another command may take that holds the files.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node's files, held by one process; others may look at them beside a node that runs.
pub struct Store {
    dir: PathBuf,
    lock: Option<Flock<File>>,
}

impl Store {
    /// Takes the files of a directory, which is made if it is not there.
    ///
    /// # Errors
    /// When another process holds them, or they cannot be reached.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.with_context(|| format!("cannot make {}", dir.display()))?;
        let lock = dir.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock);
        let file = file.with_context(|| format!("cannot open {}", lock.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { dir: dir.to_owned(), lock: Some(lock) }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(InUse { dir: dir.to_owned() }.into()),
            Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", lock.display())),
        }
    }

    /// Takes the files, or where a node runs on them and answers, looks at them beside it. Files that only grow are that
    /// node's then. Another command that holds them is waited for.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn enter(dir: &Path) -> anyhow::Result<Self> {
        let began = Instant::now();
        loop {
            match Self::open(dir) {
                Ok(store) => return Ok(store),
                Err(_) if UnixStream::connect(control::path(dir)).is_ok() => {
                    return Ok(Self { dir: dir.to_owned(), lock: None });
                }
                Err(error) if !error.is::<InUse>() || began.elapsed() > PATIENCE => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Whether this process holds the files.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.lock.is_some()
    }

    /// What one of the files that only grow holds by now, without holding it.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub fn look_at(&self, flash: Flash) -> anyhow::Result<Vec<Vec<u8>>> {
        Ok(Frames::read(&self.path(name_of(flash)))?)
    }

    /// The node's secret, if it has one.
    ///
    /// # Errors
    /// When the file cannot be read or is not 32 bytes long.
    pub fn secret(&self) -> anyhow::Result<Option<NodeSecret>> {
        let Some(bytes) = self.read("node.key")? else { return Ok(None) };
        let bytes = Zeroizing::new(bytes);
        let seed = bytes.as_slice().try_into().ok();
        let seed = seed.with_context(|| format!("{} is not 32 bytes long", self.path("node.key").display()))?;
        Ok(Some(NodeSecret::of(seed)))
    }

    /// The node's secret, which is made if there is none.
    ///
    /// # Errors
    /// As reading and writing the file.
    pub fn ensure_secret(&self, random: &mut impl Random) -> anyhow::Result<NodeSecret> {
        if let Some(secret) = self.secret()? {
            return Ok(secret);
        }
        let secret = NodeSecret::generate(random);
        self.write("node.key", secret.reveal())?;
        Ok(secret)
    }

    /// The genesis of the fleet that the node is of. A founder writes it last: where it is, everything else is.
    ///
    /// # Errors
    /// When the file cannot be read or is none.
    pub fn genesis(&self) -> anyhow::Result<Option<Signed>> {
        let Some(bytes) = self.read("genesis")? else { return Ok(None) };
        let genesis = Signed::from_bytes(&bytes);
        Ok(Some(genesis.with_context(|| format!("{} is damaged", self.path("genesis").display()))?))
    }

    /// Writes the genesis.
    ///
    /// # Errors
    /// As writing the file.
    pub fn found(&self, genesis: &Signed) -> anyhow::Result<()> {
        self.write("genesis", &genesis.to_bytes())
    }

    /// One of the files that only grow, with what it holds.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged other than by a power cut.
    pub fn frames(&self, flash: Flash) -> anyhow::Result<(Frames, Vec<Vec<u8>>)> {
        Ok(Frames::open(&self.path(name_of(flash)))?)
    }

    /// Whether one of them is there.
    #[must_use]
    pub fn has(&self, flash: Flash) -> bool {
        self.path(name_of(flash)).exists()
    }

    /// Begins such a file anew with these frames.
    ///
    /// # Errors
    /// As writing the file.
    pub fn begin(&self, flash: Flash, frames: &[Vec<u8>]) -> anyhow::Result<()> {
        self.write(name_of(flash), &frames::to_bytes(frames))
    }

    /// A user's key under a password.
    ///
    /// # Errors
    /// When the file cannot be read or is none.
    pub fn locked_key(&self, user: &UserName) -> anyhow::Result<Option<LockedKey>> {
        let name = format!("keys/{user}");
        let Some(bytes) = self.read(&name)? else { return Ok(None) };
        let key = LockedKey::from_bytes(&bytes);
        Ok(Some(key.with_context(|| format!("{} is damaged", self.path(&name).display()))?))
    }

    /// Keeps a user's key, instead of the one before.
    ///
    /// # Errors
    /// As writing the file.
    pub fn keep_key(&self, key: &LockedKey) -> anyhow::Result<()> {
        self.write(&format!("keys/{}", key.user), &key.to_bytes())
    }

    /// The users whose keys are here.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn users(&self) -> anyhow::Result<Vec<UserName>> {
        let mut users: Vec<UserName> = self.list("keys")?.iter().filter_map(|name| name.parse().ok()).collect();
        users.sort();
        Ok(users)
    }

    /// The names of the files in a directory of the store; of one that is not there, none.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self, name: &str) -> anyhow::Result<Vec<String>> {
        let path = self.path(name);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("cannot read {}", path.display()))?,
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// What a file of the store says, if it is there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let path = self.path(name);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => Ok(Some(read.with_context(|| format!("cannot read {}", path.display()))?)),
        }
    }

    /// Writes a file of the store whole, for its owner's eyes alone: afterwards it says this, or what it said before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.path(name);
        replace(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes a file of the store, if it is there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.with_context(|| format!("cannot remove {}", path.display())),
        }
    }

    /// Where a file of the store lies.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

fn name_of(flash: Flash) -> &'static str {
    match flash {
        Flash::Journal => "journal",
        Flash::Replica => "replica",
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    if !dir.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        dir.parent().map_or(Ok(()), sync_directory)?;
    }
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_directory(dir)
}

fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_process_holds_the_files_and_nobody_else_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("dusk")).unwrap();
        assert!(Store::open(&dir.path().join("dusk")).is_err_and(|error| error.to_string().contains("in use")));
        let secret = store.ensure_secret(&mut |bytes: &mut [u8]| bytes.fill(7)).unwrap();
        let again = store.ensure_secret(&mut |_: &mut [u8]| panic!("another secret")).unwrap();
        assert_eq!(secret.public(), again.public());
        let mode = |name: &str| fs::metadata(store.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("node.key"), mode("")), (0o600, 0o700));
        drop(store);
        assert!(Store::open(&dir.path().join("dusk")).is_ok());
    }
}
