//! One `rhyzome up` on the test's machine, worked by `rhyzomectl` as a person would.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long one command may take.
const DEADLINE_SECONDS: &str = "100";
const SETTINGS: &str = "settings.json";
const LOOK: Duration = Duration::from_millis(100);

/// The directory of the programs under test: the nearest one around the test binary that has them.
pub fn programs_dir() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let dir = own.ancestors().skip(1).find(|dir| dir.join("rhyzome").is_file());
    let dir = dir.expect("build the programs first: cargo build --workspace --bins");
    dir.to_owned()
}

/// Waits until `done` gives something, and says what it waited for if that never comes.
pub fn wait_for<T>(what: &str, done: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, done)
}

/// The same, with patience of its own.
pub fn wait_within<T>(patience: Duration, what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(result) = done() {
            return result;
        }
        assert!(Instant::now() < deadline, "waited {} s in vain: {what}", patience.as_secs());
        std::thread::sleep(LOOK);
    }
}

/// What a command came to.
pub struct Answer {
    /// Whether it ended well.
    pub worked: bool,
    /// What it printed.
    pub said: String,
    /// What it printed, and what it complained about.
    pub all: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let all = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
        Self { worked: output.status.success(), said, all }
    }
}

/// An installation with its data in a directory that goes with it.
pub struct Installation {
    data: tempfile::TempDir,
    simulated: bool,
}

impl Drop for Installation {
    fn drop(&mut self) {
        // The others vanish with their machine.
        if self.simulated {
            self.rhyzome(&["down"]);
        }
    }
}

impl Default for Installation {
    fn default() -> Self {
        Self::new()
    }
}

impl Installation {
    /// One that is not up yet.
    pub fn new() -> Self {
        Self::with_settings(&serde_json::json!({ "accelerator": "tcg" }), false)
    }

    /// One with simulated targets, at ports of its own, that is not up yet.
    pub fn simulated() -> Self {
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let settings = serde_json::json!({
            "http": free(), "jobs": free(), "simulate": { "hypervisors": 3, "routers": 1 }
        });
        Self::with_settings(&settings, true)
    }

    fn with_settings(settings: &Value, simulated: bool) -> Self {
        let data = tempfile::Builder::new().prefix("rhyzome-e2e-").tempdir_in("/tmp").unwrap();
        fs::write(data.path().join(SETTINGS), settings.to_string()).unwrap();
        Self { data, simulated }
    }

    /// Where its data lies.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// What `rhyzome up` is told: not to use KVM, which may be there and yet not work.
    pub fn settings(&self) -> PathBuf {
        self.data().join(SETTINGS)
    }

    /// Runs one of the programs, with the home directory of a person who never used them.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("timeout");
        command.arg(DEADLINE_SECONDS).arg(programs_dir().join(program));
        command.stdin(Stdio::null()).env("HOME", self.data().join("home")).env_remove("XDG_RUNTIME_DIR");
        command
    }

    fn rhyzome(&self, verb: &[&str]) -> Answer {
        let simulate = self.simulated.then_some("--simulate");
        self.command("rhyzome").args(verb).args(simulate).arg("--data-dir").arg(self.data()).output().unwrap().into()
    }

    /// `rhyzome up --background`.
    pub fn try_up(&self) -> Answer {
        self.rhyzome(&["up", "--background", "--config", self.settings().to_str().unwrap()])
    }

    /// The same, which must work.
    pub fn up(&self) {
        let answer = self.try_up();
        if !answer.worked {
            self.show_logs();
        }
        assert!(answer.worked, "up failed:\n{}", answer.all);
    }

    /// `rhyzome down`, which must leave nothing.
    pub fn down(&self) {
        let answer = self.rhyzome(&["down"]);
        assert!(answer.worked, "down failed:\n{}", answer.all);
    }

    /// Runs `rhyzomectl`.
    pub fn try_ctl(&self, arguments: &[&str]) -> Answer {
        let config = self.data().join("rhyzomectl.json");
        self.command("rhyzomectl").arg("--config").arg(config).args(arguments).output().unwrap().into()
    }

    /// Runs `rhyzomectl`, which must work, and gives what it printed.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let answer = self.try_ctl(arguments);
        if !answer.worked {
            self.show_logs();
        }
        assert!(answer.worked, "rhyzomectl {} failed:\n{}", arguments.join(" "), answer.all);
        answer.said
    }

    /// The same as JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ctl(&[arguments, &["-o", "json"]].concat())).unwrap()
    }

    /// Runs a shell command in a guest.
    pub fn ssh(&self, instance: &str, command: &str) -> Answer {
        self.try_ctl(&["ssh", instance, "--", command])
    }

    /// Runs a shell command in a guest, which must work, and gives what it printed.
    pub fn in_guest(&self, instance: &str, command: &str) -> String {
        let answer = self.ssh(instance, command);
        assert!(answer.worked, "{instance}: {command} failed:\n{}", answer.all);
        answer.said
    }

    /// Waits until the guest of an instance has reported, and gives the instance.
    pub fn booted(&self, instance: &str) -> Value {
        self.booted_within(instance, PATIENCE)
    }

    /// The same, for guests that take longer.
    pub fn booted_within(&self, instance: &str, patience: Duration) -> Value {
        wait_within(patience, &format!("the guest of {instance} reports"), || {
            let found = self.json(&["instance", "get", instance]);
            (!found["status"]["guest"].is_null()).then_some(found)
        })
    }

    /// What a program was told by `rhyzome up`.
    pub fn told(&self, program: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.data().join(format!("{program}.json"))).unwrap()).unwrap()
    }

    /// The programs that `rhyzome up` keeps, and their processes.
    pub fn processes(&self) -> BTreeMap<String, i32> {
        let programs = &self.state()["programs"];
        let process = |(name, process): (&String, &Value)| (name.clone(), process["pid"].as_i64().unwrap() as i32);
        programs.as_object().unwrap().iter().map(process).collect()
    }

    /// The process of `rhyzome up` itself.
    pub fn supervisor(&self) -> i32 {
        self.state()["supervisor"]["pid"].as_i64().unwrap() as i32
    }

    fn state(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.data().join("up.json")).unwrap()).unwrap()
    }

    /// Prints the end of every log.
    pub fn show_logs(&self) {
        for entry in fs::read_dir(self.data().join("logs")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let end = lines[lines.len().saturating_sub(40)..].join("\n");
            println!("----- {}\n{end}", entry.path().display());
        }
    }
}
