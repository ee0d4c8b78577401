//! Users' keys under their passwords: what voters keep and give out after a proof of the password.
//!
//! A password is stretched into two halves: one proves that it is known, the other opens the key. A voter knows a hash of
//! the first, so that a look at a running voter's memory while somebody signs in does not give the second.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::cbor::{self, Blob, BytesError};
use crate::hash::{FleetId, Hash, hash};
use crate::key::{NodeSecret, VerifyKey};
use crate::{Random, UserName};

const FORMAT: u8 = 1;
/// Memory that stretching takes, in KiB: a router with 64 MB can do it.
const MEMORY: u32 = 19 << 10;
const PASSES: u32 = 3;
/// What others may ask this machine to spend.
const MOST_MEMORY: u32 = 256 << 10;
const MOST_PASSES: u32 = 16;
const LONGEST: usize = 512;

/// How to stretch a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretching {
    /// Memory in KiB.
    pub memory: u32,
    /// Passes over it.
    pub passes: u32,
    /// Random.
    pub salt: [u8; 16],
}

/// A user's key under a password.
#[derive(Clone, PartialEq, Eq)]
pub struct LockedKey {
    format: u8,
    /// Whose it is.
    pub user: UserName,
    /// The public half.
    pub key: VerifyKey,
    /// How the password is stretched.
    pub stretching: Stretching,
    proof: Hash,
    nonce: [u8; 24],
    locked: Blob,
}

cbor_arrays! {
    Stretching 3 [memory, passes, salt];
    LockedKey 7 [format, user, key, stretching, proof, nonce, locked];
    Bound 3 [fleet, user, key];
}

/// What a locked key is bound to.
struct Bound {
    fleet: FleetId,
    user: UserName,
    key: VerifyKey,
}

/// Why a key does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// The password or the user; which of them is not told.
    #[error("the user or the password is wrong")]
    Wrong,
    /// The stretching is not one that this machine does.
    #[error("stretching with {memory} KiB and {passes} passes is beyond {MOST_MEMORY} KiB and {MOST_PASSES} passes")]
    Stretching {
        /// Memory in KiB.
        memory: u32,
        /// Passes.
        passes: u32,
    },
}

/// A password, stretched.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Stretched {
    proof: [u8; 32],
    opening: [u8; 32],
}

impl Stretched {
    /// Shown to a voter, it proves that the password is known.
    pub const fn proof(&self) -> &[u8; 32] {
        &self.proof
    }
}

impl Stretching {
    /// The usual one, with a fresh salt.
    pub fn fresh(random: &mut impl Random) -> Self {
        let mut salt = [0; 16];
        random.fill(&mut salt);
        Self { memory: MEMORY, passes: PASSES, salt }
    }

    /// What a voter answers for a user that there is not: always the same, and of nobody's choosing.
    pub fn of_nobody(user: &UserName, voter: &NodeSecret) -> Self {
        let mut salt = [0; 16];
        salt.copy_from_slice(&hash("no such user", &[voter.reveal(), user.as_str().as_bytes()]).bytes()[..16]);
        Self { memory: MEMORY, passes: PASSES, salt }
    }

    /// Stretches a password (Argon2id, RFC 9106, one lane).
    pub fn stretch(&self, password: &str) -> Result<Stretched, PasswordError> {
        let Self { memory, passes, salt } = *self;
        let error = PasswordError::Stretching { memory, passes };
        if memory > MOST_MEMORY || passes > MOST_PASSES {
            return Err(error);
        }
        let params = Params::new(memory, passes, 1, Some(64)).map_err(|_| error.clone())?;
        let mut out = Zeroizing::new([0; 64]);
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon.hash_password_into(password.as_bytes(), &salt, &mut *out).map_err(|_| error)?;
        let (mut proof, mut opening) = ([0; 32], [0; 32]);
        proof.copy_from_slice(&out[..32]);
        opening.copy_from_slice(&out[32..]);
        Ok(Stretched { proof, opening })
    }
}

impl LockedKey {
    /// Locks a key under a password that was stretched as `stretching` says.
    pub fn lock(
        fleet: FleetId,
        user: UserName,
        secret: &NodeSecret,
        (stretching, password): (Stretching, &Stretched),
        random: &mut impl Random,
    ) -> Self {
        let key = secret.public().verify;
        let mut nonce = [0; 24];
        random.fill(&mut nonce);
        let bound = cbor::to_bytes(&Bound { fleet, user: user.clone(), key });
        let payload = Payload { msg: secret.reveal(), aad: &bound };
        let locked = cipher(password).encrypt(XNonce::from_slice(&nonce), payload);
        let locked = Blob(locked.expect("invariant: 32 bytes can be encrypted"));
        Self { format: FORMAT, user, key, stretching, proof: proof_hash(&password.proof), nonce, locked }
    }

