//! What a certificate is worth that a client showed.
//!
//! A handshake takes any certificate whose key the client has, and the judgement follows it. One that is not believed is
//! worth as much as none; the difference is that the client can be told why, and not by an alert that gets lost.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use time::OffsetDateTime;

use crate::tls::provider;
use crate::{AgentIdentity, CertificateFacts, PkiError, Roots, identity_of};

/// What the certificate is worth that a client showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It showed none.
    Nothing,
    /// An agent's, in its time.
    Agent {
        /// Whose.
        identity: AgentIdentity,
        /// Who signed it.
        issuer: Issuer,
        /// Its last moment.
        until: OffsetDateTime,
    },
    /// An agent's whose time is over, and nothing else is wrong with it.
    Expired {
        /// Whose.
        identity: AgentIdentity,
        /// Who signed it.
        issuer: Issuer,
        /// Its last moment.
        since: OffsetDateTime,
    },
    /// One whose time has not come.
    NotYetValid {
        /// Its first moment.
        from: OffsetDateTime,
    },
    /// One that none of our CAs signed.
    Foreign {
        /// The issuer's name in it.
        issuer: String,
    },
    /// One that is wrong in another way, in words.
    Wrong(String),
}

/// Which CA signed an agent's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// The installation's own.
    Ours,
    /// Another one that its configuration names.
    Other,
}

/// Judges certificates of clients.
#[derive(Clone, Debug)]
pub struct Judge {
    ours: Roots,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Judge {
    /// A judge who believes our own CA and those that were configured beside it.
    pub fn new(ours: &Roots, others: Option<&Roots>) -> Result<Self, PkiError> {
        let all = others.map_or_else(|| ours.clone(), |others| ours.and(others));
        let verifier = WebPkiClientVerifier::builder_with_provider(all.store()?, provider())
            .build()
            .map_err(|error| PkiError::Tls(error.to_string()))?;
        Ok(Self { ours: ours.clone(), verifier })
    }

    /// What `chain` is worth; the first certificate is the client's own, the others lead to its CA.
    pub fn judge(&self, chain: &[CertificateDer<'_>], now: OffsetDateTime) -> Shown {
        let Some((leaf, between)) = chain.split_first() else { return Shown::Nothing };
        self.weigh(leaf, between, now).unwrap_or_else(|error| Shown::Wrong(error.to_string()))
    }

    fn weigh(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: OffsetDateTime,
    ) -> Result<Shown, PkiError> {
        let facts = CertificateFacts::of(leaf)?;
        let expired = now > facts.not_after;
        // All else must have been right in the last moment of one that expired, or be so in the first of one to come.
        let moment = now.clamp(facts.not_before, facts.not_after.max(facts.not_before));
        match self.verifier.verify_client_cert(leaf, between, unix(moment)) {
            Ok(_) => {}
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                return Ok(Shown::Foreign { issuer: facts.issuer });
            }
            Err(Error::InvalidCertificate(
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
            )) => return Ok(Shown::Wrong("it is not made for a client".to_owned())),
            Err(error) => return Ok(Shown::Wrong(error.to_string())),
        }
        if now < facts.not_before {
            return Ok(Shown::NotYetValid { from: facts.not_before });
        }
        let identity = identity_of(std::slice::from_ref(leaf))?;
        let issuer = match self.ours.check_signed(leaf) {
            Ok(()) => Issuer::Ours,
            Err(_) => Issuer::Other,
        };
        Ok(match expired {
            true => Shown::Expired { identity, issuer, since: facts.not_after },
            false => Shown::Agent { identity, issuer, until: facts.not_after },
        })
    }
}

fn unix(moment: OffsetDateTime) -> UnixTime {
    let seconds = u64::try_from(moment.unix_timestamp()).unwrap_or_default();
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}

/// Asks for a certificate and takes any whose key the client has; [`Judge`] says what it is worth.
#[derive(Debug)]
pub(crate) struct AskForCertificate(pub(crate) WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AskForCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
