//! A fresh router is taken into service, and given back, whatever happens on the way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pki::Authority;
use rhyzome_openwrt::bootstrap::ROOT_ACL;
use serde_json::json;
use time::OffsetDateTime;

use crate::real_router::{isolate, serve};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rhyzome-openwrt");
const ROOT_PASSWORD: &str = "what-the-operator-chose";

/// A router as it comes out of the box, and an operator beside it.
struct Fresh {
    dir: tempfile::TempDir,
    process: Child,
    address: String,
    fingerprint: String,
}

impl Fresh {
    /// A router whose operator has let root do what bootstrap needs.
    fn prepared(release: &str) -> Self {
        let fresh = Self::boxed(release);
        std::fs::write(fresh.path("router/acl.d/rhyzome-bootstrap.json"), ROOT_ACL).unwrap();
        fresh
    }

    /// A router that nobody has touched.
    fn boxed(release: &str) -> Self {
        isolate();
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        Authority::init(&file("ca"), OffsetDateTime::now_utc()).unwrap();
        config::file::write_private(&file("root-password"), format!("{ROOT_PASSWORD}\n").as_bytes()).unwrap();
        let settings = json!({
            "data_dir": file("router"),
            "listen": "127.0.0.1:0",
            "netns": "router",
            "users": {"root": {"password_file": file("root-password")}},
            "release": release,
            "uplink": {"dns": []},
        });
        std::fs::write(file("router.json"), settings.to_string()).unwrap();
        let (process, address) = serve(dir.path());
        let certificate = std::fs::read_to_string(file("router/own/etc/uhttpd.crt")).unwrap();
        let fingerprint = pki::show(&certificate).unwrap().fingerprint.to_string();
        Self { dir, process, address, fingerprint }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["bootstrap", &format!("https://{}", self.address), "--folder"]).arg(self.path("agent"));
        command.arg("--ca").arg(self.path("ca")).arg("--lock-file").arg(self.path("lock"));
        command.arg("--password-file").arg(self.path("root-password")).args(more).stdin(Stdio::null());
        command
    }

    fn bootstrap(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }

    /// Runs a command that must succeed.
    fn must(&self, more: &[&str]) {
        let output = self.bootstrap(more);
        assert!(output.status.success(), "{more:?}: {}", said(&output));
    }

    /// What the router has on its flash, byte for byte.
    fn flash(&self) -> BTreeMap<PathBuf, String> {
        let mut files = BTreeMap::new();
        for folder in ["router/config", "router/acl.d", "router/own"] {
            collect(&self.path(folder), &mut files);
        }
        files
    }

    /// The agent's own check of the router, by the configuration that was written.
    fn check(&self) -> Output {
        let configuration = self.path("agent/rhyzome-openwrt.json");
        Command::new(PROGRAM).args(["check", "--config"]).arg(configuration).output().unwrap()
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM);
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("the router said:\n{}", std::fs::read_to_string(self.path("router.log")).unwrap_or_default());
        }
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => collect(&entry, files),
            false => drop(files.insert(entry.clone(), std::fs::read_to_string(&entry).unwrap())),
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[test]
fn a_fresh_router_comes_into_service_and_goes_back_byte_for_byte() {
    let router = Fresh::prepared("24.10");
    let before = router.flash();
    let colonless = router.fingerprint.replace(':', "");
    router.must(&["--fingerprint", &colonless]);

    let checked = router.check();
    assert!(checked.status.success(), "{}", said(&checked));
    let after = router.flash();
    assert!(after[&router.path("router/config/uhttpd")].contains("/etc/rhyzome-uhttpd.crt"));
    let rpcd = &after[&router.path("router/config/rpcd")];
    let password = std::fs::read_to_string(router.path("agent/router-password")).unwrap();
    assert!(rpcd.contains("config login 'rhyzome'") && !rpcd.contains(&password), "{rpcd}");
    for (file, mode) in [
        ("agent/router-password", 0o600),
        ("agent/bootstrap.json", 0o600),
        ("router/own/etc/rhyzome-uhttpd.key", 0o600),
    ] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(router.path(file)).unwrap().permissions().mode() & 0o777, mode, "{file}");
    }

    // Again changes nothing.
    router.must(&[]);
    assert_eq!(router.flash(), after);

    router.must(&["--undo"]);
    assert_eq!(router.flash(), before, "not a byte may stay");
    assert_eq!(std::fs::read_dir(router.path("agent")).unwrap().count(), 0, "nothing is left here");
}

