//! Who was refused, said once: somebody who knocks every second must not fill the log.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use time::OffsetDateTime;

/// The least time between two lines about the same.
const SILENCE: Duration = Duration::from_secs(60);
/// Complaints that are remembered; with more of them the oldest may be said again early.
const MEMORY: usize = 1024;

/// What was complained about, and when.
#[derive(Default)]
pub struct Complaints {
    said: BTreeMap<(IpAddr, &'static str), Complaint>,
}

struct Complaint {
    at: OffsetDateTime,
    unsaid: u64,
}

impl Complaints {
    /// Whether a complaint of this kind about `address` is worth a line; if so, how often it was kept back since the
    /// last one.
    pub fn worth_saying(&mut self, address: IpAddr, kind: &'static str, now: OffsetDateTime) -> Option<u64> {
        if let Some(complaint) = self.said.get_mut(&(address, kind)) {
            // A clock that was set back says it early rather than never.
            let since = now - complaint.at;
            if since < SILENCE && !since.is_negative() {
                complaint.unsaid += 1;
                return None;
            }
            let unsaid = complaint.unsaid;
            *complaint = Complaint { at: now, unsaid: 0 };
            return Some(unsaid);
        }
        if self.said.len() >= MEMORY {
            let oldest = self.said.iter().min_by_key(|(_, complaint)| complaint.at).map(|(key, _)| *key);
            oldest.and_then(|key| self.said.remove(&key));
        }
        self.said.insert((address, kind), Complaint { at: now, unsaid: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn the_same_is_said_once_a_minute() {
        let (mut complaints, start) = (Complaints::default(), OffsetDateTime::UNIX_EPOCH);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(complaints.worth_saying(address(1), "expired", at(0)), Some(0));
        assert_eq!(complaints.worth_saying(address(1), "expired", at(1)), None);
        assert_eq!(complaints.worth_saying(address(1), "expired", at(59)), None);
        assert_eq!(complaints.worth_saying(address(1), "revoked", at(2)), Some(0));
        assert_eq!(complaints.worth_saying(address(2), "expired", at(2)), Some(0));
        assert_eq!(complaints.worth_saying(address(1), "expired", at(60)), Some(2));
        assert_eq!(complaints.worth_saying(address(1), "expired", at(61)), None);
        assert_eq!(complaints.worth_saying(address(1), "expired", at(10)), Some(1), "the clock was set back");
    }

    #[test]
    fn memory_is_bounded() {
        let mut complaints = Complaints::default();
        for number in 0..5_000 {
            let now = OffsetDateTime::UNIX_EPOCH + Duration::from_millis(number.into());
            assert_eq!(complaints.worth_saying(address(number), "expired", now), Some(0));
        }
        assert_eq!(complaints.said.len(), MEMORY);
    }
}
