//! Generations of a spec, and the (epoch, revision) order of desired states.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

macro_rules! counters {
    ($($name:ident $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after this.
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }
    )*};
}

counters! {
    Generation "How often a resource's spec was set; 1 when it is made. The ETag of the resource.";
    Epoch "How often the database was restored from a backup; 1 at first.";
    Revision "How often a job's desired state was rendered; counts from 1 per (target, object).";
}

/// Where a desired state stands in time. A later epoch wins over any revision of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Version {
    /// The database's epoch when it was rendered.
    pub epoch: Epoch,
    /// The job row's revision.
    pub revision: Revision,
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.epoch, self.revision)
    }
}

impl FromStr for Version {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parsed =
            text.split_once(':').and_then(|(epoch, revision)| Some((epoch.parse().ok()?, revision.parse().ok()?)));
        let (epoch, revision) = parsed.ok_or_else(|| ParseError::new(text, "a version (epoch:revision)"))?;
        Ok(Self { epoch: Epoch(epoch), revision: Revision(revision) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_outranks_the_revision() {
        let old: Version = "1:900".parse().unwrap();
        let restored: Version = "2:1".parse().unwrap();
        assert!(restored > old);
        assert_eq!(restored.to_string(), "2:1");
    }
}
