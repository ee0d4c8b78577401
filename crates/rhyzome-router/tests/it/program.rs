//! The program, run as `rhyzome up` runs it, on a machine that is a namespace.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Client;
use crate::net::{Net, need_root_and, unique};
use crate::running::certificate;

/// How long anything may take.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Asks until the answer is yes.
pub fn eventually(what: &str, mut ask: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !ask() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A machine with a router on it. What lies outside of the machine has no way back to private addresses.
pub struct Program {
    child: Option<Child>,
    pub dir: TempDir,
    /// The name of the router's namespace.
    pub netns: String,
    pub machine: Net,
    pub outside: Net,
    certificate: String,
}

/// The machine's address towards the outside.
pub const MACHINE: &str = "198.51.100.1";
/// The address of what lies outside.
pub const OUTSIDE: &str = "198.51.100.2";
/// A private address outside.
pub const PRIVATE: &str = "192.168.77.2";

impl Program {
    /// A router that was just started for the first time.
    pub fn start() -> Self {
        need_root_and(&["ip", "nft", "wg", "wireguard-go", "dnsmasq", "busybox", "setpriv", "nsenter"]);
        let dir = tempfile::tempdir().unwrap();
        let (machine, outside) = (Net::new("rzm"), Net::new("rzx"));
        machine.pair("out0", &outside, "eth0");
        machine.ip(&["address", "add", &format!("{MACHINE}/24"), "dev", "out0"]);
        machine.ip(&["address", "add", "192.168.77.1/24", "dev", "out0"]);
        outside.ip(&["address", "add", &format!("{OUTSIDE}/24"), "dev", "eth0"]);
        outside.ip(&["address", "add", &format!("{PRIVATE}/24"), "dev", "eth0"]);
        let (certificate, cert, key) = certificate(dir.path());
        config::file::write_private(&dir.path().join("password"), b"router-secret\n").unwrap();
        let netns = unique("rzr");
        let settings = json!({
            "data_dir": dir.path().join("data"),
            "listen": "127.0.0.1:0",
            "tls": {"cert": cert, "key": key},
            "netns": netns,
            "users": {"rhyzome": {"password_file": dir.path().join("password")}},
            "uplink": {
                "interface": "rz-up", "subnet": "10.254.254.0/30", "table": "rz-uplink", "dns": [OUTSIDE],
                "forward": {"udp": ["51820-51829"], "tcp": [8080]},
            },
        });
        fs::write(dir.path().join("settings.json"), settings.to_string()).unwrap();
        let mut program = Program { child: None, dir, netns, machine, outside, certificate };
        program.run();
        program
    }

    /// Starts it and waits until it answers.
    pub fn run(&mut self) {
        let _ = fs::remove_file(self.data().join("address"));
        self.spawn();
        let address = self.data().join("address");
        eventually("the router is up", || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the router ended: {}", self.log());
            address.exists()
        });
    }

    /// Starts it and does not wait.
    pub fn spawn(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let mut command = self.command("serve");
        command.stdin(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.machine.name));
        command.args(["--", env!("CARGO_BIN_EXE_rhyzome-router"), verb, "--config"]);
        command.arg(self.dir.path().join("settings.json"));
        command
    }

    pub fn cleanup(&self) -> std::process::Output {
        self.command("cleanup").output().unwrap()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Ends it by a signal and waits until it has ended.
    pub fn signal(&mut self, signal: Signal) {
        let mut child = self.child.take().unwrap();
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        child.wait().unwrap();
    }

    /// A session of the user `rhyzome`.
    pub fn login(&self) -> Session<'_> {
        let mut session = Session { program: self, sid: "0".repeat(32) };
        let reply = session.call("session", "login", json!({"username": "rhyzome", "password": "router-secret"}));
        session.sid = reply[1]["ubus_rpc_session"].as_str().unwrap_or_else(|| panic!("no login: {reply}")).to_owned();
        session
    }

    /// The router's namespace, to look at.
    pub fn inside(&self, command: &[&str]) -> String {
        let namespace = format!("--net=/run/netns/{}", self.netns);
        crate::net::run("nsenter", &[&[namespace.as_str(), "--"], command].concat())
    }

    /// The UCI files, byte for byte.
    pub fn configs(&self) -> Vec<(String, String)> {
        read_folder(&self.data().join("config"))
    }

    /// The names of the processes in the router's namespace.
    pub fn processes(&self) -> Vec<String> {
        let pids = crate::net::run("ip", &["netns", "pids", &self.netns]);
        let name = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned());
        let mut names: Vec<String> = pids.split_whitespace().filter_map(name).collect();
        names.sort();
        names
    }

    /// A host in a network: its device's other end is moved into the router under the name `port`.
    pub fn host(&self, port: &str) -> Net {
        let host = Net::new("rzc");
        host.ip(&["link", "add", "eth0", "type", "veth", "peer", "name", port]);
        host.ip(&["link", "set", port, "netns", &self.netns]);
        host.ip(&["link", "set", "eth0", "up"]);
        host
    }

    fn in_machine<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let namespace = fs::File::open(Path::new("/run/netns").join(&self.machine.name)).unwrap();
        std::thread::scope(|scope| {
            let there = scope.spawn(|| {
                setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                act()
            });
            there.join().unwrap()
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        if self.child.is_some() {
            self.signal(Signal::SIGTERM);
        }
        self.cleanup();
    }
}

fn read_folder(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Somebody who has logged in.
pub struct Session<'a> {
    program: &'a Program,
    sid: String,
}

impl Session<'_> {
    /// Makes a call and gives back what is beside `jsonrpc` and `id`.
    pub fn call(&self, object: &str, method: &str, args: Value) -> Value {
        let address = fs::read_to_string(self.program.data().join("address")).unwrap();
        let address = address.trim().parse().unwrap();
        self.program
            .in_machine(|| Client::new(address, &self.program.certificate).call(&self.sid, object, method, args))
    }

    /// Makes a call that must succeed.
    pub fn must(&self, object: &str, method: &str, args: Value) -> Value {
        let reply = self.call(object, method, args.clone());
        assert_eq!(reply[0], 0, "{object} {method} {args}: {reply}");
        reply[1].clone()
    }

    /// Stages a named section.
    pub fn add(&self, config: &str, kind: &str, name: &str, values: Value) {
        self.must("uci", "add", json!({"config": config, "type": kind, "name": name, "values": values}));
    }

    /// Applies what is staged, waits until these interfaces are up, and confirms.
    pub fn apply(&self, up: &[&str]) {
        self.must("uci", "apply", json!({"rollback": true, "timeout": 60}));
        eventually("the interfaces are up", || {
            let dump = self.must("network.interface", "dump", json!({}));
            up.iter().all(|name| {
                let all = dump["interface"].as_array().unwrap();
                all.iter().any(|interface| interface["interface"] == *name && interface["up"] == true)
            })
        });
        self.must("uci", "confirm", json!({}));
    }

    /// Runs a command in the router.
    pub fn exec(&self, command: &str, params: &[&str]) -> Value {
        self.must("file", "exec", json!({"command": command, "params": params}))
    }
}
