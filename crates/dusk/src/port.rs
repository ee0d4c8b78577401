//! The loop around a node: one UDP socket and one TCP listener on the same port, its clock, its chance and its flash.
//!
//! It has one thread and waits in `poll`. What the node writes has lasted before anything that follows from it is sent; where
//! a write fails the loop ends, since the node in memory is then ahead of what it can remember.

mod link;
mod waker;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use fleet::node::{Circumstances, Effect, Flash, Node};
use fleet::wire::Number;
use fleet::{Moment, Random};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};

use link::Link;
use waker::Bell;
pub use waker::Waker;

/// So many datagrams are taken before anything else gets its turn.
const DATAGRAMS: usize = 256;
/// So many connections are.
const ACCEPTED: usize = 16;
/// What the kernel keeps of datagrams while something else has its turn.
const QUEUE: usize = 4 << 20;

/// Where a node's writes go.
pub trait Disk {
    /// Adds a record to a file. It has lasted when this returns.
    fn append(&mut self, file: Flash, record: &[u8]) -> io::Result<()>;
}

/// The system's generator.
pub struct System;

impl Random for System {
    fn fill(&mut self, bytes: &mut [u8]) {
        // There is no going on without: a key that can be guessed is worse than none.
        getrandom::fill(bytes).expect("invariant: the kernel has randomness once it has started");
    }
}

