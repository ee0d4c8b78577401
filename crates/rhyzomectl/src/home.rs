//! Where a user's own things lie: what was chosen, private keys, and the sockets of holders.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::unistd::{Uid, User};

/// The longest path of a Unix socket (unix(7)).
const SOCKET_PATH: usize = 107;
/// What a network's id and `.sock` take of it.
const SOCKET_NAME: usize = 30;

/// The directories of one user (XDG Base Directory Specification).
#[derive(Clone, Debug)]
pub struct Home {
    config: PathBuf,
    state: PathBuf,
    cache: PathBuf,
    runtime: Option<PathBuf>,
    ssh: PathBuf,
    user: String,
}

impl Home {
    /// The directories of the user who runs this.
    pub fn of_user() -> anyhow::Result<Self> {
        let account = User::from_uid(Uid::effective()).ok().flatten();
        let home = absolute("HOME").or_else(|| account.as_ref().map(|account| account.dir.clone()));
        let home = home.context("there is no home directory: set HOME")?;
        Ok(Self {
            config: absolute("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("rhyzome"),
            state: absolute("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state")).join("rhyzome"),
            cache: absolute("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache")).join("rhyzome"),
            runtime: absolute("XDG_RUNTIME_DIR"),
            ssh: home.join(".ssh"),
            user: account.map_or_else(|| Uid::effective().to_string(), |account| account.name),
        })
    }

    /// The user's name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Where a configuration of the user's lies.
    pub fn config_file(&self, name: &str) -> PathBuf {
        self.config.join(name)
    }

    /// The directory for configuration, made where it is missing.
    pub fn config_directory(&self) -> anyhow::Result<PathBuf> {
        private(&self.config)
    }

    /// The directory `name` for what the command keeps for itself, made where it is missing.
    pub fn state_directory(&self, name: &str) -> anyhow::Result<PathBuf> {
        private(&self.state)?;
        private(&self.state.join(name))
    }

    /// Where things lie that can be made again.
    pub fn cache_directory(&self) -> &Path {
        &self.cache
    }

    /// The public keys that OpenSSH made for the user.
    pub fn ssh_public_keys(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.ssh) else { return Vec::new() };
        let is_key = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("id_") && name.ends_with(".pub")
        };
        let mut keys: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_key).collect();
        keys.sort();
        keys
    }

    /// The directory for sockets, made where it is missing: the user's runtime directory where there is one.
    pub fn runtime_directory(&self) -> anyhow::Result<PathBuf> {
        let directory = match &self.runtime {
            Some(runtime) if is_own(runtime) => private(&runtime.join("rhyzome"))?,
            _ => self.state_directory("run")?,
        };
        let length = directory.as_os_str().len();
        if length + SOCKET_NAME > SOCKET_PATH {
            bail!(
                "{} is too long for sockets ({length} characters): set XDG_RUNTIME_DIR to a shorter one",
                directory.display()
            );
        }
        Ok(directory)
    }
}

fn absolute(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn is_own(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.uid() == Uid::effective().as_raw() && metadata.mode() & 0o077 == 0)
}

/// Makes a directory that only the user can enter; refused where it is another's.
fn private(path: &Path) -> anyhow::Result<PathBuf> {
    config::file::make_private_directory(path)?;
    let owner = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?.uid();
    if owner != Uid::effective().as_raw() {
        bail!("{} belongs to user {owner}, not to you", path.display());
    }
    Ok(path.to_owned())
}
