//! Changes that go out in stages: who goes by them, and when.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet::archive::Archive;
use fleet::authority::Statement;
use fleet::catch_up::Book;
use fleet::cbor;
use fleet::change::{Change, Content, Wish};
use fleet::export::Item;
use fleet::log::Record;
use fleet::replica::{ProvenCheckpoint, Replica, ShippedSection, prefixes};
use fleet::rollout::{
    EVERYBODY, Health, Itinerary, Plan, Rollout, Sight, Stage, Staged, Step, Steward, bound, stage_path,
};
use fleet::submission::Submission;
use fleet::voter::Ledger;
use fleet::{ChangeId, ContentHash, DeviceId, LogIndex, Moment, SectionPath, Signed};
use proptest::prelude::*;

use crate::founded::{BACKUP, FOUNDER, Founded, MASTER, id, random, secret};

const TARGET: &str = "groups/roof/config/wireless";
const ROLLOUT: &str = "groups/roof/rollouts/six";
const BOB: u8 = 60;
/// The devices of group `roof`.
const DEVICES: std::ops::Range<u8> = 10..20;

/// A fleet and what its devices hold.
struct World {
    fleet: Founded,
    contents: BTreeMap<ContentHash, Content>,
    changes: BTreeMap<ChangeId, Signed>,
    replicas: BTreeMap<u8, Replica>,
    salt: u64,
}

fn path(text: &str) -> SectionPath {
    text.parse().unwrap()
}

impl World {
    fn new() -> Self {
        let mut fleet = Founded::new();
        for number in DEVICES {
            fleet.say(FOUNDER, &fleet.device(number, &format!("ap{number}"), &["roof"])).unwrap();
        }
        let of = fleet.log.authority().fleet();
        let replica = |number| (number, Replica::restore(of, secret(number).public().noise, []));
        let replicas = DEVICES.map(replica).collect();
        let mut world = Self { fleet, contents: BTreeMap::new(), changes: BTreeMap::new(), replicas, salt: 0 };
        world.put(TARGET, "old").unwrap();
        world
    }

    fn devices() -> Vec<DeviceId> {
        DEVICES.map(id).collect()
    }

    fn content(&mut self, text: &[u8]) -> Content {
        self.salt += 1;
        Content::new(text.to_vec(), &mut random(self.salt))
    }

    /// A change that somebody signs, with its content.
    fn signed(&mut self, author: u8, at: &str, text: &[u8], replaces: Option<ChangeId>) -> Staged {
        let content = self.content(text);
        let hash = Some(content.hash());
        let wish =
            Wish { path: path(at), content: hash, replaces, execute: false, time: self.salt, note: String::new() };
        Staged { change: Change::sign(self.fleet.log.authority(), wish, &secret(author)), content: Some(content) }
    }

    fn standing(&self, at: &str) -> Option<ChangeId> {
        self.fleet.log.map().get(&path(at)).map(|leaf| leaf.change)
    }

    fn decide(&mut self, Staged { change, content }: Staged) -> Result<ChangeId, String> {
        self.fleet.append(Record::Change(change.clone())).map_err(|refusal| refusal.to_string())?;
        let read = Change::read(change.clone(), self.fleet.log.authority().fleet()).unwrap();
        self.changes.insert(read.id, change);
        self.contents.extend(content.map(|content| (content.hash(), content)));
        Ok(read.id)
    }

    fn submit(&mut self, submission: &Submission) -> Result<ChangeId, String> {
        let Submission { record: Record::Change(change), content } = submission.clone() else { panic!("a change") };
        self.decide(Staged { change, content })
    }

    fn put(&mut self, at: &str, text: &str) -> Result<ChangeId, String> {
        let staged = self.signed(FOUNDER, at, text.as_bytes(), self.standing(at));
        self.decide(staged)
    }

    /// Puts a rollout of a change of the target in the log.
    fn roll_out(&mut self, author: u8, staged: Vec<Staged>, counts: &[usize]) -> (ChangeId, Rollout, Itinerary) {
        let bounds = counts.iter().map(|count| bound(&staged[0].change, &Self::devices(), *count)).collect();
        let rollout = Rollout::new(bounds, (90, 600), None, staged).unwrap();
        let authority = self.fleet.log.authority().clone();
        let plan = Plan { authority: &authority, secret: &secret(author), time: 7, note: "six" };
        let founded = plan.found(&path(ROLLOUT), self.standing(ROLLOUT), &rollout, &mut random(3)).unwrap();
        let id = self.submit(&founded).unwrap();
        let stands = self.standing("groups/roof/stages/six");
        let itinerary = plan.itinerary(&path(ROLLOUT), (id, &rollout), (0, stands), &mut random(4)).unwrap();
        (id, rollout, itinerary)
    }

