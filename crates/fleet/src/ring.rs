//! What a device's vitals were: a day in steps of five minutes, eight weeks in steps of two hours, in a file that never
//! grows.

use std::ops::Range;

use crate::Vitals;

/// A series of steps.
struct Series {
    /// How many minutes a step has.
    minutes: u64,
    /// How many steps are kept.
    slots: usize,
    /// Where the series begins.
    start: usize,
}

/// The bytes of a slot: step (4, big-endian), readings in it, load, memory, flash, clients (2).
const SLOT: usize = 10;
const FINE: Series = Series { minutes: 5, slots: 288, start: 0 };
const COARSE: Series = Series { minutes: 120, slots: 672, start: 288 * SLOT };

/// The rings of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rings(Vec<u8>);

/// What the readings of a step come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The minute at which the step begins.
    pub minute: u64,
    /// How many readings there were, 255 at most.
    pub readings: u8,
    /// The mean load, in sixteenths.
    pub load: u8,
    /// The least memory that was free, in percent.
    pub memory: u8,
    /// The least flash that was free, in percent.
    pub flash: u8,
    /// The most wireless clients.
    pub clients: u16,
}

impl Default for Rings {
    fn default() -> Self {
        Self(vec![0; Self::LENGTH])
    }
}

impl Rings {
    /// How many bytes they take.
    pub const LENGTH: usize = (288 + 672) * SLOT;

    /// Takes what was kept; rings of another length are begun anew.
    #[must_use]
    pub fn parse(bytes: Vec<u8>) -> Self {
        if bytes.len() == Self::LENGTH { Self(bytes) } else { Self::default() }
    }

    /// All bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes a reading, and says which bytes have changed: the rest of a file can stay as it is. `minute` is the
    /// keeper's own count, which must not go back.
    pub fn record(&mut self, minute: u64, vitals: &Vitals) -> [Range<usize>; 2] {
        [FINE, COARSE].map(|series| self.record_in(&series, minute, vitals))
    }

    /// The last day, oldest first. Steps without a reading are left out.
    #[must_use]
    pub fn fine(&self, now: u64) -> Vec<Sample> {
        self.read(&FINE, now)
    }

    /// The last eight weeks, oldest first.
    #[must_use]
    pub fn coarse(&self, now: u64) -> Vec<Sample> {
        self.read(&COARSE, now)
    }

    fn record_in(&mut self, series: &Series, minute: u64, vitals: &Vitals) -> Range<usize> {
        let step = minute / series.minutes;
        let place = series.place(step);
        let sample = match self.sample(series, place.start, step) {
            None => Sample {
                minute,
                readings: 1,
                load: vitals.load,
                memory: vitals.memory,
                flash: vitals.flash,
                clients: vitals.clients,
            },
            Some(sample) => {
                let (count, load) = (u16::from(sample.readings), u16::from(sample.load));
                let mean = (load * count + u16::from(vitals.load) + count.div_ceil(2)) / (count + 1);
                Sample {
                    minute,
                    readings: sample.readings.saturating_add(1),
                    load: u8::try_from(mean).unwrap_or(u8::MAX),
                    memory: sample.memory.min(vitals.memory),
                    flash: sample.flash.min(vitals.flash),
                    clients: sample.clients.max(vitals.clients),
                }
            }
        };
        let [c0, c1] = sample.clients.to_be_bytes();
        let [s0, s1, s2, s3] = mark(step).to_be_bytes();
        let slot = [s0, s1, s2, s3, sample.readings, sample.load, sample.memory, sample.flash, c0, c1];
        self.0[place.clone()].copy_from_slice(&slot);
        place
    }

    fn read(&self, series: &Series, now: u64) -> Vec<Sample> {
        let last = now / series.minutes;
        let first = last.saturating_sub(series.slots as u64 - 1);
        (first..=last).filter_map(|step| self.sample(series, series.place(step).start, step)).collect()
    }

    /// What a slot holds, if it is of this step.
    fn sample(&self, series: &Series, at: usize, step: u64) -> Option<Sample> {
        let [s0, s1, s2, s3, readings, load, memory, flash, c0, c1] = *self.0[at..].first_chunk::<SLOT>()?;
        let is_of_step = u32::from_be_bytes([s0, s1, s2, s3]) == mark(step) && readings > 0;
        let clients = u16::from_be_bytes([c0, c1]);
        is_of_step.then_some(Sample { minute: step * series.minutes, readings, load, memory, flash, clients })
    }
}

impl Series {
    fn place(&self, step: u64) -> Range<usize> {
        let slot = usize::try_from(step % self.slots as u64).unwrap_or(0);
        let start = self.start + slot * SLOT;
        start..start + SLOT
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a step that is 2^32 steps older has long been written over")]
fn mark(step: u64) -> u32 {
    step as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vitals(load: u8, memory: u8, clients: u16) -> Vitals {
        Vitals { load, memory, clients, flash: 50, ..Vitals::parse(&[0; 12]) }
    }

    #[test]
    fn steps_gather_their_readings_and_old_ones_go() {
        let mut rings = Rings::default();
        let begin = 1_000_000;
        for minute in begin..begin + 2 * 24 * 60 {
            rings.record(minute, &vitals(16, 60, 3));
        }
        let now = begin + 2 * 24 * 60 - 1;
        assert_eq!(rings.fine(now).len(), 288);
        assert!(rings.coarse(now).len() >= 24);
        rings.record(now, &vitals(255, 10, 9));
        let last = *rings.fine(now).last().unwrap();
        assert_eq!((last.memory, last.clients, last.flash), (10, 9, 50));
        assert!((17..=255).contains(&last.load), "{last:?}");
        assert_eq!(rings.fine(now + 24 * 60), vec![]);
        assert_eq!(rings.bytes().len(), Rings::LENGTH);
    }

    proptest! {
        #[test]
        fn nothing_grows_or_panics_and_only_the_said_bytes_change(
            bytes in prop::collection::vec(any::<u8>(), Rings::LENGTH), minute in any::<u64>(), load in any::<u8>(),
        ) {
            let mut rings = Rings::parse(bytes.clone());
            let changed = rings.record(minute, &vitals(load, 1, 1));
            for (at, byte) in bytes.iter().enumerate() {
                prop_assert!(rings.bytes()[at] == *byte || changed.iter().any(|range| range.contains(&at)));
            }
            prop_assert!(!rings.fine(minute).is_empty());
            let _ = rings.coarse(minute);
        }
    }
}
