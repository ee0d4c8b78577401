//! A log as a file: a sequence of CBOR items (RFC 8742), for a second implementation to check and for a backup.

use crate::cbor::{self, BytesError, Cbor, Reader, Writer};
use crate::change::{Content, LONGEST_CONTENT};
use crate::checkpoint::Checkpoint;
use crate::log::Record;
use crate::signed::Signed;

/// The longest item.
pub const LONGEST_ITEM: usize = LONGEST_CONTENT + 256;

/// One item of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// 0: the genesis; the first item, and only that.
    Genesis(Signed),
    /// 1: the next record of the log.
    Record(Record),
    /// 2: a checkpoint of what stands before it.
    Checkpoint(Checkpoint),
    /// 3: a section's content, anywhere after the change that names it.
    Content(Content),
}

impl Cbor for Item {
    fn write(&self, out: &mut Writer) {
        out.array(2);
        match self {
            Self::Genesis(signed) => {
                0_u8.write(out);
                signed.write(out);
            }
            Self::Record(record) => {
                1_u8.write(out);
                record.write(out);
            }
            Self::Checkpoint(checkpoint) => {
                2_u8.write(out);
                checkpoint.write(out);
            }
            Self::Content(content) => {
                3_u8.write(out);
                content.write(out);
            }
        }
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
        input.array_of(2, "an item (an array of 2)")?;
        let error = input.malformed("a kind of item (0 genesis, 1 record, 2 checkpoint, 3 content)");
        match u8::read(input)? {
            0 => Ok(Self::Genesis(Cbor::read(input)?)),
            1 => Ok(Self::Record(Cbor::read(input)?)),
            2 => Ok(Self::Checkpoint(Cbor::read(input)?)),
            3 => Ok(Self::Content(Cbor::read(input)?)),
            _ => Err(error),
        }
    }
}

impl Item {
    /// The canonical form.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_bytes(self)
    }

    /// Reads the canonical form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BytesError> {
        cbor::from_bytes(bytes, LONGEST_ITEM)
    }
}

/// Reads a file's items one after the other; it ends with the first that is not one.
pub fn read(bytes: &[u8]) -> impl Iterator<Item = Result<Item, BytesError>> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest.filter(|bytes| !bytes.is_empty())?;
        let read = cbor::first_bytes(bytes, LONGEST_ITEM);
        rest = read.as_ref().ok().map(|(_, length)| &bytes[*length..]);
        Some(read.map(|(item, _)| item))
    })
}
