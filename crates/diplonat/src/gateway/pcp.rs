//! The Port Control Protocol's packets (RFC 6887).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Refusal, Request};
use crate::exposure::Transport;

/// The version of the protocol.
const VERSION: u8 = 2;
/// Set in answers.
const ANSWER: u8 = 0x80;
const ANNOUNCE: u8 = 0;
const MAP: u8 = 1;
const PREFER_FAILURE: u8 = 2;
/// Both headers.
const HEADER: usize = 24;
/// What follows the header of MAP.
const MAP_DATA: usize = 36;

/// An answer that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The gateway's age in seconds.
    pub epoch: u32,
    /// What came of the request.
    pub outcome: Result<Mapped, Refusal>,
}

/// What was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The lease in seconds.
    pub lease: u32,
    /// The port outside; 0 in answers to ANNOUNCE.
    pub port: u16,
    /// The address outside, if it is one of IPv4.
    pub external: Option<Ipv4Addr>,
}

/// Asks for nothing but the gateway's age.
pub fn announce(local: Ipv4Addr) -> Vec<u8> {
    header(ANNOUNCE, 0, local)
}

/// Asks for a mapping of just this port, or none (PREFER_FAILURE: a gateway may otherwise search all ports).
pub fn map(request: &Request) -> Vec<u8> {
    let mut packet = map_data(request, request.lease);
    packet.extend([PREFER_FAILURE, 0, 0, 0]);
    packet
}

/// Asks for the end of a mapping.
pub fn unmap(request: &Request) -> Vec<u8> {
    map_data(request, 0)
}

fn map_data(request: &Request, lease: u32) -> Vec<u8> {
    let mut packet = header(MAP, lease, request.local);
    packet.extend(request.nonce.0);
    packet.extend([protocol(request.port.transport), 0, 0, 0]);
    packet.extend(request.to.get().to_be_bytes());
    packet.extend(request.port.number.get().to_be_bytes());
    packet.extend(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets());
    packet
}

fn header(opcode: u8, lease: u32, local: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![VERSION, opcode, 0, 0];
    packet.extend(lease.to_be_bytes());
    packet.extend(local.to_ipv6_mapped().octets());
    packet
}

fn protocol(transport: Transport) -> u8 {
    match transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    }
}

/// Reads the answer to ANNOUNCE; `None` where the packet is something else.
pub fn read_announce(packet: &[u8]) -> Option<Answer> {
    read(packet, ANNOUNCE, |_| true)
}

/// Reads the answer to what was asked about a mapping; `None` where the packet answers something else.
pub fn read_map(packet: &[u8], request: &Request) -> Option<Answer> {
    read(packet, MAP, |data| {
        data[..12] == request.nonce.0
            && data[12] == protocol(request.port.transport)
            && data[16..18] == request.to.get().to_be_bytes()
    })
}

fn read(packet: &[u8], opcode: u8, is_ours: impl Fn(&[u8]) -> bool) -> Option<Answer> {
    let [version, operation, _, code, rest @ ..] = packet else { return None };
    if *version != VERSION {
        // A gateway that knows NAT-PMP alone says so in its own words.
        let outcome = Err(Refusal::Unsupported(format!("it speaks version {version}")));
        return (*operation & ANSWER != 0).then_some(Answer { epoch: 0, outcome });
    }
    if *operation != ANSWER | opcode || packet.len() < HEADER {
        return None;
    }
    let number = |at: usize| u32::from_be_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
    let (lease, epoch) = (number(0), number(4));
    let data = &packet[HEADER..];
    let is_complete = data.len() >= MAP_DATA;
    if is_complete && !is_ours(data) || !is_complete && opcode == MAP && *code == 0 {
        return None;
    }
    let mapped = || {
        if opcode == ANNOUNCE {
            return Mapped { lease: 0, port: 0, external: None };
        }
        let external: [u8; 16] = data[20..36].try_into().expect("invariant: the length was checked");
        let external = Ipv6Addr::from(external).to_ipv4_mapped().filter(|address| !address.is_unspecified());
        Mapped { lease, port: u16::from_be_bytes([data[18], data[19]]), external }
    };
    Some(Answer { epoch, outcome: refusal(*code).map_or_else(|| Ok(mapped()), Err) })
}

