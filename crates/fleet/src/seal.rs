//! Sealing: secrets for whoever has a key, and groups' keys for their members.

use std::fmt;
use std::str::FromStr;

use chacha20poly1305::aead::Aead;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use types::ParseError;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::cbor::{self, Blob, BytesError, Cbor, Reader, Writer};
use crate::hash::{FleetId, hash};
use crate::key::{NodeSecret, SealingKey};
use crate::{GroupName, Random};

/// The longest secret that is sealed.
pub const LONGEST_SECRET: usize = 8 << 10;
const LONGEST_SEALED: usize = LONGEST_SECRET + 128;
/// What a sealed secret begins with as text.
const PREFIX: &str = "sealed:";

/// Something that only the holder of one key can read, in one context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    ephemeral: [u8; 32],
    sealed: Blob,
}

cbor_arrays! {
    Sealed 2 [ephemeral, sealed];
    GroupKey 2 [generation, sealed];
}

/// It was sealed to another key, for another place, or was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is sealed does not open: it is for another key or another place, or was changed")]
pub struct SealError;

impl Sealed {
    fn seal(to: &SealingKey, context: &[u8], secret: &[u8], random: &mut impl Random) -> Result<Self, SealError> {
        let mut seed = Zeroizing::new([0; 32]);
        random.fill(&mut *seed);
        let own = StaticSecret::from(*seed);
        let ephemeral = PublicKey::from(&own).to_bytes();
        let cipher = cipher(&own, &PublicKey::from(*to.bytes()), &ephemeral, to, context)?;
        // The key is used once, so the nonce may be anything.
        let sealed = cipher.encrypt(&XNonce::default(), secret).map_err(|_| SealError)?;
        Ok(Self { ephemeral, sealed: Blob(sealed) })
    }

    fn open(&self, own: &StaticSecret, context: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let to = SealingKey::of(PublicKey::from(own).to_bytes());
        let cipher = cipher(own, &PublicKey::from(self.ephemeral), &self.ephemeral, &to, context)?;
        let opened = cipher.decrypt(&XNonce::default(), self.sealed.0.as_slice()).map_err(|_| SealError)?;
        Ok(Zeroizing::new(opened))
    }
}

fn cipher(
    own: &StaticSecret,
    other: &PublicKey,
    ephemeral: &[u8; 32],
    to: &SealingKey,
    context: &[u8],
) -> Result<XChaCha20Poly1305, SealError> {
    let shared = own.diffie_hellman(other);
    if !shared.was_contributory() {
        return Err(SealError);
    }
    let key = Zeroizing::new(*hash("seal", &[ephemeral, to.bytes(), shared.as_bytes(), context]).bytes());
    Ok(XChaCha20Poly1305::new_from_slice(&*key).expect("invariant: a hash is 32 bytes long"))
}

/// Where something sealed belongs, so that it opens nowhere else.
struct Context<'a> {
    purpose: &'static str,
    fleet: FleetId,
    group: &'a GroupName,
    generation: u32,
}

impl Context<'_> {
    fn to_bytes(&self) -> Vec<u8> {
        cbor::to_bytes(self)
    }
}

impl Cbor for Context<'_> {
    fn write(&self, out: &mut Writer) {
        out.array(4);
        out.text(self.purpose);
        self.fleet.write(out);
        self.group.write(out);
        self.generation.write(out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
        Err(input.malformed("nothing: a context is written, never read"))
    }
}

/// A group's secret key.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct GroupSecret([u8; 32]);

/// A group's key as a member's section has it: `devices/<id>/key/<group>`, `users/<name>/key/<group>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupKey {
    /// Which of the group's keys.
    pub generation: u32,
    sealed: Sealed,
}

impl GroupSecret {
    /// A fresh one.
    pub fn generate(random: &mut impl Random) -> Self {
        let mut seed = [0; 32];
        random.fill(&mut seed);
        Self(seed)
    }

    /// What secrets of the group are sealed to.
    pub fn public(&self) -> SealingKey {
        SealingKey::of(PublicKey::from(&StaticSecret::from(self.0)).to_bytes())
    }

    /// Wraps the key for a member.
    pub fn wrap(
        &self,
        fleet: FleetId,
        group: &GroupName,
        generation: u32,
        member: &SealingKey,
        random: &mut impl Random,
    ) -> Result<GroupKey, SealError> {
        let context = Context { purpose: "group key", fleet, group, generation }.to_bytes();
        Ok(GroupKey { generation, sealed: Sealed::seal(member, &context, &self.0, random)? })
    }

