//! What an initiation must show before it costs a responder anything: that the sender knows whom it calls (`mac1`) and,
//! when too many call, that it receives at the address it names (`mac2`, by a cookie that was sent there). The scheme is
//! WireGuard's, section 5.4.7 of its paper.

use std::net::SocketAddr;
use std::time::Duration;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::datagram::{Datagram, Index};
use super::random_bytes;
use crate::{Moment, NoiseKey, Random};

/// A responder's secret lasts this long, and so does what was made of it.
pub const LIFETIME: Duration = Duration::from_secs(120);

/// Sixteen bytes that authenticate others.
pub type Code = [u8; 16];

/// Shows that the sender of `bytes` knows the key of the one it is for.
pub fn mac1(to: NoiseKey, bytes: &[u8]) -> Code {
    code(&label(b"dusk mac1", to), bytes)
}

/// Shows that the sender of `bytes` got the cookie.
pub fn mac2(cookie: &Code, bytes: &[u8], mac1: &Code) -> Code {
    let mut mac = keyed(cookie);
    mac.update(bytes);
    mac.update(mac1);
    truncated(mac)
}

/// Compares in constant time.
pub fn equal(one: &Code, other: &Code) -> bool {
    one.iter().zip(other).fold(0, |differences, (one, other)| differences | (one ^ other)) == 0
}

/// Makes cookies out of addresses, and knows them again.
pub struct Baker {
    secret: Zeroizing<[u8; 32]>,
    before: Zeroizing<[u8; 32]>,
    since: Moment,
}

impl Baker {
    /// Begins with a secret that nobody knows.
    pub fn new(now: Moment, random: &mut dyn Random) -> Self {
        let [secret, before] = [(); 2].map(|()| Zeroizing::new(random_bytes(random)));
        Self { secret, before, since: now }
    }

    /// Answers an initiation with a cookie that only its sender can open, if it is where it says.
    pub fn reply(
        &mut self,
        own: NoiseKey,
        (receiver, mac1): (Index, &Code),
        from: SocketAddr,
        now: Moment,
        random: &mut dyn Random,
    ) -> Vec<u8> {
        if now.since(self.since) >= LIFETIME {
            self.before = std::mem::replace(&mut self.secret, Zeroizing::new(random_bytes(random)));
            self.since = now;
        }
        let nonce = random_bytes(random);
        let cookie = bake(&self.secret, from);
        let sealed = cipher(own).encrypt(&nonce.into(), Payload { msg: &cookie, aad: mac1 });
        let sealed = sealed.ok().and_then(|sealed| sealed.try_into().ok()).expect("invariant: 16 bytes and their tag");
        Datagram::Cookie { receiver, nonce, sealed }.print()
    }

    /// Whether `mac2` was made with a cookie that went to that address.
    pub fn knows(&self, from: SocketAddr, bytes: &[u8], mac1: &Code, given: &Code) -> bool {
        let made_with = |secret| equal(&mac2(&bake(secret, from), bytes, mac1), given);
        made_with(&self.secret) | made_with(&self.before)
    }
}

/// Opens a cookie that `peer` sent for the initiation with this first mac.
pub fn open(peer: NoiseKey, nonce: &[u8; 24], sealed: &[u8; 32], mac1: &Code) -> Option<Code> {
    let opened = cipher(peer).decrypt(nonce.into(), Payload { msg: sealed, aad: mac1 }).ok()?;
    opened.try_into().ok()
}

fn bake(secret: &[u8; 32], address: SocketAddr) -> Code {
    let mut mac = keyed(secret);
    match address.ip() {
        std::net::IpAddr::V4(ip) => mac.update(&ip.octets()),
        std::net::IpAddr::V6(ip) => mac.update(&ip.octets()),
    }
    mac.update(&address.port().to_be_bytes());
    truncated(mac)
}

fn cipher(responder: NoiseKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&label(b"dusk cookie", responder).into())
}

fn label(label: &[u8], key: NoiseKey) -> [u8; 32] {
    Sha256::new().chain_update(label).chain_update(key.bytes()).finalize().into()
}

fn code(key: &[u8], bytes: &[u8]) -> Code {
    let mut mac = keyed(key);
    mac.update(bytes);
    truncated(mac)
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as Mac>::new_from_slice(key).expect("invariant: HMAC takes keys of any length")
}

fn truncated(mac: Hmac<Sha256>) -> Code {
    let whole: [u8; 32] = mac.finalize().into_bytes().into();
    *whole.first_chunk().expect("invariant: 16 of 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::chance::Chance;

    const OWN: NoiseKey = NoiseKey::of([3; 32]);
    const MAC1: Code = [4; 16];

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn cookie(reply: &[u8]) -> Option<Code> {
        let Ok(Datagram::Cookie { receiver: Index(7), nonce, sealed }) = Datagram::parse(reply) else { return None };
        open(OWN, &nonce, &sealed, &MAC1)
    }

    #[test]
    fn a_cookie_is_good_where_it_was_sent_to_and_for_two_lifetimes() {
        let chance = &mut Chance::new(1);
        let mut baker = Baker::new(Moment::default(), chance);
        let from = address("192.0.2.1:4000");
        let got = cookie(&baker.reply(OWN, (Index(7), &MAC1), from, Moment::default(), chance)).unwrap();
        let shown = mac2(&got, b"initiation", &MAC1);
        assert!(baker.knows(from, b"initiation", &MAC1, &shown));
        for other in ["192.0.2.2:4000", "192.0.2.1:4001", "[2001:db8::1]:4000"] {
            assert!(!baker.knows(address(other), b"initiation", &MAC1, &shown));
        }
        assert!(!baker.knows(from, b"another", &MAC1, &shown));
        baker.reply(OWN, (Index(7), &MAC1), from, Moment::default() + LIFETIME, chance);
        assert!(baker.knows(from, b"initiation", &MAC1, &shown));
        baker.reply(OWN, (Index(7), &MAC1), from, Moment::default() + LIFETIME * 2, chance);
        assert!(!baker.knows(from, b"initiation", &MAC1, &shown));
    }

    #[test]
    fn a_cookie_for_another_initiation_cannot_be_opened() {
        let chance = &mut Chance::new(1);
        let mut baker = Baker::new(Moment::default(), chance);
        let reply = baker.reply(OWN, (Index(7), &[5; 16]), address("192.0.2.1:1"), Moment::default(), chance);
        assert_eq!(cookie(&reply), None);
    }
}
