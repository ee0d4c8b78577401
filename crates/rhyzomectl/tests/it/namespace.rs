//! A machine of the test's own: network and mounts apart from everybody else's.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;

/// How long anything may take that should be quick.
pub const SOON: Duration = Duration::from_secs(20);

/// Takes this thread, and what it starts from here on, to a network of its own with nothing in it but a loopback, and
/// puts empty directories over those that programs would share.
pub fn enter() {
    assert!(Uid::effective().is_root(), "this test makes a network namespace: run it as root");
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("a network namespace can be made");
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    std::fs::create_dir_all("/run/wireguard").unwrap();
    for directory in ["/run/wireguard", "/root"] {
        mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty(), Some("mode=0700")).unwrap();
    }
    run("ip", &["link", "set", "lo", "up"]);
}

/// Runs a program that must work; gives what it printed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed (as in apt install): {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// A program that ends with the test.
pub struct Program(Child);

impl Program {
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap_or_else(|error| panic!("{program} is needed (as in apt install): {error}")))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `probe` gives something.
pub async fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The WireGuard server of a network: real, at 127.0.0.1, with 10.77.1.1 inside.
pub struct WireguardServer {
    pub public_key: String,
    pub endpoint: String,
    program: Option<Program>,
}

impl WireguardServer {
    pub async fn start(directory: &Path) -> Self {
        let key_file = directory.join("server.key");
        let key = run("wg", &["genkey"]);
        std::fs::write(&key_file, &key).unwrap();
        let program = Program::start("wireguard-go", &["-f", "wg0"]);
        until("wireguard-go answers", || Path::new("/run/wireguard/wg0.sock").exists().then_some(())).await;
        let key_file = key_file.to_str().unwrap();
        run("wg", &["set", "wg0", "private-key", key_file, "listen-port", "51820"]);
        run("ip", &["address", "add", "10.77.1.1/24", "dev", "wg0"]);
        run("ip", &["link", "set", "wg0", "up"]);
        run("ip", &["route", "add", "10.64.0.0/16", "dev", "wg0"]);
        let public_key = run("wg", &["show", "wg0", "public-key"]).trim().to_owned();
        Self { public_key, endpoint: "127.0.0.1:51820".to_owned(), program: Some(program) }
    }
}

impl WireguardServer {
    /// Ends it.
    pub fn stop(&mut self) {
        self.program = None;
    }
}

/// Lets a peer in.
pub fn let_in(public_key: &str, address: &str) {
    run("wg", &["set", "wg0", "peer", public_key, "allowed-ips", &format!("{address}/32")]);
}

/// Lets all peers out and forgets their sessions, as a router that was started anew would.
pub fn forget_session(public_key: &str, address: &str) {
    run("wg", &["set", "wg0", "peer", public_key, "remove"]);
    let_in(public_key, address);
}
