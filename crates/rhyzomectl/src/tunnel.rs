//! One network entered in user space: WireGuard with TCP on top of it.
//!
//! No I/O and no waiting: datagrams and the time come in as arguments, datagrams and bytes are asked for. What is
//! kept is bounded: so many streams, so many bytes for each.

mod link;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use serde::{Deserialize, Serialize};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use types::{HostAddr, NetworkId, ResourceName, Subnet, WgPrivateKey, WgPublicKey};

use link::Link;
use stream::{Stream, socket};
pub use stream::{StreamId, StreamState};

/// Streams at one time.
pub const STREAMS: usize = 64;
/// How long a stream may take to open: longer than a WireGuard server with nothing to say keeps silent (10 s).
pub const OPENING_PATIENCE: Duration = Duration::from_secs(15);
/// How long the server may be silent while a stream opens before the session counts as lost (REKEY_TIMEOUT of WireGuard).
const SILENCE: Duration = Duration::from_secs(5);
/// How long a stream that nobody holds any more may take to close.
const CLOSING_PATIENCE: Duration = Duration::from_secs(30);
/// Datagrams that wait to be sent.
const DATAGRAMS: usize = 256;
/// How often WireGuard's timers are looked at while streams are there.
const TICK: Duration = Duration::from_millis(250);
/// Seconds between packets that keep the way open through a NAT.
const KEEPALIVE_SECONDS: u16 = 25;
/// The largest packet in the tunnel: with WireGuard's 60 bytes it passes wherever IPv6 does.
pub const MTU: usize = 1280;
/// The type of a cookie reply, its first byte (WireGuard, section 5.4.7).
const COOKIE_REPLY: u8 = 3;
/// What WireGuard adds to a packet at most, and the least that a handshake needs.
const ROOM: usize = 160;

/// How one network is entered: all public, as the peer's status says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entrance {
    /// The network.
    pub network: NetworkId,
    /// The network's name, for messages.
    pub name: ResourceName,
    /// One's own address.
    pub address: HostAddr,
    /// The network's addresses.
    pub subnet: Subnet,
    /// The public key of its WireGuard server.
    pub public_key: WgPublicKey,
    /// Where that is reached, as `host:port`.
    pub endpoint: String,
}

impl Entrance {
    /// Whether both lead into the same network the same way, whatever its name.
    pub fn leads_like(&self, other: &Self) -> bool {
        *self == Self { name: self.name.clone(), ..other.clone() }
    }
}

/// Why a stream could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unopened {
    /// The WireGuard server did not answer.
    NoHandshake,
    /// The machine did not answer.
    NoAnswer,
    /// The machine said no.
    Refused,
    /// It is not an address of the network.
    Elsewhere,
    /// There are as many streams as there may be.
    Full,
}

/// A tunnel into one network and the TCP streams through it.
pub struct Tunnel {
    peer: Tunn,
    entrance: Entrance,
    interface: Interface,
    sockets: SocketSet<'static>,
    link: Link,
    streams: BTreeMap<StreamId, Stream>,
    datagrams: VecDeque<Vec<u8>>,
    room: Vec<u8>,
    started: Instant,
    /// When the server last sent something genuine.
    heard: Option<Instant>,
    /// When a handshake was last begun because the server was silent.
    nudged: Option<Instant>,
    next_stream: u64,
    next_port: u16,
}

