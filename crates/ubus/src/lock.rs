//! The lock that all our programs on a machine take before they change a router's configuration.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::time::{Instant, sleep};

/// How often a lock that somebody holds is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// Why the lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be opened.
    #[error("lock file {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another program holds it.
    #[error("another program holds the lock {path} for more than {} ms", waited.as_millis(), path = path.display())]
    Held {
        /// The file.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
}

/// The lock, held until it is dropped or the program ends.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

impl Lock {
    /// Takes the lock on a file, which is made if it is not there, and waits for it so long.
    ///
    /// # Errors
    /// When the file cannot be opened, or another program keeps the lock.
    pub async fn take(path: &Path, wait: Duration) -> Result<Self, LockError> {
        let open = |source| LockError::Open { path: path.to_owned(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        let mut file = file.map_err(open)?;
        let start = Instant::now();
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => return Ok(Self { _file: file }),
                Err((file, Errno::EWOULDBLOCK | Errno::EINTR)) => file,
                Err((_, errno)) => return Err(open(errno.into())),
            };
            let waited = start.elapsed();
            if waited >= wait {
                return Err(LockError::Held { path: path.to_owned(), waited });
            }
            sleep(PAUSE.min(wait - waited)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lock_is_held_by_one_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("uci.lock");
        let held = Lock::take(&path, Duration::ZERO).await.unwrap();
        let refused = Lock::take(&path, Duration::from_millis(60)).await.unwrap_err();
        assert!(matches!(refused, LockError::Held { .. }), "{refused}");
        let (waiting, ()) = tokio::join!(Lock::take(&path, Duration::from_secs(10)), async { drop(held) });
        waiting.unwrap();
    }

    #[tokio::test]
    async fn a_lock_file_that_cannot_be_opened_is_named() {
        let error = Lock::take(Path::new("/nonexistent/uci.lock"), Duration::ZERO).await.unwrap_err();
        assert_eq!(error.to_string(), "lock file /nonexistent/uci.lock");
    }
}
