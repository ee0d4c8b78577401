//! The runtime of every agent: brings up what is kept, dials in, takes jobs, hands them to the target, reports.
//!
//! One task decides; reading the target, connecting and calls of the target run beside it and end with it. It needs
//! the core for nothing but news: kept states are brought up without it, and reports wait for it.

mod approach;
mod call;
mod link;
mod look;
mod tending;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::Tls;
use pki::Clock;
use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{self, JoinSet};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use types::{Epoch, Version};

use self::approach::Opened;
use self::call::call;
use self::link::{Link, LinkEvent};
use self::look::Lookout;
use crate::backoff::{Jitter, backoff};
use crate::cache::{Cache, CacheError};
use crate::core_image::CoreImages;
use crate::credentials::CredentialsError;
use crate::enrol::EnrolError;
use crate::outbox::Outbox;
use crate::proto::{FromAgent, from_core};
use crate::queue::{Offer, Queue};
use crate::{
    Context, CoreUrls, Held, Hello, Job, Object, Observation, Observer, Outcome, PROTOCOL, Reading, Report, Target,
    Want,
};

/// Longest time for calls to end and reports to leave once the agent is to stop.
const DRAIN: Duration = Duration::from_secs(8);
/// Longest time for the last messages to leave.
const FAREWELL: Duration = Duration::from_secs(1);
/// Observations that wait for the agent to take them.
const OBSERVATIONS: usize = 256;
/// What is told of an object that is not what it was made.
const CHANGED: &str = "somebody changed it on the target or took it away: it is made again";
/// Changes with every start of the system (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What every agent's configuration has under the key `agent`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// Where the core's job server is, as in `https://core.example.org:7741`, or those of several cores over one
    /// database, which are tried in turn; the invitation says one too.
    pub core: Option<CoreUrls>,
    /// The file with the invitation, readable by its owner alone; needed until the agent is enrolled.
    pub invitation_file: Option<PathBuf>,
    /// A certificate of another CA, with its key and the CA that the core's certificate comes from. With it the agent
    /// needs no invitation, and whoever made the certificate renews it: files that change are taken up.
    pub tls: Option<Tls>,
    /// The agent's own directory: certificate, key and the last desired states.
    pub state_dir: PathBuf,
}

/// Why an agent stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The state directory cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// What it has to show cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// It has no certificate and cannot get one.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// It cannot hear signals.
    #[error("signals cannot be heard")]
    Signal(#[source] std::io::Error),
    /// It has neither a certificate nor an invitation.
    #[error(
        "this agent is not enrolled: {} holds no certificate, and agent.invitation_file names no invitation \
         (the core makes one: rhyzome admin agent invite)",
        .0.display()
    )]
    NotInvited(PathBuf),
    /// The invitation cannot be read.
    #[error("agent.invitation_file {}: {reason}", .path.display())]
    Invitation {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: types::ParseError,
    },
}

/// Works `target` for the core until the process is told to stop, by SIGTERM or SIGINT: what an agent's `main` does.
pub async fn serve(config: &AgentConfig, software: &str, target: Arc<dyn Target>) -> Result<(), AgentError> {
    let told = |kind| signal(kind).map_err(AgentError::Signal);
    let (mut terminate, mut interrupt) = (told(SignalKind::terminate())?, told(SignalKind::interrupt())?);
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let mut signals = JoinSet::new();
    signals.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop");
        stop.cancel();
    });
    run(config, software, target, shutdown).await
}

/// Works `target` for the core until `shutdown`, which it obeys within ten seconds. `software` is the program's name
/// and version, for people. Ends by itself only where trying again cannot help.
pub async fn run(
    config: &AgentConfig,
    software: &str,
    target: Arc<dyn Target>,
    shutdown: CancellationToken,
) -> Result<(), AgentError> {
    run_by(Clock::system(), config, software, target, shutdown).await
}