impl Tunnel {
    /// A tunnel through `entrance` for the peer with `key`. `seed` is a random number; two tunnels of one peer must
    /// not share it.
    pub fn new(entrance: Entrance, key: &WgPrivateKey, seed: u64, now: Instant) -> Self {
        let peer = Tunn::new(
            StaticSecret::from(*key.reveal_bytes()),
            PublicKey::from(entrance.public_key.bytes()),
            None,
            Some(KEEPALIVE_SECONDS),
            (seed >> 40) as u32,
            None,
        );
        let mut link = Link::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut link, smoltcp::time::Instant::ZERO);
        let own = entrance.address.ip();
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IpAddress::Ipv4(own), 32)).expect("invariant: there is room for one address");
        });
        interface.routes_mut().add_default_ipv4_route(own).expect("invariant: there is room for one route");
        Self {
            peer,
            entrance,
            interface,
            sockets: SocketSet::new(Vec::new()),
            link,
            streams: BTreeMap::new(),
            datagrams: VecDeque::new(),
            room: vec![0; usize::from(u16::MAX) + ROOM],
            started: now,
            heard: None,
            nudged: None,
            next_stream: 0,
            next_port: stream::first_port(seed),
        }
    }

    /// How the network is entered.
    pub fn entrance(&self) -> &Entrance {
        &self.entrance
    }

    /// Begins to open a stream; its state tells when it is open.
    pub fn open(&mut self, remote: SocketAddrV4, now: Instant) -> Result<StreamId, Unopened> {
        let inside = HostAddr::try_from(*remote.ip()).is_ok_and(|address| self.entrance.subnet.has_host(address));
        if !inside || remote.port() == 0 {
            return Err(Unopened::Elsewhere);
        }
        if self.streams.len() >= STREAMS {
            return Err(Unopened::Full);
        }
        let mut socket = socket();
        let port = self.free_port();
        let endpoint = (IpAddress::Ipv4(*remote.ip()), remote.port());
        socket.connect(self.interface.context(), endpoint, port).map_err(|_| Unopened::Elsewhere)?;
        let handle = self.sockets.add(socket);
        let id = StreamId(self.next_stream);
        self.next_stream += 1;
        self.streams.insert(id, Stream::new(handle, port, now));
        Ok(id)
    }

    /// How far a stream is; one that has been released or never was is over.
    pub fn state(&self, id: StreamId) -> StreamState {
        self.streams.get(&id).map_or(StreamState::Over, |stream| stream.state)
    }

    /// Whether a stream takes bytes at this moment.
    pub fn takes_bytes(&self, id: StreamId) -> bool {
        self.socket(id).is_some_and(tcp::Socket::can_send)
    }

    /// Whether bytes of a stream have arrived.
    pub fn has_bytes(&self, id: StreamId) -> bool {
        self.socket(id).is_some_and(tcp::Socket::can_recv)
    }

    /// Whether the other side has sent all that it will send and all of it was taken.
    pub fn has_ended(&self, id: StreamId) -> bool {
        self.socket(id).is_none_or(|socket| !socket.may_recv())
    }

    /// Lets `fill` write into a stream's buffer; it gives the number of bytes that it wrote.
    pub fn put(&mut self, id: StreamId, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        self.socket_mut(id).map_or(0, |socket| {
            let filled = socket.send(|buffer| {
                let count = fill(buffer);
                (count, count)
            });
            filled.unwrap_or(0)
        })
    }

    /// Lets `drain` read what arrived; it gives the number of bytes that it took.
    pub fn take(&mut self, id: StreamId, drain: impl FnOnce(&[u8]) -> usize) -> usize {
        self.socket_mut(id).map_or(0, |socket| {
            let drained = socket.recv(|buffer| {
                let count = drain(buffer);
                (count, count)
            });
            drained.unwrap_or(0)
        })
    }

    /// Says that no more bytes will be put into a stream.
    pub fn finish(&mut self, id: StreamId) {
        if let Some(socket) = self.socket_mut(id) {
            socket.close();
        }
    }

    /// Gives a stream back: one that both sides have finished closes in its own time, any other is broken off.
    pub fn release(&mut self, id: StreamId, now: Instant) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.released = Some(now);
        let socket: &mut tcp::Socket<'_> = self.sockets.get_mut(stream.handle);
        if socket.may_send() || socket.may_recv() || stream.state == StreamState::Opening {
            socket.abort();
        }
    }

    /// Takes a datagram that may be from the WireGuard server; says whether it is.
    pub fn receive(&mut self, datagram: &[u8], source: IpAddr, now: Instant) -> bool {
        // To boringtun, an empty one means something else.
        if datagram.is_empty() {
            return false;
        }
        let genuine = match self.peer.decapsulate(Some(source), datagram, &mut self.room) {
            // Anybody can send rubbish; nothing follows from it.
            TunnResult::Err(_) => false,
            TunnResult::WriteToNetwork(reply) => {
                // Too many handshakes: whoever sent this one must show first that it can receive.
                let is_cookie = reply.first() == Some(&COOKIE_REPLY);
                self.datagrams.push_back(reply.to_vec());
                self.send_waiting();
                !is_cookie
            }
            TunnResult::WriteToTunnelV4(packet, sender) => {
                if HostAddr::try_from(sender).is_ok_and(|sender| self.entrance.subnet.has_host(sender)) {
                    self.link.arrived(packet);
                }
                true
            }
            TunnResult::WriteToTunnelV6(..) | TunnResult::Done => true,
        };
        if genuine {
            self.heard = Some(now);
        }
        self.advance(now);
        genuine
    }

    /// Does what the time has come for.
    pub fn advance(&mut self, now: Instant) {
        if let TunnResult::WriteToNetwork(datagram) = self.peer.update_timers(&mut self.room) {
            self.datagrams.push_back(datagram.to_vec());
        }
        self.nudge(now);
        let time = self.clock(now);
        loop {
            self.interface.poll(time, &mut self.link, &mut self.sockets);
            if self.link.is_quiet() || self.datagrams.len() >= DATAGRAMS {
                break;
            }
            while let Some(packet) = self.link.leaving() {
                if let TunnResult::WriteToNetwork(datagram) = self.peer.encapsulate(&packet, &mut self.room) {
                    self.datagrams.push_back(datagram.to_vec());
                }
            }
        }
        self.judge_streams(now);
    }

    /// The next datagram for the WireGuard server, which stays until it is [`Tunnel::sent`].
    pub fn datagram(&self) -> Option<&[u8]> {
        self.datagrams.front().map(Vec::as_slice)
    }

    /// Drops the datagram that was sent, or could not be.
    pub fn sent(&mut self) {
        self.datagrams.pop_front();
    }

    /// How long nothing happens by itself; `None` for as long as nothing comes in.
    pub fn quiet_for(&mut self, now: Instant) -> Option<Duration> {
        if self.streams.is_empty() {
            return None;
        }
        let time = self.clock(now);
        let tcp = match self.datagrams.len() < DATAGRAMS {
            true => self.interface.poll_delay(time, &self.sockets).map(Duration::from),
            false => None,
        };
        Some(tcp.map_or(TICK, |delay| delay.min(TICK)))
    }

    /// Whether there is no stream, not even one that closes.
    pub fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether somebody waits for the WireGuard server and it has said nothing since.
    pub fn is_unheard(&self) -> bool {
        self.streams.values().any(|stream| stream.is_unheard(self.heard))
    }

    fn has_session(&self) -> bool {
        self.peer.time_since_last_handshake().is_some()
    }

    fn socket(&self, id: StreamId) -> Option<&tcp::Socket<'static>> {
        self.streams.get(&id).map(|stream| self.sockets.get(stream.handle))
    }

    fn socket_mut(&mut self, id: StreamId) -> Option<&mut tcp::Socket<'static>> {
        let stream = self.streams.get(&id)?;
        Some(self.sockets.get_mut(stream.handle))
    }

    fn clock(&self, now: Instant) -> smoltcp::time::Instant {
        let elapsed = now.saturating_duration_since(self.started).as_micros();
        // Microseconds since the start fit an i64 for 292,000 years.
        smoltcp::time::Instant::from_micros(i64::try_from(elapsed).unwrap_or(i64::MAX))
    }

    /// Sends what has waited for a session.
    fn send_waiting(&mut self) {
        while let TunnResult::WriteToNetwork(datagram) = self.peer.decapsulate(None, &[], &mut self.room) {
            self.datagrams.push_back(datagram.to_vec());
        }
    }

    /// Begins a new handshake where a stream opens and the server says nothing: it may have been started anew and have
    /// forgotten the session. Where there is no session, boringtun repeats the handshake by itself.
    fn nudge(&mut self, now: Instant) {
        if !self.has_session() {
            return;
        }
        let opening = self.streams.values().filter(|stream| stream.state == StreamState::Opening);
        let Some(asked_for) = opening.map(|stream| stream.asked_for).min() else { return };
        let last = [self.heard, self.nudged].into_iter().flatten().fold(asked_for, Instant::max);
        if now.saturating_duration_since(last) < SILENCE {
            return;
        }
        self.nudged = Some(now);
        if let TunnResult::WriteToNetwork(datagram) = self.peer.format_handshake_initiation(&mut self.room, true) {
            self.datagrams.push_back(datagram.to_vec());
        }
    }

    /// Sees how streams have fared, and forgets those that are done with.
    fn judge_streams(&mut self, now: Instant) {
        let heard = self.heard;
        let mut done = Vec::new();
        for (id, stream) in &mut self.streams {
            let socket: &mut tcp::Socket<'_> = self.sockets.get_mut(stream.handle);
            stream.judge(socket, heard, now);
            let closed = matches!(socket.state(), tcp::State::Closed | tcp::State::TimeWait);
            let overdue = |since: Instant| now.saturating_duration_since(since) >= CLOSING_PATIENCE;
            if stream.released.is_some_and(|since| closed || overdue(since)) {
                done.push((*id, stream.handle));
            }
        }
        for (id, handle) in done {
            self.streams.remove(&id);
            self.sockets.remove(handle);
        }
    }

    fn free_port(&mut self) -> u16 {
        loop {
            let port = self.next_port;
            self.next_port = stream::port_after(port);
            if self.streams.values().all(|stream| stream.port != port) {
                return port;
            }
        }
    }
}
