//! What bad input gets: a reason, and nothing changes (`Founded::append` sees to that).

use fleet::authority::{Refusal, Statement};
use fleet::cbor::BytesError;
use fleet::change::{ChangeRefusal, Content};
use fleet::checkpoint::CheckpointError;
use fleet::log::{Record, RecordRefusal};
use fleet::{Role, Signed, Verb};

use crate::founded::{AP, BACKUP, FOUNDER, Founded, MASTER, id, random, secret};

const PATH: &str = "groups/ap/config/network";

fn content() -> Content {
    Content::new(b"x".to_vec(), &mut random(9))
}

fn entry(fleet: &mut Founded, signed: Signed) -> Refusal {
    match fleet.append(Record::Authority(signed)) {
        Err(RecordRefusal::Authority(refusal)) => refusal,
        other => panic!("a refused entry is expected: {other:?}"),
    }
}

fn change(fleet: &mut Founded, signed: Signed) -> ChangeRefusal {
    match fleet.append(Record::Change(signed)) {
        Err(RecordRefusal::Change(refusal)) => refusal,
        other => panic!("a refused change is expected: {other:?}"),
    }
}

/// A good entry and a good change to spoil.
fn good(fleet: &Founded) -> (Signed, Signed) {
    let entry = fleet.log.authority().sign(&fleet.user(20, "bob", &["**:put"]), &secret(FOUNDER));
    (entry, fleet.change(FOUNDER, PATH, Some(&content())))
}

#[test]
fn unsigned() {
    let mut fleet = Founded::new();
    let (one, other) = good(&fleet);
    let unsigned = |signed: Signed| Signed { signature: [0; 64], ..signed };
    assert!(matches!(entry(&mut fleet, unsigned(one)), Refusal::Signature(_)));
    assert!(matches!(change(&mut fleet, unsigned(other)), ChangeRefusal::Signature(_)));
}

#[test]
fn wrongly_signed() {
    let mut fleet = Founded::new();
    let (one, other) = good(&fleet);
    // Each has a signature of the right key, over the bytes of the other.
    let swapped = Signed { signature: other.signature, ..one.clone() };
    assert!(matches!(entry(&mut fleet, swapped), Refusal::Signature(_)));
    assert!(matches!(change(&mut fleet, Signed { signature: one.signature, ..other }), ChangeRefusal::Signature(_)));
}

#[test]
fn of_another_domain() {
    let mut fleet = Founded::new();
    let (one, other) = good(&fleet);
    assert!(matches!(entry(&mut fleet, other), Refusal::Bytes(_)));
    assert!(matches!(change(&mut fleet, one), ChangeRefusal::Bytes(_)));
}

#[test]
fn replayed() {
    let mut fleet = Founded::new();
    let (one, other) = good(&fleet);
    fleet.append(Record::Authority(one.clone())).unwrap();
    fleet.append(Record::Change(other.clone())).unwrap();
    assert_eq!(entry(&mut fleet, one), Refusal::Known(5));
    assert!(matches!(change(&mut fleet, other.clone()), ChangeRefusal::Conflict { .. }));
    // Not even once the section is as it was when the change was new.
    let delete = fleet.change(FOUNDER, PATH, None);
    fleet.append(Record::Change(delete)).unwrap();
    assert!(matches!(change(&mut fleet, other), ChangeRefusal::Conflict { .. }));
}

#[test]
fn reordered() {
    let mut fleet = Founded::new();
    let (first, _) = good(&fleet);
    let mut ahead = fleet.log.clone();
    ahead.append(&Record::Authority(first)).unwrap();
    let second = ahead.authority().sign(&fleet.user(21, "eve", &["**:put"]), &secret(FOUNDER));
    assert!(matches!(entry(&mut fleet, second), Refusal::OutOfOrder { position: 6, end: 4, .. }));
}

#[test]
fn re_encoded() {
    let mut fleet = Founded::new();
    let (one, other) = good(&fleet);
    // The format's number 1 in two bytes, signed again as it then is.
    let spoil = |domain, signed: &Signed| {
        let body = [&signed.body[..1], &[0x18, 1], &signed.body[2..]].concat();
        let signature = fleet::sign(domain, &body, &secret(FOUNDER));
        Signed { body, signature }
    };
    assert_eq!(entry(&mut fleet, spoil(fleet::Domain::Entry, &one)), Refusal::Bytes(BytesError::NotCanonical));
    assert_eq!(
        change(&mut fleet, spoil(fleet::Domain::Change, &other)),
        ChangeRefusal::Bytes(BytesError::NotCanonical)
    );
}