    /// What the target says on each device, after all have caught up.
    fn seen(&mut self) -> BTreeMap<u8, String> {
        let authority = self.fleet.log.authority().clone();
        let entries: Vec<_> = [authority.genesis().to_bytes()]
            .into_iter()
            .chain(authority.entries(1).iter().map(|entry| entry.signed.to_bytes()))
            .collect();
        let checkpoint = self.fleet.checkpoint(&[MASTER, BACKUP]);
        let map = self.fleet.log.map();
        let mut seen = BTreeMap::new();
        for (number, replica) in &mut self.replicas {
            replica.take_entries(&entries).unwrap();
            let before = replica.heads().index;
            let growth = self.fleet.log.history().prove_growth(before, self.fleet.log.len()).unwrap();
            let root = self.fleet.log.history().root(before).unwrap();
            let copy = cbor::to_bytes(&ProvenCheckpoint { checkpoint: checkpoint.clone(), root, growth });
            let prefixes = prefixes(authority.state(), id(*number));
            let prefixes: Vec<_> = prefixes.iter().map(String::as_str).collect();
            let sections: Vec<_> = prefixes
                .iter()
                .flat_map(|prefix| map.under(prefix))
                .map(|leaf| {
                    let signed = self.changes[&leaf.change].clone();
                    let content = Change::read(signed.clone(), authority.fleet()).unwrap().content;
                    let content = content.map(|hash| self.contents[&hash].clone());
                    cbor::to_bytes(&ShippedSection { signed, content })
                })
                .collect();
            replica.take_copy(&copy, &sections, &cbor::to_bytes(&map.prove(&prefixes))).unwrap();
            let target = replica.sections().get(&path(TARGET));
            let text = target.map(|section| String::from_utf8(section.content.bytes.0.clone()).unwrap());
            seen.insert(*number, text.unwrap_or_else(|| "nothing".into()));
        }
        seen
    }

    /// What a voter holds.
    fn archive(&self) -> Archive {
        let genesis = self.fleet.log.authority().genesis().clone();
        let mut archive = Archive::new(genesis, Arc::new(secret(MASTER))).unwrap();
        for item in fleet::export::read(&self.fleet.export).map(Result::unwrap) {
            let Item::Record(record) = item else { continue };
            let content = match &record {
                Record::Authority(_) => None,
                Record::Change(signed) => {
                    let named = Change::read(signed.clone(), self.fleet.log.authority().fleet()).unwrap().content;
                    named.map(|hash| self.contents[&hash].clone())
                }
            };
            archive.append(&Submission { record, content }.to_bytes().into());
        }
        archive
    }

    /// Lets a master look after a rollout until it has nothing to do, or halts; how many devices have it each time, and
    /// what the master tells.
    fn see_to(
        &mut self,
        itinerary: &Itinerary,
        health: &dyn Fn(DeviceId, LogIndex) -> Health,
    ) -> (Vec<usize>, Vec<String>) {
        let (mut steward, mut counts, mut told) = (Steward::default(), Vec::new(), Vec::new());
        for look in 0_u64.. {
            let archive = self.archive();
            // Each stage gets its time twice over.
            let now = Moment::from_millis(look * 700_000);
            match steward.look(itinerary, Sight { archive: &archive, health, now, minute: None }) {
                Step::Wait if look < 20 => {}
                Step::Wait => panic!("it waits for ever: {told:?}"),
                Step::Over => break,
                Step::Submit(submissions, why) => {
                    for submission in &submissions {
                        self.submit(submission).unwrap();
                    }
                    counts.push(self.count("new"));
                    told.push(why.clone());
                    if why.contains("halts") {
                        break;
                    }
                }
            }
        }
        (counts, told)
    }

    fn count(&mut self, text: &str) -> usize {
        self.seen().values().filter(|seen| *seen == text).count()
    }
}

