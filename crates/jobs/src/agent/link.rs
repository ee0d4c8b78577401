//! The way to the core: read the target, connect, greet, listen, and after a while again. A target that cannot be read
//! keeps the agent from its work and not from the core, which is to know why.

use std::sync::Arc;

use pki::Clock;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::approach::{Approach, Failure, Opened};
use super::look::{Lookout, look};
use super::tending::{Tending, Upkeep};
use super::{AgentConfig, AgentError};
use crate::backoff::{Jitter, backoff_to_core};
use crate::proto::{FromAgent, FromCore, from_core};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::{Hello, Reading, Target};

/// What happens on the way to the core.
pub(super) enum LinkEvent {
    /// It is time to begin.
    Due,
    /// The target said what it holds, or why it did not.
    Looked(Result<Reading, String>),
    /// The core said welcome.
    Opened(Box<Opened>),
    /// The core said something.
    Message(from_core::Body),
    /// There will be no session this time.
    Failed(Failure),
    /// There is a certificate that the session was not opened with.
    Fresh,
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
    clock: Clock,
    state: State,
    failures: u32,
    /// What the core held against the certificate in the last try.
    refused: Option<Refusal>,
    /// This agent's place among those whose certificates end at the same time.
    jitter: Jitter,
}

enum State {
    Waiting(Instant),
    Busy(JoinSet<LinkEvent>),
    Up(Box<Session>, Box<Tending>, Lookout),
}

impl Link {
    pub(super) fn new(config: AgentConfig, clock: Clock) -> Self {
        let (state, jitter) = (State::Waiting(Instant::now()), Jitter::draw());
        Self { config: Arc::new(config), clock, state, failures: 0, refused: None, jitter }
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
                Some(Err(error)) => LinkEvent::Failed(Failure::passing(error)),
                None => LinkEvent::Failed(Failure::passing("nothing was begun")),
            },
            State::Up(session, tending, lookout) => loop {
                let said = tokio::select! {
                    said = session.incoming.message() => said,
                    Upkeep::Fresh = tending.next() => return LinkEvent::Fresh,
                    looked = lookout.next() => return LinkEvent::Looked(looked),
                };
                match said {
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
            State::Up(session, ..) => Some(session.outgoing.clone()),
            State::Waiting(_) | State::Busy(_) => None,
        }
    }

    /// Reads the target.
    pub(super) fn read(&mut self, target: Arc<dyn Target>) {
        self.begin(async move { LinkEvent::Looked(look(target.as_ref()).await) });
    }

    /// Enrols or renews where that is to be done, connects and greets.
    pub(super) fn open(&mut self, hello: Hello) {
        let approach = Approach {
            config: self.config.clone(),
            clock: self.clock.clone(),
            jitter: self.jitter,
            refused: self.refused,
        };
        self.begin(async move { approach.open(hello).await });
    }

    /// Takes note that there is a session. One without the target lasts until there is something else to say of that.
    pub(super) fn up(&mut self, opened: Opened, lookout: Lookout) {
        let Opened { session, credentials } = opened;
        (self.failures, self.refused) = (0, None);
        let tending =
            Tending::begin(self.config.clone(), self.clock.clone(), self.jitter, &credentials, session.channel.clone());
        self.state = State::Up(Box::new(session), Box::new(tending), lookout);
    }

    /// Opens another session at once.
    pub(super) fn reopen(&mut self) {
        tracing::info!("there is a fresh certificate: opening another session");
        self.jitter = Jitter::draw();
        self.state = State::Waiting(Instant::now());
    }

    /// Tries again after a while.
    pub(super) fn fail(&mut self, failure: &Failure) {
        self.refused = failure.refusal;
        self.wait(&failure.reason);
    }

    /// Tries again after a while.
    pub(super) fn wait(&mut self, reason: &str) {
        self.failures = self.failures.saturating_add(1);
        let pause = backoff_to_core(self.failures, Jitter::draw());
        let retry_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(reason, attempt = self.failures, retry_ms, "not connected to the core");
        self.state = State::Waiting(Instant::now() + pause);
    }

    /// Says nothing more and waits for the core to end.
    pub(super) async fn hang_up(&mut self) {
        let State::Up(session, ..) = &mut self.state else { return };
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
