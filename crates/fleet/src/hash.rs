//! The one hash of the format, SHA-256 with a domain, and what is named by it.

use sha2::{Digest, Sha256};

bytes_type! {
    Hash 32 "a hash (64 hex digits)", "A SHA-256 hash over a domain and some bytes.";
    FleetId 32 "a fleet (64 hex digits)", "A fleet: the hash of its genesis.";
    EntryId 32 "an authority entry (64 hex digits)", "An entry of the authority chain: the hash of its body.";
    ChangeId 32 "a change (64 hex digits)", "A change of a section: the hash of its body.";
    ContentHash 32 "a content's hash (64 hex digits)", "What a section says, by a hash over a salt and the content.";
}

/// A place in the fleet's log: how many records stand before it.
pub type LogIndex = u64;

/// A point of the authority chain: its last entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Head {
    /// How many entries stand before the last one; the genesis is at 0.
    pub position: u64,
    /// The last entry.
    pub entry: EntryId,
}

/// SHA-256 over `"dusk/1/"`, the domain, a zero byte and the parts.
pub fn hash(domain: &str, parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new_with_prefix(b"dusk/1/");
    hasher.update(domain.as_bytes());
    hasher.update([0]);
    parts.iter().for_each(|part| hasher.update(part));
    Hash::of(hasher.finalize().into())
}

cbor_bytes! { Hash FleetId EntryId ChangeId ContentHash }
cbor_arrays! { Head 2 [position, entry]; }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_keep_equal_bytes_apart() {
        assert_ne!(hash("change", &[b"x"]), hash("entry", &[b"x"]));
        assert_eq!(hash("change", &[b"x", b"y"]), hash("change", &[b"xy"]));
    }

    #[test]
    fn hashes_are_read_as_they_are_written() {
        let hash = hash("change", &[]);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert!(hash.to_string().to_uppercase().parse::<Hash>().is_err());
        assert!("00".parse::<Hash>().is_err());
    }
}
