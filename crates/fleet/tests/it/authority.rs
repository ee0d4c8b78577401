//! Who may say what.

use fleet::authority::{Adopted, Refusal, Standing, Statement, Trust};
use fleet::change::ChangeRefusal;
use fleet::log::{Record, RecordRefusal};
use fleet::{JoinKey, JoinTerms, Request, Verb};

use crate::founded::{AP, FOUNDER, Founded, MASTER, RECOVERY, critical, id, secret};

const BOB: u8 = 20;
const EVE: u8 = 21;
const NEXT: u8 = 22;

fn refused(result: Result<u64, RecordRefusal>) -> Refusal {
    match result {
        Err(RecordRefusal::Authority(refusal)) => refusal,
        other => panic!("a refused entry is expected: {other:?}"),
    }
}

fn refused_change(result: Result<u64, RecordRefusal>) -> ChangeRefusal {
    match result {
        Err(RecordRefusal::Change(refusal)) => refusal,
        other => panic!("a refused change is expected: {other:?}"),
    }
}

#[test]
fn nobody_gives_more_than_they_have() {
    let mut fleet = Founded::new();
    fleet.say(FOUNDER, &fleet.user(BOB, "bob", &["users/**:grant", "groups/ap/**:put+delete:ap"])).unwrap();
    let beyond = fleet.user(EVE, "eve", &["groups/ap/**:put+execute:ap"]);
    assert!(matches!(refused(fleet.say(BOB, &beyond)), Refusal::Beyond { .. }));
    fleet.say(BOB, &fleet.user(EVE, "eve", &["groups/ap/config/*:put:ap"])).unwrap();
    // Nor do they take from those who have more.
    let rotate = Statement::Rotate { name: "ada".parse().unwrap(), key: fleet.bound(NEXT) };
    assert!(matches!(refused(fleet.say(BOB, &rotate)), Refusal::Beyond { .. }));
    let revoke = Statement::Revoke { key: secret(FOUNDER).public().verify, since: 0, entries: 0 };
    assert!(matches!(refused(fleet.say(BOB, &revoke)), Refusal::Beyond { .. }));
}

#[test]
fn rights_hold_for_sections_verbs_and_groups() {
    let mut fleet = Founded::new();
    fleet.say(FOUNDER, &fleet.user(BOB, "bob", &["groups/**:put:ap", "devices/**:put:ap"])).unwrap();
    fleet.put(BOB, "groups/ap/config/network", "x").unwrap();
    fleet.put(BOB, &format!("devices/{}/config/network", id(AP)), "x").unwrap();
    for path in
        ["groups/core/config/network", "policies/all/config/network", &format!("devices/{}/config/network", id(MASTER))]
    {
        assert!(
            matches!(refused_change(fleet.put(BOB, path, "x")), ChangeRefusal::Right { verb: Verb::Put, .. }),
            "{path}"
        );
    }
    let delete = fleet.change(BOB, "groups/ap/config/network", None);
    let refusal = refused_change(fleet.append(Record::Change(delete)));
    assert!(matches!(refusal, ChangeRefusal::Right { verb: Verb::Delete, .. }));
}

#[test]
fn a_revoked_key_takes_along_the_keys_it_added_and_what_it_wrote() {
    let mut fleet = Founded::new();
    fleet.say(FOUNDER, &fleet.user(BOB, "bob", &["**:all"])).unwrap();
    fleet.put(BOB, "groups/ap/config/early", "x").unwrap();
    let (since, entries) = (fleet.log.len(), fleet.log.authority().head().position + 1);
    fleet.put(BOB, "groups/ap/config/late", "x").unwrap();
    fleet.say(BOB, &fleet.user(EVE, "eve", &["**:all"])).unwrap();
    fleet.say(EVE, &fleet.device(NEXT, "implant", &["ap"])).unwrap();
    let head = fleet.log.authority().head();
    let old = fleet.change(EVE, "groups/ap/config/later", None);
    fleet.say(FOUNDER, &Statement::Revoke { key: secret(BOB).public().verify, since, entries }).unwrap();

    assert!(matches!(refused(fleet.say(EVE, &fleet.user(30, "x", &["**:put"]))), Refusal::Revoked { .. }));
    assert!(
        matches!(refused_change(fleet.append(Record::Change(old))), ChangeRefusal::Revoked { .. }),
        "as of {head:?}"
    );
    assert_eq!(fleet.log.authority().state().devices[&id(NEXT)].standing, Standing::Lost);
    // What stands of theirs is void from then on, and nothing before.
    let standing = |path: &str| {
        let leaf = fleet.log.map().get(&path.parse().unwrap()).unwrap().clone();
        let signed = fleet.change_at(leaf.index);
        fleet::log::check_section(fleet.log.authority(), &leaf, &signed)
    };
    assert!(standing("groups/ap/config/early").is_ok());
    assert!(matches!(standing("groups/ap/config/late"), Err(ChangeRefusal::Void { .. })));
}

