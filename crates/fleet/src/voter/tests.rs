use super::*;
use crate::hash::hash;

/// Records are text; `voters N: 1 2 3` names those of configuration N, and one that came before changes nothing.
#[derive(Clone, Default)]
struct Notebook {
    own: u8,
    records: Vec<Vec<u8>>,
    certified: LogIndex,
    certificate: Option<(Vec<u8>, usize)>,
}

fn key(number: u8) -> NoiseKey {
    NoiseKey::of([number; 32])
}

fn signature(number: u8, statement: &[u8]) -> Vec<u8> {
    hash("signature", &[&[number], statement]).bytes().to_vec()
}

impl Ledger for Notebook {
    fn length(&self) -> LogIndex {
        self.records.len() as LogIndex
    }

    fn append(&mut self, record: &Record) {
        self.records.push(record.0.to_vec());
    }

    fn rewind(&mut self, length: LogIndex) {
        self.records.truncate(length as usize);
    }

    fn electorate(&self) -> Electorate {
        let named = |record: &Vec<u8>| {
            let text = String::from_utf8_lossy(record).into_owned();
            let (configuration, voters) = text.strip_prefix("voters ")?.split_once(": ")?;
            let voters = voters.split(' ').map(|voter| key(voter.parse().unwrap())).collect();
            Some(Electorate { configuration: configuration.parse().unwrap(), voters })
        };
        let genesis = Electorate { configuration: 1, voters: vec![key(1), key(2), key(3)] };
        self.records.iter().filter_map(named).max_by_key(|electorate| electorate.configuration).unwrap_or(genesis)
    }

    fn statement(&self) -> Vec<u8> {
        let records: Vec<_> = self.records.iter().map(Vec::as_slice).collect();
        hash("statement", &records).bytes().to_vec()
    }

    fn sign(&self, statement: &[u8]) -> Vec<u8> {
        signature(self.own, statement)
    }

    fn is_signed(&self, voter: NoiseKey, statement: &[u8], given: &[u8]) -> bool {
        given == signature(voter.bytes()[0], statement)
    }

    fn certify(&mut self, index: LogIndex, statement: &[u8], signatures: &[(NoiseKey, Vec<u8>)]) {
        self.certified = index;
        self.certificate = Some((statement.to_vec(), signatures.len()));
    }

    fn certified(&self) -> LogIndex {
        self.certified
    }
}

struct Member {
    voter: Voter,
    notebook: Notebook,
    flash: Vec<Vec<u8>>,
    is_up: bool,
}

/// Voters in one room, where every message arrives unless somebody is down.
struct Room {
    members: Vec<Member>,
    now: Moment,
}

impl Room {
    fn of(numbers: &[u8]) -> Self {
        let now = Moment::default();
        let members = numbers.iter().map(|number| Member::start(*number, Vec::new(), false, now)).collect();
        Self { members, now }
    }

    fn member(&mut self, number: u8) -> &mut Member {
        self.members.iter_mut().find(|member| member.notebook.own == number).unwrap()
    }

    fn propose(&mut self, number: u8, record: &str) {
        let member = self.member(number);
        member.voter.propose(record.into(), &mut member.notebook).unwrap();
        self.deliver();
    }

    fn deliver(&mut self) {
        for round in 0.. {
            assert!(round < 1_000, "somebody talks without end");
            let mut messages = Vec::new();
            for member in self.members.iter_mut().filter(|member| member.is_up) {
                let Output { writes, messages: sent } = member.voter.take_output();
                member.flash.extend(writes);
                let from = key(member.notebook.own);
                messages.extend(sent.into_iter().map(|(to, bytes)| (from, to, bytes)));
            }
            if messages.is_empty() {
                return;
            }
            for (from, to, bytes) in messages {
                let receiver = self.members.iter_mut().find(|member| key(member.notebook.own) == to);
                if let Some(member) = receiver.filter(|member| member.is_up) {
                    member.voter.hear(from, &bytes, &mut member.notebook);
                }
            }
        }
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now + Duration::from_secs(1);
            for member in self.members.iter_mut().filter(|member| member.is_up) {
                member.voter.poll(self.now, &mut member.notebook);
            }
            self.deliver();
        }
    }

    fn restart(&mut self, number: u8, has_forgotten: bool, writes: usize) {
        let now = self.now;
        let member = self.member(number);
        let mut flash = std::mem::take(&mut member.flash);
        flash.truncate(writes);
        *member = Member::start(number, flash, has_forgotten, now);
        self.deliver();
    }

    fn assert_all_hold(&self, records: &[&str]) {
        for member in self.members.iter().filter(|member| member.is_up) {
            let mut held: Vec<_> =
                member.notebook.records.iter().map(|record| String::from_utf8_lossy(record)).collect();
            // What was proposed again may be decided again.
            let mut seen = std::collections::BTreeSet::new();
            held.retain(|record| seen.insert(record.clone()));
            assert_eq!(held, records, "voter {}", member.notebook.own);
            assert_eq!(member.notebook.certified, member.notebook.length(), "voter {}", member.notebook.own);
        }
    }
}

