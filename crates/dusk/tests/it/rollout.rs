//! Changes that go out in stages, by hand and by a master.

use super::command_line::{Node, PASSWORD, founded};
use super::undo::let_in;

fn with_devices() -> (Node, Vec<Node>) {
    let master = founded();
    let devices = ["attic", "cellar", "garden"].map(|name| let_in(&master, name)).into();
    (master, devices)
}

fn section(master: &Node) -> Result<String, String> {
    master.dusk(&["section", "groups/ap/config/wireless"], &[])
}

const SET: &[&str] = &["set", "group/ap", "wireless.@radio[band=2g].channel=6", "--yes", "--rollout", "six"];

#[test]
fn a_rollout_goes_on_halts_and_ends_by_hand() {
    let (master, _devices) = with_devices();
    let told = master.dusk(&[SET, &["--stages", "1,50%,all"]].concat(), &[PASSWORD]).unwrap();
    assert!(told.contains("stages of 1, 2, 3 devices"), "{told}");
    assert!(section(&master).is_err(), "nothing stands yet");
    assert!(master.dusk(SET, &[PASSWORD]).unwrap_err().contains("rollout six is about the same"));
    let state = || {
        let list = master.dusk(&["rollout", "list", "-o", "json"], &[]).unwrap();
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let text = |of: &str| list[0][of].as_str().unwrap_or("over").to_owned();
        (text("stage"), text("devices"), text("state"))
    };
    let is = |stage: &str, devices: &str, of: &str| (stage.to_owned(), devices.to_owned(), of.to_owned());
    assert_eq!(state(), is("0 of 3", "0 of 3", "waits to begin"));
    master.dusk(&["rollout", "advance", "six"], &[PASSWORD]).unwrap();
    assert_eq!(state(), is("1 of 3", "1 of 3", "goes on"));
    // Whoever stands at the master stops it without a password.
    master.dusk(&["rollout", "halt", "six"], &[]).unwrap();
    assert_eq!(state(), is("1 of 3", "1 of 3", "halted"));
    assert!(master.dusk(&["rollout", "halt", "six"], &[]).unwrap_err().contains("halted already"));
    master.dusk(&["rollout", "resume", "six"], &[PASSWORD]).unwrap();
    assert_eq!(state(), is("1 of 3", "1 of 3", "goes on"));
    for _ in 0..2 {
        master.dusk(&["rollout", "advance", "six"], &[PASSWORD]).unwrap();
    }
    assert!(master.dusk(&["rollout", "show", "six"], &[]).unwrap().contains("> stage 3: 3 devices"));
    assert!(master.dusk(&["rollout", "advance", "six"], &[PASSWORD]).unwrap().contains("has ended"));
    assert_eq!(state().0, "over");
    assert!(section(&master).unwrap().contains("channel '6'"));
    // What went out is undone like any change.
    let log: serde_json::Value = serde_json::from_str(&master.dusk(&["log", "-o", "json"], &[]).unwrap()).unwrap();
    let records = log.as_array().unwrap();
    let put = records.iter().find(|record| record["what"] == "put groups/ap/config/wireless").unwrap();
    master.dusk(&["undo", put["record"].as_str().unwrap(), "--yes"], &[PASSWORD]).unwrap();
    assert!(section(&master).is_err());
}

#[test]
fn a_rollout_is_taken_back_or_void() {
    let (master, _devices) = with_devices();
    master.dusk(SET, &[PASSWORD]).unwrap();
    master.dusk(&["rollout", "advance", "six"], &[PASSWORD]).unwrap();
    master.dusk(&["set", "group/ap", "wireless.@radio[band=2g].channel=1", "--yes"], &[PASSWORD]).unwrap();
    assert!(master.dusk(&["rollout", "list"], &[]).unwrap().contains("void: groups/ap/config/wireless was changed"));
    master.dusk(&["rollout", "halt", "six", "--back", "--yes"], &[PASSWORD]).unwrap();
    assert!(master.dusk(&["rollout", "show", "six"], &[]).unwrap_err().contains("there is no rollout"));
    // The name is free again.
    let six = ["set", "group/ap", "wireless.@radio[band=2g].channel=6", "--yes", "--rollout", "six"];
    master.dusk(&six, &[PASSWORD]).unwrap();
    for wrong in [["--stages", "x"], ["--window", "25:00-1:00"], ["--healthy", "101"], ["--rollout", "a/b"]] {
        let line = [&SET[..4], &["--rollout", "seven"][..], &wrong[..]].concat();
        let line: Vec<_> = line.iter().map(|word| if *word == "group/ap" { "group/core" } else { word }).collect();
        assert!(master.dusk(&line, &[PASSWORD]).is_err(), "{wrong:?}");
    }
}
