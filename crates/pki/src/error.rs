//! What can be wrong with certificates and keys.

use std::path::{Path, PathBuf};

use config::FileError;
use time::OffsetDateTime;

/// Why a certificate or key could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The error has to do with this file.
    #[error("{}: {error}", .path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<PkiError>,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A CA is there already.
    #[error("{} holds a CA already; everything it signed depends on it", .0.display())]
    AlreadyInitialised(PathBuf),
    /// There is no certificate in a text.
    #[error("there is no certificate in PEM (a block that begins with -----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// There is no private key in a text.
    #[error("there is no private key in PEM (a block that begins with -----BEGIN PRIVATE KEY-----)")]
    NoKey,
    /// A certificate cannot be read.
    #[error("the certificate cannot be read: {0}")]
    BadCertificate(String),
    /// A private key cannot be used.
    #[error("the private key cannot be used: {0}")]
    BadKey(String),
    /// A request for a certificate cannot be read or its signature is wrong.
    #[error("the certificate request cannot be used: {0}")]
    BadRequest(String),
    /// The private key belongs to another certificate.
    #[error("the private key does not match the certificate")]
    KeyMismatch,
    /// The certificate is not a CA's.
    #[error("the certificate ({0}) is not that of a CA")]
    NotCa(String),
    /// The certificate's time has not come.
    #[error("the certificate is not valid before {0}")]
    NotYetValid(OffsetDateTime),
    /// The certificate's time is over.
    #[error("the certificate expired at {0}")]
    Expired(OffsetDateTime),
    /// The certificate was issued by somebody else.
    #[error("the certificate was issued by {issuer}, not by our CA")]
    NotOurs {
        /// The issuer's name in the certificate.
        issuer: String,
    },
    /// A server's certificate needs a name.
    #[error("a server's certificate needs a DNS name or an address")]
    NoName,
    /// The certificate names no agent.
    #[error("the certificate names no agent: {0}")]
    NoIdentity(String),
    /// A certificate could not be made.
    #[error("the certificate could not be made: {0}")]
    Issue(#[from] rcgen::Error),
    /// TLS could not be set up.
    #[error("TLS could not be set up: {0}")]
    Tls(String),
}

impl PkiError {
    /// The same error, about the file at `path`.
    pub fn in_file(self, path: &Path) -> Self {
        match self {
            // These name a file already.
            Self::InFile { .. } | Self::File(_) | Self::AlreadyInitialised(_) => self,
            error => Self::InFile { path: path.to_owned(), error: Box::new(error) },
        }
    }
}
