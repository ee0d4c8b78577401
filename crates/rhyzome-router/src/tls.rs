//! The server's side of TLS: a certificate chain and its key from PEM files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why the server's side of TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM, or holds nothing of its kind.
    #[error("{file}: expected {expected} in PEM")]
    Pem {
        /// The file.
        file: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What was wrong.
        #[source]
        source: pem::Error,
    },
    /// The certificate and the key do not go together.
    #[error("the certificate in {cert} does not go with the key in {key}")]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What was wrong.
        #[source]
        source: rustls::Error,
    },
}

/// The configuration with the chain in `cert` and the key in `key`.
///
/// # Errors
/// Names the file that is wrong.
pub fn server_config(cert: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let pem = |file: &Path, expected| {
        let file = file.to_owned();
        move |source| TlsError::Pem { file, expected, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(pem(cert, "a certificate chain"))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(pem(key, "a private key"))?;
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|source| TlsError::Pair { cert: cert.to_owned(), key: key.to_owned(), source })
}
