//! `./run`, the command of a newcomer, with programs that are built already.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::installation::{Answer, Installation, programs_dir};
use e2e::{image, machine, outside};

/// Where `run` puts links to the programs; the test's machine has one of its own.
const LINKS: &str = "/usr/local/bin";

#[test]
fn run_shows_a_guest_and_a_second_run_changes_nothing() {
    let image = image::tiny();
    machine::on_own_machine("run::run_shows_a_guest_and_a_second_run_changes_nothing", || {
        prepare();
        let before = machine::inventory();
        let installation = Installation::new();
        fs::copy(image, installation.data().join("tiny.qcow2")).unwrap();

        let first = run(&installation, &[]);
        if !first.worked {
            installation.show_logs();
        }
        assert!(first.worked, "{}", first.all);
        let address = installation.json(&["instance", "get", "hello"])["status"]["address"].to_string();
        let known = first.said.find(&format!("hello has the address {}", address.trim_matches('"')));
        let booted = first.said.find("hello is up");
        assert!(known.is_some() && known < booted, "the address is said before the guest boots:\n{}", first.said);
        assert!(first.said.contains("hello from hello"), "the guest answers:\n{}", first.said);

        let (processes, state) = (installation.processes(), everything(&installation));
        let second = run(&installation, &[]);
        assert!(second.worked && second.said.contains("hello from hello"), "{}", second.all);
        assert_eq!(installation.processes(), processes);
        assert_eq!(everything(&installation), state);

        let down = run(&installation, &["down"]);
        assert!(down.worked, "{}", down.all);
        machine::assert_as_before(&before);
        assert!(links().is_empty());
        assert!(installation.data().join("up.lock").exists(), "the data stays");
        assert!(run(&installation, &["down", "--purge"]).worked);
        assert!(!installation.data().exists());
    });
}

#[test]
fn a_run_that_fails_names_stage_and_log_and_leaves_nothing() {
    machine::on_own_machine("run::a_run_that_fails_names_stage_and_log_and_leaves_nothing", || {
        prepare();
        let before = machine::inventory();
        let _taken = TcpListener::bind("127.0.0.1:7443").unwrap();
        let installation = Installation::new();
        let answer = run(&installation, &[]);
        assert!(!answer.worked);
        let log = installation.data().join("logs/rhyzome-up.log");
        let said = format!("failed while trying to start everything (the log: {})", log.display());
        assert!(answer.all.contains(&said), "{}", answer.all);
        machine::assert_as_before(&before);
        assert!(links().is_empty());
    });
}

fn prepare() {
    outside::build();
    for folder in [LINKS, "/var/log"] {
        machine::run("mount", &["-t", "tmpfs", "tmpfs", folder]);
    }
}

fn run(installation: &Installation, arguments: &[&str]) -> Answer {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../run");
    let command = Command::new(script)
        .args(arguments)
        .stdin(Stdio::null())
        .env("RHYZOME_PROGRAMS", programs_dir())
        .env("RHYZOME_DATA", installation.data())
        .env("RHYZOME_SETTINGS", installation.settings())
        .env("HOME", installation.data().join("home"))
        .env_remove("XDG_RUNTIME_DIR")
        .output();
    command.unwrap().into()
}

fn links() -> Vec<String> {
    let entries = fs::read_dir(LINKS).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// All resources as the core tells them.
fn everything(installation: &Installation) -> Vec<serde_json::Value> {
    ["network", "image", "instance", "peer"].map(|kind| installation.json(&[kind, "list"])).to_vec()
}
