//! Certificates that are believed because a person compared their fingerprint, and looks at one before that.
//!
//! For devices that come with a self-signed certificate, until they have one of our CA.

use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use crate::tls::{provider, tls};
use crate::{Alpn, Fingerprint, PkiError};

/// A TLS client that believes the servers with these certificates and no others, whatever their names and times.
pub fn pinned_client_config(pins: &[Fingerprint], alpn: Alpn) -> Result<ClientConfig, PkiError> {
    config(Arc::new(Verifier { pins: pins.to_vec(), seen: Seen::default() }), alpn)
}

/// A TLS client that believes nobody: its handshakes fail once the server has shown its certificate, which is told.
pub fn looking_client_config(alpn: Alpn) -> Result<(ClientConfig, Seen), PkiError> {
    let seen = Seen::default();
    let verifier = Verifier { pins: Vec::new(), seen: seen.clone() };
    Ok((config(Arc::new(verifier), alpn)?, seen))
}

fn config(verifier: Arc<Verifier>, alpn: Alpn) -> Result<ClientConfig, PkiError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = alpn.protocols();
    Ok(config)
}

/// The certificate that a server showed last.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Mutex<Option<CertificateDer<'static>>>>);

impl Seen {
    /// The certificate, if there was one.
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Debug)]
struct Verifier {
    pins: Vec<Fingerprint>,
    seen: Seen,
}

impl Verifier {
    fn provider() -> Arc<CryptoProvider> {
        provider()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.seen.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.clone().into_owned());
        match self.pins.contains(&Fingerprint::of(end_entity)) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }

    // Who shows the certificate must also have its key.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = Self::provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = Self::provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::provider().signature_verification_algorithms.supported_schemes()
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    /// Reads 64 hex digits, with colons between the pairs or without.
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.replace(':', "").to_ascii_lowercase();
        let bytes = data_encoding::HEXLOWER.decode(digits.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.map(Self::from_bytes).ok_or_else(|| {
            format!(
                "{text:?} is no fingerprint; expected 64 hex digits, as openssl x509 -fingerprint -sha256 shows them"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_as_it_is_written_and_without_colons() {
        let fingerprint = Fingerprint::of(&CertificateDer::from(vec![1, 2, 3]));
        let written = fingerprint.to_string();
        assert_eq!(written.parse(), Ok(fingerprint));
        assert_eq!(written.replace(':', "").to_ascii_lowercase().parse(), Ok(fingerprint));
        assert!("AB:CD".parse::<Fingerprint>().unwrap_err().contains("64 hex digits"));
    }
}
