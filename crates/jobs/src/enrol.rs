//! Becoming an agent: a key, an invitation, a certificate.

use std::path::Path;
use std::time::Duration;

use pki::Roots;
use tonic::Code;

use crate::connection::{ConnectError, connect};
use crate::credentials::{Credentials, CredentialsError, Files, Origin, read_answer};
use crate::invitation::Invitation;
use crate::proto::EnrolRequest;
use crate::proto::enrolment_client::EnrolmentClient;

/// Longest time for the core's answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Why an agent could not enrol.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// Certificate, key or CA cannot be used or kept.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
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
}

impl EnrolError {
    /// Whether the same may succeed later without anybody doing anything.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect(ConnectError::Unreachable { .. }) | Self::Unanswered(_) => true,
            Self::Connect(ConnectError::Pki(_)) | Self::Credentials(_) | Self::Refused { .. } | Self::Unfit(_) => false,
        }
    }
}

/// Makes a key, has the core certify it on the strength of `invitation`, and keeps everything in `state_dir`, in place
/// of what an earlier enrolment left there. An invitation serves one key.
pub async fn enrol(invitation: &Invitation, state_dir: &Path) -> Result<Credentials, EnrolError> {
    let files = Files::in_state(state_dir);
    let request = files.request()?;

    let channel = connect(&invitation.core, &invitation.ca, None).await?;
    let mut message = tonic::Request::new(EnrolRequest {
        invitation: invitation.id.to_string(),
        secret: invitation.secret.reveal().to_owned(),
        csr_pem: request.csr_pem,
    });
    message.set_timeout(ANSWER);
    let reply =
        EnrolmentClient::new(channel).enrol(message).await.map_err(|status| refusal(invitation, &status))?.into_inner();

    let (identity, certificate) = read_answer(&reply.certificate_pem, &request.key_pem, None)?;
    let said = [identity.cluster.to_string(), identity.agent.to_string(), identity.target.to_string()];
    if said != [reply.cluster, reply.agent, reply.target] {
        return Err(EnrolError::Unfit("the certificate names another agent than the message"));
    }
    let ca = Roots::from_pem(&reply.ca_pem).map_err(CredentialsError::from)?;
    if ca.certificates() != invitation.ca.certificates() {
        return Err(EnrolError::Unfit("its CA is not the one of the invitation"));
    }
    let origin = Origin { invitation: invitation.id, ca_pem: &reply.ca_pem, core: &invitation.core };
    files.install(&reply.certificate_pem, Some(&origin))?;
    tracing::info!(agent = %identity.agent, target = %identity.target, core = %invitation.core, "enrolled");
    Ok(Credentials { identity, certificate, ca, core: invitation.core.clone() })
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
