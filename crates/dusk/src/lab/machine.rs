//! One node's machine: a namespace, a router that behaves like OpenWrt, and the node itself.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::until;

/// What the lab's namespaces begin with.
const PREFIX: &str = "lab-";
/// The namespace whose bridge all are on.
const HUB: &str = "lab-hub";

/// A node's machine.
pub struct Machine {
    /// What the node is called.
    pub name: String,
    number: u8,
    place: PathBuf,
    router: Child,
    node: Option<Child>,
}

impl Machine {
    /// Makes a machine whose router is up; no node runs on it.
    pub fn start(dir: &Path, number: u8, router: &Path) -> anyhow::Result<Self> {
        let name = match number {
            1 => "master".to_owned(),
            2 => "backup".to_owned(),
            other => format!("device{}", other - 2),
        };
        let place = dir.join(&name);
        let data = place.join("router");
        DirBuilder::new().mode(0o700).recursive(true).create(data.join("config"))?;
        let namespace = format!("{PREFIX}{name}");
        ip(&["netns", "add", &namespace])?;
        let port = format!("port{number}");
        ip(&["-n", HUB, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &namespace])?;
        ip(&["-n", HUB, "link", "set", &port, "master", "hub", "up"])?;
        for (package, text) in configuration(number) {
            fs::write(data.join("config").join(package), text)?;
        }
        let settings = serde_json::json!({"data_dir": data, "listen": "127.0.0.1:0", "netns": namespace});
        let file = place.join("router.json");
        fs::write(&file, settings.to_string())?;
        let root = place.join("root");
        for folder in ["etc", "var/run/ubus", "usr/libexec/dusk", "run"] {
            fs::create_dir_all(root.join(folder))?;
        }
        symlink(data.join("config"), root.join("etc/config"))?;
        symlink(data.join("ubus.sock"), root.join("var/run/ubus/ubus.sock"))?;
        fs::write(root.join("usr/libexec/dusk/restore"), include_str!("../../openwrt/files/restore.sh"))?;
        let mut command = Command::new(router);
        command.arg("serve").arg("--config").arg(&file);
        let router = spawn(command, &place.join("router.log"))?;
        let machine = Self { name, number, place, router, node: None };
        until("the router answers", || Ok(UnixStream::connect(data.join("ubus.sock")).is_ok()))?;
        Ok(machine)
    }

    /// Runs the node.
    pub fn run_node(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace()]).arg(std::env::current_exe()?).arg("run");
        command.arg("--dir").arg(self.dusk_dir()).arg("--root").arg(self.place.join("root"));
        self.node = Some(spawn(command, &self.place.join("log"))?);
        let socket = crate::agent::control::path(&self.dusk_dir());
        until("the node answers", || Ok(UnixStream::connect(&socket).is_ok()))
    }

    /// Its namespace.
    pub fn namespace(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    /// Its address on the bridge.
    pub fn address(&self) -> String {
        address(self.number)
    }

    /// Where its node's files lie.
    pub fn dusk_dir(&self) -> PathBuf {
        self.place.join("dusk")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for child in self.node.iter_mut().chain([&mut self.router]) {
            if let Ok(id) = i32::try_from(child.id()) {
                let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
            }
            let _ = child.wait();
        }
    }
}

fn address(number: u8) -> String {
    format!("10.99.0.{number}")
}

/// What a router's files say when it is taken out of the box.
fn configuration(number: u8) -> [(&'static str, String); 4] {
    let network = format!(
        "config interface 'loopback'\n\toption device 'lo'\n\toption proto 'static'\n\toption ipaddr '127.0.0.1'\n\
         \toption netmask '255.0.0.0'\n\nconfig device 'lan_bridge'\n\toption name 'br-lan'\n\toption type 'bridge'\n\
         \tlist ports 'eth0'\n\nconfig interface 'lan'\n\toption device 'br-lan'\n\toption proto 'static'\n\
         \toption ipaddr '{}'\n\toption netmask '255.255.255.0'\n",
        address(number)
    );
    let firewall = "config defaults\n\toption input 'ACCEPT'\n\toption output 'ACCEPT'\n\toption forward 'REJECT'\n\n\
                    config zone 'lan'\n\toption name 'lan'\n\tlist network 'lan'\n\toption input 'ACCEPT'\n\
                    \toption output 'ACCEPT'\n\toption forward 'ACCEPT'\n";
    let system = "config system\n\toption hostname 'OpenWrt'\n";
    // All lans are one network here: nobody hands out addresses on it.
    let dhcp = "config dnsmasq\n\toption domainneeded '1'\n\toption authoritative '1'\n\n\
                config dhcp 'lan'\n\toption interface 'lan'\n\toption ignore '1'\n";
    [("dhcp", dhcp.to_owned()), ("network", network), ("firewall", firewall.to_owned()), ("system", system.to_owned())]
}

/// The bridge that all are on.
pub fn hub() -> anyhow::Result<()> {
    ip(&["netns", "add", HUB])?;
    ip(&["-n", HUB, "link", "add", "hub", "type", "bridge"])?;
    ip(&["-n", HUB, "link", "set", "hub", "up"])
}

/// The program that plays OpenWrt: beside this one, or in PATH.
pub fn router() -> anyhow::Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("rhyzome-router");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::iter::once(beside).chain(std::env::split_paths(&path).map(|dir| dir.join("rhyzome-router")));
    places.find(|place| place.is_file()).context("there is no rhyzome-router beside dusk or in PATH")
}

/// The namespaces of a lab.
pub fn namespaces() -> anyhow::Result<Vec<String>> {
    let listed = Command::new("ip").args(["netns", "list"]).output().context("cannot run ip")?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    Ok(names.filter(|name| name.starts_with(PREFIX)).map(str::to_owned).collect())
}

/// Ends what runs in a namespace of a lab, and takes it away.
pub fn remove(namespace: &str) -> anyhow::Result<()> {
    let inside = || -> anyhow::Result<Vec<i32>> {
        let listed = Command::new("ip").args(["netns", "pids", namespace]).output().context("cannot run ip")?;
        Ok(String::from_utf8_lossy(&listed.stdout).lines().filter_map(|line| line.trim().parse().ok()).collect())
    };
    for process in inside()? {
        let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
    }
    until("what runs there ends", || Ok(inside()?.is_empty()))?;
    ip(&["netns", "delete", namespace])
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let done = Command::new("ip").args(arguments).stdin(Stdio::null()).output().context("cannot run ip")?;
    let complaint = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "ip {}: {}", arguments.join(" "), complaint.trim());
    Ok(())
}

/// Starts a program that Ctrl-C does not reach: the lab ends it.
fn spawn(mut command: Command, log: &Path) -> anyhow::Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let program = command.get_program().to_string_lossy().into_owned();
    match command.spawn() {
        Ok(child) => Ok(child),
        Err(error) => bail!("cannot run {program}: {error}"),
    }
}
