//! What wakes the loop from another thread.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Wakes the loop, from any thread.
#[derive(Clone)]
pub struct Waker(Arc<UnixStream>);

impl Waker {
    /// The loop takes another turn.
    pub fn wake(&self) {
        // Where there is no room, enough was said to wake it; where nobody listens, there is no loop.
        let _ = (&*self.0).write(&[1]);
    }
}

/// The loop's end.
pub(super) struct Bell {
    heard: UnixStream,
    waker: Waker,
}

impl Bell {
    pub fn new() -> io::Result<Self> {
        let (heard, rung) = UnixStream::pair()?;
        heard.set_nonblocking(true)?;
        rung.set_nonblocking(true)?;
        Ok(Self { heard, waker: Waker(Arc::new(rung)) })
    }

    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Takes what was rung.
    pub fn quiet(&mut self) {
        let mut buffer = [0; 64];
        while self.heard.read(&mut buffer).is_ok_and(|length| length == buffer.len()) {}
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.heard.as_fd()
    }
}