impl Member {
    fn start(number: u8, flash: Vec<Vec<u8>>, has_forgotten: bool, now: Moment) -> Self {
        let mut notebook = Notebook { own: number, ..Notebook::default() };
        let writes = flash.iter().map(Vec::as_slice);
        let voter = Voter::restore(key(number), writes, has_forgotten, &mut notebook, now);
        Self { voter, notebook, flash, is_up: true }
    }
}

#[test]
fn what_anybody_proposes_is_decided_and_certified_everywhere() {
    let mut room = Room::of(&[1, 2, 3]);
    room.pass(20);
    assert!(room.member(1).voter.leads());
    room.propose(1, "a");
    room.propose(3, "b");
    room.pass(10);
    room.assert_all_hold(&["a", "b"]);
    assert_eq!(room.member(2).voter.waiting().count(), 0);
    assert!(room.member(2).notebook.certificate.as_ref().unwrap().1 >= 2);
}

#[test]
fn a_dead_master_is_replaced_within_three_cycles_and_follows_when_it_is_back() {
    let mut room = Room::of(&[1, 2, 3]);
    room.pass(20);
    room.propose(1, "a");
    room.member(1).is_up = false;
    room.propose(3, "b");
    room.pass(60);
    assert!(room.member(2).voter.leads() || room.member(3).voter.leads());
    room.assert_all_hold(&["a", "b"]);
    let writes = room.member(1).flash.len();
    room.restart(1, false, writes);
    room.pass(40);
    room.assert_all_hold(&["a", "b"]);
}

#[test]
fn without_a_majority_nothing_is_decided_and_nothing_lost() {
    let mut room = Room::of(&[1, 2, 3]);
    room.pass(20);
    room.member(2).is_up = false;
    room.member(3).is_up = false;
    room.propose(1, "a");
    room.pass(60);
    assert_eq!(room.member(1).notebook.records.len(), 0);
    room.member(3).is_up = true;
    room.pass(60);
    room.assert_all_hold(&["a"]);
}

#[test]
fn a_record_that_names_other_voters_makes_them_vote() {
    let mut room = Room::of(&[1, 2, 3, 4]);
    room.pass(20);
    room.propose(1, "a");
    room.propose(1, "voters 2: 2 4");
    room.pass(30);
    room.propose(4, "b");
    room.pass(30);
    room.members.retain(|member| [2, 4].contains(&member.notebook.own));
    room.assert_all_hold(&["a", "voters 2: 2 4", "b"]);
    assert_eq!(room.member(2).voter.electorate().voters, [key(2), key(4)]);
}

#[test]
fn alone_a_master_is_its_own_majority() {
    let mut room = Room::of(&[1, 2, 3]);
    room.pass(20);
    room.propose(2, "voters 2: 3");
    room.pass(20);
    room.propose(3, "a");
    let writes = room.member(3).flash.len();
    room.restart(3, false, writes);
    let notebook = &room.member(3).notebook;
    assert_eq!((notebook.records.len(), notebook.certified), (2, 2));
    let Member { voter, notebook, .. } = room.member(1);
    assert_eq!(voter.propose(b"late".to_vec(), notebook), Err(ProposalError::NoVote));
}

