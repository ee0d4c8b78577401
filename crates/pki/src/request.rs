//! An agent's key and its request for a certificate (PKCS #10, RFC 2986).

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, KeyPair, PublicKey, PublicKeyData,
};
use sha2::{Digest, Sha256};
use types::{SecretText, Sha256Digest};

use crate::PkiError;

/// A fresh private key and the request to certify its public half.
pub struct CertificateRequest {
    /// The private key, in PEM; it does not leave the machine.
    pub key_pem: SecretText,
    /// The request, in PEM, signed by the key.
    pub csr_pem: String,
}

impl CertificateRequest {
    /// Makes a key and a request. What the certificate will say is the CA's to decide; `subject` is a hint for people
    /// who look at the request.
    pub fn make(subject: &str) -> Result<Self, PkiError> {
        Self::sign(&KeyPair::generate()?, subject)
    }

    /// Makes a request for a key that is there already, in PEM.
    pub fn for_key(key_pem: &SecretText, subject: &str) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(key_pem.reveal()).map_err(|error| PkiError::BadKey(error.to_string()))?;
        Self::sign(&key, subject)
    }

    fn sign(key: &KeyPair, subject: &str) -> Result<Self, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject);
        let csr_pem = params.serialize_request(key)?.pem()?;
        Ok(Self { key_pem: SecretText::new(key.serialize_pem()), csr_pem })
    }
}

/// SHA-256 of the public key that a request asks to certify, once the request's signature was found to be right. Two
/// requests with the same one come from the same holder of the key.
pub fn requested_key_digest(csr_pem: &str) -> Result<Sha256Digest, PkiError> {
    let key = requested_key(csr_pem)?;
    Ok(Sha256Digest::from_bytes(Sha256::digest(key.subject_public_key_info()).into()))
}

/// The public key that a request asks to certify, once its signature was found to be right.
pub(crate) fn requested_key(csr_pem: &str) -> Result<PublicKey, PkiError> {
    let request =
        CertificateSigningRequestParams::from_pem(csr_pem).map_err(|error| PkiError::BadRequest(error.to_string()))?;
    Ok(request.public_key)
}
