//! A machine of the test's own: network, processes, mounts and /run are apart from the real one's, and vanish with it.

use std::process::{Command, Stdio};

/// Set for the process that runs inside.
const INSIDE: &str = "RHYZOME_E2E_INSIDE";

/// Runs the rest of the test called `test` on a machine of its own: the test binary runs that test again, inside.
/// Fails as it does.
pub fn on_own_machine(test: &str, body: impl FnOnce()) {
    enter(&["--exact", test, "--nocapture", "--test-threads", "1"], body);
}

/// Runs `body` on a machine of its own: this program is run again with those arguments, and gets here again inside.
pub fn enter(arguments: &[&str], body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        furnish();
        return body();
    }
    assert!(nix::unistd::Uid::effective().is_root(), "this needs root: it makes namespaces");
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"])
        // A shell as the first process reaps what daemons leave behind.
        .args(["sh", "-c", "\"$@\"; exit $?", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(arguments)
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .status()
        .expect("unshare of util-linux must be there");
    assert!(status.success(), "inside: {status}");
}

fn furnish() {
    run("mount", &["-t", "sysfs", "sysfs", "/sys"]);
    run("mount", &["-t", "tmpfs", "tmpfs", "/run"]);
    std::fs::create_dir_all("/run/lock").unwrap();
    run("ip", &["link", "set", "lo", "up"]);
}

/// Runs a command that must succeed and gives what it printed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success(),
        "{program} {} failed ({}):\n{said}{complained}",
        arguments.join(" "),
        output.status
    );
    said.into_owned()
}

/// Fails with what came and what went, if the machine is not as it was at the earlier [`inventory`].
pub fn assert_as_before(before: &str) {
    let after = inventory();
    let only_in = |these: &str, those: &str| -> Vec<String> {
        these.lines().filter(|line| !those.lines().any(|other| other == *line)).map(str::to_owned).collect()
    };
    let (came, mut went) = (only_in(&after, before), only_in(before, &after));
    // Mounts of the real machine that this one began with may go there at any time.
    went.retain(|line| !line.starts_with("mount "));
    assert!(came.is_empty() && went.is_empty(), "the machine is not as before; came: {came:#?}, went: {went:#?}");
}

/// Everything on the machine that `rhyzome down` has to put back, one thing a line.
pub fn inventory() -> String {
    let links = run("ip", &["-oneline", "link"]);
    let links = links.lines().filter_map(|line| line.split(": ").nth(1)).map(|name| format!("link {name}"));
    let addresses = run("ip", &["-4", "-oneline", "-brief", "address"]);
    let addresses = addresses.lines().map(|line| format!("address {line}"));
    let namespaces = run("ip", &["netns"]);
    let namespaces = namespaces.lines().map(|line| format!("namespace {line}"));
    let rules = run("nft", &["list", "ruleset"]);
    let rules = rules.lines().map(|line| format!("nft {line}"));
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = mounts.lines().map(|line| format!("mount {line}"));
    let processes = run("ps", &["-e", "-o", "stat=,comm="]);
    let processes = processes
        .lines()
        .filter(|line| !line.starts_with('Z') && !line.ends_with(" ps"))
        .filter_map(|line| line.split_whitespace().nth(1))
        .map(|name| format!("process {name}"));
    let forward = format!("ip_forward {}", std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap());
    let mut lines: Vec<String> =
        links.chain(addresses).chain(namespaces).chain(rules).chain(mounts).chain(processes).chain([forward]).collect();
    lines.sort();
    lines.join("\n")
}
