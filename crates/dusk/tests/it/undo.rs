//! Changes that are looked at before they are signed, and taken back after.

use super::command_line::{Node, PASSWORD, founded};

/// Lets a device into group `ap`.
pub fn let_in(master: &Node, name: &str) -> Node {
    let (device, key, request) = (Node::new(), master.path("key"), master.path("request"));
    let (key, request) = (key.to_str().unwrap(), request.to_str().unwrap());
    master.dusk(&["invite", "--group", "ap", "--file", key], &[PASSWORD]).unwrap();
    device.dusk(&["join", "--file", key, "--name", name, "--request", request], &[]).unwrap();
    master.dusk(&["device", "approve", "--request", request], &[PASSWORD]).unwrap();
    device
}

fn shown(node: &Node, line: &[&str]) -> String {
    let output = node.command(line).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_change_is_shown_for_every_device_that_it_concerns() {
    let master = founded();
    let _devices = [let_in(&master, "attic"), let_in(&master, "cellar")];
    let records = master.dusk(&["log"], &[]).unwrap();
    let set = ["set", "group/ap", "wireless.@radio[band=2g].channel=6", "--dry-run"];
    let said = shown(&master, &set);
    assert!(said.contains("on attic, cellar:\n  + wireless.radio_2g.channel=\"6\""), "{said}");
    // Policies concern everybody whom they do not leave out.
    let said = shown(&master, &["set", "policy/night", "system.main=system", "system.main.hostname=x", "--dry-run"]);
    assert!(said.contains("on attic, cellar, master:\n  + system.main=system"), "{said}");
    assert_eq!(master.dusk(&["log"], &[]).unwrap(), records, "a dry run signs nothing");
}

#[test]
fn what_was_set_at_once_is_taken_back_at_once_unless_others_came_later() {
    let master = founded();
    let section = |name: &str| master.dusk(&["section", &format!("groups/ap/config/{name}")], &[]);
    let set = |changes: &[&str]| {
        let line: Vec<_> = ["set", "group/ap"].iter().chain(changes).chain(&["--yes"]).copied().collect();
        let told = master.dusk(&line, &[PASSWORD]).unwrap();
        told.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    set(&["wireless.@radio[band=2g].channel=1"]);
    let records = set(&["wireless.@radio[band=2g].channel=6", "network.lan.mtu=1400"]);
    assert_eq!(records.len(), 2);
    master.dusk(&["undo", &records[0], "--yes"], &[PASSWORD]).unwrap();
    assert!(section("wireless").unwrap().contains("channel '1'"));
    assert!(section("network").unwrap_err().contains("there is no section"));

    let first = set(&["wireless.@radio[band=2g].channel=11"]);
    let second = set(&["wireless.@radio[band=2g].channel=3"]);
    let refused = master.dusk(&["undo", &first[0], "--yes"], &[PASSWORD]).unwrap_err();
    assert!(refused.contains(&format!("record {} by ada", second[0])), "{refused}");
    assert!(master.dusk(&["undo", "none", "--yes"], &[PASSWORD]).unwrap_err().contains("is no change"));
    master.dusk(&["undo", &second[0], &first[0], "--yes"], &[PASSWORD]).unwrap();
    assert!(section("wireless").unwrap().contains("channel '1'"));
}
