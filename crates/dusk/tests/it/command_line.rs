//! The commands as people type them, on files of their own.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fleet::export::{self, Item};
use fleet::log::Log;

pub const PASSWORD: &str = "correct horse";

pub struct Node {
    dir: tempfile::TempDir,
}

impl Node {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dusk"));
        let words = line.iter().take_while(|word| !word.starts_with('-')).count();
        command.args(line).arg("--dir").arg(self.path("dusk")).env_remove("DUSK_USER");
        assert!(words > 0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command that is given these answers; what it printed, or what was wrong.
    pub fn dusk(&self, line: &[&str], answers: &[&str]) -> Result<String, String> {
        let mut child = self.command(line).spawn().unwrap();
        let answers: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
        let _ = child.stdin.take().unwrap().write_all(answers.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        match output.status.code() {
            Some(0) => Ok(text(output.stdout)),
            _ => Err(text(output.stderr)),
        }
    }

    /// Founds a fleet; answers as somebody who wrote the phrase down, or as somebody who did not.
    pub fn found(&self, is_written_down: bool) -> Option<String> {
        let line = ["init", "--user", "ada", "--address", "192.0.2.1:4747"];
        self.shown_a_phrase(&line, &[PASSWORD, PASSWORD], is_written_down)
    }

    /// Runs a command that shows a phrase and asks for two of its words; the phrase, if it succeeded.
    fn shown_a_phrase(&self, line: &[&str], answers: &[&str], is_written_down: bool) -> Option<String> {
        let mut child = self.command(line).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let answers: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
        stdin.write_all(answers.as_bytes()).unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut words = BTreeMap::new();
        for line in stdout.lines().map(Result::unwrap) {
            let parts: Vec<_> = line.split_whitespace().collect();
            for pair in parts.chunks(2).filter(|pair| pair[0].parse::<usize>().is_ok()) {
                words.insert(pair[0].parse::<usize>().unwrap(), pair[1].to_owned());
            }
            if words.len() == 24 {
                break;
            }
        }
        let mut stderr = child.stderr.take().unwrap();
        for _ in 0..2 {
            let mut asked = String::new();
            let mut byte = [0];
            while !asked.ends_with("of the phrase: ") && stderr.read(&mut byte).unwrap() == 1 {
                asked.push(char::from(byte[0]));
            }
            let Some((_, place)) = asked.rsplit_once("Word ") else { break };
            let place: usize = place.split(' ').next().unwrap().parse().unwrap();
            let word = if is_written_down { &words[&place] } else { "wrong" };
            if writeln!(stdin, "{word}").is_err() {
                break;
            }
        }
        let phrase = words.into_values().collect::<Vec<_>>().join(" ");
        child.wait().unwrap().success().then_some(phrase)
    }

    pub fn devices(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.dusk(&["device", "list", "-o", "json"], &[]).unwrap()).unwrap()
    }
}

pub fn founded() -> Node {
    let node = Node::new();
    assert!(node.found(true).is_some());
    node
}

/// What the library makes of an export.
fn replay(path: &Path) -> Log {
    let bytes = std::fs::read(path).unwrap();
    let mut log: Option<Log> = None;
    for item in export::read(&bytes).map(Result::unwrap) {
        match (item, &mut log) {
            (Item::Genesis(genesis), None) => log = Some(Log::new(genesis).unwrap()),
            (Item::Record(record), Some(log)) => drop(log.append(&record).unwrap()),
            (Item::Checkpoint(checkpoint), Some(log)) => {
                assert_eq!(checkpoint.open(log.authority()).unwrap(), log.summary());
            }
            (Item::Content(_), Some(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    log.unwrap()
}

#[test]
fn a_fleet_is_made_by_whoever_wrote_the_phrase_down() {
    let node = Node::new();
    assert!(node.found(false).is_none());
    assert!(node.dusk(&["log"], &[]).unwrap_err().contains("there is no fleet"));
    assert!(node.found(true).is_some());
    assert!(node.dusk(&["init", "--user", "ada"], &[]).unwrap_err().contains("already"));
    let devices = node.devices();
    assert_eq!((devices.len(), &devices[0]["role"]), (1, &"master".into()));
}

#[test]
fn a_device_asks_is_let_in_and_configured() {
    let (master, ap) = (founded(), Node::new());
    let key = master.path("key");
    master.dusk(&["invite", "--group", "ap", "--uses", "2", "--file", key.to_str().unwrap()], &[PASSWORD]).unwrap();
    let request = ap.path("request");
    let asked = ap.dusk(
        &["join", "--file", key.to_str().unwrap(), "--name", "attic", "--request", request.to_str().unwrap()],
        &[],
    );
    let id = asked.unwrap().split(' ').nth(1).unwrap().to_owned();
    let shelf = master.path("dusk/requests");
    std::fs::create_dir(&shelf).unwrap();
    std::fs::copy(&request, shelf.join(&id)).unwrap();
    assert!(master.devices().iter().any(|device| device["state"] == "waiting" && device["id"] == id.as_str()));

    assert!(
        master
            .dusk(&["device", "approve", &id[..6]], &["wrong password"])
            .unwrap_err()
            .contains("the user or the password is wrong")
    );
    master.dusk(&["device", "approve", &id[..6]], &[PASSWORD]).unwrap();
    let devices = master.devices();
    let attic = devices.iter().find(|device| device["id"] == id.as_str()).unwrap();
    assert_eq!(
        (&attic["name"], &attic["state"], &attic["groups"]),
        (&"attic".into(), &"approved".into(), &"ap".into())
    );

    let set = ["set", "group/ap", "wireless.@radio[band=2g].channel=6", "--note", "neighbours"];
    assert!(master.dusk(&set, &["n"]).unwrap_err().contains("nothing was changed"));
    master.dusk(&set, &["y", PASSWORD]).unwrap();
    assert!(master.dusk(&set, &["y", PASSWORD]).unwrap().contains("nothing changes"));
    assert!(master.dusk(&["section", "groups/ap/config/wireless"], &[]).unwrap().contains("option channel '6'"));
    assert!(master.dusk(&["log"], &[]).unwrap().contains("neighbours"));

    let file = master.path("export");
    master.dusk(&["export", file.to_str().unwrap()], &[]).unwrap();
    let log = replay(&file);
    assert_eq!(log.map().len(), 1);

    master.dusk(&["device", "lost", "attic", "--yes"], &[PASSWORD]).unwrap();
    assert!(master.devices().iter().any(|device| device["name"] == "attic" && device["state"] == "lost"));
    let again = Node::new();
    let request = again.path("request");
    again.dusk(&["join", "--file", key.to_str().unwrap(), "--request", request.to_str().unwrap()], &[]).unwrap();
    master.dusk(&["device", "rekey", "attic", "--request", request.to_str().unwrap()], &[PASSWORD]).unwrap();
    assert!(master.devices().iter().any(|device| device["id"] == id.as_str() && device["state"] == "approved"));
}

#[test]
fn users_do_what_they_may_and_change_passwords_without_new_keys() {
    let node = founded();
    node.dusk(
        &["user", "add", "bob", "--user", "ada", "--right", "groups/ap/**:put"],
        &[PASSWORD, "bob's password", "bob's password"],
    )
    .unwrap();
    let users = node.dusk(&["user", "list"], &[]).unwrap();
    let change = |target: &str, password: &str| {
        node.dusk(
            &[
                "set",
                target,
                "network.lan.ipaddr=192.0.2.1",
                "network.lan.netmask=255.255.255.0",
                "--yes",
                "--user",
                "bob",
            ],
            &[password],
        )
    };
    change("group/ap", "bob's password").unwrap();
    assert!(change("group/core", "bob's password").unwrap_err().contains("lacks the right put"));
    node.dusk(&["user", "password", "--user", "bob"], &["bob's password", "another one", "another one"]).unwrap();
    assert_eq!(node.dusk(&["user", "list"], &[]).unwrap(), users);
    let again = |value: &str, password: &str| {
        let change = format!("network.lan.ipaddr={value}");
        node.dusk(&["set", "group/ap", &change, "--yes", "--user", "bob"], &[password])
    };
    assert!(again("192.0.2.2", "bob's password").unwrap_err().contains("wrong"));
    again("192.0.2.2", "another one").unwrap();
    // Of somebody who is not there, the answer is the same.
    let nobody = node.dusk(&["user", "password", "--user", "eve"], &["any password", "x", "x"]).unwrap_err();
    assert!(nobody.contains("the user or the password is wrong"), "{nobody}");

    node.dusk(&["user", "revoke", "bob", "--user", "ada", "--yes"], &[PASSWORD]).unwrap();
    assert!(again("192.0.2.3", "another one").is_err());
}

#[test]
fn options_that_run_code_need_the_right_to() {
    let node = founded();
    node.dusk(
        &["user", "add", "bob", "--user", "ada", "--right", "groups/**:put"],
        &[PASSWORD, "bob's password", "bob's password"],
    )
    .unwrap();
    let line = |user: &'static str| ["set", "group/ap", "dhcp.@dnsmasq[0].dhcpscript=/bin/x", "--yes", "--user", user];
    assert!(node.dusk(&line("bob"), &["bob's password"]).unwrap_err().contains("lacks the right execute"));
    node.dusk(&line("ada"), &[PASSWORD]).unwrap();
}

#[test]
fn the_editor_changes_a_section_and_an_empty_one_is_deleted() {
    let node = founded();
    let edit = |script: &str| {
        let mut child = node
            .command(&["edit", "group/ap/config/system", "--yes"])
            .env("EDITOR", script)
            .env_remove("VISUAL")
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
        child.wait_with_output().unwrap().status.success()
    };
    let file = node.path("content");
    std::fs::write(&file, "config system 'system'\n\toption hostname 'x'\n").unwrap();
    assert!(edit(&format!("cp {}", file.display())));
    assert!(node.dusk(&["section", "groups/ap/config/system"], &[]).unwrap().contains("hostname"));
    std::fs::write(&file, "config system 'system\n").unwrap();
    assert!(!edit(&format!("cp {}", file.display())), "an open quote");
    std::fs::write(&file, "").unwrap();
    assert!(edit(&format!("cp {}", file.display())));
    assert!(node.dusk(&["section", "groups/ap/config/system"], &[]).unwrap_err().contains("there is no section"));
}

#[test]
fn cut_off_anywhere_the_journal_gives_what_was_decided() {
    let node = founded();
    let journal = node.path("dusk/journal");
    let before = std::fs::metadata(&journal).unwrap().len();
    node.dusk(&["set", "group/ap", "network.lan=interface", "network.lan.ipaddr=192.0.2.1", "--yes"], &[PASSWORD])
        .unwrap();
    let bytes = std::fs::read(&journal).unwrap();
    let whole = node.dusk(&["log"], &[]).unwrap();
    let before = usize::try_from(before).unwrap();
    for cut in (before..bytes.len()).step_by((bytes.len() - before) / 16) {
        std::fs::write(&journal, &bytes[..cut]).unwrap();
        let log = node.dusk(&["log"], &[]).unwrap();
        assert!(log.lines().count() >= 3 && whole.ends_with(log.split_once('\n').unwrap().1), "cut at {cut}: {log}");
    }
}

#[test]
fn the_phrase_takes_the_fleet_back_once() {
    let node = Node::new();
    let phrase = node.found(true).unwrap();
    let rights = ["user", "add", "eve", "--user", "ada", "--right", "**:all"];
    node.dusk(&rights, &[PASSWORD, "eve's password", "eve's password"]).unwrap();
    node.dusk(&["user", "revoke", "ada", "--user", "eve", "--yes"], &["eve's password"]).unwrap();
    let recover = ["recover", "--user", "ada", "--keep", "2", "--yes"];
    let wrong = "abandon ".repeat(23) + "art";
    let refused = node.dusk(&recover, &[&wrong]).unwrap_err();
    assert!(refused.contains("not the recovery phrase"), "{refused}");
    let next = node.shown_a_phrase(&recover, &[&phrase, "another password", "another password"], true).unwrap();
    assert_ne!(next, phrase);
    let set = |user: &str, password: &str| {
        node.dusk(&["set", "group/ap", "network.lan.ipaddr=192.0.2.1", "--yes", "--user", user], &[password])
    };
    assert!(set("eve", "eve's password").is_err());
    set("ada", "another password").unwrap();
    assert!(node.dusk(&recover, &[&phrase]).unwrap_err().contains("it was used"));
    assert!(node.shown_a_phrase(&recover[..3], &[&next, "y", "a third password", "a third password"], true).is_some());
    replay_of(&node);
}

fn replay_of(node: &Node) -> Log {
    let file = node.path("export");
    node.dusk(&["export", file.to_str().unwrap()], &[]).unwrap();
    replay(&file)
}

#[test]
fn a_groups_key_is_for_its_members_and_renewed_when_one_is_lost() {
    let (master, ap) = (founded(), Node::new());
    assert!(master.dusk(&["group", "secret", "ap"], &["radio password"]).unwrap_err().contains("has no key"));
    master.dusk(&["group", "seal", "ap"], &[PASSWORD]).unwrap();
    let (key, request) = (master.path("key"), ap.path("request"));
    let (key, request) = (key.to_str().unwrap(), request.to_str().unwrap());
    master.dusk(&["invite", "--group", "ap", "--file", key], &[PASSWORD]).unwrap();
    ap.dusk(&["join", "--file", key, "--name", "attic", "--request", request], &[]).unwrap();
    master.dusk(&["device", "approve", "--secrets", "--request", request], &[PASSWORD]).unwrap();
    let sealed = master.dusk(&["group", "secret", "ap"], &["radio password"]).unwrap();
    let sealed: fleet::seal::Secret = sealed.trim().parse().unwrap();

    // What the device does with what it gets.
    let seed = std::fs::read(ap.path("dusk/node.key")).unwrap();
    let device = fleet::NodeSecret::of(seed.try_into().unwrap());
    let id = fleet::DeviceId::first_known_by(&device.public());
    let contents = |node: &Node| {
        let log = replay_of(node);
        let bytes = std::fs::read(node.path("export")).unwrap();
        let contents = export::read(&bytes).filter_map(|item| match item.unwrap() {
            Item::Content(content) => Some(content),
            _ => None,
        });
        (log, contents.collect::<Vec<_>>())
    };
    let (log, all) = contents(&master);
    assert!(log.map().get(&format!("devices/{id}/key/ap").parse().unwrap()).is_some());
    let group = "ap".parse().unwrap();
    let public = log.authority().state().seals[&group].key;
    let unwrap = |content: &fleet::change::Content| {
        let key: fleet::seal::GroupKey = fleet::cbor::from_bytes(&content.bytes.0, 1024).ok()?;
        key.unwrap(log.authority().fleet(), &group, &public, &device).ok()
    };
    let opened = all.iter().find_map(unwrap).unwrap();
    assert_eq!(opened.open(log.authority().fleet(), &sealed).unwrap().as_slice(), b"radio password");

    let said = master.dusk(&["device", "lost", "attic", "--yes"], &[PASSWORD]).unwrap();
    assert!(said.contains("change them at their source"), "{said}");
    let (log, _) = contents(&master);
    let seal = &log.authority().state().seals[&group];
    assert_eq!((seal.generation, seal.due), (2, false));
    assert_ne!(seal.key, public);
}

/// A node that runs, until it is dropped.
struct Running(std::process::Child);

impl Running {
    fn start(node: &Node, listen: &str) -> Self {
        // No configuration lies there: a node of a test leaves this machine's alone.
        let root = node.path("root");
        let mut command = node.command(&["run", "--listen", listen, "--root", root.to_str().unwrap()]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn a_join_key_is_for_its_owner_whoever_could_read_the_file_before() {
    let master = founded();
    let key = master.path("key");
    std::fs::write(&key, "old").unwrap();
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    master.dusk(&["invite", "--group", "ap", "--file", key.to_str().unwrap()], &[PASSWORD]).unwrap();
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_device_gets_its_sections_over_the_wire_and_keeps_them() {
    let (master, ap) = (founded(), Node::new());
    let at = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let key = master.path("key");
    let key = key.to_str().unwrap();
    master.dusk(&["invite", "--group", "ap", "--file", key, "--address", &at], &[PASSWORD]).unwrap();
    ap.dusk(&["join", "--file", key, "--name", "attic"], &[]).unwrap();
    let running = Running::start(&master, &at);
    let asking = Running::start(&ap, "127.0.0.1:0");
    let shelf = master.path("dusk/requests");
    let asked = || Some(std::fs::read_dir(&shelf).ok()?.next()?.ok()?.file_name().into_string().unwrap());
    until("the request arrives", || asked().is_some_and(|name| name.len() == 20));
    // Whoever waits asks ever more seldom; a start is as good as patience.
    drop((running, asking));
    master.dusk(&["device", "approve", &asked().unwrap()], &[PASSWORD]).unwrap();
    master.dusk(&["set", "group/ap", "network.lan.ipaddr=192.0.2.77", "--yes"], &[PASSWORD]).unwrap();
    let running = Running::start(&master, &at);
    let asking = Running::start(&ap, "127.0.0.1:0");
    let replica = ap.path("dusk/replica");
    let has = |value: &str| {
        std::fs::read(&replica).is_ok_and(|bytes| bytes.windows(value.len()).any(|window| window == value.as_bytes()))
    };
    until("the section arrives", || has("192.0.2.77"));
    // Commands work beside the node that runs.
    let said = master.dusk(&["set", "group/ap", "network.lan.ipaddr=192.0.2.79", "--yes"], &[PASSWORD]).unwrap();
    assert!(said.contains("as record 5"), "{said}");
    until("what a command signs arrives", || has("192.0.2.79"));
    assert!(master.dusk(&["log"], &[]).unwrap().contains("put groups/ap/config/network"));
    assert!(master.dusk(&["run", "--listen", "127.0.0.1:0"], &[]).unwrap_err().contains("in use by another dusk"));
    // Killed and started again, both go on where they were.
    drop((running, asking));
    master.dusk(&["set", "group/ap", "network.lan.ipaddr=192.0.2.78", "--yes"], &[PASSWORD]).unwrap();
    let _nodes = (Running::start(&master, &at), Running::start(&ap, "127.0.0.1:0"));
    until("the change arrives", || has("192.0.2.78"));
}
