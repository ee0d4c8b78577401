//! How slowly bytes may come: a sender that gives some now and then must not hold its place for ever.

use std::time::Duration;

use tokio::time::Instant;

/// In every stretch of this length at least so many bytes must come.
pub const STRETCH: Duration = Duration::from_secs(60);
const LEAST: u64 = 64 << 10;

/// The pace of one transfer.
pub struct Pace {
    counted: u64,
    deadline: Instant,
}

impl Pace {
    /// The transfer begins.
    pub fn start(now: Instant) -> Self {
        Self { counted: 0, deadline: now + STRETCH }
    }

    /// When it has been too slow.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Bytes have come.
    pub fn passed(&mut self, bytes: usize, now: Instant) {
        self.counted += bytes as u64;
        if self.counted >= LEAST {
            *self = Self::start(now);
        }
    }

    /// What whoever is too slow is told.
    pub fn complaint() -> String {
        format!("less than {} KiB came in {} s", LEAST >> 10, STRETCH.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_do_not_buy_time_and_a_stream_does() {
        let start = Instant::now();
        let second = |n| start + Duration::from_secs(n);
        let mut pace = Pace::start(start);
        for n in 1..60 {
            pace.passed(1, second(n));
        }
        assert_eq!(pace.deadline(), second(60));
        pace.passed(64 << 10, second(59));
        assert_eq!(pace.deadline(), second(119));
        pace.passed(40 << 10, second(80));
        assert_eq!(pace.deadline(), second(119));
        pace.passed(24 << 10, second(90));
        assert_eq!(pace.deadline(), second(150));
    }
}
