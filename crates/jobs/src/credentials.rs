//! What an agent shows and whom it believes: files that it was given, or those that its enrolment made.
//!
//! An enrolled agent's lie in `<state_dir>/tls`. A fresh key is written as `key-next.pem` before the core is asked to
//! certify it, so that an agent that is killed half way asks again with the same key. The certificate then takes the
//! place of the one before, and last the key does: after every write there is a certificate with its key beside it.

use std::path::{Path, PathBuf};

use config::{FileError, Tls};
use pki::{AgentIdentity, CertificateRequest, Fingerprint, KeyedCertificate, PkiError, Roots, identity_of};
use types::{InvitationId, ParseError, SecretText};

use crate::core_url::CoreUrl;

/// Why an agent's certificate, key or CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// What was kept cannot be read.
    #[error("{}: {reason}", .path.display())]
    Kept {
        /// The file that says it.
        path: PathBuf,
        /// What is wrong with it.
        reason: ParseError,
    },
    /// A key is missing in the configuration.
    #[error("{0} is missing: it is needed beside agent.tls.cert")]
    NotConfigured(&'static str),
}

/// What an agent shows and whom it believes.
pub struct Credentials {
    /// Who it is.
    pub identity: AgentIdentity,
    /// Its certificate and key.
    pub certificate: KeyedCertificate,
    /// The CA that the core's certificate must come from.
    pub ca: Roots,
    /// Where the core is.
    pub core: CoreUrl,
}

impl Credentials {
    /// The certificate's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.certificate.facts().fingerprint
    }
}

/// Reads the files that a configuration names; `core` is where the core is.
pub fn given(tls: &Tls, core: Option<&CoreUrl>) -> Result<Credentials, CredentialsError> {
    let core = core.ok_or(CredentialsError::NotConfigured("agent.core"))?.clone();
    let ca = tls.ca.as_ref().ok_or(CredentialsError::NotConfigured("agent.tls.ca"))?;
    let certificate = KeyedCertificate::load(tls)?;
    let identity = identity_of(&[certificate.certificate().clone()]).map_err(|error| error.in_file(&tls.cert))?;
    let ca = Roots::from_pem(&config::file::read(ca)?).map_err(|error| error.in_file(ca))?;
    Ok(Credentials { identity, certificate, ca, core })
}

/// Reads what an enrolment left in `state_dir`; `None` where none came to its end.
pub fn load(state_dir: &Path) -> Result<Option<Credentials>, CredentialsError> {
    Files::in_state(state_dir).load()
}

/// The files of an enrolled agent.
pub(crate) struct Files {
    directory: PathBuf,
    key: PathBuf,
    next_key: PathBuf,
    certificate: PathBuf,
    ca: PathBuf,
    core: PathBuf,
    invitation: PathBuf,
}

/// What an enrolment brings beside the certificate.
pub(crate) struct Origin<'a> {
    pub invitation: InvitationId,
    pub ca_pem: &'a str,
    pub core: &'a CoreUrl,
}

/// One change on disk, done whole or not at all.
enum Change {
    Write(PathBuf, String),
    PutInPlace(PathBuf, PathBuf),
}

impl Change {
    fn make(&self) -> Result<(), FileError> {
        match self {
            Self::Write(path, text) => config::file::write_public(path, text.as_bytes()),
            Self::PutInPlace(path, of) => config::file::put_in_place(path, of),
        }
    }
}

impl Files {
    pub(crate) fn in_state(state_dir: &Path) -> Self {
        let directory = state_dir.join("tls");
        let [key, next_key, certificate, ca, core, invitation] =
            ["key.pem", "key-next.pem", "cert.pem", "ca.pem", "core.url", "invitation"]
                .map(|name| directory.join(name));
        Self { directory, key, next_key, certificate, ca, core, invitation }
    }

