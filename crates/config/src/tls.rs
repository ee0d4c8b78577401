//! The sections under the key `tls`, the same in every program: paths of files in PEM.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use types::SecretText;

use crate::file::{self, FileError};

/// A program's own certificate: `{"ca": …, "cert": …, "key": …}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate of the CA that the other side's certificate must come from, where it must have one.
    pub ca: Option<PathBuf>,
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key, readable by its owner alone.
    pub key: PathBuf,
}

/// What stands in the files of a [`Tls`] section, in PEM.
pub struct TlsFiles {
    /// The certificate of the CA.
    pub ca: Option<String>,
    /// The certificate.
    pub cert: String,
    /// Its private key.
    pub key: SecretText,
}

impl Tls {
    /// The section for `ca.pem`, `cert.pem` and `key.pem` in `directory`.
    pub fn in_directory(directory: &Path) -> Self {
        let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| directory.join(name));
        Self { ca: Some(ca), cert, key }
    }

    /// Reads the files; one that cannot be read is named with its mode and owner.
    pub fn read(&self) -> Result<TlsFiles, FileError> {
        Ok(TlsFiles {
            ca: self.ca.as_deref().map(file::read).transpose()?,
            cert: file::read(&self.cert)?,
            key: file::read_secret(&self.key)?,
        })
    }
}

/// Whom a program believes that needs no certificate of its own: `{"ca": …}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsTrust {
    /// The certificate of the CA that the server's certificate must come from.
    pub ca: PathBuf,
}

impl TlsTrust {
    /// Reads the CA's certificate, in PEM.
    pub fn read(&self) -> Result<String, FileError> {
        file::read(&self.ca)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_read_and_an_exposed_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let tls = Tls::in_directory(dir.path());
        file::write_public(&dir.path().join("ca.pem"), b"ca").unwrap();
        file::write_public(&tls.cert, b"cert").unwrap();
        file::write_private(&tls.key, b"key\n").unwrap();
        let files = tls.read().unwrap();
        assert_eq!((files.ca.as_deref(), files.cert.as_str(), files.key.reveal()), (Some("ca"), "cert", "key"));

        file::write_public(&tls.key, b"key").unwrap();
        let Err(FileError::Exposed { path, .. }) = tls.read() else { panic!("an exposed key was read") };
        assert_eq!(path, tls.key);
    }
}
