//! The CA: one self-signed certificate that everything in an installation trusts.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SubjectPublicKeyInfo,
};
use rustls::pki_types::ServerName;
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use types::SecretText;

use crate::facts::parse;
use crate::keyed::certificates;
use crate::request::requested_key;
use crate::{AgentIdentity, CertificateFacts, KeyedCertificate, PkiError, Roots, show};

/// Days that a CA's certificate is valid.
pub const CA_DAYS: u32 = 3650;
/// Days that a server's certificate is valid; clients refuse more than 398.
pub const SERVER_DAYS: u32 = 398;
/// Days that an agent's certificate is valid.
pub const AGENT_DAYS: u32 = 90;

const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca-key.pem";

/// Certificates begin this much before they are made, so that a clock that is a little behind does not refuse them.
const CLOCK_LEEWAY: Duration = Duration::minutes(5);

/// A CA with its private key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    facts: CertificateFacts,
}

impl Authority {
    /// Makes a CA and writes it to `dir` as `ca.pem` and `ca-key.pem`. Refused where there is one.
    pub fn init(dir: &Path, now: OffsetDateTime) -> Result<Self, PkiError> {
        if dir.join(CERTIFICATE_FILE).exists() {
            return Err(PkiError::AlreadyInitialised(dir.to_owned()));
        }
        config::file::make_private_directory(dir)?;
        let key = key_for(&dir.join(KEY_FILE))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&format!("Rhyzome CA {}", mark_of(&key)));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = now - CLOCK_LEEWAY;
        params.not_after = now + Duration::days(CA_DAYS.into());
        let certificate_pem = params.self_signed(&key)?.pem();
        config::file::write_public(&dir.join(CERTIFICATE_FILE), certificate_pem.as_bytes())?;
        Self::from_pem(certificate_pem, key)
    }

    /// Reads the CA that `init` wrote to `dir`.
    pub fn load(dir: &Path) -> Result<Self, PkiError> {
        let (certificate_file, key_file) = (dir.join(CERTIFICATE_FILE), dir.join(KEY_FILE));
        let certificate_pem = config::file::read(&certificate_file)?;
        let key_pem = config::file::read_secret(&key_file)?;
        KeyedCertificate::from_pem(&certificate_pem, &key_pem).map_err(|error| match error {
            error @ (PkiError::NoKey | PkiError::BadKey(_) | PkiError::KeyMismatch) => error.in_file(&key_file),
            error => error.in_file(&certificate_file),
        })?;
        let key = read_key(&key_pem).map_err(|error| error.in_file(&key_file))?;
        Self::from_pem(certificate_pem, key).map_err(|error| error.in_file(&certificate_file))
    }

    /// Reads the CA in `dir`, or makes it where there is none.
    pub fn load_or_init(dir: &Path, now: OffsetDateTime) -> Result<Self, PkiError> {
        match dir.join(CERTIFICATE_FILE).exists() {
            true => Self::load(dir),
            false => Self::init(dir, now),
        }
    }

    fn from_pem(certificate_pem: String, key: KeyPair) -> Result<Self, PkiError> {
        let facts = show(&certificate_pem)?;
        if !facts.is_ca {
            return Err(PkiError::NotCa(facts.subject));
        }
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key)?;
        Ok(Self { issuer, certificate_pem, facts })
    }

    /// The CA's certificate, in PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// What stands in the CA's certificate.
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// The CA as the one that is believed.
    pub fn roots(&self) -> Result<Roots, PkiError> {
        Roots::from_pem(&self.certificate_pem)
    }

    /// A key and a certificate for a server that is reached under `names`; the first is its subject too.
    pub fn issue_server(
        &self,
        names: &[ServerName<'_>],
        now: OffsetDateTime,
        days: u32,
    ) -> Result<IssuedServer, PkiError> {
        let key = KeyPair::generate()?;
        let certificate_pem = self.server(names, now, days)?.signed_by(&key, &self.issuer)?.pem();
        Ok(IssuedServer { certificate_pem, key_pem: SecretText::new(key.serialize_pem()) })
    }

    /// A certificate, in PEM, like the server's `current` one but from `now` on. The key stays, so that the one file
    /// is all that changes.
    pub fn renew_server(&self, current: &str, now: OffsetDateTime, days: u32) -> Result<String, PkiError> {
        let der = &certificates(current)?[0];
        let (facts, certificate) = (CertificateFacts::of(der)?, parse(der)?);
        self.roots()?.check_signed(der)?;
        let key = SubjectPublicKeyInfo::from_der(certificate.public_key().raw)?;
        let names: Vec<ServerName<'_>> = facts.server_names();
        let params = self.server(&names, now, days)?;
        Ok(params.signed_by(&key, &self.issuer)?.pem())
    }

    /// A certificate, in PEM, for the agent `identity` and the key of its request. Whatever else the request says is
    /// ignored.
    pub fn sign_agent(
        &self,
        csr_pem: &str,
        identity: &AgentIdentity,
        now: OffsetDateTime,
        days: u32,
    ) -> Result<String, PkiError> {
        let key = requested_key(csr_pem)?;
        let mut params = self.leaf(&identity.agent.to_string(), now, days)?;
        params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(params.signed_by(&key, &self.issuer)?.pem())
    }

    fn server(&self, names: &[ServerName<'_>], now: OffsetDateTime, days: u32) -> Result<CertificateParams, PkiError> {
        let [first, ..] = names else { return Err(PkiError::NoName) };
        let mut params = self.leaf(&first.to_str(), now, days)?;
        params.subject_alt_names = names.iter().map(alternative_name).collect::<Result<_, _>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Ok(params)
    }

    /// What all certificates that are not a CA's share. None outlives the CA.
    fn leaf(&self, subject: &str, now: OffsetDateTime, days: u32) -> Result<CertificateParams, PkiError> {
        self.facts.check_time(now)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(subject);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.not_before = now - CLOCK_LEEWAY;
        params.not_after = (now + Duration::days(days.into())).min(self.facts.not_after);
        Ok(params)
    }
}

/// A server's certificate and key, as they were issued.
pub struct IssuedServer {
    /// The certificate, in PEM.
    pub certificate_pem: String,
    /// Its private key, in PEM.
    pub key_pem: SecretText,
}

impl IssuedServer {
    /// Writes both to files; the key first, for its owner alone.
    pub fn write(&self, certificate: &Path, key: &Path) -> Result<(), PkiError> {
        config::file::write_private(key, self.key_pem.reveal().as_bytes())?;
        config::file::write_public(certificate, self.certificate_pem.as_bytes())?;
        Ok(())
    }
}

/// The key in the file, or a fresh one, which is written there. A key without its certificate is what a crash in the
/// middle of `init` leaves.
fn key_for(file: &Path) -> Result<KeyPair, PkiError> {
    if file.exists() {
        return read_key(&config::file::read_secret(file)?).map_err(|error| error.in_file(file));
    }
    let key = KeyPair::generate()?;
    config::file::write_private(file, SecretText::new(key.serialize_pem()).reveal().as_bytes())?;
    Ok(key)
}

fn read_key(pem: &SecretText) -> Result<KeyPair, PkiError> {
    KeyPair::from_pem(pem.reveal()).map_err(|error| PkiError::BadKey(error.to_string()))
}

/// Eight hex digits that tell one CA from another.
fn mark_of(key: &KeyPair) -> String {
    let digest = Sha256::digest(key.subject_public_key_info());
    data_encoding::HEXLOWER.encode(&digest[..4])
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn alternative_name(name: &ServerName<'_>) -> Result<SanType, PkiError> {
    match name {
        ServerName::DnsName(name) => Ok(SanType::DnsName(name.as_ref().try_into()?)),
        ServerName::IpAddress(address) => Ok(SanType::IpAddress((*address).into())),
        other => Err(PkiError::BadCertificate(format!("{other:?} is neither a DNS name nor an address"))),
    }
}
