//! Two majorities that disagree, as one device sees it: proof is kept, nothing more is taken, and an entry that names the
//! branch to keep ends it.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet::NodeSecret;
use fleet::archive::Archive;
use fleet::authority::Statement;
use fleet::catch_up::{Book, Library, Report, Verdict};
use fleet::cbor;
use fleet::checkpoint::Checkpoint;
use fleet::fork::ForkProof;
use fleet::log::{Log, Record};
use fleet::replica::{ProvenCheckpoint, Replica, ShippedSection, prefixes};
use fleet::submission::Submission;
use fleet::voter::Ledger;

use crate::simulation::fleet_of::{ADMIN, Founded, change, id, key, secret};

const DEVICE: u8 = 3;

/// A log with one section of the device, and what a teacher says of it.
struct Branch {
    log: Log,
    submission: Submission,
}

impl Branch {
    fn new(founded: &Founded, text: &str) -> Self {
        let mut log = founded.log.clone();
        let path = format!("devices/{}/config/system", id(DEVICE));
        let submission = change(&log, ADMIN, &path, text.into(), text.len() as u64);
        log.append(&submission.record).unwrap();
        Self { log, submission }
    }

    /// Lets the log go on with a section of somebody else.
    fn grow(&mut self) {
        let path = format!("devices/{}/config/dhcp", id(1));
        let submission = change(&self.log, ADMIN, &path, "more".into(), self.log.len());
        self.log.append(&submission.record).unwrap();
    }

    fn checkpoint(&self, voters: &[u8]) -> Checkpoint {
        let summary = self.log.summary();
        let signatures: BTreeMap<_, _> =
            voters.iter().map(|voter| (id(*voter), summary.sign(&secret(*voter)))).collect();
        Checkpoint::new(&summary, signatures)
    }

    fn teach(&self, replica: &mut Replica, voters: &[u8]) -> Result<(), String> {
        let known = replica.summary().map_or(0, |summary| summary.index);
        let growth = self.log.history().prove_growth(known, self.log.len()).unwrap();
        let root = self.log.history().root(known).unwrap();
        let checkpoint = ProvenCheckpoint { checkpoint: self.checkpoint(voters), root, growth };
        let Record::Change(signed) = self.submission.record.clone() else { panic!("it is a change") };
        let section = ShippedSection { signed, content: self.submission.content.clone() };
        let wanted = prefixes(self.log.authority().state(), id(DEVICE));
        let wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
        let proof = self.log.map().prove(&wanted);
        replica.take_copy(&cbor::to_bytes(&checkpoint), &[cbor::to_bytes(&section)], &cbor::to_bytes(&proof))
    }
}

fn text(replica: &Replica) -> String {
    let section = replica.sections().values().next().unwrap();
    String::from_utf8(section.content.bytes.0.clone()).unwrap()
}

fn begun(founded: &Founded) -> Replica {
    let mut replica = Replica::restore(founded.fleet, key(DEVICE), []);
    let authority = founded.log.authority();
    let chain = authority.entries(1).iter().map(|entry| entry.signed.to_bytes());
    let chain: Vec<_> = [authority.genesis().to_bytes()].into_iter().chain(chain).collect();
    replica.take_entries(&chain).unwrap();
    replica
}

fn resolve(log: &Log, kept: &Checkpoint, dropped: &Checkpoint, by: &NodeSecret) -> Vec<u8> {
    let statement = Statement::Resolve { kept: kept.hash(), dropped: dropped.hash() };
    log.authority().sign(&statement, by).to_bytes()
}

