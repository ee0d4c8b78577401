//! How networks' segments reach the router.

use serde::Deserialize;
use types::Segment;

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
    /// The ports of the bridge that the network on `segment` has on the router; none where no VLAN is left for it.
    pub fn bridge_ports(&self, segment: Segment) -> Vec<String> {
        match self {
            Self::Bridge {} => vec![segment.router_end()],
            Self::Vlan { trunk: Trunk(trunk), first_vlan } => {
                let id = u32::from(*first_vlan).saturating_add(segment.get() - 1);
                (1..=LAST_VLAN).contains(&id).then(|| format!("{trunk}.{id}")).into_iter().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(setting: &str, segment: u32) -> Vec<String> {
        let setting: Segments = serde_json::from_str(setting).unwrap();
        setting.bridge_ports(Segment::try_from(segment).unwrap())
    }

    #[test]
    fn a_segment_comes_by_a_veth_or_by_a_vlan() {
        assert_eq!(ports(r#"{"kind": "bridge"}"#, 0x1f), ["rzs1f"]);
        assert_eq!(ports(r#"{"kind": "vlan", "trunk": "eth1", "first_vlan": 1000}"#, 31), ["eth1.1030"]);
        assert_eq!(ports(r#"{"kind": "vlan", "trunk": "eth1"}"#, 3096), [] as [&str; 0]);
    }

    #[test]
    fn a_trunk_is_a_plain_name() {
        for name in ["", "eth1.5", "br lan", "averylongname", "-a"] {
            assert!(Trunk::try_from(name.to_owned()).is_err(), "{name:?}");
        }
    }
}
