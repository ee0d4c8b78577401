//! A node as a whole: device, and where the fleet says so, voter and master. It is sans-I/O: what happens comes in, with the
//! time and randomness; what is to be done goes out, in the order in which it has to be done.

mod connection;
mod serving;
mod voting;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use connection::{Connection, Job};
pub use serving::Serving;

use crate::catch_up::{Book, Lesson, Pupil, Report, Teacher};
use crate::cycle::{Answer, Ask, Asker, Payload, Remark, Server, StatusDigest, Step, Way};
use crate::replica::Replica;
use crate::wire::{Arrival, Door, Endpoint, Identity, Message, Number, Standing};
use crate::{DeviceId, LogIndex, Moment, NodeSecret, NoiseKey, Random, Role, Vitals};

/// Sessions, doors and devices are looked through this often.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// A voter that hears of no other for so long asks as any device does: it may have been voted out.
const LONELY: Duration = Duration::from_secs(60);
/// Whoever is no member yet asks this often.
const STRANGER: Duration = Duration::from_secs(10);
/// Hints go out in turns.
const TURN: Duration = Duration::from_millis(100);

/// Which file a write belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flash {
    /// The voter's.
    Journal,
    /// The device's.
    Replica,
}

/// What is to be done, in this order: what is written must last before what follows is sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Add a record to a file.
    Write(Flash, Vec<u8>),
    /// Send a datagram.
    Send(SocketAddr, Vec<u8>),
    /// Open a connection under this number.
    Connect(Number, SocketAddr),
    /// Write to a connection.
    Say(Number, Vec<u8>),
    /// Close a connection.
    Close(Number),
    /// There is another configuration to apply.
    Apply,
    /// Master or backup has answered: the network leads to it. On a voter, which asks nobody: this member has come through.
    Reached(NoiseKey),
    /// Keep this status of a device.
    Keep(DeviceId, Vec<u8>),
    /// Somebody asks to join.
    Request(Vec<u8>),
    /// Tell the operator.
    Alarm(Alarm),
}

/// What an operator has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Two devices have one key.
    Clone(NoiseKey),
    /// Two majorities disagree.
    Fork,
    /// A device knows of more than this voter: it may have been restored from an old backup.
    Behind(LogIndex),
    /// A report of this node was refused.
    Refused(String),
    /// A server said what it must not.
    Hostile(NoiseKey, String),
}

/// What the loop around a node hands in with everything.
pub struct Circumstances<'a> {
    /// The time.
    pub now: Moment,
    /// Chance.
    pub random: &'a mut dyn Random,
}

/// The state of a node.
pub struct Node {
    own: NoiseKey,
    endpoint: Endpoint,
    asker: Asker,
    replica: Replica,
    serving: Option<Serving>,
    directory: BTreeMap<NoiseKey, Vec<SocketAddr>>,
    vitals: Vitals,
    status: StatusDigest,
    connections: BTreeMap<Number, Connection>,
    door: Door,
    next_number: Number,
    votes: VecDeque<(NoiseKey, Vec<u8>)>,
    heard_vote: Moment,
    is_lonely: bool,
    kept_house: Moment,
    hinted: Moment,
    effects: Vec<Effect>,
}

impl Node {
    /// A node with what it held before it started.
    pub fn new(
        secret: &NodeSecret,
        replica: Replica,
        serving: Option<Serving>,
        directory: BTreeMap<NoiseKey, Vec<SocketAddr>>,
        circumstances: &mut Circumstances<'_>,
    ) -> Self {
        let Circumstances { now, random } = circumstances;
        let identity = Identity::new(secret.noise_secret(), replica.fleet());
        let mut node = Self {
            own: identity.public(),
            endpoint: Endpoint::new(identity, *now, *random),
            asker: Asker::new(Vec::new(), Duration::from_secs(2), *now, *random),
            replica,
            serving,
            directory,
            vitals: Vitals::default(),
            status: [0; 6],
            connections: BTreeMap::new(),
            door: Door::default(),
            next_number: 0,
            votes: VecDeque::new(),
            heard_vote: *now,
            is_lonely: false,
            kept_house: *now,
            hinted: *now,
            effects: Vec::new(),
        };
        node.choose_servers();
        node
    }

