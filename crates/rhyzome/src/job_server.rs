//! The server that agents dial: it enrols them, sends them their targets' jobs, and keeps what they report.

mod admission;
mod enrolment;
mod observation;
pub mod report;
mod roll;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use jobs::listener::{AgentTls, incoming};
use jobs::proto::enrolment_server::EnrolmentServer;
use jobs::proto::jobs_server::{Jobs, JobsServer};
use jobs::proto::{FromAgent, FromCore, ImageChunk, ImageRequest, from_agent, from_core};
use jobs::understood::{self, NotUnderstood};
use jobs::{Held, Hello, Job, Object, Outcome, Report, Want, Welcome, proto, secret_field};
use pki::AgentIdentity;
use store::{Caller, JobRow, NewConnection, StoreError};
use time::OffsetDateTime;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use types::{Sha256Digest, Version};

use self::admission::Admission;
use self::roll::{Ended, Place, Roll};
use crate::core::Core;
use crate::image_file;

/// Messages on their way to one agent.
const OUTGOING: usize = 64;
/// Bytes of an image in one message.
const CHUNK: usize = 64 << 10;
/// How often the database is looked at without a hint.
const POLL: std::time::Duration = std::time::Duration::from_secs(5);
/// How often an agent's connection is probed.
const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(10);

/// Serves agents on `listener` until `shutdown`.
pub async fn serve(
    core: Arc<Core>,
    listener: TcpListener,
    tls: watch::Receiver<Arc<AgentTls>>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let (admission, roll) = (Arc::new(Admission::new(Arc::clone(&core))), Arc::new(Roll::default()));
    let mut tasks = JoinSet::new();
    tasks.spawn(roll::strike_revoked(Arc::clone(&core), Arc::clone(&roll)));
    let connections = incoming(listener, tls, core.clock.clone());
    let attendances = TaskTracker::new();
    let server = Server { core, admission, roll, shutdown: shutdown.clone(), attendances: attendances.clone() };
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .add_service(EnrolmentServer::new(server.clone()))
        .add_service(JobsServer::new(server))
        .serve_with_incoming_shutdown(connections, shutdown.cancelled())
        .await?;
    attendances.close();
    attendances.wait().await;
    Ok(())
}

