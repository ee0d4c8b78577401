//! What is done about the certificate while there is a session: it is renewed when that is due, and one that somebody
//! else put into its place is noticed.

use std::sync::Arc;
use std::time::Duration;

use pki::{AgentIdentity, Clock, Fingerprint, KeyedCertificate};
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tonic::transport::Channel;

use super::AgentConfig;
use super::approach::load;
use crate::backoff::Jitter;
use crate::credentials::Credentials;
use crate::renewal::{self, RenewalError};

/// How often the clock and the files are looked at: a clock may be set, and files may be replaced.
const LOOK: Duration = Duration::from_secs(5);

/// What came of it.
pub(super) enum Upkeep {
    /// There is a certificate that the session was not opened with.
    Fresh,
}

pub(super) struct Tending {
    config: Arc<AgentConfig>,
    clock: Clock,
    identity: AgentIdentity,
    shown: Fingerprint,
    due: OffsetDateTime,
    channel: Channel,
    renewal: JoinSet<Result<KeyedCertificate, RenewalError>>,
    failures: u32,
    not_before: Instant,
    look: Instant,
}

impl Tending {
    /// Looks after the certificate of a session over `channel`.
    pub(super) fn begin(
        config: Arc<AgentConfig>,
        clock: Clock,
        jitter: Jitter,
        credentials: &Credentials,
        channel: Channel,
    ) -> Self {
        Self {
            config,
            clock,
            identity: credentials.identity,
            shown: credentials.fingerprint(),
            due: renewal::due(credentials.certificate.facts(), jitter),
            channel,
            renewal: JoinSet::new(),
            failures: 0,
            not_before: Instant::now(),
            look: Instant::now() + LOOK,
        }
    }

    /// What comes of it next; may be dropped and asked for again.
    pub(super) async fn next(&mut self) -> Upkeep {
        loop {
            if self.renewal.is_empty() && self.is_due() {
                let (channel, identity, config) = (self.channel.clone(), self.identity, self.config.clone());
                self.renewal.spawn(async move { renewal::renew(channel, &identity, &config.state_dir).await });
            }
            tokio::select! {
                Some(done) = self.renewal.join_next() => match done {
                    Ok(Ok(_)) => return Upkeep::Fresh,
                    Ok(Err(error)) => self.postpone(&error),
                    Err(error) => self.postpone(&error),
                },
                () = sleep_until(self.look) => {
                    self.look = Instant::now() + LOOK;
                    // Half of a pair that is being replaced is not there yet.
                    let there = load(&self.config).ok().flatten();
                    if there.is_some_and(|there| there.fingerprint() != self.shown) {
                        return Upkeep::Fresh;
                    }
                }
            }
        }
    }

    fn is_due(&self) -> bool {
        self.config.tls.is_none() && self.clock.now() >= self.due && Instant::now() >= self.not_before
    }

    fn postpone(&mut self, error: &(dyn std::error::Error + 'static)) {
        self.failures = self.failures.saturating_add(1);
        let pause = renewal::pause(self.failures, Jitter::draw());
        self.not_before = Instant::now() + pause;
        tracing::warn!(%error, attempt = self.failures, retry_s = pause.as_secs(), "the certificate is not renewed yet");
    }
}
