//! A target in memory: it holds what it is told and answers as it was scripted, or with the faults it was given. For
//! tests and measurements, and for `rhyzome-sim`.

mod fault;
mod pattern;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;
use types::Version;

pub use fault::{Faults, Foreign, Refusal};
pub use pattern::Pattern;

use crate::backoff::Jitter;
use crate::{Batching, Context, Held, Job, Object, Observer, Outcome, Report, Target, Want, desired, observed};

/// How long [`Simulated::until`] waits before it gives up.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many receipts are kept; half of them go when there are more.
const RECEIPTS: usize = 100_000;

/// A router or hypervisor in memory. Without a script it applies everything at once and reports what a healthy one
/// would observe: instances are as they should be and their guests are up.
pub struct Simulated {
    features: &'static [&'static str],
    batching: Batching,
    capacity: observed::Capacity,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    open: watch::Sender<bool>,
    faults: watch::Sender<Faults>,
}

/// What a simulated target has and had.
#[derive(Default)]
pub struct State {
    /// What it holds, with the desired state it was brought to.
    pub objects: BTreeMap<Object, (Version, String)>,
    /// Every job that it was handed, in order, the newest hundred thousand.
    pub receipts: Vec<Receipt>,
    /// Why it cannot say what it holds, where it cannot.
    pub unreadable: Option<String>,
    /// Whether the next call panics, as a target with a mistake in it would.
    pub panic_once: bool,
    /// How often it was asked what it holds.
    pub readings: u64,
    script: BTreeMap<Object, VecDeque<Outcome>>,
    /// How often the newest version of an object was to be tried again.
    retried: BTreeMap<Object, (Version, u32)>,
    observer: Option<Observer>,
}

/// That a job was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its object.
    pub object: Object,
    /// Its version.
    pub version: Version,
    /// Whether it wanted the object gone.
    pub gone: bool,
    /// How many jobs came in the same call.
    pub together: usize,
    /// When.
    pub at: Instant,
}

impl State {
    fn held(&self) -> Vec<Held> {
        self.objects.iter().map(|(object, (version, _))| Held { object: *object, version: *version }).collect()
    }
}

impl Simulated {
    /// A target with these features that takes jobs this way.
    pub fn new(features: &'static [&'static str], batching: Batching) -> Self {
        Self {
            features,
            batching,
            capacity: observed::Capacity::default(),
            state: Mutex::default(),
            changed: watch::Sender::new(()),
            open: watch::Sender::new(true),
            faults: watch::Sender::default(),
        }
    }

    /// A router: one call for all that is pending.
    pub fn router() -> Self {
        Self::new(&[], Batching::Together)
    }

    /// A hypervisor with room for a hundred instances: four calls at once.
    pub fn hypervisor() -> Self {
        let capacity = observed::Capacity {
            vcpus: Some(400),
            memory: types::MemorySize::try_from(400 * 1024).ok(),
            disk_bytes: Some(1 << 44),
            note: Some("simulated".to_owned()),
            underlay: None,
        };
        Self { capacity, ..Self::new(&[], Batching::Each(4)) }
    }

    /// The same with room for that much.
    pub fn with_capacity(self, capacity: observed::Capacity) -> Self {
        Self { capacity, ..self }
    }

    /// The same with these features.
    pub fn with_features(self, features: &'static [&'static str]) -> Self {
        Self { features, ..self }
    }

    /// The same at that address in the network between hosts.
    pub fn with_underlay(mut self, underlay: Option<types::HostAddr>) -> Self {
        self.capacity.underlay = underlay;
        self
    }

    /// What it has and had; held only for a moment, as calls wait for it.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers the next jobs for `object` like this, one outcome a job, and applies after that.
    pub fn answer(&self, object: Object, outcomes: &[Outcome]) {
        self.state().script.insert(object, outcomes.iter().copied().collect());
    }

    /// Makes it behave with these faults, in the place of the ones it had.
    pub fn set_faults(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }

    /// Makes it hold what these jobs asked for, as if it had applied them.
    pub fn recall(&self, jobs: impl IntoIterator<Item = Job>) {
        let held = jobs.into_iter().filter_map(|job| match job.want {
            Want::Desired(desired) => Some((job.object, (job.version, desired))),
            Want::Gone => None,
        });
        self.state().objects = held.collect();
    }

    /// Makes calls wait before they do anything.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    /// Lets calls go on.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Says what was observed of `object`, once the agent watches.
    pub async fn observe(&self, object: Object, status: &impl serde::Serialize) {
        self.until(|state| state.observer.is_some()).await;
        let observer = self.state().observer.clone();
        if let Some(observer) = observer {
            observer.observe(object, status).await;
        }
    }

    /// Says what it holds, once the agent watches.
    pub async fn look(&self) {
        self.until(|state| state.observer.is_some()).await;
        let (observer, held) = {
            let state = self.state();
            (state.observer.clone(), state.held())
        };
        if let Some(observer) = observer {
            observer.found(held).await;
        }
    }

    /// Waits for a state in which `condition` holds.
    ///
    /// # Panics
    /// When 20 seconds were not enough.
    pub async fn until(&self, condition: impl Fn(&State) -> bool) {
        let mut changed = self.changed.subscribe();
        let wait = async {
            while !condition(&self.state()) {
                // The sender lives as long as `self`.
                let _ = changed.changed().await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            let state = self.state();
            panic!("waited in vain; the target was handed {:?}", state.receipts);
        }
    }

    /// Waits until `object` is held at `version`.
    pub async fn until_held(&self, object: Object, version: Version) {
        self.until(|state| state.objects.get(&object).is_some_and(|(held, _)| *held == version)).await;
    }

    fn take(&self, job: Job, together: usize) -> Report {
        let mut state = self.state();
        if std::mem::take(&mut state.panic_once) {
            drop(state);
            panic!("as it was told to");
        }
        if state.receipts.len() == RECEIPTS {
            state.receipts.drain(..RECEIPTS / 2);
        }
        state.receipts.push(Receipt {
            object: job.object,
            version: job.version,
            gone: matches!(job.want, Want::Gone),
            together,
            at: Instant::now(),
        });
        let scripted = state.script.get_mut(&job.object).and_then(VecDeque::pop_front);
        match scripted.unwrap_or(Outcome::Applied) {
            Outcome::Retrying => return Report::retrying(&job, "the script says so"),
            Outcome::Refused => return Report::refused(&job, "the script says so"),
            Outcome::Applied => {}
        }
        let faults = self.faults.borrow();
        if let Some(reason) = faults.refusal(job.object) {
            return Report::refused(&job, reason);
        }
        if state.is_to_retry(&job, faults.retries) {
            return Report::retrying(&job, "the scenario says so");
        }
        let entries = faults.refused_entries(&job);
        let report = Report { entries, ..Report::applied(&job) };
        match job.want {
            Want::Gone => {
                state.objects.remove(&job.object);
                state.retried.remove(&job.object);
                report
            }
            Want::Desired(desired) => {
                let status = healthy(job.object, &desired);
                match faults.forgets(job.object) {
                    true => state.objects.remove(&job.object),
                    false => state.objects.insert(job.object, (job.version, desired)),
                };
                Report { status, ..report }
            }
        }
    }
}

