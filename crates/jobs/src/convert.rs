//! Between the wire form and the types of this crate, both ways. The agent and the core use the same functions.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use types::{Epoch, Revision, Version};

use crate::greeting::{Hello, Reading, Welcome};
use crate::{EntryReport, Held, Job, Object, Outcome, PROTOCOL, Report, Want, proto};

/// A message that does not say what it must.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct ConvertError {
    /// The field, as in `report.status`.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl ConvertError {
    fn new(field: &'static str, reason: impl Display) -> Self {
        Self { field, reason: reason.to_string() }
    }
}

fn read<T: FromStr<Err: Display>>(field: &'static str, text: &str) -> Result<T, ConvertError> {
    text.parse().map_err(|error| ConvertError::new(field, error))
}

fn version(epoch: u64, revision: u64) -> Version {
    Version { epoch: Epoch(epoch), revision: Revision(revision) }
}

fn unless_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl From<Job> for proto::Job {
    fn from(job: Job) -> Self {
        Self {
            object: job.object.to_string(),
            epoch: job.version.epoch.0,
            revision: job.version.revision.0,
            requires: job.requires,
            want: Some(match job.want {
                Want::Desired(state) => proto::job::Want::Desired(state),
                Want::Gone => proto::job::Want::Gone(proto::Gone {}),
            }),
        }
    }
}

impl TryFrom<proto::Job> for Job {
    type Error = ConvertError;
    fn try_from(job: proto::Job) -> Result<Self, ConvertError> {
        Ok(Self {
            object: read("job.object", &job.object)?,
            version: version(job.epoch, job.revision),
            requires: job.requires,
            want: match job.want {
                Some(proto::job::Want::Desired(state)) => Want::Desired(state),
                Some(proto::job::Want::Gone(proto::Gone {})) => Want::Gone,
                None => return Err(ConvertError::new("job.want", "neither a desired state nor gone")),
            },
        })
    }
}

impl From<Outcome> for proto::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Applied => Self::Applied,
            Outcome::Retrying => Self::Retrying,
            Outcome::Refused => Self::Refused,
        }
    }
}

fn read_outcome(field: &'static str, number: i32) -> Result<Outcome, ConvertError> {
    match proto::Outcome::try_from(number) {
        Ok(proto::Outcome::Applied) => Ok(Outcome::Applied),
        Ok(proto::Outcome::Retrying) => Ok(Outcome::Retrying),
        Ok(proto::Outcome::Refused) => Ok(Outcome::Refused),
        Ok(proto::Outcome::Unspecified) | Err(_) => {
            Err(ConvertError::new(field, format!("{number} is not an outcome (1 applied, 2 retrying, 3 refused)")))
        }
    }
}

