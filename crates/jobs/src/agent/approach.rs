//! One try to get a session: with the certificate that is there, a fresh one where its time has come, or one for an
//! invitation.

use std::fmt::Display;
use std::sync::Arc;

use pki::Clock;
use tonic::transport::Channel;

use super::link::LinkEvent;
use super::{AgentConfig, AgentError};
use crate::backoff::Jitter;
use crate::connection::{ConnectError, connect};
use crate::credentials::{self, Credentials, CredentialsError, Files};
use crate::enrol::{self, EnrolError};
use crate::refusal::Refusal;
use crate::renewal::{self, RenewalError};
use crate::session::{self, Session, SessionError};
use crate::{CoreUrl, CoreUrls, Hello, Invitation};

/// Why there is no session this time.
pub(super) struct Failure {
    pub reason: String,
    /// What the core holds against the certificate, if that was it.
    pub refusal: Option<Refusal>,
}

impl Failure {
    pub(super) fn passing(reason: impl Display) -> Self {
        Self { reason: reason.to_string(), refusal: None }
    }
}

/// A session and what it was opened with.
pub(super) struct Opened {
    pub session: Session,
    pub credentials: Credentials,
}

/// What a try goes by.
pub(super) struct Approach {
    pub config: Arc<AgentConfig>,
    pub clock: Clock,
    pub jitter: Jitter,
    /// What the core held against the certificate in the try before.
    pub refused: Option<Refusal>,
}

/// A try that came to nothing.
enum Miss {
    ForNow(Failure),
    ForEver(AgentError),
}

impl From<CredentialsError> for Miss {
    fn from(error: CredentialsError) -> Self {
        Self::ForEver(error.into())
    }
}

impl From<EnrolError> for Miss {
    fn from(error: EnrolError) -> Self {
        match error.may_pass() {
            true => Self::ForNow(Failure::passing(error)),
            false => Self::ForEver(error.into()),
        }
    }
}

impl From<ConnectError> for Miss {
    fn from(error: ConnectError) -> Self {
        Self::ForNow(Failure::passing(error))
    }
}

impl Approach {
    pub(super) async fn open(self, hello: Hello) -> LinkEvent {
        match self.try_to_open(hello).await {
            Ok(opened) => LinkEvent::Opened(Box::new(opened)),
            Err(Miss::ForNow(failure)) => LinkEvent::Failed(failure),
            Err(Miss::ForEver(error)) => LinkEvent::Hopeless(error),
        }
    }

    /// Tries one core after the other, until one has something against this agent itself.
    async fn try_to_open(&self, hello: Hello) -> Result<Opened, Miss> {
        let Some(cores) = &self.config.core else { return self.try_core(None, hello).await };
        let mut missed = Vec::new();
        for core in cores.iter() {
            match self.try_core(Some(core), hello.clone()).await {
                Err(Miss::ForNow(failure)) if failure.refusal.is_none() => missed.push(failure.reason),
                tried => return tried,
            }
        }
        Err(Miss::ForNow(Failure::passing(missed.join("; "))))
    }

    async fn try_core(&self, core: Option<&CoreUrl>, hello: Hello) -> Result<Opened, Miss> {
        let mut credentials = self.credentials(core).await?;
        if self.wants_renewal(&credentials)
            && let Some(renewed) = self.renew(core, &credentials).await?
        {
            credentials = renewed;
        }
        let channel = self.connect(core, &credentials).await?;
        let cluster = credentials.identity.cluster;
        match session::open(channel, hello).await {
            Ok(session) if session.welcome.cluster != cluster => Err(Miss::ForNow(Failure::passing(format!(
                "the core is of cluster {}, this agent of {cluster}",
                session.welcome.cluster
            )))),
            Ok(session) => Ok(Opened { session, credentials }),
            Err(error) => {
                let refusal = match &error {
                    SessionError::Refused { refusal, .. } => Some(*refusal),
                    _ => None,
                };
                Err(Miss::ForNow(Failure { reason: error.to_string(), refusal }))
            }
        }
    }

