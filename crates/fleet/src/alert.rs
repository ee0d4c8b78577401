//! What an operator is told of: conditions of devices that begin and end.
//!
//! It goes by what is, not by what happens: a condition that comes and goes is told of at most so often, and how it ended
//! up is told in the end.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use types::ParseError;

use crate::{DeviceId, DeviceName, Moment};

/// What can be the matter with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// It is not heard of.
    Offline,
    /// It took its last change back.
    Reverted,
    /// It cannot take a section of its configuration.
    Rejected,
    /// Somebody else changed what the fleet manages.
    Drift,
    /// There are two of it.
    Clone,
    /// It holds proof of a fork of the fleet's history.
    Fork,
    /// Its flash is full.
    Full,
}

/// All of them, by the words for them.
pub const CONDITIONS: &[(Condition, &str)] = &[
    (Condition::Offline, "offline"),
    (Condition::Reverted, "reverted"),
    (Condition::Rejected, "rejected"),
    (Condition::Drift, "drift"),
    (Condition::Clone, "clone"),
    (Condition::Fork, "fork"),
    (Condition::Full, "full"),
];

impl fmt::Display for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = CONDITIONS.iter().find(|(condition, _)| condition == self).map_or("", |(_, word)| word);
        out.write_str(word)
    }
}

impl FromStr for Condition {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = CONDITIONS.iter().find(|(_, word)| *word == text).map(|(condition, _)| *condition);
        found.ok_or_else(|| ParseError::new(text, "offline, reverted, rejected, drift, clone, fork or full"))
    }
}

/// A device as it is seen, with what is the matter with it, in words.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Its record.
    pub id: DeviceId,
    /// What people call it.
    pub name: DeviceName,
    /// What is the matter.
    pub matters: BTreeMap<Condition, String>,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Of which device.
    pub id: DeviceId,
    /// What people call it.
    pub name: DeviceName,
    /// What of.
    pub condition: Condition,
    /// Whether it is over.
    pub is_over: bool,
    /// The reason, where there is one.
    pub reason: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, condition, is_over, reason, .. } = self;
        write!(out, "{name}: {}", if *is_over { "no longer " } else { "" })?;
        write!(out, "{condition}")?;
        if reason.is_empty() { Ok(()) } else { write!(out, ": {reason}") }
    }
}

/// What was told last.
#[derive(Clone, Copy)]
struct Told {
    holds: bool,
    at: Moment,
}

/// Remembers what was told.
#[derive(Default)]
pub struct Watch {
    told: BTreeMap<(DeviceId, Condition), Told>,
}

impl Watch {
    /// What there is to tell, if one thing of one device is told at most once in `pause`.
    pub fn look(&mut self, sights: &[Sight], pause: Duration, now: Moment) -> Vec<Notice> {
        let mut notices = Vec::new();
        for Sight { id, name, matters } in sights {
            for (condition, _) in CONDITIONS {
                let (key, reason) = ((*id, *condition), matters.get(condition));
                let told = self.told.get(&key).copied();
                let is_news = told.is_some_and(|told| told.holds) != reason.is_some();
                let may = told.is_none_or(|told| now.since(told.at) >= pause);
                if is_news && may {
                    self.told.insert(key, Told { holds: reason.is_some(), at: now });
                    notices.push(Notice {
                        id: *id,
                        name: name.clone(),
                        condition: *condition,
                        is_over: reason.is_none(),
                        reason: reason.cloned().unwrap_or_default(),
                    });
                } else if !is_news && told.is_some_and(|told| !told.holds) && may {
                    // Long over, and told: nothing has to be remembered.
                    self.told.remove(&key);
                }
            }
        }
        notices
    }

    /// Forgets devices that are members no more.
    pub fn retain(&mut self, is_member: impl Fn(&DeviceId) -> bool) {
        self.told.retain(|(id, _), _| is_member(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(matters: &[(Condition, &str)]) -> Vec<Sight> {
        let matters = matters.iter().map(|(condition, text)| (*condition, (*text).to_owned())).collect();
        let id = "00112233445566778899".parse().unwrap();
        vec![Sight { id, name: "attic".parse().unwrap(), matters }]
    }

    #[test]
    fn what_flaps_is_told_seldom_and_how_it_ended_is_told() {
        let (mut watch, pause) = (Watch::default(), Duration::from_secs(600));
        let mut look = |matters: &[_], seconds: u64| {
            let notices = watch.look(&sight(matters), pause, Moment::from_millis(seconds * 1000));
            notices.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let gone = [(Condition::Offline, "not heard of for 6 minutes")];
        assert_eq!(look(&[], 0), Vec::<String>::new());
        assert_eq!(look(&gone, 1), ["attic: offline: not heard of for 6 minutes"]);
        for second in 2..600 {
            let matters: &[_] = if second % 2 == 0 { &[] } else { &gone };
            assert_eq!(look(matters, second), Vec::<String>::new());
        }
        assert_eq!(look(&[], 601), ["attic: no longer offline"]);
        assert_eq!(look(&gone, 700), Vec::<String>::new());
        // Another matter does not wait for that one.
        assert_eq!(look(&[gone[0], (Condition::Drift, "lan")], 701), ["attic: drift: lan"]);
        assert_eq!(look(&gone, 1300), ["attic: offline: not heard of for 6 minutes"]);
    }

    #[test]
    fn every_condition_has_a_word() {
        for (condition, word) in CONDITIONS {
            assert_eq!(word.parse(), Ok(*condition));
            assert_eq!(&condition.to_string(), word);
        }
        assert!("ofline".parse::<Condition>().unwrap_err().to_string().contains("offline"));
    }
}
