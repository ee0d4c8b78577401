//! A person's device out on the internet, with WireGuard of its own.

use std::fs;
use std::process::{Command, Stdio};

use crate::installation::{Installation, wait_for};
use crate::machine::run;

/// A device in the namespace `outside`, with one WireGuard interface.
pub struct Laptop;

const INTERFACE: &str = "laptop";

impl Laptop {
    /// Registers the peer `name` for `network`, takes the configuration that `rhyzomectl` writes, and sets it up.
    pub fn enter(on: &Installation, name: &str, network: &str) -> Self {
        let file = on.data().join(format!("{name}.conf"));
        on.ctl(&["wg", "config", name, "--network", network, "--output", file.to_str().unwrap()]);
        let text = fs::read_to_string(&file).unwrap();
        let started = Command::new("ip")
            .args(["netns", "exec", "outside", "wireguard-go", INTERFACE])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(started.unwrap().success(), "wireguard-go starts");
        // What wg-quick(8) would do, as far as it is needed here.
        let plain = on.data().join("laptop.plain.conf");
        let only_wg = |line: &&str| !["Address", "DNS", "MTU"].iter().any(|key| line.trim_start().starts_with(key));
        fs::write(&plain, text.lines().filter(only_wg).collect::<Vec<_>>().join("\n") + "\n").unwrap();
        wait_for("wireguard-go answers", || {
            fs::exists(format!("/run/wireguard/{INTERFACE}.sock")).unwrap().then_some(())
        });
        let inside = |arguments: &[&str]| run("ip", &[&["netns", "exec", "outside"], arguments].concat());
        inside(&["wg", "setconf", INTERFACE, plain.to_str().unwrap()]);
        for address in values(&text, "Address") {
            inside(&["ip", "address", "add", &address, "dev", INTERFACE]);
        }
        inside(&["ip", "link", "set", INTERFACE, "up"]);
        // Everything private goes into the tunnel, so that what keeps the laptop out is the other end.
        inside(&["ip", "route", "add", "10.0.0.0/8", "dev", INTERFACE]);
        Self
    }

    /// Whether an address answers to a ping.
    pub fn reaches(&self, address: &str) -> bool {
        let ping = ["netns", "exec", "outside", "busybox", "ping", "-c", "1", "-W", "3", address];
        Command::new("ip").args(ping).stdin(Stdio::null()).output().unwrap().status.success()
    }
}

impl Drop for Laptop {
    fn drop(&mut self) {
        // Its process ends with its interface.
        let _ = Command::new("ip").args(["-n", "outside", "link", "delete", INTERFACE]).status();
    }
}

fn values(text: &str, key: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let found = lines.filter(|(name, _)| name.trim() == key).flat_map(|(_, value)| value.split(','));
    found.map(|value| value.trim().to_owned()).collect()
}
