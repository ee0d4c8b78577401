//! The router's network namespace, and the mounts that its programs see.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::tool::{self, ToolError};

/// Where named network namespaces lie.
const NAMES: &str = "/run/netns";

/// Where programs keep their sockets, WireGuard's among them, one folder a machine. The router's programs see one of
/// their own; it is mounted here and not on the folder of WireGuard alone, because a mount ends when somebody removes
/// the folder beneath it.
const SOCKETS: &str = "/run";

/// A named network namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
}

/// Why a namespace cannot be made or entered.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// It cannot be made.
    #[error("cannot make the network namespace {name}")]
    Make {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: ToolError,
    },
    /// It cannot be entered.
    #[error("cannot enter the network namespace {name}: {step}")]
    Enter {
        /// Its name.
        name: String,
        /// What failed.
        step: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Namespace {
    /// The namespace of this name, whether it is there or not.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Namespace { name: name.to_owned() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn path(&self) -> PathBuf {
        Path::new(NAMES).join(&self.name)
    }

    /// Whether it is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        // A file that is left of a namespace is on the file system around it.
        let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
        let own = device(&self.path());
        own.is_some() && own == device(Path::new("/proc/self/ns/net"))
    }

    /// Makes it.
    ///
    /// # Errors
    /// When `ip netns add` fails.
    pub fn make(&self) -> Result<(), NamespaceError> {
        // What a crash left of one that was half made is in the way.
        let _ = fs::remove_file(self.path());
        tool::run("ip", &["netns", "add", &self.name])
            .map(drop)
            .map_err(|source| NamespaceError::Make { name: self.name.clone(), source })
    }

    /// Removes it with all that is in it; with the last name goes the mount on [`NAMES`] that `ip netns add` made.
    ///
    /// # Errors
    /// When `ip netns delete` fails.
    pub fn remove(&self) -> Result<(), ToolError> {
        tool::run("ip", &["netns", "delete", &self.name])?;
        if fs::read_dir(NAMES).is_ok_and(|mut names| names.next().is_none()) {
            // It is busy where somebody adds a name at this moment, and then it has to stay.
            let _ = umount(NAMES);
        }
        Ok(())
    }

    /// Brings this thread, and those that it makes, into the namespace and into mounts of their own, where the sockets in
    /// `/run` are the router's alone. There is no way back.
    ///
    /// # Errors
    /// Names the step that failed.
    pub fn enter(&self) -> Result<(), NamespaceError> {
        let failed = |step| move |source| NamespaceError::Enter { name: self.name.clone(), step, source };
        let errno = |step| move |errno: nix::Error| failed(step)(errno.into());
        let file = File::open(self.path()).map_err(failed("open it"))?;
        setns(file, CloneFlags::CLONE_NEWNET).map_err(errno("setns"))?;
        // A thread shares its view of the file system with the others until it says otherwise.
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).map_err(errno("unshare the mounts"))?;
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none).map_err(errno("keep mounts private"))?;
        mount(Some("tmpfs"), SOCKETS, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
            .map_err(errno("mount /run"))?;
        Ok(())
    }

    /// Kills the processes in the namespace that `doomed` picks by their names.
    pub fn kill(&self, doomed: impl Fn(&str) -> bool) {
        let Ok(inode) = self.path().metadata().map(|metadata| metadata.ino()) else { return };
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let inside = fs::metadata(entry.path().join("ns/net")).is_ok_and(|ns| ns.ino() == inode);
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            if inside && doomed(name.trim_end()) {
                // It may be gone by now.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

/// Gives this thread, which must have entered a [`Namespace`], mounts of its own in which `/tmp` is `tmp`. There is no
/// way back.
///
/// # Errors
/// As the kernel says.
pub fn see_tmp(tmp: &Path) -> io::Result<()> {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
    mount(Some(tmp), "/tmp", none, MsFlags::MS_BIND, none)?;
    Ok(())
}
