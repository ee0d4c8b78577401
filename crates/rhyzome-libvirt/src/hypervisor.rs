//! The host as a target of the job protocol.

use std::time::Duration;

use async_trait::async_trait;
use jobs::observed::Capacity;
use jobs::{Batching, Context, Held, Job, Object, Observer, Report, Target, Want, desired};
use serde::de::DeserializeOwned;
use tokio::time::{MissedTickBehavior, interval};

use crate::accelerator::AcceleratorProbe;
use crate::capacity::{CapacitySettings, capacity};
use crate::configuration::Configuration;
use crate::failure::Failure;
use crate::image::ImageCache;
use crate::instance::Instances;
use crate::libvirt::Libvirt;
use crate::segment::{Segments, Ways};
use crate::storage::Storage;

/// How many objects are worked at a time.
const AT_ONCE: usize = 4;
/// How often the way to the router is looked at.
const GLANCE: Duration = Duration::from_secs(1);
/// How often the barrier between guests and the host is looked at.
const GUARD: Duration = Duration::from_secs(5);

/// One host with its segments, images and instances.
pub struct Hypervisor {
    storage: Storage,
    capacity: CapacitySettings,
    ways: Ways,
    accelerator: AcceleratorProbe,
    segments: Segments,
    images: ImageCache,
    instances: Instances,
}

impl Hypervisor {
    /// The host that a configuration describes. libvirt need not run yet.
    pub fn open(configuration: &Configuration) -> anyhow::Result<Self> {
        let storage = Storage::open(&configuration.storage_dir)?;
        let grace = Duration::from_secs(configuration.shutdown_seconds.into());
        let ways = Ways { trunk: configuration.trunk.clone(), underlay: configuration.underlay };
        let deadline = Duration::from_secs(configuration.libvirt_deadline_seconds.into());
        let libvirt = Libvirt::at(&configuration.libvirt_uri).with_deadline(deadline);
        Ok(Self {
            capacity: configuration.capacity,
            ways: ways.clone(),
            accelerator: AcceleratorProbe::new(configuration.accelerator, storage.root()),
            segments: Segments::new(configuration.router_netns.clone(), ways),
            images: ImageCache::open(&storage)?,
            instances: Instances::open(&storage, libvirt, grace)?,
            storage,
        })
    }

    async fn bring_about(&self, job: &Job, context: &Context) -> Result<(), Failure> {
        let images = context.images.as_ref();
        match (job.object, &job.want) {
            (Object::Segment(_), Want::Desired(state)) => {
                let link: desired::SegmentLink = parse(state)?;
                require_same(job.object, Object::Segment(link.network))?;
                self.segments.ensure(&link, job.version).await
            }
            (Object::Segment(id), Want::Gone) => self.segments.remove(id).await,
            (Object::Image(_), Want::Desired(state)) => {
                let image: desired::Image = parse(state)?;
                require_same(job.object, Object::Image(image.id))?;
                self.images.keep(&image, job.version, images).await
            }
            (Object::Image(id), Want::Gone) => self.images.forget(id).await,
            (Object::Instance(_), Want::Desired(state)) => {
                let instance: desired::Instance = parse(state)?;
                require_same(job.object, Object::Instance(instance.id))?;
                let accelerator = self.accelerator.get().await;
                self.instances.ensure(&instance, job.version, accelerator, &self.images, images).await
            }
            (Object::Instance(id), Want::Gone) => self.instances.remove(id, &self.images).await,
            (Object::Network(_), _) => {
                Err(Failure::Refused("a hypervisor has no networks, only their segments".to_owned()))
            }
        }
    }

    async fn work(&self, job: &Job, context: &Context) -> Report {
        let report = match self.bring_about(job, context).await {
            Ok(()) => Report::applied(job),
            Err(failure) => failure.report(job),
        };
        let (Object::Instance(id), Want::Desired(_)) = (job.object, &job.want) else { return report };
        match self.instances.look(id).await {
            Ok(status) => report.with_status(&status),
            Err(error) => {
                tracing::warn!(instance = %id, "cannot look at the machine: {error:#}");
                report
            }
        }
    }

    /// Puts the barrier between guests and the host back where somebody took it away.
    async fn guard_host(&self) {
        let mut glances = interval(GUARD);
        glances.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut well = true;
        loop {
            glances.tick().await;
            let restored = self.segments.restore_barrier().await;
            match (&restored, well) {
                (Ok(true), _) => tracing::warn!("somebody had changed the barrier to the host: raised it again"),
                (Err(error), true) => tracing::error!("cannot raise the barrier to the host: {error:#}"),
                _ => {}
            }
            well = restored.is_ok();
        }
    }

    async fn watch_router(&self) {
        let mut glances = interval(GLANCE);
        glances.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut well = true;
        loop {
            glances.tick().await;
            let joined = self.segments.rejoin().await;
            if let (Err(error), true) = (&joined, well) {
                tracing::warn!("cannot join segments to the router: {error:#}");
            }
            well = joined.is_ok();
        }
    }
}

#[async_trait]
impl Target for Hypervisor {
    fn features(&self) -> &'static [&'static str] {
        self.ways.features()
    }

    fn batching(&self) -> Batching {
        Batching::Each(AT_ONCE)
    }

    async fn capacity(&self) -> Capacity {
        Capacity { underlay: self.ways.underlay, ..capacity(&self.capacity, &self.storage) }
    }

    async fn held(&self) -> anyhow::Result<Vec<Held>> {
        let mut held = self.segments.held().await?;
        held.extend(self.images.held()?);
        held.extend(self.instances.held().await?);
        Ok(held)
    }

    async fn apply(&self, jobs: Vec<Job>, context: &Context) -> Vec<Report> {
        let mut reports = Vec::with_capacity(jobs.len());
        for job in &jobs {
            reports.push(self.work(job, context).await);
        }
        reports
    }

    async fn watch(&self, observer: Observer) {
        if let Err(error) = self.segments.recall().await {
            tracing::warn!("cannot tell which segments are there: {error:#}");
        }
        let ahead = async { tokio::join!(self.accelerator.get(), self.instances.warm_up()) };
        tokio::join!(
            ahead,
            self.instances.watch(&observer),
            self.instances.guard(),
            self.guard_host(),
            self.watch_router()
        );
    }
}

fn parse<T: DeserializeOwned>(state: &str) -> Result<T, Failure> {
    serde_json::from_str(state).map_err(|error| Failure::Refused(format!("the desired state cannot be read: {error}")))
}

/// The state must be of the object that it came for; everything else here goes by the state's own id.
fn require_same(job: Object, state: Object) -> Result<(), Failure> {
    match job == state {
        true => Ok(()),
        false => Err(Failure::Refused(format!("the desired state of {job} is one of {state}"))),
    }
}
