//! Masters that are lost, and come back.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::command_line::{Node, PASSWORD, founded};
use super::undo::let_in;

fn set(node: &Node, change: &str) -> Result<String, String> {
    node.dusk(&["set", "group/ap", change, "--yes"], &[PASSWORD])
}

fn log(node: &Node) -> String {
    node.dusk(&["log"], &[]).unwrap()
}

/// The same machine once more, as it was at some time.
fn twin(node: &Node) -> Node {
    let twin = Node::new();
    let copied = Command::new("cp").arg("-a").args([node.path("dusk"), twin.path("dusk")]).status();
    assert!(copied.unwrap().success());
    twin
}

#[test]
fn a_master_comes_back_from_a_backup_as_whoever_has_its_key() {
    let master = founded();
    set(&master, "wireless.@radio[band=2g].channel=6").unwrap();
    let file = |name: &str| master.path(name).to_str().unwrap().to_owned();
    let (plain, whole) = (file("plain"), file("whole"));
    assert!(master.dusk(&["backup", &plain], &[]).unwrap().contains("secret key is not in it"));
    master.dusk(&["backup", &whole, "--with-key"], &[]).unwrap();
    let secret = std::fs::read(master.path("dusk/node.key")).unwrap();
    let holds = |path: &str| std::fs::read(path).unwrap().windows(32).any(|bytes| bytes == secret);
    assert!(!holds(&plain) && holds(&whole));
    for path in [&plain, &whole] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let again = Node::new();
    assert!(again.dusk(&["restore", &plain], &[]).unwrap_err().contains("no secret key"));
    again.dusk(&["restore", &whole], &[]).unwrap();
    assert_eq!(log(&again), log(&master));
    assert!(again.dusk(&["restore", &whole], &[]).unwrap_err().contains("there is a fleet"));
    // It is the only voter, and so has nobody to follow.
    set(&again, "wireless.@radio[band=2g].channel=11").unwrap();
    let third = Node::new();
    third.dusk(&["restore", &plain, "--key", &file("dusk/node.key")], &[]).unwrap();
    assert_eq!(log(&third), log(&master));
    std::fs::write(&plain, &std::fs::read(&plain).unwrap()[..200]).unwrap();
    assert!(Node::new().dusk(&["restore", &plain], &[]).unwrap_err().contains("no backup, or damaged"));
}

#[test]
fn where_no_majority_is_left_one_voter_goes_on_alone() {
    let master = founded();
    let _second = let_in(&master, "second");
    master.dusk(&["promote", "master", "second"], &[PASSWORD]).unwrap();
    assert!(set(&master, "network.lan.mtu=1400").unwrap_err().contains("others vote too"));
    let alone = ["promote", "second", "--alone", "--yes"];
    assert!(master.dusk(&alone, &[PASSWORD]).unwrap_err().contains("name this one too"));
    let alone = ["promote", "master", "--alone"];
    assert!(master.dusk(&alone, &["n", PASSWORD]).unwrap_err().contains("nothing was changed"));
    master.dusk(&alone, &["y", PASSWORD]).unwrap();
    set(&master, "network.lan.mtu=1400").unwrap();
    assert!(log(&master).contains("1 voters") && log(&master).contains("2 voters"));
}

#[test]
fn what_a_lost_master_had_decided_is_offered_again_as_it_was_signed() {
    let master = founded();
    let lost = twin(&master);
    set(&lost, "network.lan.mtu=1400").unwrap();
    set(&lost, "wireless.@radio[band=2g].channel=6").unwrap();
    set(&master, "wireless.@radio[band=2g].channel=11").unwrap();
    let path = lost.path("dusk");
    let stranded = |more: &[&str]| {
        let line = [&["stranded", path.to_str().unwrap()], more].concat();
        master.dusk(&line, &[]).unwrap()
    };
    let seen = stranded(&[]);
    assert!(seen.contains("groups/ap/config/network") && seen.contains("can be offered again"), "{seen}");
    assert!(seen.contains("groups/ap/config/wireless") && seen.contains("somebody else was first"), "{seen}");
    stranded(&["--offer"]);
    assert!(master.dusk(&["section", "groups/ap/config/network"], &[]).unwrap().contains("mtu '1400'"));
    assert!(!stranded(&[]).contains("groups/ap/config/network"));
    // The same from a backup and from an export.
    let file = lost.path("file");
    for command in ["backup", "export"] {
        lost.dusk(&[command, file.to_str().unwrap()], &[]).unwrap();
        let seen = master.dusk(&["stranded", file.to_str().unwrap()], &[]).unwrap();
        assert!(seen.contains("somebody else was first"), "{command}: {seen}");
    }
    let other = founded();
    let other = other.path("dusk");
    let refused = master.dusk(&["stranded", Path::new(&other).to_str().unwrap()], &[]);
    assert!(refused.unwrap_err().contains("of another fleet"));
}
