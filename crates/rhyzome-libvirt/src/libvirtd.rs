//! A libvirtd of its own for a host where none runs: everything it keeps lies in one directory.
//!
//! libvirtd has its paths compiled in. So it runs in a mount namespace of its own in which folders of the directory lie
//! over those paths, where no system libvirtd and no guest's AppArmor profile see it. Its socket is the one thing that
//! others need, and is reached by its path in the directory.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Where Debian's libvirtd keeps what, and the folder that lies over it.
const FOLDERS: [(&str, &str); 5] = [
    ("/etc/libvirt", "etc"),
    ("/run/libvirt", "run"),
    ("/var/lib/libvirt", "lib"),
    ("/var/log/libvirt", "log"),
    ("/var/cache/libvirt", "cache"),
];

/// As root and without a security driver, since its guests share the machine with nobody it does not trust already;
/// without virtlogd and cgroups, which need systemd.
const QEMU_CONF: &str = r#"user = "root"
group = "root"
security_driver = "none"
stdio_handler = "file"
dynamic_ownership = 0
remember_owner = 0
namespaces = [ ]
cgroup_controllers = [ ]
"#;

/// The longest path that a Unix socket can have, less its final zero (unix(7)).
const LONGEST_SOCKET: usize = 107;

/// Where the socket of a libvirtd with that directory is.
pub fn socket(dir: &Path) -> PathBuf {
    dir.join("run/libvirt-sock")
}

/// The URI under which the agent reaches it.
pub fn uri(dir: &Path) -> String {
    format!("qemu+unix:///system?socket={}", socket(dir).display())
}

/// Becomes libvirtd in the foreground, which ends on SIGTERM and leaves its guests running. Returns only on failure.
pub fn become_libvirtd(dir: &Path) -> anyhow::Result<std::convert::Infallible> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let dir = dir.canonicalize().with_context(|| format!("cannot resolve {}", dir.display()))?;
    let length = socket(&dir).as_os_str().len();
    ensure!(
        length <= LONGEST_SOCKET,
        "{}: a socket's path has at most {LONGEST_SOCKET} characters",
        socket(&dir).display()
    );
    write_configuration(&dir)?;
    cover_system_paths(&dir)?;
    let error = Command::new("libvirtd")
        .arg("--config")
        .arg(dir.join("etc/libvirtd.conf"))
        .arg("--pid-file")
        .arg(dir.join("libvirtd.pid"))
        .exec();
    Err(error).context("cannot run libvirtd (Debian: libvirt-daemon-system)")
}

fn write_configuration(dir: &Path) -> anyhow::Result<()> {
    for (_, folder) in FOLDERS {
        let path = dir.join(folder);
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
    }
    let daemon = format!(
        "unix_sock_dir = \"{}\"\nauth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\nunix_sock_rw_perms = \"0700\"\n\
         unix_sock_ro_perms = \"0700\"\nlog_outputs = \"3:stderr\"\n",
        dir.join("run").display()
    );
    config::file::write_private(&dir.join("etc/libvirtd.conf"), daemon.as_bytes())?;
    config::file::write_private(&dir.join("etc/qemu.conf"), QEMU_CONF.as_bytes())?;
    Ok(())
}

fn cover_system_paths(dir: &Path) -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace (needs root)")?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
        .context("cannot detach from the host's mounts")?;
    for (path, folder) in FOLDERS {
        fs::create_dir_all(path).with_context(|| format!("cannot make {path}"))?;
        mount(Some(&dir.join(folder)), path, none, MsFlags::MS_BIND, none)
            .with_context(|| format!("cannot lay {folder} over {path}"))?;
    }
    Ok(())
}
