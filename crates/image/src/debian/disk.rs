//! The disk: a GUID partition table with GRUB's core and one ext4 file system, as qcow2.
//!
//! GRUB's own installer wants a real disk and root. What it does for a BIOS is little: its first sector loads the sector
//! that it names, which loads the sectors that a list at its end names (GRUB, boot.S and diskboot.S).

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use nix::unistd::Uid;

use super::recipe::Recipe;
use super::system::EPOCH;
use crate::program::{run, whole_path};

/// What has to be installed.
pub const PROGRAMS: &[&str] = &["sfdisk", "mkfs.ext4", "qemu-img", "tar"];

const SECTOR: u64 = 512;
const MEBIBYTE: u64 = 1 << 20;
/// The size of the disk; instances with larger ones grow into them.
const SIZE: u64 = 4 << 30;
/// Where GRUB's core lies.
const CORE_AT: u64 = MEBIBYTE;
/// Where the file system begins, and how much of the disk's end the table's copy takes.
const ROOT_AT: u64 = 2 * MEBIBYTE;
const TAIL: u64 = MEBIBYTE;

/// How much of the first sector is code; the rest is the partition table's.
const BOOT_CODE: usize = 440;
/// Where boot.img keeps the number of the sector that it loads.
const CORE_SECTOR: usize = 0x5c;
/// Where the first sector of core.img keeps the number of the first sector that it loads.
const REST_SECTOR: usize = 0x200 - 12;

/// Writes the disk of the system in the archive `tar` below `work_dir` and answers where.
pub fn write(recipe: &Recipe, tar: &Path, work_dir: &Path, progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    progress("writing the disk");
    let (raw, image) = (work_dir.join("disk.raw"), work_dir.join("disk.qcow2"));
    File::create(&raw).and_then(|file| file.set_len(SIZE)).context("cannot make the disk")?;
    partition(recipe, &raw)?;
    fill(recipe, tar, work_dir, &raw)?;
    make_bootable(tar, work_dir, &raw)?;
    progress("compressing the disk");
    run(Command::new("qemu-img")
        .args(["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compat=1.1,compression_type=zstd"])
        .args([&raw, &image]))?;
    fs::remove_file(&raw).context("cannot remove the raw disk")?;
    Ok(image)
}

