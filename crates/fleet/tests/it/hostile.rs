//! Bytes that nobody of the fleet wrote, for every decoder.

use fleet::authority::{Authority, Entry, Genesis, Statement};
use fleet::cbor::{self, Cbor};
use fleet::change::{Change, Content};
use fleet::checkpoint::Checkpoint;
use fleet::export::{self, Item};
use fleet::log::{Log, Record};
use fleet::map::Proof;
use fleet::password::LockedKey;
use fleet::seal::{GroupKey, GroupSecret, Secret};
use fleet::{Glob, JoinKey, RecoveryPhrase, Request, Right, SectionPath, Signed};
use fuzz::Corpus;

use crate::founded::{BACKUP, FOUNDER, Founded, MASTER, random, secret};

fn fleet() -> Founded {
    let mut fleet = Founded::new();
    fleet.put(FOUNDER, "groups/ap/config/network", "x").unwrap();
    fleet.put(FOUNDER, "policies/all/config/system", "y").unwrap();
    fleet.seal(&[MASTER, BACKUP]);
    fleet
}

/// Whatever is read has one form.
fn one_form<T: Cbor>(bytes: &[u8]) -> Option<T> {
    let value: T = cbor::from_bytes(bytes, usize::MAX).ok()?;
    assert_eq!(cbor::to_bytes(&value), bytes);
    Some(value)
}

fn items(fleet: &Founded) -> Vec<Item> {
    export::read(&fleet.export).collect::<Result<_, _>>().unwrap()
}

#[test]
fn an_export() {
    let fleet = fleet();
    Corpus::of([fleet.export.clone()]).run(|bytes| {
        let mut log = None;
        for item in export::read(bytes).map_while(Result::ok) {
            match (item, &mut log) {
                (Item::Genesis(genesis), None) => log = Log::new(genesis).ok(),
                (Item::Record(record), Some(log)) => drop(log.append(&record)),
                (Item::Checkpoint(checkpoint), Some(log)) => drop(checkpoint.open(log.authority())),
                _ => {}
            }
        }
        // Nothing but what was signed can follow from it.
        let good = |log: &Log| {
            log.len() <= fleet.log.len() && log.authority().head().position <= fleet.log.authority().head().position
        };
        assert!(log.is_none_or(|log| good(&log)));
    });
}

#[test]
fn entries_and_statements() {
    let fleet = fleet();
    let entries = fleet.log.authority().entries(1).iter();
    let bodies = entries.flat_map(|entry| [entry.signed.body.clone(), entry.statement.payload()]);
    Corpus::of(bodies).run(|bytes| {
        for kind in 0..21 {
            let Ok(statement) = Statement::read(kind, bytes) else { continue };
            assert_eq!((statement.kind(), statement.payload().as_slice()), (kind, bytes));
            // Whatever can be read can be judged.
            let mut authority: Authority = fleet.log.authority().clone();
            let _ = authority.append(authority.sign(&statement, &secret(FOUNDER)));
        }
        let signed = Signed { body: bytes.to_vec(), signature: [0; 64] };
        let _ = (
            Entry::read(signed.clone()),
            Genesis::open(&signed),
            Request::open(&signed, fleet.log.authority().fleet()),
        );
    });
}

#[test]
fn changes_records_and_checkpoints() {
    let fleet = fleet();
    let inputs = items(&fleet).into_iter().flat_map(|item| match item {
        Item::Genesis(signed) => vec![signed.to_bytes()],
        Item::Record(record @ (Record::Authority(_) | Record::Change(_))) => vec![record.to_bytes()],
        Item::Checkpoint(checkpoint) => vec![cbor::to_bytes(&checkpoint)],
        Item::Content(content) => vec![cbor::to_bytes(&content)],
    });
    Corpus::of(inputs).run(|bytes| {
        one_form::<Record>(bytes);
        one_form::<Content>(bytes);
        if let Some(checkpoint) = one_form::<Checkpoint>(bytes) {
            let _ = checkpoint.open(fleet.log.authority());
        }
        if let Some(signed) = one_form::<Signed>(bytes) {
            let _ = Change::read(signed, fleet.log.authority().fleet());
        }
    });
}

#[test]
fn proofs_of_the_map() {
    let fleet = fleet();
    let root = fleet.log.map().root();
    let prove = |prefixes: &[&str]| cbor::to_bytes(&fleet.log.map().prove(prefixes));
    let whole: Vec<_> = fleet.log.map().under("").cloned().collect();
    let inputs = [prove(&["groups/ap/"]), prove(&["policies/"]), prove(&[""]), prove(&["devices/0"])];
    Corpus::of(inputs).run(|bytes| {
        let Some(proof) = one_form::<Proof>(bytes) else { return };
        let Ok(opened) = proof.open(&root) else { return };
        // What is proven is what there is.
        if let Ok(leaves) = opened.under("groups/ap/") {
            assert_eq!(
                leaves,
                whole.iter().filter(|leaf| leaf.path.as_str().starts_with("groups/ap/")).collect::<Vec<_>>()
            );
        }
    });
}

#[test]
fn keys_that_are_wrapped_and_sealed() {
    let (fleet, group) = (fleet().log.authority().fleet(), "ap".parse().unwrap());
    let key = GroupSecret::generate(&mut random(3));
    let wrapped = key.wrap(fleet, &group, 1, &secret(MASTER).public().sealing, &mut random(4)).unwrap();
    let stretching = fleet::password::Stretching { memory: 8, passes: 1, salt: [1; 16] };
    let password = stretching.stretch("x").unwrap();
    let locked =
        LockedKey::lock(fleet, "ada".parse().unwrap(), &secret(FOUNDER), (stretching, &password), &mut random(5));
    Corpus::of([cbor::to_bytes(&wrapped), locked.to_bytes()]).run(|bytes| {
        if let Some(read) = one_form::<GroupKey>(bytes) {
            let opened = read.unwrap(fleet, &group, &key.public(), &secret(MASTER));
            assert!(opened.is_err() || read == wrapped);
        }
        if let Ok(read) = LockedKey::from_bytes(bytes) {
            assert_eq!(read.to_bytes(), bytes);
            let _ = read.open(fleet, &password);
        }
    });
}

#[test]
fn what_people_type() {
    let join =
        JoinKey::new(fleet().log.authority().fleet(), [1; 32], vec![("host:1".into(), secret(3).public().noise)]);
    let key = GroupSecret::generate(&mut random(3)).public();
    let sealed = Secret::seal(join.fleet, &"ap".parse().unwrap(), 1, &key, b"x", &mut random(4)).unwrap();
    let (key, sealed) = (join.reveal(), sealed.to_string());
    let texts = [key.as_str(), &sealed, "groups/*/**:put+delete:ap", "groups/ap/config/network", "abandon abandon art"];
    Corpus::of(texts.map(|text| text.as_bytes().to_vec())).run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _ = (JoinKey::from_text(&text), RecoveryPhrase::from_text(&text).map(drop));
        let printed = [
            text.parse::<Secret>().map(|read| read.to_string()),
            text.parse::<Glob>().map(|read| read.to_string()),
            text.parse::<SectionPath>().map(|read| read.to_string()),
        ];
        printed.into_iter().flatten().for_each(|printed| assert_eq!(printed, text));
        if let Ok(right) = text.parse::<Right>() {
            assert_eq!(right.to_string().parse(), Ok(right));
        }
    });
}
