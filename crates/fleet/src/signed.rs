//! Signatures: over a domain and the exact bytes that are shipped.

use ed25519_dalek::{Signature, VerifyingKey};

use crate::cbor::{self, Blob, BytesError, Cbor, Reader, Writer};
use crate::hash::{Hash, hash};
use crate::key::{NodeSecret, VerifyKey};

/// The longest body of anything that is signed.
pub const LONGEST_BODY: usize = 16 << 10;
/// The longest form of a body with its signature.
pub const LONGEST_SIGNED: usize = LONGEST_BODY + 128;

/// What a signature is for: the same bytes never mean two things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// The genesis of a fleet.
    Genesis,
    /// An entry of the authority chain.
    Entry,
    /// A change of a section.
    Change,
    /// A voter's word for a checkpoint.
    Checkpoint,
    /// Keys, bound by the first of them.
    Key,
    /// A device's request to join, by the device.
    Request,
    /// A device's request to join, by the join key.
    Join,
    /// A device's latest status.
    Status,
}

impl Domain {
    /// The word in the signed message.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Genesis => "genesis",
            Self::Entry => "entry",
            Self::Change => "change",
            Self::Checkpoint => "checkpoint",
            Self::Key => "key",
            Self::Request => "request",
            Self::Join => "join",
            Self::Status => "status",
        }
    }

    fn message(self, body: &[u8]) -> Vec<u8> {
        [b"dusk/1/", self.word().as_bytes(), &[0], body].concat()
    }
}

/// A signature is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not that of {key} over these bytes")]
pub struct SignatureError {
    /// Whose it should be.
    pub key: VerifyKey,
}

/// A body and the signature of whoever the body or its place names.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    /// The bytes that are signed, in canonical form.
    pub body: Vec<u8>,
    /// Ed25519 (RFC 8032).
    pub signature: [u8; 64],
}

impl Signed {
    /// Signs `body`.
    pub fn new(domain: Domain, body: &impl Cbor, secret: &NodeSecret) -> Self {
        let body = cbor::to_bytes(body);
        let signature = sign(domain, &body, secret);
        Self { body, signature }
    }

    /// Reads both from their shipped form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BytesError> {
        cbor::from_bytes(bytes, LONGEST_SIGNED)
    }

    /// The shipped form.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_bytes(self)
    }

    /// Checks the signature, then reads the body.
    pub fn open<T: Cbor>(&self, domain: Domain, key: &KnownKey) -> Result<T, OpenError> {
        key.verify(domain, &self.body, &self.signature)?;
        Ok(self.read()?)
    }

    /// Reads the body without a look at the signature.
    pub fn read<T: Cbor>(&self) -> Result<T, BytesError> {
        cbor::from_bytes(&self.body, LONGEST_BODY)
    }

    /// The hash of the body.
    pub fn hash(&self, domain: Domain) -> Hash {
        hash(domain.word(), &[&self.body])
    }
}

/// Why something signed cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The bytes.
    #[error(transparent)]
    Bytes(#[from] BytesError),
    /// The signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Signs bytes in a domain.
pub fn sign(domain: Domain, body: &[u8], secret: &NodeSecret) -> [u8; 64] {
    secret.sign(&domain.message(body))
}

/// A signing key that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not an Ed25519 key (a point of the curve in canonical form, not of small order)")]
pub struct KeyError(pub VerifyKey);

/// A signing key, decompressed once for all that it will verify, or each time where it will verify little.
#[derive(Clone, Debug)]
pub struct KnownKey {
    key: VerifyKey,
    point: Option<Box<VerifyingKey>>,
}

impl KnownKey {
    /// Takes only points that have one form and a large order.
    pub fn new(key: VerifyKey) -> Result<Self, KeyError> {
        let point = VerifyingKey::from_bytes(key.bytes()).ok();
        let point = point.filter(|point| is_canonical(key.bytes()) && !point.is_weak()).ok_or(KeyError(key))?;
        Ok(Self { key, point: Some(Box::new(point)) })
    }

    /// The same in less memory: it takes longer to verify.
    pub fn compact(self) -> Self {
        Self { point: None, ..self }
    }

    /// The key.
    pub fn key(&self) -> VerifyKey {
        self.key
    }

    /// Checks a signature, strictly: no small orders, no second form of anything.
    pub fn verify(&self, domain: Domain, body: &[u8], signature: &[u8; 64]) -> Result<(), SignatureError> {
        let (message, signature) = (domain.message(body), Signature::from_bytes(signature));
        let checked = match &self.point {
            Some(point) => point.verify_strict(&message, &signature),
            None => {
                VerifyingKey::from_bytes(self.key.bytes()).and_then(|point| point.verify_strict(&message, &signature))
            }
        };
        checked.map_err(|_| SignatureError { key: self.key })
    }
}

/// Whether the y coordinate is below 2^255 - 19.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    bytes[0] < 0xed || bytes[1..31].iter().any(|byte| *byte != 0xff) || bytes[31] & 0x7f != 0x7f
}

impl Cbor for Signed {
    fn write(&self, out: &mut Writer) {
        out.array(2);
        out.bytes(&self.body);
        out.bytes(&self.signature);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
        input.array_of(2, "a body and its signature")?;
        Ok(Self { body: Blob::read(input)?.0, signature: Cbor::read(input)? })
    }
}

impl std::fmt::Debug for Signed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Signed({} bytes)", self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_bytes_its_domain_and_its_key_alone() {
        let secret = NodeSecret::of([1; 32]);
        let known = |secret: &NodeSecret| KnownKey::new(secret.public().verify).unwrap();
        let signed = Signed::new(Domain::Change, &7_u64, &secret);
        assert_eq!(signed.open::<u64>(Domain::Change, &known(&secret)), Ok(7));
        assert!(signed.open::<u64>(Domain::Entry, &known(&secret)).is_err());
        assert!(signed.open::<u64>(Domain::Change, &known(&NodeSecret::of([2; 32]))).is_err());
        for at in 0..64 {
            let mut other = signed.clone();
            other.signature[at] ^= 1;
            assert!(other.open::<u64>(Domain::Change, &known(&secret)).is_err());
        }
        let other = Signed { body: cbor::to_bytes(&8_u64), ..signed };
        assert!(other.open::<u64>(Domain::Change, &known(&secret)).is_err());
    }

    #[test]
    fn keys_of_small_order_or_of_a_second_form_are_none() {
        let mut one = [0; 32];
        one[0] = 1;
        assert!(KnownKey::new(VerifyKey::of(one)).is_err());
        assert!(KnownKey::new(VerifyKey::of([0; 32])).is_err());
        // y = 3 + p: on the curve, of large order, and not canonical.
        let mut second = [0xff; 32];
        (second[0], second[31]) = (0xed + 3, 0x7f);
        let mut first = [0; 32];
        first[0] = 3;
        assert!(KnownKey::new(VerifyKey::of(first)).is_ok());
        assert!(KnownKey::new(VerifyKey::of(second)).is_err());
    }
}
