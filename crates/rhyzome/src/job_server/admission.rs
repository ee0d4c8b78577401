//! Who may call: the certificate that was shown, and what the database thinks of its agent.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use jobs::Refusal;
use jobs::complaint::Complaints;
use jobs::listener::Peer;
use jobs::renewal::GRACE_DAYS;
use pki::{AgentIdentity, Issuer, Shown};
use time::{Duration, OffsetDateTime};
use tonic::{Request, Status};
use types::ClusterId;

use super::internal;
use crate::core::Core;

/// What a certificate is to be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Sessions and images.
    Work,
    /// A fresh certificate.
    Renewal,
}

/// Decides who may call, and says in the log who may not.
pub struct Admission {
    core: Arc<Core>,
    complaints: Mutex<Complaints>,
}

impl Admission {
    /// Decides for `core`.
    pub fn new(core: Arc<Core>) -> Self {
        Self { core, complaints: Mutex::default() }
    }

    /// The agent that calls, and the last moment of its certificate.
    pub async fn admit<T>(&self, request: &Request<T>) -> Result<(AgentIdentity, OffsetDateTime), Status> {
        self.decide(request, Purpose::Work).await
    }

    /// The agent that calls, whose certificate may be renewed.
    pub async fn admit_to_renewal<T>(&self, request: &Request<T>) -> Result<AgentIdentity, Status> {
        Ok(self.decide(request, Purpose::Renewal).await?.0)
    }

    async fn decide<T>(
        &self,
        request: &Request<T>,
        purpose: Purpose,
    ) -> Result<(AgentIdentity, OffsetDateTime), Status> {
        let Some(peer) = request.extensions().get::<Peer>() else {
            return Err(Refusal::NoCertificate.status("the connection has no TLS"));
        };
        let cluster = self.core.store.installation().cluster;
        let (identity, until) = weigh(&peer.shown, purpose, cluster, self.core.clock.now())
            .map_err(|(refusal, sentence)| self.refuse(peer, refusal, sentence))?;
        let mut session = self.core.store.read().await.map_err(internal)?;
        match session.standing(identity.agent).await.map_err(internal)? {
            None => Err(self.refuse(peer, Refusal::Unknown, format!("agent {} is not known", identity.agent))),
            Some(standing) if standing.revoked => {
                drop(session);
                let (agent, sentence) = (identity.agent, format!("agent {} was revoked", identity.agent));
                // For the doctor: somebody runs it still, or has its key.
                store::transact!(self.core.store, async |session| session.note_refused(agent).await)
                    .await
                    .map_err(internal)?;
                Err(self.refuse(peer, Refusal::Revoked, sentence))
            }
            Some(standing) if standing.target != identity.target => {
                let sentence = format!("agent {} does not work {}", identity.agent, identity.target);
                Err(self.refuse(peer, Refusal::OtherTarget, sentence))
            }
            Some(_) => Ok((identity, until)),
        }
    }

    fn refuse(&self, peer: &Peer, refusal: Refusal, sentence: impl Display) -> Status {
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unsaid) = complaints.worth_saying(peer.address.ip(), refusal.word(), self.core.clock.now()) {
            tracing::warn!(address = %peer.address, refusal = refusal.word(), unsaid, "refused an agent: {sentence}");
        }
        refusal.status(sentence)
    }
}

