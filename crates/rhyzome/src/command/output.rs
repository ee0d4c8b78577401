//! Standard output, whose reader may leave.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Prints a line. A reader that has left has seen enough.
pub fn line(text: impl Display) -> io::Result<()> {
    whole(format_args!("{text}\n"))
}

/// Prints a text as it is. A reader that has left has seen enough.
pub fn whole(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}
