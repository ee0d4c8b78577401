//! How often Consul is asked at most: some questions at once, then one a second. An answer is no proof of a change, and
//! one to a blocking query may come at once, again and again.

use std::time::Duration;

use tokio::time::Instant;

/// Questions that may be asked at once.
const BURST: u32 = 10;
/// The time after which one more may be asked.
const REFILL: Duration = Duration::from_secs(1);

/// A bucket of leave to ask.
#[derive(Debug, Default)]
pub struct Pace {
    /// When the bucket is full again.
    full: Option<Instant>,
}

impl Pace {
    /// How long the next question has to wait.
    pub fn wait(&mut self, now: Instant) -> Duration {
        let full = self.full.map_or(now, |full| full.max(now)) + REFILL;
        self.full = Some(full);
        (full - now).saturating_sub(REFILL * BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_it_is_one_a_second() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for _ in 0..BURST {
            assert_eq!(pace.wait(start), Duration::ZERO);
        }
        assert_eq!(pace.wait(start), REFILL);
        assert_eq!(pace.wait(start + REFILL * 30), Duration::ZERO);
    }
}
