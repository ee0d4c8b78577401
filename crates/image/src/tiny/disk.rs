//! The disk: a FAT file system without partitions that syslinux boots, as qcow2.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::package::Tree;
use crate::program::run;

/// What syslinux boots. Self-tests of ciphers are left out because they cost half a second where there is no KVM.
pub const BOOT_CONFIG: &str = "DEFAULT tiny
LABEL tiny
    KERNEL vmlinuz
    INITRD initrd
    APPEND console=ttyS0 loglevel=4 panic=-1 cryptomgr.notests random.trust_cpu=on
";

/// Space beside kernel and initramfs: the boot loader, the file system's own tables, room to grow.
const SLACK: u64 = 2 << 20;
const MEBIBYTE: u64 = 1 << 20;
/// The file system's serial number and every time in it are fixed, so that equal content gives an equal file.
const SERIAL: &str = "52485a4d";
const NO_TIME: (&str, &str) = ("SOURCE_DATE_EPOCH", "315619200");

/// Writes the disk below `work_dir` and answers where.
pub fn write(tree: &Tree, initramfs: &[u8], work_dir: &Path) -> anyhow::Result<PathBuf> {
    let kernel = tree.find("boot", "vmlinuz-")?;
    let (raw, image) = (work_dir.join("disk.raw"), work_dir.join("disk.qcow2"));
    let (initrd, config) = (work_dir.join("initrd"), work_dir.join("syslinux.cfg"));
    std::fs::write(&initrd, initramfs).context("cannot write the initramfs")?;
    std::fs::write(&config, BOOT_CONFIG).context("cannot write the boot loader's configuration")?;

    let kernel_size = kernel.metadata().context("cannot read the kernel's size")?.len();
    let size = (kernel_size + initramfs.len() as u64 + SLACK).next_multiple_of(MEBIBYTE);
    File::create(&raw).and_then(|file| file.set_len(size)).context("cannot make the disk")?;
    run(mtool(tree, "mformat", &raw)?.args(["-v", "RHYZOME", "-N", SERIAL, "::"]))?;
    run(mtool(tree, "mcopy", &raw)?.arg(&kernel).arg("::vmlinuz"))?;
    run(mtool(tree, "mcopy", &raw)?.args([&initrd, &config]).arg("::"))?;
    run(tree.command("syslinux")?.env(NO_TIME.0, NO_TIME.1).arg("--install").arg(&raw))?;
    // Not compressed: without KVM the guest's BIOS would wait a second longer for its kernel.
    run(Command::new("qemu-img")
        .args(["convert", "-f", "raw", "-O", "qcow2", "-o", "compat=1.1"])
        .args([&raw, &image]))?;
    Ok(image)
}

fn mtool(tree: &Tree, name: &str, image: &Path) -> anyhow::Result<Command> {
    let mut command = tree.command(name)?;
    // mtools would refuse a disk whose size is no multiple of a track.
    command.env("MTOOLS_SKIP_CHECK", "1").env(NO_TIME.0, NO_TIME.1).arg("-i").arg(image);
    Ok(command)
}
