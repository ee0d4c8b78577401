//! What was seen of instances last, and what of that has been told.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jobs::observed::{Accelerator, Guest, Instance, PowerState};
use types::InstanceId;

use super::machine::Machine;
use super::record::Record;
use super::{disk, guest_report};
use crate::storage::Storage;

/// The last sight of every instance.
pub struct Sights {
    storage: Storage,
    seen: Mutex<BTreeMap<InstanceId, Sight>>,
}

#[derive(Default)]
struct Sight {
    /// libvirt's number of the run that was seen.
    run: Option<u32>,
    status: Option<Instance>,
    told: Option<Instance>,
}

impl Sights {
    /// Nothing was seen yet.
    pub fn new(storage: Storage) -> Self {
        Self { storage, seen: Mutex::default() }
    }

    /// How a machine's present run is run, if that was seen already.
    pub fn accelerator(&self, id: InstanceId, run: u32) -> Option<Accelerator> {
        let seen = self.lock();
        let sight = seen.get(&id).filter(|sight| sight.run == Some(run))?;
        sight.status.as_ref()?.accelerator
    }

    /// Takes in how libvirt has a machine, and what its guest says.
    pub fn see(&self, id: InstanceId, machine: Option<Machine>, accelerator: Option<Accelerator>) -> Instance {
        let run = machine.and_then(|machine| machine.run);
        let lost = self.lost(id);
        let power = match lost {
            Some(_) => PowerState::Failed,
            None => machine.map_or(PowerState::Stopped, |machine| machine.power),
        };
        let said = run.and_then(|_| self.guest(id));
        let mut seen = self.lock();
        let sight = seen.entry(id).or_default();
        // A guest is what one run said; its file may have been cut since.
        let known = sight.status.take().and_then(|status| status.guest).filter(|_| run.is_some() && sight.run == run);
        let status = Instance { power, accelerator, guest: newer(known, said), lost };
        sight.run = run;
        sight.status = Some(status.clone());
        status
    }

    /// Looks for the reports of guests that are awaited.
    pub fn glance(&self) {
        let awaited: Vec<InstanceId> = self
            .lock()
            .iter()
            .filter(|(_, sight)| {
                sight.run.is_some() && sight.status.as_ref().is_some_and(|status| status.guest.is_none())
            })
            .map(|(id, _)| *id)
            .collect();
        for id in awaited {
            let guest = self.guest(id);
            if let Some(status) = self.lock().get_mut(&id).and_then(|sight| sight.status.as_mut()) {
                status.guest = guest;
            }
        }
    }

    /// What changed since the last time this was asked.
    pub fn untold(&self) -> Vec<(InstanceId, Instance)> {
        let mut seen = self.lock();
        let changed = seen.iter_mut().filter(|(_, sight)| sight.status != sight.told);
        changed
            .filter_map(|(id, sight)| {
                sight.told.clone_from(&sight.status);
                Some((*id, sight.status.clone()?))
            })
            .collect()
    }

    /// Forgets an instance that is gone.
    pub fn forget(&self, id: InstanceId) {
        self.lock().remove(&id);
    }

    fn lost(&self, id: InstanceId) -> Option<String> {
        let files = self.storage.instance(id);
        // A disk that cannot be looked for is not known to be missing.
        disk::lost(&files, &Record::read(&files).ok()??).ok()?
    }

    fn guest(&self, id: InstanceId) -> Option<Guest> {
        let files = self.storage.instance(id);
        let read = guest_report::bound_console(&files.console()).and_then(|()| guest_report::read(&files.report()));
        read.unwrap_or_else(|error| {
            tracing::warn!(instance = %id, "{error:#}");
            None
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Sight>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guest repeats itself with a longer uptime, which says nothing; a shorter one says that it started again.
fn newer(known: Option<Guest>, said: Option<Guest>) -> Option<Guest> {
    match (known, said) {
        (Some(known), Some(said)) => {
            let same = known.hostname == said.hostname && known.address == said.address;
            Some(if same && known.uptime_seconds <= said.uptime_seconds { known } else { said })
        }
        (known, said) => said.or(known),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::record::DiskState;
    use super::*;

    const RUNNING: Machine =
        Machine { id: InstanceId::from_bits(1), run: Some(4), power: PowerState::Running, starting: false };
    const OFF: Machine = Machine { run: None, power: PowerState::Stopped, ..RUNNING };

    fn sights() -> (tempfile::TempDir, Sights) {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path()).unwrap();
        storage.instance(RUNNING.id).make_dir().unwrap();
        (dir, Sights::new(storage))
    }

    fn say(sights: &Sights, uptime: u32) {
        let line = format!("{{\"hostname\":\"hello\",\"address\":\"10.77.0.10\",\"uptime_seconds\":{uptime}}}\n");
        fs::write(sights.storage.instance(RUNNING.id).report(), line).unwrap();
    }

    #[test]
    fn a_guest_is_awaited_told_once_and_forgotten_when_it_stops() {
        let (_dir, sights) = sights();
        let id = RUNNING.id;
        assert_eq!(sights.see(id, Some(RUNNING), Some(Accelerator::Tcg)).guest, None);
        assert_eq!(sights.untold().len(), 1);
        assert_eq!(sights.untold(), []);
        say(&sights, 3);
        sights.glance();
        let told = sights.untold();
        assert_eq!(told[0].1.guest.as_ref().unwrap().uptime_seconds, Some(3));
        say(&sights, 8);
        sights.see(id, Some(RUNNING), Some(Accelerator::Tcg));
        assert_eq!(sights.untold(), [], "a longer uptime is no news");
        say(&sights, 2);
        sights.see(id, Some(RUNNING), Some(Accelerator::Tcg));
        assert_eq!(sights.untold()[0].1.guest.as_ref().unwrap().uptime_seconds, Some(2), "it started again");
        let stopped = sights.see(id, Some(OFF), None);
        assert_eq!((stopped.power, stopped.guest), (PowerState::Stopped, None));
    }

    #[test]
    fn what_an_earlier_run_said_is_not_the_next_ones() {
        let (_dir, sights) = sights();
        say(&sights, 3);
        assert!(sights.see(RUNNING.id, Some(RUNNING), None).guest.is_some());
        fs::remove_file(sights.storage.instance(RUNNING.id).report()).unwrap();
        assert!(sights.see(RUNNING.id, Some(RUNNING), None).guest.is_some(), "a file that was cut is no silence");
        assert!(sights.see(RUNNING.id, Some(Machine { run: Some(5), ..RUNNING }), None).guest.is_none());
    }

    #[test]
    fn a_disk_that_was_made_and_is_missing_is_a_failure() {
        let (_dir, sights) = sights();
        let files = sights.storage.instance(RUNNING.id);
        let mut record = Record {
            image: types::Sha256Digest::from_bytes([1; 32]),
            disk: DiskState::Awaited,
            seed: None,
            restarts: 0,
            admission: None,
        };
        record.write(&files).unwrap();
        assert_eq!(sights.see(RUNNING.id, Some(OFF), None).power, PowerState::Stopped);
        record.disk = DiskState::Made;
        record.write(&files).unwrap();
        let lost = sights.see(RUNNING.id, Some(RUNNING), None);
        assert_eq!(lost.power, PowerState::Failed);
        assert!(lost.lost.unwrap().contains("never made anew"));
        fs::write(files.disk(), b"disk").unwrap();
        assert_eq!(sights.see(RUNNING.id, Some(RUNNING), None).power, PowerState::Running);
    }
}