    pub(crate) fn load(&self) -> Result<Option<Credentials>, CredentialsError> {
        if !self.certificate.exists() {
            return Ok(None);
        }
        let certificate = self.keyed()?;
        let identity =
            identity_of(&[certificate.certificate().clone()]).map_err(|error| error.in_file(&self.certificate))?;
        let ca = Roots::from_pem(&config::file::read(&self.ca)?).map_err(|error| error.in_file(&self.ca))?;
        let core = read_kept(&self.core)?;
        Ok(Some(Credentials { identity, certificate, ca, core }))
    }

    /// The certificate with its key, which may be the next one still.
    fn keyed(&self) -> Result<KeyedCertificate, CredentialsError> {
        let with =
            |key: &Path| KeyedCertificate::load(&Tls { ca: None, cert: self.certificate.clone(), key: key.to_owned() });
        let known = with(&self.key);
        if known.is_err()
            && self.next_key.exists()
            && let Ok(certificate) = with(&self.next_key)
        {
            config::file::put_in_place(&self.next_key, &self.key)?;
            return Ok(certificate);
        }
        Ok(known?)
    }

    /// The invitation that the certificate was got for; none where that was not written down.
    pub(crate) fn used_invitation(&self) -> Result<Option<InvitationId>, CredentialsError> {
        match self.invitation.exists() {
            true => read_kept(&self.invitation).map(Some),
            false => Ok(None),
        }
    }

