//! How agents come by certificates: with an invitation, and later with the certificate before.

use jobs::proto::enrolment_server::Enrolment;
use jobs::proto::{EnrolReply, EnrolRequest, RenewReply, RenewRequest};
use pki::AgentIdentity;
use store::StoreError;
use tonic::{Request, Response, Status};
use types::InvitationId;

use super::{Server, internal};
use crate::http::digest;

/// Why somebody did not become an agent.
enum Unenrolled {
    Refused(Status),
    Failed(StoreError),
}

impl From<StoreError> for Unenrolled {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

#[tonic::async_trait]
impl Enrolment for Server {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolReply>, Status> {
        let request = request.into_inner();
        let refused = || Status::permission_denied("the invitation is unknown, used or expired: ask for another");
        let id: InvitationId = request.invitation.parse().map_err(|_| refused())?;
        // A request that cannot be signed must not use the invitation up.
        let key =
            pki::requested_key_digest(&request.csr_pem).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let (secret, cluster) = (digest(&request.secret), self.core.store.installation().cluster);
        let (enrolled, certificate_pem) = store::transact!(self.core.store, async |session| {
            let enrolled = session.redeem_invitation(id, secret, key).await?;
            let enrolled = enrolled.ok_or_else(|| Unenrolled::Refused(refused()))?;
            let identity = AgentIdentity { cluster, agent: enrolled.agent, target: enrolled.target };
            let certificate_pem = self.certify(&request.csr_pem, &identity).map_err(Unenrolled::Refused)?;
            Ok::<_, Unenrolled>((enrolled, certificate_pem))
        })
        .await
        .map_err(|unenrolled| match unenrolled {
            Unenrolled::Refused(status) => status,
            Unenrolled::Failed(error) => internal(error),
        })?;
        tracing::info!(agent = %enrolled.agent, target = %enrolled.target, "an agent enrolled");
        Ok(Response::new(EnrolReply {
            certificate_pem,
            ca_pem: self.core.server_ca.clone(),
            agent: enrolled.agent.to_string(),
            target: enrolled.target.to_string(),
            cluster: cluster.to_string(),
        }))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewReply>, Status> {
        let identity = self.admission.admit_to_renewal(&request).await?;
        let certificate_pem = self.certify(&request.into_inner().csr_pem, &identity)?;
        tracing::info!(agent = %identity.agent, target = %identity.target, "an agent's certificate was renewed");
        Ok(Response::new(RenewReply { certificate_pem }))
    }
}

impl Server {
    fn certify(&self, csr_pem: &str, identity: &AgentIdentity) -> Result<String, Status> {
        self.core
            .authority
            .sign_agent(csr_pem, identity, self.core.clock.now(), pki::AGENT_DAYS)
            .map_err(|error| Status::invalid_argument(error.to_string()))
    }
}
