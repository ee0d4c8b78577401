//! Kernel modules: which ones the guest loads, and in which order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use anyhow::Context;

use super::read;
use crate::program::run;

/// What the guest needs besides what its kernel has built in: disks and network, randomness for keys, the seed's file
/// system, the power button. What these depend on comes along.
const NEEDED: [&str; 7] = ["virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "isofs", "button", "evdev"];

/// A module to load.
pub struct Module {
    /// Its name with underscores.
    pub name: String,
    /// The ELF object.
    pub object: Vec<u8>,
}

/// The modules below `kernel_dir` (`/lib/modules/<version>`) in an order in which each finds what it depends on. What
/// the kernel has built in is left out.
pub fn in_load_order(kernel_dir: &Path) -> anyhow::Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    collect(&kernel_dir.join("kernel"), &mut files)
        .with_context(|| format!("cannot list the modules in {}", kernel_dir.display()))?;
    let mut order = Vec::new();
    for name in NEEDED {
        load(name, &files, &mut order)?;
    }
    Ok(order)
}

fn collect(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if let Some((stem, _)) =
            path.file_name().and_then(|name| name.to_str()).and_then(|n| n.split_once(".ko"))
        {
            files.insert(stem.replace('-', "_"), path.clone());
        }
    }
    Ok(())
}

fn load(name: &str, files: &BTreeMap<String, PathBuf>, order: &mut Vec<Module>) -> anyhow::Result<()> {
    let Some(path) = files.get(name).filter(|_| order.iter().all(|module| module.name != name)) else { return Ok(()) };
    let object = object(path)?;
    for dependency in dependencies(&object) {
        load(&dependency, files, order)?;
    }
    order.push(Module { name: name.to_owned(), object });
    Ok(())
}

/// Debian 13 compresses modules by xz, Debian 12 does not.
fn object(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return read(path);
    }
    run(Command::new("xz").arg("--decompress").arg(path))?;
    read(&path.with_extension(""))
}

/// Reads `depends=a,b` from the object's section `.modinfo`, whose entries end with a zero byte.
fn dependencies(object: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = object.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = object[start + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(value);
    text.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_modinfo() {
        assert_eq!(
            dependencies(b"\x7fELF..\0license=GPL\0depends=virtio,rng-core\0intree=Y\0"),
            ["virtio", "rng_core"]
        );
        assert!(dependencies(b"\0depends=\0intree=Y\0").is_empty());
        assert!(dependencies(b"").is_empty());
    }
}
