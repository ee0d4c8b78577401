//! Prints what the programs of an idle installation take of memory, and how long an instance takes to run, less the
//! router's part, beside the same done by hand with qemu-img and virsh on the same libvirt.
#![allow(clippy::unwrap_used)]

#[path = "measured/table.rs"]
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use e2e::installation::Installation;
use e2e::machine::{enter, run};
use e2e::{image, outside};

const INSTANCES: usize = 5;
/// Long enough for connections and caches to settle.
const IDLE: Duration = Duration::from_secs(5);

fn main() {
    let image = image::tiny();
    enter(&[], || {
        outside::build();
        let installation = Installation::new();
        installation.up();
        std::thread::sleep(IDLE);
        print_memory(&installation);
        installation.ctl(&["network", "create", "lab", "--wait"]);
        installation.ctl(&["image", "import", "tiny", image.to_str().unwrap(), "--wait"]);
        // The first instance of an image pays for fetching it into the hypervisor's cache.
        create(&installation, "first");
        let ours: Vec<f64> = (0..INSTANCES).map(|number| create(&installation, &format!("ours-{number}"))).collect();
        let by_hand: Vec<f64> = (0..INSTANCES).map(|number| by_hand(&installation, number)).collect();
        let (ours, by_hand) = (middle(ours), middle(by_hand));
        table::row("an instance from create to running, less the router", "", &format!("{ours:.2} s"), "");
        table::row("  by hand, with qemu-img and virsh", "", &format!("{by_hand:.2} s"), "");
        table::row("  ratio", "under 1.2", &format!("{:.2}", ours / by_hand), "");
        installation.down();
    });
}

fn print_memory(installation: &Installation) {
    for (name, pid) in installation.processes() {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        let aim = if name == "rhyzome" { "under 40 MB" } else { "under 20 MB" };
        table::row(&format!("memory of {name}, idle"), aim, &format!("{:.1} MB", kilobytes / 1024.0), "");
    }
}

/// Seconds from asking to running, less what the router took meanwhile.
fn create(installation: &Installation, name: &str) -> f64 {
    let before = router_milliseconds(installation);
    let began = Instant::now();
    installation.ctl(&["instance", "create", name, "--network", "lab", "--image", "tiny", "--wait"]);
    let took = began.elapsed().as_secs_f64();
    assert_eq!(installation.json(&["instance", "get", name])["status"]["power"], "running");
    let router = router_milliseconds(installation) - before;
    took - router / 1e3
}

/// The time of all transactions of the router's agent so far, from its log.
fn router_milliseconds(installation: &Installation) -> f64 {
    let log = fs::read_to_string(installation.data().join("logs/rhyzome-openwrt.log")).unwrap();
    let times = log.lines().filter_map(|line| line.rsplit_once("duration_ms=")?.1.trim().parse::<f64>().ok());
    times.sum()
}

/// Seconds for a clone of the same image and a start of the same machine, without us.
fn by_hand(installation: &Installation, number: usize) -> f64 {
    let socket = installation.data().join("libvirt/run/libvirt-sock");
    let uri = format!("qemu+unix:///system?socket={}", socket.display());
    let virsh = |arguments: &[&str]| run("virsh", &[&["--quiet", "--connect", &uri], arguments].concat());
    let id = installation.json(&["instance", "get", "first"])["id"].as_str().unwrap().to_owned();
    let folder = installation.data().join("storage/instances").join(&id);
    let xml = virsh(&["dumpxml", "--inactive", &id]);
    let disk = installation.data().join(format!("by-hand-{number}.qcow2"));
    let file = installation.data().join(format!("by-hand-{number}.xml"));
    let backing = backing_file(&folder.join("disk.qcow2"));
    let changed = xml
        .replace(&format!("<name>{id}</name>"), &format!("<name>by-hand-{number}</name>"))
        .replace(folder.join("disk.qcow2").to_str().unwrap(), disk.to_str().unwrap())
        .lines()
        .filter(|line| !["<uuid>", "<mac ", "<target dev='rt"].iter().any(|tag| line.trim_start().starts_with(tag)))
        .collect::<Vec<_>>()
        .join("\n");
    let changed = changed
        .replace(&format!("{}/console.log", folder.display()), &format!("{}.console", disk.display()))
        .replace(&format!("{}/report.log", folder.display()), &format!("{}.report", disk.display()));
    fs::write(&file, changed).unwrap();

    let began = Instant::now();
    let backing = backing.to_str().unwrap();
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", backing, disk.to_str().unwrap()]);
    virsh(&["define", file.to_str().unwrap()]);
    virsh(&["start", &format!("by-hand-{number}")]);
    let took = began.elapsed().as_secs_f64();
    virsh(&["destroy", &format!("by-hand-{number}")]);
    virsh(&["undefine", &format!("by-hand-{number}")]);
    took
}

fn backing_file(disk: &Path) -> PathBuf {
    let output = Command::new("qemu-img")
        .args(["info", "--force-share", "--output", "json"])
        .arg(disk)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let facts: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    PathBuf::from(facts["full-backing-filename"].as_str().expect("the disk is a clone"))
}

fn middle(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