#[derive(Clone)]
struct Server {
    core: Arc<Core>,
    admission: Arc<Admission>,
    roll: Arc<Roll>,
    shutdown: CancellationToken,
    attendances: TaskTracker,
}

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Jobs for Server {
    type SessionStream = Outgoing<FromCore>;
    type FetchImageStream = Outgoing<ImageChunk>;

    async fn session(&self, request: Request<Streaming<FromAgent>>) -> Result<Response<Self::SessionStream>, Status> {
        let (identity, until) = self.admission.admit(&request).await?;
        let mut incoming = request.into_inner();
        let hello = read_hello(&mut incoming).await?;
        let installation = self.core.store.installation();
        if hello.cluster.is_some_and(|cluster| cluster != installation.cluster) {
            return Err(Status::failed_precondition("the agent works for another installation"));
        }
        let reading = hello.reading.as_ref();
        let capacity = reading.map(|reading| serde_json::to_value(&reading.capacity).unwrap_or_default());
        let connection = NewConnection {
            replica: self.core.replica,
            protocol: hello.protocol,
            software: &hello.software,
            features: &hello.features,
            certificate_until: i64::try_from(until.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX),
            capacity: capacity.as_ref().map_err(|reason| reason.as_str()),
        };
        let named = |held: &Held| (held.object.to_string(), held.version);
        let held: Option<BTreeMap<String, Version>> =
            reading.ok().map(|reading| reading.held.iter().map(named).collect());
        let number = store::transact!(self.core.store, async |session| -> Result<i64, StoreError> {
            let number = session.connect_agent(identity.agent, connection).await?;
            if let Some(held) = &held {
                session.note_inventory(identity.target, held).await?;
            }
            Ok(number)
        })
        .await
        .map_err(internal)?;
        if let Err(reason) = reading {
            tracing::warn!(agent = %identity.agent, target = %identity.target, reason, "an agent cannot read its target");
        }
        tracing::info!(agent = %identity.agent, target = %identity.target, software = hello.software, protocol = hello.protocol, "an agent connected");
        let (sender, receiver) = mpsc::channel(OUTGOING);
        let attendance = Attendance {
            core: Arc::clone(&self.core),
            identity,
            protocol: hello.protocol,
            until,
            number,
            place: self.roll.enter(&identity, number),
            sender,
            held: held.map(Arc::new),
            compared: false,
            sent: BTreeMap::new(),
            hints: self.core.signals.hear_jobs(identity.target),
        };
        self.core.signals.came(identity.target);
        self.attendances.spawn(attendance.run(incoming, self.shutdown.clone()));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn fetch_image(&self, request: Request<ImageRequest>) -> Result<Response<Self::FetchImageStream>, Status> {
        let (identity, _) = self.admission.admit(&request).await?;
        let sha256: Sha256Digest = request
            .into_inner()
            .sha256
            .parse()
            .map_err(|error: types::ParseError| Status::invalid_argument(error.to_string()))?;
        let mut session = self.core.store.read().await.map_err(internal)?;
        let jobs = session.jobs_of_target(&Caller::core(), identity.target).await.map_err(internal)?;
        let named = sha256.to_string();
        let needed = jobs.iter().filter_map(|job| job.desired.as_ref()).any(|desired| {
            let of_image = desired["content"]["sha256"].as_str();
            let of_instance = desired["image"]["sha256"].as_str();
            of_image == Some(&named) || of_instance == Some(&named)
        });
        if !needed {
            return Err(Status::not_found("no job of this target needs that image"));
        }
        let file = tokio::fs::File::open(image_file::path(&self.core.images, sha256))
            .await
            .map_err(|error| Status::unavailable(format!("the image cannot be read: {error}")))?;
        let stream = futures_util::stream::try_unfold(file, |mut file| async move {
            let mut data = vec![0; CHUNK];
            let read = file.read(&mut data).await.map_err(|error| Status::data_loss(error.to_string()))?;
            data.truncate(read);
            Ok((read > 0).then_some((ImageChunk { data }, file)))
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

async fn read_hello(incoming: &mut Streaming<FromAgent>) -> Result<Hello, Status> {
    let expected = || Status::invalid_argument("the first message must be Hello");
    let message = incoming.message().await?.and_then(|message| message.body).ok_or_else(expected)?;
    let from_agent::Body::Hello(hello) = message else { return Err(expected()) };
    let hello = Hello::try_from(hello).map_err(|error| Status::invalid_argument(error.to_string()))?;
    match hello.protocol {
        jobs::OLDEST_PROTOCOL..=jobs::PROTOCOL => Ok(hello),
        other => Err(Status::failed_precondition(format!(
            "the agent ({}) speaks version {other} of the job protocol, the core versions {} to {}: upgrade the older \
             of the two programs",
            hello.software,
            jobs::OLDEST_PROTOCOL,
            jobs::PROTOCOL
        ))),
    }
}

/// A report that stands in for an agent that could not make it.
fn refused(object: Object, version: Version, reason: String) -> Report {
    Report { object, version, outcome: Outcome::Refused, reason: Some(reason), entries: BTreeMap::new(), status: None }
}

fn internal(error: StoreError) -> Status {
    tracing::error!(error = format!("{:#}", anyhow::Error::new(error)), "an agent's request failed inside");
    Status::internal("the core failed: its log has the cause")
}

/// Whether a target that held this held an object as it should.
fn is_held(held: &BTreeMap<String, Version>, row: &JobRow) -> bool {
    match (&row.desired, held.get(&row.object)) {
        (Some(_), Some(version)) => *version == row.version && row.is_confirmed(),
        (None, None) => row.is_confirmed(),
        _ => false,
    }
}

/// One agent's session from its welcome to its end.
struct Attendance {
    core: Arc<Core>,
    identity: AgentIdentity,
    /// The version of the protocol that the session is held in.
    protocol: u32,
    /// The last moment of the certificate that it was opened with.
    until: OffsetDateTime,
    number: i64,
    /// Its place among the sessions of this process.
    place: Place,
    sender: mpsc::Sender<Result<FromCore, Status>>,
    /// What the target held when it connected; unknown where the agent could not read it.
    held: Option<Arc<BTreeMap<String, Version>>>,
    /// Whether that was held against what it should have.
    compared: bool,
    /// The version of each object that was sent last.
    sent: BTreeMap<String, Version>,
    hints: watch::Receiver<()>,
}

impl Attendance {
    async fn run(mut self, incoming: Streaming<FromAgent>, shutdown: CancellationToken) {
        let end = self.place.ended();
        let ended = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            why = end => self.dismiss(why),
            ended = self.attend(incoming) => ended,
        };
        // The database may tell of the same before the roll does.
        let ended = match ended {
            Err(error) if matches!(error.downcast_ref(), Some(StoreError::Fenced)) => self.explain_fence().await,
            ended => ended,
        };
        if let Err(error) = ended {
            tracing::warn!(agent = %self.identity.agent, error = format!("{error:#}"), "an agent's session broke off");
        }
        if let Err(error) = self.leave().await {
            tracing::warn!(agent = %self.identity.agent, %error, "the end of a session was not noted");
        }
        tracing::info!(agent = %self.identity.agent, target = %self.identity.target, "an agent left");
        self.core.signals.left(self.identity.target);
    }

    /// Ends the session with a word to the agent, as far as it listens.
    fn dismiss(&self, why: Ended) -> anyhow::Result<()> {
        let _ = self.sender.try_send(Err(why.status()));
        anyhow::bail!("{why}")
    }

    /// Ends a session that the database takes nothing from any more.
    async fn explain_fence(&self) -> anyhow::Result<()> {
        let standing = self.core.store.read().await?.standing(self.identity.agent).await?;
        match standing.is_some_and(|standing| !standing.revoked) {
            true => self.dismiss(Ended::Superseded),
            false => self.dismiss(Ended::Revoked),
        }
    }

    async fn leave(&self) -> Result<(), StoreError> {
        let (agent, number) = (self.identity.agent, self.number);
        store::transact!(self.core.store, async |session| session.disconnect_agent(agent, number).await).await
    }

    async fn attend(&mut self, mut incoming: Streaming<FromAgent>) -> anyhow::Result<()> {
        let installation = self.core.store.installation();
        let welcome = Welcome { cluster: installation.cluster, epoch: installation.epoch };
        self.send(from_core::Body::Welcome(jobs::convert::welcome(welcome, self.protocol))).await?;
        self.send_wanted().await?;
        let mut poll = tokio::time::interval(POLL);
        loop {
            tokio::select! {
                message = incoming.next() => match message {
                    Some(message) => self.take(message?).await?,
                    None => return Ok(()),
                },
                Ok(()) = self.hints.changed() => self.send_wanted().await?,
                _ = poll.tick() => {
                    if self.core.clock.now() > self.until {
                        return self.dismiss(Ended::Expired);
                    }
                    self.core.store.read().await?.guard_agent(self.identity.agent, self.number).await?;
                    self.send_wanted().await?;
                }
            }
        }
    }

    /// Sends what the target is to be told: the first time all in which it differs, then what it has not answered.
    /// Nothing while the installation is paused, nor to an agent that could not read its target: what is missing there
    /// is not known.
    async fn send_wanted(&mut self) -> anyhow::Result<()> {
        let Some(held) = self.held.clone() else { return Ok(()) };
        let caller = Caller::core();
        let mut session = self.core.store.read().await?;
        session.guard_agent(self.identity.agent, self.number).await?;
        if session.paused().await?.is_some() {
            return Ok(());
        }
        let rows = match self.compared {
            false => session.jobs_of_target(&caller, self.identity.target).await?,
            true => session.unanswered_jobs(&caller, self.identity.target).await?,
        };
        drop(session);
        let first = !std::mem::replace(&mut self.compared, true);
        if first {
            for object in held.keys().filter(|object| !rows.iter().any(|row| row.object == **object)) {
                tracing::warn!(target = %self.identity.target, object, "a target holds what the database does not know: see rhyzome admin orphans list");
            }
        }
        for row in rows {
            let send = match first {
                true => !is_held(&held, &row),
                false => self.sent.get(&row.object) != Some(&row.version),
            };
            if !send {
                continue;
            }
            let (object, version) = (row.object.clone(), row.version);
            match self.message(row).await {
                Ok(job) => self.send(from_core::Body::Job(job)).await?,
                Err(error) if matches!(error.downcast_ref(), Some(StoreError::Fenced)) => return Err(error),
                Err(error) if error.is::<NotUnderstood>() => {
                    self.keep_report(refused(object.parse()?, version, error.to_string())).await?;
                }
                Err(error) => {
                    tracing::error!(target = %self.identity.target, object, error = format!("{error:#}"), "a job cannot be sent");
                }
            }
            self.sent.insert(object, version);
        }
        Ok(())
    }

    /// The message that tells a job, with its secrets.
    async fn message(&self, row: JobRow) -> anyhow::Result<proto::Job> {
        let object: Object = row.object.parse()?;
        let want = match row.desired {
            None => Want::Gone,
            Some(mut desired) => {
                if self.protocol == 1 {
                    understood::for_version_one(object, &mut desired)?;
                }
                let mut secrets = BTreeMap::new();
                let mut session = self.core.store.read().await?;
                session.guard_agent(self.identity.agent, self.number).await?;
                for id in secret_field::references(&desired) {
                    secrets.insert(id, session.secret(&Caller::core(), id).await?);
                }
                let lookup = |id| secrets.get(&id).map(|secret| secret.reveal().to_owned());
                secret_field::resolve(&mut desired, &lookup)
                    .map_err(|id| anyhow::anyhow!("secret {id} of {object} is missing"))?;
                Want::Desired(desired.to_string())
            }
        };
        Ok(proto::Job::from(Job { object, version: row.version, requires: row.requires, want }))
    }

    async fn send(&self, body: from_core::Body) -> anyhow::Result<()> {
        Ok(self.sender.send(Ok(FromCore { body: Some(body) })).await?)
    }

    async fn take(&mut self, message: FromAgent) -> anyhow::Result<()> {
        match message.body {
            Some(from_agent::Body::Report(report)) => self.keep_report(Report::try_from(report)?).await,
            Some(from_agent::Body::Observation(observation)) => {
                let (object, status) = jobs::convert::read_observation(&observation)?;
                self.observe(object, &status).await
            }
            Some(from_agent::Body::Hello(_)) | None => anyhow::bail!("a message out of place"),
        }
    }

    async fn keep_report(&mut self, report: Report) -> anyhow::Result<()> {
        let object = report.object;
        let whole = self.try_report(&report).await;
        if let (Err(StoreError::Corrupt { detail, .. }), true) = (&whole, report.status.is_some()) {
            tracing::warn!(target = %self.identity.target, object = %report.object, detail, "what was observed cannot be read");
            self.try_report(&Report { status: None, ..report }).await?;
        } else {
            whole?;
        }
        self.core.signals.reported(self.identity.target, object);
        self.core.signals.event();
        Ok(())
    }

    async fn try_report(&self, report: &Report) -> Result<(), StoreError> {
        store::transact_in_background!(self.core.store, async |session| -> Result<(), StoreError> {
            session.guard_agent(self.identity.agent, self.number).await?;
            report::keep(&self.core, session, self.identity.target, report).await
        })
        .await
    }

    async fn observe(&mut self, object: Object, status: &serde_json::Value) -> anyhow::Result<()> {
        let (core, target) = (&self.core, self.identity.target);
        let noted = store::transact_in_background!(core.store, async |session| -> Result<(), StoreError> {
            session.guard_agent(self.identity.agent, self.number).await?;
            observation::note_status(session, core, target, object, status).await
        })
        .await;
        match noted {
            Err(StoreError::Corrupt { detail, .. }) => {
                tracing::warn!(%target, %object, detail, "what was observed cannot be read");
                return Ok(());
            }
            noted => noted?,
        }
        self.core.signals.event();
        Ok(())
    }
}
