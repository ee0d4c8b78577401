//! What machine this is and how it fares, as procd's object `system` tells it.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::statvfs::statvfs;

use crate::json::{Json, Members, object};

/// `system board` of a router that says it is this version of OpenWrt.
#[must_use]
pub fn board(openwrt: &str) -> Members {
    let hostname = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let own = concat!("rhyzome-router ", env!("CARGO_PKG_VERSION"));
    let release = object([
        ("distribution", "OpenWrt".into()),
        ("version", openwrt.into()),
        ("revision", own.into()),
        ("target", "rhyzome/router".into()),
        ("description", format!("{own}, like OpenWrt {openwrt}").into()),
        ("builddate", "0".into()),
    ]);
    members([
        ("kernel", line("/proc/sys/kernel/osrelease").into()),
        ("hostname", hostname.into()),
        ("system", std::env::consts::ARCH.into()),
        ("model", "Rhyzome router".into()),
        ("board_name", "rhyzome,router".into()),
        ("rootfs_type", "none".into()),
        ("release", release),
    ])
}

/// `system info`. `tmp` is what clients know as /tmp.
#[must_use]
pub fn info(tmp: &Path) -> Members {
    let load = line("/proc/loadavg");
    let load = load.split(' ').take(3).filter_map(|average| average.parse::<f64>().ok());
    #[allow(clippy::cast_possible_truncation, reason = "a load is far below what an integer holds")]
    let load: Vec<Json> = load.map(|average| Json::Int((average * 65_536.0) as i64)).collect();
    let uptime = line("/proc/uptime");
    let uptime: u64 = uptime.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    let memory = memory();
    members([
        ("localtime", now().into()),
        ("uptime", uptime.into()),
        ("load", Json::Array(load)),
        (
            "memory",
            object([
                ("total", memory("MemTotal").into()),
                ("free", memory("MemFree").into()),
                ("shared", memory("Shmem").into()),
                ("buffered", memory("Buffers").into()),
                ("available", memory("MemAvailable").into()),
                ("cached", memory("Cached").into()),
            ]),
        ),
        ("root", space(Path::new("/"))),
        ("tmp", space(tmp)),
        ("swap", object([("total", memory("SwapTotal").into()), ("free", memory("SwapFree").into())])),
    ])
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn members<const N: usize>(members: [(&str, Json); N]) -> Members {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

/// Figures of /proc/meminfo, in bytes.
fn memory() -> impl Fn(&str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    move |name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kilobytes = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    }
}

/// The space of a file system, in kilobytes.
fn space(path: &Path) -> Json {
    let (total, free, avail) = match statvfs(path) {
        Ok(stat) => {
            let kilobytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size()) / 1024;
            (kilobytes(stat.blocks()), kilobytes(stat.blocks_free()), kilobytes(stat.blocks_available()))
        }
        Err(_) => (0, 0, 0),
    };
    object([
        ("total", total.into()),
        ("free", free.into()),
        ("used", total.saturating_sub(free).into()),
        ("avail", avail.into()),
    ])
}
