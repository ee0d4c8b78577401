//! A node's TCP connections: what each is for, and what it says.

use std::net::SocketAddr;

use super::{Alarm, Effect, Node};
use crate::catch_up::{Book, Frame, Lesson, Pupil, Teacher};
use crate::cycle::Payload;
use crate::node::Circumstances;
use crate::wire::{Heard, Number, Stream};
use crate::{Moment, NoiseKey};

/// So many bytes wait to be written before more is said.
const AHEAD: usize = 64 << 10;

/// A connection.
pub(super) struct Connection {
    pub stream: Stream,
    pub job: Job,
    pub address: SocketAddr,
    /// Bytes said since it was drained.
    pub said: usize,
}

/// What it is for.
pub(super) enum Job {
    /// To answer whoever connected.
    Serve(Option<(NoiseKey, Teacher)>),
    /// To ask, where datagrams do not pass.
    Ask,
    /// To catch up; what is said first.
    Learn(Pupil, Option<Frame>),
    /// To say what is too long for a datagram to a voter.
    Vote(NoiseKey, Vec<Vec<u8>>),
}

impl Connection {
    pub fn accepted(from: SocketAddr) -> Self {
        Self { stream: Stream::accept(), job: Job::Serve(None), address: from, said: 0 }
    }
}

impl Node {
    pub(super) fn connect(&mut self, server: NoiseKey, at: SocketAddr, job: Job, random: &mut dyn crate::Random) {
        let number = self.number();
        let stream = Stream::dial(self.endpoint.identity(), server, random);
        self.effects.push(Effect::Connect(number, at));
        self.connections.insert(number, Connection { stream, job, address: at, said: 0 });
        self.send_out(number);
    }

    pub(super) fn take_bytes(&mut self, number: Number, bytes: &[u8], circumstances: &mut Circumstances<'_>) {
        let Some(mut connection) = self.connections.remove(&number) else { return };
        let (replica, serving) = (&self.replica, &self.serving);
        let welcome = |key| super::standing(replica, serving.as_ref(), key).is_some();
        let heard = connection.stream.receive(bytes, self.endpoint.identity(), &welcome, circumstances.random);
        let outcome = heard.map_err(|error| error.to_string()).and_then(|heard| {
            let mut goes_on = true;
            for heard in heard {
                goes_on &= self.hear_connection(number, &mut connection, heard, circumstances)?;
            }
            Ok(goes_on)
        });
        match outcome {
            Ok(true) => {
                self.connections.insert(number, connection);
                self.pump(number);
            }
            Ok(false) => self.end(number, connection, true, circumstances),
            Err(reason) => {
                if let (Some(peer), Job::Learn(..) | Job::Ask) = (connection.stream.peer(), &connection.job) {
                    self.effects.push(Effect::Alarm(Alarm::Hostile(peer, reason)));
                }
                self.end(number, connection, false, circumstances);
            }
        }
    }

    /// Says what there is to say, as far as there is room.
    pub(super) fn pump(&mut self, number: Number) {
        if let (Some(connection), Some(serving)) = (self.connections.get_mut(&number), &self.serving)
            && let Job::Serve(Some((_, teacher))) = &mut connection.job
        {
            while connection.said < AHEAD {
                let Some(frame) = teacher.next(&serving.archive) else { break };
                let bytes = frame.print();
                connection.said += bytes.len();
                if connection.stream.say(&bytes).is_err() {
                    break;
                }
            }
        }
        self.send_out(number);
    }

