//! Into instances: WireGuard, TCP, the holder and OpenSSH for real, against wireguard-go and dropbear.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fake_server::FakeServer;
use crate::namespace::{self, Program, WireguardServer, let_in, run, until};
use crate::run::User;

/// The instance's address: that of the WireGuard server itself, so that all of it fits one namespace.
const ADDRESS: &str = "10.77.1.1";

/// A server with network `home`, image `tiny` and instance `hello`, and a user who made them.
struct Stage {
    user: User,
    server: FakeServer,
    wireguard: WireguardServer,
}

impl Stage {
    async fn set() -> Self {
        namespace::enter();
        let directory = tempfile::tempdir().unwrap();
        let wireguard = WireguardServer::start(directory.path()).await;
        let router = (wireguard.public_key.clone(), wireguard.endpoint.clone());
        let server = FakeServer::with_router(router, Box::new(let_in)).await;
        let user = User::of(&server).await;
        user.done(&["network", "create", "home"]).await;
        let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        user.done(&["image", "create", "tiny", "--url", "https://example.org/tiny", "--sha256", digest]).await;
        let create = ["instance", "create", "hello", "--image", "tiny", "--network", "home", "--address", ADDRESS];
        user.done(&create).await;
        server.observe(
            "instances",
            "hello",
            json!({"guest": {"hostname": "hello", "address": ADDRESS, "uptime_seconds": 1}}),
        );
        Self { user, server, wireguard }
    }

    /// An SSH server as the guest has it: with the keys that the instance was made with, and a host key that the
    /// server of the test knows.
    async fn guest(&self) -> Program {
        let host_key = self.user.path("host_key");
        let public = run("dropbearkey", &["-t", "ed25519", "-f", host_key.to_str().unwrap()]);
        let public = public.lines().find(|line| line.starts_with("ssh-")).unwrap().to_owned();
        self.server.observe("instances", "hello", json!({ "host_key": public }));
        let instance = self.user.done(&["instance", "get", "hello", "-o", "json"]).await;
        let instance: serde_json::Value = serde_json::from_str(&instance).unwrap();
        let keys: Vec<&str> =
            instance["spec"]["ssh_keys"].as_array().unwrap().iter().map(|k| k.as_str().unwrap()).collect();
        fs::create_dir_all("/root/.ssh").unwrap();
        fs::write("/root/.ssh/authorized_keys", keys.join("\n") + "\n").unwrap();
        let pid = self.user.path("dropbear.pid");
        let at = format!("{ADDRESS}:22");
        let arguments = ["-F", "-E", "-p", &at, "-r", host_key.to_str().unwrap(), "-P", pid.to_str().unwrap()];
        let guest = Program::start("dropbear", &arguments);
        until("dropbear listens", || pid.exists().then_some(())).await;
        guest
    }

    /// The processes that hold tunnels of the user.
    fn holders(&self) -> Vec<i32> {
        let home = self.user.home().to_str().unwrap();
        let is_holder = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains("hold-network") && line.contains(home)
        };
        let pids = fs::read_dir("/proc").unwrap().flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_holder).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for holder in self.holders() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(holder), nix::sys::signal::Signal::SIGTERM);
        }
    }
}

#[tokio::test]
async fn a_command_runs_in_a_guest_with_nothing_set_up() {
    let stage = Stage::set().await;
    let _guest = stage.guest().await;
    let first = stage.user.run(&["ssh", "hello", "--", "echo from the guest; exit 3"]).await;
    assert_eq!((first.code, first.stdout.as_str()), (3, "from the guest\n"), "{first:?}");
    assert!(first.stderr.contains("letting this machine into the network"), "{first:?}");

    let holders = stage.holders();
    let mut second = stage.user.command(&["ssh", "hello", "--", "cat; echo twice"]);
    let mut second = second.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdin = second.stdin.take().unwrap();
    tokio::spawn(async move {
        let mut stdin = stdin;
        stdin.write_all(&vec![b'x'; 3_000_000]).await.unwrap();
    });
    let second = second.wait_with_output().await.unwrap();
    assert_eq!(second.stderr, b"", "{}", String::from_utf8_lossy(&second.stderr));
    assert_eq!(second.stdout.len(), 3_000_006);
    assert_eq!((holders.len(), stage.holders()), (1, holders), "the holder is kept and used again");
}

