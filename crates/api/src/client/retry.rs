//! When a request is sent again. Every change bears an idempotency key, so that sending it twice does it once.

use std::time::Duration;

/// How often a request is sent at most.
const ATTEMPTS: u32 = 6;
/// The first wait where the server named none; each next one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Why a request got no answer of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server says when the same request may succeed.
    Later(Duration),
    /// The connection broke.
    Broken,
    /// Nobody listens.
    Unreachable,
    /// Sending it again would change nothing.
    Final,
}

/// The attempts of one request so far.
#[derive(Debug, Default)]
pub struct Retry {
    failed: u32,
}

impl Retry {
    /// How long to wait before the next attempt; `None` gives up. A server that was never there is not waited for; one
    /// that was there a moment ago may be starting again.
    pub fn after(&mut self, failure: Failure) -> Option<Duration> {
        let first = self.failed == 0;
        self.failed += 1;
        if self.failed >= ATTEMPTS {
            return None;
        }
        match failure {
            Failure::Later(wait) if wait <= LONGEST_WAIT => Some(wait),
            Failure::Unreachable if first => None,
            Failure::Broken | Failure::Unreachable => Some(FIRST_WAIT * 2_u32.pow(self.failed - 1)),
            Failure::Later(_) | Failure::Final => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_starts_again_is_waited_for() {
        let mut retry = Retry::default();
        let mut failures = vec![Failure::Broken];
        failures.resize(6, Failure::Unreachable);
        let waits: Vec<Option<u128>> =
            failures.into_iter().map(|failure| retry.after(failure).map(|wait| wait.as_millis())).collect();
        assert_eq!(waits, [Some(200), Some(400), Some(800), Some(1600), Some(3200), None]);
    }

    #[test]
    fn one_that_was_never_there_is_not() {
        assert_eq!(Retry::default().after(Failure::Unreachable), None);
        assert_eq!(Retry::default().after(Failure::Final), None);
    }

    #[test]
    fn the_server_says_when() {
        let later = |seconds| Retry::default().after(Failure::Later(Duration::from_secs(seconds)));
        assert_eq!(later(7), Some(Duration::from_secs(7)));
        assert_eq!(later(3600), None);
    }
}
