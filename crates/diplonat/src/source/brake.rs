//! The brake: a source that drops much at once has to say so twice.

use crate::exposure::Wanted;

/// Fewer ports than these may all go at once.
const SMALL: usize = 4;

/// Holds what a source last said against what it says next.
#[derive(Debug, Default)]
pub struct Brake {
    held: Option<Wanted>,
    doubted: Option<Wanted>,
}

/// What becomes of a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Take,
    /// It drops more than half of the ports: another reading has to agree.
    Doubt {
        /// Ports that it drops.
        dropped: usize,
        /// Ports that there were.
        of: usize,
    },
}

impl Brake {
    /// Judges a reading. One that is doubted counts as soon as the next says the same.
    pub fn judge(&mut self, read: &Wanted) -> Verdict {
        let Some(held) = &self.held else { return self.take(read) };
        let of = held.ports.len();
        let dropped = held.ports.keys().filter(|port| !read.ports.contains_key(port)).count();
        if of < SMALL || dropped * 2 <= of || self.doubted.as_ref() == Some(read) {
            return self.take(read);
        }
        self.doubted = Some(read.clone());
        Verdict::Doubt { dropped, of }
    }

    fn take(&mut self, read: &Wanted) -> Verdict {
        self.held = Some(read.clone());
        self.doubted = None;
        Verdict::Take
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag;

    fn wanted(ports: &[u16]) -> Wanted {
        let tags: Vec<_> = ports.iter().map(|port| format!("(diplonat (tcp_port {port}))")).collect();
        Wanted::of([tag::service("web", tags.iter().map(String::as_str))], &[].into())
    }

    #[test]
    fn more_than_half_of_four_goes_only_after_a_second_agreeing_reading() {
        let mut brake = Brake::default();
        assert_eq!(brake.judge(&wanted(&[1, 2, 3, 4])), Verdict::Take);
        assert_eq!(brake.judge(&wanted(&[1])), Verdict::Doubt { dropped: 3, of: 4 });
        assert_eq!(brake.judge(&wanted(&[2])), Verdict::Doubt { dropped: 3, of: 4 }, "it says something else");
        assert_eq!(brake.judge(&wanted(&[2])), Verdict::Take);
    }

    #[test]
    fn a_reading_that_is_whole_again_clears_the_doubt() {
        let mut brake = Brake::default();
        brake.judge(&wanted(&[1, 2, 3, 4]));
        brake.judge(&wanted(&[]));
        assert_eq!(brake.judge(&wanted(&[1, 2, 3, 4])), Verdict::Take);
        assert_eq!(brake.judge(&wanted(&[])), Verdict::Doubt { dropped: 4, of: 4 });
    }

    #[test]
    fn half_and_the_few_go_at_once() {
        let mut brake = Brake::default();
        brake.judge(&wanted(&[1, 2, 3, 4]));
        assert_eq!(brake.judge(&wanted(&[1, 2])), Verdict::Take);
        assert_eq!(brake.judge(&wanted(&[])), Verdict::Take);
    }
}
