//! One connection to a holder: it asks for a stream, then it is one.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;
use tokio::net::UnixStream;

use super::request::{LINE, Reply, Request, line};
use crate::tunnel::{StreamId, StreamState, Tunnel};

/// How long asking may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection and how far it is.
pub(super) struct Client {
    socket: UnixStream,
    phase: Phase,
}

enum Phase {
    /// The request has arrived in part.
    Asking { line: Vec<u8>, until: Instant },
    /// The stream is under way.
    Opening(StreamId),
    /// Bytes pass.
    Open(Flow),
    /// Nothing more to do.
    Done,
    /// The holder is to leave.
    Dismissal,
}

/// An open stream and which of its directions have ended.
struct Flow {
    stream: StreamId,
    outward_ended: bool,
    inward_ended: bool,
}

/// How long until the first of those that ask has used up its time.
pub(super) fn patience(clients: &[Client], now: Instant) -> Option<Duration> {
    let until = |client: &Client| match client.phase {
        Phase::Asking { until, .. } => Some(until.saturating_duration_since(now)),
        Phase::Opening(_) | Phase::Open(_) | Phase::Done | Phase::Dismissal => None,
    };
    clients.iter().filter_map(until).min()
}

impl Client {
    pub(super) fn new(socket: UnixStream, now: Instant) -> Self {
        Self { socket, phase: Phase::Asking { line: Vec::new(), until: now + PATIENCE } }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    pub(super) fn is_dismissal(&self) -> bool {
        matches!(self.phase, Phase::Dismissal)
    }

    /// Moves what can move between the socket and the tunnel; says whether something did. `failure` is what the system
    /// said last about sending to the WireGuard server.
    pub(super) fn serve(
        &mut self,
        context: &mut Context<'_>,
        tunnel: &mut Tunnel,
        failure: Option<&str>,
        now: Instant,
    ) -> bool {
        match &mut self.phase {
            Phase::Asking { line, until } => {
                let asked = match now < *until {
                    true => read_line(&self.socket, context, line),
                    false => Err(ErrorKind::TimedOut.into()),
                };
                match asked {
                    Ok(None) => return false,
                    Ok(Some(request)) => self.open(&request, tunnel, failure, now),
                    Err(_) => self.phase = Phase::Done,
                }
                true
            }
            Phase::Opening(stream) => {
                let stream = *stream;
                self.await_opening(tunnel, stream, failure, now)
            }
            Phase::Open(flow) => {
                let passed = flow.pass(&mut self.socket, context, tunnel);
                let over = passed.is_err() || flow.is_over(tunnel);
                if over {
                    tunnel.release(flow.stream, now);
                    self.phase = Phase::Done;
                }
                over || passed.is_ok_and(|moved| moved)
            }
            Phase::Done | Phase::Dismissal => false,
        }
    }

    fn open(&mut self, request: &[u8], tunnel: &mut Tunnel, failure: Option<&str>, now: Instant) {
        let request: Request = match serde_json::from_slice(request) {
            Ok(request) => request,
            Err(error) => return self.refuse(&Reply::Malformed(error.to_string())),
        };
        let Request::Open { entrance, remote } = request else {
            self.phase = Phase::Dismissal;
            return;
        };
        if !entrance.leads_like(tunnel.entrance()) {
            self.reply(&Reply::Outdated);
            self.phase = Phase::Dismissal;
            return;
        }
        match tunnel.open(remote, now) {
            Ok(stream) => self.phase = Phase::Opening(stream),
            Err(why) => self.refuse(&Reply::of(why, failure)),
        }
    }

    fn await_opening(&mut self, tunnel: &mut Tunnel, stream: StreamId, failure: Option<&str>, now: Instant) -> bool {
        match tunnel.state(stream) {
            StreamState::Opening if !is_hung_up(&self.socket) => return false,
            StreamState::Open | StreamState::Over if self.reply(&Reply::Open) => {
                self.phase = Phase::Open(Flow { stream, outward_ended: false, inward_ended: false });
            }
            StreamState::Opening | StreamState::Open | StreamState::Over => {
                tunnel.release(stream, now);
                self.phase = Phase::Done;
            }
            StreamState::Failed(why) => {
                tunnel.release(stream, now);
                self.refuse(&Reply::of(why, failure));
            }
        }
        true
    }

    fn refuse(&mut self, reply: &Reply) {
        self.reply(reply);
        self.phase = Phase::Done;
    }

    /// Sends a reply; an empty socket has room for any. False where nobody is there to read it.
    fn reply(&self, reply: &Reply) -> bool {
        let line = line(reply);
        self.socket.try_write(&line).is_ok_and(|written| written == line.len())
    }
}

impl Flow {
    /// Moves bytes both ways until neither side has or takes more.
    fn pass(&mut self, socket: &mut UnixStream, context: &mut Context<'_>, tunnel: &mut Tunnel) -> io::Result<bool> {
        let outward = self.pass_outward(socket, context, tunnel)?;
        let inward = self.pass_inward(socket, context, tunnel)?;
        Ok(outward || inward)
    }

