//! What an agent keeps on disk beside its certificate: whom it works for, and the last desired state of each object.
//!
//! A state is written before it is applied, so that after a reboot it can be brought up without the core. The states
//! hold secrets: everything lies in a directory that only its owner can enter.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use config::FileError;
use serde::{Deserialize, Serialize};
use types::Version;

use crate::{Job, Object, Want, Welcome};

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The directory cannot be listed or locked.
    #[error("cannot use {}: {error}", .path.display())]
    Directory {
        /// The directory or the lock in it.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// Another agent works with it.
    #[error("another agent uses {}", .0.display())]
    Locked(PathBuf),
    /// A file does not say what it should.
    #[error("{}: {reason}; it may be removed", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: serde_json::Error,
    },
}

/// The state directory of one agent, for as long as it runs.
pub struct Cache {
    cluster: PathBuf,
    boot: PathBuf,
    desired: PathBuf,
    kept: Mutex<BTreeMap<Object, Version>>,
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct StoredJob {
    object: String,
    version: Version,
    requires: Vec<String>,
    /// The desired state as JSON; nothing for an object that is to be gone.
    desired: Option<String>,
}

impl Cache {
    /// Takes the directory over, making it where it is not. One agent at a time may have it.
    pub fn open(state_dir: &Path) -> Result<Self, CacheError> {
        let desired = state_dir.join("desired");
        config::file::make_private_directory(state_dir)?;
        config::file::make_private_directory(&desired)?;
        Ok(Self {
            cluster: state_dir.join("cluster.json"),
            boot: state_dir.join("boot-id"),
            desired,
            kept: Mutex::default(),
            _lock: lock(&state_dir.join("lock"))?,
        })
    }