#[test]
fn a_rotated_key_says_nothing_more_and_what_it_said_stays() {
    let mut fleet = Founded::new();
    fleet.put(FOUNDER, "groups/ap/config/network", "x").unwrap();
    let late = fleet.change(FOUNDER, "groups/ap/config/network", None);
    fleet.say(FOUNDER, &Statement::Rotate { name: "ada".parse().unwrap(), key: fleet.bound(NEXT) }).unwrap();
    assert!(matches!(refused_change(fleet.append(Record::Change(late))), ChangeRefusal::Revoked { .. }));
    fleet.put(NEXT, "groups/ap/config/network", "y").unwrap();
    let again = Statement::Rotate { name: "ada".parse().unwrap(), key: fleet.bound(FOUNDER) };
    assert!(matches!(refused(fleet.say(NEXT, &again)), Refusal::KeyUsed(_)));
}

#[test]
fn a_threshold_needs_as_many_as_it_says() {
    let mut fleet = Founded::new();
    for (number, name) in [(BOB, "bob"), (EVE, "eve")] {
        fleet.say(FOUNDER, &fleet.user(number, name, &["**:all"])).unwrap();
    }
    let users = ["ada", "bob", "eve"].map(|name| name.parse().unwrap()).to_vec();
    let alone = Statement::Threshold { verb: Verb::Vote, needed: 2, users };
    assert_eq!(refused(fleet.say(FOUNDER, &alone)), Refusal::Unguarded);
    let Statement::Threshold { users, .. } = alone.clone() else { unreachable!() };
    fleet.say(FOUNDER, &Statement::Threshold { verb: Verb::Grant, needed: 2, users }).unwrap();
    let wanted = fleet.user(NEXT, "zoe", &["groups/**:put"]);
    assert!(matches!(refused(fleet.say(FOUNDER, &wanted)), Refusal::Threshold { needed: 2, .. }));
    // Nor to agree as somebody else.
    let rotate = Statement::Rotate { name: "bob".parse().unwrap(), key: fleet.bound(NEXT) };
    assert!(matches!(refused(fleet.say(FOUNDER, &rotate)), Refusal::Threshold { .. }));
    // Not even to have no threshold.
    let none = Statement::Threshold { verb: Verb::Grant, needed: 0, users: Vec::new() };
    assert!(matches!(refused(fleet.say(FOUNDER, &none)), Refusal::Threshold { .. }));
    let propose = |statement: &Statement| Statement::Propose {
        kind: statement.kind(),
        payload: fleet::cbor::Blob(statement.payload()),
    };
    fleet.say(FOUNDER, &propose(&wanted)).unwrap();
    let proposal = fleet.log.authority().head().entry;
    assert!(matches!(refused(fleet.say(FOUNDER, &Statement::Endorse { proposal })), Refusal::Agreed(_)));
    assert!(fleet.put(NEXT, "groups/ap/config/x", "x").is_err());
    fleet.say(BOB, &Statement::Endorse { proposal }).unwrap();
    fleet.put(NEXT, "groups/ap/config/x", "x").unwrap();
    assert!(matches!(refused(fleet.say(EVE, &Statement::Endorse { proposal })), Refusal::NoProposal(_)));
}