impl From<Report> for proto::Report {
    fn from(report: Report) -> Self {
        let entries = report.entries.into_iter().map(|(id, entry)| {
            let outcome = proto::Outcome::from(entry.outcome).into();
            (id.to_string(), proto::EntryReport { outcome, reason: entry.reason.unwrap_or_default() })
        });
        Self {
            object: report.object.to_string(),
            epoch: report.version.epoch.0,
            revision: report.version.revision.0,
            outcome: proto::Outcome::from(report.outcome).into(),
            reason: report.reason.unwrap_or_default(),
            entries: entries.collect(),
            status: report.status.map(|status| status.to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<proto::Report> for Report {
    type Error = ConvertError;
    fn try_from(report: proto::Report) -> Result<Self, ConvertError> {
        let mut entries = BTreeMap::new();
        for (id, entry) in report.entries {
            let outcome = read_outcome("report.entries.outcome", entry.outcome)?;
            let entry = EntryReport { outcome, reason: unless_empty(entry.reason) };
            entries.insert(read("report.entries", &id)?, entry);
        }
        Ok(Self {
            object: read("report.object", &report.object)?,
            version: version(report.epoch, report.revision),
            outcome: read_outcome("report.outcome", report.outcome)?,
            reason: unless_empty(report.reason),
            entries,
            status: unless_empty(report.status).map(|status| read("report.status", &status)).transpose()?,
        })
    }
}

/// The wire form of what was observed of `object`.
pub fn observation(object: Object, status: &serde_json::Value) -> proto::Observation {
    proto::Observation { object: object.to_string(), status: status.to_string() }
}

/// The object and what was observed of it.
pub fn read_observation(observation: &proto::Observation) -> Result<(Object, serde_json::Value), ConvertError> {
    Ok((read("observation.object", &observation.object)?, read("observation.status", &observation.status)?))
}

impl From<Held> for proto::Held {
    fn from(held: Held) -> Self {
        Self { object: held.object.to_string(), epoch: held.version.epoch.0, revision: held.version.revision.0 }
    }
}

impl TryFrom<proto::Held> for Held {
    type Error = ConvertError;
    fn try_from(held: proto::Held) -> Result<Self, ConvertError> {
        Ok(Self { object: read("hello.inventory.object", &held.object)?, version: version(held.epoch, held.revision) })
    }
}

impl From<Hello> for proto::Hello {
    fn from(hello: Hello) -> Self {
        let (reading, unread) = match hello.reading {
            Ok(reading) => (reading, String::new()),
            // A reason without words would say that it was read.
            Err(reason) if reason.is_empty() => (Reading::default(), "no reason was given".to_owned()),
            Err(reason) => (Reading::default(), reason),
        };
        let capacity = serde_json::to_string(&reading.capacity).expect("invariant: numbers and texts are JSON");
        Self {
            protocol: hello.protocol,
            software: hello.software,
            features: hello.features,
            cluster: hello.cluster.map(|cluster| cluster.to_string()).unwrap_or_default(),
            epoch: hello.epoch.0,
            inventory: reading.held.into_iter().map(Into::into).collect(),
            capacity,
            unread,
        }
    }
}

impl TryFrom<proto::Hello> for Hello {
    type Error = ConvertError;
    fn try_from(hello: proto::Hello) -> Result<Self, ConvertError> {
        let reading = match unless_empty(hello.unread) {
            Some(reason) => Err(reason),
            None => Ok(Reading {
                held: hello.inventory.into_iter().map(Held::try_from).collect::<Result<_, _>>()?,
                capacity: match hello.capacity.as_str() {
                    "" => Default::default(),
                    text => serde_json::from_str(text).map_err(|error| ConvertError::new("hello.capacity", error))?,
                },
            }),
        };
        Ok(Self {
            protocol: hello.protocol,
            software: hello.software,
            features: hello.features,
            cluster: unless_empty(hello.cluster).map(|cluster| read("hello.cluster", &cluster)).transpose()?,
            epoch: Epoch(hello.epoch),
            reading,
        })
    }
}

/// The wire form of a greeting in a session of that version of the protocol.
pub fn welcome(welcome: Welcome, protocol: u32) -> proto::Welcome {
    proto::Welcome { cluster: welcome.cluster.to_string(), epoch: welcome.epoch.0, protocol }
}

/// The core's greeting; one in another version of the protocol than ours is refused.
pub fn read_welcome(welcome: &proto::Welcome) -> Result<Welcome, ConvertError> {
    if welcome.protocol != PROTOCOL {
        let reason = format!(
            "the core speaks version {} of the job protocol, this agent version {PROTOCOL}: \
             upgrade the older of the two programs",
            welcome.protocol
        );
        return Err(ConvertError::new("welcome.protocol", reason));
    }
    Ok(Welcome { cluster: read("welcome.cluster", &welcome.cluster)?, epoch: Epoch(welcome.epoch) })
}

#[cfg(test)]
mod tests {
    use types::{ClusterId, InstanceId, NetworkId, PeerId};

    use super::*;
    use crate::observed::Capacity;

    fn network() -> Object {
        Object::Network(NetworkId::from_bits(5))
    }

    #[test]
    fn jobs_cross_the_wire() {
        for want in ["desired", "gone"] {
            let job = Job {
                object: network(),
                version: version(2, 7),
                requires: vec!["vxlan".to_owned()],
                want: if want == "gone" { Want::Gone } else { Want::Desired("{}".to_owned()) },
            };
            let back = Job::try_from(proto::Job::from(job)).unwrap();
            assert_eq!(
                (back.object, back.version, back.requires),
                (network(), version(2, 7), vec!["vxlan".to_owned()])
            );
            assert_eq!(matches!(back.want, Want::Gone), want == "gone");
        }
    }

    #[test]
    fn reports_cross_the_wire() {
        let refused = EntryReport { outcome: Outcome::Refused, reason: Some("no such key".to_owned()) };
        let report = Report {
            object: network(),
            version: version(1, 3),
            outcome: Outcome::Retrying,
            reason: Some("the router is busy".to_owned()),
            entries: BTreeMap::from([(PeerId::from_bits(1).into(), refused)]),
            status: Some(serde_json::json!({"endpoint_host": "192.0.2.1"})),
        };
        assert_eq!(Report::try_from(proto::Report::from(report.clone())).unwrap(), report);
        let bare = Report { reason: None, entries: BTreeMap::new(), status: None, ..report };
        assert_eq!(Report::try_from(proto::Report::from(bare.clone())).unwrap(), bare);
    }

    #[test]
    fn greetings_cross_the_wire() {
        let hello = Hello {
            protocol: 1,
            software: "0.1.0".to_owned(),
            features: vec!["a".to_owned()],
            cluster: None,
            epoch: Epoch(4),
            reading: Ok(Reading {
                held: vec![Held { object: Object::Instance(InstanceId::from_bits(1)), version: version(4, 2) }],
                capacity: Capacity { vcpus: Some(4), ..Capacity::default() },
            }),
        };
        assert_eq!(Hello::try_from(proto::Hello::from(hello.clone())).unwrap(), hello);
        for reason in ["the router is off", ""] {
            let blind = Hello { reading: Err(reason.to_owned()), ..hello.clone() };
            let back = Hello::try_from(proto::Hello::from(blind)).unwrap();
            assert!(back.reading.is_err_and(|said| said.contains(reason)), "an empty inventory would be a lie");
        }
        let known = Welcome { cluster: ClusterId::from_bits(3), epoch: Epoch(4) };
        assert_eq!(read_welcome(&welcome(known, PROTOCOL)).unwrap(), known);
        for unknown in [0, 1, PROTOCOL + 1] {
            let error = read_welcome(&welcome(known, unknown)).unwrap_err().to_string();
            assert!(error.contains(&format!("the core speaks version {unknown} ")), "{error}");
        }
        let status = serde_json::json!({"power": "running"});
        assert_eq!(read_observation(&observation(network(), &status)).unwrap(), (network(), status));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field() {
        let job = proto::Job { object: "network/x".to_owned(), ..proto::Job::default() };
        assert_eq!(Job::try_from(job).err().unwrap().field, "job.object");
        let job = proto::Job { object: network().to_string(), ..proto::Job::default() };
        assert_eq!(Job::try_from(job).err().unwrap().to_string(), "job.want: neither a desired state nor gone");
        let report = proto::Report { object: network().to_string(), outcome: 9, ..proto::Report::default() };
        assert_eq!(Report::try_from(report).unwrap_err().field, "report.outcome");
        let report = proto::Report {
            object: network().to_string(),
            outcome: 1,
            status: "{".to_owned(),
            ..proto::Report::default()
        };
        assert_eq!(Report::try_from(report).unwrap_err().field, "report.status");
    }
}
