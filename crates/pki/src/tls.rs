//! TLS for servers and clients, made from our certificates.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::facts::parse;
use crate::keyed::certificates;
use crate::shown::AskForCertificate;
use crate::{KeyedCertificate, PkiError};

/// What is spoken inside TLS (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only, as gRPC needs it.
    Http2,
    /// HTTP/2, or else HTTP/1.1.
    Either,
}

impl Alpn {
    pub(crate) fn protocols(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2"],
            Self::Either => &[b"h2", b"http/1.1"],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

/// The CAs whose certificates are believed, and no others.
#[derive(Clone, Debug)]
pub struct Roots {
    certificates: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// All certificates in a PEM text, which may hold comments.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        Ok(Self { certificates: certificates(pem)? })
    }

    /// The one certificate of these bytes.
    pub fn from_der(der: Vec<u8>) -> Result<Self, PkiError> {
        let certificate = CertificateDer::from(der);
        parse(&certificate)?;
        Ok(Self { certificates: vec![certificate] })
    }

    /// The certificates.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Refuses a certificate that none of these signed themselves.
    pub fn check_signed(&self, der: &CertificateDer<'_>) -> Result<(), PkiError> {
        let certificate = parse(der)?;
        let signed = |root: &CertificateDer<'static>| {
            parse(root).is_ok_and(|root| certificate.verify_signature(Some(root.public_key())).is_ok())
        };
        match self.certificates.iter().any(signed) {
            true => Ok(()),
            false => Err(PkiError::NotOurs { issuer: certificate.issuer().to_string() }),
        }
    }

    /// These and those.
    pub fn and(&self, others: &Self) -> Self {
        let mut certificates = self.certificates.clone();
        let known = |certificate: &&CertificateDer<'static>| !self.certificates.contains(certificate);
        certificates.extend(others.certificates.iter().filter(known).cloned());
        Self { certificates }
    }

    pub(crate) fn store(&self) -> Result<Arc<RootCertStore>, PkiError> {
        let mut store = RootCertStore::empty();
        for certificate in &self.certificates {
            store.add(certificate.clone()).map_err(|error| PkiError::BadCertificate(error.to_string()))?;
        }
        Ok(Arc::new(store))
    }
}

/// Whether a server asks its clients for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// It does not.
    None,
    /// It does. A client may show none, and any that it has the key of; a [`crate::Judge`] says what it is worth.
    Asked,
}

/// What a TLS server needs.
pub fn server_config(own: KeyedCertificate, clients: &ClientAuth, alpn: Alpn) -> Result<Arc<ServerConfig>, PkiError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(tls)?;
    let builder = match clients {
        ClientAuth::None => builder.with_no_client_auth(),
        ClientAuth::Asked => {
            let schemes = provider().signature_verification_algorithms;
            builder.with_client_cert_verifier(Arc::new(AskForCertificate(schemes)))
        }
    };
    let (chain, key) = own.into_parts();
    let mut config = builder.with_single_cert(chain, key).map_err(tls)?;
    config.alpn_protocols = alpn.protocols();
    Ok(Arc::new(config))
}

/// What a TLS client needs: whom it believes, and the certificate that it shows when it is asked for one.
pub fn client_config(roots: &Roots, own: Option<KeyedCertificate>, alpn: Alpn) -> Result<ClientConfig, PkiError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_root_certificates(roots.store()?);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let (chain, key) = own.into_parts();
            builder.with_client_auth_cert(chain, key).map_err(tls)?
        }
    };
    config.alpn_protocols = alpn.protocols();
    Ok(config)
}

/// Makes our provider the process's, for libraries that make TLS of their own. Called first thing in a `main`; once is
/// enough, more does no harm.
pub fn install_provider() {
    // An error says that there is one already, and no other than ours is linked.
    let _ = ring::default_provider().install_default();
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

pub(crate) fn tls(error: rustls::Error) -> PkiError {
    PkiError::Tls(error.to_string())
}
