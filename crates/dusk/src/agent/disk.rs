//! The files that the node's writes go to.

use std::io;

use fleet::node::Flash;

use crate::port::Disk;
use crate::store::Frames;

/// Both of them.
pub struct Files {
    /// The voter's; a node that does not vote has none.
    pub journal: Option<Frames>,
    /// The device's.
    pub replica: Frames,
}

impl Disk for Files {
    fn append(&mut self, file: Flash, record: &[u8]) -> io::Result<()> {
        let frames = match file {
            Flash::Journal => self.journal.as_mut().ok_or_else(|| io::Error::other("there is no journal"))?,
            Flash::Replica => &mut self.replica,
        };
        frames.append(&[record.to_vec()]).map_err(io::Error::other)
    }
}
