//! The program itself: its configuration, its start and its end.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use jobs::Invitation;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pki::Authority;
use serde_json::{Value, json};
use time::OffsetDateTime;
use types::{InvitationId, SecretText};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rhyzome-openwrt");

/// A configuration whose files are there. Nobody listens at either address.
fn configuration(dir: &Path) -> Value {
    let authority = Authority::init(&dir.join("ca"), OffsetDateTime::now_utc()).unwrap();
    let invitation = Invitation {
        core: "https://127.0.0.1:1".parse().unwrap(),
        ca: authority.roots().unwrap(),
        id: InvitationId::from_bits(1),
        secret: SecretText::new("c2VjcmV0".to_owned()),
    };
    config::file::write_private(&dir.join("invitation"), invitation.reveal().reveal().as_bytes()).unwrap();
    config::file::write_private(&dir.join("password"), b"made-up").unwrap();
    json!({
        "agent": {"invitation_file": dir.join("invitation"), "state_dir": dir.join("state")},
        "router": {
            "url": "https://127.0.0.1:1/ubus",
            "ca": dir.join("ca/ca.pem"),
            "username": "agent",
            "password_file": dir.join("password"),
            "lock_file": dir.join("lock"),
        },
        "segments": {"kind": "bridge"},
    })
}

fn check(dir: &Path, configuration: &Value) -> Output {
    let file = dir.join("rhyzome-openwrt.json");
    std::fs::write(&file, configuration.to_string()).unwrap();
    Command::new(PROGRAM).args(["--check-config", "--config"]).arg(file).output().unwrap()
}

#[test]
fn a_good_configuration_is_in_order_and_a_bad_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let good = configuration(dir.path());
    let checked = check(dir.path(), &good);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert!(String::from_utf8_lossy(&checked.stdout).ends_with("rhyzome-openwrt.json: in order\n"));

    for (pointer, value, complaint) in [
        ("/router/url", json!("http://192.168.1.1/ubus"), "router.url"),
        ("/router/ca", json!("/nonexistent.pem"), "router.ca"),
        ("/router/password_file", json!("/etc/passwd"), "chmod 0600"),
        ("/router/rollback_timeout_seconds", json!(3), "expected 10 to 600 seconds"),
        ("/segments/kind", json!("carrier-pigeon"), "bridge"),
        ("/wan_zone", json!("a zone"), "is no zone"),
        ("/wan_interfase", json!("wan"), "wan_interface"),
    ] {
        let mut bad = good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[key] = value;
        let checked = check(dir.path(), &bad);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(!checked.status.success() && said.contains(complaint), "{pointer}: {said}");
    }
}

/// The core takes a list in the same variable, which `rhyzome up` leaves to all its programs.
#[test]
fn a_list_says_how_much_to_log() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rhyzome-openwrt.json");
    std::fs::write(&file, configuration(dir.path()).to_string()).unwrap();
    for (log, good) in [("debug", true), ("info,rhyzome=debug", true), ("warn,rhyzome_openwrt=loud", false)] {
        let mut command = Command::new(PROGRAM);
        let checked = command.args(["--check-config", "--config"]).arg(&file).env("RHYZOME_LOG", log).output().unwrap();
        assert_eq!(checked.status.success(), good, "{log}: {}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn it_waits_for_router_and_core_in_little_memory_and_ends_when_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rhyzome-openwrt.json");
    std::fs::write(&file, configuration(dir.path()).to_string()).unwrap();
    let log = dir.path().join("log");
    let mut child = Command::new(PROGRAM)
        .arg("--config")
        .arg(&file)
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !std::fs::read_to_string(&log).unwrap().contains("the target cannot be read") {
        assert!(Instant::now() < deadline, "{}", std::fs::read_to_string(&log).unwrap());
        std::thread::sleep(Duration::from_millis(50));
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    // Pages of the program itself are left out: a build for debugging has many.
    let own: u64 =
        status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.split_whitespace().next()?.parse().ok()).unwrap();
    assert!(own < 10_000, "{own} kB of memory of its own");

    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let ended = loop {
        match child.try_wait().unwrap() {
            Some(ended) => break ended,
            None => assert!(Instant::now() < deadline, "it did not end"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(ended.success(), "{ended}: {}", std::fs::read_to_string(&log).unwrap());
    assert!(!std::fs::read_to_string(&log).unwrap().contains("made-up"));
}
