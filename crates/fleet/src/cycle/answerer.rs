//! The master's side of the cycle: what each device said last, and what it is told.

use std::collections::BTreeMap;
use std::time::Duration;

use super::payload::{Answer, AnswerFlags, Ask, StatusDigest};
use crate::heads::{Heads, HeadsDigest};
use crate::vitals::Vitals;
use crate::{LogIndex, Moment, NoiseKey};

/// So many asks a second are worth their answers; with more devices the interval grows.
const ASKS_A_SECOND: u64 = 400;
/// Seconds between the asks of a device while nothing happens: under most NATs' memory for UDP.
const QUIET: u64 = 120;
/// And while changes go out.
const LIVELY: u64 = 30;
/// Changes are going out for this long after the last one.
const LIVELINESS: Duration = Duration::from_secs(600);
/// Hints of one change that go out at a time.
const HINTS: usize = 256;

/// What a device said last.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// When.
    pub at: Moment,
    /// Where it stands.
    pub heads: HeadsDigest,
    /// How far its checkpoint reaches.
    pub index: LogIndex,
    /// Its status, as it says.
    pub status: StatusDigest,
    /// How it is.
    pub vitals: Vitals,
    /// Seconds after which it was asked to come again.
    told: u16,
    /// The newest status of it that is kept here.
    kept: StatusDigest,
}

/// What an ask gives reason to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remark {
    /// It is up to date, or will be.
    Nothing,
    /// It has a checkpoint that reaches further than ours: follow before leading.
    WeAreBehind(LogIndex),
    /// Its boots went back: there are two of it.
    Clone,
}

/// What the master remembers of its devices, and whom it still has to hint at.
#[derive(Default)]
pub struct Answerer {
    seen: BTreeMap<NoiseKey, Seen>,
    hint: Option<(LogIndex, Option<NoiseKey>)>,
    lively: Option<Moment>,
    /// Seconds, where somebody has set them.
    interval: Option<u16>,
}

impl Answerer {
    /// Wants to be asked every so many seconds, however many ask.
    pub fn set_interval(&mut self, seconds: Option<u16>) {
        self.interval = seconds;
    }

    /// Answers an ask of a member.
    pub fn answer(&mut self, device: NoiseKey, ask: &Ask, heads: &Heads, fork: bool, now: Moment) -> (Answer, Remark) {
        let before = self.seen.get(&device).copied();
        let kept = before.map(|seen| seen.kept).unwrap_or_default();
        let Ask { heads: digest, index, status, vitals } = *ask;
        let interval = self.interval(now);
        self.seen.insert(device, Seen { at: now, heads: digest, index, status, vitals, told: interval, kept });
        let flags = [(kept != status, AnswerFlags::WANTS_STATUS), (fork, AnswerFlags::FORK)];
        let flags = flags.into_iter().filter(|(up, _)| *up).fold(AnswerFlags::default(), |all, (_, one)| all.with(one));
        let remark = match before {
            Some(before) if goes_back(before.vitals.boots, vitals.boots) => Remark::Clone,
            _ if ask.index > heads.index => Remark::WeAreBehind(ask.index),
            _ => Remark::Nothing,
        };
        (Answer { heads: heads.digest(), index: heads.index, interval, flags }, remark)
    }

    /// Answers whoever is no member, and remembers nothing of it: it may learn who the fleet is, and ask to join.
    pub fn answer_stranger(&self, heads: &Heads, now: Moment) -> Answer {
        Answer {
            heads: heads.digest(),
            index: heads.index,
            interval: self.interval(now),
            flags: AnswerFlags::default(),
        }
    }

    /// What `device` said last.
    pub fn seen(&self, device: NoiseKey) -> Option<&Seen> {
        self.seen.get(&device)
    }

    /// What all said last.
    pub fn all_seen(&self) -> impl Iterator<Item = (&NoiseKey, &Seen)> {
        self.seen.iter()
    }

    /// Those that were not heard for three intervals.
    pub fn offline(&self, now: Moment) -> impl Iterator<Item = &NoiseKey> {
        let patience = |seen: &Seen| Duration::from_secs(u64::from(seen.told) * 3);
        self.seen.iter().filter(move |(_, seen)| now.since(seen.at) > patience(seen)).map(|(device, _)| device)
    }

    /// Notes that this status of `device` is kept.
    pub fn keep_status(&mut self, device: NoiseKey, status: StatusDigest) {
        if let Some(seen) = self.seen.get_mut(&device) {
            seen.kept = status;
        }
    }

    /// Forgets a device that is no member any more.
    pub fn forget(&mut self, device: NoiseKey) {
        self.seen.remove(&device);
    }

    /// The log has reached `index`: those that do not know it are told.
    pub fn start(&mut self, index: LogIndex, now: Moment) {
        self.hint = Some((index, None));
        self.lively = Some(now);
    }

