//! A whole image is read once by `qemu-img check` before anything clones it: tables that point outside of the file, that
//! overlap, or whose counts are wrong end here and not under a machine.
//!
//! The file comes from somebody, so the program that reads it has nothing: another user without any rights, a network
//! namespace without interfaces, no file to write, bounded memory and time. It gets the file as its standard input,
//! since it may not pass through the directories.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;
use tokio::time::timeout;

/// Reading an image's tables takes seconds, also for large ones.
const DEADLINE: Duration = Duration::from_secs(300);
/// `qemu-img check` found errors (2) or clusters that nothing refers to (3), which are harmless (qemu-img(1)).
const ERRORS: i32 = 2;
const LEAKS: i32 = 3;
/// The program could not even read it (1).
const UNREADABLE: i32 = 1;

/// How the program is confined: without a network, bounded, and as nobody.
const CONFINEMENT: [&str; 19] = [
    "unshare",
    "--net",
    "--ipc",
    "--",
    "prlimit",
    "--cpu=240",
    "--as=2147483648",
    "--fsize=0",
    "--nofile=64",
    "--core=0",
    "--",
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--no-new-privs",
    "--inh-caps=-all",
    "--bounding-set=-all",
    "--",
];

/// What an inspection found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The image is whole.
    Whole,
    /// It is not, for this reason.
    Damaged(String),
}

/// Inspects a qcow2 image whose header was found to be safe.
pub async fn inspect(image: &Path) -> anyhow::Result<Verdict> {
    let file = File::open(image).with_context(|| format!("cannot read {}", image.display()))?;
    let check = ["qemu-img", "check", "-q", "-f", "qcow2", "/dev/stdin"];
    let [program, arguments @ ..] = &CONFINEMENT;
    let mut command = Command::new(program);
    command.args(arguments).args(check).stdin(file).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command.current_dir("/").env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let output = timeout(DEADLINE, command.output())
        .await
        .with_context(|| format!("qemu-img did not read the image within {} s", DEADLINE.as_secs()))?
        .context("cannot start unshare (util-linux)")?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.code() {
        Some(0 | LEAKS) => Ok(Verdict::Whole),
        Some(ERRORS) => Ok(Verdict::Damaged("its tables are damaged (qemu-img check)".to_owned())),
        Some(UNREADABLE) if said.starts_with("qemu-img: ") => Ok(Verdict::Damaged(said)),
        // The confinement itself says what it lacks.
        Some(_) => bail!("the image could not be inspected: {said} ({})", output.status),
        None => Ok(Verdict::Damaged(format!("qemu-img was ended while it read it ({})", output.status))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::process::Command;

    use super::*;

    fn image(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("image.qcow2");
        let made = Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&path).arg("64M").status();
        assert!(made.unwrap().success(), "these tests need qemu-img (qemu-utils)");
        let written = Command::new("qemu-io").args(["-f", "qcow2", "-c", "write 0 1M"]).arg(&path).output();
        assert!(written.unwrap().status.success());
        path
    }

    #[tokio::test]
    async fn a_whole_image_is_whole_and_a_damaged_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = image(dir.path());
        assert_eq!(inspect(&path).await.unwrap(), Verdict::Whole);
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mut l1 = [0; 8];
        file.read_exact_at(&mut l1, 40).unwrap();
        // The first L2 table is said to lie far beyond the file.
        let beyond = (1_u64 << 63 | 1 << 40).to_be_bytes();
        file.write_all_at(&beyond, u64::from_be_bytes(l1)).unwrap();
        assert!(matches!(inspect(&path).await.unwrap(), Verdict::Damaged(_)));
    }

    #[tokio::test]
    async fn reference_counts_that_are_wrong_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = image(dir.path());
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mut table = [0; 8];
        file.read_exact_at(&mut table, 48).unwrap();
        let mut block = [0; 8];
        file.read_exact_at(&mut block, u64::from_be_bytes(table)).unwrap();
        // Nothing is said to use the first clusters, which hold the header and the tables.
        file.write_all_at(&[0; 64], u64::from_be_bytes(block)).unwrap();
        assert!(matches!(inspect(&path).await.unwrap(), Verdict::Damaged(_)));
    }

    #[tokio::test]
    async fn a_compressed_bomb_takes_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let (zeros, bomb) = (dir.path().join("zeros"), dir.path().join("bomb.qcow2"));
        File::create(&zeros).unwrap().set_len(64 << 20).unwrap();
        // Data and not holes, so that every cluster is there and compressed.
        let fill = ["-f", "raw", "-c", "write -q -P 7 0 64M"];
        assert!(Command::new("qemu-io").args(fill).arg(&zeros).status().unwrap().success());
        let convert = ["convert", "-q", "-c", "-f", "raw", "-O", "qcow2"];
        assert!(Command::new("qemu-img").args(convert).arg(&zeros).arg(&bomb).status().unwrap().success());
        std::fs::remove_file(&zeros).unwrap();
        let size = std::fs::metadata(&bomb).unwrap().len();
        assert!(size < 4 << 20, "{size} bytes for 64 MiB");
        // It is read where it lies, never unpacked: nothing else appears.
        assert_eq!(inspect(&bomb).await.unwrap(), Verdict::Whole);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(std::fs::metadata(&bomb).unwrap().len(), size);
    }

    #[tokio::test]
    async fn what_reads_the_image_is_nobody_and_has_no_network() {
        let mut words = CONFINEMENT.to_vec();
        words.extend(["sh", "-c", "id -u; grep CapBnd /proc/self/status; ls /sys/class/net 2>/dev/null | head -c 0; ip -brief link | wc -l; touch /tmp/rhyzome-inspected && echo x >/tmp/rhyzome-inspected"]);
        let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines, ["65534", "CapBnd:\t0000000000000000", "1"], "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success(), "it could write a file");
        let _ = std::fs::remove_file("/tmp/rhyzome-inspected");
    }
}
