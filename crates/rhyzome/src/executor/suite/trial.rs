//! One installation under trial: its core is run a transaction at a time, and crashes where it is told to.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use api::Kind;
use jobs::{Object, observed};
use pki::Authority;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::{Availability, Caller, Claim, NewConnection, NewInvitation, OperationRow};
use tempfile::TempDir;
use testbed::{Engine, Ground};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use types::{InvitationId, ResourceId, Scopes, Sha256Digest, TargetId, TenantName, TokenId};

use super::world::World;
use crate::acceptance::{self, Change};
use crate::core::Core;
use crate::download::Downloads;
use crate::executor::{self, Step, upkeep};
use crate::http::{ListQuery, SignedIn, page};
use crate::image_file;
use crate::kind::{Managed, every_kind, plan};
use crate::loss;
use crate::serve::open_store;
use crate::serve_config::ServeConfig;

/// Rounds after which what has not come to rest never will.
const ROUNDS: usize = 60;

/// What is done at one point of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The core crashes before or after a transaction of the executor.
    Crash,
    /// The core crashes within a transaction, after so many polls of it.
    Cut(usize),
    /// Somebody deletes the resource.
    Delete,
    /// The hypervisor that has the instance goes away, and a person declares it lost.
    Lose,
    /// Somebody deletes the resource, and its hypervisor is lost as well.
    DeleteAndLose,
}

/// How an installation is at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    census: BTreeMap<&'static str, u64>,
    objects: BTreeMap<(TargetId, Object), String>,
    files: usize,
}

/// One installation under trial.
pub struct Trial {
    core: Option<Arc<Core>>,
    /// The targets.
    pub world: World,
    /// Their ids.
    pub targets: Vec<TargetId>,
    /// What is to go wrong, and at which point.
    pub fault: Option<(usize, Fault)>,
    /// The step at which targets refuse.
    pub refuse_at: Option<u32>,
    /// Whether every step is begun a second time.
    pub twice: bool,
    resource: Option<ResourceId>,
    point: usize,
    who: SignedIn,
    dir: TempDir,
    ground: Ground,
}