/// The same by another clock, which says when certificates end.
pub async fn run_by(
    clock: Clock,
    config: &AgentConfig,
    software: &str,
    target: Arc<dyn Target>,
    shutdown: CancellationToken,
) -> Result<(), AgentError> {
    let cache = Arc::new(Cache::open(&config.state_dir)?);
    approach::check_credentials(config)?;
    let (observer, observations) = Observer::channel(OBSERVATIONS);
    let (connection, images) = watch::channel(None);
    let mut watcher = JoinSet::new();
    watcher.spawn(watch_target(target.clone(), observer));
    let agent = Agent {
        software: software.to_owned(),
        queue: Queue::new(target.batching()),
        outbox: Outbox::default(),
        context: Arc::new(Context { images: Arc::new(CoreImages::new(images)) }),
        connection,
        calls: JoinSet::new(),
        running: HashMap::new(),
        link: Link::new(config.clone(), clock),
        unread: None,
        restoring: None,
        boot: std::fs::read_to_string(BOOT_ID).unwrap_or_default(),
        observations,
        target,
        cache,
    };
    agent.run(shutdown).await
}

/// Watches the target, again after a panic. A target that has nothing to watch may return.
async fn watch_target(target: Arc<dyn Target>, observer: Observer) {
    let mut failures = 0;
    loop {
        let mut watch = JoinSet::new();
        let (target, observer) = (target.clone(), observer.clone());
        watch.spawn(async move { target.watch(observer).await });
        match watch.join_next().await {
            Some(Err(error)) => {
                failures += 1;
                tracing::error!(%error, "watching the target failed");
                sleep(backoff(failures, Jitter::draw())).await;
            }
            Some(Ok(())) | None => return,
        }
    }
}

struct Agent {
    software: String,
    target: Arc<dyn Target>,
    cache: Arc<Cache>,
    queue: Queue,
    outbox: Outbox,
    context: Arc<Context>,
    /// The connection that images are fetched over.
    connection: watch::Sender<Option<Channel>>,
    calls: JoinSet<Vec<Report>>,
    /// The jobs of each call.
    running: HashMap<task::Id, Vec<(Object, Version)>>,
    link: Link,
    /// Why the target could not be read when that was tried last.
    unread: Option<String>,
    /// Kept states that are still to be brought up in this start of the system; none before the target was read.
    restoring: Option<BTreeSet<Object>>,
    boot: String,
    observations: mpsc::Receiver<Observation>,
}

enum Event {
    Shutdown,
    Link(Box<LinkEvent>),
    CallEnded(Result<(task::Id, Vec<Report>), task::JoinError>),
    Observed(Observation),
    MaySpeak(mpsc::OwnedPermit<FromAgent>),
    Time,
}

impl Agent {
    async fn run(mut self, shutdown: CancellationToken) -> Result<(), AgentError> {
        loop {
            self.begin_calls();
            match self.event(&shutdown).await {
                Event::Shutdown => break,
                Event::Link(event) => self.on_link(*event)?,
                Event::CallEnded(ended) => self.on_call_ended(ended),
                Event::Observed(Observation::Status(object, status)) => self.outbox.observe(object, status),
                Event::Observed(Observation::Held(held)) => self.on_held(&held),
                Event::MaySpeak(permit) => {
                    if let Some(message) = self.outbox.pop() {
                        permit.send(message);
                    }
                }
                Event::Time => {}
            }
        }
        if timeout(DRAIN, self.drain()).await.is_err() {
            tracing::warn!("stopped while the target was at work; what it was at is asked for again");
        }
        Ok(())
    }

    /// The next thing that happens. Nothing is lost when it is dropped half way.
    async fn event(&mut self, shutdown: &CancellationToken) -> Event {
        let speaker = self.link.outgoing().filter(|_| !self.outbox.is_empty());
        let wake = self.queue.wake().map(Into::into);
        tokio::select! {
            () = shutdown.cancelled() => Event::Shutdown,
            event = self.link.event() => Event::Link(Box::new(event)),
            Some(ended) = self.calls.join_next_with_id() => Event::CallEnded(ended),
            Some(observation) = self.observations.recv() => Event::Observed(observation),
            permit = may_speak(speaker) => permit.map_or(Event::Link(Box::new(LinkEvent::lost("it was closed"))), Event::MaySpeak),
            () = until(wake) => Event::Time,
        }
    }

    fn begin_calls(&mut self) {
        while let Some(jobs) = self.queue.take(Instant::now()) {
            let named = jobs.iter().map(|job| (job.object, job.version)).collect();
            let work = call(self.target.clone(), self.cache.clone(), self.context.clone(), jobs);
            let id = self.calls.spawn(work).id();
            self.running.insert(id, named);
        }
    }