#[test]
fn a_change_goes_out_in_stages_and_then_stands() {
    let mut world = World::new();
    let staged = world.signed(FOUNDER, TARGET, b"new", world.standing(TARGET));
    let (id, _, itinerary) = world.roll_out(FOUNDER, vec![staged], &[1, 3, 10]);
    assert_eq!(world.count("new"), 0, "nobody begins by themselves");
    let mut stands = None;
    for (number, expected) in [1, 3, 10].into_iter().enumerate() {
        let leg = itinerary.next(stands).unwrap().clone();
        assert_eq!(usize::try_from(leg.stage).unwrap(), number);
        stands = Some(world.submit(&leg.begin).unwrap());
        assert_eq!((stands, world.count("new")), (Some(leg.change), expected));
    }
    assert_eq!(itinerary.next(stands), None);
    for submission in &itinerary.end {
        world.submit(submission).unwrap();
        assert_eq!(world.count("new"), 10, "from the one to the other nothing changes");
    }
    let at = world.fleet.log.map().get(&path(ROLLOUT)).unwrap();
    assert!(at.deleted && at.change != id);
    // What a master kept is of no use a second time.
    assert!(world.submit(&itinerary.legs[0].begin).unwrap_err().contains("somebody else was first"));
}

#[test]
fn stages_come_in_their_order_and_a_halt_ends_them() {
    let mut world = World::new();
    let staged = world.signed(FOUNDER, TARGET, b"new", world.standing(TARGET));
    let (_, _, itinerary) = world.roll_out(FOUNDER, vec![staged], &[1, 3, 10]);
    assert!(world.submit(&itinerary.legs[1].begin).is_err(), "a master cannot leave out a stage");
    world.submit(&itinerary.legs[0].begin).unwrap();
    world.submit(&itinerary.legs[0].halt).unwrap();
    assert_eq!(world.count("new"), 1, "who has it keeps it");
    assert!(world.submit(&itinerary.legs[1].begin).is_err(), "nothing signed before goes past a halt");
    // Taken back, it leaves nothing.
    let stands = world.standing(ROLLOUT);
    let wish =
        Wish { path: path(ROLLOUT), content: None, replaces: stands, execute: false, time: 9, note: String::new() };
    let change = Change::sign(world.fleet.log.authority(), wish, &secret(FOUNDER));
    world.decide(Staged { change, content: None }).unwrap();
    assert_eq!(world.count("old"), 10);
}

#[test]
fn whoever_changes_the_section_meanwhile_ends_it_for_everybody() {
    let mut world = World::new();
    let staged = world.signed(FOUNDER, TARGET, b"new", world.standing(TARGET));
    let (_, _, itinerary) = world.roll_out(FOUNDER, vec![staged], &[4, 10]);
    world.submit(&itinerary.legs[0].begin).unwrap();
    assert_eq!(world.count("new"), 4);
    world.put(TARGET, "other").unwrap();
    assert_eq!(world.count("other"), 10);
    assert!(world.submit(&itinerary.end[0]).unwrap_err().contains("somebody else was first"));
}

#[test]
fn a_master_sees_to_it_that_a_rollout_goes_on_and_ends() {
    let mut world = World::new();
    let staged = world.signed(FOUNDER, TARGET, b"new", world.standing(TARGET));
    let (_, _, itinerary) = world.roll_out(FOUNDER, vec![staged], &[1, 3, 10]);
    let (counts, told) = world.see_to(&itinerary, &|_, _| Health::Applied);
    assert_eq!(counts, [1, 3, 10, 10], "{told:?}");
    assert!(told[3].contains("all have it: 10 applied"), "{told:?}");
    assert!(world.fleet.log.map().get(&path(ROLLOUT)).unwrap().deleted);
}

#[test]
fn a_master_halts_what_does_devices_no_good_and_what_somebody_else_has_changed() {
    for bad in [Health::Failed, Health::Offline, Health::Waiting] {
        let mut world = World::new();
        let staged = world.signed(FOUNDER, TARGET, b"new", world.standing(TARGET));
        let (_, rollout, itinerary) = world.roll_out(FOUNDER, vec![staged], &[1, 5, 10]);
        let first = World::devices().into_iter().find(|device| rollout.takes_part(*device, 0)).unwrap();
        let health = |device, _| if device == first { Health::Applied } else { bad };
        let (counts, told) = world.see_to(&itinerary, &health);
        assert_eq!(counts, [1, 5, 5], "{told:?}");
        assert!(told[2].contains("halts: 5 of 5 must be well"), "{told:?}");
        assert!(world.fleet.log.map().get(&path(ROLLOUT)).is_some_and(|leaf| !leaf.deleted));
    }
    let mut world = World::new();
    let staged = world.signed(FOUNDER, TARGET, b"new", world.standing(TARGET));
    let (_, _, itinerary) = world.roll_out(FOUNDER, vec![staged], &[1, 10]);
    world.submit(&itinerary.legs[0].begin).unwrap();
    world.put(TARGET, "other").unwrap();
    let (counts, told) = world.see_to(&itinerary, &|_, _| Health::Applied);
    assert_eq!(counts, [0]);
    assert!(told[0].contains("was changed since by somebody else"), "{told:?}");
}

