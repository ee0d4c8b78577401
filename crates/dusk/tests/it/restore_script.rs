//! The script that a boot runs, by busybox's shell and its applets alone, against what `fleet::apply::restore` says.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fleet::apply::{FileEntry, Journal, Sections, restore};
use proptest::prelude::*;
use tempfile::TempDir;
use uci::{Package, PackageName};

/// The programs that the script may use.
const APPLETS: [&str; 15] = [
    "sh",
    "awk",
    "cat",
    "chmod",
    "chown",
    "head",
    "logger",
    "mkdir",
    "mv",
    "rm",
    "sed",
    "sha256sum",
    "sync",
    "tail",
    "echo",
];

struct Device {
    root: TempDir,
    programs: TempDir,
}

impl Device {
    fn new() -> Self {
        let (root, programs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        let busybox = busybox.expect("this test needs busybox: apt-get install busybox");
        for applet in APPLETS {
            symlink(busybox, programs.path().join(applet)).unwrap();
        }
        fs::create_dir_all(root.path().join("etc/dusk/apply")).unwrap();
        fs::create_dir_all(root.path().join("etc/config")).unwrap();
        Self { root, programs }
    }

    fn place(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, content: Option<&[u8]>) {
        match content {
            Some(content) => fs::write(self.place(path), content).unwrap(),
            None => drop(fs::remove_file(self.place(path))),
        }
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.place(path)).ok()
    }

    fn boot(&self) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("openwrt/files/restore.sh");
        let mut command = Command::new(self.programs.path().join("sh"));
        command.arg(script).arg(self.root.path()).env_clear().env("PATH", self.programs.path());
        command.output().unwrap()
    }
}

/// This user, so that the script may give files to the owner that they have.
fn entry(path: &str, old: Option<&str>, new: Option<&str>, sections: Option<(&[&str], &str)>) -> FileEntry {
    let bytes = |text: &str| text.as_bytes().to_vec();
    FileEntry {
        path: path.to_owned(),
        owner: nix::unistd::geteuid().as_raw(),
        group: nix::unistd::getegid().as_raw(),
        mode: 0o640,
        old: old.map(bytes),
        new: new.map(bytes),
        sections: sections
            .map(|(names, old)| Sections { names: names.iter().map(ToString::to_string).collect(), old: bytes(old) }),
    }
}

const NETWORK: &str = "/etc/config/network";

/// Boots, and holds what is there against what the function says.
fn check(device: &Device, journal: &Journal, is_kept: bool) {
    let bytes = journal.encode();
    device.write("/etc/dusk/apply/journal", Some(&bytes));
    device.write("/etc/dusk/apply/reserve", Some(&[7; 5000]));
    let mark = is_kept.then(|| Journal::checksum(&bytes).unwrap().as_bytes());
    device.write("/etc/dusk/apply/keep", mark);
    let mut expected: BTreeMap<&str, Option<Vec<u8>>> =
        journal.files.iter().map(|file| (file.path.as_str(), device.read(&file.path))).collect();
    for write in restore(journal, is_kept, |path| device.read(path)) {
        let path = journal.files.iter().find(|file| file.path == write.path).unwrap().path.as_str();
        expected.insert(path, write.content);
    }
    let output = device.boot();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    for (path, expected) in expected {
        let found = device.read(path);
        match (&found, &expected) {
            (Some(found), Some(expected)) if path.starts_with("/etc/config/") => {
                assert_eq!(sections(found), sections(expected), "{path}: {said}");
            }
            _ => assert_eq!(found, expected, "{path}: {said}"),
        }
    }
    for left in ["journal", "keep", "reserve"] {
        assert_eq!(device.read(&format!("/etc/dusk/apply/{left}")), None, "{left}");
    }
}

/// What UCI reads of a file: by name, and those without one in order.
fn sections(bytes: &[u8]) -> (BTreeMap<String, String>, Vec<String>) {
    let package = Package::parse(PackageName::new("p").unwrap(), str::from_utf8(bytes).unwrap()).unwrap();
    let told = |section: &uci::Section| {
        let options: BTreeMap<_, _> = section.options().collect();
        format!("{} {options:?}", section.kind())
    };
    let named = package.sections().filter(|section| !section.is_anonymous());
    let named = named.map(|section| (section.name().to_string(), told(section))).collect();
    (named, package.sections().filter(|section| section.is_anonymous()).map(told).collect())
}

