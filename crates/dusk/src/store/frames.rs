//! A file that only grows: frames of a length, a checksum and the bytes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The length in 4 bytes (little-endian), 4 bytes that check it, and 8 that check the bytes.
const HEAD: usize = 16;

/// Such a file, at whose end more can be written.
#[derive(Debug)]
pub struct Frames {
    path: PathBuf,
    file: File,
    length: u64,
}

/// What is wrong with such a file.
#[derive(Debug, thiserror::Error)]
pub enum FramesError {
    /// It cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A frame is damaged and others follow: no power cut does that.
    #[error("{} is damaged at byte {at}: restore it from a backup, or join anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the frame begins.
        at: usize,
    },
}

fn head(frame: &[u8]) -> [u8; HEAD] {
    let length = u32::try_from(frame.len()).expect("invariant: no frame is as long").to_le_bytes();
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&length);
    head[4..8].copy_from_slice(&fleet::hash("frame length", &[&length]).bytes()[..4]);
    head[8..].copy_from_slice(&fleet::hash("frame", &[frame]).bytes()[..8]);
    head
}

/// The length that a head tells, if it is whole.
fn length(head: &[u8]) -> Option<usize> {
    let length = [head[0], head[1], head[2], head[3]];
    let is_whole = fleet::hash("frame length", &[&length]).bytes()[..4] == head[4..8];
    is_whole.then(|| u32::from_le_bytes(length) as usize)
}

/// The form in the file.
pub(crate) fn to_bytes(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        out.extend(head(frame));
        out.extend(frame);
    }
    out
}

/// Whole frames from the front, how long they are together, and whether what follows can be what a power cut left.
fn whole(bytes: &[u8]) -> (Vec<Vec<u8>>, usize, bool) {
    let (mut frames, mut at) = (Vec::new(), 0);
    loop {
        let rest = &bytes[at..];
        let Some((told, rest)) = rest.split_at_checked(HEAD) else { return (frames, at, true) };
        // A file system may have made room that nothing was written to.
        let Some(length) = length(told) else { return (frames, at, bytes[at..].iter().all(|byte| *byte == 0)) };
        match rest.get(..length) {
            Some(frame) if *told == head(frame) => {
                frames.push(frame.to_vec());
                at += HEAD + length;
            }
            Some(_) => return (frames, at, rest.len() == length),
            None => return (frames, at, true),
        }
    }
}

/// The frames of a file that is nothing else and ends with one.
pub(crate) fn whole_alone(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (frames, length, _) = whole(bytes);
    (length == bytes.len()).then_some(frames)
}

impl Frames {
    /// Opens a file, which is made if it is not there, and gives what it holds. What a power cut left half written is cut off.
    ///
    /// # Errors
    /// When it cannot be reached, or is damaged otherwise.
    pub fn open(path: &Path) -> Result<(Self, Vec<Vec<u8>>), FramesError> {
        let error = |source| FramesError::File { path: path.to_owned(), source };
        let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
        let mut file = opened.map_err(error)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(error)?;
        let (frames, length, is_cut) = whole(&bytes);
        if !is_cut {
            return Err(FramesError::Damaged { path: path.to_owned(), at: length });
        }
        let mut frames_file = Self { path: path.to_owned(), file, length: length as u64 };
        if length < bytes.len() {
            frames_file.cut().map_err(error)?;
        }
        Ok((frames_file, frames))
    }

    /// What a file holds that another process may be adding to; nothing is changed.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub fn read(path: &Path) -> Result<Vec<Vec<u8>>, FramesError> {
        let bytes = std::fs::read(path).map_err(|source| FramesError::File { path: path.to_owned(), source })?;
        match whole(&bytes) {
            (frames, _, true) => Ok(frames),
            (_, at, false) => Err(FramesError::Damaged { path: path.to_owned(), at }),
        }
    }

    /// Adds frames at the end; they last when this returns. If it fails, none of them was added.
    ///
    /// # Errors
    /// As the file system says, a full flash above all.
    pub fn append(&mut self, frames: &[Vec<u8>]) -> Result<(), FramesError> {
        if frames.is_empty() {
            return Ok(());
        }
        let bytes = to_bytes(frames);
        let written = self.write(&bytes);
        match written {
            Ok(()) => self.length += bytes.len() as u64,
            // What is there of them must not stand between this and the next frame.
            Err(_) => drop(self.cut()),
        }
        written.map_err(|source| FramesError::File { path: self.path.clone(), source })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.length))?;
        self.file.write_all(bytes)?;
        self.file.sync_data()
    }

    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    #[test]
    fn cut_anywhere_the_whole_frames_before_are_there_and_more_can_follow() {
        let frames = [b"one".to_vec(), b"twotwo".to_vec(), vec![0; 40]];
        let bytes = to_bytes(&frames);
        let ends: Vec<_> = (0..=3).map(|count| to_bytes(&frames[..count]).len()).collect();
        for length in 0..=bytes.len() {
            let (_dir, path) = written(&bytes[..length]);
            let (mut file, held) = Frames::open(&path).unwrap();
            let count = ends.iter().filter(|end| **end <= length).count() - 1;
            assert_eq!(held, frames[..count], "cut at {length}");
            file.append(&[b"next".to_vec()]).unwrap();
            drop(file);
            let (_, held) = Frames::open(&path).unwrap();
            assert_eq!(held.last().unwrap(), b"next", "cut at {length}");
            assert_eq!(held.len(), count + 1, "cut at {length}");
        }
    }

    #[test]
    fn room_that_nothing_was_written_to_is_dropped() {
        let bytes = [to_bytes(&[b"one".to_vec()]), vec![0; 4096]].concat();
        let (_dir, path) = written(&bytes);
        let (_, held) = Frames::open(&path).unwrap();
        assert_eq!(held, [b"one".to_vec()]);
    }

    #[test]
    fn damage_in_the_middle_is_named_and_nothing_is_dropped() {
        let frames = [b"one".to_vec(), b"two".to_vec()];
        for at in [0, 3, 5, 8, 17] {
            let mut bytes = to_bytes(&frames);
            bytes[at] ^= 1;
            let (_dir, path) = written(&bytes);
            assert!(matches!(Frames::open(&path), Err(FramesError::Damaged { at: 0, .. })), "{at}");
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        fuzz::Corpus::of([to_bytes(&[b"one".to_vec(), b"two".to_vec()])]).run(|bytes| {
            let (frames, length, _) = whole(bytes);
            assert_eq!(to_bytes(&frames), bytes[..length]);
        });
    }
}