#[test]
fn a_voter_lets_in_whom_an_automatic_join_key_admits_and_nobody_else() {
    let mut fleet = Founded::new();
    let join = JoinKey::new(fleet.log.authority().fleet(), [50; 32], Vec::new());
    let terms = |uses, automatic, hardware: &[&str]| JoinTerms {
        key: join.public(),
        group: Some("ap".parse().unwrap()),
        uses,
        last_day: 30_000,
        hardware: hardware.iter().map(|&board| board.to_owned()).collect(),
        automatic,
    };
    fleet.say(FOUNDER, &Statement::Join { terms: terms(1, true, &["x86"]) }).unwrap();
    let ask = |fleet: &Founded, number: u8, board: &str, groups: &[&str], trust| {
        let request = Request {
            key: secret(number).public().verify,
            join: join.public(),
            board: board.into(),
            mac: "02:00:5e:00:53:01".into(),
            name: None,
        };
        let request = Some(request.sign(&join, &secret(number)));
        let groups = groups.iter().map(|group| group.parse().unwrap()).collect();
        Statement::Device {
            key: fleet.bound(number),
            name: format!("d{number}").parse().unwrap(),
            groups,
            trust,
            request,
        }
    };
    let mut say = |author, number, board, groups: &[&str], trust| {
        let statement = ask(&fleet, number, board, groups, trust);
        fleet.say(author, &statement)
    };
    assert_eq!(refused(say(AP, 60, "x86", &["ap"], Trust::Configuration)), Refusal::NotAutomatic);
    assert_eq!(refused(say(MASTER, 60, "x86", &["ap"], Trust::Secrets)), Refusal::NotAutomatic);
    assert_eq!(refused(say(MASTER, 60, "x86", &["core"], Trust::Configuration)), Refusal::NotAutomatic);
    assert!(matches!(refused(say(MASTER, 60, "toaster", &["ap"], Trust::Configuration)), Refusal::Hardware { .. }));
    say(MASTER, 60, "x86", &["ap"], Trust::Configuration).unwrap();
    assert_eq!(refused(say(MASTER, 61, "x86", &["ap"], Trust::Configuration)), Refusal::JoinSpent(1));
    assert_eq!(refused(say(FOUNDER, 61, "x86", &["ap"], Trust::Configuration)), Refusal::JoinSpent(1));
    fleet.say(FOUNDER, &Statement::Unjoin { key: join.public() }).unwrap();
    let refusal = refused(fleet.say(FOUNDER, &ask(&fleet, 61, "x86", &["ap"], Trust::Configuration)));
    assert_eq!(refusal, Refusal::NoJoin(join.public()));
    let again = Statement::Join { terms: terms(9, true, &[]) };
    assert_eq!(refused(fleet.say(FOUNDER, &again)), Refusal::KeyUsed(join.public()));
}

#[test]
fn a_lost_device_comes_back_on_its_record_and_a_removed_one_does_not() {
    let mut fleet = Founded::new();
    fleet
        .say(FOUNDER, &Statement::Seal { group: "ap".parse().unwrap(), generation: 1, key: secret(9).public().sealing })
        .unwrap();
    let due = |fleet: &Founded| fleet.log.authority().state().seals[&"ap".parse().unwrap()].due;
    assert!(!due(&fleet));
    fleet.say(FOUNDER, &Statement::Lost { device: id(AP), since: 0 }).unwrap();
    assert!(due(&fleet), "the group's key is known to whoever has the device");
    let rekey = |fleet: &Founded, number| Statement::Rekey {
        device: id(AP),
        key: fleet.bound(number),
        trust: Trust::Configuration,
    };
    assert!(matches!(refused(fleet.say(AP, &rekey(&fleet, NEXT))), Refusal::Revoked { .. }));
    fleet.say(FOUNDER, &rekey(&fleet, NEXT)).unwrap();
    // By itself it takes another key, and no more trust.
    let more = Statement::Rekey { device: id(AP), key: fleet.bound(70), trust: Trust::Secrets };
    assert!(matches!(refused(fleet.say(NEXT, &more)), Refusal::Beyond { .. }));
    fleet.say(NEXT, &rekey(&fleet, 70)).unwrap();
    let other = Statement::Rekey { device: id(MASTER), key: fleet.bound(71), trust: Trust::Configuration };
    assert!(matches!(refused(fleet.say(70, &other)), Refusal::Right { .. }), "of another device");
    fleet.say(FOUNDER, &Statement::Remove { device: id(AP) }).unwrap();
    assert_eq!(refused(fleet.say(FOUNDER, &rekey(&fleet, 72))), Refusal::Removed(id(AP)));
    let again = fleet.device(AP, "ap9", &[]);
    assert!(matches!(refused(fleet.say(FOUNDER, &again)), Refusal::KeyUsed(_)));
}