/// A node's clock: it begins when the loop does, and nobody can set it.
#[derive(Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Begins.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time.
    pub fn now(&self) -> Moment {
        Moment::from_millis(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// The loop's state.
pub struct Port<D> {
    udp: UdpSocket,
    listener: TcpListener,
    links: BTreeMap<Number, Link>,
    node: Node,
    disk: D,
    clock: Clock,
    is_v6: bool,
    events: Vec<Effect>,
    bell: Bell,
}

impl<D: Disk> Port<D> {
    /// Opens both sockets at this address; with port 0 the system chooses one.
    pub fn open(at: SocketAddr, node: Node, disk: D, clock: Clock) -> io::Result<Self> {
        let listener = listen(at)?;
        let at = listener.local_addr()?;
        let udp = bind(at)?;
        let links = BTreeMap::new();
        let (events, bell) = (Vec::new(), Bell::new()?);
        Ok(Self { udp, listener, links, node, disk, clock, is_v6: at.is_ipv6(), events, bell })
    }

    /// Where it is reached.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Wakes the loop from another thread.
    pub fn waker(&self) -> Waker {
        self.bell.waker()
    }

    /// The time by the node's clock.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Where its writes go.
    pub const fn disk(&mut self) -> &mut D {
        &mut self.disk
    }

    /// The node.
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// Has the node do something of its own, and does what follows.
    pub fn with_node(&mut self, act: impl FnOnce(&mut Node, &mut Circumstances<'_>) -> Vec<Effect>) -> io::Result<()> {
        let mut random = System;
        let mut circumstances = Circumstances { now: self.clock.now(), random: &mut random };
        let effects = act(&mut self.node, &mut circumstances);
        self.perform(effects)
    }

    /// Waits for something to happen, `longest` at most, and does what follows; what is not the loop's business is handed
    /// out.
    pub fn turn(&mut self, longest: Duration) -> io::Result<Vec<Effect>> {
        self.wait(longest)?;
        self.bell.quiet();
        self.take_datagrams()?;
        self.accept()?;
        let numbers: Vec<_> = self.links.keys().copied().collect();
        numbers.into_iter().try_for_each(|number| self.attend(number))?;
        if self.node.due() <= self.clock.now() {
            self.with_node(Node::poll)?;
        }
        Ok(std::mem::take(&mut self.events))
    }

    fn wait(&self, longest: Duration) -> io::Result<()> {
        let until = self.node.due().since(self.clock.now()).min(longest);
        let timeout = PollTimeout::try_from(until + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let mut sockets = vec![
            PollFd::new(self.udp.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.bell.as_fd(), PollFlags::POLLIN),
        ];
        sockets.extend(self.links.values().map(|link| PollFd::new(link.as_fd(), link.interest())));
        match poll(&mut sockets, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn take_datagrams(&mut self) -> io::Result<()> {
        // One byte more than the longest: what is cut off shows.
        let mut buffer = [0; fleet::wire::LONGEST + 1];
        for _ in 0..DATAGRAMS {
            match self.udp.recv_from(&mut buffer) {
                Ok((length, from)) => {
                    let from = canonical(from);
                    let datagram = &buffer[..length];
                    self.with_node(|node, circumstances| node.datagram(from, datagram, circumstances))?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // A peer that is gone answers by ICMP: that is no fault of this socket.
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..ACCEPTED {
            let Ok((stream, from)) = self.listener.accept() else { break };
            let now = self.clock.now();
            let (number, effects) = self.node.accepted(canonical(from), now);
            if stream.set_nonblocking(true).is_ok() {
                self.links.insert(number, Link::accepted(stream));
            }
            self.perform(effects)?;
        }
        Ok(())
    }

    /// Reads and writes what a connection is ready for.
    fn attend(&mut self, number: Number) -> io::Result<()> {
        let Some(link) = self.links.get_mut(&number) else { return Ok(()) };
        let written = link.write();
        let read = if written.is_ok() { link.read() } else { Ok(Vec::new()) };
        let (drained, leaving) = (matches!(written, Ok(true)), link.is_done());
        match (written, read) {
            (Ok(_), Ok(bytes)) => {
                if !bytes.is_empty() {
                    self.with_node(|node, circumstances| node.read(number, &bytes, circumstances))?;
                }
                if drained {
                    self.with_node(|node, circumstances| node.drained(number, circumstances))?;
                }
                if leaving {
                    self.links.remove(&number);
                }
                Ok(())
            }
            _ => {
                let link = self.links.remove(&number);
                // The node has closed its own side of one that was leaving.
                if link.is_some_and(|link| !link.is_leaving()) {
                    self.with_node(|node, circumstances| node.closed(number, circumstances))?;
                }
                Ok(())
            }
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) -> io::Result<()> {
        for effect in effects {
            match effect {
                Effect::Write(file, record) => self.disk.append(file, &record)?,
                // A datagram that cannot be sent is one that was lost.
                Effect::Send(to, datagram) => drop(self.udp.send_to(&datagram, self.reachable(to))),
                Effect::Connect(number, to) => match connect(self.reachable(to)) {
                    Ok(stream) => drop(self.links.insert(number, Link::connecting(stream))),
                    Err(_) => self.with_node(|node, circumstances| node.closed(number, circumstances))?,
                },
                Effect::Say(number, bytes) => {
                    if let Some(link) = self.links.get_mut(&number) {
                        link.say(&bytes);
                    }
                }
                Effect::Close(number) => {
                    if let Some(link) = self.links.get_mut(&number) {
                        link.leave();
                    }
                }
                event => self.events.push(event),
            }
        }
        Ok(())
    }

    /// The form of an address that the socket takes.
    fn reachable(&self, to: SocketAddr) -> SocketAddr {
        match to.ip() {
            IpAddr::V4(ip) if self.is_v6 => SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), to.port()),
            _ => to,
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn socket(at: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), kind, Some(protocol))?;
    if at.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        // Both families by one socket.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(at, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

fn bind(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(at, Type::DGRAM, Protocol::UDP)?;
    // A smaller queue loses more in a rush, and nothing else.
    let _ = socket.set_recv_buffer_size(QUEUE);
    socket.bind(&at.into())?;
    Ok(socket.into())
}

fn connect(to: SocketAddr) -> io::Result<std::net::TcpStream> {
    let socket = socket(to, Type::STREAM, Protocol::TCP)?;
    match socket.connect(&to.into()) {
        Ok(()) => Ok(socket.into()),
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => Ok(socket.into()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