#[test]
fn a_fork_is_kept_as_proof_freezes_the_device_and_ends_when_somebody_chooses() {
    let founded = Founded::new(3, 2);
    let (one, other) = (Branch::new(&founded, "one"), Branch::new(&founded, "other"));
    let mut replica = begun(&founded);
    one.teach(&mut replica, &[1, 2]).unwrap();
    assert!(other.teach(&mut replica, &[1, 2]).unwrap_err().contains("somebody has to choose"));
    assert!(replica.fork().is_some());
    assert!(matches!(replica.reports().as_slice(), [Report::Evidence(_)]));
    assert_eq!(text(&replica), "one");
    assert!(one.teach(&mut replica, &[1, 2]).is_err(), "nothing is taken until somebody has chosen");

    // A power cut does not end it.
    let writes = replica.take_writes();
    let before = begun(&founded).take_writes();
    let all: Vec<_> = before.iter().chain(writes.iter().skip(1)).map(Vec::as_slice).collect();
    let mut replica = Replica::restore(founded.fleet, key(DEVICE), all);
    assert!(replica.fork().is_some());

    let (ours, theirs) = (one.checkpoint(&[1, 2]), other.checkpoint(&[1, 2]));
    assert!(
        replica.take_entries(&[resolve(&founded.log, &theirs, &ours, &secret(1))]).is_err(),
        "a device chooses nothing"
    );
    replica.take_entries(&[resolve(&founded.log, &theirs, &ours, &secret(ADMIN))]).unwrap();
    assert!(replica.fork().is_none());
    other.teach(&mut replica, &[1, 2]).unwrap();
    assert_eq!(text(&replica), "other");
}

#[test]
fn a_fork_at_different_indices_is_proven_too() {
    let founded = Founded::new(3, 2);
    // Also where the tree that was followed is whole, and its root no part of the proof of growth.
    for lead in 0..6 {
        let (mut one, mut other) = (Branch::new(&founded, "one"), Branch::new(&founded, "other"));
        (0..lead).for_each(|_| one.grow());
        (0..=lead + 2).for_each(|_| other.grow());
        let mut replica = begun(&founded);
        one.teach(&mut replica, &[1, 2]).unwrap();
        let followed = replica.summary().copied();
        assert!(other.teach(&mut replica, &[1]).is_err() && replica.fork().is_none(), "one voter is no majority");
        let said = other.teach(&mut replica, &[1, 2]).unwrap_err();
        assert!(said.contains("somebody has to choose"), "{said}");
        assert_eq!((replica.summary().copied(), text(&replica)), (followed, "one".to_owned()));
        let proof = replica.fork().unwrap().clone();

        // The master takes it for what it is, also from somebody who did not see it; and nothing that proves nothing.
        let mut archive = Archive::new(founded.genesis.clone(), Arc::new(secret(1))).unwrap();
        founded.records.iter().for_each(|record| archive.append(&record.clone().into()));
        let report = |fork: &ForkProof| Report::Evidence(cbor::to_bytes(fork));
        let unproven = ForkProof { growth: Vec::new(), ..proof.clone() };
        let agreed = ForkProof { theirs: one.checkpoint(&[1, 2]), root: followed.unwrap().history, ..unproven.clone() };
        let lone = ForkProof { theirs: other.checkpoint(&[2]), ..proof.clone() };
        for nothing in [&unproven, &agreed, &lone] {
            assert!(matches!(archive.keep_report(key(DEVICE), report(nothing)), Verdict::Refused(_)));
            assert!(begun(&founded).accuse(nothing.clone()).is_err());
        }
        assert_eq!(archive.take_evidence(), None);
        assert_eq!(archive.keep_report(key(DEVICE), report(&proof)), Verdict::Done);
        assert_eq!(archive.take_evidence(), Some(cbor::to_bytes(&proof)));
        let mut witness = begun(&founded);
        witness.accuse(proof.clone()).unwrap();
        assert!(one.teach(&mut witness, &[1, 2]).is_err(), "it applies nothing either");

        // Either side may be chosen, by whichever of its checkpoints.
        let (ours, theirs) = (one.checkpoint(&[1, 2]), other.checkpoint(&[1, 2]));
        replica.take_entries(&[resolve(&founded.log, &theirs, &ours, &secret(ADMIN))]).unwrap();
        other.teach(&mut replica, &[1, 2]).unwrap();
        assert_eq!((replica.fork(), text(&replica)), (None, "other".to_owned()));
        other.grow();
        witness.take_entries(&[resolve(&founded.log, &ours, &other.checkpoint(&[1, 2]), &secret(ADMIN))]).unwrap();
        one.teach(&mut witness, &[1, 2]).unwrap();
        witness.accuse(proof).unwrap();
        assert_eq!((witness.fork(), text(&witness)), (None, "one".to_owned()), "it is not asked again");
    }
}

