//! How long to wait before trying again.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// Longest between two tries to reach the core: one that is back is not to wait for its agents, and a try costs little.
const LONGEST_TO_CORE: Duration = Duration::from_secs(10);

/// A random number from 0 to 1 that spreads those who try again at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Jitter(f64);

impl Jitter {
    /// Takes the number's place in its range from 32 random bits.
    pub fn from_bits(bits: u32) -> Self {
        Self(f64::from(bits) / f64::from(u32::MAX))
    }

    /// The number.
    pub fn part(self) -> f64 {
        self.0
    }

    /// A fresh one from the system's randomness; the middle where there is none.
    pub fn draw() -> Self {
        Self::from_bits(getrandom::u32().unwrap_or(u32::MAX / 2))
    }

    /// The number itself.
    pub fn share(self) -> f64 {
        self.0
    }
}

/// The wait after `failures` failures in a row: a second, then twice as long each time up to a minute, of which a half
/// is left to chance.
pub fn backoff(failures: u32, jitter: Jitter) -> Duration {
    up_to(LONGEST, failures, jitter)
}

/// The same for the way to the core, where the wait grows to ten seconds and no further.
pub fn backoff_to_core(failures: u32, jitter: Jitter) -> Duration {
    up_to(LONGEST_TO_CORE, failures, jitter)
}

fn up_to(longest: Duration, failures: u32, jitter: Jitter) -> Duration {
    let doublings = failures.saturating_sub(1).min(6);
    let whole = (FIRST * 2_u32.pow(doublings)).min(longest);
    whole.mul_f64(0.5 + jitter.0 / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_are_spread() {
        let (low, high) = (Jitter::from_bits(0), Jitter::from_bits(u32::MAX));
        assert_eq!(backoff(1, high), Duration::from_secs(1));
        assert_eq!(backoff(1, low), Duration::from_millis(500));
        assert_eq!(backoff(4, high), Duration::from_secs(8));
        assert_eq!(backoff(7, high), Duration::from_secs(60));
        assert_eq!(backoff(u32::MAX, low), Duration::from_secs(30));
    }

    #[test]
    fn a_core_that_is_back_waits_ten_seconds_at_most() {
        let high = Jitter::from_bits(u32::MAX);
        let waits: Vec<u64> = (1..=6).map(|failures| backoff_to_core(failures, high).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    }
}