    /// The driver has written all: forget how much it was.
    pub(super) fn make_room(&mut self, number: Number) {
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.said = 0;
        }
    }

    fn send_out(&mut self, number: Number) {
        if let Some(connection) = self.connections.get_mut(&number) {
            let bytes = connection.stream.take_outgoing();
            if !bytes.is_empty() {
                self.effects.push(Effect::Say(number, bytes));
            }
        }
    }

    /// Takes what was heard; says whether the connection goes on.
    fn hear_connection(
        &mut self,
        number: Number,
        connection: &mut Connection,
        heard: Heard,
        circumstances: &mut Circumstances<'_>,
    ) -> Result<bool, String> {
        let Connection { stream, job, address, .. } = connection;
        let message = match heard {
            Heard::Peer(peer) => {
                self.door.recognise(number);
                match job {
                    Job::Serve(taught) => *taught = Some((peer, Teacher::new(peer))),
                    Job::Ask => {
                        let ask = Payload::Ask(self.ask()).print();
                        say(stream, &Frame::Payload(ask))?;
                    }
                    Job::Learn(_, want) => want.take().map_or(Ok(()), |want| say(stream, &want))?,
                    Job::Vote(_, votes) => {
                        for vote in std::mem::take(votes) {
                            say(stream, &Frame::Vote(vote))?;
                        }
                        // Nothing comes back; the other side closes when it has read all.
                        say(stream, &Frame::Done)?;
                    }
                }
                return Ok(true);
            }
            Heard::Message(message) => message,
        };
        let frame = Frame::parse(&message).map_err(|error| error.to_string())?;
        match job {
            Job::Serve(Some((peer, teacher))) => {
                let peer = *peer;
                self.hear_pupil(peer, teacher, stream, frame, circumstances.now)
            }
            Job::Ask => {
                let (Some(server), Frame::Payload(payload)) = (stream.peer(), frame) else {
                    return Err("a frame out of turn".into());
                };
                let Ok(Payload::Answer(answer)) = Payload::parse(&payload) else {
                    return Err("no answer".into());
                };
                self.answered(server, *address, &answer, circumstances);
                Ok(false)
            }
            Job::Learn(pupil, _) => {
                let before = self.replica.heads();
                let lesson = pupil.hear(frame, &mut self.replica);
                if self.replica.heads() != before || self.replica.fork().is_some() {
                    self.learned();
                }
                match lesson? {
                    Lesson::GoesOn(frames) => {
                        frames.iter().try_for_each(|frame| say(stream, frame))?;
                        Ok(true)
                    }
                    Lesson::IsOver => Ok(false),
                }
            }
            Job::Serve(None) | Job::Vote(..) => Err("a frame out of turn".into()),
        }
    }

    fn hear_pupil(
        &mut self,
        peer: NoiseKey,
        teacher: &mut Teacher,
        stream: &mut Stream,
        frame: Frame,
        now: Moment,
    ) -> Result<bool, String> {
        match frame {
            Frame::Payload(payload) => {
                let Ok(Payload::Ask(ask)) = Payload::parse(&payload) else { return Err("no ask".into()) };
                let is_member = self.serving.as_ref().is_some_and(|serving| serving.archive.member(peer).is_some());
                // Who came over TCP is where it says it is.
                let answer = if is_member { self.answer(peer, &ask, now) } else { self.answer_stranger(now) };
                let Some(answer) = answer else { return Ok(false) };
                say(stream, &Frame::Payload(Payload::Answer(answer).print()))?;
            }
            Frame::Vote(vote) => self.hear_vote(peer, &vote, now),
            // A voter that has said all.
            Frame::Done => return Ok(false),
            frame => {
                let Some(serving) = &mut self.serving else { return Err("this node serves nobody".into()) };
                let (answer, kept) = teacher.hear(frame, &mut serving.archive)?;
                if let Some(status) = kept {
                    serving.answerer.keep_status(peer, status);
                }
                answer.map_or(Ok(()), |frame| say(stream, &frame))?;
            }
        }
        Ok(true)
    }

    fn end(
        &mut self,
        number: Number,
        mut connection: Connection,
        is_done: bool,
        circumstances: &mut Circumstances<'_>,
    ) {
        // What was said last still goes out.
        let bytes = connection.stream.take_outgoing();
        if !bytes.is_empty() {
            self.effects.push(Effect::Say(number, bytes));
        }
        self.door.leave(number);
        self.effects.push(Effect::Close(number));
        self.end_job(connection.job, is_done, circumstances);
    }

    pub(super) fn end_job(&mut self, job: Job, is_done: bool, circumstances: &mut Circumstances<'_>) {
        if let Job::Learn(..) = job {
            self.asker.caught_up(is_done, circumstances.now, circumstances.random);
            self.hasten_stranger(circumstances.now);
        }
    }
}

fn say(stream: &mut Stream, frame: &Frame) -> Result<(), String> {
    stream.say(&frame.print()).map_err(|error| error.to_string())
}