/// The numbers are those of Debian's own images: the system is 1, and last on the disk, so that it can grow.
fn partition(recipe: &Recipe, raw: &Path) -> anyhow::Result<()> {
    let table = format!(
        "label: gpt\nlabel-id: {}\nunit: sectors\n\
         14: start={}, size={}, type=21686148-6449-6E6F-744E-656564454649, uuid={}\n\
         1: start={}, size={}, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid={}, name=root\n",
        recipe.uuid("disk"),
        CORE_AT / SECTOR,
        (ROOT_AT - CORE_AT) / SECTOR,
        recipe.uuid("boot partition"),
        ROOT_AT / SECTOR,
        (SIZE - ROOT_AT - TAIL) / SECTOR,
        recipe.uuid("root partition"),
    );
    let mut sfdisk = Command::new("sfdisk");
    sfdisk.args(["--quiet", "--no-reread", "--no-tell-kernel"]).arg(raw).env("PATH", whole_path());
    let mut child = sfdisk.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot run sfdisk")?;
    child.stdin.take().context("sfdisk has no input")?.write_all(table.as_bytes()).context("sfdisk does not read")?;
    let output = child.wait_with_output().context("cannot wait for sfdisk")?;
    if !output.status.success() {
        bail!("sfdisk failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Makes the file system with all files. Without root, fakeroot remembers whose they are.
fn fill(recipe: &Recipe, tar: &Path, work_dir: &Path, raw: &Path) -> anyhow::Result<()> {
    // GRUB of Debian 12 does not read the last two features; tables that are complete cost guests no work.
    let script = r#"set -eu
        mkdir "$TREE"
        tar --extract --file "$TAR" --directory "$TREE" --numeric-owner --xattrs --xattrs-include='*'
        mkfs.ext4 -q -F -m 1 -L root -U "$UUID" -O ^metadata_csum_seed,^orphan_file \
            -E "offset=$OFFSET,hash_seed=$SEED,lazy_itable_init=0,lazy_journal_init=0" -d "$TREE" "$RAW" "$KIBIBYTES"k
        rm -rf "$TREE""#;
    let mut command = match Uid::effective().is_root() {
        true => Command::new("sh"),
        false => Command::new("fakeroot"),
    };
    if !Uid::effective().is_root() {
        command.arg("sh");
    }
    command
        .args(["-c", script])
        .env("PATH", whole_path())
        .env("TREE", work_dir.join("tree"))
        .env("TAR", tar)
        .env("RAW", raw)
        .env("UUID", recipe.uuid("root"))
        .env("SEED", recipe.uuid("directories"))
        .env("OFFSET", ROOT_AT.to_string())
        .env("KIBIBYTES", ((SIZE - ROOT_AT - TAIL) / 1024).to_string())
        .env("SOURCE_DATE_EPOCH", EPOCH)
        // What e2fsprogs before 1.47.1 takes for the time.
        .env("E2FSPROGS_FAKE_TIME", EPOCH);
    run(&mut command).context("cannot make the file system")?;
    Ok(())
}

/// Writes GRUB where the BIOS finds it.
fn make_bootable(tar: &Path, work_dir: &Path, raw: &Path) -> anyhow::Result<()> {
    run(Command::new("tar").args(["--extract", "--file"]).arg(tar).arg("--directory").arg(work_dir).args([
        "--no-same-owner",
        "./boot/grub/boot.img",
        "./boot/grub/core.img",
    ]))?;
    let part = |name: &str| {
        let path = work_dir.join("boot/grub").join(name);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (boot, core) = linked(part("boot.img")?, part("core.img")?)?;
    let mut disk = File::options().write(true).open(raw).context("cannot open the disk")?;
    disk.write_all(&boot)
        .and_then(|()| disk.seek(SeekFrom::Start(CORE_AT)))
        .and_then(|_| disk.write_all(&core))
        .context("cannot write the boot loader")
}

/// The boot code and GRUB's core, each with the number of the sector that comes next.
fn linked(mut boot: Vec<u8>, mut core: Vec<u8>) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    ensure!(boot.len() == SECTOR as usize, "GRUB's boot.img has {} bytes, expected {SECTOR}", boot.len());
    let room = ROOT_AT - CORE_AT;
    ensure!(
        core.len() > SECTOR as usize && core.len() as u64 <= room,
        "GRUB's core.img has {} bytes, expected {SECTOR} to {room}",
        core.len()
    );
    let first = CORE_AT / SECTOR;
    boot[CORE_SECTOR..CORE_SECTOR + 8].copy_from_slice(&first.to_le_bytes());
    boot.truncate(BOOT_CODE);
    core[REST_SECTOR..REST_SECTOR + 8].copy_from_slice(&(first + 1).to_le_bytes());
    Ok((boot, core))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_loader_finds_its_next_sectors() {
        let (boot, core) = linked(vec![0xaa; 512], vec![0xbb; 40_000]).unwrap();
        assert_eq!(boot.len(), 440, "the partition table follows");
        assert_eq!(boot[0x5c..0x64], 2048_u64.to_le_bytes());
        assert_eq!((core[0x1f3], &core[0x1f4..0x1fc], core[0x1fc]), (0xbb, &2049_u64.to_le_bytes()[..], 0xbb));
        assert!(linked(vec![0; 512], vec![0; 512]).is_err());
        assert!(linked(vec![0; 512], vec![0; (1 << 20) + 1]).is_err());
        assert!(linked(vec![0; 511], vec![0; 1024]).is_err());
    }
}
