//! Which counters of a session were seen, so that no datagram counts twice however late it comes.

/// How far a datagram may fall behind the newest.
const WIDTH: u32 = 128;

/// The newest counter that was accepted, and which of the 128 up to it were.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    newest: u32,
    /// Bit 0 stands for `newest`.
    seen: u128,
}

impl Window {
    /// Whether this counter may still come. Ask before opening the datagram, [`Window::take`] afterwards: only what is
    /// authentic moves the window.
    pub fn admits(&self, counter: u32) -> bool {
        match self.newest.checked_sub(counter) {
            None => true,
            Some(behind) if behind < WIDTH => self.seen >> behind & 1 == 0,
            Some(_) => false,
        }
    }

    /// Notes an authentic datagram, and says whether it is the newest.
    pub fn take(&mut self, counter: u32) -> bool {
        let newer = counter > self.newest || self.seen == 0;
        if newer {
            let ahead = counter - self.newest;
            self.seen = self.seen.checked_shl(ahead).unwrap_or_default() | 1;
            self.newest = counter;
        } else {
            let behind = self.newest - counter;
            self.seen |= 1_u128.checked_shl(behind).unwrap_or_default();
        }
        newer
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_counter_counts_once() {
        let mut window = Window::default();
        for counter in [0, 1, 5, 3] {
            assert!(window.admits(counter));
            window.take(counter);
            assert!(!window.admits(counter));
        }
        assert!(window.admits(2) && window.admits(4));
    }

    #[test]
    fn what_is_too_late_is_refused() {
        let mut window = Window::default();
        window.take(WIDTH + 10);
        assert!(window.admits(11) && !window.admits(10));
        window.take(u32::MAX);
        assert!(!window.admits(WIDTH + 10) && !window.admits(u32::MAX) && window.admits(u32::MAX - 127));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set(counters in prop::collection::vec(0_u32..400, 0..300)) {
            let (mut window, mut seen, mut newest) = (Window::default(), BTreeSet::new(), 0);
            for counter in counters {
                let admitted = !seen.contains(&counter) && (newest < WIDTH || counter > newest - WIDTH);
                prop_assert_eq!(window.admits(counter), admitted);
                if admitted {
                    window.take(counter);
                    seen.insert(counter);
                    newest = newest.max(counter);
                }
            }
        }
    }
}
