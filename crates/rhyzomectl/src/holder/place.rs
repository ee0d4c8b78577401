//! Where a holder is found: its socket, and what lies beside it.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::net::UnixListener;
use types::NetworkId;

/// Where one holder's socket lies, with its lock beside it.
#[derive(Clone, Debug)]
pub struct Place {
    directory: PathBuf,
    name: String,
}

impl Place {
    /// The place for the tunnel into `network` in `directory`, which only its owner may enter.
    pub fn of(network: NetworkId, directory: &Path) -> Self {
        Self { directory: directory.to_owned(), name: network.to_string() }
    }

    /// What the holder is told.
    pub fn passage(&self) -> PathBuf {
        self.directory.join(format!("{}.json", self.name))
    }

    /// The socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join(format!("{}.sock", self.name))
    }

    /// What the holder says, for when it fails.
    pub fn log(&self) -> PathBuf {
        self.directory.join(format!("{}.log", self.name))
    }

    /// The lock that a holder has for as long as it lives; none where another has it.
    pub(super) fn lock(&self) -> anyhow::Result<Option<File>> {
        let path = self.directory.join(format!("{}.lock", self.name));
        let open = File::options().write(true).create(true).truncate(false).open(&path);
        let file = open.with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// Listens at the socket. One that lies there already is of a holder that was killed: the lock says so.
    pub(super) fn listen(&self) -> anyhow::Result<UnixListener> {
        self.clear();
        let path = self.socket();
        UnixListener::bind(&path).with_context(|| format!("cannot listen at {}", path.display()))
    }

    /// Takes away all that belongs to the place of a holder that has left for good.
    pub(super) fn clean(&self) {
        self.clear();
        for file in [self.passage(), self.log(), self.directory.join(format!("{}.lock", self.name))] {
            // What is not there need not go.
            let _ = std::fs::remove_file(file);
        }
    }

    pub(super) fn clear(&self) {
        // What cannot be removed shows when the next holder listens.
        let _ = std::fs::remove_file(self.socket());
    }
}
