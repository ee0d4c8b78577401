//! An instance's disk: a qcow2 clone of an image, made once.

use std::fs;
use std::path::Path;

use anyhow::Context;
use jobs::desired;

use super::record::{DiskState, Record};
use crate::failure::Failure;
use crate::program::run;
use crate::storage::{InstanceFiles, is_file};

/// Refuses to go on when a disk that was made is missing.
pub fn require(files: &InstanceFiles, record: &Record) -> Result<(), Failure> {
    lost(files, record)?.map_or(Ok(()), |reason| Err(Failure::Refused(reason)))
}

/// Says so when a disk that was made is missing.
pub fn lost(files: &InstanceFiles, record: &Record) -> anyhow::Result<Option<String>> {
    let lost = record.disk == DiskState::Made && !is_file(&files.disk())?;
    Ok(lost.then(|| format!("its disk {} is missing; it is never made anew", files.disk().display())))
}

/// Clones `image`. A disk that is there without being on record was made by a run that was killed right then.
pub async fn clone(files: &InstanceFiles, image: &Path, instance: &desired::Instance) -> Result<(), Failure> {
    let (disk, part) = (files.disk(), files.unfinished("disk"));
    if is_file(&disk)? {
        return Ok(());
    }
    if instance.disk < instance.image.virtual_size {
        return Err(Failure::Refused(format!(
            "a disk of {} cannot hold an image of {}",
            instance.disk, instance.image.virtual_size
        )));
    }
    let size = instance.disk.get().to_string();
    // Unsafe in QEMU's words: the size is given, so that the image need not be opened.
    let arguments = ["create", "-q", "-u", "-f", "qcow2", "-o", "compat=1.1", "-F", "qcow2", "-b"].map(Path::new);
    run("qemu-img", arguments.into_iter().chain([image, &part, Path::new(&size)])).await?;
    fs::rename(&part, &disk).with_context(|| format!("cannot put the disk at {}", disk.display()))?;
    Ok(())
}

/// Grows the disk of a machine that is off to `size` bytes. A disk never shrinks.
pub async fn grow(files: &InstanceFiles, size: u64) -> Result<(), Failure> {
    let disk = files.disk();
    let current = virtual_size(&disk)?;
    if size < current {
        return Err(Failure::Refused(format!("its disk has {current} bytes and cannot shrink to {size}")));
    }
    if size > current {
        run(
            "qemu-img",
            [
                Path::new("resize"),
                Path::new("-q"),
                Path::new("-f"),
                Path::new("qcow2"),
                &disk,
                Path::new(&size.to_string()),
            ],
        )
        .await?;
    }
    Ok(())
}

/// The size that the header of our own clone says, which is at the same place in every version of qcow2.
fn virtual_size(disk: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::FileExt;
    let mut bytes = [0; 8];
    fs::File::open(disk)
        .and_then(|file| file.read_exact_at(&mut bytes, 24))
        .with_context(|| format!("cannot read the header of {}", disk.display()))?;
    Ok(u64::from_be_bytes(bytes))
}