/// What a certificate is good for by itself, before the database is asked.
fn weigh(
    shown: &Shown,
    purpose: Purpose,
    cluster: ClusterId,
    now: OffsetDateTime,
) -> Result<(AgentIdentity, OffsetDateTime), (Refusal, String)> {
    let (identity, issuer, until) = match shown {
        Shown::Agent { identity, issuer, until } => (identity, issuer, until),
        Shown::Expired { identity, issuer, since } => (identity, issuer, since),
        Shown::Nothing => {
            return Err((Refusal::NoCertificate, "no certificate was shown".to_owned()));
        }
        Shown::NotYetValid { from } => {
            return Err((Refusal::NotYetValid, format!("the certificate is not valid before {from}, and it is {now}")));
        }
        Shown::Foreign { issuer } => {
            return Err((
                Refusal::Foreign,
                format!("the certificate was issued by {issuer}, which the core does not believe"),
            ));
        }
        Shown::Wrong(reason) => return Err((Refusal::Wrong, format!("the certificate cannot be used: {reason}"))),
    };
    if identity.cluster != cluster {
        let sentence = format!("the certificate is of installation {}, this one is {cluster}", identity.cluster);
        return Err((Refusal::OtherInstallation, sentence));
    }
    match purpose {
        Purpose::Renewal if *issuer == Issuer::Other => {
            Err((Refusal::Foreign, "another CA issued the certificate: that one has to renew it".to_owned()))
        }
        Purpose::Renewal if now - *until > Duration::days(GRACE_DAYS.into()) => {
            Err((Refusal::TooOld, format!("the certificate expired at {until}, over {GRACE_DAYS} days ago")))
        }
        Purpose::Work if now > *until => Err((Refusal::Expired, format!("the certificate expired at {until}"))),
        Purpose::Work | Purpose::Renewal => Ok((*identity, *until)),
    }
}

#[cfg(test)]
mod tests {
    use types::{AgentId, TargetId};

    use super::*;

    fn cluster() -> ClusterId {
        ClusterId::from_bits(1)
    }

    fn identity() -> AgentIdentity {
        AgentIdentity { cluster: cluster(), agent: AgentId::from_bits(2), target: TargetId::from_bits(3) }
    }

    fn moment() -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
    }

    fn weighed(shown: &Shown, purpose: Purpose, after: Duration) -> Result<AgentIdentity, Refusal> {
        weigh(shown, purpose, cluster(), moment() + after).map(|(identity, _)| identity).map_err(|(refusal, _)| refusal)
    }

    #[test]
    fn a_certificate_is_good_for_work_in_its_time_and_for_renewal_ninety_days_longer() {
        let shown = Shown::Agent { identity: identity(), issuer: Issuer::Ours, until: moment() };
        let expired = Shown::Expired { identity: identity(), issuer: Issuer::Ours, since: moment() };
        for shown in [shown, expired] {
            for (purpose, after, expected) in [
                (Purpose::Work, Duration::ZERO, Ok(identity())),
                (Purpose::Work, Duration::SECOND, Err(Refusal::Expired)),
                (Purpose::Work, Duration::days(91), Err(Refusal::Expired)),
                (Purpose::Renewal, Duration::ZERO, Ok(identity())),
                (Purpose::Renewal, Duration::days(90), Ok(identity())),
                (Purpose::Renewal, Duration::days(90) + Duration::SECOND, Err(Refusal::TooOld)),
            ] {
                assert_eq!(weighed(&shown, purpose, after), expected, "{purpose:?} {after}");
            }
        }
    }

    #[test]
    fn another_ca_s_certificate_works_and_is_renewed_elsewhere() {
        let shown = Shown::Agent { identity: identity(), issuer: Issuer::Other, until: moment() };
        assert_eq!(weighed(&shown, Purpose::Work, Duration::ZERO), Ok(identity()));
        assert_eq!(weighed(&shown, Purpose::Renewal, Duration::ZERO), Err(Refusal::Foreign));
    }

    #[test]
    fn every_other_certificate_is_refused_by_name_for_both() {
        let elsewhere = AgentIdentity { cluster: ClusterId::from_bits(9), ..identity() };
        for (shown, refusal) in [
            (Shown::Nothing, Refusal::NoCertificate),
            (Shown::NotYetValid { from: moment() }, Refusal::NotYetValid),
            (Shown::Foreign { issuer: "CN=x".to_owned() }, Refusal::Foreign),
            (Shown::Wrong("odd".to_owned()), Refusal::Wrong),
            (Shown::Agent { identity: elsewhere, issuer: Issuer::Ours, until: moment() }, Refusal::OtherInstallation),
        ] {
            assert_eq!(weighed(&shown, Purpose::Work, Duration::ZERO), Err(refusal));
            assert_eq!(weighed(&shown, Purpose::Renewal, Duration::ZERO), Err(refusal));
        }
    }
}