    /// Whom the agent worked for last, and the highest epoch it has seen.
    pub fn cluster(&self) -> Result<Option<Welcome>, CacheError> {
        match config::file::read(&self.cluster) {
            Ok(text) => parse(&self.cluster, &text).map(Some),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Remembers whom the agent works for.
    pub fn remember(&self, welcome: &Welcome) -> Result<(), CacheError> {
        let text = serde_json::to_vec(welcome).expect("invariant: texts and numbers are JSON");
        Ok(config::file::write_private(&self.cluster, &text)?)
    }

    /// The mark of the system's start in which all kept states were brought up last.
    pub fn boot(&self) -> Option<String> {
        config::file::read(&self.boot).ok()
    }

    /// Remembers that all kept states were brought up in this start of the system.
    pub fn remember_boot(&self, boot: &str) -> Result<(), CacheError> {
        Ok(config::file::write_private(&self.boot, boot.as_bytes())?)
    }

    /// The newest job of every object. What cannot be read is left out and logged: the core has it still.
    pub fn jobs(&self) -> Result<Vec<Job>, CacheError> {
        let unreadable = |error| CacheError::Directory { path: self.desired.clone(), error };
        let mut jobs = Vec::new();
        for entry in fs::read_dir(&self.desired).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            // Others are what a crash left of a write.
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read_job(&path) {
                Ok(job) => jobs.push(job),
                Err(error) => tracing::error!(%error, "a cached desired state is left out"),
            }
        }
        jobs.sort_by_key(|job| job.object);
        self.kept().extend(jobs.iter().map(|job| (job.object, job.version)));
        Ok(jobs)
    }

    /// The versions of the jobs that are kept.
    pub fn versions(&self) -> BTreeMap<Object, Version> {
        self.kept().clone()
    }

    /// The newest job of one object.
    pub fn job(&self, object: Object) -> Result<Option<Job>, CacheError> {
        match read_job(&self.file(object)) {
            Ok(job) => Ok(Some(job)),
            Err(CacheError::File(error)) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a job in the place of the object's earlier one; to be called before it is applied.
    pub fn keep(&self, job: &Job) -> Result<(), CacheError> {
        if self.kept().get(&job.object) == Some(&job.version) {
            return Ok(());
        }
        let desired = match &job.want {
            Want::Desired(state) => Some(state.clone()),
            Want::Gone => None,
        };
        let stored =
            StoredJob { object: job.object.to_string(), version: job.version, requires: job.requires.clone(), desired };
        let text = serde_json::to_vec(&stored).expect("invariant: texts and numbers are JSON");
        config::file::write_private(&self.file(job.object), &text)?;
        self.kept().insert(job.object, job.version);
        Ok(())
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, object: Object) -> Result<(), CacheError> {
        self.kept().remove(&object);
        Ok(config::file::remove(&self.file(object))?)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, BTreeMap<Object, Version>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, object: Object) -> PathBuf {
        self.desired.join(format!("{}.json", object.to_string().replace('/', ".")))
    }
}

/// The lock goes with the process, however it ends.
fn lock(path: &Path) -> Result<File, CacheError> {
    let unusable = |error| CacheError::Directory { path: path.to_owned(), error };
    let file = File::options().create(true).append(true).open(path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CacheError::Locked(path.parent().unwrap_or(path).to_owned())),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

fn read_job(path: &Path) -> Result<Job, CacheError> {
    let stored: StoredJob = parse(path, &config::file::read(path)?)?;
    let object = stored.object.parse().map_err(|error| CacheError::Malformed {
        path: path.to_owned(),
        reason: <serde_json::Error as serde::de::Error>::custom(error),
    })?;
    let want = stored.desired.map_or(Want::Gone, Want::Desired);
    Ok(Job { object, version: stored.version, requires: stored.requires, want })
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path, text: &str) -> Result<T, CacheError> {
    serde_json::from_str(text).map_err(|reason| CacheError::Malformed { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use types::{ClusterId, Epoch, NetworkId};

    use super::*;

    fn job(revision: u64, want: Want) -> Job {
        let version = format!("1:{revision}").parse().unwrap();
        Job { object: Object::Network(NetworkId::from_bits(1)), version, requires: Vec::new(), want }
    }

    #[test]
    fn the_newest_job_of_an_object_is_kept_for_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let cache = Cache::open(&state).unwrap();
        cache.keep(&job(1, Want::Desired("{}".to_owned()))).unwrap();
        cache.keep(&job(2, Want::Desired("{\"a\":1}".to_owned()))).unwrap();
        let file = cache.file(job(1, Want::Gone).object);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
        drop(cache);

        let cache = Cache::open(&state).unwrap();
        let [kept] = &cache.jobs().unwrap()[..] else { panic!("one job was kept") };
        assert_eq!(kept.version, "1:2".parse().unwrap());
        assert!(matches!(&kept.want, Want::Desired(state) if state == "{\"a\":1}"));
        cache.keep(&job(3, Want::Gone)).unwrap();
        assert!(matches!(cache.jobs().unwrap()[0].want, Want::Gone), "a tombstone is kept until it was applied");
        cache.forget(kept.object).unwrap();
        assert!(cache.jobs().unwrap().is_empty());
    }

    #[test]
    fn what_a_crash_or_a_hand_left_there_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("state")).unwrap();
        cache.keep(&job(1, Want::Gone)).unwrap();
        fs::write(cache.desired.join(".network.x.json.new"), "{").unwrap();
        fs::write(cache.desired.join("network.x.json"), "{").unwrap();
        assert_eq!(cache.jobs().unwrap().len(), 1);
    }

    #[test]
    fn cluster_and_start_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("state")).unwrap();
        assert_eq!(cache.cluster().unwrap(), None);
        assert_eq!(cache.boot(), None);
        let welcome = Welcome { cluster: ClusterId::from_bits(1), epoch: Epoch(3) };
        cache.remember(&welcome).unwrap();
        cache.remember_boot("a").unwrap();
        assert_eq!(cache.cluster().unwrap(), Some(welcome));
        assert_eq!(cache.boot().as_deref(), Some("a"));
    }

    #[test]
    fn a_second_agent_is_kept_out() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let first = Cache::open(&state).unwrap();
        assert!(matches!(Cache::open(&state), Err(CacheError::Locked(_))));
        drop(first);
        Cache::open(&state).unwrap();
    }
}