    /// Reads a secret of the group.
    pub fn open(&self, fleet: FleetId, secret: &Secret) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let Secret { group, generation, sealed } = secret;
        let context = Context { purpose: "secret", fleet, group, generation: *generation }.to_bytes();
        sealed.open(&StaticSecret::from(self.0), &context)
    }
}

impl GroupKey {
    /// Takes out the key, which must be the half of the one that the authority chain names.
    pub fn unwrap(
        &self,
        fleet: FleetId,
        group: &GroupName,
        public: &SealingKey,
        member: &NodeSecret,
    ) -> Result<GroupSecret, SealError> {
        let context = Context { purpose: "group key", fleet, group, generation: self.generation }.to_bytes();
        let opened = self.sealed.open(&member.sealing(), &context)?;
        let secret = GroupSecret(opened.as_slice().try_into().map_err(|_| SealError)?);
        (secret.public() == *public).then_some(secret).ok_or(SealError)
    }
}

/// A secret of a group, as it stands in a section's content: `sealed:GROUP:GENERATION:BASE64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Whose members may read it.
    pub group: GroupName,
    /// By which of the group's keys.
    pub generation: u32,
    sealed: Sealed,
}

impl Secret {
    /// Seals a secret to a group's key.
    pub fn seal(
        fleet: FleetId,
        group: &GroupName,
        generation: u32,
        key: &SealingKey,
        secret: &[u8],
        random: &mut impl Random,
    ) -> Result<Self, SealError> {
        let context = Context { purpose: "secret", fleet, group, generation }.to_bytes();
        Ok(Self { group: group.clone(), generation, sealed: Sealed::seal(key, &context, secret, random)? })
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sealed = data_encoding::BASE64URL_NOPAD.encode(&cbor::to_bytes(&self.sealed));
        write!(out, "{PREFIX}{}:{}:{sealed}", self.group, self.generation)
    }
}

impl FromStr for Secret {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new(text, "a sealed secret (\"sealed:GROUP:GENERATION:BASE64\")");
        let mut parts = text.strip_prefix(PREFIX).ok_or_else(error)?.splitn(3, ':');
        let mut part = || parts.next().ok_or_else(error);
        let (group, generation, sealed) = (part()?.parse()?, part()?, part()?);
        let number: u32 = generation.parse().map_err(|_| error())?;
        let sealed = data_encoding::BASE64URL_NOPAD.decode(sealed.as_bytes()).map_err(|_| error())?;
        let sealed = cbor::from_bytes(&sealed, LONGEST_SEALED).map_err(|_| error())?;
        let canonical = number.to_string() == generation;
        canonical.then_some(Self { group, generation: number, sealed }).ok_or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random() -> impl Random {
        let mut random = fuzz::Random::new(1);
        move |bytes: &mut [u8]| bytes.iter_mut().for_each(|byte| *byte = random.byte())
    }

    #[test]
    fn members_read_what_is_sealed_to_their_group_and_nobody_else_does() {
        let (fleet, group): (_, GroupName) = (FleetId::of([1; 32]), "ap".parse().unwrap());
        let (member, stranger) = (NodeSecret::of([2; 32]), NodeSecret::of([3; 32]));
        let key = GroupSecret::generate(&mut random());
        let wrapped = key.wrap(fleet, &group, 1, &member.public().sealing, &mut random()).unwrap();
        let secret = Secret::seal(fleet, &group, 1, &key.public(), b"radio password", &mut random()).unwrap();
        let secret: Secret = secret.to_string().parse().unwrap();

        let opened = wrapped.unwrap(fleet, &group, &key.public(), &member).unwrap();
        assert_eq!(opened.open(fleet, &secret).unwrap().as_slice(), b"radio password");
        assert!(wrapped.unwrap(fleet, &group, &key.public(), &stranger).is_err());
        assert!(wrapped.unwrap(fleet, &group, &stranger.public().sealing, &member).is_err(), "another public half");
        assert!(wrapped.unwrap(FleetId::of([9; 32]), &group, &key.public(), &member).is_err(), "another fleet");
        let elsewhere = Secret { generation: 2, ..secret };
        assert!(opened.open(fleet, &elsewhere).is_err(), "another generation");
    }
}
