//! Debian images: a Debian system out of Debian's packages that boots by BIOS from a virtio disk and is made to be
//! somebody's by cloud-init, as a qcow2 disk.
//!
//! mmdebstrap installs the packages, the guest's own GRUB makes its boot loader, `mkfs.ext4` and `sfdisk` make the disk.
//! As root or, with user namespaces, as anybody. An image is named by its recipe and built once; equal packages and an
//! equal recipe give an equal system.

mod archive;
mod disk;
mod recipe;
mod system;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

pub use archive::Mirror;
pub use recipe::Release;

use archive::Archive;
use recipe::Recipe;

use crate::program;
use crate::work_dir::WorkDir;

/// A finished image older than this is worth a word about security updates.
const AGED: Duration = DAY.saturating_mul(30);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a build may choose.
pub struct BuildOptions {
    /// The folder that finished images lie in and in which they are built.
    pub cache_dir: PathBuf,
    /// Which Debian.
    pub release: Release,
    /// Where packages come from, instead of where the machine's own come from.
    pub mirror: Option<Mirror>,
    /// Whether a finished image of the same recipe is good enough.
    pub reuse: Reuse,
}

/// Whether a finished image of the same recipe is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It is.
    Finished,
    /// It is not: packages may have been updated.
    Nothing,
}

/// Builds the image unless it is there, tells `progress` what goes on, and answers where the image lies.
pub fn build(options: &BuildOptions, progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    let archive = match &options.mirror {
        Some(mirror) => Archive::of_mirror(mirror.clone()),
        None => Archive::of_machine()?,
    };
    let recipe = Recipe::new(options.release, archive);
    let image = options.cache_dir.join(format!("{}-{}.qcow2", options.release.name(), recipe.short_digest()));
    if options.reuse == Reuse::Finished
        && let Ok(metadata) = image.metadata()
    {
        let age = metadata.modified().ok().and_then(|modified| modified.elapsed().ok()).unwrap_or_default();
        if age > AGED {
            let days = age.as_secs() / DAY.as_secs();
            progress(&format!("built {days} days ago; --fresh builds it again, with newer packages"));
        }
        return Ok(image);
    }
    program::require(system::PROGRAMS)?;
    program::require(disk::PROGRAMS)?;
    let work = WorkDir::make(&options.cache_dir)?;
    if recipe.archive().security.is_none() {
        progress("no archive with security updates is known: the image is built, and its guests kept, without them");
    }
    let system = system::install(&recipe, work.path(), progress)?;
    let made = disk::write(&recipe, &system, work.path(), progress)?;
    fs::rename(&made, &image).with_context(|| format!("cannot put the image at {}", image.display()))?;
    Ok(image)
}
