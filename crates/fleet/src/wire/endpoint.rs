//! One end of the UDP port: handshakes, sessions, and what is refused. It sends nothing itself: it says what to send.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::cookie::{self, Baker, Code};
use super::datagram::{self, Datagram, INITIATION_NOISE, Index, LONGEST_PAYLOAD, RESPONSE_NOISE};
use super::handshake::{Dialing, Identity};
use super::load::Load;
use super::random_bytes;
use super::refusal::{Refusal, Refusals};
use super::session::{Party, Session, Standing};
use crate::{Moment, NoiseKey, Random};

/// So many answered handshakes wait for their initiator at a time.
pub const WAITING: usize = 256;
/// So many strangers have a session at a time.
pub const STRANGERS: usize = 64;
/// So many handshakes of our own are under way at a time.
pub const DIALING: usize = 32;
/// An answer that takes longer is for a handshake that was given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Whoever did not answer is called again after this long.
const REDIAL: Duration = Duration::from_secs(2);
/// A session that was replaced still opens what was under way.
const REPLACED: Duration = Duration::from_secs(60);

/// What a datagram came to.
#[derive(Debug)]
pub enum Arrival {
    /// Send this back to where the datagram came from.
    Reply(Vec<u8>),
    /// There is a session with this peer from here on.
    Connected(NoiseKey),
    /// A peer has said something.
    Message(Message),
}

/// What a peer said.
#[derive(Debug)]
pub struct Message {
    /// Who.
    pub peer: NoiseKey,
    /// What it is to the fleet.
    pub standing: Standing,
    /// Where it is.
    pub from: SocketAddr,
    /// What it said.
    pub payload: Vec<u8>,
    session: Index,
}

/// A handshake of our own that is not answered yet.
struct Call {
    dialing: Dialing,
    peer: NoiseKey,
    since: Moment,
    noise: [u8; INITIATION_NOISE],
    mac1: Code,
    has_cookie: bool,
}

/// The sessions that lead to a member.
#[derive(Default)]
struct Ways {
    current: Option<Index>,
    /// The one before, and until when it opens what is late.
    replaced: Option<(Index, Moment)>,
}

/// The state of the port.
pub struct Endpoint {
    identity: Identity,
    sessions: BTreeMap<Index, Session>,
    ways: BTreeMap<NoiseKey, Ways>,
    waiting: VecDeque<Index>,
    strangers: VecDeque<NoiseKey>,
    calls: BTreeMap<Index, Call>,
    cookies: BTreeMap<NoiseKey, (Code, Moment)>,
    baker: Baker,
    load: Load,
    refusals: Refusals,
}

impl Endpoint {
    /// The port of this node.
    pub fn new(identity: Identity, now: Moment, random: &mut dyn Random) -> Self {
        Self {
            identity,
            sessions: BTreeMap::new(),
            ways: BTreeMap::new(),
            waiting: VecDeque::new(),
            strangers: VecDeque::new(),
            calls: BTreeMap::new(),
            cookies: BTreeMap::new(),
            baker: Baker::new(now, random),
            load: Load::default(),
            refusals: Refusals::default(),
        }
    }

    /// Who this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How often something was refused, and why.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How old the session with `peer` is, if there is one that carries anything.
    pub fn age(&self, peer: NoiseKey, now: Moment) -> Option<Duration> {
        let session = self.sessions.get(&self.ways.get(&peer)?.current?)?;
        (!session.is_over(now)).then(|| session.age(now))
    }

    /// Where `peer` was heard last.
    pub fn address(&self, peer: NoiseKey) -> Option<SocketAddr> {
        Some(self.sessions.get(&self.ways.get(&peer)?.current?)?.address)
    }

    /// For how long `peer` has said nothing, if there is a session.
    pub fn silence(&self, peer: NoiseKey, now: Moment) -> Option<Duration> {
        Some(now.since(self.sessions.get(&self.ways.get(&peer)?.current?)?.heard))
    }

    /// Whether `peer` was called a moment ago and has not answered.
    pub fn is_calling(&self, peer: NoiseKey, now: Moment) -> bool {
        self.calls.values().any(|call| call.peer == peer && now.since(call.since) < REDIAL)
    }

    /// Forgets all members that are none any more.
    pub fn retain(&mut self, is_member: impl Fn(NoiseKey) -> bool) {
        let is_gone = |session: &&Session| session.standing == Standing::Member && !is_member(session.peer);
        let gone: Vec<_> = self.sessions.values().filter(is_gone).map(|session| session.peer).collect();
        gone.into_iter().for_each(|peer| self.forget(peer));
    }