    /// The key that it speaks Noise with.
    pub const fn key(&self) -> NoiseKey {
        self.own
    }

    /// The voters that nothing is heard of.
    pub fn silent_voters(&self) -> Vec<crate::DeviceName> {
        let (Some(authority), now) = (self.replica.authority(), self.kept_house) else { return Vec::new() };
        let state = authority.state();
        let voters = state.voters().iter().filter_map(|(device, _)| state.devices.get(device));
        let is_silent = |key: NoiseKey| self.endpoint.silence(key, now).is_none_or(|silence| silence > LONELY / 2);
        let silent = voters.filter(|device| device.key().noise != self.own && is_silent(device.key().noise));
        silent.map(|device| device.name.clone()).collect()
    }

    /// What the device holds.
    pub const fn replica(&self) -> &Replica {
        &self.replica
    }

    /// What it serves, if it does.
    pub const fn serving(&self) -> Option<&Serving> {
        self.serving.as_ref()
    }

    /// The UDP side.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// How the device is, for the next ask.
    pub fn set_vitals(&mut self, vitals: Vitals) {
        self.vitals = vitals;
    }

    /// The device's newest status, signed.
    pub fn set_status(&mut self, status: Vec<u8>, now: Moment) {
        self.status = crate::archive::status_digest(&status);
        self.replica.report(Report::Status(status));
        self.asker.hasten(now + Duration::from_secs(1));
    }

    /// Hands something to the voters: proposes it here, or reports it.
    pub fn submit(&mut self, submission: Vec<u8>, circumstances: &mut Circumstances<'_>) -> Vec<Effect> {
        self.replica.report(Report::Record(submission));
        self.asker.hasten(circumstances.now);
        self.settle(circumstances)
    }

    /// Asks at once: somebody waits for an answer over the network as it is at this moment.
    pub fn ask_now(&mut self, circumstances: &mut Circumstances<'_>) -> Vec<Effect> {
        self.asker.hasten(circumstances.now);
        self.poll(circumstances)
    }

    /// Where others may be, as far as is known by now.
    pub fn set_directory(&mut self, directory: BTreeMap<NoiseKey, Vec<SocketAddr>>) {
        self.directory = directory;
        self.choose_servers();
    }

    /// Serves from here on, as the fleet has made this node a voter.
    pub fn enlist(&mut self, serving: Serving, circumstances: &mut Circumstances<'_>) -> Vec<Effect> {
        self.serving = Some(serving);
        self.settle(circumstances)
    }

    /// Serves no longer, as others vote now.
    pub fn retire(&mut self) {
        self.serving = None;
    }

    /// Names new voters where the old ones have no majority.
    pub fn promote(&mut self, submission: Vec<u8>, circumstances: &mut Circumstances<'_>) -> Vec<Effect> {
        if let Some(serving) = &mut self.serving {
            serving.voter.promote(submission, &mut serving.archive);
        }
        self.settle(circumstances)
    }

    /// Takes a datagram.
    pub fn datagram(&mut self, from: SocketAddr, bytes: &[u8], circumstances: &mut Circumstances<'_>) -> Vec<Effect> {
        let Circumstances { now, random } = circumstances;
        let (replica, serving) = (&self.replica, &self.serving);
        let standing = |key| standing(replica, serving.as_ref(), key);
        match self.endpoint.receive(from, bytes, &standing, *now, *random) {
            Ok(Arrival::Reply(datagram)) => self.effects.push(Effect::Send(from, datagram)),
            Ok(Arrival::Connected(peer)) => self.connected_to(peer, *now),
            Ok(Arrival::Message(message)) => self.hear(&message, circumstances),
            // The endpoint counts what it refused.
            Err(_) => {}
        }
        self.settle(circumstances)
    }

