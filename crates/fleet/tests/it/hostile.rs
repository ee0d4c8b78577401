//! Bytes that nobody of the fleet wrote, for every decoder.

use std::sync::Arc;

use fleet::address::{Assignment, OptionAddress, SectionAddress};
use fleet::archive::Archive;
use fleet::authority::{Authority, Entry, Genesis, Statement};
use fleet::catch_up::{Book, Library, Report, Verdict};
use fleet::cbor::{self, Cbor};
use fleet::change::{Change, Content};
use fleet::checkpoint::Checkpoint;
use fleet::export::{self, Item};
use fleet::facts::Band;
use fleet::ground::Ground;
use fleet::log::{Log, Record};
use fleet::map::Proof;
use fleet::password::LockedKey;
use fleet::replica::{ProvenCheckpoint, Replica, ShippedSection, prefixes};
use fleet::ring::Rings;
use fleet::seal::{GroupKey, GroupSecret, Secret};
use fleet::status::Said;
use fleet::submission::Submission;
use fleet::voter::Ledger;
use fleet::{
    DeviceName, Domain, FleetId, Glob, JoinKey, JoinRequest, RecoveryPhrase, Request, Right, SectionPath, Signed, Verb,
};
use fuzz::Corpus;

use crate::founded::{AP, BACKUP, FOUNDER, Founded, MASTER, id, random, secret};

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
    let texts = [
        key.as_str(),
        &sealed,
        "groups/*/**:put+delete:ap",
        "groups/ap/config/network",
        "abandon abandon art",
        "network.lan.ipaddr=10.0.0.1",
        "wireless.@radio[band=2g].channel=6",
        "firewall.@rule[-1]+=x",
        "execute",
        "ap-1",
    ];
    Corpus::of(texts.map(|text| text.as_bytes().to_vec())).run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _ = (JoinKey::from_text(&text), RecoveryPhrase::from_text(&text).map(drop));
        let _ = (text.parse::<SectionAddress>(), text.parse::<OptionAddress>(), text.parse::<Assignment>());
        let printed = [
            text.parse::<fleet::alert::Condition>().map(|read| read.to_string()),
            text.parse::<Verb>().map(|read| read.to_string()),
            text.parse::<Band>().map(|read| read.to_string()),
            text.parse::<FleetId>().map(|read| read.to_string()),
            text.parse::<DeviceName>().map(|read| read.to_string()),
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

#[test]
fn what_devices_hand_in() {
    let fleet = fleet();
    let genesis = fleet.log.authority().genesis().clone();
    let mut archive = Archive::new(genesis, Arc::new(secret(MASTER))).unwrap();
    let own = fleet.log.authority().fleet();
    let records = items(&fleet).into_iter().filter_map(|item| match item {
        Item::Record(record @ Record::Authority(_)) => Some(Submission { record, content: None }.to_bytes()),
        _ => None,
    });
    let records: Vec<_> = records.collect();
    records.iter().for_each(|record| archive.append(&record.clone().into()));
    let content = Content::new(b"z".to_vec(), &mut random(9));
    let record = Record::Change(fleet.change(FOUNDER, "groups/ap/config/dhcp", Some(&content)));
    let change = Submission { record, content: Some(content) }.to_bytes();
    let join = JoinKey::new(own, [1; 32], Vec::new());
    let request = JoinRequest::new(&join, &secret(9), ("board".into(), "02:00:00:00:00:09".into()), None).to_bytes();
    let (before, archive) = (archive.log().summary(), std::cell::RefCell::new(archive));
    let said = Said { fleet: own, boots: 1, sequence: 2, status: cbor::Blob(b"status".to_vec()) };
    let said = cbor::to_bytes(&said);
    Corpus::of(records.into_iter().chain([change.clone(), request.clone(), said])).run(|bytes| {
        let signed = Signed { body: bytes.to_vec(), signature: fleet::sign(Domain::Status, bytes, &secret(AP)) };
        if let Ok(said) = Said::open(&signed.to_bytes(), own, &secret(AP).public().verify) {
            assert!(said.is_none_or(|said| cbor::to_bytes(&said) == bytes));
        }
        if let Ok(read) = JoinRequest::from_bytes(bytes) {
            assert_eq!(read.to_bytes(), bytes);
            // Whatever opens was signed by a device that holds the keys it names.
            assert!(read.open(own).is_err() || bytes == request);
        }
        if let Ok(read) = Submission::from_bytes(bytes, own) {
            assert_eq!(read.to_bytes(), bytes);
        }
        let mut archive = archive.borrow_mut();
        let verdict = archive.keep_report(secret(AP).public().noise, Report::Record(bytes.to_vec()));
        let is_kept = !matches!(verdict, Verdict::Refused(_));
        assert!(!is_kept || Submission::from_bytes(bytes, own).is_ok(), "{verdict:?}");
        archive.take_pending();
        assert_eq!(archive.log().summary(), before, "what was handed in is not decided yet");
    });
}

#[test]
fn what_a_device_takes_and_finds_on_its_flash() {
    let fleet = fleet();
    let (own, authority) = (secret(AP).public().noise, fleet.log.authority());
    let entries = authority.entries(1).iter().map(|entry| entry.signed.to_bytes());
    let entries: Vec<_> = [authority.genesis().to_bytes()].into_iter().chain(entries).collect();
    let begun = |entries: &[Vec<u8>]| {
        let mut replica = Replica::restore(authority.fleet(), own, []);
        replica.take_entries(entries).map(|()| replica)
    };
    let growth = fleet.log.history().prove_growth(0, fleet.log.len()).unwrap();
    let (checkpoint, root) = (fleet.checkpoint(&[MASTER, BACKUP]), fleet.log.history().root(0).unwrap());
    let checkpoint = cbor::to_bytes(&ProvenCheckpoint { checkpoint, root, growth });
    let prefixes = prefixes(authority.state(), id(AP));
    let prefixes: Vec<_> = prefixes.iter().map(String::as_str).collect();
    let proof = cbor::to_bytes(&fleet.log.map().prove(&prefixes));
    let contents = items(&fleet).into_iter().filter_map(|item| match item {
        Item::Content(content) => Some(content),
        _ => None,
    });
    let sections = contents.zip([fleet.log.len() - 2, fleet.log.len() - 1]).map(|(content, index)| {
        cbor::to_bytes(&ShippedSection { signed: fleet.change_at(index), content: Some(content) })
    });
    let sections: Vec<_> = sections.collect();
    let mut good = begun(&entries).unwrap();
    good.take_copy(&checkpoint, &sections, &proof).unwrap();
    let writes = good.take_writes();
    let inputs = entries.iter().chain(&writes).chain(&sections).chain([&checkpoint, &proof]).cloned();
    let rightful = |replica: &Replica| {
        replica.sections().iter().all(|(path, section)| good.sections().get(path) == Some(section))
            && replica.fork().is_none()
    };
    Corpus::of(inputs).run(|bytes| {
        let mut replica = begun(&entries[..2]).unwrap();
        let _ = replica.take_entries(&[bytes.to_vec()]);
        let _ = replica.take_entries(&entries);
        let mut swapped = sections.clone();
        swapped[0] = bytes.to_vec();
        let refused = replica.take_copy(bytes, &sections, &proof).is_err()
            & (replica.take_copy(&checkpoint, &swapped, &proof).is_err() || bytes == sections[0])
            & (replica.take_copy(&checkpoint, &sections, bytes).is_err() || bytes == proof);
        assert!(refused || bytes == checkpoint, "what was changed on the way is refused");
        assert!(rightful(&replica));
        let mut found = writes.clone();
        found.push(bytes.to_vec());
        assert!(rightful(&Replica::restore(authority.fleet(), own, found.iter().map(Vec::as_slice))));
        found.swap(1, 2);
        assert!(rightful(&Replica::restore(authority.fleet(), own, found.iter().map(Vec::as_slice))));
    });
}

#[test]
fn what_a_master_kept() {
    let ground = "config section\n\toption package 'network'\n\toption section 'lan'\n\toption kind 'interface'\n\
        \toption was_there '1'\n\toption deleted '0'\n\tlist text 'mtu=1400'\n\nconfig file\n\toption path '/etc/x'\n";
    let facts = fleet::facts::Facts::default();
    let addresses = fleet::whereabouts::print(&[(id(MASTER), vec!["192.0.2.1:7".into()])].into());
    Corpus::of([ground.as_bytes().to_vec(), addresses.into_bytes(), vec![0; Rings::LENGTH]]).run(|bytes| {
        let _ = fleet::whereabouts::parse(bytes);
        let text = String::from_utf8_lossy(bytes);
        if let Ok(read) = Ground::parse(&text) {
            assert_eq!(Ground::parse(&read.print()), Ok(read));
        }
        // What a device has is imported as it is, whatever that is.
        let name = uci::PackageName::new("network").unwrap();
        if let Ok(package) = uci::Package::parse(name.clone(), &text) {
            let config = uci::Config::from_iter([package]);
            let _ = fleet::import::import(&fleet::Scope::Device(id(AP)), &config, &facts, |_| true);
        }
        let rings = Rings::parse(bytes.to_vec());
        assert_eq!(rings.bytes().len(), Rings::LENGTH);
        let _ = (rings.fine(u64::MAX), rings.coarse(0));
    });
}