#[test]
fn truncated() {
    let mut fleet = Founded::new();
    let (one, other) = good(&fleet);
    for length in [0, 1, 40, one.body.len() - 1] {
        let cut = Signed { body: one.body[..length].to_vec(), ..one.clone() };
        assert!(matches!(entry(&mut fleet, cut), Refusal::Bytes(BytesError::Truncated { .. })), "{length}");
    }
    let cut = Signed { body: other.body[..other.body.len() - 1].to_vec(), ..other };
    assert!(matches!(change(&mut fleet, cut), ChangeRefusal::Bytes(BytesError::Truncated { .. })));
}

#[test]
fn oversized() {
    let mut fleet = Founded::new();
    let rights = vec!["groups/ap/config/network:put".parse().unwrap(); 600];
    let statement = Statement::Rights { name: "ada".parse().unwrap(), rights };
    let signed = fleet.log.authority().sign(&statement, &secret(FOUNDER));
    assert!(matches!(entry(&mut fleet, signed), Refusal::Bytes(BytesError::Oversized { limit: 16384, .. })));
    let statement = fleet.user(20, "bob", &["**:put"; 65]);
    let signed = fleet.log.authority().sign(&statement, &secret(FOUNDER));
    assert!(matches!(entry(&mut fleet, signed), Refusal::TooMany { what: "rights", is: 65, limit: 64 }));
}

#[test]
fn without_the_right() {
    let mut fleet = Founded::new();
    fleet.say(FOUNDER, &fleet.user(20, "bob", &["groups/ap/**:put"])).unwrap();
    let statement = Statement::Remove { device: id(AP) };
    let signed = fleet.log.authority().sign(&statement, &secret(20));
    assert!(matches!(entry(&mut fleet, signed), Refusal::Right { verb: Verb::Approve, .. }));
    let signed = fleet.change(20, "groups/core/config/network", Some(&content()));
    assert!(matches!(change(&mut fleet, signed), ChangeRefusal::Right { verb: Verb::Put, .. }));
}

#[test]
fn code_without_the_right_to_have_it_run() {
    let mut fleet = Founded::new();
    fleet.say(FOUNDER, &fleet.user(20, "bob", &["groups/ap/**:put"])).unwrap();
    let wish = fleet::change::Wish {
        path: PATH.parse().unwrap(),
        content: Some(content().hash()),
        replaces: None,
        execute: true,
        time: 0,
        note: String::new(),
    };
    let signed = fleet::change::Change::sign(fleet.log.authority(), wish, &secret(20));
    assert!(matches!(change(&mut fleet, signed), ChangeRefusal::Right { verb: Verb::Execute, .. }));
}

#[test]
fn of_a_right_that_was_there_when_it_was_signed_and_is_not_any_more() {
    let mut fleet = Founded::new();
    fleet.say(FOUNDER, &fleet.user(20, "bob", &["groups/**:put"])).unwrap();
    let signed = fleet.change(20, PATH, Some(&content()));
    fleet.say(FOUNDER, &Statement::Rights { name: "bob".parse().unwrap(), rights: Vec::new() }).unwrap();
    assert!(matches!(change(&mut fleet, signed), ChangeRefusal::Right { verb: Verb::Put, .. }));
}

#[test]
fn by_a_revoked_key() {
    let mut fleet = Founded::new();
    fleet.say(FOUNDER, &fleet.user(20, "bob", &["**:all"])).unwrap();
    let early = fleet.change(20, PATH, Some(&content()));
    let key = secret(20).public().verify;
    fleet.say(FOUNDER, &Statement::Revoke { key, since: fleet.log.len(), entries: 0 }).unwrap();
    let signed = fleet.log.authority().sign(&fleet.user(21, "eve", &["**:put"]), &secret(20));
    assert!(matches!(entry(&mut fleet, signed), Refusal::Revoked { .. }));
    let signed = fleet.change(20, PATH, Some(&content()));
    assert!(matches!(change(&mut fleet, signed), ChangeRefusal::Revoked { .. }));
    assert!(matches!(change(&mut fleet, early), ChangeRefusal::Revoked { .. }), "dated back");
}

