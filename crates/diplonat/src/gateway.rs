//! The gateway: the router in front of this host, and the mappings on it that are ours.

pub mod actor;
pub mod http;
pub mod igd;
pub mod journal;
pub mod mapper;
pub mod nat_pmp;
pub mod pcp;
pub mod route;

mod description;
mod epoch;
mod home;
mod search;
mod soap;
mod udp;
mod xml;

use std::fmt;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::exposure::PublicPort;

pub use home::{HomeGateway, Search};

/// A protocol in which gateways are asked for mappings, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// The Port Control Protocol (RFC 6887).
    Pcp,
    /// UPnP's Internet Gateway Device.
    Igd,
    /// NAT-PMP (RFC 6886).
    NatPmp,
}

impl fmt::Display for Dialect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Pcp => "PCP",
            Self::Igd => "UPnP IGD",
            Self::NatPmp => "NAT-PMP",
        })
    }
}

/// A random number that PCP knows a mapping by; only who knows it may change the mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce(pub [u8; 12]);

/// A mapping as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The port outside.
    pub port: PublicPort,
    /// The port of this host.
    pub to: NonZeroU16,
    /// This host's address, as the gateway sees it.
    pub local: Ipv4Addr,
    /// What PCP knows it by.
    pub nonce: Nonce,
    /// What IGD shows it as.
    pub description: String,
    /// How long it is to last, in seconds.
    pub lease: u32,
}

/// What a gateway granted: how long the mapping lasts, in seconds; for ever where it is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The lease.
    pub lease: u32,
}

/// A mapping as it is found on a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whom it leads to.
    pub client: Ipv4Addr,
    /// The port there.
    pub to: u16,
    /// Its description.
    pub description: String,
}

/// What a gateway says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Its address outside, where it says one.
    pub external: Option<Ipv4Addr>,
    /// Whether it has been started again since it was last asked: mappings may be lost.
    pub has_restarted: bool,
}

/// Why a gateway did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another has that port.
    #[error("the gateway gave the port to another ({0})")]
    Taken(String),
    /// It does not allow this.
    #[error("the gateway does not allow it ({0})")]
    Forbidden(String),
    /// It has no room.
    #[error("the gateway's table is full ({0})")]
    Full(String),
    /// The port outside has to be the port inside.
    #[error("the gateway maps a port to the same port only ({0}); let the service listen on the port outside")]
    PortsMustBeEqual(String),
    /// It cannot do that.
    #[error("the gateway does not know how to ({0})")]
    Unsupported(String),
    /// There is another translator between it and us, or the address is not ours.
    #[error("the gateway sees another address than ours ({0}): is there a second router in the way?")]
    AddressMismatch(String),
    /// No answer, or none that can be read: it may have been done or not.
    #[error("no good answer from the gateway: {0}")]
    Silent(String),
    /// Anything else that it says.
    #[error("the gateway refuses: {0}")]
    Other(String),
}

/// A router that can be asked for mappings.
#[async_trait]
pub trait Gateway: Send + Sync {
    /// Its address inside, which it is known by.
    fn address(&self) -> Ipv4Addr;
    /// Our address on the way to it.
    fn local(&self) -> Ipv4Addr;
    /// What it speaks, the best first.
    fn dialects(&self) -> Vec<Dialect>;
    /// Who has a port; `Unsupported` where it cannot say.
    async fn look(&self, port: PublicPort) -> Result<Option<Found>, Refusal>;
    /// Makes a mapping, or prolongs it.
    async fn map(&self, dialect: Dialect, request: &Request) -> Result<Grant, Refusal>;
    /// Ends a mapping; one that is not there has ended.
    async fn unmap(&self, dialect: Dialect, request: &Request) -> Result<(), Refusal>;
    /// Asks how it is.
    async fn pulse(&self) -> Result<Pulse, Refusal>;
}

/// Whether the internet knows an address: it is of none of the reserved ranges (RFC 6890), CGNAT's among them.
pub fn is_public(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_reserved = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !is_reserved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_addresses_are_not_public() {
        for reserved in
            ["0.0.0.0", "10.1.2.3", "100.64.0.1", "100.127.1.1", "192.168.0.1", "203.0.113.9", "255.255.255.255"]
        {
            assert!(!is_public(reserved.parse().unwrap()), "{reserved}");
        }
        for public in ["11.22.33.5", "100.63.0.1", "100.128.0.1", "172.32.0.1", "192.0.1.1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
