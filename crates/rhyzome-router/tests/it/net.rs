//! Network namespaces for tests: made with names of their own, removed with all that is in them.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A name that no other test on this machine has, of 14 characters at most.
pub fn unique(kind: &str) -> String {
    format!("{kind}{:x}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Panics with a clear line where a test cannot run.
pub fn need_root_and(programs: &[&str]) {
    assert!(nix::unistd::geteuid().is_root(), "this test makes network namespaces: run it as root");
    for program in programs {
        let found = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
            .iter()
            .any(|folder| std::path::Path::new(folder).join(program).exists());
        assert!(found, "this test needs the program {program}: install its package");
    }
}

/// Runs a program and gives back what it printed; panics if it fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = output(program, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {stderr}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn output(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("cannot run {program}: {error}"))
}

/// A namespace, removed when it is dropped, with the processes in it.
pub struct Net {
    pub name: String,
}

impl Net {
    pub fn new(kind: &str) -> Self {
        let name = unique(kind);
        run("ip", &["netns", "add", &name]);
        run("ip", &["-n", &name, "link", "set", "lo", "up"]);
        Net { name }
    }

    /// Configures it by `ip`.
    pub fn ip(&self, arguments: &[&str]) -> String {
        run("ip", &[&["-n", &self.name], arguments].concat())
    }

    /// A pair of devices from here to `other`.
    pub fn pair(&self, device: &str, other: &Net, other_device: &str) {
        let arguments = ["link", "add", device, "type", "veth", "peer", "name", other_device, "netns", &other.name];
        self.ip(&arguments);
        self.ip(&["link", "set", device, "up"]);
        other.ip(&["link", "set", other_device, "up"]);
    }

    /// Runs a program inside.
    pub fn exec(&self, command: &[&str]) -> Output {
        let namespace = format!("--net=/run/netns/{}", self.name);
        output("nsenter", &[&[namespace.as_str(), "--"], command].concat())
    }

    /// A DHCP client on a device, with a MAC address and a hostname, that keeps what it gets; none if it gets nothing.
    pub fn dhcp(&self, device: &str, mac: &str, hostname: Option<&str>, tries: &str) -> Option<Value> {
        self.ip(&["link", "set", device, "address", mac]);
        let script = std::env::temp_dir().join(unique("udhcpc"));
        std::fs::write(
            &script,
            "#!/bin/sh\n[ \"$1\" = bound ] && echo \"GOT $ip/$mask/$router/$dns/$lease\"\nexit 0\n",
        )
        .unwrap();
        run("chmod", &["755", script.to_str().unwrap()]);
        let name = hostname.map(|name| format!("hostname:{name}"));
        let mut command = vec![
            "busybox",
            "udhcpc",
            "-f",
            "-n",
            "-q",
            "-i",
            device,
            "-t",
            tries,
            "-T",
            "1",
            "-s",
            script.to_str().unwrap(),
        ];
        if let Some(name) = &name {
            command.extend(["-x", name]);
        }
        let output = self.exec(&command);
        std::fs::remove_file(&script).unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let got = text.lines().find_map(|line| line.strip_prefix("GOT "))?;
        let fields: Vec<&str> = got.split('/').collect();
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        Some(json!({
            "address": fields[0],
            "mask": fields[1].parse::<u32>().unwrap(),
            "router": list(fields[2]),
            "dns": list(fields[3]),
            "lease_s": fields[4].parse::<u32>().unwrap(),
        }))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let pids = output("ip", &["netns", "pids", &self.name]);
        for pid in String::from_utf8_lossy(&pids.stdout).split_whitespace() {
            output("kill", &["-9", pid]);
        }
        output("ip", &["netns", "delete", &self.name]);
    }
}