#[test]
fn nobody_rolls_out_what_they_could_not_change() {
    let mut world = World::new();
    let bob = world.fleet.user(BOB, "bob", &["groups/roof/rollouts/**:put", "groups/roof/stages/**:put"]);
    world.fleet.say(FOUNDER, &bob).unwrap();
    let stands = world.standing(TARGET);
    for (author, signer, at) in [(BOB, BOB, TARGET), (BOB, FOUNDER, TARGET), (FOUNDER, FOUNDER, "groups/core/config/x")]
    {
        let good = world.signed(author, TARGET, b"new", stands);
        let staged = world.signed(signer, at, b"new", if at == TARGET { stands } else { None });
        let staged = if at == TARGET { vec![staged] } else { vec![good, staged] };
        let bounds = vec![EVERYBODY];
        let rollout = Rollout::new(bounds, (90, 600), None, staged).unwrap();
        let founded = world.signed(author, ROLLOUT, &rollout.to_bytes(), world.standing(ROLLOUT));
        let id = world.decide(founded).unwrap();
        let stage = Stage::new(id, 0, false).to_bytes();
        let at = stage_path(&path(ROLLOUT)).unwrap();
        let stage = world.signed(BOB, at.as_str(), &stage, world.standing(at.as_str()));
        world.decide(stage).unwrap();
        assert_eq!(world.count("old"), 10, "{author} {signer}");
    }
}

#[test]
fn whose_right_ends_does_not_go_on() {
    let mut world = World::new();
    let bob = world.fleet.user(BOB, "bob", &["groups/roof/**:put+delete"]);
    world.fleet.say(FOUNDER, &bob).unwrap();
    let staged = world.signed(BOB, TARGET, b"new", world.standing(TARGET));
    let (_, _, itinerary) = world.roll_out(BOB, vec![staged], &[4, 10]);
    world.submit(&itinerary.legs[0].begin).unwrap();
    assert_eq!(world.count("new"), 4);
    let rights = vec!["groups/roof/rollouts/**:put".parse().unwrap(), "groups/roof/stages/**:put".parse().unwrap()];
    world.fleet.say(FOUNDER, &Statement::Rights { name: "bob".parse().unwrap(), rights }).unwrap();
    assert_eq!(world.count("old"), 10);
}

/// What may happen to a rollout.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Somebody hands in a stage that was signed beforehand, or its halt, or a part of the end.
    Leg(usize),
    Halt(usize),
    End(usize),
    /// Somebody changes the section.
    Other,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0_usize..3).prop_map(Event::Leg),
        1 => (0_usize..3).prop_map(Event::Halt),
        2 => (0_usize..3).prop_map(Event::End),
        1 => Just(Event::Other),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// A hostile master hands in whatever it was given, in any order: a device has what stands, or it takes part in the
    /// stage that stands and has what its author signed for it.
    #[test]
    fn whatever_a_master_hands_in_nobody_gets_what_is_not_theirs(events in prop::collection::vec(event(), 0..12)) {
        let mut world = World::new();
        let staged = world.signed(FOUNDER, TARGET, b"new", world.standing(TARGET));
        let (_, rollout, itinerary) = world.roll_out(FOUNDER, vec![staged], &[1, 3, 10]);
        let mut stage: Option<u32> = None;
        let mut text = "old";
        let mut is_there = true;
        for event in events {
            let submission = match event {
                Event::Leg(at) => &itinerary.legs[at].begin,
                Event::Halt(at) => &itinerary.legs[at].halt,
                Event::End(at) => &itinerary.end[at],
                Event::Other => {
                    world.put(TARGET, "other").unwrap();
                    text = "other";
                    continue;
                }
            };
            let Ok(_) = world.submit(submission) else { continue };
            match event {
                Event::Leg(at) => {
                    prop_assert_eq!(at, stage.map_or(0, |stage| stage as usize + 1));
                    stage = u32::try_from(at).ok();
                }
                Event::End(0) => text = "new",
                Event::End(1) => is_there = false,
                Event::End(_) => stage = None,
                _ => {}
            }
        }
        for (number, seen) in world.seen() {
            let takes_part = is_there && text == "old" && stage.is_some_and(|stage| rollout.takes_part(id(number), stage));
            prop_assert_eq!(seen.as_str(), if takes_part { "new" } else { text }, "device {}", number);
        }
    }
}
