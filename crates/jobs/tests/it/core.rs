//! A core in a runtime of its own, so that it can be killed: invitations, jobs by object, and what it was told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::Stream;
use jobs::convert::read_observation;
use jobs::listener::{AgentTls, Peer, incoming};
use jobs::proto::{
    EnrolReply, EnrolRequest, FromAgent, FromCore, ImageChunk, ImageRequest, Job as WireJob, RenewReply, RenewRequest,
    enrolment_server, from_agent, from_core, jobs_server,
};
use jobs::{Hello, Invitation, Job, Object, Outcome, PROTOCOL, Refusal, Report, Welcome, convert};
use pki::{AgentIdentity, Authority, Clock, KeyedCertificate, ServerName, Shown, requested_key_digest};
use time::OffsetDateTime;
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use types::{AgentId, ClusterId, Epoch, InvitationId, SecretText, Sha256Digest, TargetId, Version};

/// What outlives a restart of the core.
pub struct Core {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    authority: Authority,
    /// How far the clock of core and agent is ahead of the machine's.
    ahead: Arc<Mutex<time::Duration>>,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

pub struct State {
    pub welcome: Welcome,
    pub image: Option<(Sha256Digest, Vec<u8>)>,
    pub hellos: Vec<Hello>,
    pub reports: Vec<Report>,
    pub observations: Vec<(Object, serde_json::Value)>,
    /// Whom certificates were renewed for.
    pub renewals: Vec<AgentIdentity>,
    /// Renewals that still fail.
    pub renewal_failures: u32,
    /// Why every certificate is refused, if it is.
    pub refusal: Option<Refusal>,
    /// The version of the protocol that the core says it speaks.
    pub protocol: u32,
    /// Which sessions were opened, by the last moment of their certificates.
    pub sessions: Vec<OffsetDateTime>,
    jobs: BTreeMap<Object, WireJob>,
    invitations: BTreeMap<InvitationId, Option<Sha256Digest>>,
    session: Option<mpsc::Sender<Result<FromCore, Status>>>,
}

impl State {
    pub fn said(&self, object: Object, version: Version, outcome: Outcome) -> bool {
        let same = |report: &Report| (report.object, report.version, report.outcome) == (object, version, outcome);
        self.reports.iter().any(same)
    }
}

impl Core {
    /// A core on a free port of loopback.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::init(&dir.path().join("ca"), OffsetDateTime::now_utc()).unwrap();
        let state = State {
            welcome: Welcome { cluster: ClusterId::from_bits(1), epoch: Epoch(1) },
            image: None,
            hellos: Vec::new(),
            reports: Vec::new(),
            observations: Vec::new(),
            renewals: Vec::new(),
            renewal_failures: 0,
            refusal: None,
            protocol: PROTOCOL,
            sessions: Vec::new(),
            jobs: BTreeMap::new(),
            invitations: BTreeMap::new(),
            session: None,
        };
        let (state, changed) = (Mutex::new(state), watch::Sender::new(()));
        let shared = Arc::new(Shared { authority, ahead: Arc::default(), state, changed });
        let mut core = Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), shared, runtime: None };
        core.serve();
        core
    }

    /// Ends all of it at once, connections included.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // In a thread of its own, as a runtime must not be waited for inside another.
            std::thread::spawn(move || runtime.shutdown_timeout(crate::PATIENCE)).join().unwrap();
            self.state().session = None;
        }
    }

    /// Serves again on the same port.
    pub fn serve(&mut self) {
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let issued = self.shared.authority.issue_server(&[name], OffsetDateTime::now_utc(), 30).unwrap();
        let own = KeyedCertificate::from_pem(&issued.certificate_pem, &issued.key_pem).unwrap();
        let tls = AgentTls::new(own, &self.shared.authority.roots().unwrap(), None).unwrap();
        let (tls, clock) = (watch::Sender::new(Arc::new(tls)).subscribe(), self.clock());
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        let listener = socket.listen(64).unwrap();
        self.address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(enrolment_server::EnrolmentServer::new(Service(self.shared.clone())))
            .add_service(jobs_server::JobsServer::new(Service(self.shared.clone())));
        runtime.spawn(server.serve_with_incoming(incoming(listener, tls, clock)));
        drop(entered);
        self.runtime = Some(runtime);
    }

    /// The clock of core and agent.
    pub fn clock(&self) -> Clock {
        let ahead = self.shared.ahead.clone();
        Clock::of(move || OffsetDateTime::now_utc() + *ahead.lock().unwrap())
    }

    /// Lets so many days pass.
    pub fn pass(&self, days: i64) {
        *self.shared.ahead.lock().unwrap() += time::Duration::days(days);
    }

    /// A certificate for `identity` that nobody asked the server for.
    pub fn sign(&self, csr_pem: &str, identity: &AgentIdentity) -> String {
        self.shared.authority.sign_agent(csr_pem, identity, self.shared.now(), pki::AGENT_DAYS).unwrap()
    }

    pub fn invite(&self) -> Invitation {
        let mut state = self.state();
        let id = InvitationId::from_bits(state.invitations.len() as u64);
        state.invitations.insert(id, None);
        Invitation {
            core: format!("https://{}", self.address).parse().unwrap(),
            ca: self.shared.authority.roots().unwrap(),
            id,
            secret: SecretText::new("hush".to_owned()),
        }
    }

    /// Writes a job, and sends it to the agent that is connected.
    pub fn put(&self, job: Job) {
        let object = job.object;
        let wire = WireJob::from(job);
        let mut state = self.state();
        state.jobs.insert(object, wire.clone());
        state.send(from_core::Body::Job(wire));
    }

    /// Sends a job without writing it, as a core that went wrong might.
    pub fn blurt(&self, job: Job) {
        self.state().send(from_core::Body::Job(job.into()));
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Waits until `condition` holds.
    pub async fn until(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let wait = async {
            while !condition(&self.state()) {
                changed.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(crate::PATIENCE, wait).await.is_err() {
            panic!("waited in vain: {what}; reports: {:#?}", self.state().reports);
        }
    }

    /// Waits for a report of the job.
    pub async fn until_said(&self, object: Object, version: Version, outcome: Outcome) {
        let what = format!("{object} {version} {outcome:?}");
        self.until(&what, |state| state.said(object, version, outcome)).await;
    }

    /// Waits until an agent is connected.
    pub async fn until_connected(&self) {
        self.until("a session", |state| state.session.is_some()).await;
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.kill();
    }
}

impl State {
    fn send(&self, body: from_core::Body) {
        if let Some(session) = &self.session {
            let _ = session.try_send(Ok(FromCore { body: Some(body) }));
        }
    }
}

impl Shared {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + *self.ahead.lock().unwrap()
    }

    fn shown<T>(&self, request: &Request<T>) -> Result<Shown, Status> {
        match self.state.lock().unwrap().refusal {
            Some(refusal) => Err(refusal.status("the test said so")),
            None => Ok(request.extensions().get::<Peer>().unwrap().shown.clone()),
        }
    }

    /// The last moment of the certificate of an agent that may work.
    fn admit<T>(&self, request: &Request<T>) -> Result<OffsetDateTime, Status> {
        match self.shown(request)? {
            Shown::Agent { until, .. } => Ok(until),
            Shown::Expired { .. } => Err(Refusal::Expired.status("it expired")),
            other => Err(Refusal::Wrong.status(format!("{other:?}"))),
        }
    }
}

struct Service(Arc<Shared>);

#[tonic::async_trait]
impl enrolment_server::Enrolment for Service {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolReply>, Status> {
        let request = request.into_inner();
        let key =
            requested_key_digest(&request.csr_pem).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let id: InvitationId = request.invitation.parse().map_err(|_| Status::invalid_argument("not an id"))?;
        let cluster = {
            let mut state = self.0.state.lock().unwrap();
            let used = state.invitations.get_mut(&id).ok_or_else(|| Status::not_found("no such invitation"))?;
            if request.secret != "hush" {
                return Err(Status::permission_denied("the secret is wrong"));
            }
            if used.is_some_and(|used| used != key) {
                return Err(Status::permission_denied("it was used already"));
            }
            *used = Some(key);
            state.welcome.cluster
        };
        let identity =
            AgentIdentity { cluster, agent: AgentId::from_bits(id.bits()), target: TargetId::from_bits(id.bits()) };
        let certificate_pem =
            self.0.authority.sign_agent(&request.csr_pem, &identity, self.0.now(), pki::AGENT_DAYS).unwrap();
        Ok(Response::new(EnrolReply {
            certificate_pem,
            ca_pem: self.0.authority.certificate_pem().to_owned(),
            agent: identity.agent.to_string(),
            target: identity.target.to_string(),
            cluster: identity.cluster.to_string(),
        }))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewReply>, Status> {
        let (Shown::Agent { identity, .. } | Shown::Expired { identity, .. }) = self.0.shown(&request)? else {
            return Err(Refusal::NoCertificate.status("none"));
        };
        {
            let mut state = self.0.state.lock().unwrap();
            if let Some(rest) = state.renewal_failures.checked_sub(1) {
                state.renewal_failures = rest;
                return Err(Status::unavailable("not this time"));
            }
            state.renewals.push(identity);
        }
        let csr = request.into_inner().csr_pem;
        let certificate_pem = self.0.authority.sign_agent(&csr, &identity, self.0.now(), pki::AGENT_DAYS).unwrap();
        Ok(Response::new(RenewReply { certificate_pem }))
    }
}

/// Takes down what an agent says until it hangs up.
async fn listen(
    core: Arc<Shared>,
    mut messages: Streaming<FromAgent>,
    outgoing: mpsc::Sender<Result<FromCore, Status>>,
) {
    while let Ok(Some(message)) = messages.message().await {
        let mut state = core.state.lock().unwrap();
        match message.body.unwrap() {
            from_agent::Body::Hello(_) => panic!("a second hello"),
            from_agent::Body::Report(report) => state.reports.push(report.try_into().unwrap()),
            from_agent::Body::Observation(observation) => {
                state.observations.push(read_observation(&observation).unwrap());
            }
        }
        drop(state);
        core.changed.send_replace(());
    }
    let mut state = core.state.lock().unwrap();
    if state.session.as_ref().is_some_and(|session| session.same_channel(&outgoing)) {
        state.session = None;
    }
}

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl jobs_server::Jobs for Service {
    type SessionStream = Outgoing<FromCore>;
    type FetchImageStream = Outgoing<ImageChunk>;

    async fn session(&self, request: Request<Streaming<FromAgent>>) -> Result<Response<Self::SessionStream>, Status> {
        let until = self.0.admit(&request)?;
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|message| message.body);
        let Some(from_agent::Body::Hello(hello)) = first else {
            return Err(Status::invalid_argument("hello comes first"));
        };
        let hello = Hello::try_from(hello).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let (outgoing, stream) = mpsc::channel(1024);
        {
            let mut state = self.0.state.lock().unwrap();
            state.session = Some(outgoing.clone());
            state.sessions.push(until);
            state.send(from_core::Body::Welcome(convert::welcome(state.welcome, state.protocol)));
            let reading = hello.reading.clone().unwrap_or_default();
            for job in state.jobs.values().filter(|_| hello.reading.is_ok()) {
                let held = reading.held.iter().any(|held| {
                    let version = held.version;
                    held.object.to_string() == job.object
                        && (version.epoch.0, version.revision.0) == (job.epoch, job.revision)
                });
                if !held {
                    state.send(from_core::Body::Job(job.clone()));
                }
            }
            state.hellos.push(hello);
        }
        self.0.changed.send_replace(());
        tokio::spawn(listen(self.0.clone(), messages, outgoing));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn fetch_image(&self, request: Request<ImageRequest>) -> Result<Response<Self::FetchImageStream>, Status> {
        self.0.admit(&request)?;
        let state = self.0.state.lock().unwrap();
        match &state.image {
            Some((digest, bytes)) if digest.to_string() == request.get_ref().sha256 => {
                let chunks: Vec<_> = bytes.chunks(1000).map(|data| Ok(ImageChunk { data: data.to_vec() })).collect();
                Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
            }
            _ => Err(Status::not_found("no such image")),
        }
    }
}