    /// A request for the next key, which is made where it is not.
    pub(crate) fn request(&self) -> Result<CertificateRequest, CredentialsError> {
        const SUBJECT: &str = "rhyzome agent";
        if let Some(state_dir) = self.directory.parent() {
            config::file::make_private_directory(state_dir)?;
        }
        config::file::make_private_directory(&self.directory)?;
        // A key without a certificate was never told of one; the invitation may have been used for it.
        if !self.certificate.exists() && !self.next_key.exists() && self.key.exists() {
            config::file::put_in_place(&self.key, &self.next_key)?;
        }
        match config::file::read_secret(&self.next_key) {
            Ok(key) => Ok(CertificateRequest::for_key(&key, SUBJECT).map_err(|error| error.in_file(&self.next_key))?),
            Err(error) if error.is_missing() => {
                let request = CertificateRequest::make(SUBJECT)?;
                config::file::write_private(&self.next_key, request.key_pem.reveal().as_bytes())?;
                Ok(request)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Puts the certificate for the next key in place, and the key with it.
    pub(crate) fn install(&self, certificate_pem: &str, origin: Option<&Origin<'_>>) -> Result<(), CredentialsError> {
        for change in self.changes(certificate_pem, origin) {
            change.make()?;
        }
        Ok(())
    }

    fn changes(&self, certificate_pem: &str, origin: Option<&Origin<'_>>) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(origin) = origin {
            changes.push(Change::Write(self.ca.clone(), origin.ca_pem.to_owned()));
            changes.push(Change::Write(self.core.clone(), format!("{}\n", origin.core)));
            changes.push(Change::Write(self.invitation.clone(), format!("{}\n", origin.invitation)));
        }
        changes.push(Change::Write(self.certificate.clone(), certificate_pem.to_owned()));
        changes.push(Change::PutInPlace(self.next_key.clone(), self.key.clone()));
        changes
    }
}

/// Reads a certificate that the core made for `key`, and refuses one for another agent than `expected`.
pub(crate) fn read_answer(
    certificate_pem: &str,
    key: &SecretText,
    expected: Option<&AgentIdentity>,
) -> Result<(AgentIdentity, KeyedCertificate), CredentialsError> {
    let certificate = KeyedCertificate::from_pem(certificate_pem, key)?;
    let identity = identity_of(&[certificate.certificate().clone()])?;
    match expected {
        Some(expected) if *expected != identity => {
            Err(PkiError::NoIdentity(format!("it is of {identity}, not of {expected}")).into())
        }
        _ => Ok((identity, certificate)),
    }
}

fn read_kept<T: std::str::FromStr<Err = ParseError>>(path: &Path) -> Result<T, CredentialsError> {
    let text = config::file::read(path)?;
    text.trim().parse().map_err(|reason| CredentialsError::Kept { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use pki::{AGENT_DAYS, Authority};
    use time::OffsetDateTime;
    use types::{AgentId, ClusterId, TargetId};

    use super::*;

    struct Ground {
        dir: tempfile::TempDir,
        authority: Authority,
    }

    impl Ground {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let authority = Authority::init(&dir.path().join("ca"), OffsetDateTime::now_utc()).unwrap();
            Self { dir, authority }
        }

        fn files(&self, name: &str) -> Files {
            Files::in_state(&self.dir.path().join(name))
        }

        fn certificate(&self, request: &CertificateRequest) -> String {
            let identity = AgentIdentity {
                cluster: ClusterId::from_bits(1),
                agent: AgentId::from_bits(2),
                target: TargetId::from_bits(3),
            };
            self.authority.sign_agent(&request.csr_pem, &identity, OffsetDateTime::now_utc(), AGENT_DAYS).unwrap()
        }

        fn enrol(&self, files: &Files) {
            let core = "https://127.0.0.1:7741".parse().unwrap();
            let origin = Origin {
                invitation: InvitationId::from_bits(4),
                ca_pem: self.authority.certificate_pem(),
                core: &core,
            };
            let certificate = self.certificate(&files.request().unwrap());
            files.install(&certificate, Some(&origin)).unwrap();
        }
    }

    #[test]
    fn a_crash_after_any_write_of_a_renewal_leaves_a_certificate_with_its_key() {
        let ground = Ground::new();
        for survived in 0..=2 {
            let files = ground.files(&format!("crash-{survived}"));
            ground.enrol(&files);
            let before = files.load().unwrap().unwrap().fingerprint();
            let fresh = ground.certificate(&files.request().unwrap());
            let changes = files.changes(&fresh, None);
            assert_eq!(changes.len(), 2);
            changes.iter().take(survived).for_each(|change| change.make().unwrap());

            let after = files.load().unwrap().unwrap().fingerprint();
            let expected = if survived == 0 { before } else { pki::show(&fresh).unwrap().fingerprint };
            assert_eq!(after, expected, "after {survived} writes");
            assert_eq!(files.load().unwrap().unwrap().fingerprint(), expected, "and again");
            assert_eq!(files.next_key.exists(), survived == 0);
        }
    }

    #[test]
    fn a_crash_in_an_enrolment_leaves_all_of_it_or_none() {
        let ground = Ground::new();
        let core: CoreUrl = "https://127.0.0.1:7741".parse().unwrap();
        let origin =
            Origin { invitation: InvitationId::from_bits(4), ca_pem: ground.authority.certificate_pem(), core: &core };
        for survived in 0..=5 {
            let files = ground.files(&format!("crash-{survived}"));
            let certificate = ground.certificate(&files.request().unwrap());
            let changes = files.changes(&certificate, Some(&origin));
            assert_eq!(changes.len(), 5);
            changes.iter().take(survived).for_each(|change| change.make().unwrap());
            let loaded = files.load().unwrap();
            assert_eq!(loaded.is_some(), survived >= 4, "after {survived} writes");
            if loaded.is_some() {
                assert_eq!(files.used_invitation().unwrap(), Some(origin.invitation));
            }
        }
    }

    #[test]
    fn the_same_key_is_asked_for_until_its_certificate_is_there() {
        let ground = Ground::new();
        let files = ground.files("state");
        let first = files.request().unwrap();
        assert_eq!(files.request().unwrap().key_pem.reveal(), first.key_pem.reveal());
        ground.enrol(&files);
        assert_ne!(files.request().unwrap().key_pem.reveal(), first.key_pem.reveal());
    }

    #[test]
    fn given_files_need_a_core_and_a_ca() {
        let tls = Tls { ca: None, cert: "cert.pem".into(), key: "key.pem".into() };
        let core = "https://127.0.0.1:7741".parse().unwrap();
        assert!(given(&tls, None).err().unwrap().to_string().starts_with("agent.core is missing"));
        assert!(given(&tls, Some(&core)).err().unwrap().to_string().starts_with("agent.tls.ca is missing"));
    }
}
