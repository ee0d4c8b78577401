//! The side that catches up.

use std::collections::VecDeque;

use super::frame::Frame;
use super::{Book, Reason, Report};
use crate::EntryId;

/// All that one catch-up brings, at most: a chain of ten thousand entries, or as many sections.
pub const LONGEST_COPY: usize = 16 << 20;

/// So many entries of a chain that begins are taken at once.
const PIECE: usize = 256;

/// Where a catch-up stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// Say these, and wait for more.
    GoesOn(Vec<Frame>),
    /// It is over; close the connection.
    IsOver,
}

/// One catch-up.
#[derive(Default)]
pub struct Pupil {
    entries: Vec<Vec<u8>>,
    checkpoint: Option<Vec<u8>>,
    sections: Vec<Vec<u8>>,
    size: usize,
    reports: Option<VecDeque<Report>>,
    /// Whether the book had no chain: what comes is none of another branch, and is taken piece by piece.
    is_new: bool,
}

impl Pupil {
    /// Begins: say this first.
    pub fn begin(book: &impl Book) -> (Self, Frame) {
        let heads = book.heads();
        let is_new = heads.authority.entry == EntryId::of([0; 32]);
        (Self { is_new, ..Self::default() }, Frame::Want(heads))
    }

    /// Takes what the teacher says. An error ends the connection; what the book has taken by then is good.
    pub fn hear(&mut self, frame: Frame, book: &mut impl Book) -> Result<Lesson, Reason> {
        let is_reporting = self.reports.is_some();
        match frame {
            Frame::Entry(entry) if !is_reporting && self.checkpoint.is_none() => {
                self.grow(entry.len())?;
                self.entries.push(entry);
                if self.is_new && self.entries.len() >= PIECE {
                    self.take_entries(book)?;
                }
            }
            Frame::Checkpoint(checkpoint) if !is_reporting && self.checkpoint.is_none() => {
                self.grow(checkpoint.len())?;
                self.take_entries(book)?;
                self.checkpoint = Some(checkpoint);
            }
            Frame::Section(section) if self.checkpoint.is_some() => {
                self.grow(section.len())?;
                self.sections.push(section);
            }
            Frame::Proof(proof) => {
                let checkpoint = self.checkpoint.take().ok_or("a proof without a checkpoint")?;
                book.take_copy(&checkpoint, &std::mem::take(&mut self.sections), &proof)?;
            }
            Frame::Done if !is_reporting && self.checkpoint.is_none() => {
                self.take_entries(book)?;
                self.reports = Some(book.reports().into());
                return Ok(self.report());
            }
            Frame::Verdict(verdict) => {
                let report = self.reports.as_mut().and_then(VecDeque::pop_front).ok_or("a verdict on nothing")?;
                book.reported(&report, verdict);
                return Ok(self.report());
            }
            _ => return Err("a frame out of turn".into()),
        }
        Ok(Lesson::GoesOn(Vec::new()))
    }

    fn take_entries(&mut self, book: &mut impl Book) -> Result<(), Reason> {
        let entries = std::mem::take(&mut self.entries);
        if entries.is_empty() { Ok(()) } else { book.take_entries(&entries) }
    }

    fn report(&self) -> Lesson {
        match self.reports.iter().flatten().next() {
            Some(report) => Lesson::GoesOn(vec![Frame::Report(report.clone())]),
            None => Lesson::IsOver,
        }
    }

    fn grow(&mut self, by: usize) -> Result<(), Reason> {
        // An empty section costs memory, too.
        self.size += by + 64;
        if self.size > LONGEST_COPY { Err(format!("more than {LONGEST_COPY} bytes")) } else { Ok(()) }
    }
}
