//! A running device that is taken into the fleet over SSH: a dropbear of its own, as root, with files below a directory.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::command_line::{Node, PASSWORD, founded};

/// A machine that runs dropbear, in a mount namespace where root's home is its own.
struct Machine {
    dir: tempfile::TempDir,
    port: u16,
    dropbear: Child,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.dropbear.kill();
        let _ = self.dropbear.wait();
    }
}

impl Machine {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let make = |program: &str, arguments: &[&str]| {
            let made = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
            let made = made.unwrap_or_else(|error| panic!("this test needs {program}, of scripts/machine.sh: {error}"));
            assert!(made.success(), "{program} {arguments:?}");
        };
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        make("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path("key")]);
        make("dropbearkey", &["-t", "ed25519", "-f", &path("host")]);
        fs::create_dir_all(dir.path().join("root/etc")).unwrap();
        // What OpenWrt runs init scripts with: it notes what it is asked.
        let rc = format!("echo \"$2\" >>{}\n", path("asked"));
        fs::write(dir.path().join("root/etc/rc.common"), rc).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = "mount -t tmpfs tmpfs /root && chmod 700 /root && mkdir -m 700 /root/.ssh && \
                      cp \"$1/key.pub\" /root/.ssh/authorized_keys && chmod 600 /root/.ssh/authorized_keys && \
                      exec dropbear -F -E -s -r \"$1/host\" -P \"$1/pid\" -p \"127.0.0.1:$2\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script, "sh", dir.path().to_str().unwrap(), &port.to_string()]);
        let dropbear = command.stderr(Stdio::null()).spawn().expect("this test needs unshare, and root");
        let machine = Self { dir, port, dropbear };
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "dropbear does not listen: this test needs root");
            std::thread::sleep(Duration::from_millis(20));
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn adopt(&self, master: &Node, more: &[&str]) -> Result<String, String> {
        let options = [
            format!("Port={}", self.port),
            format!("IdentityFile={}", self.path("key").display()),
            format!("UserKnownHostsFile={}", self.path("known").display()),
            "StrictHostKeyChecking=accept-new".to_owned(),
            "BatchMode=yes".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
        ];
        let root = self.path("root");
        let mut line = vec!["adopt", "root@127.0.0.1", "--group", "ap", "--root", root.to_str().unwrap()];
        line.extend(options.iter().flat_map(|option| ["--ssh", option.as_str()]));
        line.extend(more);
        master.dusk(&line, &[PASSWORD])
    }
}

#[test]
fn a_running_device_is_adopted_over_ssh() {
    let (master, machine) = (founded(), Machine::start());
    // What does not run there is told, before anything is signed.
    let records = master.dusk(&["log"], &[]).unwrap();
    let wrong = machine.path("wrong");
    fs::write(&wrong, "#!/bin/sh\nexit 1\n").unwrap();
    let refused = machine.adopt(&master, &["--name", "attic", "--program", wrong.to_str().unwrap()]).unwrap_err();
    assert!(refused.contains("does not run on root@127.0.0.1"), "{refused}");
    assert_eq!(master.dusk(&["log"], &[]).unwrap(), records);

    let told = machine.adopt(&master, &["--name", "attic"]).unwrap();
    assert!(told.contains("is attic, and runs"), "{told}");
    let devices = master.devices();
    let attic = devices.iter().find(|device| device["name"] == "attic").unwrap();
    assert_eq!((&attic["state"], &attic["groups"]), (&"approved".into(), &"ap".into()));
    assert_eq!(fs::read_to_string(machine.path("asked")).unwrap(), "enable\nstart\n");
    for (path, mode) in [("usr/sbin/dusk", 0o755), ("etc/init.d/dusk", 0o755), ("usr/libexec/dusk/restore", 0o755)] {
        let there = fs::metadata(machine.path("root").join(path)).unwrap();
        assert_eq!(there.permissions().mode() & 0o777, mode, "{path}");
    }
    let secret = fs::metadata(machine.path("root/etc/dusk/node.key")).unwrap();
    assert_eq!(secret.permissions().mode() & 0o777, 0o600);

    fs::write(machine.path("root/etc/dusk/replica"), "x").unwrap();
    assert!(machine.adopt(&master, &["--name", "other"]).unwrap_err().contains("of a fleet already"));
    assert!(master.dusk(&["adopt", "-oProxyCommand=x"], &[PASSWORD]).is_err());
}
