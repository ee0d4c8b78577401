//! Programs that run for as long as the router does. They die with it, even if it is killed.

use std::ffi::OsStr;
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::PATH;

/// How long a program may take to end.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is looked whether it has.
const POLL: Duration = Duration::from_millis(2);

/// A program that was started.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a program. It is killed when the thread that starts it ends, so that must be one that stays.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn start<S: AsRef<OsStr>>(program: &str, arguments: &[S], stdout: Stdio) -> io::Result<Self> {
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", program])
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            // For wireguard-go, which otherwise praises the kernel's WireGuard to those who do not have it.
            .envs([("LOG_LEVEL", "error"), ("WG_PROCESS_FOREGROUND", "1")])
            .stdin(Stdio::null())
            .stdout(stdout)
            .spawn()?;
        Ok(Process { child })
    }

    /// What it prints, once, if that was asked for.
    pub fn take_output(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    /// Ends the program: asked first, so that it can finish what it is writing, and killed if that takes too long.
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let deadline = Instant::now() + PATIENCE;
        // Whatever fails here means that it has ended by itself.
        let _ = kill(pid, Signal::SIGTERM);
        while self.is_running() && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How often a program that ends is started again, as OpenWrt's procd does it: up to five times, five seconds apart,
/// unless it had run for an hour.
pub struct Respawn {
    started: Instant,
    failures: u32,
}

/// What to do about a program that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Start it again.
    Start,
    /// Wait a little.
    Wait,
    /// Leave it.
    GiveUp,
}

impl Respawn {
    const PAUSE: Duration = Duration::from_secs(5);
    const STEADY: Duration = Duration::from_secs(3600);
    const RETRIES: u32 = 5;

    /// A program that was started at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Respawn { started: now, failures: 0 }
    }

    /// What to do at `now`, when the program has ended.
    pub fn advise(&mut self, now: Instant) -> Advice {
        let ran = now.saturating_duration_since(self.started);
        if ran >= Self::STEADY {
            self.failures = 0;
        }
        if self.failures >= Self::RETRIES {
            return Advice::GiveUp;
        }
        if ran < Self::PAUSE {
            return Advice::Wait;
        }
        self.failures += 1;
        self.started = now;
        Advice::Start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_keeps_ending_is_left_alone_in_the_end() {
        let start = Instant::now();
        let mut respawn = Respawn::new(start);
        assert_eq!(respawn.advise(start + Duration::from_secs(1)), Advice::Wait);
        for n in 1..=5 {
            assert_eq!(respawn.advise(start + n * Respawn::PAUSE), Advice::Start, "{n}");
        }
        assert_eq!(respawn.advise(start + 60 * Respawn::PAUSE), Advice::GiveUp);
    }
}
