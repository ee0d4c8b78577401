//! The handshake: `Noise_IK_25519_ChaChaPoly_SHA256`, bound to the fleet by its prologue.
//!
//! The library does the pattern; randomness is handed to it, so that a seed gives the same handshake again.

use snow::params::{CipherChoice, DHChoice, HashChoice, NoiseParams};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random as Generator};
use snow::{Builder, HandshakeState, StatelessTransportState};
use thiserror::Error;
use zeroize::Zeroizing;

use super::datagram::{INITIATION_NOISE, RESPONSE_NOISE};
use super::random_bytes;
use crate::{FleetId, NoiseKey, Random};

const PATTERN: &str = "Noise_IK_25519_ChaChaPoly_SHA256";

/// A node's own Noise key, and the fleet that it speaks in.
pub struct Identity {
    private: Zeroizing<[u8; 32]>,
    public: NoiseKey,
    prologue: [u8; 32],
}

/// Why a handshake came to nothing. It says no more, since it would tell a stranger.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the handshake is not authentic, or of another fleet")]
pub struct HandshakeError;

/// What an initiator keeps until it is answered.
pub struct Dialing(Box<HandshakeState>);

impl Identity {
    /// A node by its private key, in the fleet that `fleet` is the hash of.
    pub fn new(private: Zeroizing<[u8; 32]>, fleet: FleetId) -> Self {
        let public = NoiseKey::of(x25519_dalek::x25519(*private, x25519_dalek::X25519_BASEPOINT_BYTES));
        Self { private, public, prologue: *fleet.bytes() }
    }

    /// The key that others call it by.
    pub fn public(&self) -> NoiseKey {
        self.public
    }

    /// Begins a handshake with whoever has that key.
    pub fn dial(&self, peer: NoiseKey, random: &mut dyn Random) -> (Dialing, [u8; INITIATION_NOISE]) {
        let builder = self.builder(random).remote_public_key(peer.bytes());
        let state = builder.and_then(Builder::build_initiator);
        let mut state = state.expect("invariant: the pattern is known and has its keys");
        let mut message = [0; INITIATION_NOISE];
        let length = state.write_message(&[], &mut message);
        debug_assert_eq!(length.ok(), Some(INITIATION_NOISE));
        (Dialing(Box::new(state)), message)
    }

    /// Answers an initiation: who it was, the answer, and the keys of the session, which are good for nothing until the
    /// initiator has used them.
    pub fn answer(
        &self,
        noise: &[u8; INITIATION_NOISE],
        random: &mut dyn Random,
    ) -> Result<(NoiseKey, Keys, [u8; RESPONSE_NOISE]), HandshakeError> {
        let state = self.builder(random).build_responder();
        let mut state = state.expect("invariant: the pattern is known and has its keys");
        state.read_message(noise, &mut [0; INITIATION_NOISE]).map_err(|_| HandshakeError)?;
        let peer = state.get_remote_static().and_then(|key| key.try_into().ok()).ok_or(HandshakeError)?;
        let mut message = [0; RESPONSE_NOISE];
        state.write_message(&[], &mut message).map_err(|_| HandshakeError)?;
        let keys = state.into_stateless_transport_mode().map_err(|_| HandshakeError)?;
        Ok((NoiseKey::of(peer), Keys(keys), message))
    }

    fn builder(&self, random: &mut dyn Random) -> Builder<'_> {
        let parameters: NoiseParams = PATTERN.parse().expect("invariant: the pattern is known");
        let given = Given(random_bytes(random));
        Builder::with_resolver(parameters, Box::new(given))
            .local_private_key(&self.private[..])
            .and_then(|builder| builder.prologue(&self.prologue))
            .expect("invariant: each is given once")
    }
}

impl Dialing {
    /// Takes the answer. A wrong one costs nothing but itself: the right one may still come.
    pub fn finish(mut self, noise: &[u8; RESPONSE_NOISE]) -> Result<Keys, (Self, HandshakeError)> {
        match self.0.read_message(noise, &mut [0; RESPONSE_NOISE]) {
            Ok(_) => {
                let keys = self.0.into_stateless_transport_mode();
                Ok(Keys(keys.expect("invariant: the pattern has two messages")))
            }
            Err(_) => Err((self, HandshakeError)),
        }
    }
}

