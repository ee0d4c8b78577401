//! The tiny image: a kernel, busybox and an SSH server out of Debian packages, as a qcow2 disk that boots by BIOS.
//!
//! It takes the same way through the cloud as any other image: no root is needed to build it, and the guest reads its
//! name and keys from a NoCloud seed. Equal packages and equal sources give an equal file, which is built once.

mod cpio;
mod disk;
mod initramfs;
mod kernel_module;
mod package;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use sha2::{Digest, Sha256};

use package::Packages;

use crate::work_dir::WorkDir;

/// Raised whenever the code here makes another file of the same packages and guest files.
const RECIPE: u32 = 1;

/// Who logs in to a guest of the tiny image by SSH.
pub const LOGIN_USER: &str = "root";

/// What a build may choose.
pub struct BuildOptions {
    /// The folder that finished images lie in and in which they are built.
    pub cache_dir: PathBuf,
}

/// Builds the image unless it is there, tells `progress` what goes on, and answers where the image lies.
pub fn build(options: &BuildOptions, progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    let work = WorkDir::make(&options.cache_dir)?;
    progress("looking up Debian packages");
    let packages = Packages::resolve(work.path())?;
    let image = options.cache_dir.join(format!("tiny-{}.qcow2", short_digest(&packages)));
    if image.is_file() {
        return Ok(image);
    }
    progress(&format!("downloading {} packages, among them {}", packages.count(), packages.kernel()));
    let tree = packages.unpack(work.path())?;
    progress("packing the guest");
    let initramfs = initramfs::pack(&tree)?;
    progress("writing the disk");
    let made = disk::write(&tree, &initramfs, work.path())?;
    fs::rename(&made, &image).with_context(|| format!("cannot put the image at {}", image.display()))?;
    Ok(image)
}

/// Names the image by all that it is made of.
fn short_digest(packages: &Packages) -> String {
    let mut digest = Sha256::new();
    digest.update(RECIPE.to_be_bytes());
    digest.update(packages.fingerprint());
    digest.update(disk::BOOT_CONFIG);
    for file in initramfs::GUEST_FILES {
        digest.update(file.path);
        digest.update(file.content);
    }
    data_encoding::HEXLOWER.encode(&digest.finalize()[..8])
}

/// Reads a file; the error names it.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
