//! The tunnel against a WireGuard server with a TCP echo behind it, both played here: no sockets, no waiting.

use std::net::Ipv4Addr;

use super::*;

const ENDPOINT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const PORT: u16 = 7;

/// A WireGuard server and, behind it, a machine that sends back what it gets.
struct Server {
    peer: Tunn,
    machine: Interface,
    link: Link,
    sockets: SocketSet<'static>,
    started: Instant,
    datagrams: VecDeque<Vec<u8>>,
}

impl Server {
    fn new(key: &WgPrivateKey, client: WgPublicKey, now: Instant) -> Self {
        let peer =
            Tunn::new(StaticSecret::from(*key.reveal_bytes()), PublicKey::from(client.bytes()), None, None, 1, None);
        let mut link = Link::default();
        let mut machine = Interface::new(Config::new(HardwareAddress::Ip), &mut link, smoltcp::time::Instant::ZERO);
        machine.update_ip_addrs(|all| all.push(IpCidr::new(IpAddress::Ipv4(HOST), 24)).unwrap());
        machine.routes_mut().add_default_ipv4_route(HOST).unwrap();
        let mut sockets = SocketSet::new(Vec::new());
        for _ in 0..4 {
            let mut socket = socket();
            socket.listen(PORT).unwrap();
            sockets.add(socket);
        }
        Self { peer, machine, link, sockets, started: now, datagrams: VecDeque::new() }
    }

    fn receive(&mut self, datagram: &[u8]) {
        let mut room = vec![0; 4096];
        let mut next = datagram;
        loop {
            match self.peer.decapsulate(Some(ENDPOINT), next, &mut room) {
                TunnResult::WriteToNetwork(reply) => {
                    self.datagrams.push_back(reply.to_vec());
                    next = &[];
                }
                TunnResult::WriteToTunnelV4(packet, _) => {
                    self.link.arrived(packet);
                    break;
                }
                _ => break,
            }
        }
    }

    fn advance(&mut self, now: Instant) {
        let time = smoltcp::time::Instant::from_micros((now - self.started).as_micros() as i64);
        self.machine.poll(time, &mut self.link, &mut self.sockets);
        for (_, socket) in self.sockets.iter_mut() {
            let smoltcp::socket::Socket::Tcp(socket) = socket;
            while socket.can_recv() && socket.can_send() {
                let mut bytes = [0; 1024];
                let room = (socket.send_capacity() - socket.send_queue()).min(bytes.len());
                let count = socket.recv_slice(&mut bytes[..room]).unwrap();
                socket.send_slice(&bytes[..count]).unwrap();
            }
            if socket.state() == tcp::State::CloseWait && socket.recv_queue() == 0 {
                socket.close();
            }
        }
        self.machine.poll(time, &mut self.link, &mut self.sockets);
        while let Some(packet) = self.link.leaving() {
            self.send(&packet);
        }
    }

    fn send(&mut self, packet: &[u8]) {
        let mut room = vec![0; 4096];
        if let TunnResult::WriteToNetwork(datagram) = self.peer.encapsulate(packet, &mut room) {
            self.datagrams.push_back(datagram.to_vec());
        }
    }
}

/// Both sides, with a clock that is turned by hand and a way between them that loses every so-manieth datagram.
struct World {
    tunnel: Tunnel,
    server: Server,
    now: Instant,
    carried: u64,
    loses_every: u64,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let [ours, theirs] = [(); 2].map(|()| WgPrivateKey::generate().unwrap());
        let entrance = Entrance {
            network: NetworkId::from_bits(1),
            name: "home".parse().unwrap(),
            address: "10.64.0.1".parse().unwrap(),
            subnet: "10.77.0.0/24".parse().unwrap(),
            public_key: theirs.public(),
            endpoint: "192.0.2.1:51820".to_owned(),
        };
        let server = Server::new(&theirs, ours.public(), now);
        let tunnel = Tunnel::new(entrance, &ours, 0x1234_5678_9abc_def0, now);
        Self { tunnel, server, now, carried: 0, loses_every: u64::MAX }
    }

    /// A thousandth of a second: datagrams cross, both sides do what they have to.
    fn tick(&mut self) {
        self.now += Duration::from_millis(1);
        self.tunnel.advance(self.now);
        while let Some(datagram) = self.tunnel.datagram().map(<[u8]>::to_vec) {
            self.tunnel.sent();
            if self.arrives() {
                self.server.receive(&datagram);
            }
        }
        self.server.advance(self.now);
        while let Some(datagram) = self.server.datagrams.pop_front() {
            if self.arrives() {
                self.tunnel.receive(&datagram, ENDPOINT, self.now);
            }
        }
    }

    fn arrives(&mut self) -> bool {
        self.carried += 1;
        !self.carried.is_multiple_of(self.loses_every)
    }

    fn open(&mut self) -> StreamId {
        let stream = self.tunnel.open(SocketAddrV4::new(HOST, PORT), self.now).unwrap();
        self.until(|world| world.tunnel.state(stream) == StreamState::Open);
        stream
    }

    fn until(&mut self, condition: impl Fn(&Self) -> bool) {
        for _ in 0..120_000 {
            if condition(self) {
                return;
            }
            self.tick();
        }
        panic!("not within two minutes");
    }

    /// Sends bytes, ends, and gives what comes back.
    fn echo(&mut self, stream: StreamId, bytes: &[u8]) -> Vec<u8> {
        let (mut rest, mut back) = (bytes, Vec::new());
        for _ in 0..120_000 {
            while !rest.is_empty() && self.tunnel.takes_bytes(stream) {
                let count = self.tunnel.put(stream, |room| {
                    let count = room.len().min(rest.len());
                    room[..count].copy_from_slice(&rest[..count]);
                    count
                });
                rest = &rest[count..];
                if rest.is_empty() {
                    self.tunnel.finish(stream);
                }
            }
            while self.tunnel.has_bytes(stream) {
                self.tunnel.take(stream, |arrived| {
                    back.extend_from_slice(arrived);
                    arrived.len()
                });
            }
            if rest.is_empty() && self.tunnel.has_ended(stream) {
                return back;
            }
            self.tick();
        }
        panic!("{} of {} bytes came back", back.len(), bytes.len());
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 31 % 251) as u8).collect()
}

