//! DNS: names that lead to what is published, written by RFC 2136 and never over what others wrote.

pub mod actor;
pub mod journal;
pub mod tsig;
pub mod update;

mod message;

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use types::DomainName;

pub use actor::DnsReport;

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "UPPERCASE")]
pub enum Target {
    /// To an IPv4 address.
    A(Ipv4Addr),
    /// To an IPv6 address.
    Aaaa(Ipv6Addr),
    /// To another name.
    Cname(DomainName),
}