/// What a result code says (7.4); nothing where all went well.
fn refusal(code: u8) -> Option<Refusal> {
    let said = |name: &str| format!("PCP {code} {name}");
    Some(match code {
        0 => return None,
        1 => Refusal::Unsupported(said("UNSUPP_VERSION")),
        2 => Refusal::Forbidden(said("NOT_AUTHORIZED")),
        3 => Refusal::Other(said("MALFORMED_REQUEST")),
        4 => Refusal::Unsupported(said("UNSUPP_OPCODE")),
        5 => Refusal::Unsupported(said("UNSUPP_OPTION")),
        6 => Refusal::Other(said("MALFORMED_OPTION")),
        7 => Refusal::Other(said("NETWORK_FAILURE")),
        8 => Refusal::Full(said("NO_RESOURCES")),
        9 => Refusal::Unsupported(said("UNSUPP_PROTOCOL")),
        10 => Refusal::Full(said("USER_EX_QUOTA")),
        11 => Refusal::Taken(said("CANNOT_PROVIDE_EXTERNAL")),
        12 => Refusal::AddressMismatch(said("ADDRESS_MISMATCH")),
        13 => Refusal::Full(said("EXCESSIVE_REMOTE_PEERS")),
        _ => Refusal::Other(said("of unknown meaning")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Nonce;

    fn request() -> Request {
        Request {
            port: "tcp/443".parse().unwrap(),
            to: 8443.try_into().unwrap(),
            local: Ipv4Addr::new(192, 168, 1, 7),
            nonce: Nonce(*b"abcdefghijkl"),
            description: String::new(),
            lease: 3600,
        }
    }

    /// What a gateway makes of a request: the same data, with its own header.
    fn answer(packet: &[u8], code: u8) -> Vec<u8> {
        let mut answer = vec![2, packet[1] | 0x80, 0, code, 0, 0, 0x0e, 0x10, 0, 0, 0, 9];
        answer.resize(24, 0);
        answer.extend(&packet[24..]);
        answer
    }

    #[test]
    fn a_request_has_the_shape_of_the_rfc() {
        let packet = map(&request());
        assert_eq!(packet.len(), 64);
        assert_eq!(packet[..8], [2, 1, 0, 0, 0, 0, 0x0e, 0x10]);
        assert_eq!(packet[18..24], [0xff, 0xff, 192, 168, 1, 7]);
        assert_eq!(packet[36..44], [6, 0, 0, 0, 0x20, 0xfb, 0x01, 0xbb]);
        assert_eq!(packet[60..], [2, 0, 0, 0]);
        assert_eq!((unmap(&request()).len(), announce(Ipv4Addr::LOCALHOST).len()), (60, 24));
    }

    #[test]
    fn an_answer_is_read_and_that_to_another_is_not() {
        let packet = answer(&map(&request()), 0);
        let read = read_map(&packet, &request()).unwrap();
        assert_eq!(read, Answer { epoch: 9, outcome: Ok(Mapped { lease: 3600, port: 443, external: None }) });
        let other = Request { nonce: Nonce([0; 12]), ..request() };
        assert_eq!(read_map(&packet, &other), None);
        assert_eq!(read_map(&packet[..59], &request()), None);
        let taken = read_map(&answer(&map(&request()), 11), &request()).unwrap().outcome.unwrap_err();
        assert!(matches!(taken, Refusal::Taken(_)), "{taken}");
    }

    #[test]
    fn a_gateway_of_nat_pmp_alone_is_understood() {
        let answer = read_announce(&[0, 128, 0, 1, 0, 0, 0, 0]).unwrap();
        assert!(matches!(answer.outcome, Err(Refusal::Unsupported(_))));
    }

    #[test]
    fn hostile_packets_are_borne() {
        fuzz::Corpus::of([answer(&map(&request()), 0), answer(&announce(Ipv4Addr::LOCALHOST), 1)]).run(|packet| {
            let _ = (read_map(packet, &request()), read_announce(packet));
        });
    }
}
