//! `dusk lab`: what an operator signs reaches real bridges and dnsmasq, and what cuts a device off is taken back.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use e2e::installation::{programs_dir, wait_for};
use e2e::machine;

const LAB: &str = "/tmp/dusk-lab";

/// A lab that is up, until it is dropped.
struct Lab(Child);

impl Lab {
    fn up() -> Self {
        let mut command = Command::new(programs_dir().join("dusk"));
        command.args(["lab", "5"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let lab = Self(child);
        assert!(said.lines().any(|line| line.unwrap().contains("Ctrl-C")), "the lab did not come up");
        lab
    }

    /// As Ctrl-C ends it.
    fn end(mut self) {
        machine::run("kill", &["-INT", &self.0.id().to_string()]);
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.0.kill();
            let _ = self.0.wait();
            let _ = Command::new(programs_dir().join("dusk")).args(["lab", "--remove"]).status();
        }
    }
}

/// Runs a command at the master, as ada.
fn dusk(line: &[&str]) -> String {
    dusk_with(line, "true")
}

fn dusk_with(line: &[&str], editor: &str) -> String {
    let mut command = Command::new(programs_dir().join("dusk"));
    command.args(line).arg("--dir").arg(format!("{LAB}/master/dusk")).env("VISUAL", editor);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(b"correct horse\n");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "dusk {line:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn inside(machine: &str, command: &[&str]) -> String {
    machine::run("ip", &[&["netns", "exec", machine], command].concat())
}

fn log_of(node: &str) -> String {
    fs::read_to_string(format!("{LAB}/{node}/log")).unwrap_or_default()
}

#[test]
fn a_fleet_takes_what_is_signed_and_takes_back_what_cuts_it_off() {
    machine::on_own_machine("dusk_lab::a_fleet_takes_what_is_signed_and_takes_back_what_cuts_it_off", story);
}

fn story() {
    let lab = Lab::up();
    println!("==> a change reaches real bridges and dnsmasq");
    let policy = Path::new("/run/policy");
    fs::write(policy, "config apply\n\toption deadline '20'\n").unwrap();
    dusk_with(&["edit", "policy/base/policy", "--yes"], &format!("cp {}", policy.display()));
    let bridge = ["network.yard=device", "network.yard.name=br-yard", "network.yard.type=bridge"];
    let rest = [
        "network.yard.bridge_empty=1",
        "network.garden=interface",
        "network.garden.device=br-yard",
        "network.garden.proto=static",
        "network.garden.ipaddr=10.50.0.1",
        "network.garden.netmask=255.255.255.0",
        "dhcp.garden=dhcp",
        "dhcp.garden.interface=garden",
        "dhcp.garden.start=77",
        "dhcp.garden.limit=5",
        "--yes",
    ];
    dusk(&[&["set", "group/ap"], &bridge[..], &rest[..]].concat());
    for device in ["device1", "device2", "device3"] {
        let namespace = format!("lab-{device}");
        wait_for(&format!("the bridge of {device}"), || {
            inside(&namespace, &["ip", "-4", "-brief", "address"]).contains("10.50.0.1/24").then_some(())
        });
        wait_for(&format!("dnsmasq of {device}"), || {
            let sockets = inside(&namespace, &["ss", "-lunp"]);
            sockets.lines().any(|line| line.contains(":67") && line.contains("dnsmasq")).then_some(())
        });
    }
    wait_for("it is confirmed", || log_of("device1").contains("is applied").then_some(()));

    println!("==> a change that cuts a device off");
    dusk(&["set", "device/device1", "network.lan.ipaddr=10.98.0.3", "--yes"]);
    wait_for("it is taken back", || log_of("device1").contains("neither master nor backup answers").then_some(()));
    wait_for("the address is back", || {
        inside("lab-device1", &["ip", "-4", "-brief", "address"]).contains("10.99.0.3/24").then_some(())
    });

    println!("==> Ctrl-C leaves nothing");
    lab.end();
    assert_eq!(machine::run("ip", &["netns"]), "");
    assert!(!Path::new(LAB).exists());
}
