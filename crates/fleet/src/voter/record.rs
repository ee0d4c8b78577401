//! What voters order: bytes that somebody signed. What they say is no matter of consensus.

use std::sync::Arc;

use omnipaxos::storage::{Entry, NoSnapshot};

/// A signed change or authority entry, as it was signed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record(pub Arc<[u8]>);

impl Entry for Record {
    type Snapshot = NoSnapshot;
}

impl From<Vec<u8>> for Record {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "a record of {} bytes", self.0.len())
    }
}
