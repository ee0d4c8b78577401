//! The side that knows more. It says what it has as fast as it is taken, so that a slow pupil costs no memory.

use super::frame::Frame;
use super::{Library, Reason, Report, Verdict};
use crate::cycle::StatusDigest;
use crate::{Heads, NoiseKey};

/// Where it is in what it tells.
enum Place {
    /// It was not asked yet, or has told all.
    Idle,
    /// Entries from this position on.
    Entries(u64, Heads),
    /// Sections, the last first, and their proof.
    Sections(Vec<Vec<u8>>, Vec<u8>),
    /// That there is no more.
    End,
}

/// One connection's worth of teaching.
pub struct Teacher {
    pupil: NoiseKey,
    place: Place,
}

impl Teacher {
    /// Teaches whoever has shown this key.
    pub fn new(pupil: NoiseKey) -> Self {
        Self { pupil, place: Place::Idle }
    }

    /// Takes what the pupil says: perhaps there is an answer, perhaps a status that is kept from here on. After an error
    /// the connection is to be closed.
    pub fn hear(
        &mut self,
        frame: Frame,
        library: &mut impl Library,
    ) -> Result<(Option<Frame>, Option<StatusDigest>), Reason> {
        match frame {
            Frame::Want(known) if matches!(self.place, Place::Idle) => {
                self.place = Place::Entries(library.first_missing(known.authority), known);
                Ok((None, None))
            }
            Frame::Report(Report::Status(status)) => {
                let kept = library.keep_status(self.pupil, &status);
                let verdict = kept.as_ref().map_or_else(|reason| Verdict::Refused(reason.clone()), |_| Verdict::Done);
                Ok((Some(Frame::Verdict(verdict)), kept.ok()))
            }
            Frame::Report(report) => Ok((Some(Frame::Verdict(library.keep_report(self.pupil, report))), None)),
            _ => Err("a frame out of turn".into()),
        }
    }

    /// What to say next, if there is room for it.
    pub fn next(&mut self, library: &impl Library) -> Option<Frame> {
        match &mut self.place {
            Place::Idle => None,
            Place::Entries(position, known) => {
                if let Some(entry) = library.entry(*position) {
                    *position += 1;
                    return Some(Frame::Entry(entry));
                }
                // Another checkpoint at the same index is proof of a fork, which the pupil has to see.
                let own = library.heads();
                let is_news = own.index > known.index || own.index == known.index && own.checkpoint != known.checkpoint;
                let checkpoint = is_news.then(|| library.checkpoint(known)).flatten();
                let Some(checkpoint) = checkpoint else {
                    self.place = Place::Idle;
                    return Some(Frame::Done);
                };
                let (mut sections, proof) = library.sections(self.pupil);
                sections.reverse();
                self.place = Place::Sections(sections, proof);
                Some(Frame::Checkpoint(checkpoint))
            }
            Place::Sections(sections, proof) => match sections.pop() {
                Some(section) => Some(Frame::Section(section)),
                None => {
                    let proof = std::mem::take(proof);
                    self.place = Place::End;
                    Some(Frame::Proof(proof))
                }
            },
            Place::End => {
                self.place = Place::Idle;
                Some(Frame::Done)
            }
        }
    }
}