    /// Calls `peer`: the first datagram of a handshake. An earlier call to it is given up.
    pub fn dial(&mut self, peer: NoiseKey, now: Moment, random: &mut dyn Random) -> Vec<u8> {
        self.calls.retain(|_, call| call.peer != peer);
        while self.calls.len() >= DIALING {
            let oldest = self.calls.iter().min_by_key(|(_, call)| call.since).map(|(index, _)| *index);
            oldest.and_then(|oldest| self.calls.remove(&oldest));
        }
        let index = self.free_index(random);
        let (dialing, noise) = self.identity.dial(peer, random);
        let cookie = self.cookies.get(&peer).filter(|(_, since)| now.since(*since) < cookie::LIFETIME);
        let (datagram, mac1) = initiation(index, &noise, peer, cookie.map(|(cookie, _)| cookie));
        let has_cookie = cookie.is_some();
        self.calls.insert(index, Call { dialing, peer, since: now, noise, mac1, has_cookie });
        datagram
    }

    /// Takes a datagram. `standing` says what the owner of a key is to the fleet, and nothing for whoever must not speak.
    pub fn receive(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        standing: &dyn Fn(NoiseKey) -> Option<Standing>,
        now: Moment,
        random: &mut dyn Random,
    ) -> Result<Arrival, Refusal> {
        let arrival = self.take(from, datagram, standing, now, random);
        if let Err(refusal) = &arrival {
            self.refusals.count(*refusal);
        }
        arrival
    }

    /// Seals a payload for a peer that there is a session with; says where it is, too.
    pub fn seal(&mut self, peer: NoiseKey, payload: &[u8], now: Moment) -> Option<(SocketAddr, Vec<u8>)> {
        let index = self.ways.get(&peer)?.current?;
        let session = self.sessions.get_mut(&index)?;
        if session.is_over(now) || payload.len() > LONGEST_PAYLOAD {
            return None;
        }
        Some((session.address, session.seal(payload)))
    }

    /// Seals the answer to a message. There is none longer than what was asked.
    pub fn answer(&mut self, message: &Message, payload: &[u8]) -> Option<Vec<u8>> {
        if payload.len() > message.payload.len() {
            return None;
        }
        Some(self.sessions.get_mut(&message.session)?.seal(payload))
    }

    /// Forgets a peer: what it says is refused until it calls again and is welcome.
    pub fn forget(&mut self, peer: NoiseKey) {
        self.ways.remove(&peer);
        self.strangers.retain(|stranger| *stranger != peer);
        self.sessions.retain(|_, session| session.peer != peer);
        self.calls.retain(|_, call| call.peer != peer);
        self.cookies.remove(&peer);
    }

    /// Forgets what is too old. Once a minute is often enough.
    pub fn expire(&mut self, now: Moment) {
        self.calls.retain(|_, call| now.since(call.since) < PATIENCE);
        self.cookies.retain(|_, (_, since)| now.since(*since) < cookie::LIFETIME);
        for ways in self.ways.values_mut() {
            if let Some((index, _)) = ways.replaced.take_if(|(_, until)| *until <= now) {
                self.sessions.remove(&index);
            }
        }
        self.sessions.retain(|_, session| !session.is_over(now));
        let sessions = &self.sessions;
        self.waiting.retain(|index| sessions.get(index).is_some_and(|session| !session.confirmed));
        self.ways.retain(|_, ways| ways.current.is_some_and(|index| sessions.contains_key(&index)));
        let ways = &self.ways;
        self.strangers.retain(|stranger| ways.contains_key(stranger));
    }

    fn take(
        &mut self,
        from: SocketAddr,
        bytes: &[u8],
        standing: &dyn Fn(NoiseKey) -> Option<Standing>,
        now: Moment,
        random: &mut dyn Random,
    ) -> Result<Arrival, Refusal> {
        match Datagram::parse(bytes)? {
            Datagram::Sealed { receiver, counter, ciphertext } => self.open(from, receiver, counter, ciphertext, now),
            Datagram::Initiation { sender, noise, mac1, mac2 } => {
                let covered = datagram::before_macs(bytes);
                let own = self.identity.public();
                if !cookie::equal(&cookie::mac1(own, covered), &mac1) {
                    return Err(Refusal::Mac);
                }
                if self.load.is_high(now) && !self.baker.knows(from, covered, &mac1, &mac2) {
                    let cookie = self.baker.reply(own, (sender, &mac1), from, now, random);
                    return Ok(Arrival::Reply(cookie));
                }
                if !self.load.admit(from.ip(), now) {
                    return Err(Refusal::Busy);
                }
                self.answer_call(from, sender, noise, standing, now, random)
            }
            Datagram::Response { sender, receiver, noise, mac1 } => {
                let covered = datagram::before_macs(bytes);
                if !cookie::equal(&cookie::mac1(self.identity.public(), covered), &mac1) {
                    return Err(Refusal::Mac);
                }
                self.finish_call(from, sender, receiver, noise, now)
            }
            Datagram::Cookie { receiver, nonce, sealed } => {
                let call = self.calls.get_mut(&receiver).ok_or(Refusal::Session)?;
                if std::mem::replace(&mut call.has_cookie, true) {
                    return Err(Refusal::Cookie);
                }
                let Some(cookie) = cookie::open(call.peer, &nonce, &sealed, &call.mac1) else {
                    call.has_cookie = false;
                    return Err(Refusal::Cookie);
                };
                let (again, _) = initiation(receiver, &call.noise, call.peer, Some(&cookie));
                let peer = call.peer;
                self.cookies.insert(peer, (cookie, now));
                Ok(Arrival::Reply(again))
            }
        }
    }