/// The keys of a session. They take any counter, and any counter twice: who uses them counts.
pub struct Keys(StatelessTransportState);

impl Keys {
    /// Seals a payload under a counter that was never used.
    pub fn seal(&self, counter: u32, payload: &[u8]) -> Vec<u8> {
        let mut ciphertext = vec![0; payload.len() + super::datagram::TAG];
        let written = self.0.write_message(u64::from(counter), payload, &mut ciphertext);
        written.expect("invariant: payloads are shorter than a Noise message");
        ciphertext
    }

    /// Opens what the other side sealed under that counter.
    pub fn open(&self, counter: u32, ciphertext: &[u8]) -> Option<Vec<u8>> {
        let mut payload = vec![0; ciphertext.len().checked_sub(super::datagram::TAG)?];
        self.0.read_message(u64::from(counter), ciphertext, &mut payload).ok()?;
        Some(payload)
    }
}

/// The library's own cryptography, with 32 bytes of randomness that were handed in: the one ephemeral key of a side.
struct Given([u8; 32]);

impl CryptoResolver for Given {
    fn resolve_rng(&self) -> Option<Box<dyn Generator>> {
        Some(Box::new(Once(Some(Zeroizing::new(self.0)))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// Bytes that are given away once.
struct Once(Option<Zeroizing<[u8; 32]>>);

impl Generator for Once {
    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), snow::Error> {
        let given = self.0.take().ok_or(snow::Error::Rng)?;
        let given = given.get(..into.len()).ok_or(snow::Error::Rng)?;
        into.copy_from_slice(given);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::chance::Chance;

    #[test]
    fn two_nodes_of_one_fleet_agree_on_keys() {
        let chance = &mut Chance::new(1);
        let (device, master) = (
            Identity::new(Zeroizing::new([1; 32]), FleetId::of([9; 32])),
            Identity::new(Zeroizing::new([2; 32]), FleetId::of([9; 32])),
        );
        let (dialing, initiation) = device.dial(master.public(), chance);
        let (peer, theirs, response) = master.answer(&initiation, chance).unwrap();
        assert_eq!(peer, device.public());
        let Ok(ours) = dialing.finish(&response) else { panic!("the answer is right") };
        assert_eq!(theirs.open(3, &ours.seal(3, b"ask")).unwrap(), b"ask");
        assert_eq!(ours.open(0, &theirs.seal(0, b"answer")).unwrap(), b"answer");
        assert_eq!(theirs.open(4, &ours.seal(3, b"ask")), None);
    }

    #[test]
    fn another_fleet_and_another_key_are_refused() {
        let chance = &mut Chance::new(2);
        let master = Identity::new(Zeroizing::new([2; 32]), FleetId::of([9; 32]));
        let (_, other_fleet) =
            Identity::new(Zeroizing::new([1; 32]), FleetId::of([8; 32])).dial(master.public(), chance);
        assert!(master.answer(&other_fleet, chance).is_err());
        let (_, other_key) =
            Identity::new(Zeroizing::new([1; 32]), FleetId::of([9; 32])).dial(NoiseKey::of([5; 32]), chance);
        assert!(master.answer(&other_key, chance).is_err());
    }

    #[test]
    fn a_forged_answer_leaves_room_for_the_right_one() {
        let chance = &mut Chance::new(3);
        let (device, master) = (
            Identity::new(Zeroizing::new([1; 32]), FleetId::of([9; 32])),
            Identity::new(Zeroizing::new([2; 32]), FleetId::of([9; 32])),
        );
        let (dialing, initiation) = device.dial(master.public(), chance);
        let (_, _, response) = master.answer(&initiation, chance).unwrap();
        let Err((dialing, _)) = dialing.finish(&[7; RESPONSE_NOISE]) else { panic!("it is forged") };
        assert!(dialing.finish(&response).is_ok());
    }
}