    fn on_call_ended(&mut self, ended: Result<(task::Id, Vec<Report>), task::JoinError>) {
        let (id, mut reports) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(%error, "the target failed");
                (error.id(), Vec::new())
            }
        };
        let jobs = self.running.remove(&id).unwrap_or_default();
        reports.retain(|report| jobs.contains(&(report.object, report.version)));
        for (object, version) in jobs {
            if !reports.iter().any(|report| report.object == object) {
                reports.push(call::retrying(object, version, "the agent failed and tries again"));
            }
        }
        let outcomes: BTreeMap<Object, Outcome> =
            reports.iter().map(|report| (report.object, report.outcome)).collect();
        self.queue.finish(&outcomes, Instant::now(), Jitter::draw);
        for report in reports {
            log(&report);
            if report.outcome != Outcome::Retrying {
                self.restored(report.object);
            }
            self.outbox.report(report);
        }
    }

    fn on_link(&mut self, event: LinkEvent) -> Result<(), AgentError> {
        match event {
            LinkEvent::Due => self.link.read(self.target.clone()),
            LinkEvent::Looked(looked) => self.on_looked(looked)?,
            LinkEvent::Opened(opened) => self.on_opened(*opened)?,
            LinkEvent::Message(from_core::Body::Job(job)) => match Job::try_from(job) {
                Ok(job) => self.on_job(job),
                Err(error) => tracing::warn!(%error, "the core sent a job that cannot be read"),
            },
            LinkEvent::Message(from_core::Body::Welcome(_)) => tracing::debug!("the core said welcome again"),
            LinkEvent::Failed(failure) => self.link.fail(&failure),
            LinkEvent::Fresh => {
                self.let_go();
                self.link.reopen();
            }
            LinkEvent::Lost { reason } => {
                self.let_go();
                self.link.wait(&reason);
            }
            LinkEvent::Hopeless(error) => return Err(error),
        }
        Ok(())
    }

    /// Takes note that a session is over.
    fn let_go(&mut self) {
        self.connection.send_replace(None);
        self.outbox.connection_lost();
    }

    /// The target was read, or could not be: what is kept is brought up, and then the core is told.
    fn on_looked(&mut self, looked: Result<Reading, String>) -> Result<(), AgentError> {
        // What is said first in a session can be said again in another only.
        self.let_go();
        match &looked {
            Ok(reading) => {
                for held in &reading.held {
                    self.queue.learn(*held);
                }
                if self.restoring.is_none() {
                    self.restore(reading)?;
                }
            }
            Err(reason) => tracing::warn!(reason, "the target cannot be read"),
        }
        self.unread = looked.as_ref().err().cloned();
        let known = self.cache.cluster()?;
        self.link.open(Hello {
            protocol: PROTOCOL,
            software: self.software.clone(),
            features: self.target.features().iter().map(|feature| (*feature).to_owned()).collect(),
            cluster: known.map(|known| known.cluster),
            epoch: known.map_or(Epoch(0), |known| known.epoch),
            reading: looked,
        });
        Ok(())
    }

    /// Offers the kept states that the target lacks; all of them in a fresh start of the system, which may have lost
    /// what does not outlive one.
    fn restore(&mut self, reading: &Reading) -> Result<(), AgentError> {
        let rebooted = self.cache.boot().as_deref() != Some(&self.boot);
        let mut jobs = self.cache.jobs()?;
        jobs.retain(|job| match reading.held.iter().find(|held| held.object == job.object) {
            Some(held) if held.version > job.version => false,
            Some(held) if held.version == job.version => rebooted || matches!(job.want, Want::Gone),
            Some(_) | None => true,
        });
        if !jobs.is_empty() {
            tracing::info!(objects = jobs.len(), rebooted, "bringing up what was desired last");
        }
        self.restoring = Some(jobs.iter().map(|job| job.object).collect());
        jobs.into_iter().for_each(|job| self.on_job(job));
        self.restored_all();
        Ok(())
    }

    /// Somebody may have changed what was made, or taken it away: it is made again, without the core.
    fn on_held(&mut self, held: &[Held]) {
        // Before the target was read for the first time, everything that is kept is brought up anyway.
        if self.restoring.is_none() {
            return;
        }
        let as_made = |object: &Object, version: &Version| {
            held.iter().any(|held| held.object == *object && held.version >= *version)
        };
        for (object, version) in self.cache.versions() {
            if as_made(&object, &version) || !self.queue.is_settled(object) {
                continue;
            }
            match self.cache.job(object) {
                Ok(Some(job)) if matches!(job.want, Want::Desired(_)) => {
                    let report = call::retrying(object, version, CHANGED);
                    log(&report);
                    self.outbox.report(report);
                    self.on_job(job);
                }
                Ok(_) => {}
                Err(error) => tracing::error!(%object, %error, "what it should be cannot be read"),
            }
        }
    }

    fn restored(&mut self, object: Object) {
        if self.restoring.as_mut().is_some_and(|restoring| restoring.remove(&object)) {
            self.restored_all();
        }
    }

    fn restored_all(&self) {
        if self.restoring.as_ref().is_none_or(|restoring| !restoring.is_empty()) {
            return;
        }
        if let Err(error) = self.cache.remember_boot(&self.boot) {
            tracing::error!(%error, "everything is brought up again at the next start");
        }
    }

    fn on_opened(&mut self, opened: Opened) -> Result<(), AgentError> {
        let welcome = opened.session.welcome;
        let known = self.cache.cluster()?;
        if let Some(known) = known {
            if known.cluster != welcome.cluster {
                let reason = format!("the core is of cluster {}, this agent of {}", welcome.cluster, known.cluster);
                self.link.wait(&reason);
                return Ok(());
            }
            if welcome.epoch < known.epoch {
                let reason = format!("the core is at epoch {}, this agent has seen {}", welcome.epoch, known.epoch);
                self.link.wait(&reason);
                return Ok(());
            }
        }
        if known != Some(welcome) {
            self.cache.remember(&welcome)?;
        }
        tracing::info!(cluster = %welcome.cluster, epoch = %welcome.epoch, "connected to the core");
        self.connection.send_replace(Some(opened.session.channel.clone()));
        let lookout = match &self.unread {
            Some(reason) => Lookout::for_unread(self.target.clone(), reason.clone()),
            None => Lookout::for_readable(),
        };
        self.link.up(opened, lookout);
        Ok(())
    }

    fn on_job(&mut self, job: Job) {
        let lacking = job.requires.iter().find(|feature| !self.target.features().contains(&feature.as_str()));
        if let Some(feature) = lacking {
            let report = Report::refused(&job, format!("this agent lacks the feature {feature:?}"));
            return self.refuse(report);
        }
        let (object, version) = (job.object, job.version);
        let stale = Report::refused(&job, "");
        match self.queue.offer(job, Instant::now()) {
            Offer::Taken => tracing::debug!(%object, %version, "took a job"),
            Offer::Known => tracing::debug!(%object, %version, "a job is known already"),
            Offer::Older { newest } => {
                let reason = Some(format!("version {version} is older than {newest}, which is here"));
                self.refuse(Report { reason, ..stale });
            }
        }
    }

    fn refuse(&mut self, report: Report) {
        log(&report);
        self.restored(report.object);
        self.outbox.report(report);
    }

    /// Lets calls end, says what is still to be said, and hangs up.
    async fn drain(&mut self) {
        while let Some(ended) = self.calls.join_next_with_id().await {
            self.on_call_ended(ended);
        }
        let Some(outgoing) = self.link.outgoing() else { return };
        while let Some(message) = self.outbox.pop() {
            if outgoing.send(message).await.is_err() {
                return;
            }
        }
        drop(outgoing);
        // The core ends its half when it has heard everything.
        let _ = timeout(FAREWELL, self.link.hang_up()).await;
    }
}

async fn may_speak(outgoing: Option<mpsc::Sender<FromAgent>>) -> Option<mpsc::OwnedPermit<FromAgent>> {
    match outgoing {
        Some(outgoing) => outgoing.reserve_owned().await.ok(),
        None => std::future::pending().await,
    }
}

async fn until(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn log(report: &Report) {
    let (object, version) = (report.object, report.version);
    let reason = report.reason.as_deref().unwrap_or_default();
    match report.outcome {
        Outcome::Applied => tracing::info!(%object, %version, "applied"),
        Outcome::Retrying => tracing::warn!(%object, %version, reason, "not applied yet"),
        Outcome::Refused => tracing::warn!(%object, %version, reason, "refused"),
    }
}
