//! What is on the machine: domains and disks, bridges, the router's sections, name servers and rules.

use std::fs;
use std::process::{Command, Stdio};

use e2e::installation::Installation;

use super::wishes::Wishes;

/// The router's namespace.
const ROUTER: &str = "rhyzome-router";

/// What is there and should not, and what should be there and is not.
pub fn differences(installation: &Installation, wishes: &Wishes) -> Vec<String> {
    let (networks, instances) = (wishes.networks.len(), wishes.instances.len());
    let data = installation.data();
    let mut differences = Vec::new();
    let mut count = |what: &str, found: Vec<String>, expected: usize| {
        if found.len() != expected {
            differences.push(format!("{} {what}, not {expected}: {found:?}", found.len()));
        }
    };
    let used = wishes.instances.values().collect::<std::collections::BTreeSet<_>>().len();
    count("guests' processes", processes("qemu-system", "-name"), instances);
    count("disks", files(&data.join("storage/instances")), instances);
    let links = printed("ip", &["-oneline", "link"]);
    count("bridges of segments", links_named(&links, "rzb"), used);
    let inside = printed("ip", &["netns", "exec", ROUTER, "ip", "-oneline", "link", "show", "type", "bridge"]);
    count("bridges of the router", inside.lines().map(str::to_owned).collect(), networks);
    count("name servers", processes("dnsmasq", ""), networks);
    let sections = |package: &str, kind: &str| -> Vec<String> {
        let text = fs::read_to_string(data.join("rhyzome-router/config").join(package)).unwrap_or_default();
        let begins = format!("config {kind} 'rz");
        let bare = format!("config {kind} rz");
        text.lines().filter(|line| line.starts_with(&begins) || line.starts_with(&bare)).map(str::to_owned).collect()
    };
    count("zones in the router's configuration", sections("firewall", "zone"), networks);
    count("name servers in the router's configuration", sections("dhcp", "dnsmasq"), networks);
    let rules = printed("ip", &["netns", "exec", ROUTER, "nft", "list", "table", "inet", "fw4"]);
    let zones = chains_of(&rules, "input_rz");
    count("zones in the router's rules", zones, networks);
    let taps = chains_of(&printed("nft", &["list", "table", "bridge", "rhyzome-libvirt"]), "rt");
    count("machines in the host's rules", taps, instances);
    count("leases in the router's configuration", sections("dhcp", "host"), instances);
    differences
}

/// Command lines of processes that run `program` and have `word` in them.
fn processes(program: &str, word: &str) -> Vec<String> {
    let lines = printed("ps", &["-e", "-o", "stat=,args="]);
    let runs = |line: &&str| {
        let mut words = line.split_whitespace();
        let alive = words.next().is_some_and(|state| !state.starts_with('Z'));
        let name = words.next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        alive && name.starts_with(program) && line.contains(word)
    };
    lines.lines().filter(runs).map(|line| line.chars().take(160).collect()).collect()
}

fn files(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn links_named(links: &str, stem: &str) -> Vec<String> {
    let names = links.lines().filter_map(|line| line.split(": ").nth(1));
    names.filter(|name| name.starts_with(stem)).map(str::to_owned).collect()
}

/// Chains of nft's whose names begin with `stem`.
fn chains_of(rules: &str, stem: &str) -> Vec<String> {
    let names = rules.lines().filter_map(|line| line.trim_start().strip_prefix("chain ")?.split_whitespace().next());
    names.filter(|name| name.starts_with(stem)).map(str::to_owned).collect()
}

/// What a tool printed, also where it failed: what it looks at may just be coming back.
fn printed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