    /// The next few to hint at, and what of. Ask again after a tenth of a second, until there are none.
    pub fn hints(&mut self) -> (LogIndex, Vec<NoiseKey>) {
        let Some((index, after)) = self.hint.take() else { return (0, Vec::new()) };
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let rest = self.seen.range((from, std::ops::Bound::Unbounded));
        let next: Vec<_> = rest.filter(|(_, seen)| seen.index < index).map(|(device, _)| *device).take(HINTS).collect();
        if next.len() == HINTS {
            self.hint = Some((index, next.last().copied()));
        }
        (index, next)
    }

    fn interval(&self, now: Moment) -> u16 {
        let is_lively = self.lively.is_some_and(|since| now.since(since) < LIVELINESS);
        let wanted = if is_lively { LIVELY } else { QUIET };
        let needed = self.seen.len() as u64 / ASKS_A_SECOND;
        self.interval.unwrap_or(u16::try_from(wanted.max(needed)).unwrap_or(u16::MAX))
    }
}

/// Whether a counter of boots that was `before` went back; it may pass its end.
fn goes_back(before: u16, after: u16) -> bool {
    after.wrapping_sub(before) >= 1 << 15
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EntryId, Hash, Head};

    const HEADS: Heads = Heads {
        authority: Head { position: 1, entry: EntryId::of([1; 32]) },
        index: 10,
        checkpoint: Hash::of([2; 32]),
    };

    fn ask(index: LogIndex, boots: u16) -> Ask {
        let vitals = Vitals { boots, ..Vitals::default() };
        Ask { heads: HeadsDigest([0; 8]), index, status: [5; 6], vitals }
    }

    fn device(number: u16) -> NoiseKey {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&number.to_be_bytes());
        NoiseKey::of(key)
    }

    #[test]
    fn a_status_is_wanted_until_it_is_kept() {
        let mut answerer = Answerer::default();
        let wanted = |answerer: &mut Answerer| {
            let (answer, _) = answerer.answer(device(1), &ask(10, 1), &HEADS, false, Moment::default());
            answer.flags.contains(AnswerFlags::WANTS_STATUS)
        };
        assert!(wanted(&mut answerer));
        answerer.keep_status(device(1), [5; 6]);
        assert!(!wanted(&mut answerer));
    }

    #[test]
    fn boots_that_go_back_are_two_devices_and_a_higher_index_is_ours_to_follow() {
        let mut answerer = Answerer::default();
        let mut say = |index, boots| answerer.answer(device(1), &ask(index, boots), &HEADS, false, Moment::default()).1;
        assert_eq!(say(10, u16::MAX), Remark::Nothing);
        assert_eq!(say(10, 0), Remark::Nothing);
        assert_eq!(say(10, u16::MAX), Remark::Clone);
        assert_eq!(say(11, u16::MAX), Remark::WeAreBehind(11));
    }

    #[test]
    fn the_interval_is_short_while_changes_go_out_and_long_where_many_ask() {
        let mut answerer = Answerer::default();
        let interval =
            |answerer: &mut Answerer, now| answerer.answer(device(1), &ask(10, 1), &HEADS, false, now).0.interval;
        assert_eq!(interval(&mut answerer, Moment::default()), 120);
        answerer.start(11, Moment::default());
        assert_eq!(interval(&mut answerer, Moment::from_millis(599_999)), 30);
        assert_eq!(interval(&mut answerer, Moment::from_millis(600_000)), 120);
        for number in 0..60_000 {
            answerer.answer(device(number), &ask(10, 1), &HEADS, false, Moment::default());
        }
        assert_eq!(interval(&mut answerer, Moment::from_millis(600_000)), 150);
    }

    #[test]
    fn who_misses_three_cycles_is_offline() {
        let mut answerer = Answerer::default();
        answerer.answer(device(1), &ask(10, 1), &HEADS, false, Moment::default());
        assert_eq!(answerer.offline(Moment::from_millis(360_000)).count(), 0);
        assert_eq!(answerer.offline(Moment::from_millis(360_001)).count(), 1);
    }

    #[test]
    fn hints_go_out_in_turns_to_those_that_need_them() {
        let mut answerer = Answerer::default();
        for number in 0..1_000 {
            answerer.answer(device(number), &ask(u64::from(number % 2) * 10, 1), &HEADS, false, Moment::default());
        }
        answerer.start(10, Moment::default());
        let mut hinted = Vec::new();
        while let (10, next) = answerer.hints() {
            assert!(next.len() <= HINTS);
            hinted.extend(next);
        }
        assert_eq!(hinted, (0..1_000).step_by(2).map(device).collect::<Vec<_>>());
    }
}
