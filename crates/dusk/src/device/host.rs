//! A machine without ubus, such as a Debian server: what `/proc`, `/sys` and `/etc` tell of it.

use std::collections::BTreeMap;
use std::path::Path;

use fleet::status::{Board, Interface, Space, Status};

/// Reads how the machine fares, as far as its files tell. `root` is `/` but in tests.
#[must_use]
pub fn status(root: &Path) -> Status {
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap_or_default();
    let line = |name: &str| read(name).lines().next().unwrap_or_default().trim().to_owned();
    let release = pairs(&read("etc/os-release"), '=');
    let memory = pairs(&read("proc/meminfo"), ':');
    let kib = |name: &str| memory.get(name).and_then(|size| size.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    let loads = line("proc/loadavg");
    Status {
        board: Board {
            hostname: line("proc/sys/kernel/hostname"),
            model: line("sys/class/dmi/id/product_name"),
            board: String::new(),
            release: release.get("PRETTY_NAME").cloned().unwrap_or_default(),
            target: std::env::consts::ARCH.to_owned(),
            kernel: line("proc/sys/kernel/osrelease"),
        },
        uptime: line("proc/uptime").split(['.', ' ']).next().and_then(|up| up.parse().ok()).unwrap_or(0),
        load: loads.split(' ').take(3).filter_map(hundredths).collect(),
        memory: Space { total: kib("MemTotal"), free: kib("MemAvailable") },
        flash: super::flash(root),
        interfaces: interfaces(root),
        ..Status::default()
    }
}

/// `0.07` as 7.
fn hundredths(load: &str) -> Option<u32> {
    let (whole, part) = load.split_once('.')?;
    Some(whole.parse::<u32>().ok()?.saturating_mul(100).saturating_add(part.parse::<u32>().ok()?))
}

fn pairs(text: &str, separator: char) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(separator));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().trim_matches('"').to_owned())).collect()
}

/// Network devices with what the kernel says of their state; addresses are netifd's business where there is one.
fn interfaces(root: &Path) -> Vec<Interface> {
    let folder = root.join("sys/class/net");
    let names = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name != "lo");
    names.sort();
    let interface = |name: String| {
        let state = std::fs::read_to_string(folder.join(&name).join("operstate")).unwrap_or_default();
        Interface {
            is_up: matches!(state.trim(), "up" | "unknown"),
            device: name.clone(),
            name,
            ..Interface::default()
        }
    };
    names.into_iter().map(interface).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_tells_by_its_files_and_what_is_not_there_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("etc/os-release", "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
        write("proc/loadavg", "1.07 0.50 0.00 1/200 4242\n");
        write("proc/uptime", "86400.55 170000.00\n");
        write("proc/meminfo", "MemTotal:        2048000 kB\nMemFree: 1 kB\nMemAvailable:    1024000 kB\n");
        write("sys/class/net/eth0/operstate", "up\n");
        write("sys/class/net/eth1/operstate", "down\n");
        let status = status(root.path());
        assert_eq!(status.board.release, "Debian GNU/Linux 12 (bookworm)");
        assert_eq!((status.load, status.uptime), (vec![107, 50, 0], 86_400));
        assert_eq!((status.memory.total, status.memory.free), (2_048_000, 1_024_000));
        let up: Vec<_> = status.interfaces.iter().map(|interface| (interface.name.as_str(), interface.is_up)).collect();
        assert_eq!(up, [("eth0", true), ("eth1", false)]);
        assert_eq!(status.board.kernel, "");
    }
}
