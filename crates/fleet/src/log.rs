//! The log: what the voters decided, in order, and what follows from it.

use crate::authority::{Adopted, Authority, Entry, Refusal, Statement};
use crate::cbor::{self, BytesError, Cbor, Reader, Writer};
use crate::change::{Change, ChangeRefusal};
use crate::checkpoint::Summary;
use crate::hash::LogIndex;
use crate::history::{self, History};
use crate::map::{Leaf, SectionMap};
use crate::signed::{LONGEST_SIGNED, Signed};

/// One thing that was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An entry of the authority chain.
    Authority(Signed),
    /// A change of a section.
    Change(Signed),
}

impl Record {
    /// The form that the history tree goes by.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_bytes(self)
    }

    /// Reads that form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BytesError> {
        cbor::from_bytes(bytes, LONGEST_SIGNED + 8)
    }
}

impl Cbor for Record {
    fn write(&self, out: &mut Writer) {
        let (kind, signed) = match self {
            Self::Authority(signed) => (0_u8, signed),
            Self::Change(signed) => (1, signed),
        };
        out.array(3);
        kind.write(out);
        out.bytes(&signed.body);
        out.bytes(&signed.signature);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
        input.array_of(3, "a record (an array of 3)")?;
        let error = input.malformed("a kind of record (0 authority, 1 change)");
        let kind = u8::read(input)?;
        let signed = Signed { body: cbor::Blob::read(input)?.0, signature: Cbor::read(input)? };
        match kind {
            0 => Ok(Self::Authority(signed)),
            1 => Ok(Self::Change(signed)),
            _ => Err(error),
        }
    }
}

/// Why a record is not taken. The log is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordRefusal {
    /// As an entry.
    #[error(transparent)]
    Authority(#[from] Refusal),
    /// As a change.
    #[error(transparent)]
    Change(#[from] ChangeRefusal),
}

/// The decided prefix, judged record by record. The records themselves lie elsewhere.
#[derive(Clone, Debug)]
pub struct Log {
    authority: Authority,
    history: History,
    map: SectionMap,
}

impl Log {
    /// An empty log after a genesis.
    pub fn new(genesis: Signed) -> Result<Self, Refusal> {
        Ok(Self { authority: Authority::new(genesis)?, history: History::default(), map: SectionMap::default() })
    }

    /// The authority chain.
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The history tree.
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// The section map.
    pub const fn map(&self) -> &SectionMap {
        &self.map
    }

    /// How many records there are.
    pub fn len(&self) -> LogIndex {
        self.history.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.history.is_empty()
    }

    /// Whether a record could be appended.
    pub fn judge(&self, record: &Record) -> Result<(), RecordRefusal> {
        match record {
            Record::Authority(signed) if self.rewinds(signed) => {
                self.authority.clone().adopt(vec![signed.clone()]).map(|_| ()).map_err(Into::into)
            }
            Record::Authority(signed) => self.authority.judge(signed.clone()).map(|_| ()).map_err(Into::into),
            Record::Change(signed) => self.judge_change(signed).map(|_| ()).map_err(Into::into),
        }
    }

    /// Appends a record; a refused one changes nothing.
    pub fn append(&mut self, record: &Record) -> Result<LogIndex, RecordRefusal> {
        let index = self.len();
        match record {
            Record::Authority(signed) if self.rewinds(signed) => {
                if self.authority.adopt(vec![signed.clone()])? == Adopted::Nothing {
                    return Err(Refusal::Known(self.authority.head().position).into());
                }
            }
            Record::Authority(signed) => drop(self.authority.append(signed.clone())?),
            Record::Change(signed) => {
                let change = self.judge_change(signed)?;
                self.map.put(Leaf { path: change.path, change: change.id, index, deleted: change.content.is_none() });
            }
        }
        self.history.push(history::leaf(&record.to_bytes()));
        Ok(index)
    }

    /// What a voter signs of it.
    pub fn summary(&self) -> Summary {
        Summary {
            fleet: self.authority.fleet(),
            index: self.len(),
            authority: self.authority.head(),
            history: self.history.root(self.len()).expect("invariant: no more records than there are"),
            map: self.map.root(),
        }
    }

    /// A recovery follows the entry that its author trusts, not the last one.
    fn rewinds(&self, signed: &Signed) -> bool {
        let entry = Entry::read(signed.clone());
        entry.is_ok_and(|entry| {
            matches!(entry.statement, Statement::Recover { .. }) && entry.position <= self.authority.head().position
        })
    }

    fn judge_change(&self, signed: &Signed) -> Result<Change, ChangeRefusal> {
        let change = Change::read(signed.clone(), self.authority.fleet())?;
        change.check_appending(&self.authority)?;
        let standing = self.map.get(&change.path);
        let is = standing.map(|leaf| leaf.change);
        if is != change.replaces {
            return Err(ChangeRefusal::Conflict { path: change.path, named: change.replaces, is });
        }
        match change.content.is_none() && standing.is_none_or(|leaf| leaf.deleted) {
            true => Err(ChangeRefusal::NothingToDelete(change.path)),
            false => Ok(change),
        }
    }
}

/// Checks the change that stands at a leaf which was proven: signed by its author, who might say it.
pub fn check_section(authority: &Authority, leaf: &Leaf, signed: &Signed) -> Result<Change, ChangeRefusal> {
    let change = Change::read(signed.clone(), authority.fleet())?;
    if (change.id, &change.path, change.content.is_none()) != (leaf.change, &leaf.path, leaf.deleted) {
        return Err(ChangeRefusal::OtherChange);
    }
    change.check_standing(authority, leaf.index)?;
    Ok(change)
}
