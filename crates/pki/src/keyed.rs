//! A certificate together with its private key: what a program shows in a handshake.

use config::Tls;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use time::OffsetDateTime;
use types::SecretText;

use crate::{CertificateFacts, PkiError, Roots};

/// A certificate and the private key that matches it.
pub struct KeyedCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    facts: CertificateFacts,
}

impl KeyedCertificate {
    /// Takes both from PEM, and refuses a key that is not the certificate's.
    pub fn from_pem(certificate: &str, key: &SecretText) -> Result<Self, PkiError> {
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes()).map_err(|_| PkiError::NoKey)?;
        let facts = CertificateFacts::of(&chain[0])?;
        let signing = any_supported_type(&key).map_err(|error| PkiError::BadKey(error.to_string()))?;
        match CertifiedKey::new(chain.clone(), signing).keys_match() {
            // A key type that cannot tell its public half is not a mismatch; the handshake will show.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Self { chain, key, facts }),
            Err(Error::InconsistentKeys(_)) => Err(PkiError::KeyMismatch),
            Err(error) => Err(PkiError::BadCertificate(error.to_string())),
        }
    }

    /// Reads both from the files of a configuration's `tls` section; what is wrong is said of its file.
    pub fn load(tls: &Tls) -> Result<Self, PkiError> {
        let files = tls.read()?;
        Self::from_pem(&files.cert, &files.key).map_err(|error| match error {
            error @ (PkiError::NoKey | PkiError::BadKey(_) | PkiError::KeyMismatch) => error.in_file(&tls.key),
            error => error.in_file(&tls.cert),
        })
    }

    /// The same once more, for another connection.
    pub fn again(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key(), facts: self.facts.clone() }
    }

    /// What stands in the certificate.
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// The certificate itself.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    /// Refuses a certificate that is outside its time or that none of `roots` signed.
    pub fn check(&self, roots: &Roots, now: OffsetDateTime) -> Result<(), PkiError> {
        roots.check_signed(self.certificate())?;
        self.facts.check_time(now)
    }

    pub(crate) fn into_parts(self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain, self.key)
    }
}

/// All certificates in a PEM text, at least one.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(PkiError::NoCertificate),
    }
}