    fn answer_call(
        &mut self,
        from: SocketAddr,
        sender: Index,
        noise: &[u8; INITIATION_NOISE],
        standing: &dyn Fn(NoiseKey) -> Option<Standing>,
        now: Moment,
        random: &mut dyn Random,
    ) -> Result<Arrival, Refusal> {
        let (peer, keys, noise) = self.identity.answer(noise, random)?;
        let standing = standing(peer).ok_or(Refusal::Peer)?;
        if self.waiting.len() >= WAITING
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.sessions.remove(&oldest);
        }
        let index = self.free_index(random);
        let party = Party { key: peer, standing, address: from, index: sender };
        self.sessions.insert(index, Session::new(keys, party, false, now));
        self.waiting.push_back(index);
        let mut response = Datagram::Response { sender: index, receiver: sender, noise: &noise, mac1: [0; 16] }.print();
        let mac1 = cookie::mac1(peer, datagram::before_macs(&response));
        let end = response.len();
        response[end - mac1.len()..].copy_from_slice(&mac1);
        Ok(Arrival::Reply(response))
    }

    fn finish_call(
        &mut self,
        from: SocketAddr,
        sender: Index,
        receiver: Index,
        noise: &[u8; RESPONSE_NOISE],
        now: Moment,
    ) -> Result<Arrival, Refusal> {
        let mut call = self.calls.remove(&receiver).ok_or(Refusal::Session)?;
        let keys = match call.dialing.finish(noise) {
            Ok(keys) => keys,
            Err((dialing, error)) => {
                call.dialing = dialing;
                self.calls.insert(receiver, call);
                return Err(error.into());
            }
        };
        let party = Party { key: call.peer, standing: Standing::Member, address: from, index: sender };
        self.sessions.insert(receiver, Session::new(keys, party, true, now));
        self.lead(call.peer, receiver, now);
        Ok(Arrival::Connected(call.peer))
    }

    fn open(
        &mut self,
        from: SocketAddr,
        index: Index,
        counter: u32,
        ciphertext: &[u8],
        now: Moment,
    ) -> Result<Arrival, Refusal> {
        let session = self.sessions.get_mut(&index).ok_or(Refusal::Session)?;
        if session.is_over(now) {
            return Err(Refusal::Session);
        }
        if session.replays(counter) {
            return Err(Refusal::Replay);
        }
        let payload = session.open(counter, ciphertext, from).ok_or(Refusal::Seal)?;
        session.heard = now;
        let (peer, standing) = (session.peer, session.standing);
        if !std::mem::replace(&mut session.confirmed, true) {
            self.waiting.retain(|waiting| *waiting != index);
            self.load.confirm(now);
            if standing == Standing::Stranger {
                self.welcome(peer);
            }
            self.lead(peer, index, now);
        }
        Ok(Arrival::Message(Message { peer, standing, from, payload, session: index }))
    }

    /// Makes this the session that leads to `peer`.
    fn lead(&mut self, peer: NoiseKey, index: Index, now: Moment) {
        let ways = self.ways.entry(peer).or_default();
        let before = ways.current.replace(index);
        let replaced = std::mem::replace(&mut ways.replaced, before.map(|before| (before, now + REPLACED)));
        if let Some((oldest, _)) = replaced {
            self.sessions.remove(&oldest);
        }
    }

    /// Makes room for a stranger, at the cost of the one that came first.
    fn welcome(&mut self, peer: NoiseKey) {
        self.strangers.retain(|stranger| *stranger != peer);
        if self.strangers.len() >= STRANGERS
            && let Some(oldest) = self.strangers.pop_front()
        {
            self.forget(oldest);
        }
        self.strangers.push_back(peer);
    }

    fn free_index(&self, random: &mut dyn Random) -> Index {
        loop {
            let index = Index(u32::from_be_bytes(random_bytes(random)));
            if !self.sessions.contains_key(&index) && !self.calls.contains_key(&index) {
                return index;
            }
        }
    }
}

/// The first datagram of a handshake, and its first mac.
fn initiation(sender: Index, noise: &[u8; INITIATION_NOISE], peer: NoiseKey, cookie: Option<&Code>) -> (Vec<u8>, Code) {
    let bare = Datagram::Initiation { sender, noise, mac1: [0; 16], mac2: [0; 16] }.print();
    let covered = datagram::before_macs(&bare);
    let mac1 = cookie::mac1(peer, covered);
    let mac2 = cookie.map(|cookie| cookie::mac2(cookie, covered, &mac1)).unwrap_or_default();
    (Datagram::Initiation { sender, noise, mac1, mac2 }.print(), mac1)
}

#[cfg(test)]
mod tests;
