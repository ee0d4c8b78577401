//! A process that can be found again: by its number and the moment it started, for numbers are used again.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

/// The verbs of processes that tend an installation and are no part of it.
const TENDING: [&str; 2] = ["up", "down"];
/// How often a process that was asked to end is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long the kernel may take to end a process that was killed.
const KILLED: Duration = Duration::from_secs(5);

/// A process of this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since boot (proc(5), stat, field 22).
    pub started: u64,
}

impl Process {
    /// The process that has that number at this moment.
    pub fn of(pid: i32) -> io::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, started) =
            parse_stat(&stat).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is unreadable")))?;
        Ok(Self { pid, started })
    }

    /// This very process.
    pub fn own() -> io::Result<Self> {
        Self::of(Pid::this().as_raw())
    }

    /// Whether it runs. One that has ended and was not waited for does not.
    pub fn is_alive(self) -> bool {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)) else { return false };
        matches!(parse_stat(&stat), Some((state, started)) if started == self.started && state != 'Z' && state != 'X')
    }

    /// Asks it to end, waits for `grace`, then kills it. One that has ended is fine.
    pub async fn stop(self, grace: Duration) -> io::Result<()> {
        if self.ended_after(Signal::SIGTERM, grace).await? || self.ended_after(Signal::SIGKILL, KILLED).await? {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("process {} does not end, not even when killed", self.pid)))
    }

    async fn ended_after(self, signal: Signal, grace: Duration) -> io::Result<bool> {
        if !self.is_alive() {
            return Ok(true);
        }
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
        let deadline = Instant::now() + grace;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            sleep(LOOK).await;
        }
        Ok(true)
    }
}

/// Processes of any parent that run one of `programs` and are told of something in `folder`, `rhyzome up` and
/// `rhyzome down` apart.
pub fn find(programs: &[&str], folder: &Path) -> Vec<Process> {
    numbers().into_iter().filter(|pid| runs(*pid, programs, folder)).filter_map(|pid| Process::of(pid).ok()).collect()
}

/// Processes that run `executable` with that verb.
pub fn find_verb(executable: &Path, verb: &str) -> Vec<Process> {
    let runs = |pid: &i32| {
        let Ok(exe) = std::fs::read_link(format!("/proc/{pid}/exe")) else { return false };
        let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
        // The kernel says so of a program whose file was replaced since (proc(5)).
        let exe = exe.to_string_lossy();
        let exe = exe.strip_suffix(" (deleted)").unwrap_or(&exe);
        Path::new(exe) == executable && line.split(|byte| *byte == 0).nth(1) == Some(verb.as_bytes())
    };
    numbers().into_iter().filter(runs).filter_map(|pid| Process::of(pid).ok()).collect()
}

/// Processes with mounts of their own in which `folder` lies over `path`.
pub fn find_under(folder: &Path, path: &str) -> Vec<Process> {
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let Some(wanted) = identity(folder) else { return Vec::new() };
    let sees = |pid: &i32| identity(Path::new(&format!("/proc/{pid}/root{path}"))) == Some(wanted);
    numbers().into_iter().filter(sees).filter_map(|pid| Process::of(pid).ok()).collect()
}

/// Which boot of the machine this is.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn numbers() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn runs(pid: i32, programs: &[&str], folder: &Path) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let mut words = line.split(|byte| *byte == 0);
    let Some(program) = words.next() else { return false };
    let name = Path::new(OsStr::from_bytes(program)).file_name().and_then(OsStr::to_str);
    let named = name.is_some_and(|name| programs.contains(&name));
    let tends = words.clone().next().is_some_and(|verb| TENDING.iter().any(|tending| tending.as_bytes() == verb));
    // A path may stand in the middle of an argument, as QEMU's do.
    let inside = [folder.as_os_str().as_bytes(), b"/"].concat();
    named && !tends && words.any(|word| word.windows(inside.len()).any(|part| part == inside))
}

/// State and start of a process. Its name stands in parentheses and may hold anything, parentheses too.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // Field 3 is taken; field 22 is the nineteenth after it.
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_cannot_forge_a_state() {
        let fields = (4..=22).map(|field| format!(" {field}")).collect::<String>();
        assert_eq!(parse_stat(&format!("7 (a) Z 1 (x)) S{fields} 23")), Some(('S', 22)));
        assert_eq!(parse_stat("7 (a) S 1 2"), None);
    }

    #[test]
    fn a_number_that_was_used_again_is_another_process() {
        let own = Process::own().unwrap();
        assert!(own.is_alive());
        assert!(!Process { started: own.started + 1, ..own }.is_alive());
    }

    #[tokio::test]
    async fn a_process_that_will_not_end_is_killed() {
        let mut deaf = Command::new("sh")
            .args(["-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let process = Process::of(deaf.id() as i32).unwrap();
        io::Read::read_exact(deaf.stdout.as_mut().unwrap(), &mut [0; 4]).unwrap();
        process.stop(Duration::from_millis(50)).await.unwrap();
        assert!(!process.is_alive());
        assert!(!deaf.wait().unwrap().success());
        process.stop(Duration::from_millis(50)).await.unwrap();
    }

    #[test]
    fn processes_are_found_by_program_and_folder() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("log");
        std::fs::write(&file, "").unwrap();
        let mut child = Command::new("tail").arg("-f").arg(&file).stdout(Stdio::null()).spawn().unwrap();
        let process = Process::of(child.id() as i32).unwrap();
        // Between fork and exec the child still bears its parent's command line.
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while find(&["tail"], dir.path()) != [process] {
            assert!(std::time::Instant::now() < deadline, "not found");
        }
        assert_eq!(find(&["cat"], dir.path()), []);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
