//! Frames by hand: an end of a cable that writes and reads Ethernet frames, and the frames that an attacker would write.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

pub type Mac = [u8; 6];
pub const EVERYBODY: Mac = [0xff; 6];

/// A raw socket on one interface of this network namespace.
pub struct Wire(OwnedFd);

impl Wire {
    /// On an interface that is up. Reading gives up after two seconds without a frame.
    pub fn on(interface: &str) -> Self {
        let link = getifaddrs()
            .unwrap()
            .filter(|found| found.interface_name == interface)
            .find_map(|found| found.address.and_then(|address| address.as_link_addr().copied()))
            .unwrap();
        let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).unwrap();
        bind(fd.as_raw_fd(), &link).unwrap();
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(2, 0)).unwrap();
        Self(fd)
    }

    pub fn send(&self, frame: &[u8]) {
        assert_eq!(send(self.0.as_raw_fd(), frame, MsgFlags::empty()).unwrap(), frame.len());
    }

    /// The frames that came before `last`, which must come.
    pub fn received_before(&self, last: &[u8]) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        loop {
            let mut frame = vec![0; 2048];
            let length = match recv(self.0.as_raw_fd(), &mut frame, MsgFlags::empty()) {
                Ok(length) => length,
                Err(error) => panic!("{}: no more frames, after {frames:x?}", io::Error::from(error)),
            };
            frame.truncate(length);
            // Short frames are filled up to the least that Ethernet has.
            if frame.starts_with(last) {
                return frames;
            }
            frames.push(frame);
        }
    }
}

pub fn ethernet(to: Mac, from: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from[..], &kind.to_be_bytes(), payload].concat()
}

/// An ARP message (RFC 826); operation 1 asks, 2 answers.
pub fn arp(from: Mac, operation: u16, sender: (Mac, Ipv4Addr), target: Ipv4Addr) -> Vec<u8> {
    let head = [&[0, 1, 8, 0, 6, 4][..], &operation.to_be_bytes()].concat();
    let body = [&sender.0[..], &sender.1.octets(), &[0; 6], &target.octets()].concat();
    ethernet(EVERYBODY, from, 0x0806, &[head, body].concat())
}

pub fn udp(to: Mac, from: Mac, source: (Ipv4Addr, u16), target: (Ipv4Addr, u16), text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + text.len()).unwrap();
    let datagram =
        [&source.1.to_be_bytes()[..], &target.1.to_be_bytes(), &length.to_be_bytes(), &[0, 0], text].concat();
    ethernet(to, from, 0x0800, &[ipv4(17, source.0, target.0, length), datagram].concat())
}

fn ipv4(protocol: u8, source: Ipv4Addr, target: Ipv4Addr, length: u16) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend((20 + length).to_be_bytes());
    header.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    header.extend(source.octets());
    header.extend(target.octets());
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// A router advertisement (RFC 4861, section 4.2) from a link-local address, to all nodes.
pub fn router_advertisement(from: Mac) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, 16, 58, 255];
    header.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, from[0] ^ 2, from[1], from[2], 0xff, 0xfe, from[3], from[4], from[5]]);
    header.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let advertisement = [134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    ethernet([0x33, 0x33, 0, 0, 0, 1], from, 0x86dd, &[&header[..], &advertisement].concat())
}
