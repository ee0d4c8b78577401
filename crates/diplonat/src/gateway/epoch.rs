//! A gateway's age as it tells it: one that is younger than it must be has been started again.

/// What a gateway told of its age, and when.
#[derive(Debug, Default)]
pub struct Epoch {
    first: Option<Told>,
    last: Option<Told>,
}

/// An age in seconds, and the time of our own clock when it was told.
#[derive(Clone, Copy, Debug)]
struct Told {
    age: u32,
    at: u64,
}

impl Epoch {
    /// Takes an age that was told at `now`, and says whether the gateway has lost its state in between.
    pub fn has_restarted(&mut self, age: u32, now: u64) -> bool {
        let told = Told { age, at: now };
        let last = self.last.replace(told);
        let first = *self.first.get_or_insert(told);
        // Since the first as well: a gateway that was started anew when it was young is younger than the other by little.
        let has_restarted = last.is_some_and(|last| told.is_no_sequel_of(last)) || told.is_no_sequel_of(first);
        if has_restarted {
            self.first = Some(told);
        }
        has_restarted
    }
}

impl Told {
    /// Whether the clocks part by more than they may (RFC 6887, 8.5).
    fn is_no_sequel_of(self, before: Self) -> bool {
        if self.age + 1 < before.age {
            return true;
        }
        let (theirs, ours) = (u64::from(self.age.saturating_sub(before.age)), self.at.saturating_sub(before.at));
        theirs + 2 < ours - ours / 16 || ours + 2 < theirs - theirs / 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_that_falls_or_lags_is_a_restart() {
        let mut epoch = Epoch::default();
        assert!(!epoch.has_restarted(1_000, 50));
        assert!(!epoch.has_restarted(1_100, 150));
        assert!(!epoch.has_restarted(1_194, 250), "a sixteenth slow");
        assert!(epoch.has_restarted(3, 253), "it fell");
        assert!(!epoch.has_restarted(13, 263));
        assert!(epoch.has_restarted(14, 363), "a hundred seconds are missing");
        assert!(!epoch.has_restarted(14, 363), "asked twice in a second");
        let mut young = Epoch::default();
        assert!(!young.has_restarted(1, 100));
        assert!(young.has_restarted(2, 105), "it was started again three seconds later");
    }
}
