//! What the host can take: what it has, less what it keeps for itself, times what may be promised of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread::available_parallelism;

use jobs::observed::Capacity;
use nix::sys::statvfs::statvfs;
use serde::Deserialize;

use crate::storage::Storage;

const MIB: u64 = 1 << 20;

/// How much of the host instances may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CapacitySettings {
    /// Virtual processors that are promised for each of the host's.
    pub vcpus_per_processor: u32,
    /// Memory that the host keeps for itself, in MiB.
    pub reserved_memory_mib: u64,
    /// How much of the rest is promised, in percent.
    pub memory_percent: u64,
    /// Disk that the host keeps for itself, in MiB.
    pub reserved_disk_mib: u64,
    /// How much of the rest is promised, in percent: disks take only what was written.
    pub disk_percent: u64,
}

impl Default for CapacitySettings {
    fn default() -> Self {
        Self {
            vcpus_per_processor: 16,
            reserved_memory_mib: 512,
            memory_percent: 100,
            reserved_disk_mib: 1024,
            disk_percent: 100,
        }
    }
}

/// What a host has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Host {
    processors: Option<u32>,
    memory_mib: Option<u64>,
    /// Free disk, and what our own files take of the rest.
    disk_mib: Option<u64>,
}

/// What the host can take in all, instances that are there included.
pub fn capacity(settings: &CapacitySettings, storage: &Storage) -> Capacity {
    let host = Host {
        processors: available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok()),
        memory_mib: memory_mib(),
        disk_mib: statvfs(storage.root()).ok().map(|disk| {
            let free = disk.blocks_available().saturating_mul(disk.fragment_size());
            free.saturating_add(own_files(storage)) / MIB
        }),
    };
    let note = fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    Capacity { note, ..promised(settings, &host) }
}

fn promised(settings: &CapacitySettings, host: &Host) -> Capacity {
    let share = |all: u64, reserved: u64, percent: u64| all.saturating_sub(reserved).saturating_mul(percent) / 100;
    let memory = host.memory_mib.map(|all| share(all, settings.reserved_memory_mib, settings.memory_percent));
    Capacity {
        vcpus: host.processors.map(|count| count.saturating_mul(settings.vcpus_per_processor)),
        memory: memory.and_then(|mib| i64::try_from(mib).ok()?.try_into().ok()),
        disk_bytes: host
            .disk_mib
            .map(|all| share(all, settings.reserved_disk_mib, settings.disk_percent).saturating_mul(MIB)),
        ..Capacity::default()
    }
}

/// The host's memory (proc(5), /proc/meminfo).
fn memory_mib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = total.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes / 1024)
}

/// What instances' disks take at this moment.
fn own_files(storage: &Storage) -> u64 {
    let ids = storage.instance_ids().unwrap_or_default();
    // A block of stat(2) has 512 bytes, whatever the file system's have.
    ids.into_iter()
        .filter_map(|id| fs::symlink_metadata(storage.instance(id).disk()).ok())
        .map(|disk| disk.blocks().saturating_mul(512))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_is_what_is_left_times_the_settings() {
        let host = Host { processors: Some(4), memory_mib: Some(8192), disk_mib: Some(100 * 1024) };
        let usual = promised(&CapacitySettings::default(), &host);
        assert_eq!((usual.vcpus, usual.memory.map(i64::from)), (Some(64), Some(7680)));
        assert_eq!(usual.disk_bytes, Some(99 << 30));
        let bold = CapacitySettings { memory_percent: 150, disk_percent: 300, ..CapacitySettings::default() };
        let bold = promised(&bold, &host);
        assert_eq!((bold.memory.map(i64::from), bold.disk_bytes), (Some(11_520), Some(297 << 30)));
        let all_kept = CapacitySettings { reserved_disk_mib: 1 << 40, ..CapacitySettings::default() };
        assert_eq!(promised(&all_kept, &host).disk_bytes, Some(0));
    }

    #[test]
    fn this_host_has_something() {
        let dir = tempfile::tempdir().unwrap();
        let seen = capacity(&CapacitySettings::default(), &Storage::open(dir.path()).unwrap());
        assert!(seen.vcpus.is_some() && seen.disk_bytes.is_some());
    }
}
