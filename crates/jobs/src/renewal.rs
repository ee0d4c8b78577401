//! A fresh certificate before the one in use ends.
//!
//! When to ask is a pure function of the certificate, the clock and a drawn number; what came of it is on disk before
//! anything uses it.

use std::path::Path;
use std::time::Duration;

use pki::{AgentIdentity, CertificateFacts, KeyedCertificate};
use time::OffsetDateTime;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Channel;

use crate::backoff::{Jitter, backoff};
use crate::credentials::{CredentialsError, Files, read_answer};
use crate::proto::RenewRequest;
use crate::proto::enrolment_client::EnrolmentClient;
use crate::refusal::Refusal;

/// Days after its end in which an agent's certificate can be renewed.
pub const GRACE_DAYS: u32 = 90;

/// Longest time for the core's answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Renewals are less urgent than sessions by this factor.
const PATIENCE: u32 = 60;
/// The part of a certificate's life over which agents that were enrolled together are spread.
const SPREAD: f64 = 1.0 / 30.0;

/// Why there is no fresh certificate.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// The core will not have this agent for the certificate it has.
    #[error("the core does not renew this agent's certificate: {sentence}; {}", .refusal.advice())]
    Refused {
        /// Why.
        refusal: Refusal,
        /// The core's words.
        sentence: String,
    },
    /// The core could not answer.
    #[error("the core could not renew this agent's certificate: {} ({})", .0.message(), .0.code())]
    Unanswered(Box<Status>),
    /// The core did not answer.
    #[error("the core did not renew this agent's certificate within {} s", ANSWER.as_secs())]
    Silent,
    /// The answer cannot be used or kept.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

impl RenewalError {
    /// What the core holds against the certificate, if it does.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            Self::Unanswered(_) | Self::Silent | Self::Credentials(_) => None,
        }
    }
}

/// When a certificate is to be renewed: two thirds through its life, or a little later.
pub fn due(facts: &CertificateFacts, jitter: Jitter) -> OffsetDateTime {
    let life = facts.not_after - facts.not_before;
    facts.not_before + life * (2.0 / 3.0 + jitter.part() * SPREAD)
}

/// How long to wait after `failures` failed renewals in a row: half a minute to an hour.
pub fn pause(failures: u32, jitter: Jitter) -> Duration {
    backoff(failures, jitter) * PATIENCE
}

/// Makes a fresh key, has the core certify it for the agent `identity`, whose certificate `channel` was opened with,
/// and keeps both in `state_dir`.
pub async fn renew(
    channel: Channel,
    identity: &AgentIdentity,
    state_dir: &Path,
) -> Result<KeyedCertificate, RenewalError> {
    let files = Files::in_state(state_dir);
    let request = files.request()?;
    let mut client = EnrolmentClient::new(channel);
    let asked = client.renew(RenewRequest { csr_pem: request.csr_pem });
    let reply = match timeout(ANSWER, asked).await {
        Ok(Ok(reply)) => reply.into_inner(),
        Ok(Err(status)) => {
            return Err(match Refusal::of(&status) {
                Some(refusal) => RenewalError::Refused { refusal, sentence: status.message().to_owned() },
                None => RenewalError::Unanswered(Box::new(status)),
            });
        }
        Err(_) => return Err(RenewalError::Silent),
    };
    let (_, certificate) = read_answer(&reply.certificate_pem, &request.key_pem, Some(identity))?;
    files.install(&reply.certificate_pem, None)?;
    tracing::info!(agent = %identity.agent, until = %certificate.facts().not_after, "renewed the certificate");
    Ok(certificate)
}

#[cfg(test)]
mod tests {
    use pki::Authority;

    use super::*;

    #[test]
    fn renewals_are_due_two_thirds_through_a_life_and_spread() {
        let (dir, start) = (tempfile::tempdir().unwrap(), OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000));
        let authority = Authority::init(&dir.path().join("ca"), start).unwrap();
        let name = pki::ServerName::try_from("core").unwrap();
        let issued = authority.issue_server(&[name], start, 90).unwrap();
        let facts = pki::show(&issued.certificate_pem).unwrap();
        let (first, last) = (due(&facts, Jitter::from_bits(0)), due(&facts, Jitter::from_bits(u32::MAX)));
        assert_eq!((first - start).whole_days(), 59, "five minutes of leeway are part of the life");
        assert_eq!((last - start).whole_days(), 62);
        assert!(facts.wants_renewal(first + time::Duration::SECOND));
    }

    #[test]
    fn failed_renewals_are_tried_again_between_half_a_minute_and_an_hour_later() {
        assert_eq!(pause(1, Jitter::from_bits(0)), Duration::from_secs(30));
        assert_eq!(pause(40, Jitter::from_bits(u32::MAX)), Duration::from_secs(3600));
    }
}