#[test]
fn for_another_fleet() {
    let mut fleet = Founded::new();
    let founder = "ada".parse().unwrap();
    let recovery = secret(2).public().verify;
    let genesis = fleet::authority::Genesis::found("other", founder, &secret(FOUNDER), recovery, &mut random(2));
    let other = fleet::log::Log::new(genesis).unwrap();
    let bound = fleet::bind(Some(other.authority().fleet()), &secret(20));
    let statement = Statement::User { name: "bob".parse().unwrap(), key: bound.clone(), rights: Vec::new() };
    let signed = other.authority().sign(&statement, &secret(FOUNDER));
    assert_eq!(entry(&mut fleet, signed), Refusal::OtherFleet(other.authority().fleet()));
    let wish = fleet::change::Wish {
        path: PATH.parse().unwrap(),
        content: Some(content().hash()),
        replaces: None,
        execute: false,
        time: 0,
        note: String::new(),
    };
    let signed = fleet::change::Change::sign(other.authority(), wish, &secret(FOUNDER));
    assert_eq!(change(&mut fleet, signed), ChangeRefusal::OtherFleet(other.authority().fleet()));
    // Keys that were bound for the other one are not taken here either.
    let signed = fleet.log.authority().sign(&statement, &secret(FOUNDER));
    assert!(matches!(entry(&mut fleet, signed), Refusal::Bytes(_)));
}

#[test]
fn somebody_else_was_first() {
    let mut fleet = Founded::new();
    let late = fleet.change(FOUNDER, PATH, Some(&content()));
    fleet.put(FOUNDER, PATH, "y").unwrap();
    let is = fleet.log.map().get(&PATH.parse().unwrap()).map(|leaf| leaf.change);
    let conflict = ChangeRefusal::Conflict { path: PATH.parse().unwrap(), named: None, is };
    assert_eq!(change(&mut fleet, late), conflict);
}

#[test]
fn a_checkpoint_that_goes_back_forks_or_lacks_a_majority() {
    let mut fleet = Founded::new();
    let authority = fleet.log.authority().clone();
    let old = fleet.checkpoint(&[MASTER, BACKUP]);
    fleet.put(FOUNDER, PATH, "x").unwrap();
    let (from, to) = (old.summary().unwrap().index, fleet.log.len());
    let growth = fleet.log.history().prove_growth(from, to).unwrap();
    let newest = fleet.checkpoint(&[MASTER, BACKUP]);
    let before = old.follow(&authority, None, &[]).unwrap();
    let followed = newest.follow(&authority, Some(&before), &growth).unwrap();
    assert_eq!(old.follow(&authority, Some(&followed), &[]), Err(CheckpointError::Behind { ours: to, theirs: from }));
    assert!(matches!(newest.follow(&authority, Some(&before), &[]), Err(CheckpointError::History(_))));
    assert_eq!(fleet.checkpoint(&[BACKUP]).open(&authority), Err(CheckpointError::NoMajority { signed: 1, voters: 2 }));
    assert_eq!(fleet.checkpoint(&[MASTER, AP]).open(&authority), Err(CheckpointError::Signature(id(AP))));

    let mut other = Founded::new();
    other.put(FOUNDER, PATH, "another").unwrap();
    let forked = other.checkpoint(&[MASTER, BACKUP]);
    assert_eq!(forked.follow(&authority, Some(&followed), &[]), Err(CheckpointError::Forked(to)));
}

#[test]
fn a_voter_whose_key_was_taken_signs_nothing_more() {
    let mut fleet = Founded::new();
    let old = fleet.checkpoint(&[MASTER, BACKUP]);
    fleet.say(FOUNDER, &Statement::Lost { device: id(BACKUP), since: 0 }).unwrap();
    assert_eq!(old.open(fleet.log.authority()), Err(CheckpointError::Signature(id(BACKUP))));
    fleet.say(FOUNDER, &Statement::Voters { voters: vec![(id(MASTER), Role::Master)] }).unwrap();
    assert_eq!(
        fleet.checkpoint(&[MASTER]).open(fleet.log.authority()).map(|summary| summary.index),
        Ok(fleet.log.len())
    );
    assert!(matches!(old.open(fleet.log.authority()), Err(CheckpointError::OldVoters(4))));
}
