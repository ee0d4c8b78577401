//! Whether what was applied has come about: netifd's `network.interface dump` against what it should say.

use std::net::Ipv4Addr;

use serde::Deserialize;

use crate::names::Names;
use crate::plan::{InterfaceAddress, Placement};

/// The answer of `network.interface dump`, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Dump {
    /// The interfaces.
    pub interface: Vec<Interface>,
}

/// An interface as netifd has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Interface {
    /// Its name in UCI.
    pub interface: String,
    /// Whether it is up.
    pub up: bool,
    /// Its IPv4 addresses.
    #[serde(default, rename = "ipv4-address")]
    pub addresses: Vec<Address>,
    /// Why it does not come up, repeated at each try.
    #[serde(default)]
    pub errors: Vec<Fault>,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Address {
    /// The address.
    pub address: Ipv4Addr,
    /// The bits of its mask.
    pub mask: u8,
}

/// Why an interface does not come up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Fault {
    /// As in `NO_DEVICE`.
    pub code: String,
}

impl Dump {
    /// The addresses of all interfaces.
    pub fn addresses(&self) -> Vec<InterfaceAddress> {
        let of = |interface: &Interface| {
            let name = interface.interface.clone();
            let addresses = interface.addresses.clone().into_iter();
            addresses.map(move |Address { address, mask }| InterfaceAddress {
                interface: name.clone(),
                address,
                prefix_len: mask,
            })
        };
        self.interface.iter().flat_map(of).collect()
    }

    /// What is still missing of `placement`: nothing once its interfaces are up with their addresses, and those that it
    /// takes away are gone.
    pub fn lacks(&self, placement: &Placement) -> Option<String> {
        let wanted = placement.network.as_ref().map(|admitted| &admitted.network);
        for slot in &placement.slots {
            let names = Names::of(*slot);
            let lack = match wanted.filter(|network| network.slot == *slot) {
                Some(network) => self
                    .lacks_interface(
                        &names.interface(),
                        Some((network.router_address.ip(), network.subnet.prefix_len())),
                    )
                    .or_else(|| self.lacks_interface(&names.wireguard(), None))
                    .or_else(|| self.lacks_interface(&network.vxlan.as_ref().map(|_| names.vxlan())?, None)),
                None => [names.interface(), names.wireguard(), names.vxlan()]
                    .iter()
                    .find(|name| self.find(name).is_some())
                    .map(|name| format!("interface {name} is still there")),
            };
            if lack.is_some() {
                return lack;
            }
        }
        None
    }

    fn find(&self, name: &str) -> Option<&Interface> {
        self.interface.iter().find(|interface| interface.interface == name)
    }

    fn lacks_interface(&self, name: &str, address: Option<(Ipv4Addr, u8)>) -> Option<String> {
        let Some(interface) = self.find(name) else {
            return Some(format!("interface {name} is not there"));
        };
        if let Some(fault) = interface.errors.last() {
            return Some(format!("interface {name} does not come up: {}", fault.code));
        }
        if !interface.up {
            return Some(format!("interface {name} is down"));
        }
        let (address, mask) = address?;
        let has = interface.addresses.contains(&Address { address, mask });
        (!has).then(|| format!("interface {name} has no address {address}/{mask}"))
    }
}
