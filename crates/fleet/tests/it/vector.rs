//! The vectors of docs/dusk-format.md: bytes that must never change.

use std::path::Path;

use fleet::cbor;
use fleet::change::{Change, Content, Wish};
use fleet::log::{Log, Record};
use fleet::rollout::{EVERYBODY, Rollout, Stage, Staged, Window};

use crate::founded::{FOUNDER, Founded, id, secret};

/// Everything in the document's list, as it follows from the seed.
fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    let fleet = Founded::alone();
    let genesis = fleet.log.authority().genesis().clone();
    let mut log = Log::new(genesis.clone()).unwrap();
    let entry = log.authority().sign(&fleet.device(FOUNDER + 2, "master", &["core"]), &secret(FOUNDER));
    log.append(&Record::Authority(entry.clone())).unwrap();
    let content = Content { salt: [7; 16], bytes: cbor::Blob(b"config system\n".to_vec()) };
    let wish = Wish {
        path: "groups/core/config/system".parse().unwrap(),
        content: Some(content.hash()),
        replaces: None,
        execute: true,
        time: 1_790_000_000,
        note: "first".into(),
    };
    let change = Change::sign(log.authority(), wish, &secret(FOUNDER));
    let change_id = Change::read(change.clone(), log.authority().fleet()).unwrap().id;
    log.append(&Record::Change(change.clone())).unwrap();
    let staged = Staged { change: change.clone(), content: Some(content.clone()) };
    let rollout = Rollout::new(vec![1 << 31, EVERYBODY], (90, 600), Some(Window { from: 1380, to: 60 }), vec![staged]);
    let (rollout, stage) = (rollout.unwrap(), Stage::new(change_id, 1, false));
    let place = u32::try_from(rollout.place(id(FOUNDER + 2))).unwrap();
    let (key, summary) = (secret(FOUNDER).public(), log.summary());
    vec![
        ("seed", secret(FOUNDER).reveal().to_vec()),
        ("verify", key.verify.bytes().to_vec()),
        ("noise", key.noise.bytes().to_vec()),
        ("sealing", key.sealing.bytes().to_vec()),
        ("device", id(FOUNDER).bytes().to_vec()),
        ("genesis", genesis.to_bytes()),
        ("fleet", summary.fleet.bytes().to_vec()),
        ("entry", entry.to_bytes()),
        ("entry-id", summary.authority.entry.bytes().to_vec()),
        ("content", cbor::to_bytes(&content)),
        ("change", change.to_bytes()),
        ("change-id", change_id.bytes().to_vec()),
        ("history", summary.history.bytes().to_vec()),
        ("map", summary.map.bytes().to_vec()),
        ("rollout", rollout.to_bytes()),
        ("stage", stage.to_bytes()),
        ("place", place.to_be_bytes().to_vec()),
    ]
}

#[test]
fn the_vectors_are_those_of_the_document() {
    let lines = vectors()
        .into_iter()
        .map(|(name, bytes)| format!("    {name:<10} {}\n", data_encoding::HEXLOWER.encode(&bytes)));
    let lines: String = lines.collect();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/dusk-format.md");
    let page = std::fs::read_to_string(page).unwrap();
    let listed = page.split("## Vectors").nth(1).unwrap();
    assert!(listed.contains(&lines), "the document does not have:\n{lines}");
}
