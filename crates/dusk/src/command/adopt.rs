//! `dusk adopt`: takes a running device into the fleet over SSH. What says that it is this device is the SSH connection: its
//! request is read over it, so that nobody has to compare anything.

use std::process::ExitCode;

use anyhow::{Context, ensure};
use fleet::authority::{Statement, Trust};
use fleet::{DeviceName, GroupName, JoinRequest};

use super::{Given, group, join, print};
use crate::seat::Seat;
use crate::ssh::{Host, quoted};

/// What the device needs beside the program: where it goes, its mode, and what it holds.
const FILES: [(&str, &str, &str); 5] = [
    ("/etc/init.d/dusk", "755", include_str!("../../openwrt/files/dusk.init")),
    ("/usr/libexec/dusk/restore", "755", include_str!("../../openwrt/files/restore.sh")),
    ("/usr/libexec/rpcd/dusk", "755", include_str!("../../openwrt/files/rpcd.sh")),
    ("/usr/share/rpcd/acl.d/dusk.json", "644", include_str!("../../openwrt/files/acl.json")),
    ("/lib/upgrade/keep.d/dusk", "644", include_str!("../../openwrt/files/keep")),
];
/// How long the device may take to ask, in days.
const DAYS: u32 = 1;

/// Copies the program, lets the device ask, lets it in, and starts it.
///
/// # Errors
/// When ssh does not get there, the program does not run there, the device is of a fleet, or the right is wanting.
pub fn run(given: &Given) -> anyhow::Result<ExitCode> {
    let mut seat = Seat::open(given)?;
    let groups: Vec<GroupName> = given.values("group").iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let program = given.value("program").map_or_else(std::env::current_exe, |path| Ok(path.into()))?;
    let program = std::fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
    let target = given.argument("host");
    let host = Host::new(target, given.values("ssh"))?;
    let device = Device { host, root: given.value("root").unwrap_or_default().trim_end_matches('/').to_owned() };
    ensure!(!device.is_member()?, "{target} is of a fleet already, by its files in /etc/dusk");
    let name: DeviceName = match given.value("name") {
        Some(name) => name.parse()?,
        None => device.hostname()?.parse().context("what shall the device be called? Say it with --name")?,
    };
    ensure!(seat.state().device_by_name(&name).is_none(), "there is a device {name} already: say --name");
    let author = seat.sign_in(given)?;

    eprintln!("{target}: the program goes there");
    device.put("/usr/sbin/dusk", "755", &program)?;
    device.run("/usr/sbin/dusk", "--version >/dev/null", &[]).with_context(|| {
        format!("the program does not run on {target}: give one that is built for it with --program")
    })?;
    for (path, mode, text) in FILES {
        device.put(path, mode, text.as_bytes())?;
    }
    let key = join::make_key(&mut seat, given, &author, (1, DAYS))?;
    let dir = quoted(&device.path("/etc/dusk"));
    device.run("/usr/sbin/dusk", &format!("join --name {name} --dir {dir} >/dev/null"), key.reveal().as_bytes())?;
    let request = device.host.run(&format!("cat {}", quoted(&device.path("/etc/dusk/request"))), &[])?;
    let JoinRequest { key, request } =
        JoinRequest::from_bytes(&request).context("what the device asks is no request")?;
    let asking = JoinRequest { key: key.clone(), request: request.clone() }.open(seat.fleet())?;
    let trust = if given.has("secrets") { Trust::Secrets } else { Trust::Configuration };
    seat.say(&Statement::Device { key, name: name.clone(), groups, trust, request: Some(request) }, &author)?;
    if trust == Trust::Secrets {
        group::share(&mut seat, &author, asking.device)?;
    }
    let script = quoted(&device.path("/etc/init.d/dusk"));
    let rc = quoted(&device.path("/etc/rc.common"));
    device
        .host
        .run(&format!("sh {rc} {script} enable && sh {rc} {script} start"), &[])
        .with_context(|| format!("device {} is {name} and in the fleet, but does not start", asking.device))?;
    print(&format!("device {} is {name}, and runs\n", asking.device))
}

/// The device as it is reached.
struct Device {
    host: Host,
    root: String,
}

impl Device {
    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    fn run(&self, program: &str, arguments: &str, input: &[u8]) -> anyhow::Result<Vec<u8>> {
        self.host.run(&format!("{} {arguments}", quoted(&self.path(program))), input)
    }

    fn is_member(&self) -> anyhow::Result<bool> {
        let [replica, genesis] = ["replica", "genesis"].map(|name| quoted(&self.path(&format!("/etc/dusk/{name}"))));
        let told = self.host.run(&format!("if [ -s {replica} ] || [ -e {genesis} ]; then echo member; fi"), &[])?;
        Ok(told.starts_with(b"member"))
    }

    fn hostname(&self) -> anyhow::Result<String> {
        let told = self.host.run("cat /proc/sys/kernel/hostname", &[])?;
        Ok(String::from_utf8_lossy(&told).trim().to_lowercase())
    }

    /// Writes a file, which is there whole or not at all.
    fn put(&self, path: &str, mode: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.path(path);
        let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
        let (folder, beside, path) = (quoted(folder), quoted(&format!("{path}.new")), quoted(&path));
        let line = format!("mkdir -p {folder} && cat >{beside} && chmod {mode} {beside} && mv {beside} {path}");
        self.host.run(&line, bytes).map(drop)
    }
}
