//! The way to the core: read the target, connect, greet, listen, and after a while again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::{AgentConfig, AgentError};
use crate::backoff::{Jitter, backoff};
use crate::connection::connect;
use crate::enrol::{self, EnrolError, Enrolled};
use crate::proto::{FromAgent, FromCore, from_core};
use crate::session::{self, Session};
use crate::{Held, Hello, Invitation, Target, observed};

/// Longest time for the target to say what it holds.
const READ: Duration = Duration::from_secs(60);

/// What was read from the target before a session.
pub(super) struct Reading {
    pub held: Vec<Held>,
    pub capacity: observed::Capacity,
}

/// What happens on the way to the core.
pub(super) enum LinkEvent {
    /// It is time to begin.
    Due,
    /// The target said what it holds.
    Read(Reading),
    /// The core said welcome.
    Opened(Box<Session>),
    /// The core said something.
    Message(from_core::Body),
    /// There will be no session this time.
    Failed { reason: String },
    /// The session is over.
    Lost { reason: String },
    /// There will be none, ever.
    Hopeless(AgentError),
}

impl LinkEvent {
    pub(super) fn lost(reason: &str) -> Self {
        Self::Lost { reason: reason.to_owned() }
    }
}

pub(super) struct Link {
    config: Arc<AgentConfig>,
    state: State,
    failures: u32,
}

enum State {
    Waiting(Instant),
    Busy(JoinSet<LinkEvent>),
    Up(Box<Session>),
}

impl Link {
    pub(super) fn new(config: AgentConfig) -> Self {
        Self { config: Arc::new(config), state: State::Waiting(Instant::now()), failures: 0 }
    }

    /// The next event; may be dropped and asked for again.
    pub(super) async fn event(&mut self) -> LinkEvent {
        match &mut self.state {
            State::Waiting(until) => {
                sleep_until(*until).await;
                LinkEvent::Due
            }
            State::Busy(task) => match task.join_next().await {
                Some(Ok(event)) => event,
                Some(Err(error)) => LinkEvent::Failed { reason: error.to_string() },
                None => LinkEvent::Failed { reason: "nothing was begun".to_owned() },
            },
            State::Up(session) => loop {
                match session.incoming.message().await {
                    Ok(Some(FromCore { body: Some(body) })) => return LinkEvent::Message(body),
                    // A kind of message that later versions have.
                    Ok(Some(FromCore { body: None })) => {}
                    Ok(None) => return LinkEvent::lost("the core hung up"),
                    Err(status) => return LinkEvent::lost(&format!("{} ({})", status.message(), status.code())),
                }
            },
        }
    }

    /// What takes messages to the core, while there is a session.
    pub(super) fn outgoing(&self) -> Option<mpsc::Sender<FromAgent>> {
        match &self.state {
            State::Up(session) => Some(session.outgoing.clone()),
            State::Waiting(_) | State::Busy(_) => None,
        }
    }

    /// Reads the target.
    pub(super) fn read(&mut self, target: Arc<dyn Target>) {
        self.begin(async move {
            let reading = async {
                Ok::<_, anyhow::Error>(Reading { held: target.held().await?, capacity: target.capacity().await })
            };
            match timeout(READ, reading).await {
                Ok(Ok(reading)) => LinkEvent::Read(reading),
                Ok(Err(error)) => LinkEvent::Failed { reason: format!("the target cannot be read: {error:#}") },
                Err(_) => LinkEvent::Failed { reason: format!("reading the target took over {} s", READ.as_secs()) },
            }
        });
    }

    /// Enrols where that is still to be done, connects and greets.
    pub(super) fn open(&mut self, hello: Hello) {
        let config = self.config.clone();
        self.begin(async move { open(&config, hello).await });
    }

    /// Takes note that there is a session.
    pub(super) fn up(&mut self, session: Session) {
        self.failures = 0;
        self.state = State::Up(Box::new(session));
    }

    /// Tries again after a while.
    pub(super) fn wait(&mut self, reason: &str) {
        self.failures = self.failures.saturating_add(1);
        let pause = backoff(self.failures, Jitter::draw());
        let retry_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(reason, attempt = self.failures, retry_ms, "not connected to the core");
        self.state = State::Waiting(Instant::now() + pause);
    }

    /// Says nothing more and waits for the core to end.
    pub(super) async fn hang_up(&mut self) {
        let State::Up(session) = &mut self.state else { return };
        // Dropping the sender ends our half; a closed one stands in for it.
        session.outgoing = mpsc::channel(1).0;
        while let Ok(Some(_)) = session.incoming.message().await {}
    }

    fn begin(&mut self, work: impl Future<Output = LinkEvent> + Send + 'static) {
        let mut task = JoinSet::new();
        task.spawn(work);
        self.state = State::Busy(task);
    }
}

/// Refuses an agent that has neither a certificate nor an invitation, before anything else is done.
pub(super) fn check_credentials(config: &AgentConfig) -> Result<(), AgentError> {
    if enrol::load(&config.state_dir)?.is_none() {
        invitation(config)?;
    }
    Ok(())
}

fn invitation(config: &AgentConfig) -> Result<Invitation, AgentError> {
    let Some(path) = &config.invitation_file else {
        return Err(AgentError::NotInvited(config.state_dir.clone()));
    };
    let text = config::file::read_secret(path).map_err(EnrolError::from)?;
    text.reveal().parse().map_err(|reason| AgentError::Invitation { path: path.clone(), reason })
}

async fn open(config: &AgentConfig, hello: Hello) -> LinkEvent {
    let enrolled = match credentials(config).await {
        Ok(enrolled) => enrolled,
        Err(AgentError::Enrol(error)) if error.may_pass() => return LinkEvent::Failed { reason: error.to_string() },
        Err(error) => return LinkEvent::Hopeless(error),
    };
    let Enrolled { identity, certificate, ca, core } = enrolled;
    if certificate.facts().wants_renewal(SystemTime::now().into()) {
        tracing::warn!(until = %certificate.facts().not_after, "this agent's certificate expires soon");
    }
    let core = config.core.as_ref().unwrap_or(&core);
    let channel = match connect(core, &ca, Some(certificate)).await {
        Ok(channel) => channel,
        Err(error) => return LinkEvent::Failed { reason: error.to_string() },
    };
    match session::open(channel, hello).await {
        Ok(session) if session.welcome.cluster != identity.cluster => LinkEvent::Failed {
            reason: format!("the core is of cluster {}, this agent of {}", session.welcome.cluster, identity.cluster),
        },
        Ok(session) => LinkEvent::Opened(Box::new(session)),
        Err(error) => LinkEvent::Failed { reason: error.to_string() },
    }
}

/// The certificate on disk, or else one that the invitation is good for. Read each time, as it may be renewed.
async fn credentials(config: &AgentConfig) -> Result<Enrolled, AgentError> {
    if let Some(enrolled) = enrol::load(&config.state_dir)? {
        return Ok(enrolled);
    }
    let mut invitation = invitation(config)?;
    if let Some(core) = &config.core {
        invitation.core = core.clone();
    }
    Ok(enrol::enrol(&invitation, &config.state_dir).await?)
}
