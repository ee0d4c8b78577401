//! The second implementation, in Python, written from docs/dusk-format.md: both must say the same of any log.

mod chance;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fleet::authority::{Statement, Trust};
use fleet::cbor::Blob;
use fleet::export::{self, Item};
use fleet::log::{Log, Record};
use fleet::{Hash, JoinKey, JoinTerms, Request, Role, Verb};

use crate::founded::{AP, BACKUP, FOUNDER, Founded, MASTER, RECOVERY, critical, id, secret};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn check(arguments: &[&Path]) -> Output {
    let output = Command::new(root().join("scripts/fleet-checker")).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || errors.starts_with("refused: "), "the checker did not run: {errors}");
    output
}

fn check_export(export: &[u8]) -> Result<String, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), export).unwrap();
    let output = check(&[file.path()]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

/// A log in which everything is said that can be.
fn everything() -> Founded {
    let mut fleet = Founded::new();
    let group = || "ap".parse().unwrap();
    fleet.seal(&[MASTER, BACKUP]);
    fleet
        .say(
            FOUNDER,
            &fleet.user(
                20,
                "bob",
                &["groups/*/**:put+delete+execute:ap", "devices/**:put+approve:ap", "groups/**:invite+approve:ap"],
            ),
        )
        .unwrap();
    fleet
        .say(
            FOUNDER,
            &Statement::Rights {
                name: "bob".parse().unwrap(),
                rights: vec!["**:put+delete+approve+invite".parse().unwrap()],
            },
        )
        .unwrap();
    fleet.say(FOUNDER, &fleet.user(21, "eve", &["**:all"])).unwrap();
    fleet.put(FOUNDER, "policies/all/config/system", "one").unwrap();
    fleet.put(20, "groups/ap/config/wireless", "two").unwrap();
    fleet.put(20, "groups/ap/config/wireless", "three").unwrap();
    fleet.put(20, &format!("devices/{}/config/network", id(AP)), "four").unwrap();
    let delete = fleet.change(20, "groups/ap/config/wireless", None);
    fleet.append(Record::Change(delete)).unwrap();
    fleet.put(20, "groups/ap/config/wireless", "five").unwrap();
    fleet.say(20, &Statement::Seal { group: group(), generation: 1, key: secret(40).public().sealing }).unwrap();
    fleet.say(FOUNDER, &Statement::Rotate { name: "bob".parse().unwrap(), key: fleet.bound(22) }).unwrap();

    let join = JoinKey::new(fleet.log.authority().fleet(), [50; 32], Vec::new());
    let terms = JoinTerms {
        key: join.public(),
        group: Some(group()),
        uses: 2,
        last_day: 30_000,
        hardware: vec!["x86".into()],
        automatic: true,
    };
    fleet.say(22, &Statement::Join { terms }).unwrap();
    let request = Request {
        key: secret(60).public().verify,
        join: join.public(),
        board: "x86".into(),
        mac: "02:00:5e:00:53:01".into(),
        name: Some("ap2".parse().unwrap()),
    };
    let request = Some(request.sign(&join, &secret(60)));
    let newcomer = Statement::Device {
        key: fleet.bound(60),
        name: "ap2".parse().unwrap(),
        groups: vec![group()],
        trust: Trust::Configuration,
        request,
    };
    fleet.say(MASTER, &newcomer).unwrap();
    fleet.say(22, &Statement::Unjoin { key: join.public() }).unwrap();
    fleet
        .say(
            22,
            &Statement::Place {
                device: id(60),
                name: "attic".parse().unwrap(),
                groups: vec![group(), "core".parse().unwrap()],
                trust: Trust::Secrets,
            },
        )
        .unwrap();
    fleet.say(60, &Statement::Rekey { device: id(60), key: fleet.bound(61), trust: Trust::Secrets }).unwrap();
    fleet.say(22, &Statement::Lost { device: id(60), since: fleet.log.len() }).unwrap();
    fleet.say(22, &Statement::Rekey { device: id(60), key: fleet.bound(62), trust: Trust::Configuration }).unwrap();
    fleet.say(22, &Statement::Remove { device: id(60) }).unwrap();

    let users: Vec<_> = ["ada", "bob", "eve"].map(|name| name.parse().unwrap()).to_vec();
    let one = Statement::Threshold { verb: Verb::Grant, needed: 1, users: users[..1].to_vec() };
    fleet.say(FOUNDER, &one).unwrap();
    fleet.say(FOUNDER, &Statement::Threshold { verb: Verb::Vote, needed: 2, users }).unwrap();
    let voters = Statement::Voters {
        voters: vec![(id(MASTER), Role::Master), (id(BACKUP), Role::Backup), (id(AP), Role::Witness)],
    };
    let propose = Statement::Propose { kind: voters.kind(), payload: Blob(voters.payload()) };
    fleet.say(FOUNDER, &propose).unwrap();
    let proposal = fleet.log.authority().head().entry;
    fleet.say(21, &Statement::Endorse { proposal }).unwrap();
    fleet.seal(&[MASTER, AP]);
    fleet.say(21, &propose).unwrap();
    let proposal = fleet.log.authority().head().entry;
    fleet.say(FOUNDER, &Statement::Withdraw { proposal }).unwrap();
    let none = Statement::Threshold { verb: Verb::Vote, needed: 0, users: Vec::new() };
    fleet.say(21, &Statement::Propose { kind: none.kind(), payload: Blob(none.payload()) }).unwrap();
    let proposal = fleet.log.authority().head().entry;
    fleet.say(FOUNDER, &Statement::Endorse { proposal }).unwrap();
    fleet.say(FOUNDER, &Statement::Threshold { verb: Verb::Grant, needed: 0, users: Vec::new() }).unwrap();
    fleet.say(FOUNDER, &Statement::Resolve { kept: Hash::of([1; 32]), dropped: Hash::of([2; 32]) }).unwrap();
    fleet.say(FOUNDER, &Statement::Unknown { kind: 99, payload: Blob(vec![0xf6]) }).unwrap();

    let trusted = fleet.log.authority().clone();
    let entries = fleet.log.authority().head().position + 1;
    fleet.say(21, &fleet.user(23, "mallory", &["**:all"])).unwrap();
    fleet.say(23, &fleet.device(63, "implant", &[])).unwrap();
    fleet.put(23, "groups/core/config/firewall", "six").unwrap();
    fleet
        .say(FOUNDER, &Statement::Revoke { key: secret(21).public().verify, since: fleet.log.len() - 1, entries })
        .unwrap();
    fleet.seal(&[MASTER, BACKUP, AP]);
    let recovery = secret(70).public().verify;
    let recover = Statement::Recover {
        generation: 1,
        recovery,
        name: "ada".parse().unwrap(),
        key: fleet.bound(71),
        since: fleet.log.len(),
    };
    fleet.append(Record::Authority(trusted.sign(&recover, &secret(RECOVERY)))).unwrap();
    fleet.put(71, "groups/core/config/firewall", "seven").unwrap();
    fleet.seal(&[MASTER, BACKUP]);
    fleet
}

/// Our own reading of an export, as far as the checker's goes.
fn replay(bytes: &[u8]) -> Result<Log, String> {
    let mut log: Option<Log> = None;
    for item in export::read(bytes) {
        match (item.map_err(|error| error.to_string())?, &mut log) {
            (Item::Genesis(genesis), log @ None) => *log = Some(Log::new(genesis).map_err(|error| error.to_string())?),
            (Item::Record(record), Some(log)) => drop(log.append(&record).map_err(|error| error.to_string())?),
            (Item::Checkpoint(checkpoint), Some(log)) => {
                let summary = checkpoint.open(log.authority()).map_err(|error| error.to_string())?;
                (summary == log.summary()).then_some(()).ok_or("another log")?;
            }
            (Item::Content(_), Some(_)) => {}
            _ => return Err("the genesis is first, and once".into()),
        }
    }
    log.ok_or_else(|| "no genesis".into())
}

#[test]
fn a_log_in_which_everything_is_said_comes_to_the_same() {
    let fleet = everything();
    let summary = replay(&fleet.export).unwrap().summary();
    assert_eq!(summary, fleet.log.summary());
    let said = check_export(&fleet.export).unwrap();
    let expected = format!(
        r#"{{"fleet": "{}", "index": {}, "position": {}, "entry": "{}", "history": "{}", "map": "{}", "checkpoints": 4, "devices": {}}}"#,
        summary.fleet,
        summary.index,
        summary.authority.position,
        summary.authority.entry,
        summary.history,
        summary.map,
        fleet.log.authority().state().devices.len(),
    );
    assert_eq!(said, expected);
}

#[test]
fn what_one_refuses_the_other_does_too() {
    let good = Founded::new();
    let authority = good.log.authority();
    let say = |author: u8, statement: &Statement| {
        Item::Record(Record::Authority(authority.sign(statement, &secret(author)))).to_bytes()
    };
    let unknown = Statement::Unknown { kind: 99, payload: Blob(vec![0xf6]) };
    let mut changed = good.export.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    let with = |item: Vec<u8>| [good.export.clone(), item].concat();
    let checkpoint = |voters: &[u8]| Item::Checkpoint(good.checkpoint(voters)).to_bytes();
    let first_entry = Item::Record(Record::Authority(authority.entries(1)[0].signed.clone())).to_bytes();
    let cases = [
        ("a changed signature", changed),
        ("half an item", good.export[..good.export.len() - 3].to_vec()),
        ("an entry twice", with(first_entry)),
        ("an entry by a device", with(say(AP, &Statement::Remove { device: id(BACKUP) }))),
        ("an entry by nobody", with(say(99, &unknown))),
        (
            "a critical entry",
            with(Item::Record(Record::Authority(critical(authority, &unknown, &secret(FOUNDER)))).to_bytes()),
        ),
        (
            "a change without the right",
            with(Item::Record(Record::Change(good.change(AP, "groups/ap/config/x", None))).to_bytes()),
        ),
        (
            "nothing deleted",
            with(Item::Record(Record::Change(good.change(FOUNDER, "groups/ap/config/x", None))).to_bytes()),
        ),
        (
            "two masters",
            with(say(FOUNDER, &Statement::Voters { voters: vec![(id(AP), Role::Master), (id(BACKUP), Role::Master)] })),
        ),
        ("half of the voters", with(checkpoint(&[MASTER]))),
        ("a voter who is none", with(checkpoint(&[MASTER, BACKUP, AP]))),
        (
            "a group's second key first",
            with(say(
                FOUNDER,
                &Statement::Seal { group: "ap".parse().unwrap(), generation: 2, key: secret(9).public().sealing },
            )),
        ),
    ];
    check_export(&good.export).unwrap();
    for (what, export) in cases {
        assert!(replay(&export).is_err(), "{what} is taken here");
        assert!(check_export(&export).is_err(), "{what} is taken by the checker");
    }
}

#[test]
fn the_vectors_of_the_document_hold_for_the_checker() {
    let output = check(&[Path::new("--vectors"), &root().join("docs/dusk-format.md")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Both judge the same records, each with what it took before, and say the same of every one and in the end.
#[test]
fn whatever_is_said_by_chance_is_judged_the_same() {
    let number = |variable: &str| std::env::var(variable).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("RHYZOME_FUZZ_SEED").unwrap_or(4747);
    for seed in seed..seed + number("RHYZOME_FUZZ_SECONDS").unwrap_or(2) {
        judged_the_same(seed);
    }
}

fn judged_the_same(seed: u64) {
    const RECORDS: usize = 300;
    let mut fleet = Founded::new();
    let mut export = fleet.export.clone();
    let mut refusals: Vec<Option<String>> = vec![None; usize::try_from(fleet.log.len()).unwrap()];
    let mut chance = chance::Chance::new(seed);
    for _ in 0..RECORDS {
        let record = chance.record(&fleet);
        export.extend(Item::Record(record.clone()).to_bytes());
        refusals.push(fleet.append(record).err().map(|refusal| refusal.to_string()));
        chance.note(&fleet);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &export).unwrap();
    let output = check(&[Path::new("--judge"), file.path()]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let theirs: Vec<_> = said["refused"].as_array().unwrap().iter().map(|why| why.as_str()).collect();
    assert_eq!(theirs.len(), refusals.len());
    for (at, (ours, theirs)) in refusals.iter().zip(theirs).enumerate() {
        assert_eq!(ours.is_some(), theirs.is_some(), "seed {seed}, record {at}: {ours:?} here, {theirs:?} there");
    }
    let taken = refusals.iter().filter(|refusal| refusal.is_none()).count();
    println!("seed {seed}: {taken} of {} records were taken", refusals.len());
    assert_eq!(said["map"], fleet.log.summary().map.to_string());
    assert_eq!(said["history"], fleet.log.summary().history.to_string());
}
