//! Instances: a disk, a seed and a machine each, brought step by step to what is desired.
//!
//! Every step is done again without harm and leaves on disk or in libvirt what the next run needs to know, so that the
//! agent may be killed between any two. A machine is marked with the desired state's version last of all.

pub mod record;

mod disk;
mod domain;
#[cfg(test)]
mod example;
mod guest_report;
mod machine;
mod seed;
mod sight;

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context, anyhow};
use jobs::desired::{self, Power};
use jobs::observed::Accelerator;
use jobs::{Held, ImageSource, Object, Observer, observed};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use types::{InstanceId, Version};

pub use self::domain::tap;
use self::machine::{Machine, Machines};
use self::record::{DiskState, Record};
use self::seed::Seed;
use self::sight::Sights;
use crate::failure::Failure;
use crate::image::ImageCache;
use crate::libvirt::{Libvirt, LibvirtError};
use crate::mark::Mark;
use crate::segment;
use crate::storage::{InstanceFiles, Storage};
use crate::tap_filter::{Admission, TapFilter};

/// How often reports of guests that are awaited are looked for.
const GLANCE: Duration = Duration::from_millis(250);
/// After how many glances everything is looked at.
const GLANCES_PER_LOOK: u32 = 4;
/// How often the filter of the machines' taps is looked at.
const GUARD: Duration = Duration::from_secs(2);

/// All instances of this host.
pub struct Instances {
    storage: Storage,
    machines: Machines,
    shutdown_grace: Duration,
    sights: Sights,
    taps: TapFilter,
}

