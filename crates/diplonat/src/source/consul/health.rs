//! The gate of health: a service goes down when it has been critical for a while, and up when it has been well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a service is critical before it is taken down.
const UNTIL_DOWN: Duration = Duration::from_secs(30);
/// How long it is well before it is taken up again.
const UNTIL_UP: Duration = Duration::from_secs(10);

/// What is known of the services' health.
#[derive(Debug, Default)]
pub struct Health {
    services: BTreeMap<String, Standing>,
}

#[derive(Debug)]
struct Standing {
    is_down: bool,
    is_critical: bool,
    since: Duration,
}

impl Health {
    /// Takes what is critical at `now`; gives what is down, and the time until that changes if nothing else does. A
    /// service that is seen for the first time counts at once.
    pub fn judge<'s>(
        &mut self,
        services: impl Iterator<Item = &'s String>,
        critical: &BTreeSet<String>,
        now: Duration,
    ) -> (BTreeSet<String>, Option<Duration>) {
        let mut before = std::mem::take(&mut self.services);
        let (mut down, mut next) = (BTreeSet::new(), None::<Duration>);
        for service in services {
            let is_critical = critical.contains(service);
            let first = Standing { is_down: is_critical, is_critical, since: now };
            let mut standing = before.remove(service).unwrap_or(first);
            if standing.is_critical != is_critical {
                (standing.is_critical, standing.since) = (is_critical, now);
            }
            if standing.is_critical != standing.is_down {
                let patience = if is_critical { UNTIL_DOWN } else { UNTIL_UP };
                match (standing.since + patience).checked_sub(now).filter(|left| !left.is_zero()) {
                    Some(left) => next = Some(next.map_or(left, |next| next.min(left))),
                    None => standing.is_down = is_critical,
                }
            }
            if standing.is_down {
                down.insert(service.clone());
            }
            self.services.insert(service.clone(), standing);
        }
        (down, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_flaps_stays_as_it_is() {
        let mut health = Health::default();
        let (web, none, seconds) = ("web".to_owned(), BTreeSet::new(), Duration::from_secs);
        let critical: BTreeSet<_> = [web.clone()].into();
        let mut judge = |critical: &BTreeSet<String>, at| health.judge([&web].into_iter(), critical, seconds(at));
        assert_eq!(judge(&none, 0), (none.clone(), None));
        assert_eq!(judge(&critical, 10), (none.clone(), Some(seconds(30))));
        assert_eq!(judge(&none, 39), (none.clone(), None));
        assert_eq!(judge(&critical, 40), (none.clone(), Some(seconds(30))));
        assert_eq!(judge(&critical, 70), (critical.clone(), None));
        assert_eq!(judge(&none, 71), (critical.clone(), Some(seconds(10))));
        assert_eq!(judge(&none, 81), (none.clone(), None));
    }

    #[test]
    fn the_first_sight_counts_at_once() {
        let web = "web".to_owned();
        let (down, next) = Health::default().judge([&web].into_iter(), &[web.clone()].into(), Duration::ZERO);
        assert_eq!((down.len(), next), (1, None));
    }
}
