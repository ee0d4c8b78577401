//! NAT-PMP's packets (RFC 6886).

use std::net::Ipv4Addr;

use super::{Refusal, Request};
use crate::exposure::Transport;

/// Set in answers.
const ANSWER: u8 = 0x80;
const ADDRESS: u8 = 0;

/// An answer that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// The gateway's age in seconds.
    pub epoch: u32,
    /// What came of the request.
    pub outcome: Result<T, Refusal>,
}

/// What was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The port outside, which need not be the one asked for.
    pub port: u16,
    /// The lease in seconds.
    pub lease: u32,
}

/// Asks for the address outside.
pub fn address() -> Vec<u8> {
    vec![0, ADDRESS]
}

/// Asks for a mapping.
pub fn map(request: &Request) -> Vec<u8> {
    packet(request, request.port.number.get(), request.lease)
}

/// Asks for the end of a mapping.
pub fn unmap(request: &Request) -> Vec<u8> {
    packet(request, 0, 0)
}

fn packet(request: &Request, outside: u16, lease: u32) -> Vec<u8> {
    let mut packet = vec![0, operation(request.port.transport), 0, 0];
    packet.extend(request.to.get().to_be_bytes());
    packet.extend(outside.to_be_bytes());
    packet.extend(lease.to_be_bytes());
    packet
}

fn operation(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 1,
        Transport::Tcp => 2,
    }
}

/// Reads the address outside; `None` where the packet is something else.
pub fn read_address(packet: &[u8]) -> Option<Answer<Ipv4Addr>> {
    read(packet, ADDRESS, |data| Some(Ipv4Addr::from(<[u8; 4]>::try_from(data.get(..4)?).ok()?)))
}

/// Reads the answer to what was asked about a mapping; `None` where the packet answers something else.
pub fn read_map(packet: &[u8], request: &Request) -> Option<Answer<Mapped>> {
    read(packet, operation(request.port.transport), |data| {
        let [a, b, c, d, lease @ ..] = data.first_chunk::<8>()?;
        let is_ours = u16::from_be_bytes([*a, *b]) == request.to.get();
        is_ours.then_some(Mapped { port: u16::from_be_bytes([*c, *d]), lease: u32::from_be_bytes(*lease) })
    })
}

fn read<T>(packet: &[u8], operation: u8, data: impl Fn(&[u8]) -> Option<T>) -> Option<Answer<T>> {
    let [0, answered, high, low, e1, e2, e3, e4, rest @ ..] = packet else { return None };
    if *answered != ANSWER | operation {
        return None;
    }
    let epoch = u32::from_be_bytes([*e1, *e2, *e3, *e4]);
    match refusal(u16::from_be_bytes([*high, *low])) {
        Some(refusal) => Some(Answer { epoch, outcome: Err(refusal) }),
        None => Some(Answer { epoch, outcome: Ok(data(rest)?) }),
    }
}

/// What a result code says (3.5); nothing where all went well.
fn refusal(code: u16) -> Option<Refusal> {
    let said = |meaning: &str| format!("NAT-PMP {code}, {meaning}");
    Some(match code {
        0 => return None,
        1 => Refusal::Unsupported(said("unsupported version")),
        2 => Refusal::Forbidden(said("not authorised")),
        3 => Refusal::Other(said("no network outside")),
        4 => Refusal::Full(said("out of resources")),
        5 => Refusal::Unsupported(said("unsupported operation")),
        _ => Refusal::Other(said("of unknown meaning")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Nonce;

    fn request() -> Request {
        Request {
            port: "udp/53".parse().unwrap(),
            to: 5353.try_into().unwrap(),
            local: Ipv4Addr::LOCALHOST,
            nonce: Nonce([0; 12]),
            description: String::new(),
            lease: 7200,
        }
    }

    #[test]
    fn packets_have_the_shape_of_the_rfc() {
        assert_eq!(map(&request()), [0, 1, 0, 0, 0x14, 0xe9, 0, 53, 0, 0, 0x1c, 0x20]);
        assert_eq!(unmap(&request()), [0, 1, 0, 0, 0x14, 0xe9, 0, 0, 0, 0, 0, 0]);
        let answer = [0, 129, 0, 0, 0, 0, 0, 5, 0x14, 0xe9, 0, 54, 0, 0, 0, 120];
        let mapped = Mapped { port: 54, lease: 120 };
        assert_eq!(read_map(&answer, &request()), Some(Answer { epoch: 5, outcome: Ok(mapped) }));
        let outside = read_address(&[0, 128, 0, 0, 0, 0, 0, 5, 11, 22, 33, 5]).unwrap();
        assert_eq!(outside.outcome, Ok(Ipv4Addr::new(11, 22, 33, 5)));
    }

    #[test]
    fn hostile_packets_are_borne() {
        let good = [0, 129, 0, 0, 0, 0, 0, 5, 0x14, 0xe9, 0, 54, 0, 0, 0, 120];
        fuzz::Corpus::of([good.to_vec(), vec![0, 128, 0, 3, 0, 0, 0, 5]]).run(|packet| {
            let _ = (read_map(packet, &request()), read_address(packet));
        });
    }
}