    /// Somebody has connected; whether they may stay is in the effects.
    pub fn accepted(&mut self, from: SocketAddr, now: Moment) -> (Number, Vec<Effect>) {
        let number = self.number();
        let (welcome, gone) = self.door.admit(number, from.ip(), now);
        gone.into_iter().for_each(|gone| self.close(gone));
        if welcome {
            self.connections.insert(number, Connection::accepted(from));
        } else {
            self.effects.push(Effect::Close(number));
        }
        (number, std::mem::take(&mut self.effects))
    }

    /// Bytes of a connection have come.
    pub fn read(&mut self, number: Number, bytes: &[u8], circumstances: &mut Circumstances<'_>) -> Vec<Effect> {
        self.take_bytes(number, bytes, circumstances);
        self.settle(circumstances)
    }

    /// All that was to be written to a connection is on its way: there is room for more.
    pub fn drained(&mut self, number: Number, circumstances: &mut Circumstances<'_>) -> Vec<Effect> {
        self.make_room(number);
        self.pump(number);
        self.settle(circumstances)
    }

    /// A connection has ended, or was never made.
    pub fn closed(&mut self, number: Number, circumstances: &mut Circumstances<'_>) -> Vec<Effect> {
        self.door.leave(number);
        if let Some(connection) = self.connections.remove(&number) {
            self.end_job(connection.job, false, circumstances);
        }
        self.settle(circumstances)
    }

    /// When [`Node::poll`] is to be called at the latest.
    pub fn due(&self) -> Moment {
        let asker = if self.asks() { self.asker.due() } else { self.kept_house + HOUSEKEEPING };
        let voter = self.serving.as_ref().map(|serving| serving.voter.due());
        voter.into_iter().chain([self.kept_house + HOUSEKEEPING]).fold(asker, Moment::min)
    }

    /// Lets time pass.
    pub fn poll(&mut self, circumstances: &mut Circumstances<'_>) -> Vec<Effect> {
        let now = circumstances.now;
        if self.asks()
            && let Some(step) = self.asker.poll(now, circumstances.random)
        {
            self.take_step(step, circumstances);
        }
        if let Some(serving) = &mut self.serving {
            serving.voter.poll(now, &mut serving.archive);
            if now.since(self.hinted) >= TURN {
                self.hinted = now;
                let (index, devices) = serving.answerer.hints();
                let hint = Payload::Start(index).print();
                for device in devices {
                    let sealed = self.endpoint.seal(device, &hint, now);
                    self.effects.extend(sealed.map(|(to, datagram)| Effect::Send(to, datagram)));
                }
            }
        }
        if now.since(self.kept_house) >= HOUSEKEEPING {
            self.kept_house = now;
            let has_others = self.serving.as_ref().is_some_and(|serving| serving.voter.electorate().voters.len() > 1);
            self.is_lonely = has_others && now.since(self.heard_vote) > LONELY;
            self.endpoint.expire(now);
            self.door.overdue(now).into_iter().for_each(|number| self.close(number));
        }
        self.settle(circumstances)
    }

    /// Whether it asks others: a voter hears of everything by voting.
    fn asks(&self) -> bool {
        self.is_lonely || !self.serving.as_ref().is_some_and(|serving| serving.votes(self.own))
    }

    fn choose_servers(&mut self) {
        let known = |key: NoiseKey| {
            let addresses = self.directory.get(&key)?.clone();
            (key != self.own).then_some(Server { key, addresses })
        };
        let mut servers: Vec<_> = self.replica.authority().map_or_else(Vec::new, |authority| {
            let state = authority.state();
            let serving = state.voters().iter().filter(|(_, role)| *role != Role::Witness);
            serving.filter_map(|(device, _)| known(state.devices.get(device)?.key().noise)).collect()
        });
        if servers.is_empty() {
            // All that is known of the fleet is who may know more.
            servers = self.directory.keys().filter_map(|key| known(*key)).collect();
        }
        self.asker.set_servers(servers);
    }

