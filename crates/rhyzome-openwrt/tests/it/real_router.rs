//! A `rhyzome-router` of this test's own, in network and mount namespaces that end with the test, and machines around it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use pki::{Authority, SERVER_DAYS, ServerName};
use rhyzome_openwrt::configuration::Configuration;
use rhyzome_openwrt::render::PACKAGES;
use rhyzome_openwrt::target::RouterTarget;
use serde_json::json;
use time::OffsetDateTime;

/// How long anything may take to come about.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The address of the world outside, a public one.
pub const OUTSIDE: &str = "198.51.100.1";
/// The router's namespace.
const ROUTER: &str = "router";
const PASSWORD: &str = "made-up-for-this-test";

pub struct RealRouter {
    dir: tempfile::TempDir,
    process: Child,
    /// Host and port.
    pub address: String,
    configuration: serde_json::Value,
    pub target: RouterTarget,
}

/// How the agent reaches its router.
#[derive(Clone, Copy, Debug)]
pub enum Transport {
    /// From elsewhere.
    Https,
    /// On the router itself.
    Local,
}

impl RealRouter {
    /// Starts a router and waits until it answers. The calling thread lives in namespaces of its own from then on.
    pub fn start() -> Self {
        Self::reached(Transport::Https)
    }

    /// The same, reached over this transport.
    pub fn reached(transport: Transport) -> Self {
        isolate();
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        let data = file("router");
        let now = OffsetDateTime::now_utc();
        let authority = Authority::init(&file("ca"), now).unwrap();
        let issued = authority.issue_server(&[ServerName::try_from("127.0.0.1").unwrap()], now, SERVER_DAYS).unwrap();
        issued.write(&file("cert.pem"), &file("key.pem")).unwrap();
        config::file::write_private(&file("password"), PASSWORD.as_bytes()).unwrap();
        // What the router lets us do is what our own file says, and no more.
        config::file::make_private_directory(&data).unwrap();
        std::fs::create_dir(data.join("acl.d")).unwrap();
        std::fs::write(data.join("acl.d/rhyzome.json"), include_str!("../../acl/rhyzome.json")).unwrap();

        let settings = json!({
            "data_dir": data,
            "listen": "127.0.0.1:0",
            "tls": {"cert": file("cert.pem"), "key": file("key.pem")},
            "netns": ROUTER,
            "users": {"agent": {"password_file": file("password")}},
            "uplink": {"forward": {"udp": ["51820-51830"]}, "dns": []},
        });
        std::fs::write(file("router.json"), settings.to_string()).unwrap();
        let (process, address) = serve(dir.path());
        let configuration = json!({
            "agent": {"state_dir": file("agent")},
            "router": {
                "url": match transport {
                    Transport::Https => format!("https://{address}/ubus"),
                    Transport::Local => format!("ubus://{}", file("router/ubus.sock").display()),
                },
                "ca": file("ca/ca.pem"),
                "call_timeout_seconds": 3,
                "username": "agent",
                "password_file": file("password"),
                "lock_file": file("router.lock"),
                "rollback_timeout_seconds": 10,
            },
            "segments": {"kind": "bridge"},
            "endpoint_host": "127.0.0.1",
        });
        let target = target(&configuration);
        Self { dir, process, address, configuration, target }
    }

    /// Has the router misbehave, or behave again where nothing is said; as `rhyzome-router --fault` reads it.
    pub fn faults(&self, rules: &str) {
        std::fs::write(self.path("router/faults"), rules).unwrap();
    }

    /// How many faults have struck.
    pub fn struck(&self) -> usize {
        let log = std::fs::read_to_string(self.path("router.log")).unwrap();
        log.matches("a fault that was asked for").count()
    }

    /// Starts the router again after it went off.
    pub fn switch_on(&mut self) {
        self.process.wait().unwrap();
        let settings = std::fs::read_to_string(self.path("router.json")).unwrap();
        let port = self.address.rsplit(':').next().unwrap();
        std::fs::write(self.path("router.json"), settings.replace("127.0.0.1:0", &format!("127.0.0.1:{port}")))
            .unwrap();
        self.process = serve(self.dir.path()).0;
    }

    /// The configuration of its agent.
    pub fn configuration(&self) -> serde_json::Value {
        self.configuration.clone()
    }

    /// The packages as they lie on the router's disk.
    pub fn files(&self) -> Vec<String> {
        let read = |name: &str| std::fs::read_to_string(self.dir.path().join("router/config").join(name)).unwrap();
        PACKAGES.into_iter().map(read).collect()
    }

    /// When the packages were last written.
    pub fn written(&self) -> Vec<std::time::SystemTime> {
        let written = |name: &str| {
            let file = self.dir.path().join("router/config").join(name);
            std::fs::metadata(file).unwrap().modified().unwrap()
        };
        PACKAGES.into_iter().map(written).collect()
    }

    /// What a command says inside the router.
    pub fn inside(&self, command: &str) -> String {
        let output = run("nsenter", &["-t", &self.inner_pid(), "-n", "-m", "--", "sh", "-c", command]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A program that the router runs in its namespaces, for one to enter them by; the router itself stays outside.
    fn inner_pid(&self) -> String {
        let output = run("ip", &["netns", "pids", ROUTER]);
        let pids = String::from_utf8_lossy(&output.stdout).into_owned();
        pids.split_whitespace().next().expect("the router runs programs in its namespace").to_owned()
    }

    /// A path for a test's own file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for RealRouter {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM);
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("the router said:\n{}", std::fs::read_to_string(self.path("router.log")).unwrap_or_default());
        }
    }
}