#[test]
fn what_is_refused_changes_nothing_and_says_what_to_do() {
    let router = Fresh::boxed("24.10");
    let before = router.flash();
    let wrong = "AB".repeat(32);
    for (arguments, complaint) in [
        (&["--fingerprint", &wrong][..], "is it the right router?"),
        (&[][..], "say it with --fingerprint"),
        (&["--undo"][..], "holds no journal"),
        // LuCI's rights alone do not do.
        (&["--fingerprint", &router.fingerprint][..], "bootstrap --access-list | ssh root@127.0.0.1"),
    ] {
        let output = router.bootstrap(arguments);
        assert!(!output.status.success() && said(&output).contains(complaint), "{arguments:?}: {}", said(&output));
    }
    std::fs::write(router.path("router/acl.d/rhyzome-bootstrap.json"), ROOT_ACL).unwrap();
    config::file::write_private(&router.path("root-password"), b"not-this").unwrap();
    let output = router.bootstrap(&["--fingerprint", &router.fingerprint]);
    assert!(said(&output).contains("login of \"root\" refused"), "{}", said(&output));
    std::fs::remove_file(router.path("router/acl.d/rhyzome-bootstrap.json")).unwrap();
    assert_eq!(router.flash(), before);

    let listed = Command::new(PROGRAM).args(["bootstrap", "--list"]).output().unwrap();
    assert!(listed.status.success());
    for touched in ["/usr/share/rpcd/acl.d/rhyzome.json", "rpcd.rhyzome", "uhttpd.main", "/etc/rhyzome-uhttpd.key"] {
        assert!(said(&listed).contains(touched), "{}", said(&listed));
    }
}

#[test]
fn a_router_with_fw3_is_refused() {
    let router = Fresh::prepared("21.02.7");
    let before = router.flash();
    let output = router.bootstrap(&["--fingerprint", &router.fingerprint]);
    assert!(!output.status.success() && said(&output).contains("expected 22.03 or later"), "{}", said(&output));
    assert_eq!(router.flash(), before);
}

/// The program is cut off at a call, there or back; the same command again finishes.
#[test]
fn cut_off_anywhere_the_same_command_finishes() {
    let router = Fresh::prepared("24.10");
    let before = router.flash();
    let faults = router.path("router/faults");
    let pin = ["--fingerprint", &router.fingerprint];
    for fault in
        ["session.login#1", "file.read#4", "file.write#1", "file.write#3", "uci.add#1", "uci.set#1", "uci.apply#1"]
    {
        std::fs::write(&faults, format!("{fault}=drop")).unwrap();
        let output = router.bootstrap(&pin);
        assert!(!output.status.success(), "{fault}: {}", said(&output));
        std::fs::remove_file(&faults).unwrap();
        router.must(&pin);
        assert!(router.check().status.success(), "{fault}");
        router.must(&["--undo"]);
        assert_eq!(router.flash(), before, "{fault}");
    }
    router.must(&pin);
    for fault in ["uci.apply#1", "file.write#1", "file.remove#1", "file.remove#3"] {
        std::fs::write(&faults, format!("{fault}=drop")).unwrap();
        let output = router.bootstrap(&["--undo"]);
        assert!(!output.status.success(), "{fault}: {}", said(&output));
        std::fs::remove_file(&faults).unwrap();
    }
    router.must(&["--undo"]);
    assert_eq!(router.flash(), before);
}

/// Killed while the switch waits for its confirmation: the router takes it back, and the next run waits for that.
#[test]
fn killed_before_the_confirmation_nobody_is_locked_out() {
    let router = Fresh::prepared("24.10");
    std::fs::write(router.path("router/faults"), "uci.confirm#1=hang").unwrap();
    let mut child = router.command(&["--fingerprint", &router.fingerprint]).stderr(Stdio::null()).spawn().unwrap();
    crate::real_router::eventually("the confirmation", || {
        let log = std::fs::read_to_string(router.path("router.log")).unwrap();
        log.contains("uci.confirm#1=hang").then_some(()).ok_or(log)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(router.path("router/faults")).unwrap();
    router.must(&[]);
    let log = std::fs::read_to_string(router.path("router.log")).unwrap();
    assert!(log.contains("an apply was not confirmed in time and is rolled back"), "{log}");
    assert!(router.check().status.success());
}
