//! Devices by the thousand in one thread, and a few threads that catch up for them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::ops::Sub;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use dusk::port::{Clock, System};
use fleet::catch_up::{Book, Frame, Lesson, Pupil, Reason, Report, Verdict};
use fleet::cbor;
use fleet::cycle::{Ask, Asker, Payload, Server, Step};
use fleet::replica::ProvenCheckpoint;
use fleet::wire::{Arrival, Datagram, Endpoint, Heard, Identity, Index, Standing, Stream};
use fleet::{Heads, NoiseKey, Vitals};

use crate::founded::{MASTER, fleet, secret};
use crate::process::Ready;

/// Devices share sockets, each at an address of its own, as they share NATs.
const SOCKETS: u32 = 64;
const THREADS: usize = 4;
/// What IPv4 and UDP add to a datagram.
const HEADERS: u64 = 28;

struct Device {
    endpoint: Endpoint,
    asker: Asker,
    heads: Heads,
    is_connected: bool,
}

/// What went over the wire.
#[derive(Clone, Copy, Default)]
pub struct Traffic {
    pub asks: u64,
    pub answers: u64,
    ask_bytes: u64,
    answer_bytes: u64,
    handshakes: u64,
    handshake_bytes: u64,
}

impl Traffic {
    /// What an idle device and hour costs; a session is made once a day.
    pub fn bytes_an_hour(&self, cycle: u64) -> u64 {
        let cycles = 3_600 / cycle;
        let once = self.ask_bytes / self.asks.max(1) + self.answer_bytes / self.answers.max(1);
        // An initiation and a response, where none was seen.
        once * cycles + (133 + 73 + 2 * HEADERS) / 24
    }
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            asks: self.asks - before.asks,
            answers: self.answers - before.answers,
            ask_bytes: self.ask_bytes - before.ask_bytes,
            answer_bytes: self.answer_bytes - before.answer_bytes,
            handshakes: self.handshakes - before.handshakes,
            handshake_bytes: self.handshake_bytes - before.handshake_bytes,
        }
    }
}

pub struct Devices {
    devices: Vec<Device>,
    master: Ready,
    key: NoiseKey,
    sockets: Vec<UdpSocket>,
    by_index: BTreeMap<Index, usize>,
    due: BinaryHeap<Reverse<(u64, usize)>>,
    /// When each is to be looked at next.
    planned: Vec<u64>,
    clock: Clock,
    traffic: Traffic,
    jobs: Sender<(usize, Heads)>,
    done: Receiver<(usize, Option<Heads>)>,
}

impl Devices {
    /// They begin to ask within one cycle.
    pub fn new(count: u32, master: &Ready, cycle: Duration) -> Self {
        let clock = Clock::start();
        let key = secret(MASTER).public().noise;
        let server = || vec![Server { key, addresses: vec![master.address] }];
        let device = |number| Device {
            endpoint: Endpoint::new(identity(number), clock.now(), &mut System),
            asker: Asker::new(server(), cycle, clock.now(), &mut System),
            heads: master.heads,
            is_connected: false,
        };
        let devices: Vec<_> = (0..count).map(device).collect();
        let socket = |number| {
            let socket = UdpSocket::bind((std::net::Ipv4Addr::new(127, 0, 1, 1 + number as u8), 0));
            let socket = socket.expect("invariant: all of 127/8 is this machine's");
            socket.set_nonblocking(true).expect("invariant: it is a socket");
            socket
        };
        let (jobs, waiting) = channel();
        let (finished, done) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..THREADS {
            let (waiting, finished, master) = (Arc::clone(&waiting), finished.clone(), *master);
            std::thread::spawn(move || catch_up_for_all(&waiting, &finished, &master, key));
        }
        let planned: Vec<_> = devices.iter().map(|device| device.asker.due().as_millis()).collect();
        let due = planned.iter().enumerate().map(|(at, due)| Reverse((*due, at))).collect();
        Self {
            devices,
            master: *master,
            key,
            sockets: (0..SOCKETS).map(socket).collect(),
            by_index: BTreeMap::new(),
            due,
            planned,
            clock,
            traffic: Traffic::default(),
            jobs,
            done,
        }
    }

    pub fn connected(&self) -> u32 {
        self.devices.iter().map(|device| u32::from(device.is_connected)).sum()
    }

