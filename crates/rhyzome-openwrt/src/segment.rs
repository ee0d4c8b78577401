//! How networks' segments reach the router.

use jobs::desired::{Network, SegmentKind};
use serde::Deserialize;
use types::HostAddr;

use crate::names::Names;

/// The highest VLAN (IEEE 802.1Q).
const LAST_VLAN: u32 = 4094;

/// The setting `segments`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Segments {
    /// The router lies in a namespace of the hypervisor, and each segment's bridge there has a veth into it.
    Bridge {},
    /// A trunk carries a VLAN for each segment, which netifd makes for the port of that name.
    Vlan {
        /// The router's end of the trunk, as in `eth1`.
        trunk: Trunk,
        /// The VLAN of segment 1, as the core has it; segment n has the one n - 1 above it.
        #[serde(default = "first_vlan")]
        first_vlan: u16,
    },
    /// The network between the hosts carries a VXLAN for each segment, as the core has it.
    Vxlan {
        /// The router's address in that network.
        underlay: HostAddr,
    },
}

/// An interface that VLANs are made on: ten characters at most, so that a dot and a VLAN fit behind it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Trunk(String);

impl TryFrom<String> for Trunk {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match (1..=10).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('-') {
            true => Ok(Self(name)),
            false => Err(format!("{name:?} is no interface for VLANs (10 letters, digits and hyphens at most)")),
        }
    }
}

fn first_vlan() -> u16 {
    1000
}

impl Segments {
    /// What a router with this setting can do beside the ordinary.
    pub const fn features(&self) -> &'static [&'static str] {
        match self {
            Self::Bridge {} | Self::Vlan { .. } => &[],
            Self::Vxlan { .. } => &[SegmentKind::VXLAN],
        }
    }

    /// The router's address in the network that carries VXLANs, where it has one.
    pub const fn underlay(&self) -> Option<HostAddr> {
        match self {
            Self::Bridge {} | Self::Vlan { .. } => None,
            Self::Vxlan { underlay } => Some(*underlay),
        }
    }

    /// The ports of the bridge that `network` has on the router; none where no VLAN or VXLAN is left for it.
    pub fn bridge_ports(&self, network: &Network) -> Vec<String> {
        match self {
            Self::Bridge {} => vec![network.segment.router_end()],
            Self::Vxlan { .. } => network.vxlan.iter().map(|_| Names::of(network.slot).vxlan()).collect(),
            Self::Vlan { trunk: Trunk(trunk), first_vlan } => {
                let id = u32::from(*first_vlan).saturating_add(network.segment.get() - 1);
                (1..=LAST_VLAN).contains(&id).then(|| format!("{trunk}.{id}")).into_iter().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trunk_is_a_plain_name() {
        for name in ["", "eth1.5", "br lan", "averylongname", "-a"] {
            assert!(Trunk::try_from(name.to_owned()).is_err(), "{name:?}");
        }
    }
}
