//! The guest's whole system: busybox, the SSH server with its libraries, kernel modules and our own files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::cpio::Archive;
use super::package::Tree;
use super::{kernel_module, read};
use crate::program::run;

/// A file of ours in the guest.
pub struct GuestFile {
    /// Where, without the leading slash.
    pub path: &'static str,
    /// Its permissions.
    pub mode: u32,
    /// What is in it.
    pub content: &'static [u8],
}

/// Our own files in the guest.
pub const GUEST_FILES: [GuestFile; 8] = [
    GuestFile { path: "etc/inittab", mode: 0o644, content: include_bytes!("guest/inittab") },
    GuestFile { path: "etc/rc", mode: 0o755, content: include_bytes!("guest/rc") },
    GuestFile { path: "etc/dhcp", mode: 0o755, content: include_bytes!("guest/dhcp") },
    GuestFile { path: "etc/finish", mode: 0o755, content: include_bytes!("guest/finish") },
    GuestFile { path: "etc/power-button", mode: 0o755, content: include_bytes!("guest/power-button") },
    GuestFile { path: "etc/passwd", mode: 0o644, content: b"root:x:0:0:root:/root:/bin/sh\n" },
    GuestFile { path: "etc/group", mode: 0o644, content: b"root:x:0:\ntty:x:5:\n" },
    GuestFile { path: "etc/shells", mode: 0o644, content: b"/bin/sh\n" },
];

const DIRECTORIES: [&str; 14] = [
    "bin",
    "dev",
    "etc",
    "lib",
    "lib/modules",
    "lib64",
    "proc",
    "run",
    "sbin",
    "seed",
    "sys",
    "usr",
    "usr/bin",
    "usr/sbin",
];
const SSH_PROGRAMS: [&str; 3] = ["sbin/dropbear", "bin/dropbearkey", "bin/dropbearconvert"];
const LOADER: &str = "ld-linux-x86-64.so.2";

/// Packs the guest's files into an initramfs.
pub fn pack(tree: &Tree) -> anyhow::Result<Vec<u8>> {
    let mut archive = Archive::default();
    for path in DIRECTORIES {
        archive.directory(path, 0o755);
    }
    archive.directory("root", 0o700);
    archive.directory("tmp", 0o1777);
    pack_busybox(tree, &mut archive)?;
    pack_ssh_server(tree, &mut archive)?;
    pack_modules(tree, &mut archive)?;
    for file in GUEST_FILES {
        archive.file(file.path, file.mode, file.content);
    }
    Ok(archive.finish())
}

fn pack_busybox(tree: &Tree, archive: &mut Archive) -> anyhow::Result<()> {
    let busybox = tree.file("bin/busybox")?;
    archive.file("bin/busybox", 0o755, &read(&busybox)?);
    archive.symlink("init", "bin/busybox");
    for applet in run(Command::new(&busybox).arg("--list"))?.lines().filter(|applet| *applet != "busybox") {
        archive.symlink(&format!("bin/{applet}"), "busybox");
    }
    Ok(())
}

fn pack_ssh_server(tree: &Tree, archive: &mut Archive) -> anyhow::Result<()> {
    let loader = tree.file(&format!("lib/x86_64-linux-gnu/{LOADER}"))?;
    let mut libraries = BTreeMap::new();
    for path in SSH_PROGRAMS {
        let program = tree.file(path)?;
        libraries.extend(libraries_of(&program, &loader, &tree.library_dirs())?);
        let name = program.file_name().and_then(|name| name.to_str()).context("a program has a name")?;
        archive.file(&format!("bin/{name}"), 0o755, &read(&program)?);
    }
    archive.file(&format!("lib64/{LOADER}"), 0o755, &read(&loader)?);
    for (name, path) in libraries {
        archive.file(&format!("lib/{name}"), 0o755, &read(&path)?);
    }
    Ok(())
}

/// Asks the packages' own dynamic loader, since what this machine has installed need not be what was downloaded. It
/// answers lines of the form `libz.so.1 => /path/libz.so.1 (0x…)`.
fn libraries_of(program: &Path, loader: &Path, dirs: &[PathBuf]) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let search = std::env::join_paths(dirs).context("a folder's name holds a colon")?;
    let listed = run(Command::new(loader).arg("--library-path").arg(search).arg("--list").arg(program))?;
    listed
        .lines()
        .filter_map(|line| line.trim().split_once(" => "))
        .filter(|(name, _)| !name.ends_with(LOADER))
        .map(|(name, place)| {
            let path = place.rsplit_once(" (").map_or(place, |(path, _)| path);
            anyhow::ensure!(path.starts_with('/'), "no package has the library {name}");
            Ok((name.to_owned(), PathBuf::from(path)))
        })
        .collect()
}

fn pack_modules(tree: &Tree, archive: &mut Archive) -> anyhow::Result<()> {
    let mut order = String::new();
    for module in kernel_module::in_load_order(&tree.find("lib/modules", "")?)? {
        let path = format!("lib/modules/{}.ko", module.name);
        archive.file(&path, 0o644, &module.object);
        order.push_str(&format!("/{path}\n"));
    }
    archive.file("lib/modules/order", 0o644, order.as_bytes());
    Ok(())
}