    /// How many have caught up to this index.
    pub fn at(&self, index: u64) -> u32 {
        self.devices.iter().map(|device| u32::from(device.heads.index >= index)).sum()
    }

    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Lets them live for so long.
    pub fn run(&mut self, duration: Duration) -> Result<()> {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            let is_busy = self.hear()? | self.finish() | self.act()?;
            if !is_busy {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    }

    fn act(&mut self) -> Result<bool> {
        let now = self.clock.now();
        let mut is_busy = false;
        while let Some(Reverse((due, at))) = self.due.peek().copied() {
            if due > now.as_millis() {
                break;
            }
            self.due.pop();
            // What was heard since has put it off.
            if due != self.planned[at] {
                continue;
            }
            is_busy = true;
            match self.devices[at].asker.poll(now, &mut System) {
                Some(Step::Ask { fresh, .. }) => self.ask(at, fresh)?,
                Some(Step::CatchUp { .. }) => self.jobs.send((at, self.devices[at].heads))?,
                None => {}
            }
            self.schedule(at);
        }
        Ok(is_busy)
    }

    fn ask(&mut self, at: usize, fresh: bool) -> Result<()> {
        let now = self.clock.now();
        let ask = ask(&self.devices[at].heads);
        let endpoint = &mut self.devices[at].endpoint;
        match endpoint.seal(self.key, &ask, now).filter(|_| !fresh) {
            Some((_, datagram)) => {
                self.traffic.asks += 1;
                self.traffic.ask_bytes += datagram.len() as u64 + HEADERS;
                self.send(at, &datagram);
            }
            None => {
                let call = endpoint.dial(self.key, now, &mut System);
                if let Ok(Datagram::Initiation { sender, .. }) = Datagram::parse(&call) {
                    self.by_index.insert(sender, at);
                }
                self.traffic.handshakes += 1;
                self.traffic.handshake_bytes += call.len() as u64 + HEADERS;
                self.send(at, &call);
            }
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<bool> {
        let mut buffer = [0; 1_500];
        let mut is_busy = false;
        for socket in 0..self.sockets.len() {
            while let Ok((length, _)) = self.sockets[socket].recv_from(&mut buffer) {
                is_busy = true;
                let bytes = &buffer[..length];
                let receiver = match Datagram::parse(bytes) {
                    Ok(Datagram::Response { receiver, .. } | Datagram::Cookie { receiver, .. }) => receiver,
                    Ok(Datagram::Sealed { receiver, .. }) => receiver,
                    _ => continue,
                };
                if let Some(at) = self.by_index.get(&receiver).copied() {
                    self.take(at, bytes)?;
                    self.schedule(at);
                }
            }
        }
        Ok(is_busy)
    }

    fn take(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        let (now, master) = (self.clock.now(), self.master.address);
        let device = &mut self.devices[at];
        let known = |_| Some(Standing::Member);
        match device.endpoint.receive(master, bytes, &known, now, &mut System) {
            Ok(Arrival::Reply(datagram)) => self.send(at, &datagram),
            Ok(Arrival::Connected(_)) => self.ask(at, false)?,
            Ok(Arrival::Message(message)) => match Payload::parse(&message.payload) {
                Ok(Payload::Answer(answer)) => {
                    device.is_connected = true;
                    self.traffic.answers += 1;
                    self.traffic.answer_bytes += bytes.len() as u64 + HEADERS;
                    device.asker.answered(self.key, master, &answer, &device.heads, false, now, &mut System);
                }
                Ok(Payload::Start(index)) => device.asker.hinted(index, &device.heads, now, &mut System),
                _ => {}
            },
            Err(_) => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> bool {
        let mut is_busy = false;
        while let Ok((at, heads)) = self.done.try_recv() {
            is_busy = true;
            let now = self.clock.now();
            let device = &mut self.devices[at];
            device.heads = heads.unwrap_or(device.heads);
            device.asker.caught_up(heads.is_some(), now, &mut System);
            self.schedule(at);
        }
        is_busy
    }

    fn schedule(&mut self, at: usize) {
        self.planned[at] = self.devices[at].asker.due().as_millis();
        self.due.push(Reverse((self.planned[at], at)));
    }

    fn send(&self, at: usize, datagram: &[u8]) {
        // What the kernel has no room for is lost, as on any wire.
        let _ = self.sockets[at % self.sockets.len()].send_to(datagram, self.master.address);
    }
}

fn identity(number: u32) -> Identity {
    Identity::new(secret(number).noise_secret(), fleet())
}

fn ask(heads: &Heads) -> Vec<u8> {
    let ask = Ask { heads: heads.digest(), index: heads.index, status: [0; 6], vitals: Vitals::default() };
    Payload::Ask(ask).print()
}

fn catch_up_for_all(
    waiting: &Mutex<Receiver<(usize, Heads)>>,
    finished: &Sender<(usize, Option<Heads>)>,
    master: &Ready,
    key: NoiseKey,
) {
    loop {
        let Ok(job) = waiting.lock().expect("invariant: nobody panics here").recv() else { return };
        let (at, heads) = job;
        if finished.send((at, catch_up(at as u32, heads, master, key).ok())).is_err() {
            return;
        }
    }
}

fn catch_up(number: u32, heads: Heads, master: &Ready, key: NoiseKey) -> Result<Heads> {
    let identity = identity(number);
    let mut book = Believer(heads);
    let mut connection = TcpStream::connect(master.address)?;
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut stream = Stream::dial(&identity, key, &mut System);
    let (mut pupil, want) = Pupil::begin(&book);
    let mut buffer = vec![0; 32 << 10];
    loop {
        connection.write_all(&stream.take_outgoing())?;
        let length = connection.read(&mut buffer)?;
        anyhow::ensure!(length > 0, "the master closed the connection");
        for heard in stream.receive(&buffer[..length], &identity, &|_| true, &mut System)? {
            match heard {
                Heard::Peer(_) => stream.say(&want.print())?,
                Heard::Message(message) => {
                    let lesson = pupil.hear(Frame::parse(&message)?, &mut book).map_err(anyhow::Error::msg)?;
                    if lesson == Lesson::IsOver {
                        return Ok(book.0);
                    }
                }
            }
        }
    }
}

/// Believes what it hears.
struct Believer(Heads);

impl Book for Believer {
    fn heads(&self) -> Heads {
        self.0
    }

    fn take_entries(&mut self, _: &[Vec<u8>]) -> Result<(), Reason> {
        Ok(())
    }

    fn take_copy(&mut self, checkpoint: &[u8], _: &[Vec<u8>], _: &[u8]) -> Result<(), Reason> {
        let heads = || {
            let proven: ProvenCheckpoint = cbor::from_bytes(checkpoint, usize::MAX)?;
            let summary = proven.checkpoint.summary().context("a summary")?;
            anyhow::Ok(Heads {
                authority: summary.authority,
                index: summary.index,
                checkpoint: proven.checkpoint.hash(),
            })
        };
        self.0 = heads().map_err(|error| error.to_string())?;
        Ok(())
    }

    fn reports(&self) -> Vec<Report> {
        Vec::new()
    }

    fn reported(&mut self, _: &Report, _: Verdict) {}
}
