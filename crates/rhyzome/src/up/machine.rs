//! What is on the machine, as its own tools tell: interfaces, namespaces, nft tables, mounts, sockets.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Where `ip netns` keeps the names of namespaces (ip-netns(8)).
const NAMESPACES: &str = "/run/netns";

/// Runs a tool that changes something or tells something, and gives what it printed.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {} failed ({}): {}", arguments.join(" "), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The names of all network interfaces of this namespace.
pub fn interfaces() -> Result<Vec<String>> {
    let text = run("ip", &["-json", "link", "show"])?;
    let links: Vec<serde_json::Value> =
        serde_json::from_str(&text).context("ip link printed something else than JSON")?;
    Ok(links.iter().filter_map(|link| link["ifname"].as_str().map(str::to_owned)).collect())
}

/// Whether a network namespace of that name exists.
pub fn has_namespace(name: &str) -> bool {
    Path::new(NAMESPACES).join(name).exists()
}

/// The numbers of the processes in a namespace.
pub fn processes_in(namespace: &str) -> Result<Vec<i32>> {
    Ok(run("ip", &["netns", "pids", namespace])?.lines().filter_map(|line| line.trim().parse().ok()).collect())
}

/// Families and names of the nft tables of this namespace.
pub fn tables() -> Result<Vec<(String, String)>> {
    let text = run("nft", &["list", "tables"])?;
    let names = text.lines().filter_map(|line| line.strip_prefix("table ")?.split_once(' '));
    Ok(names.map(|(family, name)| (family.to_owned(), name.to_owned())).collect())
}

/// Mount points at or below a folder, the innermost first.
pub fn mounts_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    let mut found = mount_points(&text).filter(|point| point.starts_with(folder)).collect::<Vec<_>>();
    found.reverse();
    Ok(found)
}

/// Sockets in a folder and the folders in it, a few levels deep.
pub fn sockets_below(folder: &Path) -> Result<Vec<PathBuf>> {
    const DEPTH: usize = 6;
    let mut found = Vec::new();
    collect_sockets(folder, DEPTH, &mut found).with_context(|| format!("cannot look into {}", folder.display()))?;
    found.sort();
    Ok(found)
}

fn collect_sockets(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let kind = match entry.file_type() {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            kind => kind?,
        };
        if kind.is_socket() {
            found.push(entry.path());
        } else if kind.is_dir() && depth > 0 {
            collect_sockets(&entry.path(), depth - 1, found)?;
        }
    }
    Ok(())
}

/// The second field of each line of /proc/self/mounts, where blanks are written as `\040` (proc(5)).
fn mount_points(text: &str) -> impl Iterator<Item = PathBuf> {
    text.lines().filter_map(|line| line.split(' ').nth(1)).map(|field| {
        let plain = field.replace(r"\040", " ").replace(r"\011", "\t").replace(r"\012", "\n").replace(r"\134", r"\");
        PathBuf::from(plain)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn blanks_in_mount_points_are_understood() {
        let points: Vec<_> = mount_points("proc /proc proc rw 0 0\n/dev/vda /a\\040b\\134c ext4 rw 0 0\n").collect();
        assert_eq!(points, [Path::new("/proc"), Path::new(r"/a b\c")]);
    }

    #[test]
    fn sockets_are_found_below_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("deep")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let _one = UnixListener::bind(dir.path().join("deep/one.sock")).unwrap();
        assert_eq!(sockets_below(dir.path()).unwrap(), [dir.path().join("deep/one.sock")]);
        assert!(sockets_below(&dir.path().join("none")).unwrap().is_empty());
    }

    #[test]
    fn a_tool_that_fails_is_quoted() {
        let error = run("sh", &["-c", "echo no such thing >&2; exit 3"]).unwrap_err().to_string();
        assert!(error.contains("no such thing") && error.contains("exit status: 3"), "{error}");
        assert!(interfaces().unwrap().contains(&"lo".to_owned()));
        assert!(!has_namespace("rhyzome-none"));
    }
}