    fn pass_outward(
        &mut self,
        socket: &UnixStream,
        context: &mut Context<'_>,
        tunnel: &mut Tunnel,
    ) -> io::Result<bool> {
        let mut moved = false;
        while !self.outward_ended && tunnel.takes_bytes(self.stream) {
            let mut outcome = Ok(None);
            tunnel.put(self.stream, |buffer| {
                outcome = read_ready(socket, context, buffer);
                outcome.as_ref().ok().copied().flatten().unwrap_or(0)
            });
            match outcome? {
                None => break,
                Some(0) => {
                    self.outward_ended = true;
                    tunnel.finish(self.stream);
                }
                Some(_) => {}
            }
            moved = true;
        }
        if self.outward_ended && is_hung_up(socket) {
            return Err(ErrorKind::BrokenPipe.into());
        }
        Ok(moved)
    }

    fn pass_inward(
        &mut self,
        socket: &mut UnixStream,
        context: &mut Context<'_>,
        tunnel: &mut Tunnel,
    ) -> io::Result<bool> {
        let mut moved = false;
        while tunnel.has_bytes(self.stream) {
            let mut outcome = Ok(None);
            tunnel.take(self.stream, |bytes| {
                outcome = write_ready(socket, context, bytes);
                outcome.as_ref().ok().copied().flatten().unwrap_or(0)
            });
            if outcome?.is_none() {
                break;
            }
            moved = true;
        }
        if !self.inward_ended && tunnel.has_ended(self.stream) {
            // On a Unix socket this never waits.
            if let Poll::Ready(result) = Pin::new(socket).poll_shutdown(context) {
                result?;
            }
            self.inward_ended = true;
            moved = true;
        }
        Ok(moved)
    }

    /// Whether both directions have ended, or the stream was broken off and all that arrived was passed on.
    fn is_over(&self, tunnel: &Tunnel) -> bool {
        let broken_off = tunnel.state(self.stream) == StreamState::Over && !tunnel.has_bytes(self.stream);
        self.outward_ended && self.inward_ended || broken_off
    }
}

/// Adds to `line` what is there; gives the line once it is complete. Byte by byte, so that nothing after it is taken:
/// that belongs to the stream.
fn read_line(socket: &UnixStream, context: &mut Context<'_>, line: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let mut byte = [0];
    loop {
        match read_ready(socket, context, &mut byte)? {
            None => return Ok(None),
            Some(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Some(_) if byte == *b"\n" => return Ok(Some(std::mem::take(line))),
            Some(_) if line.len() >= LINE => return Err(ErrorKind::InvalidData.into()),
            Some(_) => line.push(byte[0]),
        }
    }
}

/// Reads what is there; `None` where that is nothing yet, and whoever polls is woken once there is.
fn read_ready(socket: &UnixStream, context: &mut Context<'_>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match socket.poll_read_ready(context) {
            Poll::Pending => return Ok(None),
            Poll::Ready(ready) => ready?,
        }
        match socket.try_read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => return result.map(Some),
        }
    }
}

/// Writes what there is room for; `None` where that is nothing yet, and whoever polls is woken once there is.
fn write_ready(socket: &UnixStream, context: &mut Context<'_>, bytes: &[u8]) -> io::Result<Option<usize>> {
    loop {
        match socket.poll_write_ready(context) {
            Poll::Pending => return Ok(None),
            Poll::Ready(ready) => ready?,
        }
        match socket.try_write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => return result.map(Some),
        }
    }
}

/// Whether nobody holds the other end any more: then even a write of nothing fails (unix(7)).
fn is_hung_up(socket: &UnixStream) -> bool {
    socket.try_write(&[]).is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
}