/// The target that a configuration describes.
pub fn target(configuration: &serde_json::Value) -> RouterTarget {
    let configuration: Configuration =
        config::parse(&configuration.to_string(), Path::new("rhyzome-openwrt.json")).unwrap();
    RouterTarget::configured(&configuration).unwrap()
}

/// Starts the router that `router.json` in `dir` describes, whose data lies in `router` there, and waits until it
/// answers; gives its address.
pub fn serve(dir: &Path) -> (Child, String) {
    let log = dir.join("router.log");
    let _ = std::fs::remove_file(dir.join("router/address"));
    let mut process = Command::new(program("rhyzome-router"))
        .args(["serve", "--config"])
        .arg(dir.join("router.json"))
        .stderr(std::fs::File::options().create(true).append(true).open(&log).unwrap())
        .spawn()
        .unwrap();
    let address = eventually("the router to answer", || {
        if let Some(status) = process.try_wait().unwrap() {
            panic!("the router ended, {status}: {}", std::fs::read_to_string(&log).unwrap());
        }
        std::fs::read_to_string(dir.join("router/address")).map_err(|_| std::fs::read_to_string(&log).unwrap())
    });
    (process, address.trim().to_owned())
}

/// A machine on a network, with one interface.
pub struct Machine {
    name: String,
}

impl Machine {
    /// A machine on the segment, as a hypervisor would connect it.
    pub fn on_segment(name: &str, segment: u32, mac: &str) -> Self {
        let machine = Self::new(name);
        let (ours, theirs) = (format!("rzh{segment:x}"), format!("rzs{segment:x}"));
        ip(&format!("link add {ours} type veth peer name {theirs} netns {ROUTER}"));
        ip(&format!("link set {ours} netns {name} name eth0"));
        ip(&format!("-n {name} link set eth0 address {mac} up"));
        machine
    }

    /// A machine in the world outside.
    pub fn outside(name: &str, address: &str) -> Self {
        let machine = Self::new(name);
        ip(&format!("link add {name} type veth peer name eth0 netns {name}"));
        ip(&format!("address add {OUTSIDE}/32 dev {name}"));
        ip(&format!("link set {name} up"));
        ip(&format!("route add {address}/32 dev {name}"));
        ip(&format!("-n {name} address add {address}/24 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        ip(&format!("-n {name} route add {OUTSIDE}/32 dev eth0 metric 10"));
        machine
    }

    fn new(name: &str) -> Self {
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link set lo up"));
        Self { name: name.to_owned() }
    }

    /// Runs a command on it.
    pub fn run(&self, command: &str) -> Output {
        run("ip", &["netns", "exec", &self.name, "sh", "-c", command])
    }

    /// Starts a program on it.
    pub fn start(&self, command: &[&str]) -> Child {
        let mut child = Command::new("ip");
        child.args(["netns", "exec", &self.name]).args(command).stdin(Stdio::null()).stdout(Stdio::null());
        child.stderr(Stdio::null()).spawn().unwrap()
    }

    /// Whether an address answers within two seconds.
    pub fn reaches(&self, address: &str) -> bool {
        self.run(&format!("busybox ping -c 1 -W 2 {address}")).status.success()
    }

    /// Asks for an address and takes it; gives what else it was told, as `name=value` lines.
    pub fn asks_for_address(&self, scratch: &Path) -> Result<String, String> {
        let (script, told) = (scratch.join("udhcpc.sh"), scratch.join(format!("{}.lease", self.name)));
        let _ = std::fs::remove_file(&told);
        let text = format!(
            "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\nip address flush dev $interface\nip address add $ip/$mask dev $interface\n\
             ip link set $interface mtu $mtu\nip route replace default via $router\n\
             echo \"ip=$ip router=$router dns=$dns mtu=$mtu domain=$domain lease=$lease\" > {}\n",
            told.display()
        );
        std::fs::write(&script, text).unwrap();
        Command::new("chmod").args(["+x"]).arg(&script).status().unwrap();
        let output = self.run(&format!("busybox udhcpc -i eth0 -q -n -t 5 -T 1 -O mtu -s {}", script.display()));
        std::fs::read_to_string(&told).map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Tries until it succeeds; fails with what the last try said.
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reason = match attempt() {
            Ok(done) => return done,
            Err(reason) => reason,
        };
        assert!(Instant::now() < deadline, "waited {} s for {what}: {reason}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub fn ip(arguments: &str) {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let output = run("ip", &arguments);
    assert!(output.status.success(), "ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// A program of this workspace, beside the test's own.
fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.exists(), "{} is not there: build it first, with cargo build -p {name}", path.display());
    path
}

/// Puts this thread into network and mount namespaces of its own, with an empty /run.
pub fn isolate() {
    assert!(geteuid().is_root(), "this test makes network namespaces: run it as root");
    for tool in ["busybox", "dnsmasq", "nft", "wg", "wireguard-go", "nsenter"] {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().unwrap().status.success();
        assert!(
            found,
            "this test needs {tool} (Debian: busybox-static dnsmasq-base nftables wireguard-tools wireguard-go util-linux)"
        );
    }
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), nothing).unwrap();
    ip("link set lo up");
}