#[test]
fn what_voters_signed_who_vote_no_more_is_proof_against_nobody_but_them() {
    let founded = Founded::new(4, 2);
    let (mut one, other) = (Branch::new(&founded, "one"), Branch::new(&founded, "other"));
    one.grow();
    let proof = |ours: &Branch, theirs: &Branch| ForkProof {
        ours: ours.checkpoint(&[1, 2]),
        theirs: theirs.checkpoint(&[1, 2]),
        root: theirs.log.history().root(ours.log.len()).unwrap(),
        growth: theirs.log.history().prove_growth(ours.log.len(), theirs.log.len()).unwrap(),
    };
    let mut replica = begun(&founded);
    let lost = Statement::Lost { device: id(2), since: founded.log.len() };
    replica.take_entries(&[founded.log.authority().sign(&lost, &secret(ADMIN)).to_bytes()]).unwrap();
    assert!(replica.accuse(proof(&other, &one)).is_err(), "a stolen voter's key freezes no fleet");
}

#[test]
fn one_of_two_voters_is_no_majority_and_proves_nothing() {
    let founded = Founded::new(3, 2);
    let (one, other) = (Branch::new(&founded, "one"), Branch::new(&founded, "other"));
    let mut replica = begun(&founded);
    one.teach(&mut replica, &[1, 2]).unwrap();
    assert!(other.teach(&mut replica, &[1]).unwrap_err().contains("1 of 2 voters signed"));
    assert!(replica.fork().is_none());
    one.teach(&mut replica, &[1, 2]).unwrap();
}

#[test]
fn what_is_withheld_swapped_or_rolled_back_is_refused_and_changes_nothing() {
    let founded = Founded::new(3, 2);
    let (one, other) = (Branch::new(&founded, "one"), Branch::new(&founded, "other"));
    let mut replica = begun(&founded);
    let root = one.log.history().root(0).unwrap();
    let checkpoint = ProvenCheckpoint { checkpoint: one.checkpoint(&[1, 2]), root, growth: Vec::new() };
    let checkpoint = cbor::to_bytes(&checkpoint);
    let own = prefixes(one.log.authority().state(), id(DEVICE));
    let own: Vec<_> = own.iter().map(String::as_str).collect();
    let whole = cbor::to_bytes(&one.log.map().prove(&own));
    let part = cbor::to_bytes(&one.log.map().prove(&[]));
    let Record::Change(signed) = one.submission.record.clone() else { panic!("it is a change") };
    let section = |content| cbor::to_bytes(&ShippedSection { signed: signed.clone(), content });
    let (good, swapped) = (section(one.submission.content.clone()), section(other.submission.content.clone()));
    for (sections, proof, reason) in [
        (vec![], &whole, "is withheld"),
        (vec![good.clone()], &part, "leaves open"),
        (vec![swapped], &whole, "another content"),
        (vec![b"junk".to_vec()], &whole, ""),
    ] {
        let refused = replica.take_copy(&checkpoint, &sections, proof).unwrap_err();
        assert!(refused.contains(reason), "{refused}");
        assert!(replica.summary().is_none() && replica.sections().is_empty());
    }
    replica.take_copy(&checkpoint, &[good], &whole).unwrap();
    let newer = replica.summary().copied();
    // The same again says nothing new, with less it says something false.
    assert!(replica.take_copy(&checkpoint, &[], &whole).is_err());
    assert_eq!((replica.summary().copied(), text(&replica)), (newer, "one".to_owned()));
}
