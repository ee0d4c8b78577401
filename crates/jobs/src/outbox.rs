//! What is to be said to the core: the newest report and the newest observation of each object.
//!
//! Nothing on the wire says that a report arrived. What was said last before a connection broke is therefore said again
//! over the next one; a report names its version, so hearing it twice does no harm.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use crate::{Object, Report, convert, proto};

/// How much of what was said is remembered, in messages: more than a connection holds under way.
const RECENT: usize = 256;

/// Reports and observations on their way to the core.
#[derive(Default)]
pub struct Outbox {
    reports: Lane<Report>,
    observations: Lane<Value>,
}

impl Outbox {
    /// Takes a report, in the place of an earlier one of the same object.
    pub fn report(&mut self, report: Report) {
        self.reports.put(report.object, report);
    }

    /// Takes an observation, in the place of an earlier one of the same object.
    pub fn observe(&mut self, object: Object, status: Value) {
        self.observations.put(object, status);
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.reports.unsent.is_empty() && self.observations.unsent.is_empty()
    }

    /// The next thing to say; reports come first.
    pub fn pop(&mut self) -> Option<proto::FromAgent> {
        let body = match self.reports.pop() {
            Some((_, report)) => proto::from_agent::Body::Report(report.into()),
            None => {
                let (object, status) = self.observations.pop()?;
                proto::from_agent::Body::Observation(convert::observation(object, &status))
            }
        };
        Some(proto::FromAgent { body: Some(body) })
    }

    /// Takes note that the connection broke: what was said last may not have been heard.
    pub fn connection_lost(&mut self) {
        self.reports.take_back();
        self.observations.take_back();
    }
}

struct Lane<T> {
    unsent: BTreeMap<Object, T>,
    sent: VecDeque<(Object, T)>,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self { unsent: BTreeMap::new(), sent: VecDeque::new() }
    }
}

impl<T: Clone> Lane<T> {
    fn put(&mut self, object: Object, item: T) {
        self.unsent.insert(object, item);
    }

    fn pop(&mut self) -> Option<(Object, T)> {
        let (object, item) = self.unsent.pop_first()?;
        if self.sent.len() == RECENT {
            self.sent.pop_front();
        }
        self.sent.push_back((object, item.clone()));
        Some((object, item))
    }

    fn take_back(&mut self) {
        // From the newest on, so that an older item never takes a newer one's place.
        while let Some((object, item)) = self.sent.pop_back() {
            self.unsent.entry(object).or_insert(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use types::NetworkId;

    use super::*;
    use crate::{Job, Want};

    fn report(number: u64, revision: u64) -> Report {
        let version = format!("1:{revision}").parse().unwrap();
        let object = Object::Network(NetworkId::from_bits(number));
        Report::applied(&Job { object, version, requires: Vec::new(), want: Want::Gone })
    }

    fn said(outbox: &mut Outbox) -> Vec<u64> {
        std::iter::from_fn(|| outbox.pop())
            .map(|message| match message.body.unwrap() {
                proto::from_agent::Body::Report(report) => report.revision,
                proto::from_agent::Body::Observation(_) => 0,
                proto::from_agent::Body::Hello(_) => panic!("a hello is not for the outbox"),
            })
            .collect()
    }

    #[test]
    fn the_newest_of_an_object_is_said_and_reports_come_first() {
        let mut outbox = Outbox::default();
        outbox.observe(report(1, 1).object, Value::Null);
        outbox.report(report(1, 1));
        outbox.report(report(1, 2));
        outbox.report(report(2, 3));
        assert_eq!(said(&mut outbox), [2, 3, 0]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn what_was_said_last_is_said_again_after_the_connection_broke() {
        let mut outbox = Outbox::default();
        for revision in [1, 2] {
            outbox.report(report(1, revision));
            said(&mut outbox);
        }
        outbox.report(report(2, 7));
        said(&mut outbox);
        outbox.report(report(2, 8));
        outbox.connection_lost();
        assert_eq!(said(&mut outbox), [2, 8]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut outbox = Outbox::default();
        for number in 0..1_000 {
            outbox.report(report(number, number));
            said(&mut outbox);
        }
        outbox.connection_lost();
        assert_eq!(said(&mut outbox).len(), RECENT);
    }
}