#[test]
fn what_was_not_confirmed_is_taken_back_and_what_was_is_completed() {
    let (old, new) = ("config interface 'lan'\n\toption mtu '1500'\n", "config interface 'lan'\n\toption mtu '1400'\n");
    for is_kept in [false, true] {
        for found in [old, new] {
            let device = Device::new();
            device.write(NETWORK, Some(found.as_bytes()));
            device.write("/etc/made", Some(b"made"));
            device.write("/etc/unmade", None);
            let journal = Journal {
                change: "1".to_owned(),
                files: vec![
                    entry(NETWORK, Some(old), Some(new), Some((&["lan"], old))),
                    entry("/etc/made", None, Some("made"), None),
                    entry("/etc/unmade", Some("un\0made\n\n"), None, None),
                ],
            };
            check(&device, &journal, is_kept);
            let wanted = if is_kept { new } else { old };
            assert_eq!(device.read(NETWORK).unwrap(), wanted.as_bytes());
            assert_eq!(device.read("/etc/made").is_some(), is_kept);
            assert_eq!(device.read("/etc/unmade").is_none(), is_kept);
            if found != wanted {
                let mode = fs::metadata(device.place(NETWORK)).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o640);
            }
        }
    }
}

#[test]
fn a_damaged_journal_restores_nothing_and_is_kept() {
    let device = Device::new();
    device.write(NETWORK, Some(b"new"));
    let journal = Journal { change: "1".to_owned(), files: vec![entry(NETWORK, Some("old"), Some("new"), None)] };
    let mut bytes = journal.encode();
    *bytes.last_mut().unwrap() ^= 1;
    device.write("/etc/dusk/apply/journal", Some(&bytes));
    let output = device.boot();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("damaged"));
    assert_eq!(device.read(NETWORK).unwrap(), b"new");
    assert_eq!(device.read("/etc/dusk/apply/journal.damaged"), Some(bytes));
    assert!(device.boot().status.success(), "the next boot has nothing to do");
}

#[test]
fn a_mark_of_another_journal_means_nothing() {
    let device = Device::new();
    device.write(NETWORK, Some(b"new"));
    let journal = Journal { change: "1".to_owned(), files: vec![entry(NETWORK, Some("old"), Some("new"), None)] };
    device.write("/etc/dusk/apply/journal", Some(&journal.encode()));
    device.write("/etc/dusk/apply/keep", Some(&[b'0'; 64]));
    assert!(device.boot().status.success());
    assert_eq!(device.read(NETWORK).unwrap(), b"old");
}

#[test]
fn no_journal_is_nothing_to_do() {
    assert!(Device::new().boot().status.success());
}

/// Values that a hasty reader of lines would trip over.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,4}",
        Just("x\nconfig interface 'lan'\n\toption y".to_owned()),
        Just("it's".to_owned()),
        Just("a # b".to_owned())
    ]
}

fn file() -> impl Strategy<Value = String> {
    let section = (prop::option::of("[a-d]"), prop::collection::btree_map("[p-r]", value(), 0..3));
    prop::collection::vec(section, 0..5).prop_map(|sections| {
        let mut package = Package::new(PackageName::new("p").unwrap());
        for (name, options) in sections {
            let made = match name {
                Some(name) => package.add("interface", name.as_str()),
                None => package.add_anonymous("interface"),
            };
            let Ok(made) = made else { continue };
            for (option, value) in options {
                made.set(option.as_str(), value).unwrap();
            }
        }
        format!("# don't mind me\n{}", package.canonical())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_script_does_what_the_function_says(
        old in file(), new in file(), found in prop_oneof![Just(None), file().prop_map(Some)],
        names in prop::collection::btree_set("[a-d]", 1..3), which in 0..4, is_kept in any::<bool>(),
    ) {
        let device = Device::new();
        let found = match which { 0 => Some(old.clone()), 1 => Some(new.clone()), _ => found };
        device.write(NETWORK, found.as_deref().map(str::as_bytes));
        let package = Package::parse(PackageName::new("p").unwrap(), &old).unwrap();
        let ours = package.sections().filter(|section| names.contains(section.name().as_str())).cloned();
        let ours = Package::from_sections(PackageName::new("p").unwrap(), ours).unwrap().canonical();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let journal = Journal {
            change: "1".to_owned(),
            files: vec![entry(NETWORK, Some(&old), Some(&new), Some((&names, &ours)))],
        };
        check(&device, &journal, is_kept);
    }
}
