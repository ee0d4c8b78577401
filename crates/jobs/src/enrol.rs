//! Becoming an agent: a key, an invitation, a certificate.
//!
//! Everything lies in `<state_dir>/tls`. The key is written before the core is asked, so that an agent that is killed
//! half way asks again with the same key and the core can answer it again. The certificate comes last: with it the
//! enrolment is complete.

use std::path::{Path, PathBuf};
use std::time::Duration;

use config::FileError;
use pki::{AgentIdentity, CertificateRequest, KeyedCertificate, PkiError, Roots, identity_of};
use tonic::Code;

use crate::connection::{ConnectError, connect};
use crate::core_url::CoreUrl;
use crate::invitation::Invitation;
use crate::proto::EnrolRequest;
use crate::proto::enrolment_client::EnrolmentClient;

/// Longest time for the core's answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Why an agent could not enrol.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The core cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The core could not answer.
    #[error("the core could not enrol this agent: {0}")]
    Unanswered(String),
    /// The core will not have this agent with this invitation.
    #[error("the core refused invitation {invitation}: {reason}")]
    Refused {
        /// The invitation.
        invitation: types::InvitationId,
        /// The core's reason.
        reason: String,
    },
    /// The core's answer does not fit.
    #[error("the core's answer does not fit the request: {0}")]
    Unfit(&'static str),
    /// What the core is called was never said, or cannot be read.
    #[error("{}: {reason}", .path.display())]
    Core {
        /// The file that says it.
        path: PathBuf,
        /// What is wrong with it.
        reason: types::ParseError,
    },
}

impl EnrolError {
    /// Whether the same may succeed later without anybody doing anything.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect(ConnectError::Unreachable { .. }) | Self::Unanswered(_) => true,
            Self::Connect(ConnectError::Pki(_))
            | Self::File(_)
            | Self::Pki(_)
            | Self::Refused { .. }
            | Self::Unfit(_)
            | Self::Core { .. } => false,
        }
    }
}

/// What an agent has once it is enrolled.
pub struct Enrolled {
    /// Who it is.
    pub identity: AgentIdentity,
    /// Its certificate and key.
    pub certificate: KeyedCertificate,
    /// The CA that the core's certificate must come from.
    pub ca: Roots,
    /// Where the invitation said that the core is.
    pub core: CoreUrl,
}

struct Files {
    key: PathBuf,
    certificate: PathBuf,
    ca: PathBuf,
    core: PathBuf,
}

impl Files {
    fn in_state(state_dir: &Path) -> Self {
        let [key, certificate, ca, core] =
            ["key.pem", "cert.pem", "ca.pem", "core.url"].map(|name| state_dir.join("tls").join(name));
        Self { key, certificate, ca, core }
    }
}

/// Reads what an earlier [`enrol`] left in `state_dir`; `None` where none came to its end.
pub fn load(state_dir: &Path) -> Result<Option<Enrolled>, EnrolError> {
    let files = Files::in_state(state_dir);
    if !files.certificate.exists() {
        return Ok(None);
    }
    let tls = config::Tls { ca: None, cert: files.certificate.clone(), key: files.key };
    let certificate = KeyedCertificate::load(&tls)?;
    let identity =
        identity_of(&[certificate.certificate().clone()]).map_err(|error| error.in_file(&files.certificate))?;
    let ca = Roots::from_pem(&config::file::read(&files.ca)?).map_err(|error| error.in_file(&files.ca))?;
    let core = config::file::read(&files.core)?;
    let core = core.trim().parse().map_err(|reason| EnrolError::Core { path: files.core, reason })?;
    Ok(Some(Enrolled { identity, certificate, ca, core }))
}

/// Makes a key, has the core certify it on the strength of `invitation`, and keeps everything in `state_dir`. An
/// invitation serves one key.
pub async fn enrol(invitation: &Invitation, state_dir: &Path) -> Result<Enrolled, EnrolError> {
    let files = Files::in_state(state_dir);
    config::file::make_private_directory(state_dir)?;
    config::file::make_private_directory(&state_dir.join("tls"))?;
    let request = request(&files.key)?;

    let channel = connect(&invitation.core, &invitation.ca, None).await?;
    let mut message = tonic::Request::new(EnrolRequest {
        invitation: invitation.id.to_string(),
        secret: invitation.secret.reveal().to_owned(),
        csr_pem: request.csr_pem,
    });
    message.set_timeout(ANSWER);
    let reply =
        EnrolmentClient::new(channel).enrol(message).await.map_err(|status| refusal(invitation, &status))?.into_inner();

    let certificate = KeyedCertificate::from_pem(&reply.certificate_pem, &request.key_pem)?;
    let identity = identity_of(&[certificate.certificate().clone()])?;
    let said = [identity.cluster.to_string(), identity.agent.to_string(), identity.target.to_string()];
    if said != [reply.cluster, reply.agent, reply.target] {
        return Err(EnrolError::Unfit("the certificate names another agent than the message"));
    }
    let ca = Roots::from_pem(&reply.ca_pem)?;
    if ca.certificates() != invitation.ca.certificates() {
        return Err(EnrolError::Unfit("its CA is not the one of the invitation"));
    }
    config::file::write_public(&files.ca, reply.ca_pem.as_bytes())?;
    config::file::write_public(&files.core, format!("{}\n", invitation.core).as_bytes())?;
    config::file::write_public(&files.certificate, reply.certificate_pem.as_bytes())?;
    tracing::info!(agent = %identity.agent, target = %identity.target, core = %invitation.core, "enrolled");
    Ok(Enrolled { identity, certificate, ca, core: invitation.core.clone() })
}

/// A request for the key in `file`, which is made where it is not.
fn request(file: &Path) -> Result<CertificateRequest, EnrolError> {
    const SUBJECT: &str = "rhyzome agent";
    match config::file::read_secret(file) {
        Ok(key) => Ok(CertificateRequest::for_key(&key, SUBJECT).map_err(|error| error.in_file(file))?),
        Err(error) if error.is_missing() => {
            let request = CertificateRequest::make(SUBJECT)?;
            config::file::write_private(file, request.key_pem.reveal().as_bytes())?;
            Ok(request)
        }
        Err(error) => Err(error.into()),
    }
}

fn refusal(invitation: &Invitation, status: &tonic::Status) -> EnrolError {
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unauthenticated
        | Code::Unimplemented => EnrolError::Refused { invitation: invitation.id, reason: status.message().to_owned() },
        _ => EnrolError::Unanswered(format!("{} ({})", status.message(), status.code())),
    }
}
