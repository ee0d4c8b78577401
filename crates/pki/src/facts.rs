//! What stands in a certificate, for people and for decisions about it.

use std::fmt;
use std::net::IpAddr;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::PkiError;

/// What stands in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whose it is.
    pub subject: String,
    /// Its other names, as in `DNS:rhyzome.example.org`, `IP:10.0.0.1`, `URI:…`.
    pub sans: Vec<String>,
    /// Its first moment.
    pub not_before: OffsetDateTime,
    /// Its last moment.
    pub not_after: OffsetDateTime,
    /// SHA-256 of the whole certificate.
    pub fingerprint: Fingerprint,
    /// Who signed it.
    pub issuer: String,
    /// Whether it may sign others.
    pub is_ca: bool,
}

/// SHA-256 of a certificate, written as pairs of hex digits with colons between, as openssl(1) does.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// The fingerprint of these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|byte| format!("{byte:02X}")).collect();
        out.write_str(&pairs.join(":"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Reads the first certificate in a PEM text.
pub fn show(pem: &str) -> Result<CertificateFacts, PkiError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| PkiError::NoCertificate)?;
    CertificateFacts::of(&der)
}

impl CertificateFacts {
    /// Reads a certificate.
    pub fn of(der: &CertificateDer<'_>) -> Result<Self, PkiError> {
        let certificate = parse(der)?;
        let names =
            certificate.subject_alternative_name().map_err(|error| PkiError::BadCertificate(error.to_string()))?;
        Ok(Self {
            subject: certificate.subject().to_string(),
            sans: names.iter().flat_map(|names| &names.value.general_names).map(written).collect(),
            not_before: certificate.validity().not_before.to_datetime(),
            not_after: certificate.validity().not_after.to_datetime(),
            fingerprint: Fingerprint::of(der),
            issuer: certificate.issuer().to_string(),
            is_ca: certificate.is_ca(),
        })
    }

    /// Whether it is time for a fresh one: two thirds of its life are over.
    pub fn wants_renewal(&self, now: OffsetDateTime) -> bool {
        let life = self.not_after - self.not_before;
        now >= self.not_before + life * 2 / 3
    }

    /// The DNS names and addresses among the names.
    pub fn server_names(&self) -> Vec<ServerName<'static>> {
        let bare = |name: &String| name.strip_prefix("DNS:").or_else(|| name.strip_prefix("IP:")).map(str::to_owned);
        self.sans.iter().filter_map(|name| ServerName::try_from(bare(name)?).ok()).collect()
    }

    /// Refuses a certificate outside its time.
    pub fn check_time(&self, now: OffsetDateTime) -> Result<(), PkiError> {
        match now {
            now if now < self.not_before => Err(PkiError::NotYetValid(self.not_before)),
            now if now > self.not_after => Err(PkiError::Expired(self.not_after)),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for CertificateFacts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "subject      {}", self.subject)?;
        for name in &self.sans {
            writeln!(out, "name         {name}")?;
        }
        writeln!(out, "issuer       {}", self.issuer)?;
        writeln!(out, "valid from   {}", self.not_before)?;
        writeln!(out, "valid until  {}", self.not_after)?;
        writeln!(out, "CA           {}", if self.is_ca { "yes" } else { "no" })?;
        write!(out, "SHA-256      {}", self.fingerprint)
    }
}

/// Reads a certificate and refuses bytes after it.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, PkiError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(PkiError::BadCertificate("something follows it".to_owned())),
        Err(error) => Err(PkiError::BadCertificate(error.to_string())),
    }
}

fn written(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => format!("DNS:{name}"),
        GeneralName::URI(uri) => format!("URI:{uri}"),
        GeneralName::IPAddress(bytes) => match address(bytes) {
            Some(address) => format!("IP:{address}"),
            None => "IP:(malformed)".to_owned(),
        },
        other => other.to_string(),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}
