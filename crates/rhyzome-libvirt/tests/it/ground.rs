//! A host for one test: namespaces, a libvirtd, a router's namespace with a DHCP server, and the target.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jobs::desired::{Image, ImageContent, Instance, Nic, Power, SegmentKind, SegmentLink};
use jobs::{Context, ImageSource, Job, Object, Outcome, Report, SecretField, Target, Want};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rhyzome_libvirt::configuration::Configuration;
use rhyzome_libvirt::hypervisor::Hypervisor;
use rhyzome_libvirt::libvirtd;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::AsyncWrite;
use types::{ImageId, InstanceId, NetworkId, SecretText, Segment, Sha256Digest, SshPublicKey};

use image::tiny::{BuildOptions, build};

pub const INSTANCE: InstanceId = InstanceId::from_bits(0x0123_4567_89ab_cdef);
pub const NETWORK: NetworkId = NetworkId::from_bits(0x0123_4567_89ab_cde0);
pub const IMAGE: ImageId = ImageId::from_bits(0x0123_4567_89ab_cde1);
pub const ROUTER: &str = "router";
pub const ADDRESS: &str = "10.77.0.10";
const MAC: &str = "52:54:00:12:34:56";
const SEGMENT: u32 = 0x1f;
/// Long enough for a guest to start without KVM on a machine that does other things.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub struct Ground {
    pub dir: TempDir,
    pub image: PathBuf,
    libvirtd: Child,
    servers: Vec<Child>,
}

