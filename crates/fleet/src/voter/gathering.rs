//! Signatures under checkpoints, until a majority has signed the same.

use std::collections::BTreeMap;

use super::Electorate;
use crate::{LogIndex, NoiseKey};

/// Checkpoints that wait for signatures.
const CHECKPOINTS: usize = 64;
/// The longest statement and signature.
const LONGEST: usize = 1_024;

/// What a voter said of an index: its statement, and its signature under that.
type Said = (Vec<u8>, Vec<u8>);

/// A statement, and who has signed it.
pub type Certificate = (Vec<u8>, Vec<(NoiseKey, Vec<u8>)>);

/// What each voter has signed of each index.
#[derive(Default)]
pub struct Gathering {
    of: BTreeMap<LogIndex, BTreeMap<NoiseKey, Said>>,
}

impl Gathering {
    /// Adds an authentic signature; says whether it was one that was missing.
    pub fn add(
        &mut self,
        index: LogIndex,
        voter: NoiseKey,
        statement: Vec<u8>,
        signature: Vec<u8>,
        certified: LogIndex,
    ) -> bool {
        if index <= certified || statement.len().max(signature.len()) > LONGEST {
            return false;
        }
        if self.of.len() >= CHECKPOINTS && !self.of.contains_key(&index) {
            // The oldest one has been overtaken by so many that nobody waits for it.
            self.of.pop_first();
        }
        self.of.entry(index).or_default().insert(voter, (statement, signature)).is_none()
    }

    /// What a majority has signed of this index, if it has.
    pub fn majority(&self, index: LogIndex, electorate: &Electorate) -> Option<Certificate> {
        let said = self.of.get(&index)?;
        let by = |voter: &NoiseKey| said.get(voter).map(|said| (*voter, said));
        let said: Vec<_> = electorate.voters.iter().filter_map(by).collect();
        let statement = said.iter().map(|(_, (statement, _))| statement).find(|statement| {
            said.iter().filter(|(_, (other, _))| other == *statement).count() >= electorate.majority()
        })?;
        let same = said.iter().filter(|(_, (other, _))| other == statement);
        Some((statement.clone(), same.map(|(voter, (_, signature))| (*voter, signature.clone())).collect()))
    }

    /// Forgets what came up to an index.
    pub fn forget(&mut self, index: LogIndex) {
        self.of = self.of.split_off(&(index + 1));
    }
}
