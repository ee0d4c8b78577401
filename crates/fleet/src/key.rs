//! Keys: a node's three, derived from one seed, and their public halves.

use ed25519_dalek::{Signer as _, SigningKey};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::Random;
use crate::hash::hash;

bytes_type! {
    VerifyKey 32 "a signing key (64 hex digits)", "An Ed25519 public key; also the name of whoever signs with it.";
    NoiseKey 32 "a Noise key (64 hex digits)", "An X25519 public key that a node speaks Noise with.";
    SealingKey 32 "a sealing key (64 hex digits)", "An X25519 public key that secrets are sealed to.";
}

/// A node's public keys. They are separate, and bound by the record that is signed with the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeKey {
    /// Signs what the node says.
    pub verify: VerifyKey,
    /// Speaks Noise.
    pub noise: NoiseKey,
    /// Receives secrets.
    pub sealing: SealingKey,
}

/// The seed that a node's or a user's secret keys are derived from.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct NodeSecret([u8; 32]);

impl NodeSecret {
    /// A fresh one.
    pub fn generate(random: &mut impl Random) -> Self {
        let mut seed = [0; 32];
        random.fill(&mut seed);
        Self(seed)
    }

    /// From the seed as it was kept.
    pub const fn of(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// The seed, for the one place that keeps it.
    pub const fn reveal(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public halves.
    pub fn public(&self) -> NodeKey {
        let public = |secret: &StaticSecret| PublicKey::from(secret).to_bytes();
        NodeKey {
            verify: VerifyKey::of(self.signing().verifying_key().to_bytes()),
            noise: NoiseKey::of(public(&StaticSecret::from(*self.noise_secret()))),
            sealing: SealingKey::of(public(&self.sealing())),
        }
    }

    /// The secret half of the Noise key, for the Noise library.
    pub fn noise_secret(&self) -> zeroize::Zeroizing<[u8; 32]> {
        self.derived("noise")
    }

    /// Signs a message as it is; whoever calls has put domain and fleet in front.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing().sign(message).to_bytes()
    }

    /// The secret half of the sealing key.
    pub fn sealing(&self) -> StaticSecret {
        StaticSecret::from(*self.derived("sealing"))
    }

    fn signing(&self) -> SigningKey {
        SigningKey::from_bytes(&self.derived("signing"))
    }

    fn derived(&self, purpose: &str) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(*hash(purpose, &[&self.0]).bytes())
    }
}

cbor_bytes! { VerifyKey NoiseKey SealingKey }
cbor_arrays! { NodeKey 3 [verify, noise, sealing]; }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_three_separate_keys_and_the_same_ones_again() {
        let key = NodeSecret::of([7; 32]).public();
        assert_eq!(key, NodeSecret::of([7; 32]).public());
        assert_ne!(key.noise.bytes(), key.sealing.bytes());
        assert_ne!(key, NodeSecret::of([8; 32]).public());
    }
}
