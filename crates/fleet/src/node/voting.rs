//! How a node's vote reaches other voters, and theirs it.

use std::net::SocketAddr;
use std::time::Duration;

use super::connection::{Connection, Job};
use super::{Circumstances, Effect, Node, Serving};
use crate::authority::State;
use crate::cycle::Payload;
use crate::wire::LONGEST_PAYLOAD;
use crate::{DeviceId, Moment, NoiseKey, Random};

/// What waits to be said to a voter that there is no way to yet.
const WAITING_VOTES: usize = 32;
/// A voter that is silent for so long may have lost its session, or its place.
const SILENCE: Duration = Duration::from_secs(20);

impl Node {
    pub(super) fn hear_vote(&mut self, from: NoiseKey, vote: &[u8], now: Moment) {
        // A voter whose own log is behind knows of the others as every device does.
        let votes = self.replica.authority().is_some_and(|authority| votes(authority.state(), from));
        if let Some(serving) = &mut self.serving
            && (votes || votes_as_of(serving, from))
        {
            self.heard_vote = now;
            serving.voter.hear(from, vote, &mut serving.archive);
        }
    }

    pub(super) fn vote(&mut self, to: NoiseKey, vote: Vec<u8>, circumstances: &mut Circumstances<'_>) {
        let Circumstances { now, random } = circumstances;
        let payload = Payload::Vote(&vote).print();
        // Each address that is told gets its turn.
        let turn = usize::try_from(now.as_millis() / 30_000).unwrap_or_default();
        let told = self.directory.get(&to).filter(|addresses| !addresses.is_empty());
        let told = told.map(|addresses| addresses[turn % addresses.len()]);
        // Whoever has dialled is where it dialled from: nodes speak from the port that they listen on.
        let is_silent = self.endpoint.silence(to, *now).is_some_and(|silence| silence > SILENCE);
        let heard = self.endpoint.address(to);
        let Some(at) = (if is_silent { told.or(heard) } else { heard.or(told) }) else { return };
        if payload.len() > LONGEST_PAYLOAD {
            let same = |connection: &&mut Connection| matches!(&connection.job, Job::Vote(peer, _) if *peer == to);
            match self.connections.values_mut().find(same) {
                Some(Connection { job: Job::Vote(_, votes), .. }) if votes.len() < WAITING_VOTES => votes.push(vote),
                Some(_) => {}
                None => self.connect(to, at, Job::Vote(to, vec![vote]), *random),
            }
        } else if let Some((heard, datagram)) = self.endpoint.seal(to, &payload, *now) {
            self.effects.push(Effect::Send(heard, datagram));
            // Whoever does not answer may have lost the session.
            if is_silent {
                self.call(to, at, *now, *random);
            }
        } else {
            if self.votes.len() >= WAITING_VOTES {
                self.votes.pop_front();
            }
            self.votes.push_back((to, vote));
            self.call(to, at, *now, *random);
        }
    }

    fn call(&mut self, to: NoiseKey, at: SocketAddr, now: Moment, random: &mut dyn Random) {
        if !self.endpoint.is_calling(to, now) {
            let call = self.endpoint.dial(to, now, random);
            self.effects.push(Effect::Send(at, call));
        }
    }
}

/// Whether the owner of this key votes.
fn votes(state: &State, key: NoiseKey) -> bool {
    let has = |device: &DeviceId| state.devices.get(device).is_some_and(|device| device.key().noise == key);
    state.voters().iter().any(|(device, _)| has(device))
}

fn votes_as_of(serving: &Serving, key: NoiseKey) -> bool {
    votes(serving.archive.log().authority().state(), key)
}