#[tokio::test]
async fn nothing_is_trusted_on_first_use() {
    let stage = Stage::set().await;
    let _guest = stage.guest().await;
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    stage.server.observe("instances", "hello", json!({ "host_key": other }));
    let refused = stage.user.run(&["ssh", "hello", "--", "true"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (255, ""), "{refused:?}");
    assert!(refused.stderr.contains("Host key verification failed"), "{refused:?}");
}

#[tokio::test]
async fn a_session_that_the_router_forgot_is_made_anew() {
    let stage = Stage::set().await;
    let _guest = stage.guest().await;
    stage.user.done(&["ssh", "hello", "--", "true"]).await;
    let peer = run("wg", &["show", "wg0", "allowed-ips"]);
    let (key, address) = peer.trim().split_once('\t').unwrap();
    namespace::forget_session(key, address.trim_end_matches("/32"));
    assert_eq!(stage.user.done(&["ssh", "hello", "--", "echo again"]).await, "again\n");
}

#[tokio::test]
async fn what_does_not_answer_is_named() {
    let mut stage = Stage::set().await;
    let guest = stage.guest().await;
    stage.user.done(&["ssh", "hello", "--", "true"]).await;
    drop(guest);
    let passage = only_passage(&stage.user);
    let proxy =
        async |stage: &Stage, remote: &str| stage.user.run(&["ssh-proxy", passage.to_str().unwrap(), remote]).await;
    let refused = proxy(&stage, "10.77.1.1:22").await;
    assert_eq!(refused.stderr, "rhyzomectl: 10.77.1.1:22 refuses the connection: nothing listens there\n");
    let elsewhere = proxy(&stage, "192.0.2.1:22").await;
    assert_eq!(elsewhere.stderr, "rhyzomectl: 192.0.2.1:22 is not in network home (10.77.1.0/24)\n");
    run("ip", &["route", "add", "blackhole", "10.77.1.99/32"]);
    let silent = proxy(&stage, "10.77.1.99:22").await;
    assert_eq!(silent.stderr, "rhyzomectl: 10.77.1.99:22 does not answer, though its network does\n");
    stage.wireguard.stop();
    let lost = proxy(&stage, "10.77.1.1:22").await;
    let expected = "rhyzomectl: the WireGuard server of network home at 127.0.0.1:51820 does not answer: it may be down, \
                    or a firewall keeps UDP from it\n";
    assert_eq!(lost.stderr, expected);
    assert_eq!([refused.code, elsewhere.code, silent.code, lost.code], [1; 4]);
}

#[tokio::test]
async fn many_streams_share_a_tunnel_and_each_is_held_back_by_its_reader() {
    let stage = Stage::set().await;
    let echo = TcpListener::bind((ADDRESS, 7777)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = echo.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = socket.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    let port = free_port().await;
    let mut forward = stage.user.command(&["forward", "hello", &format!("{port}:7777")]);
    let mut forward = forward.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 256];
    let mut stderr = forward.stderr.take().unwrap();
    let mut heard = String::new();
    while !heard.contains("leads to port 7777") {
        let count = stderr.read(&mut said).await.unwrap();
        assert!(count > 0, "forward ended: {heard}");
        heard.push_str(&String::from_utf8_lossy(&said[..count]));
    }
    // One that never reads what comes back stands still; the others do not.
    let mut idle = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut sent = 0;
    let stuffed = vec![b'z'; 64 * 1024];
    while let Ok(Ok(count)) = tokio::time::timeout(std::time::Duration::from_secs(2), idle.write(&stuffed)).await {
        sent += count;
        assert!(sent < 64 << 20, "nobody reads, and nobody is held back");
    }
    let mut others = tokio::task::JoinSet::new();
    for number in 0..8_u8 {
        others.spawn(async move {
            let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let bytes: Vec<u8> = (0..400_000_u32).map(|place| (place as u8).wrapping_mul(number | 1)).collect();
            let (mut from, mut to) = socket.split();
            let write = async {
                to.write_all(&bytes).await.unwrap();
                to.shutdown().await.unwrap();
            };
            let mut back = Vec::new();
            let (_, read) = tokio::join!(write, from.read_to_end(&mut back));
            read.unwrap();
            assert!(back == bytes, "what came back is not what was sent");
        });
    }
    while let Some(done) = others.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_holder_that_nobody_uses_leaves() {
    let stage = Stage::set().await;
    let _guest = stage.guest().await;
    stage.user.done(&["ssh", "hello", "--", "true"]).await;
    let passage = only_passage(&stage.user);
    let [holder] = stage.holders()[..] else { panic!("there is one holder") };
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(holder), nix::sys::signal::Signal::SIGKILL).unwrap();
    until("the holder ends", || stage.holders().is_empty().then_some(())).await;
    let leaving = stage.user.run(&["hold-network", passage.to_str().unwrap(), "--idle", "1s"]).await;
    assert_eq!((leaving.code, leaving.stderr.as_str()), (0, ""));
    assert!(!passage.with_extension("sock").exists());
    // One that was killed left its socket behind; that is in nobody's way.
    fs::write(passage.with_extension("sock"), "").unwrap();
    fs::remove_file(passage.with_extension("sock")).unwrap();
    assert_eq!(stage.user.done(&["ssh", "hello", "--", "echo here"]).await, "here\n");
}

#[tokio::test]
async fn a_network_goes_although_ssh_has_been_in_it() {
    let stage = Stage::set().await;
    let _guest = stage.guest().await;
    stage.user.done(&["ssh", "hello", "--", "true"]).await;
    stage.user.done(&["instance", "delete", "hello", "--yes", "--wait"]).await;
    stage.user.done(&["network", "delete", "home", "--yes", "--wait"]).await;
    assert_eq!(stage.user.done(&["peer", "list", "-o", "json"]).await, "[]\n");
    until("the holder ends", || stage.holders().is_empty().then_some(())).await;
    assert_eq!(fs::read_dir(stage.user.path(".local/state/rhyzome/run")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(stage.user.path(".local/state/rhyzome/known-hosts")).unwrap().count(), 0);
}

fn only_passage(user: &User) -> std::path::PathBuf {
    let directory = user.path(".local/state/rhyzome/run");
    let is_passage = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "json");
    let mut found: Vec<_> =
        fs::read_dir(Path::new(&directory)).unwrap().flatten().map(|e| e.path()).filter(is_passage).collect();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}
