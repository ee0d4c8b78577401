//! Removes all that is ours from the host: machines, bridges and the way to the router. Works without libvirt too.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};
use types::InstanceId;

use crate::configuration::Configuration;
use crate::instance;
use crate::libvirt::{Libvirt, LibvirtError};
use crate::segment;
use crate::storage::Storage;
use crate::tap_filter;

/// Longest time for a call of libvirt, which may hang when everything is taken down.
const DEADLINE: Duration = Duration::from_secs(25);
/// How long a process may take to end before it is ended for good, and after that.
const GRACE: Duration = Duration::from_secs(5);
const GLANCE: Duration = Duration::from_millis(50);

/// What becomes of disks and images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disks {
    /// They stay.
    Keep,
    /// They go too.
    Remove,
}

/// Removes what bears our mark. What cannot be removed does not keep the rest from going.
pub async fn remove_all(configuration: &Configuration, disks: Disks) -> anyhow::Result<()> {
    let mut failures = Vec::new();
    let libvirt = Libvirt::at(&configuration.libvirt_uri).with_deadline(DEADLINE);
    if let Err(error) = instance::remove_machines(libvirt).await {
        tracing::warn!("{error:#}; ending the machines' processes instead");
        let away = matches!(error.downcast_ref(), Some(LibvirtError::Unreachable { .. } | LibvirtError::Silent { .. }));
        failures.extend((!away).then_some(error));
    }
    // Also where libvirt answers: a process that it lost track of would stay otherwise.
    failures.extend(end_processes(&configuration.storage_dir).await.err());
    failures.extend(segment::remove_all().await.err());
    failures.extend(tap_filter::remove().await.err());
    if disks == Disks::Remove {
        let storage = Storage::at(&configuration.storage_dir);
        failures.extend([storage.instances(), storage.images()].iter().filter_map(|path| remove_tree(path).err()));
    }
    match failures.as_slice() {
        [] => Ok(()),
        failures => bail!("{}", failures.iter().map(|error| format!("{error:#}")).collect::<Vec<_>>().join("; ")),
    }
}

/// Ends the QEMU processes that run an instance's disk in `storage_dir`.
async fn end_processes(storage_dir: &Path) -> anyhow::Result<()> {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let end = Instant::now() + GRACE;
        for pid in processes(storage_dir)? {
            tracing::info!(pid = pid.as_raw(), "ending a machine's process");
            match kill(pid, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot end process {pid}")),
            }
        }
        while !processes(storage_dir)?.is_empty() && Instant::now() < end {
            sleep(GLANCE).await;
        }
    }
    let left = processes(storage_dir)?;
    ensure!(left.is_empty(), "processes {left:?} do not end");
    Ok(())
}

fn processes(storage_dir: &Path) -> anyhow::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot list processes")? {
        let path = entry.context("cannot list processes")?.path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process that has ended meanwhile has no command line.
        let Ok(command) = fs::read(path.join("cmdline")) else { continue };
        if is_machine(&command, storage_dir) {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

/// Whether a command line (words that end with a zero byte) is QEMU's for an instance: libvirt names the guest
/// `guest=<id>,…`, and our disks lie in the storage.
fn is_machine(command: &[u8], storage_dir: &Path) -> bool {
    let text = String::from_utf8_lossy(command);
    let mut words = text.split('\0');
    let is_qemu =
        words.next().and_then(|path| path.rsplit('/').next()).is_some_and(|name| name.starts_with("qemu-system-"));
    let named = words
        .filter_map(|word| word.strip_prefix("guest=")?.split(',').next()?.parse::<InstanceId>().ok())
        .map(|id| Storage::at(storage_dir).instance(id).disk())
        .next();
    is_qemu && named.is_some_and(|disk| text.contains(&*disk.to_string_lossy()))
}

fn remove_tree(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_machines_are_ended() {
        let dir = Path::new("/srv/rhyzome");
        let id = InstanceId::from_bits(9);
        let disk = Storage::at(dir).instance(id).disk();
        let line = |program: &str, name: &str, disk: &str| {
            format!("{program}\0-name\0guest={name},debug-threads=on\0-blockdev\0{{\"filename\":\"{disk}\"}}\0")
                .into_bytes()
        };
        let (id, disk) = (id.to_string(), disk.to_string_lossy().into_owned());
        assert!(is_machine(&line("/usr/bin/qemu-system-x86_64", &id, &disk), dir));
        assert!(!is_machine(&line("/usr/bin/qemu-system-x86_64", "web", &disk), dir));
        assert!(!is_machine(&line("/usr/bin/qemu-system-x86_64", &id, "/else/disk.qcow2"), dir));
        assert!(!is_machine(&line("/usr/bin/less", &id, &disk), dir));
        assert!(!is_machine(b"", dir));
    }
}
