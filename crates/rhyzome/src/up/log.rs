//! The log of each program: one file in one folder, appended to, and put aside at a start when it has grown large.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

/// A log larger than this is put aside at the next start, as `<name>.old`, in place of the one before.
const LARGE: u64 = 16 * 1024 * 1024;

/// Opens a program's log to append to it.
pub fn open(path: &Path) -> io::Result<File> {
    put_aside(path, LARGE)?;
    OpenOptions::new().create(true).append(true).open(path)
}

/// The last lines of a log, `count` at most, for an error that quotes it.
pub fn tail(path: &Path, count: usize) -> String {
    let text = read_end(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn put_aside(path: &Path, large: u64) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > large => fs::rename(path, path.with_extension("log.old")),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn read_end(path: &Path) -> io::Result<String> {
    const END: u64 = 16 * 1024;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
    let mut bytes = Vec::new();
    file.take(END).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_large_log_makes_room_and_a_small_one_is_continued() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("core.log");
        writeln!(open(&path).unwrap(), "one").unwrap();
        writeln!(open(&path).unwrap(), "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        put_aside(&path, 4).unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read_to_string(dir.path().join("core.log.old")).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn the_end_of_a_log_is_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("core.log");
        assert_eq!(tail(&path, 2), "");
        fs::write(&path, "a\nb\nc\n").unwrap();
        assert_eq!(tail(&path, 2), "b\nc");
        assert_eq!(tail(&path, 9), "a\nb\nc");
    }
}