impl Ground {
    pub fn prepare() -> Self {
        assert!(nix::unistd::Uid::effective().is_root(), "these tests make namespaces and machines: run them as root");
        // Before the namespaces, from which Debian's archive is out of reach.
        let cache_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).to_owned();
        let image = build(&BuildOptions { cache_dir }, &mut |stage| println!("{stage}")).unwrap();
        enter_namespaces();
        let dir = tempfile::Builder::new().prefix("rhyzome-libvirt-").tempdir_in("/tmp").unwrap();
        let libvirtd = start_libvirtd(dir.path());
        let ground = Self { dir, image, libvirtd, servers: Vec::new() };
        ground.write_configuration();
        for key in ["host_key", "user_key"] {
            ground.run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(ground.path(key)));
        }
        ground.add_router();
        ground
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_configuration(&self) {
        let configuration = json!({
            "agent": { "state_dir": self.path("agent") },
            "libvirt_uri": libvirtd::uri(&self.path("libvirtd")),
            "storage_dir": self.path("storage"),
            "accelerator": "tcg",
            "router_netns": ROUTER,
        });
        fs::write(self.path("rhyzome-libvirt.json"), configuration.to_string()).unwrap();
    }

    pub fn configuration(&self) -> Configuration {
        config::load(Some(&self.path("rhyzome-libvirt.json")), "").unwrap().value
    }

    pub fn hypervisor(&self) -> Hypervisor {
        Hypervisor::open(&self.configuration()).unwrap()
    }

    pub fn context(&self) -> Context {
        Context { images: Arc::new(ImageFile(self.image.clone())) }
    }

    pub fn add_router(&self) {
        self.run(Command::new("ip").args(["netns", "add", ROUTER]));
    }

    pub fn in_router(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", ROUTER, program]);
        command
    }

    /// Gives the router's end of the segment an address, and leases to machines.
    pub fn serve_dhcp(&mut self) {
        let interface = Segment::try_from(SEGMENT).unwrap().router_end();
        self.run(self.in_router("ip").args(["address", "add", "10.77.0.1/24", "dev", &interface]));
        let server = self
            .in_router("dnsmasq")
            .args(["--no-daemon", "--conf-file=/dev/null", "--port=0", "--bind-interfaces", "--leasefile-ro"])
            .arg(format!("--interface={interface}"))
            .arg("--dhcp-range=10.77.0.0,static,255.255.255.0")
            .arg(format!("--dhcp-host={MAC},{ADDRESS}"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.servers.push(server);
    }

    pub fn segment(&self) -> SegmentLink {
        SegmentLink {
            network: NETWORK,
            segment: SEGMENT.try_into().unwrap(),
            mtu: 1420.try_into().unwrap(),
            kind: SegmentKind::Bridge,
        }
    }

    pub fn content(&self) -> ImageContent {
        let bytes = fs::read(&self.image).unwrap();
        let virtual_size = i64::from_be_bytes(bytes[24..32].try_into().unwrap());
        ImageContent {
            sha256: Sha256Digest::from_bytes(Sha256::digest(&bytes).into()),
            file_size: i64::try_from(bytes.len()).unwrap().try_into().unwrap(),
            virtual_size: virtual_size.try_into().unwrap(),
        }
    }

    pub fn kept_image(&self) -> Image {
        Image { id: IMAGE, content: self.content() }
    }

    pub fn instance(&self, power: Power) -> Instance {
        let user_key: SshPublicKey = fs::read_to_string(self.path("user_key.pub")).unwrap().trim().parse().unwrap();
        Instance {
            id: INSTANCE,
            hostname: "hello".parse().unwrap(),
            domain: "home.internal".parse().unwrap(),
            power,
            restarts: 0,
            vcpus: 1.try_into().unwrap(),
            memory: 128.try_into().unwrap(),
            disk: (1_i64 << 30).try_into().unwrap(),
            image: self.content(),
            nic: Nic {
                network: NETWORK,
                segment: SEGMENT.try_into().unwrap(),
                mac: MAC.parse().unwrap(),
                address: ADDRESS.parse().unwrap(),
                mtu: 1420.try_into().unwrap(),
            },
            ssh_keys: vec![user_key],
            host_key: SecretField::Value(SecretText::new(fs::read_to_string(self.path("host_key")).unwrap())),
            user_data: Some(SecretField::Value(SecretText::new("#!/bin/sh\necho made >/root/made\n".to_owned()))),
        }
    }

    /// Runs a command in the guest by SSH, trusting the host key that the guest was given and no other.
    pub fn ssh(&self, command: &str) -> String {
        let host_key = fs::read_to_string(self.path("host_key.pub")).unwrap();
        fs::write(self.path("known_hosts"), format!("{ADDRESS} {host_key}")).unwrap();
        let known = format!("UserKnownHostsFile={}", self.path("known_hosts").display());
        let mut ssh = self.in_router("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", &known, "-i"]);
        ssh.arg(self.path("user_key")).arg(format!("root@{ADDRESS}")).arg(command);
        self.run(&mut ssh).trim().to_owned()
    }

    pub fn virsh(&self, arguments: &[&str]) -> String {
        let uri = libvirtd::uri(&self.path("libvirtd"));
        self.run(Command::new("virsh").args(["--quiet", "--connect", &uri]).args(arguments))
    }

    pub fn run(&self, command: &mut Command) -> String {
        let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
        assert!(status.success(), "{command:?}: {status}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    pub fn kill_libvirtd(&mut self) {
        self.libvirtd.kill().unwrap();
        self.libvirtd.wait().unwrap();
    }

    /// Lets libvirtd hang, or go on.
    pub fn signal_libvirtd(&self, signal: nix::sys::signal::Signal) {
        // One that has ended takes no signal.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.libvirtd.id().cast_signed()), signal);
    }

    pub fn start_libvirtd(&mut self) {
        self.libvirtd = start_libvirtd(self.dir.path());
    }

    pub fn cleanup(&self, arguments: &[&str]) {
        let program = env!("CARGO_BIN_EXE_rhyzome-libvirt");
        self.run(
            Command::new(program).args(["cleanup", "--config"]).arg(self.path("rhyzome-libvirt.json")).args(arguments),
        );
    }

    /// The processes of machines whose files lie here.
    pub fn machine_processes(&self) -> Vec<String> {
        let output = Command::new("pgrep")
            .arg("-f")
            .arg(format!("^[^ ]*qemu-system.*{}", self.path("storage").display()))
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Everything that the host has of us beside files.
    pub fn traces(&self) -> Vec<String> {
        let links = self.run(Command::new("ip").args(["-brief", "link"]));
        let ours = |name: &&str| ["rzb", "rzh", "rt"].iter().any(|stem| name.starts_with(stem));
        let mut traces: Vec<String> =
            links.lines().filter_map(|line| line.split([' ', '@']).next()).filter(ours).map(str::to_owned).collect();
        let tables = self.run(Command::new("nft").args(["list", "tables"]));
        traces.extend(tables.lines().map(str::to_owned));
        traces.extend(self.machine_processes());
        traces
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // Machines outlive libvirtd. A test that failed must not leave them; one that did not has none.
        self.signal_libvirtd(nix::sys::signal::Signal::SIGCONT);
        let program = env!("CARGO_BIN_EXE_rhyzome-libvirt");
        let _ = Command::new(program).args(["cleanup", "--config"]).arg(self.path("rhyzome-libvirt.json")).output();
        for child in self.servers.iter_mut().chain([&mut self.libvirtd]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub async fn apply(target: &dyn Target, context: &Context, object: Object, version: &str, want: Want) -> Report {
    let job = Job { object, version: version.parse().unwrap(), requires: Vec::new(), want };
    target.apply(vec![job], context).await.remove(0)
}

/// Brings an object to a state and sees that it is there.
pub async fn bring(target: &dyn Target, context: &Context, object: Object, version: &str, state: String) -> Report {
    let report = apply(target, context, object, version, Want::Desired(state)).await;
    assert_eq!(report.outcome, Outcome::Applied, "{:?}", report.reason);
    report
}

/// Removes an object and sees that it is gone.
pub async fn remove(target: &dyn Target, context: &Context, object: Object) {
    let report = apply(target, context, object, "1:99", Want::Gone).await;
    assert_eq!(report.outcome, Outcome::Applied, "{:?}", report.reason);
}

/// A desired state as the core sends it, with its secrets resolved. The type itself never writes secrets.
pub fn as_sent(instance: &Instance) -> String {
    let revealed = |field: &SecretField| json!({"value": field.value().unwrap().reveal()});
    json!({
        "id": instance.id, "hostname": instance.hostname, "domain": instance.domain, "power": instance.power,
        "restarts": instance.restarts, "vcpus": instance.vcpus, "memory": instance.memory, "disk": instance.disk,
        "image": instance.image, "nic": instance.nic, "ssh_keys": instance.ssh_keys,
        "host_key": revealed(&instance.host_key), "user_data": instance.user_data.as_ref().map(revealed),
    })
    .to_string()
}

/// Asks again and again until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn enter_namespaces() {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).unwrap();
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none).unwrap();
    fs::create_dir_all("/run/netns").unwrap();
    mount(Some("tmpfs"), "/run/netns", Some("tmpfs"), MsFlags::empty(), none).unwrap();
}

fn start_libvirtd(dir: &Path) -> Child {
    let log = fs::File::create(dir.join("libvirtd.log")).unwrap();
    let socket = libvirtd::socket(&dir.join("libvirtd"));
    let child = Command::new(env!("CARGO_BIN_EXE_rhyzome-libvirt"))
        .args(["libvirtd", "--dir"])
        .arg(dir.join("libvirtd"))
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let end = Instant::now() + PATIENCE;
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        let log = || fs::read_to_string(dir.join("libvirtd.log")).unwrap();
        assert!(Instant::now() < end, "libvirtd does not listen: {}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

struct ImageFile(PathBuf);

#[async_trait]
impl ImageSource for ImageFile {
    async fn fetch(&self, _: Sha256Digest, sink: &mut (dyn AsyncWrite + Send + Unpin)) -> anyhow::Result<()> {
        tokio::io::copy(&mut tokio::fs::File::open(&self.0).await?, sink).await?;
        Ok(())
    }
}