    /// What there is to show: read each time, as it may be renewed. Where the core will have no more of it, an invitation
    /// that was not used for it makes a fresh beginning.
    async fn credentials(&self, core: Option<&CoreUrl>) -> Result<Credentials, Miss> {
        let known = load(&self.config)?;
        let given_up = self.refused.is_some_and(Refusal::is_final);
        match known {
            Some(known) if !given_up || self.config.tls.is_some() => Ok(known),
            Some(known) => match unused_invitation(&self.config, core)? {
                Some(invitation) => {
                    tracing::info!(invitation = %invitation.id, "enrolling again: the core refuses the certificate");
                    Ok(enrol::enrol(&invitation, &self.config.state_dir).await?)
                }
                None => Ok(known),
            },
            None => {
                let invitation = invitation(&self.config, core).map_err(Miss::ForEver)?;
                Ok(enrol::enrol(&invitation, &self.config.state_dir).await?)
            }
        }
    }

    fn wants_renewal(&self, credentials: &Credentials) -> bool {
        let due = renewal::due(credentials.certificate.facts(), self.jitter);
        // The core's clock counts: this machine's may have stood still.
        self.config.tls.is_none() && (self.refused == Some(Refusal::Expired) || self.clock.now() >= due)
    }

    /// A fresh certificate; none where the one that is there will do until the next time.
    async fn renew(&self, core: Option<&CoreUrl>, credentials: &Credentials) -> Result<Option<Credentials>, Miss> {
        let channel = self.connect(core, credentials).await?;
        match renewal::renew(channel, &credentials.identity, &self.config.state_dir).await {
            Ok(_) => Ok(load(&self.config)?),
            Err(RenewalError::Credentials(error)) => Err(error.into()),
            Err(error) => match credentials.certificate.facts().check_time(self.clock.now()) {
                Ok(()) if self.refused.is_none() => {
                    tracing::warn!(%error, until = %credentials.certificate.facts().not_after, "not renewed yet");
                    Ok(None)
                }
                _ => Err(Miss::ForNow(Failure { reason: error.to_string(), refusal: error.refusal() })),
            },
        }
    }

    async fn connect(&self, core: Option<&CoreUrl>, credentials: &Credentials) -> Result<Channel, Miss> {
        let core = core.unwrap_or(&credentials.core);
        Ok(connect(core, &credentials.ca, Some(credentials.certificate.again())).await?)
    }
}

/// What there is to show; `None` where the agent is to enrol.
pub(super) fn load(config: &AgentConfig) -> Result<Option<Credentials>, CredentialsError> {
    match &config.tls {
        Some(tls) => credentials::given(tls, config.core.as_ref().map(CoreUrls::first)).map(Some),
        None => credentials::load(&config.state_dir),
    }
}

/// Refuses an agent that has neither a certificate nor an invitation, before anything else is done.
pub(super) fn check_credentials(config: &AgentConfig) -> Result<(), AgentError> {
    if load(config)?.is_none() {
        invitation(config, None)?;
    }
    Ok(())
}

fn invitation(config: &AgentConfig, core: Option<&CoreUrl>) -> Result<Invitation, AgentError> {
    let Some(path) = &config.invitation_file else {
        return Err(AgentError::NotInvited(config.state_dir.clone()));
    };
    let text = config::file::read_secret(path).map_err(CredentialsError::from)?;
    let mut invitation: Invitation =
        text.reveal().parse().map_err(|reason| AgentError::Invitation { path: path.clone(), reason })?;
    if let Some(core) = core {
        invitation.core = core.clone();
    }
    Ok(invitation)
}

/// The invitation, if there is one and the certificate was got for another. One that cannot be read is none.
fn unused_invitation(config: &AgentConfig, core: Option<&CoreUrl>) -> Result<Option<Invitation>, CredentialsError> {
    let used = Files::in_state(&config.state_dir).used_invitation()?;
    Ok(invitation(config, core).ok().filter(|invitation| Some(invitation.id) != used))
}
