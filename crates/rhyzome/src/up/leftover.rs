//! What an installation leaves on the machine when nobody tidies up: found by looking, removed one by one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::layout::Layout;
use super::machine;
use super::process::{self, Process};
use super::state::State;

/// How long a program may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);
/// The programs that are told their place in the data directory.
const PROGRAMS: [&str; 9] = [
    "rhyzome-sim",
    "rhyzome",
    "rhyzome-router",
    "rhyzome-openwrt",
    "rhyzome-libvirt",
    "libvirtd",
    "qemu-system-x86_64",
    "dnsmasq",
    "wireguard-go",
];

/// One thing that should not be there any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// A process.
    Process {
        /// What it was started as.
        name: String,
        /// Which.
        process: Process,
    },
    /// A network interface.
    Interface(String),
    /// A network namespace.
    Namespace(String),
    /// An nft table.
    Table {
        /// Its family, as in `inet`.
        family: String,
        /// Its name.
        name: String,
    },
    /// A mount.
    Mount(PathBuf),
    /// A socket that nobody listens on.
    Socket(PathBuf),
    /// A switch of the kernel that was another way before.
    Switch {
        /// Its path under /proc/sys.
        path: String,
        /// What it was.
        before: String,
    },
}

impl fmt::Display for Leftover {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { name, process } => write!(out, "process {} ({name})", process.pid),
            Self::Interface(name) => write!(out, "interface {name}"),
            Self::Namespace(name) => write!(out, "network namespace {name}"),
            Self::Table { family, name } => write!(out, "nft table {family} {name}"),
            Self::Mount(path) => write!(out, "mount {}", path.display()),
            Self::Socket(path) => write!(out, "socket {}", path.display()),
            Self::Switch { path, before } => write!(out, "/proc/sys/{path}, which was {before}"),
        }
    }
}

impl Leftover {
    /// Removes it.
    pub async fn remove(&self) -> Result<()> {
        match self {
            Self::Process { process, .. } => process.stop(GRACE).await?,
            Self::Interface(name) => {
                machine::run("ip", &["link", "delete", name])?;
            }
            Self::Namespace(name) => {
                machine::run("ip", &["netns", "delete", name])?;
            }
            Self::Table { family, name } => {
                machine::run("nft", &["delete", "table", family, name])?;
            }
            Self::Mount(path) => {
                machine::run("umount", &["--lazy", &path.to_string_lossy()])?;
            }
            Self::Socket(path) => config::file::remove(path)?,
            Self::Switch { path, before } => std::fs::write(Path::new("/proc/sys").join(path), before)?,
        }
        Ok(())
    }
}

/// Looks for everything that an installation with that state makes, the processes first.
pub fn find(layout: &Layout, state: &State) -> Result<Vec<Leftover>> {
    let mut found = processes(layout, state)?;
    if state.settings.simulate.is_some() {
        found.extend(machine::sockets_below(layout.data())?.into_iter().map(Leftover::Socket));
        return Ok(found);
    }
    let settings = &state.settings.router;
    if machine::has_namespace(&settings.namespace) {
        found.push(Leftover::Namespace(settings.namespace.clone()));
    }
    let interfaces = machine::interfaces()?.into_iter().filter(|name| name == &settings.interface || is_segment(name));
    found.extend(interfaces.map(Leftover::Interface));
    let tables = machine::tables()?.into_iter().filter(|(_, name)| name == &settings.table);
    found.extend(tables.map(|(family, name)| Leftover::Table { family, name }));
    found.extend(machine::mounts_below(layout.data())?.into_iter().map(Leftover::Mount));
    found.extend(machine::sockets_below(layout.data())?.into_iter().map(Leftover::Socket));
    found.extend(state.switches.iter().filter_map(|(path, before)| switch(path, before)));
    Ok(found)
}

fn processes(layout: &Layout, state: &State) -> Result<Vec<Leftover>> {
    let mut found: Vec<(String, Process)> = state.alive().map(|(name, process)| (name.to_owned(), process)).collect();
    let own = Process::own()?;
    let mut more = process::find(&PROGRAMS, layout.data());
    if state.settings.simulate.is_none() {
        more.extend(around_guests(layout, state)?);
    }
    for process in more.into_iter().filter(|process| *process != own && *process != state.supervisor) {
        if !found.iter().any(|(_, known)| *known == process) {
            let name = std::fs::read_to_string(format!("/proc/{}/comm", process.pid)).unwrap_or_default();
            found.push((name.trim().to_owned(), process));
        }
    }
    Ok(found.into_iter().map(|(name, process)| Leftover::Process { name, process }).collect())
}

/// Processes that serve guests and the ways to them, and that nothing but their place tells.
fn around_guests(layout: &Layout, state: &State) -> Result<Vec<Process>> {
    // What a libvirtd of ours started to find out what QEMU can do: nothing in its arguments tells whose it is.
    let mut more = process::find_under(&layout.folder("libvirt").join("lib"), "/var/lib/libvirt");
    // The tunnels of `rhyzomectl ssh`, whose other ends are gone. Whoever wants one starts it again.
    let rhyzomectl = std::env::current_exe()?.with_file_name("rhyzomectl");
    more.extend(process::find_verb(&rhyzomectl, "hold-network"));
    if machine::has_namespace(&state.settings.router.namespace) {
        let inside = machine::processes_in(&state.settings.router.namespace)?;
        more.extend(inside.into_iter().filter_map(|pid| Process::of(pid).ok()));
    }
    Ok(more)
}

/// Whether an interface bears one of the names that segments give: see [`types::Segment`].
fn is_segment(interface: &str) -> bool {
    ["rzb", "rzh", "rzs"]
        .into_iter()
        .filter_map(|stem| interface.strip_prefix(stem))
        .any(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn switch(path: &str, before: &str) -> Option<Leftover> {
    let current = std::fs::read_to_string(Path::new("/proc/sys").join(path)).ok()?;
    (current.trim() != before).then(|| Leftover::Switch { path: path.to_owned(), before: before.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_of_segments_are_told_from_others() {
        for ours in ["rzb1", "rzhff", "rzs0a"] {
            assert!(is_segment(ours), "{ours}");
        }
        for other in ["rzb", "rzbx", "rz2f", "eth0", "arzb1"] {
            assert!(!is_segment(other), "{other}");
        }
    }

    #[test]
    fn a_switch_counts_when_it_changed() {
        let path = "kernel/ostype";
        assert_eq!(switch(path, "Linux"), None);
        assert!(switch(path, "other").is_some());
    }
}
