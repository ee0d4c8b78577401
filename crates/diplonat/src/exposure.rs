//! What is wanted: ports of services that are to be reachable from outside.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use types::DomainName;

/// The transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// Its name in lower case, as nft and people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A port as the outside sees it; written `tcp/443`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicPort {
    /// The transport protocol.
    pub transport: Transport,
    /// The number.
    pub number: NonZeroU16,
}

impl fmt::Display for PublicPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.transport, self.number)
    }
}

impl FromStr for PublicPort {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no port; expected tcp/443 or udp/53");
        let (transport, number) = text.split_once('/').ok_or_else(wrong)?;
        let transport = match transport {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return Err(wrong()),
        };
        Ok(Self { transport, number: number.parse().map_err(|_| wrong())? })
    }
}

impl Serialize for PublicPort {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicPort {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The type of the record that makes a name lead here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordKind {
    /// The public IPv4 address.
    A,
    /// The host's IPv6 address.
    Aaaa,
    /// The name of this node.
    Cname,
}

/// A name that is to lead to a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct WantedName {
    /// The type of its record.
    pub kind: RecordKind,
    /// The name.
    pub name: DomainName,
}

/// One port of a service, as it is to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// The service, as its source names it.
    pub service: String,
    /// The port outside.
    pub port: PublicPort,
    /// The port on which the service listens on this host.
    pub to: NonZeroU16,
    /// Who may reach it; everybody where this is empty.
    pub from: BTreeSet<IpNet>,
    /// The names that lead to it.
    pub names: BTreeSet<WantedName>,
}

/// A service that is not published, or one port of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Refused {
    /// The service.
    pub service: String,
    /// Why.
    pub cause: String,
}

/// What a service asks for, before it is held against what others ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its ports, or why it has none.
    pub ports: Result<Vec<Exposure>, String>,
}

/// Everything that is wanted at a time: a whole state, never a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The ports.
    pub ports: BTreeMap<PublicPort, Exposure>,
    /// What was asked for and cannot be had.
    pub refused: BTreeSet<Refused>,
}

/// Ports that nobody publishes by accident: the ways to configure the gateway, Consul and the local network.
const RESERVED: [(Transport, u16); 13] = [
    (Transport::Udp, 67),
    (Transport::Udp, 68),
    (Transport::Udp, 137),
    (Transport::Udp, 138),
    (Transport::Tcp, 139),
    (Transport::Tcp, 445),
    (Transport::Udp, 1900),
    (Transport::Udp, 5350),
    (Transport::Udp, 5351),
    (Transport::Udp, 5353),
    (Transport::Tcp, 8300),
    (Transport::Tcp, 8500),
    (Transport::Tcp, 8501),
];

impl Wanted {
    /// Holds the services against each other: a port goes to the first that asks, in the order of names; one that asks
    /// for exactly the same shares it. `leave` are reserved ports that may be published all the same.
    pub fn of(services: impl IntoIterator<Item = Service>, leave: &BTreeSet<PublicPort>) -> Self {
        let mut services: Vec<_> = services.into_iter().collect();
        services.sort_by(|one, other| one.name.cmp(&other.name));
        let mut wanted = Self::default();
        for service in services {
            match service.ports {
                Ok(ports) => ports.into_iter().for_each(|exposure| wanted.add(exposure, leave)),
                Err(cause) => wanted.refuse(service.name, cause),
            }
        }
        wanted
    }

    fn add(&mut self, exposure: Exposure, leave: &BTreeSet<PublicPort>) {
        let port = exposure.port;
        if RESERVED.contains(&(port.transport, port.number.get())) && !leave.contains(&port) {
            let cause = format!("{port} is reserved; list it under \"allow_reserved_ports\" to publish it");
            return self.refuse(exposure.service, cause);
        }
        match self.ports.entry(port) {
            Entry::Vacant(free) => {
                free.insert(exposure);
            }
            Entry::Occupied(mut taken) => {
                let holder = taken.get_mut();
                if (holder.to, &holder.from) == (exposure.to, &exposure.from) {
                    holder.names.extend(exposure.names);
                } else {
                    let cause = format!("{port} is the port of {:?} already, to another end", holder.service);
                    self.refuse(exposure.service, cause);
                }
            }
        }
    }

    fn refuse(&mut self, service: String, cause: String) {
        self.refused.insert(Refused { service, cause });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn exposure(service: &str, port: &str, to: u16) -> Exposure {
        let to = NonZeroU16::new(to).unwrap();
        Exposure { service: service.into(), port: port.parse().unwrap(), to, from: [].into(), names: [].into() }
    }

    fn service(name: &str, ports: &[(&str, u16)]) -> Service {
        let ports = ports.iter().map(|(port, to)| exposure(name, port, *to)).collect();
        Service { name: name.into(), ports: Ok(ports) }
    }

    #[test]
    fn the_first_by_name_gets_a_port_and_the_other_is_told() {
        let services = [service("web", &[("tcp/443", 8443)]), service("api", &[("tcp/443", 443), ("udp/443", 443)])];
        let wanted = Wanted::of(services, &[].into());
        assert_eq!(wanted.ports[&"tcp/443".parse().unwrap()].service, "api");
        assert_eq!(wanted.ports.len(), 2);
        let causes: Vec<_> = wanted.refused.iter().map(|refused| refused.cause.as_str()).collect();
        assert_eq!(causes, ["tcp/443 is the port of \"api\" already, to another end"]);
    }

    #[test]
    fn services_that_ask_for_the_same_share_it() {
        let wanted = Wanted::of([service("b", &[("tcp/80", 80)]), service("a", &[("tcp/80", 80)])], &[].into());
        assert_eq!((wanted.ports.len(), wanted.refused.len()), (1, 0));
    }

    #[test]
    fn a_reserved_port_needs_leave() {
        let services = || [service("consul", &[("tcp/8500", 8500)])];
        assert!(Wanted::of(services(), &[].into()).ports.is_empty());
        assert_eq!(Wanted::of(services(), &["tcp/8500".parse().unwrap()].into()).ports.len(), 1);
    }

    #[test]
    fn port_zero_is_no_port() {
        assert_eq!("tcp/0".parse::<PublicPort>().unwrap_err(), "\"tcp/0\" is no port; expected tcp/443 or udp/53");
        assert_eq!("udp/53".parse::<PublicPort>().unwrap().to_string(), "udp/53");
    }
}
