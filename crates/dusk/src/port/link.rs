//! One TCP connection's bytes: what is to be written, and whether it ends afterwards.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

/// A connection on which nothing moves for so long is gone.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Link {
    stream: TcpStream,
    outgoing: VecDeque<u8>,
    is_connecting: bool,
    is_leaving: bool,
    moved: Instant,
}

impl Link {
    pub fn accepted(stream: TcpStream) -> Self {
        let outgoing = VecDeque::new();
        Self { stream, outgoing, is_connecting: false, is_leaving: false, moved: Instant::now() }
    }

    pub fn connecting(stream: TcpStream) -> Self {
        Self { is_connecting: true, ..Self::accepted(stream) }
    }

    pub fn say(&mut self, bytes: &[u8]) {
        self.outgoing.extend(bytes);
    }

    /// Ends when all is written.
    pub fn leave(&mut self) {
        self.is_leaving = true;
    }

    pub fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    pub fn is_done(&self) -> bool {
        self.is_leaving && self.outgoing.is_empty()
    }

    pub fn interest(&self) -> PollFlags {
        let writes = self.is_connecting || !self.outgoing.is_empty();
        if writes { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN }
    }

    /// Writes what it can; says whether the last of something went.
    pub fn write(&mut self) -> io::Result<bool> {
        if self.moved.elapsed() > PATIENCE {
            return Err(ErrorKind::TimedOut.into());
        }
        let had_something = !self.outgoing.is_empty();
        while !self.outgoing.is_empty() {
            let (bytes, _) = self.outgoing.as_slices();
            match self.stream.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.outgoing.drain(..written);
                    self.is_connecting = false;
                    self.moved = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if self.is_connecting && error.kind() == ErrorKind::NotConnected => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(had_something)
    }

    /// Reads what has come; an end of the stream is an error.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                self.moved = Instant::now();
                Ok(buffer[..length].to_vec())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(Vec::new()),
            Err(error) if self.is_connecting && error.kind() == ErrorKind::NotConnected => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