#[test]
fn bytes_survive_a_bad_way() {
    for loses_every in [u64::MAX, 23] {
        let mut world = World::new();
        let stream = world.open();
        world.loses_every = loses_every;
        let bytes = pattern(300_000);
        assert!(world.echo(stream, &bytes) == bytes, "losing every {loses_every}th");
        world.tunnel.release(stream, world.now);
        world.until(|world| world.tunnel.is_idle());
        assert_eq!(world.tunnel.quiet_for(world.now), None);
    }
}

#[test]
fn a_reader_that_takes_nothing_holds_the_other_side_back() {
    let mut world = World::new();
    let stream = world.open();
    let mut sent = 0;
    for _ in 0..20_000 {
        if world.tunnel.takes_bytes(stream) {
            sent += world.tunnel.put(stream, |room| room.len());
        }
        world.tick();
    }
    // Two buffers on each side, and what is on its way.
    assert!(sent > 200_000 && sent < 1_000_000, "{sent}");
}

#[test]
fn what_does_not_open_says_why() {
    let mut world = World::new();
    let at = |host: [u8; 4], port| SocketAddrV4::new(Ipv4Addr::from(host), port);
    assert_eq!(world.tunnel.open(at([10, 78, 0, 1], 22), world.now), Err(Unopened::Elsewhere));
    assert_eq!(world.tunnel.open(at([10, 77, 0, 255], 22), world.now), Err(Unopened::Elsewhere));
    let closed = world.tunnel.open(at(HOST.octets(), 9), world.now).unwrap();
    world.until(|world| world.tunnel.state(closed) != StreamState::Opening);
    assert_eq!(world.tunnel.state(closed), StreamState::Failed(Unopened::Refused));
    world.loses_every = 1;
    let lost = world.tunnel.open(at(HOST.octets(), PORT), world.now).unwrap();
    world.until(|world| world.tunnel.state(lost) != StreamState::Opening);
    assert_eq!(world.tunnel.state(lost), StreamState::Failed(Unopened::NoHandshake));
}

#[test]
fn streams_are_counted() {
    let mut world = World::new();
    world.loses_every = 1;
    let remote = SocketAddrV4::new(HOST, PORT);
    let all: Vec<StreamId> = (0..STREAMS).map(|_| world.tunnel.open(remote, world.now).unwrap()).collect();
    assert_eq!(world.tunnel.open(remote, world.now), Err(Unopened::Full));
    all.iter().for_each(|stream| world.tunnel.release(*stream, world.now));
    world.tick();
    assert!(world.tunnel.is_idle() && world.tunnel.open(remote, world.now).is_ok());
}

#[test]
fn only_the_server_is_believed() {
    let mut world = World::new();
    world.open();
    for rubbish in [b"".as_slice(), b"\x01", &[4; 64], &[1; 148], &[3; 64]] {
        assert!(!world.tunnel.receive(rubbish, ENDPOINT, world.now), "{rubbish:?}");
    }
    // A genuine packet counts, once.
    let packet = vec![0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 99, 0, 1, 10, 64, 0, 1];
    world.server.send(&packet);
    let datagram = world.server.datagrams.pop_back().unwrap();
    assert!(world.tunnel.receive(&datagram, ENDPOINT, world.now));
    assert!(!world.tunnel.receive(&datagram, ENDPOINT, world.now), "a datagram counts once");
}