    fn take_step(&mut self, step: Step, circumstances: &mut Circumstances<'_>) {
        let Circumstances { now, random } = circumstances;
        match step {
            Step::Ask { server, at, way: Way::Udp, fresh } => {
                let ask = Payload::Ask(self.ask()).print();
                let sealed = if fresh { None } else { self.endpoint.seal(server, &ask, *now) };
                let datagram = match sealed {
                    Some((_, datagram)) => datagram,
                    None => self.endpoint.dial(server, *now, *random),
                };
                self.effects.push(Effect::Send(at, datagram));
            }
            Step::Ask { server, at, way: Way::Tcp, .. } => self.connect(server, at, Job::Ask, *random),
            Step::CatchUp { server, at } => {
                let (pupil, want) = Pupil::begin(&self.replica);
                self.connect(server, at, Job::Learn(pupil, Some(want)), *random);
            }
        }
    }

    fn ask(&self) -> Ask {
        let heads = self.replica.heads();
        Ask { heads: heads.digest(), index: heads.index, status: self.status, vitals: self.vitals }
    }

    /// There is a session: say what it was made for.
    fn connected_to(&mut self, peer: NoiseKey, now: Moment) {
        if self.asker.waits_for(peer) {
            let ask = Payload::Ask(self.ask()).print();
            let sealed = self.endpoint.seal(peer, &ask, now);
            self.effects.extend(sealed.map(|(to, datagram)| Effect::Send(to, datagram)));
        }
        let (mine, others) = std::mem::take(&mut self.votes).into_iter().partition(|(to, _)| *to == peer);
        let mine: VecDeque<_> = mine;
        self.votes = others;
        for (_, vote) in mine {
            let sealed = self.endpoint.seal(peer, &Payload::Vote(&vote).print(), now);
            self.effects.extend(sealed.map(|(to, datagram)| Effect::Send(to, datagram)));
        }
    }

    fn hear(&mut self, message: &Message, circumstances: &mut Circumstances<'_>) {
        let now = circumstances.now;
        if message.standing == Standing::Member && !self.asks() {
            // Nobody answers a voter; that others reach it says as much.
            self.effects.push(Effect::Reached(message.peer));
        }
        match Payload::parse(&message.payload) {
            Ok(Payload::Ask(ask)) if message.standing == Standing::Member => {
                if let Some(answer) = self.answer(message.peer, &ask, now) {
                    let answer = self.endpoint.answer(message, &Payload::Answer(answer).print());
                    self.effects.extend(answer.map(|datagram| Effect::Send(message.from, datagram)));
                }
            }
            Ok(Payload::Answer(answer)) => self.answered(message.peer, message.from, &answer, circumstances),
            Ok(Payload::Start(index)) => {
                self.asker.hinted(index, &self.replica.heads(), now, circumstances.random);
            }
            Ok(Payload::Vote(vote)) => self.hear_vote(message.peer, vote, now),
            Ok(Payload::Ask(_)) | Err(_) => {}
        }
    }

    fn answer(&mut self, device: NoiseKey, ask: &Ask, now: Moment) -> Option<Answer> {
        let fork = self.replica.fork().is_some();
        let serving = self.serving.as_mut()?;
        let heads = crate::catch_up::Library::heads(&serving.archive);
        let (answer, remark) = serving.answerer.answer(device, ask, &heads, fork, now);
        match remark {
            Remark::Nothing => {}
            Remark::Clone => self.effects.push(Effect::Alarm(Alarm::Clone(device))),
            Remark::WeAreBehind(index) => self.effects.push(Effect::Alarm(Alarm::Behind(index))),
        }
        Some(answer)
    }

    fn answer_stranger(&self, now: Moment) -> Option<Answer> {
        let serving = self.serving.as_ref()?;
        Some(serving.answerer.answer_stranger(&crate::catch_up::Library::heads(&serving.archive), now))
    }