#[test]
fn recovery_outranks_everything_and_only_it_replaces_itself() {
    let mut fleet = Founded::new();
    let branch = fleet.log.authority().clone();
    fleet.say(FOUNDER, &fleet.user(EVE, "eve", &["**:all"])).unwrap();
    fleet.say(EVE, &Statement::Revoke { key: secret(FOUNDER).public().verify, since: 0, entries: 1 }).unwrap();
    let recover = |generation, recovery: u8, key: u8| Statement::Recover {
        generation,
        recovery: secret(recovery).public().verify,
        name: "ada".parse().unwrap(),
        key: fleet.bound(key),
        since: u64::MAX,
    };
    let (first, by_user) = (recover(1, 80, 81), branch.sign(&recover(1, 80, 81), &secret(FOUNDER)));
    let second = recover(2, 82, 83);
    let other = recover(1, 84, 85);
    let says = Statement::Voters { voters: vec![(id(MASTER), fleet::Role::Master)] };
    assert_eq!(
        refused(fleet.append(Record::Authority(branch.sign(&says, &secret(RECOVERY))))),
        Refusal::OutOfOrder {
            position: branch.head().position + 1,
            previous: branch.head().entry,
            end: fleet.log.authority().head().position,
            head: fleet.log.authority().head().entry,
        }
    );
    assert_eq!(refused(fleet.append(Record::Authority(by_user))), Refusal::NotRecovery);
    fleet.append(Record::Authority(branch.sign(&first, &secret(RECOVERY)))).unwrap();
    assert!(matches!(refused(fleet.say(EVE, &says)), Refusal::UnknownKey(_)), "her branch is gone");
    assert!(matches!(refused(fleet.say(FOUNDER, &says)), Refusal::Revoked { .. }));
    fleet.say(81, &says).unwrap();
    // The phrase that was used is none any more; the next one is.
    assert!(fleet.append(Record::Authority(branch.sign(&other, &secret(RECOVERY)))).is_err());
    fleet.say(80, &second).unwrap();
    fleet.say(83, &says).unwrap();
}

#[test]
fn a_fork_is_proven_and_ended_by_whoever_may_on_both_branches() {
    let fleet = Founded::new();
    let base = fleet.log.authority().clone();
    let branch = |statement: &Statement| {
        let mut branch = base.clone();
        branch.append(base.sign(statement, &secret(FOUNDER))).unwrap();
        branch
    };
    let (mut one, mut other) =
        (branch(&fleet.user(BOB, "bob", &["**:put"])), branch(&fleet.user(EVE, "eve", &["**:put"])));
    let from = base.head().position + 1;
    let theirs = other.entries(from)[0].signed.clone();
    assert!(matches!(one.adopt(vec![theirs.clone()]), Err(Refusal::Forked { .. })));
    assert!(one.fork(&theirs).is_some() && one.fork(&one.entries(from)[0].signed.clone()).is_none());

    let hash = |chain: &fleet::authority::Authority| fleet::Hash::of(*chain.entries(from)[0].id.bytes());
    let resolve = Statement::Resolve { kept: hash(&other), dropped: hash(&one) };
    other.append(other.sign(&resolve, &secret(FOUNDER))).unwrap();
    let entries = |chain: &fleet::authority::Authority| {
        chain.entries(1).iter().map(|entry| entry.signed.clone()).collect::<Vec<_>>()
    };
    let loser = entries(&one);
    assert_eq!(one.adopt(entries(&other)), Ok(Adopted::Switched(from)));
    assert_eq!(one.head(), other.head());
    assert!(matches!(one.adopt(loser), Err(Refusal::Outranked(_))));
}

#[test]
fn nobody_undoes_their_own_end_by_a_branch() {
    let mut fleet = Founded::new();
    fleet.say(FOUNDER, &fleet.user(EVE, "eve", &["**:all"])).unwrap();
    let base = fleet.log.authority().clone();
    let mut chain = base.clone();
    let revoke = Statement::Revoke { key: secret(EVE).public().verify, since: 0, entries: 0 };
    chain.append(chain.sign(&revoke, &secret(FOUNDER))).unwrap();
    let from = base.head().position + 1;
    let dropped = fleet::Hash::of(*chain.entries(from)[0].id.bytes());
    let mut evil = base;
    let kept = fleet::Hash::of([0; 32]);
    evil.append(evil.sign(&Statement::Resolve { kept, dropped }, &secret(EVE))).unwrap();
    let entries = evil.entries(from).iter().map(|entry| entry.signed.clone()).collect();
    assert!(matches!(chain.adopt(entries), Err(Refusal::Outranked(_))));
}

#[test]
fn a_critical_entry_that_is_not_known_stops_and_another_passes() {
    let mut fleet = Founded::new();
    let unknown = Statement::Unknown { kind: 99, payload: fleet::cbor::Blob(vec![0xf6]) };
    fleet.say(FOUNDER, &unknown).unwrap();
    let critical = critical(fleet.log.authority(), &unknown, &secret(FOUNDER));
    assert_eq!(refused(fleet.append(Record::Authority(critical))), Refusal::Upgrade(99));
}