    /// Reads the shipped form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BytesError> {
        let key: Self = cbor::from_bytes(bytes, LONGEST)?;
        match key.format {
            FORMAT => Ok(key),
            _ => Err(BytesError::Malformed { at: 1, expected: "format 1" }),
        }
    }

    /// The shipped form.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_bytes(self)
    }

    /// Whether a proof is that of the password; a voter asks this before it gives the key out.
    pub fn is_proven(&self, proof: &[u8; 32]) -> bool {
        // Both sides are hashes: how long the comparison takes tells nothing of the password.
        proof_hash(proof) == self.proof
    }

    /// Opens the key.
    pub fn open(&self, fleet: FleetId, password: &Stretched) -> Result<NodeSecret, PasswordError> {
        let bound = cbor::to_bytes(&Bound { fleet, user: self.user.clone(), key: self.key });
        let payload = Payload { msg: &self.locked.0, aad: &bound };
        let opened = cipher(password).decrypt(XNonce::from_slice(&self.nonce), payload);
        let opened = Zeroizing::new(opened.map_err(|_| PasswordError::Wrong)?);
        let secret = NodeSecret::of(opened.as_slice().try_into().map_err(|_| PasswordError::Wrong)?);
        (secret.public().verify == self.key).then_some(secret).ok_or(PasswordError::Wrong)
    }
}

fn proof_hash(proof: &[u8; 32]) -> Hash {
    hash("password proof", &[proof])
}

fn cipher(password: &Stretched) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new_from_slice(&password.opening).expect("invariant: it is 32 bytes long")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random() -> impl Random {
        let mut random = fuzz::Random::new(1);
        move |bytes: &mut [u8]| bytes.iter_mut().for_each(|byte| *byte = random.byte())
    }

    fn quick(salt: u8) -> Stretching {
        Stretching { memory: 64, passes: 1, salt: [salt; 16] }
    }

    #[test]
    fn a_key_opens_by_its_password_and_stays_the_same_under_another_one() {
        let (fleet, user) = (FleetId::of([1; 32]), "ada".parse::<UserName>().unwrap());
        let secret = NodeSecret::of([2; 32]);
        let stretched = |salt, password: &str| quick(salt).stretch(password).unwrap();
        let lock = |secret: &NodeSecret, salt, password: &str| {
            LockedKey::lock(fleet, user.clone(), secret, (quick(salt), &stretched(salt, password)), &mut random())
        };
        let locked = LockedKey::from_bytes(&lock(&secret, 1, "one").to_bytes()).unwrap();
        let opened = locked.open(fleet, &stretched(1, "one")).unwrap();
        let again = lock(&opened, 2, "two");
        assert_eq!(again.open(fleet, &stretched(2, "two")).unwrap().public(), secret.public());
        assert!(again.is_proven(stretched(2, "two").proof()) && !again.is_proven(stretched(2, "one").proof()));
        let wrong = |locked: &LockedKey, fleet, password: &str| locked.open(fleet, &stretched(1, password)).err();
        assert_eq!(wrong(&locked, fleet, "two"), Some(PasswordError::Wrong));
        assert_eq!(wrong(&locked, FleetId::of([3; 32]), "one"), Some(PasswordError::Wrong));
    }

    #[test]
    fn nobody_makes_a_machine_stretch_without_end() {
        assert!(Stretching { memory: u32::MAX, ..quick(1) }.stretch("x").is_err());
        assert!(Stretching { passes: u32::MAX, ..quick(1) }.stretch("x").is_err());
    }

    #[test]
    fn of_nobody_there_is_always_the_same_salt() {
        let (voter, name) = (NodeSecret::of([1; 32]), "eve".parse::<UserName>().unwrap());
        assert_eq!(Stretching::of_nobody(&name, &voter), Stretching::of_nobody(&name, &voter));
        assert_ne!(
            Stretching::of_nobody(&name, &voter).salt,
            Stretching::of_nobody(&"eva".parse().unwrap(), &voter).salt
        );
    }
}