impl Instances {
    /// The instances that libvirt runs and whose files lie in `storage`.
    pub fn open(storage: &Storage, libvirt: Libvirt, shutdown_grace: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            storage: storage.clone(),
            machines: Machines::of(libvirt),
            shutdown_grace,
            sights: Sights::new(storage.clone()),
            taps: TapFilter::open(storage)?,
        })
    }

    /// Brings an instance about.
    pub async fn ensure(
        &self,
        wanted: &desired::Instance,
        version: Version,
        accelerator: Accelerator,
        images: &ImageCache,
        source: &dyn ImageSource,
    ) -> Result<(), Failure> {
        let files = self.storage.instance(wanted.id);
        let seed = Seed::of(wanted)?;
        files.make_dir()?;
        let mut record = self.with_disk(wanted, &files, images, source).await?;
        let before = self.machines.version(wanted.id).await.map_err(retry)?;
        let restart = wanted.restarts > record.restarts;
        if wanted.power == Power::Stopped || restart {
            self.machines.shut_down(wanted.id, self.shutdown_grace).await.map_err(retry)?;
        }
        let machine = self.find(wanted.id).await?;
        if machine.is_some_and(|machine| machine.starting) {
            return Err(Failure::Retrying(anyhow!("libvirt has not finished starting the machine")));
        }
        let running = machine.is_some_and(|machine| machine.run.is_some());
        if !running {
            prepare(wanted, &seed, &files, &mut record).await?;
        }
        let definition = domain::definition(wanted, &files, accelerator, before);
        self.machines.define(definition).await.map_err(retry)?;
        // Between stop and start: a run that is killed here finds the machine off and starts it, but once.
        record.restarts = wanted.restarts;
        let admission = Admission { mac: wanted.nic.mac, address: wanted.nic.address };
        record.admission = Some(admission);
        record.write(&files)?;
        // Before its first frame.
        self.taps.admit(wanted.id, admission).await.context("cannot filter the machine's tap")?;
        if !running && wanted.power == Power::Running {
            self.start(wanted, &files).await?;
        }
        self.machines.set_version(wanted.id, version).await.map_err(retry)?;
        Ok(())
    }

    /// Leaves nothing of an instance.
    pub async fn remove(&self, id: InstanceId, images: &ImageCache) -> Result<(), Failure> {
        let files = self.storage.instance(id);
        self.machines.remove(id).await.map_err(retry)?;
        let image = Record::read(&files)?.map(|record| record.image);
        self.taps.forget(id).await.context("cannot take the filter of the machine's tap away")?;
        match fs::remove_dir_all(files.dir()) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(anyhow::Error::new(error)
                    .context(format!("cannot remove {}", files.dir().display()))
                    .into());
            }
            _ => {}
        }
        self.sights.forget(id);
        if let Some(image) = image {
            images.release(image).await?;
        }
        Ok(())
    }

    /// The instances on this host that are ours: those with a machine, and those of which only files are left.
    pub async fn held(&self) -> anyhow::Result<Vec<Held>> {
        let marks = self.machines.marks().await?;
        let files = self.storage.instance_ids()?.into_iter().filter(|id| marks.iter().all(|(marked, _)| marked != id));
        let held = marks
            .iter()
            .map(|(id, version)| (*id, self.brought_to(*id, *version)))
            .chain(files.map(|id| (id, Mark::UNFINISHED)));
        Ok(held.map(|(id, version)| Held { object: Object::Instance(id), version }).collect())
    }

    /// A machine whose tap no release has filtered yet is to be brought about again.
    fn brought_to(&self, id: InstanceId, version: Version) -> Version {
        match Record::read(&self.storage.instance(id)) {
            Ok(Some(Record { admission: None, .. })) => Mark::UNFINISHED,
            _ => version,
        }
    }

    /// Puts the filter of the machines' taps back where it was taken away.
    pub async fn guard(&self) {
        let mut glances = interval(GUARD);
        glances.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut well = true;
        loop {
            glances.tick().await;
            match self.taps.restore().await {
                Ok(changed) => {
                    if changed {
                        tracing::warn!("somebody had changed the filter of the machines' taps: wrote it again");
                    }
                    well = true;
                }
                Err(error) => {
                    if well {
                        tracing::error!("cannot filter the machines' taps: {error:#}");
                    }
                    well = false;
                }
            }
        }
    }

    /// How an instance fares.
    pub async fn look(&self, id: InstanceId) -> anyhow::Result<observed::Instance> {
        let machine = self.machines.find(id).await?;
        self.see(id, machine).await
    }

    /// Does ahead of the first instance what it would wait for.
    pub async fn warm_up(&self) {
        if let Err(error) = self.machines.warm_up().await {
            tracing::debug!("the first machine will have to wait: {error:#}");
        }
    }

    /// Tells the observer of every instance whose state changes.
    pub async fn watch(&self, observer: &Observer) {
        let mut glances = interval(GLANCE);
        glances.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reachable = true;
        for glance in 0_u32.. {
            glances.tick().await;
            if glance % GLANCES_PER_LOOK == 0 {
                let looked = self.look_at_all().await;
                match (&looked, reachable) {
                    (Err(error), true) => tracing::warn!("cannot look at the machines: {error:#}"),
                    (Ok(()), false) => tracing::info!("the machines can be looked at again"),
                    _ => {}
                }
                reachable = looked.is_ok();
            } else {
                self.sights.glance();
            }
            for (id, status) in self.sights.untold() {
                observer.observe(Object::Instance(id), &status).await;
            }
        }
    }

    async fn look_at_all(&self) -> anyhow::Result<()> {
        let machines = self.machines.list().await?;
        for machine in &machines {
            self.see(machine.id, Some(*machine)).await?;
        }
        Ok(())
    }

    async fn see(&self, id: InstanceId, machine: Option<Machine>) -> anyhow::Result<observed::Instance> {
        let accelerator = match machine {
            Some(Machine { run: Some(run), .. }) => match self.sights.accelerator(id, run) {
                None => self.machines.accelerator(id).await?,
                known => known,
            },
            _ => None,
        };
        Ok(self.sights.see(id, machine, accelerator))
    }

    async fn find(&self, id: InstanceId) -> Result<Option<Machine>, Failure> {
        self.machines.find(id).await.map_err(retry)
    }

    /// Makes the disk, once.
    async fn with_disk(
        &self,
        wanted: &desired::Instance,
        files: &InstanceFiles,
        images: &ImageCache,
        source: &dyn ImageSource,
    ) -> Result<Record, Failure> {
        let mut record = Record::read(files)?.unwrap_or(Record {
            image: wanted.image.sha256,
            disk: DiskState::Awaited,
            seed: None,
            restarts: wanted.restarts,
            admission: None,
        });
        disk::require(files, &record)?;
        if record.disk == DiskState::Awaited {
            record.image = wanted.image.sha256;
            record.write(files)?;
        }
        // The disk is a clone for good: without the image's file it cannot be read.
        if record.image == wanted.image.sha256 {
            images.ensure(&wanted.image, source).await?;
        }
        if record.disk == DiskState::Awaited {
            disk::clone(files, &self.storage.image(record.image), wanted).await?;
            record.disk = DiskState::Made;
            record.write(files)?;
        }
        Ok(record)
    }

    async fn start(&self, wanted: &desired::Instance, files: &InstanceFiles) -> Result<(), Failure> {
        segment::require_bridge(wanted.nic.segment)?;
        for log in [files.report(), files.console()] {
            config::file::remove(&log).map_err(anyhow::Error::from)?;
        }
        self.machines.start(wanted.id).await.map_err(retry)?;
        segment::silence(&domain::tap(wanted.id))?;
        Ok(())
    }
}

/// What can only be done while a machine is off.
async fn prepare(
    wanted: &desired::Instance,
    seed: &Seed,
    files: &InstanceFiles,
    record: &mut Record,
) -> Result<(), Failure> {
    disk::grow(files, wanted.disk.get()).await?;
    if record.seed != Some(seed.digest()) || !files.seed().exists() {
        seed.write(files).await.context("cannot make the seed")?;
        record.seed = Some(seed.digest());
        record.write(files)?;
    }
    Ok(())
}

fn retry(error: LibvirtError) -> Failure {
    Failure::Retrying(error.into())
}

/// Removes every machine that bears our mark, through libvirt and all at once: each takes a second or two to end.
pub async fn remove_machines(libvirt: Libvirt) -> anyhow::Result<()> {
    let machines = Machines::of(libvirt);
    let mut removals = JoinSet::new();
    for (id, _) in machines.marks().await? {
        let machines = machines.clone();
        removals.spawn(async move { (id, machines.remove(id).await) });
    }
    let mut failed = None;
    while let Some(removal) = removals.join_next().await {
        match removal.context("a removal came to no end")? {
            (id, Ok(())) => tracing::info!(instance = %id, "removed"),
            (id, Err(error)) => failed = Some(anyhow::Error::new(error).context(format!("cannot remove {id}"))),
        }
    }
    failed.map_or(Ok(()), Err)
}
