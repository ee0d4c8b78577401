//! What a guest says of itself: lines of JSON on its second serial port, which lands in a file. It is not trusted.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use jobs::observed::Guest;
use nix::fcntl::OFlag;
use serde::Deserialize;
use types::HostAddr;

/// A file longer than this is cut once it was read.
const LONGEST_FILE: u64 = 64 << 10;
/// The console's file may be longer, for people.
const LONGEST_CONSOLE: u64 = 1 << 20;
const LONGEST_LINE: usize = 512;
const LONGEST_HOSTNAME: usize = 253;

#[derive(Deserialize)]
struct Line {
    hostname: String,
    address: Option<HostAddr>,
    uptime_seconds: Option<u32>,
}

/// The newest line in `file` that is a report.
pub fn read(file: &Path) -> anyhow::Result<Option<Guest>> {
    Ok(newest(&tail(file, LONGEST_FILE)?))
}

/// Keeps the file of a console within bounds.
pub fn bound_console(file: &Path) -> anyhow::Result<()> {
    tail(file, LONGEST_CONSOLE).map(drop)
}

/// The end of a file of at most `longest` bytes; a longer one is emptied, which QEMU, who appends, does not mind.
fn tail(file: &Path, longest: u64) -> anyhow::Result<Vec<u8>> {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(file);
    let mut opened = match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("cannot open {}", file.display()))?,
    };
    let about = || format!("cannot read {}", file.display());
    let length = opened.metadata().with_context(about)?.len();
    let mut bytes = Vec::new();
    opened.seek(SeekFrom::Start(length.saturating_sub(LONGEST_FILE))).with_context(about)?;
    opened.by_ref().take(LONGEST_FILE).read_to_end(&mut bytes).with_context(about)?;
    if length > longest {
        opened.set_len(0).with_context(|| format!("cannot cut {}", file.display()))?;
    }
    Ok(bytes)
}

fn newest(bytes: &[u8]) -> Option<Guest> {
    let whole = &bytes[..bytes.iter().rposition(|byte| *byte == b'\n')?];
    whole.split(|byte| *byte == b'\n').rev().find_map(parse)
}

fn parse(line: &[u8]) -> Option<Guest> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > LONGEST_LINE {
        return None;
    }
    let Line { hostname, address, uptime_seconds } = serde_json::from_slice(line).ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let believable = (1..=LONGEST_HOSTNAME).contains(&hostname.len()) && hostname.bytes().all(plain);
    believable.then_some(Guest { hostname, address, uptime_seconds })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    const LINE: &[u8] = b"{\"hostname\":\"hello\",\"address\":\"10.77.0.10\",\"uptime_seconds\":3}\n";

    #[test]
    fn the_newest_whole_line_counts() {
        let guest = newest(LINE).unwrap();
        assert_eq!((guest.hostname.as_str(), guest.uptime_seconds), ("hello", Some(3)));
        let later =
            [LINE, b"noise\r\n", b"{\"hostname\":\"later\",\"address\":null}\r\n", b"{\"hostname\":\"half"].concat();
        assert_eq!(
            newest(&later).unwrap(),
            Guest { hostname: "later".to_owned(), address: None, uptime_seconds: None }
        );
    }

    #[test]
    fn what_is_not_believable_is_passed_over() {
        let long = format!("{{\"hostname\":\"{}\"}}\n", "a".repeat(600));
        for line in [
            "{\"hostname\":\"\\u001b[2J\"}\n",
            "{\"hostname\":\"\"}\n",
            "[]\n",
            "{\"hostname\":\"a\",\"address\":\"x\"}\n",
            &long,
        ] {
            assert_eq!(newest(line.as_bytes()), None, "{line}");
        }
        assert_eq!(newest(b""), None);
    }

    #[test]
    fn a_file_that_is_too_long_is_cut_after_it_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("report.log");
        assert_eq!(read(&file).unwrap(), None);
        fs::write(&file, [&vec![b'x'; 200_000], b"\n".as_slice(), LINE].concat()).unwrap();
        assert_eq!(read(&file).unwrap().unwrap().hostname, "hello");
        assert_eq!(fs::metadata(&file).unwrap().len(), 0);
        fs::write(&file, LINE).unwrap();
        read(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().len(), LINE.len() as u64);
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, other) = (dir.path().join("report.log"), dir.path().join("other"));
        fs::write(&other, LINE).unwrap();
        std::os::unix::fs::symlink(&other, &file).unwrap();
        assert!(read(&file).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = newest(&bytes);
        }
    }
}
