//! How machines are run: by KVM only where a guest was seen to run under it.
//!
//! A host may have /dev/kvm and yet hang or break every guest, as in some nested machines. So a guest of one sector
//! (`accelerator/probe.s`), which goes through all that a system's first steps go through and prints one letter, is run
//! under KVM with a short deadline, once in each start of the system.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use jobs::observed::Accelerator;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::configuration::AcceleratorSetting;
use crate::storage::{read_json, write_json};

/// A guest that runs prints its letter within a tenth of a second.
const DEADLINE: Duration = Duration::from_secs(3);
/// Changes with every start of the system (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The guest, and what it prints.
const PROBE: &[u8; 512] = include_bytes!("accelerator/probe.bin");
const LETTER: u8 = b'K';
const DISK_SIZE: u64 = 1 << 20;

/// The accelerator of this host, found out when it is first asked for.
pub struct AcceleratorProbe {
    setting: AcceleratorSetting,
    dir: PathBuf,
    found: OnceCell<Accelerator>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Verdict {
    boot_id: String,
    accelerator: Accelerator,
}

impl AcceleratorProbe {
    /// A probe that keeps its verdict in `dir`.
    pub fn new(setting: AcceleratorSetting, dir: &Path) -> Self {
        Self { setting, dir: dir.to_owned(), found: OnceCell::new() }
    }

    /// How machines are run.
    pub async fn get(&self) -> Accelerator {
        match self.setting {
            AcceleratorSetting::Kvm => Accelerator::Kvm,
            AcceleratorSetting::Tcg => Accelerator::Tcg,
            AcceleratorSetting::Auto => *self.found.get_or_init(|| self.find_out()).await,
        }
    }

    async fn find_out(&self) -> Accelerator {
        if OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
            return Accelerator::Tcg;
        }
        let (boot_id, file) = (fs::read_to_string(BOOT_ID).unwrap_or_default(), self.dir.join("accelerator.json"));
        if let Ok(Some(verdict)) = read_json::<Verdict>(&file)
            && verdict.boot_id == boot_id
        {
            return verdict.accelerator;
        }
        let accelerator = match guest_runs("kvm", &self.dir).await {
            Ok(()) => Accelerator::Kvm,
            Err(error) => {
                tracing::warn!("machines are run without KVM: {error:#}");
                Accelerator::Tcg
            }
        };
        if let Err(error) = write_json(&file, &Verdict { boot_id, accelerator }) {
            tracing::warn!("KVM is tried again at the next start: {error:#}");
        }
        accelerator
    }
}

/// Runs the boot sector and waits for its letter.
async fn guest_runs(accelerator: &str, dir: &Path) -> anyhow::Result<()> {
    let disk = dir.join(format!("probe-{accelerator}.img"));
    write_disk(&disk).with_context(|| format!("cannot write {}", disk.display()))?;
    let mut guest = Command::new("qemu-system-x86_64")
        .args([
            "-machine",
            "q35",
            "-accel",
            accelerator,
            "-m",
            "16",
            "-nodefaults",
            "-display",
            "none",
            "-serial",
            "stdio",
        ])
        .arg("-drive")
        .arg(format!("file={},format=raw,if=virtio,readonly=on", disk.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start QEMU")?;
    let mut output = guest.stdout.take().context("QEMU has an output")?;
    let letter = timeout(DEADLINE, output.read_u8()).await;
    // Waited for, so that it is gone before a machine wants what it holds.
    let _ = guest.kill().await;
    let _ = fs::remove_file(&disk);
    match letter {
        Ok(Ok(LETTER)) => Ok(()),
        Ok(_) => anyhow::bail!("a guest under {accelerator} ended before it could say a word"),
        Err(_) => anyhow::bail!("a guest under {accelerator} said nothing within {} s", DEADLINE.as_secs()),
    }
}

/// A BIOS takes no disk that is smaller than one cylinder.
fn write_disk(path: &Path) -> std::io::Result<()> {
    fs::write(path, PROBE)?;
    OpenOptions::new().write(true).open(path)?.set_len(DISK_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_probing_guest_says_its_word_where_guests_run() {
        let dir = tempfile::tempdir().unwrap();
        guest_runs("tcg", dir.path()).await.unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_probing_guest_is_what_its_source_says() {
        let dir = tempfile::tempdir().unwrap();
        let (object, binary) = (dir.path().join("probe.o"), dir.path().join("probe.bin"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/accelerator/probe.s");
        let run = |program: &str, arguments: &[&Path]| {
            let status = std::process::Command::new(program).args(arguments).status();
            assert!(status.unwrap().success(), "{program} (Debian: binutils)");
        };
        run("as", &["--64".as_ref(), "-o".as_ref(), &object, &source]);
        let options = ["-Ttext", "0x7c00", "--oformat", "binary", "-o"].map(Path::new);
        run("ld", &[options.as_slice(), &[&binary, &object]].concat());
        assert_eq!(fs::read(binary).unwrap(), PROBE);
    }

    #[tokio::test]
    async fn a_guest_that_never_ran_is_a_reason_against() {
        let dir = tempfile::tempdir().unwrap();
        let error = guest_runs("hax", dir.path()).await.unwrap_err().to_string();
        assert_eq!(error, "a guest under hax ended before it could say a word");
    }

    #[tokio::test]
    async fn the_verdict_is_remembered_until_the_system_starts_again() {
        let dir = tempfile::tempdir().unwrap();
        let boot_id = fs::read_to_string(BOOT_ID).unwrap();
        let file = dir.path().join("accelerator.json");
        write_json(&file, &Verdict { boot_id, accelerator: Accelerator::Tcg }).unwrap();
        assert_eq!(AcceleratorProbe::new(AcceleratorSetting::Auto, dir.path()).get().await, Accelerator::Tcg);
        assert_eq!(AcceleratorProbe::new(AcceleratorSetting::Kvm, dir.path()).get().await, Accelerator::Kvm);
    }
}
