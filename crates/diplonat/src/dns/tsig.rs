//! TSIG: messages signed with a key that both sides have (RFC 8945), by hmac-sha256.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use types::{DomainName, SecretText};
use zeroize::Zeroizing;

use super::message::{ANY, HEADER, TSIG, after_name, last_record, name_data};

/// The algorithm's name.
const ALGORITHM: &[u8] = b"\x0bhmac-sha256\0";
/// How far clocks may differ, in seconds.
const FUDGE: u16 = 300;
const MAC: usize = 32;

/// A key and its name. No `Debug`: it is secret.
pub struct Key {
    name: DomainName,
    secret: Zeroizing<Vec<u8>>,
}

/// What is wrong with an answer's signature, or the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TsigError {
    /// The key's text.
    #[error("the key is not in base64")]
    Key,
    /// The answer.
    #[error("the answer is not signed with our key, and so not believed")]
    Unsigned,
}

impl Key {
    /// The key of this name, from its text in base64.
    pub fn of(name: DomainName, text: &SecretText) -> Result<Self, TsigError> {
        let secret = data_encoding::BASE64.decode(text.reveal().trim().as_bytes()).map_err(|_| TsigError::Key)?;
        match secret.is_empty() {
            true => Err(TsigError::Key),
            false => Ok(Self { name, secret: Zeroizing::new(secret) }),
        }
    }

    /// Signs a message at `now`, in seconds since 1970; gives its signature, which the answer's begins with.
    pub fn sign(&self, message: &mut Vec<u8>, now: u64) -> [u8; MAC] {
        let id = [message[0], message[1]];
        let mac: [u8; MAC] =
            self.begin(&[message.as_slice(), &self.variables(now, FUDGE, [0, 0], &[])]).finalize().into_bytes().into();
        let mut data = ALGORITHM.to_vec();
        data.extend(&now.to_be_bytes()[2..]);
        data.extend(FUDGE.to_be_bytes());
        data.extend([0, 32]);
        data.extend(mac);
        data.extend(id);
        data.extend([0, 0, 0, 0]);
        message.extend(name_data(&self.name));
        message.extend(TSIG.to_be_bytes());
        message.extend(ANY.to_be_bytes());
        message.extend([0; 4]);
        message.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
        message.extend(data);
        let additional = u16::from_be_bytes([message[10], message[11]]) + 1;
        message[10..12].copy_from_slice(&additional.to_be_bytes());
        mac
    }

    /// Checks that an answer to the message with this signature is signed with the key.
    pub fn verify(&self, answer: &[u8], request: &[u8; MAC], now: u64) -> Result<(), TsigError> {
        self.check(answer, request, now).ok_or(TsigError::Unsigned)
    }

    fn check(&self, answer: &[u8], request: &[u8; MAC], now: u64) -> Option<()> {
        let (begin, fixed) = last_record(answer)?;
        if answer.get(fixed..fixed + 4)? != [0, 250, 0, 255] {
            return None;
        }
        let data = answer.get(fixed + 10..)?;
        let after = after_name(data, 0)?;
        let [t0, t1, t2, t3, t4, t5, f0, f1, 0, 32, rest @ ..] = data.get(after..)? else { return None };
        let time = u64::from_be_bytes([0, 0, *t0, *t1, *t2, *t3, *t4, *t5]);
        let fudge = u16::from_be_bytes([*f0, *f1]);
        let (mac, rest) = rest.split_at_checked(MAC)?;
        let [i0, i1, e0, e1, _, _, other @ ..] = rest else { return None };
        // As it was signed: without the signature, and under the number that it had.
        let mut signed = answer[..begin].to_vec();
        signed[..2].copy_from_slice(&[*i0, *i1]);
        let additional = u16::from_be_bytes([signed[10], signed[11]]).checked_sub(1)?;
        signed.get_mut(10..HEADER)?.copy_from_slice(&additional.to_be_bytes());
        let variables = self.variables(time, fudge, [*e0, *e1], other);
        self.begin(&[&[0, 32], request, &signed, &variables]).verify_slice(mac).ok()?;
        (time.abs_diff(now) <= u64::from(fudge)).then_some(())
    }

    fn begin(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("invariant: a key may have any length");
        parts.iter().for_each(|part| mac.update(part));
        mac
    }

    /// What is signed beside the message (4.3.3).
    fn variables(&self, time: u64, fudge: u16, error: [u8; 2], other: &[u8]) -> Vec<u8> {
        let mut variables = name_data(&self.name);
        variables.extend(ANY.to_be_bytes());
        variables.extend([0; 4]);
        variables.extend(ALGORITHM);
        variables.extend(&time.to_be_bytes()[2..]);
        variables.extend(fudge.to_be_bytes());
        variables.extend(error);
        variables.extend(u16::try_from(other.len()).unwrap_or(u16::MAX).to_be_bytes());
        variables.extend(other);
        variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::message::Update;

    fn key() -> Key {
        Key::of("k.example.org".parse().unwrap(), &SecretText::new("c2VjcmV0IGtleQ==\n".into())).unwrap()
    }

    /// An answer, signed as a server does.
    fn answer(request: &[u8; MAC], now: u64) -> Vec<u8> {
        let mut answer = vec![0, 7, 0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let variables = key().variables(now, FUDGE, [0, 0], &[]);
        let mac = key().begin(&[&[0, 32], request, &answer, &variables]).finalize().into_bytes();
        let mut unsigned = answer.clone();
        key().sign(&mut unsigned, now);
        let at = unsigned.len() - MAC - 6;
        unsigned[at..at + MAC].copy_from_slice(&mac);
        std::mem::swap(&mut answer, &mut unsigned);
        answer
    }

    #[test]
    fn only_what_is_signed_in_time_for_this_request_is_believed() {
        let mut message = Update::of(&"example.org".parse().unwrap()).message(7);
        let request = key().sign(&mut message, 1_000_000);
        let good = answer(&request, 1_000_010);
        assert_eq!(key().verify(&good, &request, 1_000_020), Ok(()));
        assert_eq!(key().verify(&good, &[0; MAC], 1_000_020), Err(TsigError::Unsigned));
        assert_eq!(key().verify(&good, &request, 1_001_000), Err(TsigError::Unsigned));
        assert_eq!(key().verify(&good[..12], &request, 1_000_020), Err(TsigError::Unsigned));
        let mut forged = good.clone();
        forged[3] = 5;
        assert_eq!(key().verify(&forged, &request, 1_000_020), Err(TsigError::Unsigned));
    }

    #[test]
    fn hostile_answers_are_borne() {
        fuzz::Corpus::of([answer(&[1; MAC], 1_000_000)]).run(|answer| {
            let _ = key().verify(answer, &[1; MAC], 1_000_000);
        });
    }
}
