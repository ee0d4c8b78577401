//! Private keys that the command makes for itself, once, and keeps in files of mode 0600.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey};
use types::{SshPublicKey, WgPrivateKey};

use crate::home::Home;

/// The directory of all keys, below the user's state.
const DIRECTORY: &str = "keys";

/// The key that the command logs in with; every instance that it makes knows it.
pub struct LoginKey {
    /// The file with the private half, as OpenSSH has it.
    pub file: PathBuf,
    /// The public half.
    pub public: SshPublicKey,
}

impl LoginKey {
    /// The user's login key, made where there is none.
    pub fn of(home: &Home) -> anyhow::Result<Self> {
        let directory = home.state_directory(DIRECTORY)?;
        let file = directory.join("login");
        let pem = once(&directory, &file, || {
            let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).context("cannot make a login key")?;
            key.set_comment(format!("rhyzomectl {}", home.user()));
            Ok(key.to_openssh(LineEnding::LF).context("cannot write a login key")?.as_bytes().to_vec().into())
        })?;
        let key = PrivateKey::from_openssh(pem.reveal()).with_context(|| format!("{} is no key", file.display()))?;
        let public = key.public_key().to_openssh().context("cannot write a public key")?.parse()?;
        Ok(Self { file, public })
    }
}

/// A WireGuard key of this machine and the file that it lies in.
pub struct WireguardKey {
    /// The file with the private half, as wg(8) has it.
    pub file: PathBuf,
    /// The private half.
    pub private: WgPrivateKey,
}

impl WireguardKey {
    /// The key called `name`, made where there is none.
    pub fn named(home: &Home, name: &str) -> anyhow::Result<Self> {
        let directory = home.state_directory(DIRECTORY)?;
        let file = directory.join(format!("wireguard-{name}"));
        let text = once(&directory, &file, || {
            let key = WgPrivateKey::generate().map_err(|error| anyhow!("no randomness for a key: {error}"))?;
            Ok(format!("{}\n", key.reveal().reveal()).into_bytes().into())
        })?;
        Self::parse(text.reveal(), file)
    }

    /// Reads the key in `file`.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = config::file::read_secret(file)?;
        Self::parse(text.reveal(), file.to_owned())
    }

    fn parse(text: &str, file: PathBuf) -> anyhow::Result<Self> {
        let private = WgPrivateKey::from_base64(text.trim()).with_context(|| file.display().to_string())?;
        Ok(Self { file, private })
    }
}

/// Reads a secret file, or writes what `make` makes; two runs at once agree on one.
fn once(
    directory: &Path,
    file: &Path,
    make: impl FnOnce() -> anyhow::Result<zeroize::Zeroizing<Vec<u8>>>,
) -> anyhow::Result<types::SecretText> {
    let lock_path = directory.join(".lock");
    let lock = File::options().write(true).create(true).truncate(false).open(&lock_path);
    let lock = lock.with_context(|| format!("cannot open {}", lock_path.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", lock_path.display()))?;
    if !file.exists() {
        config::file::write_private(file, &make()?)?;
    }
    Ok(config::file::read_secret(file)?)
}