impl State {
    /// Whether a job is to be tried again, as it was not often enough.
    fn is_to_retry(&mut self, job: &Job, times: u32) -> bool {
        let (version, retried) = self.retried.entry(job.object).or_insert((job.version, 0));
        if *version != job.version {
            (*version, *retried) = (job.version, 0);
        }
        if *retried >= times {
            return false;
        }
        *retried += 1;
        true
    }
}

/// What a healthy target observes of an object in this desired state.
fn healthy(object: Object, desired: &str) -> Option<serde_json::Value> {
    match object {
        Object::Instance(_) => {
            let desired: desired::Instance = serde_json::from_str(desired).ok()?;
            serde_json::to_value(seen_instance(&desired)).ok()
        }
        Object::Network(_) => {
            serde_json::to_value(observed::Network { endpoint_host: Some("127.0.0.1".to_owned()), unreachable: None })
                .ok()
        }
        Object::Segment(_) | Object::Image(_) => None,
    }
}

fn seen_instance(desired: &desired::Instance) -> observed::Instance {
    let running = desired.power == desired::Power::Running;
    let guest = observed::Guest {
        hostname: desired.hostname.to_string(),
        address: Some(desired.nic.address),
        uptime_seconds: Some(1),
    };
    observed::Instance {
        power: if running { observed::PowerState::Running } else { observed::PowerState::Stopped },
        accelerator: running.then_some(observed::Accelerator::Tcg),
        guest: running.then_some(guest),
        lost: None,
    }
}

#[async_trait]
impl Target for Simulated {
    fn features(&self) -> &'static [&'static str] {
        self.features
    }

    fn batching(&self) -> Batching {
        self.batching
    }

    async fn capacity(&self) -> observed::Capacity {
        self.capacity.clone()
    }

    async fn held(&self) -> anyhow::Result<Vec<Held>> {
        let mut state = self.state();
        state.readings += 1;
        let faults = self.faults.borrow();
        if let Some(reason) = state.unreadable.as_ref().or(faults.unreadable.as_ref()) {
            anyhow::bail!("{reason}");
        }
        Ok(faults.as_held(state.held()))
    }

    async fn apply(&self, jobs: Vec<Job>, _: &Context) -> Vec<Report> {
        let mut open = self.open.subscribe();
        // The sender lives as long as `self`.
        let _ = open.wait_for(|open| *open).await;
        let pause = self.faults.borrow().pause(Jitter::draw());
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let _ = self.faults.subscribe().wait_for(|faults| !faults.silent).await;
        let together = jobs.len();
        let reports = jobs.into_iter().map(|job| self.take(job, together)).collect();
        self.changed.send_replace(());
        reports
    }

    async fn watch(&self, observer: Observer) {
        self.state().observer = Some(observer);
        self.changed.send_replace(());
    }
}