#[test]
fn promotion_takes_along_what_was_not_decided() {
    let mut room = Room::of(&[1, 2, 3]);
    room.pass(20);
    room.propose(1, "a");
    room.pass(10);
    room.member(1).is_up = false;
    room.member(3).is_up = false;
    room.propose(2, "stranded");
    room.pass(60);
    let member = room.member(2);
    member.voter.promote(b"voters 2: 2".to_vec(), &mut member.notebook);
    room.deliver();
    room.assert_all_hold(&["a", "voters 2: 2", "stranded"]);
}

#[test]
fn a_promoted_voter_brings_the_old_ones_to_its_branch() {
    let mut room = Room::of(&[1, 2, 3]);
    room.pass(20);
    room.propose(1, "a");
    room.pass(10);
    room.member(1).is_up = false;
    room.member(3).is_up = false;
    let member = room.member(2);
    member.voter.promote(b"voters 2: 2 1".to_vec(), &mut member.notebook);
    room.propose(2, "b");
    room.member(1).is_up = true;
    room.pass(60);
    room.members.retain(|member| member.notebook.own != 3);
    room.assert_all_hold(&["a", "voters 2: 2 1", "b"]);
}

#[test]
fn a_restored_master_follows_before_it_votes() {
    let mut room = Room::of(&[1, 2, 3]);
    room.pass(20);
    room.propose(1, "a");
    room.pass(10);
    let backup = room.member(1).flash.len();
    // Decided by 1 and 3; 2 was away, and 1 forgets.
    room.member(2).is_up = false;
    room.propose(1, "b");
    room.pass(10);
    room.member(3).is_up = false;
    room.restart(1, true, backup);
    room.member(2).is_up = true;
    room.propose(2, "c");
    room.pass(60);
    assert_eq!(room.member(2).notebook.records, [b"a"], "nothing is decided without whoever knows of b");
    room.member(3).is_up = true;
    room.pass(60);
    room.assert_all_hold(&["a", "b", "c"]);
}

#[test]
fn a_crash_after_any_write_loses_nothing_that_was_certified() {
    let mut whole = Room::of(&[1, 2, 3]);
    whole.pass(20);
    ["a", "b", "c"].into_iter().for_each(|record| whole.propose(1, record));
    whole.pass(10);
    let writes = whole.member(1).flash.len();
    for crash in 0..=writes {
        let mut notebook = Notebook { own: 1, ..Notebook::default() };
        let flash = &whole.member(1).flash[..crash];
        let voter = Voter::restore(key(1), flash.iter().map(Vec::as_slice), false, &mut notebook, Moment::default());
        assert!(whole.member(2).notebook.records.starts_with(&notebook.records), "after {crash} writes");
        drop(voter);
    }
}

#[test]
fn what_waits_is_bounded() {
    let mut room = Room::of(&[1, 2, 3]);
    let Member { voter, notebook, .. } = room.member(1);
    let refused = (0..2_000_u32).find_map(|number| voter.propose(number.to_be_bytes().to_vec(), notebook).err());
    assert_eq!(refused, Some(ProposalError::Full));
    assert_eq!(voter.propose(vec![0; LONGEST_RECORD + 1], notebook), Err(ProposalError::Oversized(LONGEST_RECORD + 1)));
}

#[test]
fn a_hostile_voter_can_delay_and_crash_nobody() {
    let mut room = Room::of(&[1, 2, 3]);
    room.pass(20);
    let mut heard = Vec::new();
    room.propose(1, "a");
    for _ in 0..10 {
        room.now = room.now + Duration::from_secs(1);
        let now = room.now;
        for number in 1..=3 {
            let member = room.member(number);
            member.voter.poll(now, &mut member.notebook);
            let output = member.voter.take_output();
            heard.extend(output.messages.into_iter().map(|(_, bytes)| bytes));
        }
    }
    let room = std::cell::RefCell::new(room);
    fuzz::Corpus::of(heard).run(|bytes| {
        let mut room = room.borrow_mut();
        let member = room.member(1);
        member.voter.hear(key(3), bytes, &mut member.notebook);
        member.flash.extend(member.voter.take_output().writes);
        member.flash.clear();
    });
}