impl Trial {
    /// An installation with a router and a hypervisor.
    pub async fn new(engine: Engine) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ground = Ground::new(engine).await;
        let core = open(dir.path(), &ground).await;
        let tenant: TenantName = "local".parse().unwrap();
        let mut targets = Vec::new();
        for kind in ["router", "hypervisor"] {
            targets.push(join(&core, &tenant, kind, kind).await);
        }
        let token = TokenId::from_bits(0);
        let who = SignedIn { caller: Caller::person(tenant.clone(), Scopes::all(), token), tenant, token };
        Self {
            core: Some(core),
            world: World::default(),
            targets,
            fault: None,
            refuse_at: None,
            twice: false,
            resource: None,
            point: 0,
            who,
            dir,
            ground,
        }
    }

    /// The core that runs at this moment.
    pub fn core(&self) -> &Arc<Core> {
        self.core.as_ref().unwrap()
    }

    /// The core dies, and another comes up on what it left.
    async fn crash(&mut self) {
        let dead = self.core.take().map(|core| core.replica);
        let core = open(self.dir.path(), &self.ground).await;
        let mut session = core.store.write().await.unwrap();
        // What the end of the dead one's lease does; agents find their way to the other at once.
        session.give_up_operations(&Caller::core(), dead.unwrap()).await.unwrap();
        session.commit().await.unwrap();
        self.core = Some(core);
    }

    /// Asks for a resource of the kind of `kind` by that name.
    pub async fn create(&mut self, kind: ResourceId, name: &str) -> ResourceId {
        let id = every_kind!(kind, K => {
            let key = data_encoding::BASE64.encode(&Sha256::digest(name.as_bytes()));
            let spec = K::EXAMPLE.spec.replace("SHA256", &digest().to_string()).replace("KEY", &key);
            let spec: Value = serde_json::from_str(&spec).unwrap();
            let body: <K as Kind>::Create = serde_json::from_value(json!({"name": name, "spec": spec})).unwrap();
            let answer = acceptance::create::<K>(self.core(), &self.who, None, K::asked(body)).await.unwrap();
            let accepted: api::Accepted<K> = serde_json::from_str(&answer.body).unwrap();
            ResourceId::from(accepted.resource.id)
        });
        self.resource = Some(id);
        id
    }

    /// Asks for a change of a resource.
    pub async fn update(&mut self, id: ResourceId) {
        self.resource = Some(id);
        every_kind!(id, K => {
            let patch: Value = serde_json::from_str(K::EXAMPLE.change).unwrap();
            let change = |row: &store::ResourceRow| {
                let mut whole = json!({"tags": row.tags, "spec": row.spec});
                for part in ["tags", "spec"] {
                    let Some(fields) = patch[part].as_object() else { continue };
                    whole[part].as_object_mut().unwrap().extend(fields.clone());
                }
                Ok(serde_json::from_value::<Change<K>>(whole).unwrap())
            };
            acceptance::update::<K, _>(self.core(), &self.who, None, &id.to_string(), None, change).await.unwrap();
        });
    }

    /// Asks for a resource's end.
    pub async fn delete(&mut self, id: ResourceId) {
        every_kind!(id, K => {
            acceptance::delete::<K>(self.core(), &self.who, None, &id.to_string(), None).await.unwrap();
        });
    }

    /// How many resources of the kind a page of them has, and how many queries it makes.
    pub async fn page(&self, kind: ResourceId) -> (usize, u64) {
        let mut session = self.core().store.read().await.unwrap();
        let items = every_kind!(kind, K => {
            let page: api::Page<K> = page(&mut session, &self.who, ListQuery::default()).await.unwrap();
            page.items.len()
        });
        (items, session.queries())
    }

    /// Where a resource is in its life; nothing if it is gone.
    pub async fn state(&self, id: ResourceId) -> Option<String> {
        let mut session = self.core().store.read().await.unwrap();
        session.resource(&Caller::core(), id).await.ok().map(|row| row.state)
    }

    /// The operations under way.
    pub async fn under_way(&self) -> Vec<OperationRow> {
        let mut session = self.core().store.read().await.unwrap();
        let rows = session.operations(&Caller::core(), None, 1000).await.unwrap();
        rows.into_iter().filter(OperationRow::is_under_way).collect()
    }

    /// Whether something is true of a resource, if anything is known of it.
    pub async fn condition(&self, id: ResourceId, name: &str) -> Option<bool> {
        let mut session = self.core().store.read().await.unwrap();
        let conditions = session.resource(&Caller::core(), id).await.unwrap().conditions;
        conditions.iter().find(|condition| condition.name == name).map(|condition| condition.holds)
    }

    /// How many events about a resource say something that begins like this.
    pub async fn events_about(&self, id: ResourceId, message: &str) -> usize {
        let mut session = self.core().store.read().await.unwrap();
        let events = session.events(&Caller::core(), 0, 1000).await.unwrap();
        let says = |event: &store::EventRow| event.message.as_ref().is_some_and(|text| text.starts_with(message));
        events.iter().filter(|event| event.resource == id && says(event)).count()
    }

    /// Makes every deadline a thing of the past.
    pub async fn let_time_pass(&self) {
        for row in self.under_way().await {
            let mut session = self.core().store.write().await.unwrap();
            session.prolong_operation(&Caller::core(), row.id, 1).await.unwrap();
            session.commit().await.unwrap();
        }
    }

    /// Puts into an operation's row what no release wrote.
    pub async fn break_operation(&self, id: ResourceId) {
        let row = self.under_way().await.into_iter().find(|row| row.resource == id).unwrap();
        let claim = Claim { operation: row.id, attempt: 0 };
        let mut session = self.core().store.write().await.unwrap();
        session.set_step(claim, 0, "running", None, Some(&json!("garbage"))).await.unwrap();
        session.commit().await.unwrap();
    }

    /// Runs the executor itself until a resource is ready and every operation under way has a reason.
    pub async fn run_until_ready(&mut self, id: ResourceId) {
        let shutdown = CancellationToken::new();
        let executor = tokio::spawn(executor::run(Arc::clone(self.core()), shutdown.clone()));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            let core = Arc::clone(self.core());
            self.world.deliver(&core, &self.targets.clone()).await;
            core.signals.look_again();
            let told = self.under_way().await.iter().all(|row| row.reason.is_some());
            if told && self.state(id).await.as_deref() == Some("ready") {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{:#?}", self.under_way().await);
            tick.tick().await;
        }
        shutdown.cancel();
        executor.await.unwrap().unwrap();
    }

    /// Runs until nothing moves any more. Says whether the fault came about.
    pub async fn settle(&mut self) -> bool {
        self.point = 0;
        for _ in 0..ROUNDS {
            self.round().await;
            let answered = self.deliver().await;
            if answered == 0 && self.under_way().await.is_empty() {
                let came = self.fault.take().is_none_or(|(point, _)| self.point >= point);
                self.refuse_at = None;
                return came;
            }
        }
        panic!("this never comes to rest: {:#?}", self.under_way().await);
    }

    /// Runs until an operation fails, which is then still to be taken back. Says whether one did.
    pub async fn until_failed(&mut self) -> bool {
        for _ in 0..ROUNDS {
            self.round().await;
            let under_way = self.under_way().await;
            if under_way.is_empty() || under_way.iter().any(|row| row.action.ends_with("withdraw")) {
                return !under_way.is_empty();
            }
            self.deliver().await;
        }
        panic!("this never comes to an end: {:#?}", self.under_way().await);
    }

    /// Every operation is taken as far as it comes.
    pub async fn round(&mut self) {
        self.upload().await;
        let mut claims = Vec::new();
        {
            let mut session = self.core().store.write().await.unwrap();
            while let Some(claim) = session.claim_operation(&Caller::core(), self.core().replica).await.unwrap() {
                claims.push(claim);
            }
            session.commit().await.unwrap();
        }
        for claim in claims {
            if self.pass().await || self.advance(claim).await || self.pass().await {
                return;
            }
        }
        let mut session = self.core().store.write().await.unwrap();
        session.give_up_operations(&Caller::core(), self.core().replica).await.unwrap();
        session.commit().await.unwrap();
    }

    /// A point at which something may go wrong. Says whether the round is over.
    async fn pass(&mut self) -> bool {
        self.point += 1;
        match self.fault {
            Some((point, Fault::Crash)) if point == self.point => {
                self.crash().await;
                true
            }
            Some((point, Fault::Delete)) if point == self.point => {
                if let Some(id) = self.resource
                    && self.state(id).await.is_some()
                {
                    self.delete(id).await;
                }
                false
            }
            Some((point, fault @ (Fault::Lose | Fault::DeleteAndLose))) if point == self.point => {
                if let Some(id) = self.resource
                    && self.state(id).await.is_some()
                {
                    if fault == Fault::DeleteAndLose {
                        self.delete(id).await;
                    }
                    self.lose(id).await;
                }
                false
            }
            _ => false,
        }
    }

    /// Another hypervisor.
    pub async fn add_hypervisor(&mut self) {
        let other = join(self.core(), &self.who.tenant.clone(), "hypervisor", "other").await;
        self.targets.push(other);
    }

    /// The hypervisor that has an instance goes away with it, and a person declares it lost.
    async fn lose(&mut self, id: ResourceId) {
        let ResourceId::Instance(instance) = id else { panic!("{id} is on no hypervisor") };
        let caller = Caller::core();
        let placed = self.core().store.read().await.unwrap().placement(&caller, instance).await.unwrap();
        let Some(host) = placed else { return };
        self.world.away.insert(host);
        let mut session = self.core().store.write().await.unwrap();
        loss::declare(&mut session, host).await.unwrap();
        session.commit().await.unwrap();
    }

    /// Whoever was lost is back, lets go of what it held, and takes instances again.
    pub async fn find_again(&mut self) {
        for host in std::mem::take(&mut self.world.away) {
            self.settle().await;
            let mut session = self.core().store.write().await.unwrap();
            session.set_availability(host, Availability::Open).await.unwrap();
            session.commit().await.unwrap();
        }
    }

    /// One transaction of the executor, or a part of it. Says whether the core crashed.
    async fn advance(&mut self, claim: Claim) -> bool {
        if self.twice {
            self.begin_again(claim).await;
        }
        let core = Arc::clone(self.core());
        let whole = executor::advance(&core, claim, false);
        match self.fault {
            Some((point, Fault::Cut(polls))) if point == self.point => {
                cut(whole, polls).await;
                drop(core);
                self.crash().await;
                true
            }
            _ => {
                match whole.await {
                    Ok(_) | Err(store::StoreError::Fenced) => {}
                    Err(error) => panic!("{:#}", anyhow::Error::new(error)),
                }
                false
            }
        }
    }

    /// Begins every step once more that has begun: nothing may change.
    async fn begin_again(&mut self, claim: Claim) {
        let before = self.jobs().await;
        let core = Arc::clone(self.core());
        let mut session = core.store.write().await.unwrap();
        let operation = session.operation(&Caller::core(), claim.operation).await.unwrap();
        for row in operation.steps.iter().filter(|row| row.state == "running") {
            Step::named(&row.name).unwrap().begin(&core, &mut session, operation.resource).await.unwrap();
        }
        session.commit().await.unwrap();
        assert_eq!(self.jobs().await, before, "{}: a step that is begun twice does more", operation.action);
    }

    /// Takes every step of a create back once more: nothing may change.
    pub async fn undo_again(&mut self, id: ResourceId) {
        let before = self.jobs().await;
        let core = Arc::clone(self.core());
        let mut session = core.store.write().await.unwrap();
        for _ in 0..2 {
            for step in plan(id).create.iter().rev() {
                step.undo(&core, &mut session, id).await.unwrap();
            }
        }
        session.commit().await.unwrap();
        assert_eq!(self.jobs().await, before, "{id}: an undo that is done twice does more");
    }

    /// What every target is told.
    async fn jobs(&self) -> Vec<String> {
        let mut session = self.core().store.read().await.unwrap();
        let mut told = Vec::new();
        for target in &self.targets {
            for row in session.jobs_of_target(&Caller::core(), *target).await.unwrap() {
                told.push(format!("{target} {} {} {:?}", row.object, row.version, row.desired));
            }
        }
        told
    }

    /// Tells the targets what they have not answered; gives how much that was.
    pub async fn deliver(&mut self) -> usize {
        let running = self.under_way().await;
        let running = running.iter().filter(|row| !row.action.ends_with("withdraw"));
        let steps = running.flat_map(|row| &row.steps).filter(|row| row.state == "running");
        self.world.refuses = steps.map(|row| row.position).any(|position| Some(position) == self.refuse_at);
        let core = Arc::clone(self.core());
        self.world.deliver(&core, &self.targets.clone()).await
    }

    /// Sends the files that images wait for.
    async fn upload(&self) {
        let core = self.core();
        let rows = {
            let mut session = core.store.read().await.unwrap();
            session.resources(&Caller::core(), api::Image::NOUN, None, 100).await.unwrap()
        };
        for row in rows.iter().filter(|row| row.state == "creating" && row.status["virtual_size"].is_null()) {
            let ResourceId::Image(id) = row.id else { panic!("an image has another id") };
            let body = futures_util::stream::iter([Ok::<_, std::io::Error>(qcow2())]);
            let expected = image_file::Expected { id, sha256: digest(), length: None, sender: None };
            image_file::receive(core, expected, body).await.unwrap();
        }
    }

    /// How everything is, once it is at rest and what nobody uses is swept away.
    pub async fn rest(&mut self) -> Rest {
        let core = Arc::clone(self.core());
        upkeep::sweep_caches(&core, -1000).await.unwrap();
        self.settle().await;
        let mut session = core.store.read().await.unwrap();
        let violations = session.violations().await.unwrap();
        assert_eq!(violations, []);
        Rest {
            census: session.census().await.unwrap(),
            objects: self.world.objects(),
            files: std::fs::read_dir(&core.images).map_or(0, Iterator::count),
        }
    }
}