    fn answered(&mut self, server: NoiseKey, at: SocketAddr, answer: &Answer, circumstances: &mut Circumstances<'_>) {
        let Circumstances { now, random } = circumstances;
        self.effects.push(Effect::Reached(server));
        let has_news = self.replica.reports().iter().any(|report| !matches!(report, Report::Status(_)));
        self.asker.answered(server, at, answer, &self.replica.heads(), has_news, *now, *random);
        self.hasten_stranger(*now);
    }

    /// Somebody sits there who has just let this node in, or is about to.
    fn hasten_stranger(&mut self, now: Moment) {
        if self.replica.device().is_none() {
            self.asker.hasten(now + STRANGER);
        }
    }

    /// Says what has to be said after whatever happened, and hands out what is to be done.
    fn settle(&mut self, circumstances: &mut Circumstances<'_>) -> Vec<Effect> {
        let journal = self.serve(circumstances);
        for (_, reason) in self.replica.take_refused() {
            self.effects.push(Effect::Alarm(Alarm::Refused(reason)));
        }
        // What is said follows from what is held: that lasts first, and the log before what was learned from it.
        let journal = journal.into_iter().map(|write| Effect::Write(Flash::Journal, write));
        let replica = self.replica.take_writes().into_iter().map(|write| Effect::Write(Flash::Replica, write));
        journal.chain(replica).chain(std::mem::take(&mut self.effects)).collect()
    }

    /// Serves, and says what the journal must hold before anything else happens.
    fn serve(&mut self, circumstances: &mut Circumstances<'_>) -> Vec<Vec<u8>> {
        let Some(serving) = &mut self.serving else { return Vec::new() };
        let settled = serving.settle(self.own, &mut self.replica, circumstances.now);
        self.effects.extend(settled.effects);
        if settled.has_learned {
            self.learned();
        }
        for (to, vote) in settled.votes {
            self.vote(to, vote, circumstances);
        }
        settled.writes
    }

    /// The replica has taken something: others may serve, and there may be something to apply.
    fn learned(&mut self) {
        self.choose_servers();
        self.effects.push(Effect::Apply);
        if self.replica.fork().is_some() {
            self.effects.push(Effect::Alarm(Alarm::Fork));
        }
        // Whoever is no member any more has nothing to say.
        let (replica, serving) = (&self.replica, self.serving.as_ref());
        self.endpoint.retain(|key| standing(replica, serving, key) == Some(Standing::Member));
    }

    fn number(&mut self) -> Number {
        self.next_number += 1;
        self.next_number
    }

    fn close(&mut self, number: Number) {
        self.door.leave(number);
        self.connections.remove(&number);
        self.effects.push(Effect::Close(number));
    }
}

/// What a key's owner is to this node.
fn standing(replica: &Replica, serving: Option<&Serving>, key: NoiseKey) -> Option<Standing> {
    let in_archive = serving.is_some_and(|serving| serving.archive.member(key).is_some());
    let in_chain = || replica.authority().is_some_and(|authority| authority.state().device_by_noise(&key).is_some());
    match in_archive || in_chain() {
        true => Some(Standing::Member),
        // Where the fleet stands is served to whoever knows of it; that is who asks to join.
        false => serving.map(|_| Standing::Stranger),
    }
}

/// Lets a replica learn from what this node serves itself.
pub(crate) fn teach(own: NoiseKey, archive: &mut crate::archive::Archive, replica: &mut Replica) -> Result<(), String> {
    let (mut pupil, want) = Pupil::begin(replica);
    let mut teacher = Teacher::new(own);
    let mut said = VecDeque::from([want]);
    loop {
        while let Some(frame) = said.pop_front() {
            if let (Some(answer), _) = teacher.hear(frame, archive)? {
                match pupil.hear(answer, replica)? {
                    Lesson::GoesOn(frames) => said.extend(frames),
                    Lesson::IsOver => return Ok(()),
                }
            }
        }
        let Some(frame) = teacher.next(archive) else { return Ok(()) };
        match pupil.hear(frame, replica)? {
            Lesson::GoesOn(frames) => said.extend(frames),
            Lesson::IsOver => return Ok(()),
        }
    }
}