impl Rest {
    /// What is allotted, and what lies on targets: all that must return when something could not be made.
    pub fn taken(&self) -> Self {
        let own = ["resource", "status", "condition", "tag", "reference", "secret"];
        let mut taken = self.clone();
        taken.census.retain(|table, _| !own.contains(table));
        taken
    }
}

async fn open(dir: &Path, ground: &Ground) -> Arc<Core> {
    pki::install_provider();
    let path = |name: &str| dir.join(name).display().to_string();
    let mut config = json!({
        "data_dir": path("data"),
        "http": {"listen": "127.0.0.1:0"},
        "jobs": {"listen": "127.0.0.1:0", "url": "https://127.0.0.1:1"},
        "tls": {"ca": path("pki/ca.pem"), "cert": path("cert.pem"), "key": path("key.pem")},
        "authority_dir": path("pki"),
    });
    if let Some(database) = ground.setting() {
        config["database"] = database;
    }
    let config: ServeConfig = serde_json::from_value(config).unwrap();
    let authority = Authority::load_or_init(&config.authority_dir, OffsetDateTime::now_utc()).unwrap();
    let store = open_store(&config).await.unwrap();
    let (downloads, _) = Downloads::channel();
    let mut session = store.write().await.unwrap();
    let replica = session.add_replica(&Caller::core(), 60_000).await.unwrap();
    session.commit().await.unwrap();
    let core = Core::new(&config, store, replica, authority, String::new(), downloads);
    // As every start does: the core may have died between an image's end and that of its file.
    image_file::sweep(&core, true).await.unwrap();
    core
}

/// A target with an agent that is connected.
async fn join(core: &Core, tenant: &TenantName, kind: &str, name: &str) -> TargetId {
    let mut session = core.store.write().await.unwrap();
    let target = session.ensure_target(&Caller::core(), tenant, kind, name).await.unwrap();
    let id = InvitationId::make(session.now_unsigned()).unwrap();
    let (sha256, expires_at) = (Sha256Digest::from_bytes([1; 32]), i64::MAX);
    session.add_invitation(&Caller::core(), &NewInvitation { id, target, sha256, expires_at }).await.unwrap();
    let enrolled = session.redeem_invitation(id, sha256, sha256).await.unwrap().unwrap();
    let capacity = observed::Capacity {
        vcpus: Some(400),
        memory: types::MemorySize::try_from(400 * 1024).ok(),
        disk_bytes: Some(1 << 44),
        underlay: None,
        note: None,
    };
    let capacity = serde_json::to_value(&capacity).unwrap();
    let connection = NewConnection {
        replica: core.replica,
        protocol: jobs::PROTOCOL,
        software: "suite",
        features: &[],
        certificate_until: i64::MAX,
        capacity: Ok(&capacity),
    };
    session.connect_agent(enrolled.agent, connection).await.unwrap();
    session.commit().await.unwrap();
    target
}

/// A small qcow2 image, as far as its header.
fn qcow2() -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[..4].copy_from_slice(b"QFI\xfb");
    bytes[7] = 3;
    bytes[23] = 16;
    bytes[28..32].copy_from_slice(&(64_u32 << 20).to_be_bytes());
    bytes[103] = 112;
    bytes
}

fn digest() -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(qcow2()).into())
}

/// Polls a future so often at most and then drops it.
async fn cut<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}
